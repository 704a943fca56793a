"""The folders that may be indexed, and counts of their files."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, final

from lorascope.adapters import scan
from lorascope.errors import place_of
from lorascope.library import Library
from lorascope.measure.queue import known_key

_SECONDS = 5.0
"""How long a count is reused; scanning sixty thousand files takes a second."""


@final
class Folders:
    """Counts files: known, left out and new."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._lock = threading.Lock()
        self._found: list[dict[str, Any]] = []
        self._until = 0.0

    def count(self, library: Library) -> list[dict[str, Any]]:
        """The counts of each folder.

        A file is known if it has not changed since it was read, and is measured under the active Protocol. Links that
        lead out of a folder are not followed, as in a run.
        """
        with self._lock:
            if time.monotonic() > self._until:
                stamps = _measured(library)
                refused = {refusal.path for refusal in library.refusals.all()}
                self._found = [_row(number, folder, stamps, refused) for number, folder in enumerate(self._folders)]
                self._until = time.monotonic() + _SECONDS
            return self._found

    def forget(self) -> None:
        """Count again next time: something was indexed."""
        self._until = 0.0


def _measured(library: Library) -> dict[str, tuple[str, int, int]]:
    """Stamps of the files whose adapter has a signature. A file is recorded before it has one."""
    protocols = library.protocols.all()
    keys = library.signatures.precisions(protocols[0].protocol.digest) if protocols else {}
    return {path: stamp for path, stamp in library.adapters.stamps().items() if stamp[0] in keys}


def _row(number: int, folder: Path, stamps: Mapping[str, tuple[str, int, int]], refused: Set[str]) -> dict[str, Any]:
    found = list(scan([folder]))
    known = {path for path in found if known_key(path, stamps) is not None}
    left_out = sum(place_of(path) in refused for path in found if path not in known)
    return {
        "id": number,
        "path": str(folder),
        "files": len(found),
        "known": len(known),
        "refused": left_out,
        "new": len(found) - len(known) - left_out,
    }
