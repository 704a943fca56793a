"""Curves of adapters over scales, as JSON (see :mod:`lorascope.analysis.weight`, which gives it its meaning)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import final

from lorascope.library.database import Database
from lorascope.library.schema import REVISE


@final
class Curves:
    """The Curves of a library by Protocol and adapter."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, protocol: str, key: str, figures: str) -> None:
        """Keep the Curve of an adapter in place of an earlier one; nothing is kept of an adapter that was removed."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO curves (adapter, protocol, figures, measured) SELECT id, ?, ?, ? FROM adapters"
                " WHERE key = ? ON CONFLICT (adapter, protocol) DO UPDATE SET figures = excluded.figures,"
                " measured = excluded.measured",
                (protocol, figures, time.time(), key),
            )
            db.execute(REVISE)

    def get(self, protocol: str, keys: Iterable[str]) -> dict[str, str]:
        """The Curves of some adapters under a Protocol, by key, of those that have one.

        Raises:
            LibraryError: one of them is damaged.
        """
        rows = self._db.rows(
            f"SELECT {self._db.intact('curves')}, key, figures FROM curves JOIN adapters ON adapter = id"
            " WHERE protocol = ? AND key IN (SELECT value FROM json_each(?))",
            [protocol, json.dumps(list(keys))],
        )
        for intact, key, _ in rows:
            self._db.check(intact, f"the curve of {key[:19]}")
        return {key: figures for _, key, figures in rows}
