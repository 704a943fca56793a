"""Finding the installations of image tools on this machine."""

from __future__ import annotations

import os
import platform
import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorascope.errors import UsageError, printable
from lorascope.installations.tools import MODELS, TOOLS, Role, Tool, places_of, recognise_tool


@dataclass(frozen=True)
class Installation:
    """A tool that was found.

    Attributes:
        tool: Its name.
        root: Its folder.
        places: Its folders of models that exist, each with what it holds; folders that hold several kinds are listed
            once for each.
        notes: What a person should know of folders that cannot be used.
    """

    tool: str
    root: Path
    places: tuple[tuple[Role, Path], ...]
    notes: tuple[str, ...] = ()

    def folders(self, role: Role) -> list[Path]:
        """Return the folders that hold one kind of models."""
        return [path for held, path in self.places if held == role]


def usual_places(home: Path, environ: Mapping[str, str], system: str = "") -> list[Path]:
    """Return the folders in which people keep image tools on this system, or on Linux, Darwin (macOS) or Windows."""
    system = system or platform.system()
    places = [home, *(home / name for name in ("Documents", "Desktop", "Downloads", "AI", "ai", "apps", "git", "src"))]
    if system == "Windows":
        drives = [f"{letter}:\\" for letter in string.ascii_uppercase if letter not in "AB"]
        more = [environ.get("APPDATA", ""), environ.get("LOCALAPPDATA", ""), *drives]
    elif system == "Darwin":
        more = [home / "Library" / "Application Support", "/Applications"]
    else:
        more = [home / ".config", home / ".local" / "share", "/opt", "/workspace", "/data"]
    return [*places, *(Path(place) for place in more if place)]


def find_installations(places: Iterable[Path]) -> Iterator[Installation]:
    """Yield the tools whose folder is one of some places, or is in one; what cannot be read is passed over."""
    waiting = list(places)
    seen: set[tuple[int, int]] = set()
    for place in waiting:
        for folder in (place, *_inside(place)):
            found = recognise_tool(folder)
            identity = identity_of(found[1]) if found else None
            if found and identity and identity not in seen:
                seen.add(identity)
                yield _installation(*found)
                if found[0].name == "Stability Matrix":
                    waiting.append(found[1] / "Packages")


def tool_around(path: Path) -> Installation | None:
    """Return the tool, or else the folder of models, that a file lies in."""
    for folder in path.absolute().parents:
        if (found := recognise_tool(folder)) and found[1] == folder:
            return _installation(*found)
    for folder in path.absolute().parents[1:3]:
        models = _installation(MODELS, folder)
        if models.places:
            return models
    return None


def open_installation(path: Path) -> Installation:
    """Look at one folder that a person names.

    Raises:
        UsageError: It does not exist, cannot be read, is empty, or holds no models that are known to lie there.
    """
    shown = printable(str(path))
    try:
        with os.scandir(path) as listing:
            empty = next(listing, None) is None
    except OSError as error:
        raise UsageError(f"--tool {shown} cannot be read ({error.strerror}): name the folder of a tool") from error
    if empty:
        raise UsageError(f"--tool {shown} is empty: name the folder of the tool")
    path = path.absolute()  # what is found is remembered, and used from any folder
    found = _installation(*(recognise_tool(path) or (MODELS, path)))
    if not found.places and found.tool == MODELS.name:
        names = ", ".join(tool.name for tool in TOOLS)
        raise UsageError(f"--tool {shown} is not the folder of {names}, and has no folder loras or checkpoints")
    return found


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return what two names of one folder have in common, or None if it cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _inside(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as listing:
            return sorted(Path(entry.path) for entry in listing if entry.name[0] != "." and entry.is_dir())
    except OSError:
        return []


def _installation(tool: Tool, root: Path) -> Installation:
    places, notes = places_of(tool, root)
    seen: set[tuple[Role, tuple[int, int] | None]] = set()
    kept: list[tuple[Role, Path]] = []
    for role, path in places:  # on systems that do not tell small letters from capitals, two spellings are one folder
        if (key := (role, identity_of(path))) not in seen:
            seen.add(key)
            kept.append((role, path))
    if not kept and not notes:
        notes = [f"{printable(str(root))} holds no folder of models"]
    return Installation(tool.name, root, tuple(kept), tuple(notes))
