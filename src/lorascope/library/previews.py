"""The pictures of the pinned cells of adapters and of the bare base model, and large ones beside the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import final

from lorascope.library.database import Database
from lorascope.library.records import Pin, Preview
from lorascope.protocol import Protocol

BARE = ""
"""The adapter key under which pictures of the bare base model are kept."""


@final
class Previews:
    """The pictures of a library by scene, adapter and place among the pinned cells."""

    def __init__(self, db: Database) -> None:
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

    def pins(self, protocol: Protocol, adapters: Iterable[str]) -> dict[str, dict[int, Pin]]:
        """Which pictures there are of some adapters, without reading them: place to prompt and seed, in order."""
        scenes = {adapter: self.scene(protocol, adapter) for adapter in adapters}
        rows = self._db.rows(
            "SELECT adapter, place, prompt, seed FROM json_each(?) AS wanted CROSS JOIN previews"
            " ON scene = wanted.value AND adapter = wanted.key ORDER BY adapter, place",
            [json.dumps(scenes)],
        )
        pins: dict[str, dict[int, Pin]] = {}
        for adapter, place, prompt, seed in rows:
            pins.setdefault(adapter, {})[place] = Pin(prompt, seed)
        return pins

    def counts(self, scene: str) -> dict[str, int]:
        """How many pictures there are of each adapter in a scene."""
        return dict(self._db.rows("SELECT adapter, count(*) FROM previews WHERE scene = ? GROUP BY adapter", [scene]))

    def scene(self, protocol: Protocol, adapter: str) -> str:
        """Under which scene the pictures of an adapter are kept, or of the bare model (``BARE``).

        Protocols of other scales and trigger words share those of the bare model, except for pictures that an earlier
        version made, or that were made with trigger words.
        """
        if adapter != BARE:
            return protocol.scene
        scenes = [protocol.bare_scene, protocol.scene]
        sql = "SELECT DISTINCT scene FROM previews WHERE adapter = ? AND scene IN (?, ?)"
        present = {scene for (scene,) in self._db.rows(sql, [BARE, *scenes])}
        return next((scene for scene in scenes if scene in present), protocol.bare_scene)


@final
class LargePictures:
    """Large pictures (WebP) of adapters, or of the bare model, by their place among the pinned cells of a scene."""

    def __init__(self, db: Database) -> None:
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
