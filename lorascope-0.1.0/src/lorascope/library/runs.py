"""Runs of a library: what was asked for, and how it ended."""

from __future__ import annotations

import json
import time
from typing import Any, final

from lorascope.library.database import Database


@final
class Runs:
    """The runs that measured a library, by number."""

    def __init__(self, db: Database) -> None:
        """Read and write through a library's connection."""
        self._db = db

    def start(self, request: dict[str, Any], number: int | None = None) -> int:
        """Record that a run begins, or that the one of a number goes on; returns its number."""
        with self._db.transaction() as db:
            sql = (
                "INSERT INTO runs (id, started, request) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET request = excluded.request, finished = NULL, outcome = NULL RETURNING id"
            )
            (assigned,) = db.execute(sql, (number, time.time(), json.dumps(request))).fetchone()
        return assigned

    def finish(self, number: int, outcome: dict[str, Any]) -> None:
        """Record how a run ended."""
        self._db.write(
            "UPDATE runs SET finished = ?, outcome = ? WHERE id = ?",
            [(time.time(), json.dumps(outcome), number)],
        )

    def all(self) -> list[dict[str, Any]]:
        """All runs, the last first; ``finished`` is None for one that was killed."""
        rows = self._db.rows("SELECT id, started, finished, request, outcome FROM runs ORDER BY id DESC")
        return [
            {"id": i, "started": s, "finished": f, "request": json.loads(r), "outcome": json.loads(o) if o else None}
            for i, s, f, r, o in rows
        ]
