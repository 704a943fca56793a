"""demo and doctor."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for the demo's files.")] = Path("demo"),
    precision: options.PrecisionName = "quick",
    ready: Annotated[
        bool, typer.Option("--ready", help="Measure nothing: take over the signatures that ship, and open the page.")
    ] = False,
    serve: Annotated[
        bool | None,
        typer.Option("--serve/--no-serve", help="Open the page at the end. Default: in a terminal."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Try it on the small models that ship: measure a folder of LoRAs, ask three questions, open the page."""
    if ready:
        from lorascope.cli.sharing import unpack_world

        place = unpack_world(folder, as_json=as_json)
    else:
        from lorascope.cli.demonstration import demonstrate

        place = demonstrate(folder, precision, as_json=as_json)
    if serve or (serve is None and not as_json and sys.stdin.isatty() and sys.stdout.isatty()):
        from lorascope.cli.listener import run
        from lorascope.server.settings import ServerSettings

        run(ServerSettings(library=place, folders=(folder / "loras",)), open_page=True)


def doctor(library: options.LibraryPath = None, as_json: options.Json = False) -> None:
    """Check this installation: device, versions, models, library. Exits with 1 if there is a problem."""
    from lorascope.cli.checkup import checks
    from lorascope.cli.output import print_json, print_table

    found = checks(library)
    if as_json:
        print_json([vars(check) for check in found])
    else:
        marks = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
        print_table(("", "what", "found"), [(marks[c.state], c.what, c.found) for c in found])
    if any(check.state == "problem" for check in found):
        raise typer.Exit(1)
