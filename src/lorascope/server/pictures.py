"""Pictures that people search by: each is embedded once, and asked for by the digest of its bytes."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from typing import final

import numpy as np

from lorascope.library import StoredProtocol
from lorascope.models import cache_dir
from lorascope.search.vectors import QueryVectors
from lorascope.server.encoding import Encoders
from lorascope.server.problems import Problem

_KEPT = 1000
_ENCODING = "picture"


@final
class Pictures:
    """Embeddings of pictures by their id; among the caches too, so that addresses outlive the server."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders
        self._lock = threading.Lock()
        self._on_disk = QueryVectors(cache_dir() / "pictures.db", _KEPT)
        self._kept: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()

    def add(self, stored: StoredProtocol, data: bytes) -> str:
        """Embed a picture under a Protocol; returns its id.

        Raises:
            QueryError: it cannot be read as a picture.
            ModelError: the encoder is not on this disk.
        """
        name = hashlib.sha256(data).hexdigest()[:32]
        embedding = self._encoders.picture(stored, io.BytesIO(data))
        self._keep(_identity(stored), name, embedding)
        self._on_disk.put(_identity(stored), _ENCODING, {name: (embedding, None)})
        return name

    def get(self, stored: StoredProtocol, name: str) -> np.ndarray:
        """The embedding (d,) of a picture.

        Raises:
            Problem: it was never sent, or is forgotten.
        """
        identity = _identity(stored)
        with self._lock:
            found = self._kept.get((identity, name))
        if found is None:
            known = self._on_disk.get(identity, _ENCODING, [name])
            if name not in known:
                raise Problem(404, "unknown-image", f"no picture {name[:64]!r} was sent", "send it again", "image")
            found = known[name][0]
            self._keep(identity, name, found)
        return found

    def _keep(self, identity: str, name: str, embedding: np.ndarray) -> None:
        with self._lock:
            self._kept[identity, name] = embedding
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def _identity(stored: StoredProtocol) -> str:
    return stored.protocol.encoder_digest or stored.protocol.encoder
