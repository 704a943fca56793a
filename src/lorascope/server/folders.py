"""The folders that may be indexed, and how much of them is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from lorascope.adapters import scan
from lorascope.library import Library

_SECONDS = 5.0
"""How long a count holds: a folder of sixty thousand files takes a second to look through."""


@final
class Folders:
    """Counts files, known and new."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._lock = threading.Lock()
        self._found: list[dict[str, Any]] = []
        self._until = 0.0

    def count(self, library: Library) -> list[dict[str, Any]]:
        """Each folder with how many files lie there, how many are known, left out, and new."""
        with self._lock:
            if time.monotonic() > self._until:
                known = library.stamps()
                refused = {refusal.path for refusal in library.refusals()}
                self._found = [self._row(number, known, refused) for number in range(len(self._folders))]
                self._until = time.monotonic() + _SECONDS
            return self._found

    def forget(self) -> None:
        """Count anew next time: something was indexed."""
        self._until = 0.0

    def _row(self, number: int, known: dict[str, Any], refused: set[str]) -> dict[str, Any]:
        folder = self._folders[number]
        found = [str(path.absolute()) for path in scan([folder])]
        measured = sum(path in known for path in found)
        left_out = sum(path in refused and path not in known for path in found)
        return {
            "id": number,
            "path": str(folder),
            "files": len(found),
            "known": measured,
            "refused": left_out,
            "new": len(found) - measured - left_out,
        }
