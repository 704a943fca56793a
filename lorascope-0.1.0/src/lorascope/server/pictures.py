"""Pictures to search by. Each is embedded once, and named by the digest of its bytes."""

from __future__ import annotations

import hashlib
import io
from typing import final

import numpy as np

from lorascope.library import Library, StoredProtocol
from lorascope.server.encoders import Encoders
from lorascope.server.problems import Problem

_LATEST = 200


@final
class QueryPictures:
    """Embeddings of pictures by id. The library stores them, so that addresses outlive the server."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders
        self._latest: dict[tuple[str, str], np.ndarray] = {}

    def add(self, library: Library, stored: StoredProtocol, data: bytes) -> str:
        """Embed a picture under a Protocol; returns its id.

        Raises:
            QueryError: it cannot be read as a picture.
            ModelError: the encoder is not on this disk.
            LibraryError: the embedding cannot be kept.
        """
        name = hashlib.sha256(data).hexdigest()[:32]
        embedding = self._encoders.picture(stored, io.BytesIO(data))
        library.pictures.put(_encoder(stored), name, embedding)
        if len(self._latest) >= _LATEST:
            self._latest.clear()
        self._latest[_encoder(stored), name] = embedding  # a read-only library keeps none
        return name

    def get(self, library: Library, stored: StoredProtocol, name: str) -> np.ndarray:
        """The embedding (d,) of a picture.

        Raises:
            Problem: it was never sent, or has been dropped.
        """
        found = self._latest.get((_encoder(stored), name))
        if found is None:
            found = library.pictures.get(_encoder(stored), name)
        if found is None:
            raise Problem(404, "unknown-image", f"no picture {name[:64]!r} was sent", "send it again", "image")
        return found


def _encoder(stored: StoredProtocol) -> str:
    """Encoders of imported libraries are known by name only."""
    return stored.protocol.encoder_digest or stored.protocol.encoder
