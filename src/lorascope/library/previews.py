"""Previews: the pictures of the pinned cells of adapters and of the bare base model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import final

from lorascope.library.database import Database
from lorascope.library.records import Pin, Preview

BARE = ""
"""The adapter key under which pictures of the bare base model are kept."""


@final
class Previews:
    """The pictures of a library by scene, adapter and place among the pinned cells."""

    def __init__(self, db: Database) -> None:
        """Read and write through a library's connection."""
        self._db = db

    def put(self, scene: str, adapter: str, previews: Iterable[Preview]) -> None:
        """Keep pictures of an adapter, or of the bare model (``BARE``)."""
        self._db.write(
            "INSERT INTO previews (scene, adapter, place, prompt, seed, webp) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            [(scene, adapter, p.place, p.prompt, p.seed, p.webp) for p in previews],
        )

    def all(self, scene: str, adapter: str) -> list[Preview]:
        """The pictures of an adapter, in order of the pinned cells."""
        where = "WHERE scene = ? AND adapter = ? ORDER BY place"
        rows = self._db.intact_rows("previews", "place, prompt, seed, webp", where, [scene, adapter])
        return [Preview(*row) for row in rows]

    def get(self, scene: str, adapter: str, place: int) -> Preview | None:
        """One picture of an adapter, or of the bare model (``BARE``)."""
        where = "WHERE (scene, adapter, place) = (?, ?, ?)"
        rows = self._db.intact_rows("previews", "place, prompt, seed, webp", where, [scene, adapter, place])
        return Preview(*rows[0]) if rows else None

    def pins(self, scene: str, adapters: Iterable[str]) -> dict[str, dict[int, Pin]]:
        """Which pictures there are of some adapters, without reading them: place to prompt and seed, in order."""
        rows = self._db.rows(
            "SELECT adapter, place, prompt, seed FROM previews"
            " WHERE scene = ? AND adapter IN (SELECT value FROM json_each(?)) ORDER BY adapter, place",
            [scene, json.dumps(list(adapters))],
        )
        pins: dict[str, dict[int, Pin]] = {}
        for adapter, place, prompt, seed in rows:
            pins.setdefault(adapter, {})[place] = Pin(prompt, seed)
        return pins
