"""Queries as vectors: what adding the query's words to a prompt does, averaged over the prompts of P'."""

from __future__ import annotations

import contextlib
import hashlib
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lorascope.caches import Note, fingerprint, quiet, unfinished
from lorascope.encoders.base import TextEncoder
from lorascope.encoders.encoding import ENCODINGS, Encoding, query_identity
from lorascope.encoders.text import ClipText, Prefixes
from lorascope.encoders.weights import mapped
from lorascope.errors import ModelError, QueryError
from lorascope.grid import PromptSet
from lorascope.models import cache_dir

_LAYOUT = "3"
_TENSORS = ("keys", "values", "lengths", "embeddings")


@final
class QueryEncoder:
    """Turns query words into shifts of the encoder's text space.

    The paper's way is ``suffix``: u(p + " " + q) - u(p) for every prompt p of P' (eq. in its section on
    retrieval). ``prefix``, ``both``, ``query`` and ``query-minus-empty`` are its ablations, for study.
    """

    def __init__(self, encoder: TextEncoder, prompts: PromptSet, note: Note = quiet) -> None:
        """Bind a text encoder to the prompts P' which queries are appended to.

        ``note`` is called with progress while the prefix cache is computed.
        """
        self._encoder = encoder
        self._prompts = prompts
        self._note = note

    @property
    def identity(self) -> str:
        """What decides the vectors: the encoder and P'."""
        return query_identity(self._encoder.digest, self._encoder.name, self._prompts)

    def shifts(self, query: str, encoding: Encoding = "suffix") -> Float32[np.ndarray, "n d"]:
        """One shift for every prompt of P' (a single row for ``query`` and ``query-minus-empty``).

        Raises:
            QueryError: the query is empty, or the encoding is unknown.
        """
        query = " ".join(query.split())
        if not query:
            raise QueryError("the query is empty: describe an effect, a style or a subject")
        if encoding == "suffix":
            return self._suffixed(query) - self._base
        if encoding == "prefix":
            return self._whole("{q} {p}", query) - self._base
        if encoding == "both":
            return self._whole("{q} {p} {q}", query) - self._base
        if encoding == "query":
            return self._encoder.texts([query])
        if encoding == "query-minus-empty":
            return self._encoder.texts([query]) - self._encoder.texts([""])
        raise QueryError(f"no query encoding {encoding!r}: use one of {', '.join(ENCODINGS)}")

    def vector(self, query: str, encoding: Encoding = "suffix") -> Float32[np.ndarray, " d"]:
        """q', the mean of the shifts."""
        return self.shifts(query, encoding).mean(0)

    def reads(self, query: str) -> bool:
        """Whether the encoder reads a query to its end, at least after the shortest prompt.

        Longer texts are cut as the tokenizer cuts them. True where the limit of an encoder is not known.
        """
        if not isinstance(self._encoder, ClipText):
            return True
        shortest = min(len(self._encoder.ids(prompt)) for prompt in self._prompts.texts)
        return shortest + len(self._encoder.ids(query)) + 2 <= self._encoder.limit

    def _suffixed(self, query: str) -> Float32[np.ndarray, "n d"]:
        tower = self._encoder
        if isinstance(tower, ClipText) and tower.appends(self._prompts.texts[0], query):
            return tower.suffixed(self._prefixes, query)
        return self._whole("{p} {q}", query)

    def _whole(self, template: str, query: str) -> Float32[np.ndarray, "n d"]:
        return self._encoder.texts([template.format(p=prompt, q=query) for prompt in self._prompts.texts])

    @cached_property
    def _base(self) -> Float32[np.ndarray, "n d"]:
        if isinstance(self._encoder, ClipText):
            return self._prefixes.embeddings
        return self._encoder.texts(self._prompts.texts)

    @cached_property
    def _prefixes(self) -> Prefixes:
        """The prefix cache: from disk where there is a whole one, else computed and kept."""
        assert isinstance(self._encoder, ClipText)
        name = hashlib.sha256(f"{_LAYOUT} {self.identity}".encode()).hexdigest()[:32]
        path = cache_dir() / "prefixes" / f"{name}.safetensors"
        found = _read_prefixes(path)
        if found is None:
            found = self._encoder.prefixes(self._prompts.texts, self._note)
            with contextlib.suppress(OSError, SafetensorError):  # no room for a cache is no reason to fail
                _write_prefixes(path, found)
                found = _read_prefixes(path) or found  # mapped, as it will be next time
        return found


def _read_prefixes(path: Path) -> Prefixes | None:
    """The cache, mapped from the disk; None if it is missing or not what was written."""
    try:
        with safe_open(path, framework="np") as file:
            written = (file.metadata() or {}).get("fingerprint")
        tensors = mapped(path)
        prefixes = Prefixes(*(tensors[name] for name in _TENSORS))
    except (OSError, SafetensorError, ModelError, KeyError):
        return None
    return prefixes if written == _fingerprint(prefixes) else None


def _write_prefixes(path: Path, prefixes: Prefixes) -> None:
    tensors = {name: np.ascontiguousarray(getattr(prefixes, name)) for name in _TENSORS}
    with unfinished(path.parent) as partial:
        save_file(tensors, partial, {"fingerprint": _fingerprint(prefixes)})
        partial.replace(path)


def _fingerprint(prefixes: Prefixes) -> str:
    return fingerprint(*(np.ascontiguousarray(getattr(prefixes, name)) for name in _TENSORS))
