"""Query vectors of common phrases that travel with a library, so that they are found where no encoder is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
from jaxtyping import Float32

from lorascope.library.database import Database

PhraseVector = tuple[Float32[np.ndarray, " d"], float | None]
"""A query vector, and the Consistency of its shifts."""


@final
class PhraseVectors:
    """The vectors of phrases under each Protocol. Where the encoder is at hand, they are not used."""

    def __init__(self, db: Database) -> None:
        """Read and write through a library's connection."""
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
