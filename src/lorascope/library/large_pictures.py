"""Large pictures of pinned cells, kept beside the evidence, for whoever looks at one alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import final

from lorascope.library.database import Database


@final
class LargePictures:
    """Large pictures (WebP) of adapters, or of the bare model, by their place among the pinned cells of a scene."""

    def __init__(self, db: Database) -> None:
        """Read and write through the connection of the evidence."""
        self._db = db

    def put(self, scene: str, adapter: str, pictures: Mapping[int, bytes]) -> None:
        """Keep pictures by their place; those that are there stay."""
        if pictures:
            self._db.write(
                "INSERT INTO pictures (scene, adapter, place, webp) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(scene, adapter, place, webp) for place, webp in pictures.items()],
            )

    def get(self, scene: str, adapter: str, place: int) -> bytes | None:
        """One picture; None where the library's own is all there is."""
        where = "WHERE (scene, adapter, place) = (?, ?, ?)"
        rows = self._db.intact_rows("pictures", "webp", where, (scene, adapter, place))
        return rows[0][0] if rows else None

    def places(self, scenes: Mapping[str, str]) -> set[tuple[str, int]]:
        """Adapter and place of the pictures that there are, of some adapters by key in a scene each."""
        return {
            (adapter, place)
            for adapter, place in self._db.rows(
                "SELECT adapter, place FROM json_each(?) AS wanted CROSS JOIN pictures"
                " ON scene = wanted.value AND adapter = wanted.key",
                (json.dumps(scenes),),
            )
        }

    def remove(self, adapter: str) -> None:
        """Forget an adapter's pictures."""
        self._db.write("DELETE FROM pictures WHERE adapter = ?", [(adapter,)])
