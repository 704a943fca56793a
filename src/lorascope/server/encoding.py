"""Encoders, loaded at first use and used by one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Float32

from lorascope.encoders.encoding import Encoding, Shifts
from lorascope.library import StoredProtocol
from lorascope.search.searcher import load_query_encoder
from lorascope.server.problems import Problem

if TYPE_CHECKING:
    from lorascope.encoders.base import Encoder

_PATIENCE = 30
"""Seconds that a request waits for others that are encoding."""


@final
class Encoders:
    """The encoders of every Protocol's queries: words and pictures."""

    def __init__(self, *, download: bool = False) -> None:
        """Load nothing yet; fetch what is not on this disk only with ``download``."""
        self._download = download
        self._lock = threading.Lock()
        self._queries: dict[str, Shifts] = {}
        self._pictures: dict[str, Encoder] = {}

    def queries(self, stored: StoredProtocol) -> Shifts:
        """What encodes the queries of a Protocol; the model is loaded by its first query."""
        return _Patient(self, stored)

    def shifts(self, stored: StoredProtocol, query: str, encoding: Encoding) -> Float32[np.ndarray, "n d"]:
        """Encode one query, after those that came before."""
        with self._turn():
            digest = stored.protocol.digest
            if digest not in self._queries:
                self._queries[digest] = load_query_encoder(stored, download=self._download)
            return self._queries[digest].shifts(query, encoding)

    def picture(self, stored: StoredProtocol, file: BytesIO) -> Float32[np.ndarray, " d"]:
        """Embed a picture by the encoder of a Protocol.

        Raises:
            QueryError: it cannot be read as a picture.
            ModelError: the encoder is not on this disk.
        """
        from lorascope.encoders.clip import load_encoder
        from lorascope.encoders.pictures import embed_picture

        with self._turn():
            name = stored.protocol.encoder
            if name not in self._pictures:
                self._pictures[name] = load_encoder(name, download=self._download)
            return embed_picture(file, self._pictures[name])

    @contextmanager
    def _turn(self) -> Generator[None]:
        if not self._lock.acquire(timeout=_PATIENCE):
            raise Problem(503, "busy", f"other queries took more than {_PATIENCE} s", "try again in a moment")
        try:
            yield
        finally:
            self._lock.release()


@final
class _Patient:
    def __init__(self, encoders: Encoders, stored: StoredProtocol) -> None:
        self._encoders = encoders
        self._stored = stored

    def shifts(self, query: str, encoding: Encoding = "suffix") -> Any:
        return self._encoders.shifts(self._stored, query, encoding)
