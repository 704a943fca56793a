"""Query vectors that were computed before, kept for all libraries in a small database among the caches."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32

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


@final
class QueryVectors:
    """The last used query vectors. A cache: where it cannot be read or written, queries are encoded again."""

    def __init__(self, path: Path, bound: int = _BOUND) -> None:
        """Keep at most ``bound`` vectors in a file, forgetting those that were not used for longest."""
        self.path = path
        self._bound = bound

    def get(self, encoder: str, encoding: str, queries: Iterable[str]) -> dict[str, Known]:
        """Those that are known, by query."""
        found: dict[str, Known] = {}
        if self.path.is_file():
            with self._opened() as db:
                wanted = (encoder, encoding, json.dumps(list(queries)))
                where = "encoder = ? AND encoding = ? AND query IN (SELECT value FROM json_each(?))"
                rows = db.execute(f"SELECT query, vector, consistency, used FROM vectors WHERE {where}", wanted)
                now, oldest = time.time(), float("inf")
                for query, vector, consistency, used in rows:
                    found[query] = (np.frombuffer(vector, np.float32), consistency)
                    oldest = min(oldest, used)
                if oldest < now - _HOUR:  # not at every reading, for a reading is quicker than a writing
                    db.execute(f"UPDATE vectors SET used = ? WHERE {where}", (now, *wanted))
        return found

    def put(self, encoder: str, encoding: str, found: Mapping[str, Known]) -> None:
        """Keep vectors, and forget the least recently used ones beyond the bound."""
        now = time.time()
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as db:
                rows = [(encoder, encoding, query, vector.tobytes(), c, now) for query, (vector, c) in found.items()]
                db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?, ?)", rows)
                db.execute(
                    "DELETE FROM vectors WHERE rowid IN"
                    " (SELECT rowid FROM vectors ORDER BY used DESC, rowid DESC LIMIT -1 OFFSET ?)",
                    [self._bound],
                )

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        """A connection for one transaction. A damaged file is removed; no other trouble is worth a word."""
        try:
            with closing(sqlite3.connect(self.path, timeout=5)) as db, db:
                db.execute("PRAGMA synchronous = OFF")  # what a power failure takes is computed again
                db.execute(_TABLE)
                yield db
        except sqlite3.OperationalError:  # read-only, full, or locked for long
            pass
        except sqlite3.DatabaseError:
            with suppress(OSError):
                self.path.unlink()
