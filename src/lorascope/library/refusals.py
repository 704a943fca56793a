"""Files that were left out, each with the reason and the remedy."""

from __future__ import annotations

import time
from dataclasses import astuple
from pathlib import Path
from typing import final

from lorascope.adapters.items import stamp_of
from lorascope.errors import AdapterError, place_of, printable
from lorascope.library.database import Database
from lorascope.library.records import Refusal
from lorascope.library.schema import REVISE


@final
class Refusals:
    """The files that are left out of a library, by path."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, refusal: Refusal) -> None:
        """Record that a file is left out, and why. An adapter whose file it replaced has no file there any more."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO refusals (path, code, reason, remedy, at) VALUES (?, ?, ?, ?, ?)",
                (*astuple(refusal), time.time()),
            )
            known = db.execute("SELECT adapter, size, mtime_ns FROM files WHERE path = ?", (refusal.path,)).fetchone()
            if known is not None and _replaced(refusal.path, *known[1:]):
                db.execute("DELETE FROM files WHERE path = ?", (refusal.path,))
                db.execute(REVISE)

    def remove(self, *paths: str) -> None:
        """Forget refusals of files that are good now, or gone."""
        self._db.write("DELETE FROM refusals WHERE path = ?", [(path,) for path in paths])

    def all(self) -> list[Refusal]:
        """Every file that is left out, by path."""
        rows = self._db.intact_rows("refusals", "path, code, reason, remedy", "ORDER BY path", [])
        return [Refusal(*row) for row in rows]


def refusal(error: AdapterError) -> Refusal:
    """The record of a file that is left out because of an error."""
    return left_out(error.path, error.code, error.reason, error.remedy)


def left_out(path: Path, code: str, reason: str, remedy: str) -> Refusal:
    """The record of a file that is left out, in texts that can be stored whatever the file holds."""
    return Refusal(place_of(path), code, printable(reason), printable(remedy))


def _replaced(path: str, size: int, mtime_ns: int) -> bool:
    """Whether a file is there, but not the one of this size and time. False where none can be seen."""
    try:
        return stamp_of(Path(path)) != (size, mtime_ns)
    except OSError:
        return False
