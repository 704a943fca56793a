"""Which adapter is meant, and whether the file that it came from is still the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lorascope.adapters.folder import SAFETENSORS
from lorascope.errors import LibraryError, place_of

Rows = Callable[[str, Sequence[Any]], list[Any]]
"""Asks a library in SQL."""

_BY_NAME = (
    "SELECT key, max(name = ?1), count(path) FROM adapters LEFT JOIN files ON adapter = id"
    " WHERE key = ?1 OR name = ?1 OR path = ?2"
    " OR (length(?1) >= 6 AND (substr(key, 1, length(?1)) = ?1 OR substr(key, 8, length(?1)) = ?1)) GROUP BY key"
)
_BY_FILE = "SELECT DISTINCT key FROM adapters JOIN files ON adapter = id WHERE substr(path, -length(?1)) = ?1"


def find(rows: Rows, library: Path, text: str) -> str:
    """The key of the adapter that goes by a key, the start of one, a name, or a path.

    Of several of one name those are meant that have a file: one that was replaced in its place leaves its adapter's
    name behind. A copy whose adapter goes by another file's name is found by its own, if nothing else is called so.

    Raises:
        LibraryError: none or several match.
    """
    found = rows(_BY_NAME, [text, place_of(text)])
    if any(named and files for _, named, files in found):
        found = [row for row in found if row[2] or not row[1]]
    keys = [key for key, *_ in found or rows(_BY_FILE, [f"{os.sep}{text}{SAFETENSORS}"])]
    if len(keys) == 1:
        return keys[0]
    if keys:
        shown = ", ".join([key if "@" in key else key[:19] for key in keys[:5]] + ["..."] * (len(keys) > 5))
        raise LibraryError(f"{len(keys)} adapters are called {text!r}: give more of a key ({shown})")
    names = [name for (name,) in rows("SELECT DISTINCT name FROM adapters ORDER BY name", [])]
    near = [name for name in names if text.lower() in name.lower()][:5] or get_close_matches(text, names, 5)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    raise LibraryError(f"{library} has no adapter {text!r}: `lorascope list` shows all.{hint}")


def another_lies_at(path: Path | str, size: int, mtime_ns: int) -> bool:
    """Whether a file is there, but not the one of this size and time. False where none is, or none can be seen."""
    try:
        now = Path(path).stat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) != (size, mtime_ns)
