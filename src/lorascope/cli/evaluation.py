"""evaluate, calibrate, experiment, study: does the search find what was asked for?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorascope.cli import options

if TYPE_CHECKING:
    from lorascope.evaluation import Evaluation, Findings, Laboratory
    from lorascope.evaluation.verdicts import Verdicts

Queries = Annotated[
    str, typer.Argument(help="A .jsonl, .json or .csv file of queries; or miniature or sdxl, which ship.")
]
Split = Annotated[str, typer.Option(help="Only the queries of this part, such as dev or test.")]
TextModels = Annotated[
    list[str] | None,
    typer.Option("--text", help="A dense text model to compare with, such as qwen3-0.6b. May be given several times."),
]
TextPresets = Annotated[Path | None, typer.Option(help="A TOML file of text models of your own.")]
Judges = Annotated[
    list[str] | None,
    typer.Option(help="A judge of images: siglip2, qwen2.5-vl, imagereward, hpsv2, clipscore, world. May be repeated."),
]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def timespan(text: str) -> timedelta:
    """A length of time such as 24h, 90m or 2d."""
    try:
        found = timedelta(**{_UNITS[text[-1:]]: float(text[:-1])})
    except (KeyError, ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is no length of time: give minutes, hours or days, such as 24h") from error
    if found <= timedelta():
        raise typer.BadParameter(f"{text!r} is no time at all: give more, such as 24h")
    return found


Report = Annotated[
    Path | None,
    typer.Option(parser=options.output_file, metavar="REPORT", help="Write tables and charts to this HTML file."),
]


def evaluate(
    queries: Queries,
    split: Split = "",
    text: TextModels = None,
    text_presets: TextPresets = None,
    rankings: Annotated[
        Path | None,
        typer.Option(
            parser=options.output_file,
            metavar="RANKINGS",
            help="Write the first 20 adapters of every ranking to this file: JSON lines, or TREC's if .run.",
        ),
    ] = None,  # fmt: skip
    run: Annotated[
        list[Path] | None, typer.Option(help="What another system found, in TREC's format. May be repeated.")
    ] = None,
    judge: Judges = None,
    judge_presets: Annotated[Path | None, typer.Option(help="A TOML file of judges of your own.")] = None,
    judge_seeds: Annotated[int, typer.Option(min=1, help="Images to judge for each held-out prompt.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do and take, and do no more.")] = False,
    report: Report = None,
    device: options.Device = "",
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Compare this search with text search over names and descriptions, by queries whose answers you know."""
    from lorascope.cli.checks import check_unused
    from lorascope.cli.findings import print_plan
    from lorascope.evaluation import load_queries
    from lorascope.evaluation.judges import find_judge

    if not judge:
        check_unused({"judge-presets": judge_presets, "judge-seeds": judge_seeds > 1}, "without --judge")
    asked = load_queries(queries, split=split)
    models: dict[str, Any] = {"models": text or (), "presets": text_presets, "device": device}
    with _opened(library, protocol, download=download, **models) as lab:
        if dry_run:
            print_plan(lab.plan(asked, judged=bool(judge), seeds=judge_seeds), as_json)
            return
        for name in judge or ():  # before hours of work
            find_judge(name, presets=judge_presets, download=download)
        evaluation = lab.evaluate(asked, run or ())
        if rankings is not None:
            evaluation.write_rankings(rankings)
        verdicts = _judged(lab, evaluation, judge, judge_presets, judge_seeds) if judge else None
        _present(lab.findings(evaluation, verdicts), lab, report, as_json)


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
    from lorascope.evaluation import load_queries

    asked = load_queries(queries, split=split) if queries else []
    with _opened(library, protocol, download=download) as lab:
        _present(lab.calibrate(asked), lab, report, as_json)


def experiment(
    name: Annotated[str, typer.Argument(help="ablations, metadata, sight, names, backbones or replicate.")],
    queries: Annotated[
        str, typer.Argument(help="Queries with known answers; sight, names and replicate need none.")
    ] = "",
    split: Split = "",
    text: TextModels = None,
    text_presets: TextPresets = None,
    descriptions: Annotated[
        Path | None, typer.Option(help="For metadata: a TOML file with a perfect and a foreign text for each adapter.")
    ] = None,
    other: Annotated[str, typer.Option(help="For backbones: the Protocol to compare with that of --protocol.")] = "",
    published: Annotated[
        str, typer.Option(help="For replicate: the published library, a parquet file or its https address.")
    ] = "",
    budget: Annotated[
        timedelta | None,
        typer.Option(parser=timespan, metavar="TIME", help="For replicate: how long it may take, such as 24h or 90m."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="For replicate: where adapters, library and report go. Default: replication.", show_default=False
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="For replicate: how to measure. Default: carlos-2025.")] = "",
    prompts: Annotated[
        str, typer.Option(help="For replicate: the authors' own prompts, a .toml or .txt file, if you have them.")
    ] = "",
    judge: Annotated[
        list[str] | None, typer.Option(help="For replicate: a judge of images. May be repeated. Default: the paper's.")
    ] = None,
    judge_presets: Annotated[Path | None, typer.Option(help="For replicate: a TOML file of judges.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="For replicate: say what fits into the budget.")] = False,
    report: Report = None,
    device: options.Device = "",
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Ask what earns the result, what the encoder misses, what carries over, and whether the paper's claims hold."""
    from lorascope.cli.checks import check_unused
    from lorascope.evaluation import load_queries
    from lorascope.evaluation.laboratory import check_experiment

    its_own = {
        "published": published, "budget": budget, "folder": folder, "preset": preset, "prompts": prompts,
        "judge": judge, "judge-presets": judge_presets, "dry-run": dry_run,
    }  # fmt: skip
    others = {"descriptions": descriptions, "other": other, "library": library, "protocol": protocol}
    if name != "replicate":
        check_experiment(name, given=bool(queries))
    check_unused(others if name == "replicate" else its_own, f"with the experiment {name!r}")
    if name == "replicate":
        from lorascope.cli.replication import ReplicationOptions, replicate

        replicate(ReplicationOptions(
            published=published, folder=folder or Path("replication"), budget=budget or timedelta(hours=24),
            queries=queries, split=split, preset=preset, prompts=prompts, texts=text or (), text_presets=text_presets,
            judges=judge or (), judge_presets=judge_presets, report=report, device=device, download=download,
            dry_run=dry_run, as_json=as_json,
        ))  # fmt: skip
        return
    asked = load_queries(queries, split=split) if queries else []
    models: dict[str, Any] = {"models": text or (), "presets": text_presets, "device": device}
    with _opened(library, protocol, download=download, **models) as lab:
        _present(lab.experiment(name, asked, descriptions=descriptions, other=other), lab, report, as_json)


def study(
    rankings: Annotated[Path, typer.Argument(help="What retrievers found, as `evaluate --rankings` writes it.")],
    pairs: Annotated[
        Path, typer.Argument(parser=options.output_file, metavar="PAIRS", help="Where to write the pairs.")
    ],
    against: Annotated[str, typer.Option(help="The retriever to compare with, such as minilm.")],
    ours: Annotated[str, typer.Option(help="The other side.")] = "behaviour",
) -> None:
    """Draw up a blind study: for each query, the first three adapters that two retrievers find."""
    from lorascope.cli.output import out, print_line
    from lorascope.evaluation.pairs import draw_up

    found = draw_up(rankings, ours, against)
    found.write(pairs)
    out.print(f"{len(found.pairs)} queries are answered differently. Ask people with:")
    print_line(f"  lorascope serve --study {pairs}")


@contextmanager
def _opened(library: Path | None, protocol: str, **how: Any) -> Generator[Laboratory]:
    """A laboratory whose progress is shown."""
    from lorascope.cli.progress import step_progress
    from lorascope.evaluation import Laboratory

    with step_progress() as note, Laboratory(library, protocol, note=note, **how) as lab:
        yield lab


def _judged(
    lab: Laboratory, evaluation: Evaluation, names: Sequence[str], presets: Path | None, seeds: int
) -> Verdicts:
    """Have judges look at images of what was found."""
    from lorascope.cli.findings import print_cost

    print_cost(lab.render_cost(evaluation, seeds))
    return lab.judge(evaluation, names, presets=presets, seeds=seeds)


def _present(findings: Findings, lab: Laboratory, report: Path | None, as_json: bool) -> None:
    """Write the page, if asked, and print the tables."""
    from lorascope.cli.findings import print_findings
    from lorascope.report.lab import write_findings

    command = shlex.join(["lorascope", *sys.argv[1:]])
    origin = f"{command}; {lab.searcher.stored.protocol}, {len(lab.corpus)} adapters"
    print_findings(findings, write_findings(report, findings, origin) if report is not None else None, as_json)
