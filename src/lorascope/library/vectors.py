"""Vectors that a library keeps for queries: of common phrases, and of the pictures that people searched by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import final

import numpy as np
from jaxtyping import Float32

from lorascope.library.database import Database

PhraseVector = tuple[Float32[np.ndarray, " d"], float | None]
"""A query vector, and the Consistency of its shifts."""
_MOST_PICTURES = 10_000
"""The last ones are kept; 20 MB at 512 dimensions."""


@final
class PhraseVectors:
    """The vectors of phrases under each Protocol, for whoever has the library without its encoder."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, protocol: str, found: Mapping[str, PhraseVector]) -> None:
        """Keep vectors, but not in place of others; nothing happens where the library cannot be written now."""
        sql = "INSERT INTO phrases (protocol, phrase, vector, consistency) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        rows = [(protocol, phrase, vector.tobytes(), share) for phrase, (vector, share) in found.items()]
        if rows:
            self._db.write_if_possible(sql, rows)

    def all(self, protocol: str) -> dict[str, PhraseVector]:
        """Those of a Protocol by phrase."""
        rows = self._db.intact_rows("phrases", "phrase, vector, consistency", "WHERE protocol = ?", [protocol])
        return {phrase: (np.frombuffer(vector, np.float32), share) for phrase, vector, share in rows}


@final
class Pictures:
    """Embeddings of query pictures by encoder and name, so that the address of such a search keeps working."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, encoder: str, name: str, embedding: Float32[np.ndarray, " d"]) -> None:
        """Keep an embedding, and forget the oldest ones over the limit."""
        self._db.write_if_possible(
            "INSERT OR REPLACE INTO pictures (encoder, name, embedding, sent) VALUES (?, ?, ?, ?)",
            [(encoder, name, embedding.tobytes(), time.time())],
        )
        self._db.write_if_possible(
            "DELETE FROM pictures WHERE rowid IN (SELECT rowid FROM pictures ORDER BY sent DESC LIMIT -1 OFFSET ?)",
            [(_MOST_PICTURES,)],
        )

    def get(self, encoder: str, name: str) -> Float32[np.ndarray, " d"] | None:
        """The embedding, by an encoder, of a picture that somebody searched by; None if it is not kept."""
        rows = self._db.intact_rows("pictures", "embedding", "WHERE (encoder, name) = (?, ?)", [encoder, name])
        return np.frombuffer(rows[0][0], np.float32) if rows else None
