"""screen: adapters against reference works, with a case file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorascope.cli import options

if TYPE_CHECKING:
    from lorascope.analysis.screen import Case, Screening
    from lorascope.cli.progress import CacheProgress
    from lorascope.library import Library

_LISTED = 20
References = Annotated[
    list[Path] | None,
    typer.Option("--reference", "-r", help="A folder of pictures of one work, character or style. Repeat it."),
]
Controls = Annotated[
    list[Path] | None,
    typer.Option(
        "--control", help="A folder of pictures like the works, by others: nearer to these is not enough. Repeat it."
    ),
]


def screen(
    adapter: Annotated[str, typer.Argument(help="Name, path or start of the key of an adapter in the library.")] = "",
    reference: References = None,
    control: Controls = None,
    every: Annotated[bool, typer.Option("--all", help="Rank all adapters by what needs a look.")] = False,
    encoder: Annotated[
        str, typer.Option(help="A second, independent encoder: a folder or a Hugging Face id. It sees kept pictures.")
    ] = "",
    case: Annotated[
        Path | None,
        typer.Option(
            parser=options.output_file,
            metavar="CASE",
            help="Write the case file to this .html file, and its data beside it as .json.",
        ),
    ] = None,  # fmt: skip
    check: Annotated[
        Path | None, typer.Option(help="Check the .json file of a case: is all that it rests on still the same?")
    ] = None,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Screen adapters for copyright: substantiality, volition, likeness to reference works. Not legal advice."""
    from lorascope.cli.output import err
    from lorascope.cli.progress import CacheProgress
    from lorascope.errors import UsageError, printable
    from lorascope.library import Library

    with Library(library) as opened, CacheProgress() as progress:
        if check is not None:
            _check(opened, check, as_json)
            return
        if every and adapter:
            raise UsageError(f"{printable(adapter)} and --all are both given: leave one out")
        if not reference or not (every or adapter):
            raise UsageError("name an adapter or --all, and at least one --reference FOLDER")
        if every and (control or encoder or case):
            raise UsageError("--control, --encoder and --case are for one adapter: name it instead of --all")
        err.print("No image is made: everything is read from what was measured.", style="dim")
        models = {"protocol": protocol, "second": encoder, "download": download}
        screening = _screening(opened, reference, control or (), models, progress)
        if every:
            _print_ranking(screening, as_json)
        else:
            _print_case(opened, screening, adapter, encoder, case, as_json)


def _screening(
    library: Library, folders: Sequence[Path], controls: Sequence[Path], models: dict[str, Any], progress: CacheProgress
) -> Screening:
    from lorascope.analysis.screen import Screening
    from lorascope.encoders.load import load_picture_encoder

    stored = library.protocols.find(models["protocol"])
    encoder = load_picture_encoder(stored.protocol.encoder, download=models["download"])
    second = load_picture_encoder(models["second"], download=models["download"]) if models["second"] else None
    return Screening(
        library, folders, encoder, controls=controls, protocol=models["protocol"], second=second, note=progress.note
    )


def _print_case(
    library: Library, screening: Screening, name: str, second: str, path: Path | None, as_json: bool
) -> None:
    import json

    from lorascope.caches import write_whole
    from lorascope.cli.output import print_json, print_line
    from lorascope.report.case import NOTICE, plain_case, write_case

    found = screening.case(library.adapters.find(name).key)
    plain = plain_case(found, screening.works, second, screening.controls)
    if path is not None:
        write_case(path, found, screening.works, second, screening.controls)
        write_whole(path.with_suffix(".json"), json.dumps(plain, indent=1) + "\n")
    if as_json:
        print_json(plain)
        return
    _print_found(found)
    if path is not None:
        print_line(f"case file: {path}, {path.with_suffix('.json').name}")
    print_line(NOTICE, "dim")


def _print_found(case: Case) -> None:
    from lorascope.cli.output import print_line, print_table, ranged

    if case.positions is not None and case.field is not None:
        rows = [
            (name, ranged(one.value.value, one.value, digits), _share(one.share))
            for name, one, digits in zip(("Strength", "Consistency"), case.positions, (2, 3), strict=True)
        ]
        print_table(("", case.adapter.name, "above"), rows)
        print_line(f"{case.field.title}: {case.field.reading}")
    rows = [
        (
            one.first.works,
            one.verdict,
            ranged(one.first.pull.value, one.first.pull, 3),
            f"{one.first.nearer:.0%}",
            one.adjusted,
            None if one.second is None else one.second.chance,
        )
        for one in case.likenesses
    ]
    if rows:
        print_table(("works", "resemblance", "nearer by", "of pictures", "chance", "second encoder"), rows)
    beyond = [
        (one.first.works, control, ranged(more.value, more, 1))
        for one in case.likenesses
        for control, more in one.beyond
    ]
    if beyond:
        print_table(("works", "control", "nearer to the works by, standard deviations"), beyond)
    for line in case.left_out:
        print_line(f"not looked at: {line}", "dim")


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%} of adapters"


def _print_ranking(screening: Screening, as_json: bool) -> None:
    from dataclasses import asdict

    from lorascope.cli.output import out, print_json, print_table

    ranked = screening.ranking()
    if as_json:
        print_json({"ranked": [asdict(one) for one in ranked]})
        return
    rows = [(one.name, one.works, one.standing, one.chance, f"{one.false_alarms:.0%}") for one in ranked[:_LISTED]]
    print_table(("adapter", "works", "standing", "chance", "false alarms down to here"), rows)
    if len(ranked) > _LISTED:
        out.print(f"{len(ranked) - _LISTED} more with --json", style="dim")


def _check(library: Library, path: Path, as_json: bool) -> None:
    """Compare a case with what is here now; exit with 1 if anything differs."""
    import json

    from lorascope.analysis.screen import evidence_digest
    from lorascope.cli.output import print_json, print_table
    from lorascope.errors import QueryError

    try:
        plain: dict[str, Any] = json.loads(path.read_text("utf-8"))
        key, protocol, told = plain["adapter"]["key"], plain["protocol"]["digest"], plain["evidence"]
        paths = [Path(one) for one in plain["adapter"]["paths"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise QueryError(f"{path} is no case of lorascope ({error!r}): give the .json file beside its .html") from error
    rows = [("evidence", "same" if told and evidence_digest(library, key, protocol) == told else "differs")]
    rows += [(str(one), _same_file(one, key)) for one in paths]
    if as_json:
        print_json({"checked": [{"what": what, "found": found} for what, found in rows]})
    else:
        print_table(("what", "found"), rows)
    if any(found == "differs" for _, found in rows):
        raise typer.Exit(1)


def _same_file(path: Path, key: str) -> str:
    from lorascope.adapters import sha256

    if not path.is_file():
        return "gone"
    return "same" if f"sha256:{sha256(path)}" == key else "differs"
