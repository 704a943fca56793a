"""Favourites and notes: what a person keeps about adapters. They stay in this library; imports and packs take none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from lorascope.errors import LibraryError
from lorascope.library.database import Database

LONGEST_NOTE = 4000


@dataclass(frozen=True)
class Mark:
    """What a person keeps about an adapter: whether it is a favourite, and a note, "" for none."""

    favourite: bool = False
    note: str = ""


@final
class Marks:
    """The favourites and notes of a library by adapter. They are no measurements: its version stays as it is."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, key: str, mark: Mark) -> None:
        """Keep a favourite, a note or both in place of what was kept of an adapter.

        Raises:
            LibraryError: the library cannot be written, or has no such adapter.
        """
        with self._db.transaction() as db:
            written = db.execute(
                "INSERT INTO marks (adapter, favourite, note, changed) SELECT id, ?, ?, ? FROM adapters WHERE key = ?"
                " ON CONFLICT (adapter) DO UPDATE SET favourite = excluded.favourite, note = excluded.note,"
                " changed = excluded.changed",
                (mark.favourite, mark.note, time.time(), key),
            )
            if not written.rowcount:
                raise LibraryError(f"{self._db.path} has no adapter {key} any more: another process removed it")

    def get(self, keys: Iterable[str]) -> dict[str, Mark]:
        """What is kept of some adapters by key, of those of which anything is.

        Raises:
            LibraryError: some of it is damaged.
        """
        return self._read("key IN (SELECT value FROM json_each(?))", [json.dumps(list(keys))])

    def favourites(self) -> frozenset[str]:
        """The keys of all favourites.

        Raises:
            LibraryError: one of them is damaged.
        """
        return frozenset(self._read("favourite", []))

    def _read(self, where: str, values: list[str]) -> dict[str, Mark]:
        rows = self._db.rows(
            f"SELECT {self._db.intact('marks')}, key, favourite, note FROM marks JOIN adapters ON adapter = id"
            f" WHERE {where}",
            values,
        )
        for intact, key, *_ in rows:
            self._db.check(intact, f"the favourite or note of {key[:19]}")
        return {key: Mark(bool(favourite), note) for _, key, favourite, note in rows}
