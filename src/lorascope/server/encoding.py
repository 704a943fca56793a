"""Encoders, loaded at first use and used by one thread at a time."""

from __future__ import annotations

import threading
from typing import Any, final

import numpy as np
from jaxtyping import Float32

from lorascope.encoders.encoding import Encoding, Shifts
from lorascope.library import StoredProtocol
from lorascope.search.searcher import load_query_encoder
from lorascope.server.problems import Problem

_PATIENCE = 30
"""Seconds that a request waits for others that are encoding."""


@final
class Encoders:
    """The query encoder of every Protocol."""

    def __init__(self, *, download: bool = False) -> None:
        """Load nothing yet; fetch what is not on this disk only with ``download``."""
        self._download = download
        self._lock = threading.Lock()
        self._kept: dict[str, Shifts] = {}

    def queries(self, stored: StoredProtocol) -> Shifts:
        """What encodes the queries of a Protocol; the model is loaded by its first query."""
        return _Patient(self, stored)

    def shifts(self, stored: StoredProtocol, query: str, encoding: Encoding) -> Float32[np.ndarray, "n d"]:
        """Encode one query, after those that came before."""
        if not self._lock.acquire(timeout=_PATIENCE):
            raise Problem(503, "busy", f"other queries took more than {_PATIENCE} s", "try again in a moment")
        try:
            digest = stored.protocol.digest
            if digest not in self._kept:
                self._kept[digest] = load_query_encoder(stored, download=self._download)
            return self._kept[digest].shifts(query, encoding)
        finally:
            self._lock.release()


@final
class _Patient:
    def __init__(self, encoders: Encoders, stored: StoredProtocol) -> None:
        self._encoders = encoders
        self._stored = stored

    def shifts(self, query: str, encoding: Encoding = "suffix") -> Any:
        return self._encoders.shifts(self._stored, query, encoding)
