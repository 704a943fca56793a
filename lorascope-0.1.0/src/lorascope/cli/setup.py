"""setup: find the image tools and their models, and remember what measures what."""

from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options

Tools = Annotated[
    list[Path] | None, typer.Option("--tool", help="Folder of an image tool that is elsewhere. Repeat it for several.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write the config file without asking.")]


def setup(tool: Tools = None, yes: Yes = False, as_json: options.Json = False) -> None:
    """Find your image tools and their models, propose which preset measures which LoRAs, and remember it.

    Looks for ComfyUI, A1111, Forge, SD.Next, InvokeAI, SwarmUI, Stability Matrix, Fooocus and the Hugging Face cache in
    the usual places. Afterwards index and serve need no folders. Nothing is fetched, and nothing of the tools is
    changed. With --json, nothing is written unless you say --yes.
    """
    from lorascope.cli.hints import command
    from lorascope.cli.inventory import look_around, plain_inventory, print_inventory, print_proposal
    from lorascope.cli.output import out, print_json
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
        line = f"Written: {place}. What it would cost: {command('index', '--dry-run')}"
        out.print(line, soft_wrap=True, highlight=False, markup=False)
    else:
        out.print("Nothing was written.")
