"""Query vectors: their arithmetic, and those that were computed before, kept in a small database among the caches."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar, final

import numpy as np
from jaxtyping import Float, Float32

from lorascope.errors import QueryError

T = TypeVar("T")
Known = tuple[Float32[np.ndarray, " d"], float | None]
"""A query vector and the Consistency of its shifts."""
_BOUND = 20_000
"""40 MB at 512 dimensions."""
_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (
    encoder TEXT NOT NULL, encoding TEXT NOT NULL, query TEXT NOT NULL, vector BLOB NOT NULL, consistency REAL,
    used REAL NOT NULL, PRIMARY KEY (encoder, encoding, query)
)"""
_HOUR = 3600.0
_BUSY_SECONDS = 5
_NOTHING = 1e-5
"""A sum of vectors that is shorter than this share of the longest one is rounding."""


def unit(vectors: Float[np.ndarray, "*q d"]) -> Float32[np.ndarray, "*q d"]:
    """Vectors of length 1 in their directions; 0 stays 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def combined(parts: Sequence[Float[np.ndarray, " d"]]) -> Float[np.ndarray, " d"]:
    """The sum of what is asked.

    Raises:
        QueryError: nothing is left of several parts.
    """
    total = np.sum(parts, axis=0)
    if len(parts) > 1 and np.linalg.norm(total) < _NOTHING * max(float(np.linalg.norm(part)) for part in parts):
        raise QueryError(
            "the query cancels itself out, as 'snow -snow' does: leave a part out, or give one another weight"
        )
    return total


@final
class QueryVectors:
    """The last used query vectors. A cache: where it cannot be read or written, queries are encoded again."""

    def __init__(self, path: Path, bound: int = _BOUND) -> None:
        """Keep at most ``bound`` vectors in a file, forgetting those that were not used for longest."""
        self.path = path
        self._bound = bound

    def get(self, encoder: str, encoding: str, queries: Iterable[str]) -> dict[str, Known]:
        """Those that are known, by query."""
        wanted = (encoder, encoding, json.dumps(list(queries)))
        where = "encoder = ? AND encoding = ? AND query IN (SELECT value FROM json_each(?))"

        def read(db: sqlite3.Connection) -> dict[str, Known]:
            rows = db.execute(f"SELECT query, vector, consistency, used FROM vectors WHERE {where}", wanted).fetchall()
            now = time.time()
            if any(used < now - _HOUR for *_, used in rows):  # not at every reading: that is quicker than a writing
                with suppress(sqlite3.OperationalError):  # read-only
                    db.execute(f"UPDATE vectors SET used = ? WHERE {where}", (now, *wanted))
            return {query: (np.frombuffer(vector, np.float32), c) for query, vector, c, _ in rows}

        return (self._run(read) if self.path.is_file() else None) or {}

    def put(self, encoder: str, encoding: str, found: Mapping[str, Known]) -> None:
        """Keep vectors, and forget the least recently used ones beyond the bound."""
        now = time.time()
        rows = [(encoder, encoding, query, vector.tobytes(), c, now) for query, (vector, c) in found.items()]

        def write(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.execute(
                "DELETE FROM vectors WHERE rowid IN"
                " (SELECT rowid FROM vectors ORDER BY used DESC, rowid DESC LIMIT -1 OFFSET ?)",
                [self._bound],
            )

        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._run(write)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """One transaction. A damaged file is removed; what else goes wrong costs time only, and is worth no word."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as db, db:
                db.execute("PRAGMA synchronous = OFF")  # what a power failure takes is computed again
                db.execute(_TABLE)
                return work(db)
        except sqlite3.OperationalError:  # read-only, full, or locked for long
            return None
        except sqlite3.DatabaseError:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            return None
