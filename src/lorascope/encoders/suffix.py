"""Queries as vectors: what adding the query's words to a prompt does, averaged over the prompts of P'."""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lorascope.encoders.base import TextEncoder
from lorascope.encoders.encoding import ENCODINGS, Encoding
from lorascope.encoders.text import ClipText, Prefixes
from lorascope.errors import QueryError
from lorascope.grid import PromptSet
from lorascope.models import cache_dir

_LAYOUT = "1"


@final
class QueryEncoder:
    """Turns query words into shifts of the encoder's text space.

    The paper's way is ``suffix``: u(p + " " + q) - u(p) for every prompt p of P' (eq. in its section on
    retrieval). ``prefix``, ``both``, ``query`` and ``query-minus-empty`` are its ablations, for study.
    """

    def __init__(self, encoder: TextEncoder, prompts: PromptSet) -> None:
        """Bind a text encoder to the prompts P' which queries are appended to."""
        self._encoder = encoder
        self._prompts = prompts

    @property
    def identity(self) -> str:
        """A digest of what decides the vectors: the encoder and P'."""
        return f"{self._encoder.digest}-{self._prompts.digest}"

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

    def _suffixed(self, query: str) -> Float32[np.ndarray, "n d"]:
        tower = self._encoder
        if isinstance(tower, ClipText) and tower.appends(self._prompts.texts[0], query):
            return tower.suffixed(self._prefixes, query).numpy()
        return self._whole("{p} {q}", query)

    def _whole(self, template: str, query: str) -> Float32[np.ndarray, "n d"]:
        return self._encoder.texts([template.format(p=prompt, q=query) for prompt in self._prompts.texts])

    @cached_property
    def _base(self) -> Float32[np.ndarray, "n d"]:
        if isinstance(self._encoder, ClipText):
            return self._prefixes.embeddings.numpy()
        return self._encoder.texts(self._prompts.texts)

    @cached_property
    def _prefixes(self) -> Prefixes:
        """The prefix cache: from disk where a whole one lies there, else computed and kept."""
        assert isinstance(self._encoder, ClipText)
        name = hashlib.sha256(f"{_LAYOUT} {self.identity}".encode()).hexdigest()[:32]
        path = cache_dir() / "prefixes" / f"{name}.safetensors"
        found = _read_prefixes(path, len(self._prompts))
        if found is None:
            found = self._encoder.prefixes(self._prompts.texts)
            with contextlib.suppress(OSError, SafetensorError):  # no room for a cache is no reason to fail
                _write_prefixes(path, found)
                found = _read_prefixes(path, len(self._prompts)) or found  # the same bits as next time
        return found


def _read_prefixes(path: Path, prompts: int) -> Prefixes | None:
    try:
        with safe_open(path, framework="pt") as file:
            prefixes = Prefixes(*(file.get_tensor(name) for name in ("keys", "values", "lengths", "embeddings")))
    except (OSError, SafetensorError):
        return None
    return prefixes if len(prefixes.lengths) == prompts else None


def _write_prefixes(path: Path, prefixes: Prefixes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    tensors: dict[str, torch.Tensor] = {name: value.contiguous() for name, value in vars(prefixes).items()}
    save_file(tensors, partial)
    partial.replace(path)
