"""What to do next: commands that can be typed as they are printed."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from lorascope.errors import LorascopeError
from lorascope.library import Library, default_path
from lorascope.models import config_file


def command(*arguments: str | Path, library: Path | None = None) -> str:
    """A call of lorascope as this process was called, with ``--library`` unless it is the default one.

    >>> command("search", "pencil drawing", library=Path("my.db"))  # doctest: +SKIP
    "lorascope search 'pencil drawing' --library my.db"
    """
    if Path(sys.argv[0]).name == "__main__.py":
        program = ["python", "-m", "lorascope"]
    else:  # in a virtual environment it may not be on the path
        program = ["lorascope" if shutil.which("lorascope") else sys.argv[0]]
    where = [] if library in (None, default_path()) else ["--library", str(library)]
    return shlex.join([*program, *map(str, arguments), *where])


def next_step() -> str:
    """What someone who gives no verb may want next, by what the default library holds."""
    from lorascope.cli.output import counted

    help_line = f"All commands: {command('--help')}\n"
    if not default_path().exists():
        return f"Try it on the small models that ship with it: {command('demo')}\n{_measure()}\n{help_line}"
    try:
        with Library() as library:
            count = sum(stored.adapters for stored in library.protocols.all()[:1])
            place = library.path
    except LorascopeError as error:
        return f"{error}\n{help_line}"
    if not count:
        return f"The library {place} is empty. {_measure()}\n{help_line}"
    return (
        f"{counted(count, 'adapter')} in {place}\n"
        f"Search them: {command('search', 'pencil drawing')}\n"
        f"Or on a page: {command('serve')}\n{help_line}"
    )


def _measure() -> str:
    """How to measure: once `setup` has found the folders, without naming them."""
    if config_file().exists():
        return f"Measure your own LoRAs: {command('index')}"
    return f"Find your own LoRAs: {command('setup')}\nMeasure a folder of them: {command('index', 'FOLDER')}"
