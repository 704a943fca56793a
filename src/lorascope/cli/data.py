"""import, export, remove, verify: libraries in and out, and whether they are whole."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options


def import_(
    source: Annotated[
        str,
        typer.Argument(help="The authors' layout (.parquet: a path or an address), or another library (.db)."),
    ],
    library: options.LibraryPath = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow http, which anyone on the network can read and change.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Import the published CARLoS library, or merge another library into this one. Importing again changes nothing."""
    from lorascope.cli.output import counted, print_result
    from lorascope.errors import LibraryError
    from lorascope.library import ForeignLibrary, Library, merge, published

    if not source.endswith((".db", ".parquet")):
        raise LibraryError(f"{source!r} is neither .parquet nor .db: those are what can be imported")
    if not source.endswith(".db") and not source.startswith(("https://", "http://")) and not Path(source).is_file():
        raise LibraryError(f"no file at {source}: give the published library, an export, or an https address of one")
    if source.endswith(".db"):
        with ForeignLibrary(Path(source)) as theirs:
            theirs.check()  # a source that is wrong leaves no empty library
        with Library(library, create=True) as opened:
            merged = merge(Path(source), opened)
        left_out = f", {merged.reworded} left out (measured with other trigger words)" if merged.reworded else ""
        words = (
            f"{counted(merged.adapters, 'adapter')} read from {source} into {opened.path}:"
            f" {counted(merged.recomputed, 'signature')} computed from its evidence, {merged.claimed} taken as claims"
            f"{left_out}"
        )
        counts = dataclasses.asdict(merged)
        print_result(as_json, words, read=counts.pop("adapters"), library=str(opened.path), **counts)
        return
    with published(source, insecure=insecure) as theirs, Library(library, create=True) as opened:
        count = theirs.into(opened)
        words = f"{counted(count, 'adapter')} read from {source} into {opened.path}"
        print_result(as_json, words, read=count, library=str(opened.path))


def export(
    target: Annotated[
        Path,
        typer.Argument(
            parser=options.output_file,
            metavar="TARGET",
            help="A .parquet file for signatures, a .json file for the corpus manifest.",
        ),
    ],
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Export signatures in the authors' layout, or a manifest of what was measured and what was left out, and why."""
    from lorascope.cli.output import counted, print_result
    from lorascope.errors import LibraryError
    from lorascope.library import Library, export_carlos, write_manifest

    with Library(library) as opened:
        if target.suffix == ".parquet":
            count = export_carlos(opened, target, protocol)
        elif target.suffix == ".json":
            count = write_manifest(opened, target)
        else:
            raise LibraryError(f"{target} ends in {target.suffix!r}: use .parquet for signatures, .json for a manifest")
        print_result(as_json, f"{counted(count, 'adapter')} written to {target}", written=count, path=str(target))


def remove(
    adapter: options.AdapterName,
    library: options.LibraryPath = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.Json = False,
) -> None:
    """Forget an adapter, all its measurements and its note. Its file is not touched."""
    from lorascope.cli.output import print_result
    from lorascope.library import Library

    with Library(library) as opened:
        found = opened.adapters.find(adapter)
        if not yes and not as_json:
            typer.confirm(f"Forget {found.name} ({found.key[:19]}), its measurements and its note?", abort=True)
        opened.remove(found.key)
        print_result(as_json, f"{found.name} is forgotten", removed=found.key)


def verify(
    library: Annotated[
        Path | None, typer.Argument(help="The library; the default one if none is given.", show_default=False)
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop what is damaged, and compute signatures anew from whole evidence.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Check that a library is what was measured: every row, and every signature against its evidence.

    What is damaged is named, and the exit status is 1. After --repair the next index measures what was dropped, and
    nothing that is whole.
    """
    from lorascope.cli.output import counted, print_json, print_line, print_table
    from lorascope.library import Library
    from lorascope.library import verify as check

    with Library(library) as opened:
        damage = check(opened, repair=repair)
        if as_json:
            print_json([vars(one) for one in damage])
        elif damage:
            print_table(("file", "damaged", "repair"), [(one.file, one.what, one.repair or None) for one in damage])
        else:
            print_line(f"{opened.path}: {counted(len(opened.adapters.all()), 'adapter')}, all as it was measured")
    if damage:
        raise typer.Exit(1)
