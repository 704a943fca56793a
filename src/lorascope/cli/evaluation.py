"""evaluate, calibrate, experiment, study: does the search find what was asked for?"""

from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options

Queries = Annotated[
    str, typer.Argument(help="A .jsonl, .json or .csv file of queries; or miniature or sdxl, which ship.")
]
Split = Annotated[str, typer.Option(help="Only the queries of this part, such as dev or test.")]
TextModels = Annotated[
    list[str] | None,
    typer.Option("--text", help="A dense text model to compare with, such as qwen3-0.6b. May be given several times."),
]
TextPresets = Annotated[Path | None, typer.Option(help="A TOML file of text models of your own.")]
Report = Annotated[Path | None, typer.Option(help="Write tables and charts to this HTML file.")]


def evaluate(
    queries: Queries,
    split: Split = "",
    text: TextModels = None,
    text_presets: TextPresets = None,
    rankings: Annotated[
        Path | None, typer.Option(help="Write the first 20 adapters of every ranking to this JSON lines file.")
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="A judge of images: siglip2, qwen2.5-vl, hpsv2, clipscore, world. May be repeated."),
    ] = None,
    judge_presets: Annotated[Path | None, typer.Option(help="A TOML file of judges of your own.")] = None,
    judge_seeds: Annotated[int, typer.Option(min=1, help="Images to judge for each held-out prompt.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what making the images would take.")] = False,
    report: Report = None,
    device: options.Device = "",
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Compare this search with text search over names and descriptions, by queries whose answers you know."""
    from lorascope.cli.lab import Laboratory, present_findings
    from lorascope.cli.panel import sit
    from lorascope.evaluation import evaluate as run
    from lorascope.evaluation import load_queries
    from lorascope.evaluation.experiments.main import main_findings

    asked = load_queries(queries, split=split)
    with Laboratory(library, protocol, text or (), text_presets, device=device, download=download) as lab:
        found = run(lab.corpus, asked, lab.lineup, lab.watch)
        if rankings is not None:
            found.write_rankings(rankings)
        verdicts = sit(lab, found, judge or (), judge_presets, judge_seeds, dry_run=dry_run) if judge else []
        if dry_run:
            return
        findings = main_findings(found, lab.consistencies(asked), lab.about_text, verdicts)
        present_findings(findings, lab.origin, report, as_json)


def calibrate(
    queries: Annotated[str, typer.Argument(help="Queries with known answers; without any, quantiles only.")] = "",
    split: Split = "",
    report: Report = None,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Suggest thresholds for a library: by quantile as the paper's, and by what queries with known answers gain."""
    from lorascope.cli.lab import Laboratory, present_findings
    from lorascope.evaluation import load_queries
    from lorascope.evaluation.experiments.calibration import calibration_findings

    asked = load_queries(queries, split=split) if queries else []
    with Laboratory(library, protocol, (), None, device="", download=download) as lab:
        findings = calibration_findings(lab.searcher, lab.corpus, asked, lab.watch)
        present_findings(findings, lab.origin, report, as_json)


def experiment(
    name: Annotated[str, typer.Argument(help="ablations, metadata, sight or names.")],
    queries: Annotated[str, typer.Argument(help="Queries with known answers; sight and names need none.")] = "",
    split: Split = "",
    text: TextModels = None,
    text_presets: TextPresets = None,
    descriptions: Annotated[
        Path | None, typer.Option(help="For metadata: a TOML file with a perfect and a foreign text for each adapter.")
    ] = None,
    report: Report = None,
    device: options.Device = "",
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Ask which part earns the result, when descriptions stop being enough, what the encoder misses, what names say."""
    from lorascope.cli.lab import EXPERIMENTS, Laboratory, known_experiment, present_findings
    from lorascope.evaluation import load_queries

    known_experiment(name, queries)
    asked = load_queries(queries, split=split) if queries else []
    with Laboratory(library, protocol, text or (), text_presets, device=device, download=download) as lab:
        present_findings(EXPERIMENTS[name](lab, asked, descriptions), lab.origin, report, as_json)


def study(
    rankings: Annotated[Path, typer.Argument(help="What retrievers found, as `evaluate --rankings` writes it.")],
    pairs: Annotated[Path, typer.Argument(help="Where to write the pairs.")],
    against: Annotated[str, typer.Option(help="The retriever to compare with, such as minilm.")],
    ours: Annotated[str, typer.Option(help="The other side.")] = "behaviour",
) -> None:
    """Draw up a blind study: for each query, the first three adapters that two retrievers find."""
    from lorascope.cli.output import out
    from lorascope.evaluation.pairs import draw_up

    found = draw_up(rankings, ours, against)
    found.write(pairs)
    out.print(f"{len(found.pairs)} queries are answered differently. Ask people with:")
    out.print(f"  lorascope serve --study {pairs}", soft_wrap=True, highlight=False, markup=False)
