"""The ways in which words become a vector. Nothing heavy: a search that knows its query needs no more."""

from __future__ import annotations

from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float32

Encoding = Literal["suffix", "prefix", "both", "query", "query-minus-empty"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)


@runtime_checkable
class Shifts(Protocol):
    """What a search needs of an encoder."""

    def shifts(self, query: str, encoding: Encoding = "suffix") -> Float32[np.ndarray, "n d"]:
        """What adding the query does to each of some prompts."""
        ...
