"""Embeddings of the pictures that people searched by, so that the address of such a search keeps working."""

from __future__ import annotations

import time
from typing import final

import numpy as np
from jaxtyping import Float32

from lorascope.library.database import Database

_LIMIT = 10_000
"""So many pictures are remembered, the last ones; 20 MB at 512 dimensions."""


@final
class Pictures:
    """Embeddings of query pictures, by encoder and name."""

    def __init__(self, db: Database) -> None:
        """Read and write through a library's connection."""
        self._db = db

    def put(self, encoder: str, name: str, embedding: Float32[np.ndarray, " d"]) -> None:
        """Keep an embedding, and forget the oldest ones over the limit."""
        self._db.write_if_possible(
            "INSERT OR REPLACE INTO pictures (encoder, name, embedding, sent) VALUES (?, ?, ?, ?)",
            [(encoder, name, embedding.tobytes(), time.time())],
        )
        self._db.write_if_possible(
            "DELETE FROM pictures WHERE rowid IN (SELECT rowid FROM pictures ORDER BY sent DESC LIMIT -1 OFFSET ?)",
            [(_LIMIT,)],
        )

    def get(self, encoder: str, name: str) -> Float32[np.ndarray, " d"] | None:
        """The embedding, by an encoder, of a picture that somebody searched by; None if it is not kept."""
        rows = self._db.intact_rows("pictures", "embedding", "WHERE (encoder, name) = (?, ?)", [encoder, name])
        return np.frombuffer(rows[0][0], np.float32) if rows else None
