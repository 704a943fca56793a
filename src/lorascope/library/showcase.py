"""What a server needs of a library to show it: small readings, and what it keeps so that its pages stay the same."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32

from lorascope.errors import LibraryError
from lorascope.library.records import Pin, Preview
from lorascope.library.schema import explained, transaction

_PICTURES = 10_000
"""So many pictures that people searched by are remembered, the last ones; 20 MB at 512 dimensions."""


@final
class Showcase:
    """A library as its pages see it. Bound to one connection, like the Library that it belongs to."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        """Read and write through a library's own connection."""
        self._db = db
        self._path = path

    def version(self) -> tuple[tuple[str, float, int, float | None, float | None], ...]:
        """What changes whenever signatures or Protocols do, or facts and paths of adapters.

        Each Protocol with its last use, its count of signatures and the newest of them; and when what is known of an
        adapter was written last.
        """
        rows = self._rows(
            "SELECT digest, added, (SELECT count(*) FROM signatures WHERE protocol = digest),"
            " (SELECT max(measured) FROM signatures WHERE protocol = digest), (SELECT max(added) FROM adapters)"
            " FROM protocols ORDER BY added DESC"
        )
        return tuple(rows)

    def claimed(self, claim: str) -> dict[str, Any]:
        """What is claimed of each adapter under one name, such as ``nsfw_level``, where anything is."""
        sql = "SELECT key, json_extract(facts, ?1) FROM adapters WHERE json_extract(facts, ?1) IS NOT NULL"
        return dict(self._rows(sql, [f"$.claims.{claim}.value"]))

    def preview(self, scene: str, adapter: str, place: int) -> Preview | None:
        """One kept picture of an adapter, or of the bare model (``BARE``)."""
        rows = self._rows(
            "SELECT place, prompt, seed, webp FROM previews WHERE (scene, adapter, place) = (?, ?, ?)",
            [scene, adapter, place],
        )
        return Preview(*rows[0]) if rows else None

    def pinned(self, scene: str, adapters: Iterable[str]) -> dict[str, dict[int, Pin]]:
        """Which pictures are kept of some adapters, without reading them: place to prompt and seed, in order."""
        rows = self._rows(
            "SELECT adapter, place, prompt, seed FROM previews"
            " WHERE scene = ? AND adapter IN (SELECT value FROM json_each(?)) ORDER BY adapter, place",
            [scene, json.dumps(list(adapters))],
        )
        found: dict[str, dict[int, Pin]] = {}
        for adapter, place, prompt, seed in rows:
            found.setdefault(adapter, {})[place] = Pin(prompt, seed)
        return found

    def plane(self, protocol: str) -> Float32[np.ndarray, "2 d"] | None:
        """The plane in which a Protocol's Directions are drawn, if that was decided."""
        rows = self._rows("SELECT basis FROM planes WHERE protocol = ?", [protocol])
        return np.frombuffer(rows[0][0], np.float32).reshape(2, -1) if rows else None

    def put_plane(self, protocol: str, basis: Float32[np.ndarray, "2 d"]) -> None:
        """Decide it, once and for all: the first one stays."""
        self._keep("INSERT INTO planes VALUES (?, ?) ON CONFLICT DO NOTHING", [protocol, basis.tobytes()])

    def picture(self, encoder: str, name: str) -> Float32[np.ndarray, " d"] | None:
        """The embedding, by an encoder, of a picture that somebody searched by."""
        rows = self._rows("SELECT embedding FROM pictures WHERE (encoder, name) = (?, ?)", [encoder, name])
        return np.frombuffer(rows[0][0], np.float32) if rows else None

    def put_picture(self, encoder: str, name: str, embedding: Float32[np.ndarray, " d"]) -> None:
        """Remember it, and forget those that were sent longest ago."""
        self._keep(
            "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?)", [encoder, name, embedding.tobytes(), time.time()]
        )
        self._keep(
            "DELETE FROM pictures WHERE rowid IN (SELECT rowid FROM pictures ORDER BY sent DESC LIMIT -1 OFFSET ?)",
            [_PICTURES],
        )

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with explained(self._path):
            return self._db.execute(sql, values).fetchall()

    def _keep(self, sql: str, values: Sequence[Any]) -> None:
        """Write what is good to have; a read-only library goes without."""
        try:
            with transaction(self._db, self._path) as db:
                db.execute(sql, values)
        except LibraryError as error:
            if "read-only" not in str(error):
                raise
