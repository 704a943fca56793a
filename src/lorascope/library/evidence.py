"""The evidence: what every cell's image was to the encoder, kept so that no figure needs a second generation.

Embeddings are stored as float16, and rounded to it before anything is computed from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float16, Float32, UInt8

from lorascope.library.database import Database
from lorascope.library.schema import EVIDENCE

_NO_END = 2**31


@dataclass(frozen=True)
class Block:
    """One block of an adapter's cells: adapted and bare embeddings (n, d), and how far each picture moved (n,)."""

    index: int
    adapted: Float16[np.ndarray, "n d"]
    bare: Float16[np.ndarray, "n d"]
    moved: Float32[np.ndarray, " n"]
    noise_floor: float
    execution: str

    @property
    def effects(self) -> np.ndarray:
        """E of each cell, float64 (n, d)."""
        return self.adapted.astype(np.float64) - self.bare.astype(np.float64)


@final
class Evidence:
    """The companion database of a library. ``words`` are the trigger words its prompts were extended by."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the companion; see :class:`lorascope.library.database.Database`."""
        self.path = path
        self._db = Database(path, EVIDENCE, create=create)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def put_baseline(
        self, protocol: str, execution: str, words: str, block: int, embeddings: Float16[np.ndarray, "n d"]
    ) -> None:
        """Keep the bare embeddings of one block."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO baselines VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (protocol, execution, words, block, embeddings.tobytes()),
            )

    def baseline(self, protocol: str, execution: str, words: str, block: int) -> Float16[np.ndarray, " flat"] | None:
        """The bare embeddings of one block, flat, or None."""
        row = self._db.row(
            "SELECT embeddings FROM baselines WHERE (protocol, execution, words, block) = (?, ?, ?, ?)",
            (protocol, execution, words, block),
        )
        return None if row is None else np.frombuffer(row[0], np.float16)

    def put_thumbnails(
        self, scene: str, execution: str, words: str, block: int, pixels: UInt8[np.ndarray, "n 3 s s"]
    ) -> None:
        """Keep the bare pictures of one block, small."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO thumbnails VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (scene, execution, words, block, pixels.tobytes()),
            )

    def thumbnails(self, scene: str, execution: str, words: str, block: int) -> UInt8[np.ndarray, " flat"] | None:
        """The small bare pictures of one block, flat, or None."""
        row = self._db.row(
            "SELECT pixels FROM thumbnails WHERE (scene, execution, words, block) = (?, ?, ?, ?)",
            (scene, execution, words, block),
        )
        return None if row is None else np.frombuffer(row[0], np.uint8)

    def put_floor(self, protocol: str, execution: str, floor: float) -> None:
        """Keep the noise floor of a Protocol under an Execution; the first one measured stays."""
        with self._db.transaction() as db:
            db.execute("INSERT INTO floors VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (protocol, execution, floor))

    def floor(self, protocol: str, execution: str) -> float | None:
        """The noise floor, or None where it was not measured yet."""
        row = self._db.row("SELECT floor FROM floors WHERE (protocol, execution) = (?, ?)", (protocol, execution))
        return None if row is None else row[0]

    def put_block(
        self,
        adapter: str,
        block: int,
        execution: str,
        words: str,
        found: Sequence[tuple[str, Float16[np.ndarray, "n d"]]],
        moved: Float32[np.ndarray, " n"],
    ) -> None:
        """Keep one block of an adapter under each of several Protocols, all or none."""
        self._db.write(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [
                (adapter, protocol, block, execution, words, embeddings.tobytes(), moved.tobytes())
                for protocol, embeddings in found
            ],
        )

    def blocks(self, adapter: str, protocol: str, first: int = 0, end: int = _NO_END) -> list[Block]:
        """The unbroken run of blocks from ``first`` on, before ``end``, each with the baseline of its own Execution."""
        rows = self._db.rows(
            "SELECT b.block, b.embeddings, a.embeddings, b.moved, f.floor, b.execution FROM blocks b"
            " JOIN baselines a ON a.protocol = b.protocol AND a.execution = b.execution"
            "  AND a.words = b.words AND a.block = b.block"
            " JOIN floors f ON f.protocol = b.protocol AND f.execution = b.execution"
            " WHERE b.adapter = ? AND b.protocol = ? AND b.block >= ? AND b.block < ? ORDER BY b.block",
            (adapter, protocol, first, end),
        )
        found: list[Block] = []
        for place, (index, adapted, bare, moved, floor, execution) in enumerate(rows, first):
            if index != place:
                break
            distances = np.frombuffer(moved, np.float32)
            shape = (len(distances), -1)
            worn, base = (np.frombuffer(data, np.float16).reshape(shape) for data in (adapted, bare))
            found.append(Block(index, worn, base, distances, floor, execution))
        return found

    def distances(self, protocol: str) -> dict[str, float]:
        """How far each adapter's pictures moved on average: the distance of thumbnails, 0 to 1, by adapter key."""
        rows = self._db.rows(
            "SELECT adapter, moved FROM blocks WHERE protocol = ? ORDER BY adapter, block", (protocol,)
        )
        found: dict[str, list[Float32[np.ndarray, " n"]]] = {}
        for adapter, moved in rows:
            found.setdefault(adapter, []).append(np.frombuffer(moved, np.float32))
        return {adapter: float(np.concatenate(parts).mean()) for adapter, parts in found.items()}

    def remove(self, adapter: str) -> None:
        """Forget an adapter's blocks."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM blocks WHERE adapter = ?", (adapter,))

    def absorb(self, other: Path, but: Iterable[str]) -> None:
        """Take over every row of another library's evidence that is not here yet. Doing it twice changes nothing.

        Args:
            other: the companion of that library.
            but: adapters whose blocks are left where they are.
        """
        with self._db.attached(other) as db:
            for table in ("floors", "baselines", "thumbnails"):
                db.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM other.{table}")
            taken = "SELECT * FROM other.blocks WHERE adapter NOT IN (SELECT value FROM json_each(?))"
            db.execute(f"INSERT OR IGNORE INTO blocks {taken}", [json.dumps(list(but))])
