"""The evidence: what every cell's image was to the encoder, kept so that no figure needs a second generation.

Embeddings are stored as float16, and rounded to it before anything is computed from them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float16, Float32, UInt8

from lorascope.library.database import Database
from lorascope.library.objects import ObjectStore, fetched
from lorascope.library.previews import LargePictures
from lorascope.library.schema import EVIDENCE

_NO_END = 2**31
_JOINED = {"blocks": "b", "baselines": "a", "floors": "f"}
_USABLE = (
    "EXISTS (SELECT 1 FROM baselines a JOIN floors f USING (protocol, execution) WHERE"
    " (a.protocol, a.execution, a.words, a.block) = (blocks.protocol, blocks.execution, blocks.words, blocks.block))"
)
"""SQL: a block has the bare arm that it was measured against."""


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

    def __init__(self, path: Path) -> None:
        """Open the companion, or make it; see :class:`lorascope.library.database.Database`."""
        self.path = path
        self.database = self._db = Database(path, EVIDENCE, create=True)
        self.pictures = LargePictures(self._db)
        self._objects: ObjectStore | None = None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def keep_in(self, objects: ObjectStore) -> None:
        """Put the embeddings of blocks that are measured from now on into a bucket. Those of earlier ones stay."""
        self._objects = objects

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All that is written within is kept, or none of it."""
        with self._db.transaction():
            yield

    def put_baseline(
        self, protocol: str, execution: str, words: str, block: int, embeddings: Float16[np.ndarray, "n d"]
    ) -> None:
        """Keep the bare embeddings of one block."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO baselines (protocol, execution, words, block, embeddings) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (protocol, execution, words, block, embeddings.tobytes()),
            )

    def baseline(self, protocol: str, execution: str, words: str, block: int) -> Float16[np.ndarray, " flat"] | None:
        """The bare embeddings of one block, flat, or None."""
        where = "WHERE (protocol, execution, words, block) = (?, ?, ?, ?)"
        rows = self._db.intact_rows("baselines", "embeddings", where, (protocol, execution, words, block))
        return np.frombuffer(rows[0][0], np.float16) if rows else None

    def baselines(self, protocol: str) -> dict[int, Float16[np.ndarray, " flat"]]:
        """The bare embeddings of every block that was measured here without trigger words, flat.

        Of a block that was measured under several Executions, those of one of them.
        """
        where = "WHERE protocol = ? AND words = '' AND execution NOT LIKE '%~%' ORDER BY block, execution DESC"
        rows = self._db.intact_rows("baselines", "block, embeddings", where, (protocol,))
        return {block: np.frombuffer(embeddings, np.float16) for block, embeddings in rows}

    def put_thumbnails(
        self, scene: str, execution: str, words: str, block: int, pixels: UInt8[np.ndarray, "n 3 s s"]
    ) -> None:
        """Keep the bare pictures of one block, small."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO thumbnails (scene, execution, words, block, pixels) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (scene, execution, words, block, pixels.tobytes()),
            )

    def thumbnails(self, scene: str, execution: str, words: str, block: int) -> UInt8[np.ndarray, " flat"] | None:
        """The small bare pictures of one block, flat, or None."""
        where = "WHERE (scene, execution, words, block) = (?, ?, ?, ?)"
        rows = self._db.intact_rows("thumbnails", "pixels", where, (scene, execution, words, block))
        return np.frombuffer(rows[0][0], np.uint8) if rows else None

    def put_floor(self, protocol: str, execution: str, floor: float) -> None:
        """Keep the noise floor of a Protocol under an Execution; the first one measured stays."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO floors (protocol, execution, floor) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (protocol, execution, floor),
            )

    def floor(self, protocol: str, execution: str) -> float | None:
        """The noise floor, or None where it was not measured yet."""
        where = "WHERE (protocol, execution) = (?, ?)"
        rows = self._db.intact_rows("floors", "floor", where, (protocol, execution))
        return rows[0][0] if rows else None

    def put_block(
        self,
        adapter: str,
        block: int,
        execution: str,
        words: str,
        found: Sequence[tuple[str, Float16[np.ndarray, "n d"]]],
        moved: Float32[np.ndarray, " n"],
    ) -> None:
        """Keep one block of an adapter under each of several Protocols, all or none.

        A block that is there stays, unless the bare arm that it was measured against was lost.
        """
        keep = self._objects.put if self._objects is not None else bytes  # before the transaction: it may take long
        stored = [(protocol, keep(embeddings.tobytes())) for protocol, embeddings in found]
        self._db.write(
            "INSERT INTO blocks (adapter, protocol, block, execution, words, embeddings, moved)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET execution = excluded.execution,"
            f" words = excluded.words, embeddings = excluded.embeddings, moved = excluded.moved WHERE NOT {_USABLE}",
            [(adapter, protocol, block, execution, words, data, moved.tobytes()) for protocol, data in stored],
        )

    def put_foreign(self, adapter: str, protocol: str, words: str, block: Block) -> None:
        """Keep a block of another library with its own bare arm, which no block that is measured here will meet.

        Its Execution is marked with a digest of that arm, so that one library's blocks never meet another's arm either.
        """
        arm = blake2b(repr(block.noise_floor).encode() + block.bare.tobytes(), digest_size=8).hexdigest()
        execution = f"{block.execution[:10]}~{arm}"
        with self.transaction():
            self.put_floor(protocol, execution, block.noise_floor)
            self.put_baseline(protocol, execution, words, block.index, block.bare)
            self.put_block(adapter, block.index, execution, words, [(protocol, block.adapted)], block.moved)

    def blocks(self, adapter: str, protocol: str, first: int = 0, end: int = _NO_END) -> list[Block]:
        """The unbroken run of blocks from ``first`` on, before ``end``, each with the baseline of its own Execution."""
        rows = self._db.rows(
            f"SELECT {' AND '.join(self._db.intact(table, alias) for table, alias in _JOINED.items())},"
            " b.block, b.embeddings, a.embeddings, b.moved, f.floor, b.execution FROM blocks b"
            " JOIN baselines a ON a.protocol = b.protocol AND a.execution = b.execution"
            "  AND a.words = b.words AND a.block = b.block"
            " JOIN floors f ON f.protocol = b.protocol AND f.execution = b.execution"
            " WHERE b.adapter = ? AND b.protocol = ? AND b.block >= ? AND b.block < ? ORDER BY b.block",
            (adapter, protocol, first, end),
        )
        found: list[Block] = []
        for place, (intact, index, adapted, bare, moved, floor, execution) in enumerate(rows, first):
            if index != place:
                break
            self._db.check(intact, f"block {index} of {adapter[:19]}, or its baseline,")
            adapted = fetched(adapted)
            with self._db.decoding("blocks"):
                distances = np.frombuffer(moved, np.float32)
                shape = (len(distances), -1)
                embeddings, base = (np.frombuffer(data, np.float16).reshape(shape) for data in (adapted, bare))
                found.append(Block(index, embeddings, base, distances, floor, execution))
        return found

    def counts(self, protocol: str, end: int) -> dict[str, int]:
        """How many of the blocks before ``end`` were measured here of each adapter."""
        sql = "SELECT adapter, count(*) FROM blocks WHERE protocol = ? AND block < ? AND execution NOT LIKE '%~%'"
        return dict(self._db.rows(f"{sql} GROUP BY adapter", (protocol, end)))

    def executions(self, protocol: str) -> dict[str, tuple[str, ...]]:
        """The digests of the Executions under which each adapter was measured, by adapter key."""
        rows = self._db.rows(
            "SELECT DISTINCT adapter, substr(execution, 1, 10) FROM blocks WHERE protocol = ? ORDER BY 1, 2",
            (protocol,),
        )
        found: dict[str, tuple[str, ...]] = {}
        for adapter, execution in rows:
            found[adapter] = (*found.get(adapter, ()), execution)
        return found

    def cells(self, protocol: str) -> dict[str, int]:
        """How many cells of each adapter key there are."""
        sql = "SELECT adapter, sum(length(moved)) / 4 FROM blocks WHERE protocol = ? GROUP BY adapter ORDER BY adapter"
        return dict(self._db.rows(sql, (protocol,)))

    def distances(self, protocol: str) -> dict[str, float]:
        """How far each adapter's pictures moved on average: the distance of thumbnails, 0 to 1, by adapter key."""
        rows = self._db.rows(
            "SELECT adapter, moved FROM blocks WHERE protocol = ? ORDER BY adapter, block", (protocol,)
        )
        found: dict[str, list[Float32[np.ndarray, " n"]]] = {}
        with self._db.decoding("blocks"):
            for adapter, moved in rows:
                found.setdefault(adapter, []).append(np.frombuffer(moved, np.float32))
            return {adapter: float(np.concatenate(parts).mean()) for adapter, parts in found.items()}

    def remove(self, adapter: str) -> None:
        """Forget an adapter's blocks and large pictures."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM blocks WHERE adapter = ?", (adapter,))
            self.pictures.remove(adapter)
