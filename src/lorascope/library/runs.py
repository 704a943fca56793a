"""Runs of a library: what was asked for, and how it ended."""

from __future__ import annotations

import json
import time
from typing import Any, final

from lorascope.errors import LibraryError
from lorascope.library.database import Database


@final
class Runs:
    """The runs that measured a library, by number."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def start(self, request: dict[str, Any], number: int | None = None) -> int:
        """Record that a run begins, or that the one of a number continues; returns its number."""
        with self._db.transaction() as db:
            sql = (
                "INSERT INTO runs (id, started, request) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET request = excluded.request, finished = NULL, outcome = NULL RETURNING id"
            )
            (assigned,) = db.execute(sql, (number, time.time(), json.dumps(request))).fetchone()
        return assigned

    def finish(self, number: int, outcome: dict[str, Any]) -> None:
        """Record how a run ended.

        Raises:
            LibraryError: there is no run of this number any more.
        """
        with self._db.transaction() as db:
            values = (time.time(), json.dumps(outcome), number)
            if not db.execute("UPDATE runs SET finished = ?, outcome = ? WHERE id = ?", values).rowcount:
                raise LibraryError(
                    f"{self._db.path}: run {number} is gone, so its end is not recorded. What it measured"
                    " is kept: run `lorascope verify`"
                )

    def all(self) -> list[dict[str, Any]]:
        """All runs, the last first; ``finished`` is None for one that was killed."""
        columns = "id, started, finished, request, outcome"
        rows = self._db.intact_rows("runs", columns, "ORDER BY id DESC", [])
        with self._db.decoding("runs"):
            return [
                {
                    "id": i,
                    "started": s,
                    "finished": f,
                    "request": json.loads(r),
                    "outcome": json.loads(o) if o else None,
                }
                for i, s, f, r, o in rows
            ]
