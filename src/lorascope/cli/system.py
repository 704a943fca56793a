"""demo, setup and doctor."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options

Tools = Annotated[
    list[Path] | None, typer.Option("--tool", help="Folder of an image tool that is elsewhere. Repeat it for several.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write the config file without asking.")]


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

        run(ServerSettings(library=place, folders=(folder / "loras",), port=0), open_page=True)  # 8642 may be taken


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


def setup(tool: Tools = None, yes: Yes = False, as_json: options.Json = False) -> None:
    """Find your image tools and their models, propose which preset measures which LoRAs, and remember it.

    Looks for ComfyUI, A1111, Forge, SD.Next, InvokeAI, SwarmUI, Stability Matrix, Fooocus and the Hugging Face cache in
    the usual places. Afterwards index and serve need no folders. Nothing is fetched, and nothing of the tools is
    changed. With --json, nothing is written unless you say --yes.
    """
    from lorascope.cli.hints import command
    from lorascope.cli.inventory import look_around, plain_inventory, print_inventory, print_proposal
    from lorascope.cli.output import out, print_json, print_line
    from lorascope.errors import UsageError
    from lorascope.installations import UserConfig, propose
    from lorascope.models import config_file

    inventory = look_around(tool or ())
    config = UserConfig(tuple(inventory.folders), tuple(propose(inventory.adapters, inventory.checkpoints)))
    place = config_file()
    if not as_json:
        print_inventory(inventory)
        print_proposal(inventory, config)
    if not config.folders:
        raise UsageError("no folder of LoRAs was found: name the folder of your image tool with --tool")
    question = f"{'Replace' if place.exists() else 'Write'} {place}?"
    written = yes or (not as_json and typer.confirm(question))
    if written:
        config.save(place)
    if as_json:
        print_json(plain_inventory(inventory, config) | {"config": str(place), "written": written})
    elif written:
        print_line(f"Written: {place}. What it would cost: {command('index', '--dry-run')}")
    else:
        out.print("Nothing was written.")
