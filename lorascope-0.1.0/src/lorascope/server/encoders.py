"""Encoders, loaded at first use, in a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FuturesTimeout
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np
from jaxtyping import Float32

from lorascope.encoders.encoding import Encoding, Shifts
from lorascope.library import StoredProtocol
from lorascope.search.phrases import load_query_encoder
from lorascope.server.problems import Problem

if TYPE_CHECKING:
    from lorascope.encoders.base import PictureEncoder

_PATIENCE = 30.0
"""Seconds that a request waits for its turn and its answer."""
MOST = 64
"""The most requests that may wait for the encoder; further ones get 429 at once."""
T = TypeVar("T")


@final
class Encoders:
    """The encoders of every Protocol's queries: words and pictures.

    All of them work in one thread: each thread that torch is used from keeps memory and threads of its own.
    """

    def __init__(self, *, download: bool = False) -> None:
        """Load nothing yet; fetch what is not on this disk only with ``download``."""
        self._download = download
        self._thread = ThreadPoolExecutor(1, "lorascope-encoder")
        self._places = threading.Semaphore(MOST)
        self._queries: dict[str, Shifts] = {}
        self._pictures: dict[str, PictureEncoder] = {}

    def queries(self, stored: StoredProtocol) -> Shifts:
        """The query encoder of a Protocol; the first query loads its model."""
        return _Patient(self, stored)

    def shifts(self, stored: StoredProtocol, query: str, encoding: Encoding) -> Float32[np.ndarray, "n d"]:
        """Encode one query, after those that came before."""

        def encode() -> Float32[np.ndarray, "n d"]:
            digest = stored.protocol.digest
            if digest not in self._queries:
                self._queries[digest] = load_query_encoder(stored, download=self._download)
            return self._queries[digest].shifts(query, encoding)

        return self._turn(encode)

    def picture(self, stored: StoredProtocol, file: BytesIO) -> Float32[np.ndarray, " d"]:
        """Embed a picture by the encoder of a Protocol.

        Raises:
            QueryError: it cannot be read as a picture.
            ModelError: the encoder is not on this disk.
        """
        from lorascope.encoders.load import load_picture_encoder
        from lorascope.encoders.pictures import embed_picture

        def encode() -> Float32[np.ndarray, " d"]:
            name = stored.protocol.encoder
            if name not in self._pictures:
                self._pictures[name] = load_picture_encoder(name, download=self._download)
            return embed_picture(file, self._pictures[name])

        return self._turn(encode)

    def close(self) -> None:
        """Cancel whatever is waiting."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _turn(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            problem = f"{MOST} others are waiting for the encoder"
            raise Problem(429, "queue-full", problem, "try again in a moment", wait=2)
        turn = self._thread.submit(work)
        try:
            return turn.result(_PATIENCE)
        except FuturesTimeout as error:
            turn.cancel()
            problem = f"encoding took more than {_PATIENCE:.0f} s"
            raise Problem(503, "busy", problem, "try again in a moment", wait=5) from error
        finally:
            self._places.release()


@final
class _Patient:
    def __init__(self, encoders: Encoders, stored: StoredProtocol) -> None:
        self._encoders = encoders
        self._stored = stored

    def shifts(self, query: str, encoding: Encoding = "suffix") -> Any:
        return self._encoders.shifts(self._stored, query, encoding)
