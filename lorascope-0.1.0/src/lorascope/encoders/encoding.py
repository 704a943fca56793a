"""The ways in which words become a vector. Nothing heavy: a search that knows its query needs no more."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float32

from lorascope.errors import QueryError
from lorascope.grid import PromptSet

Encoding = Literal["suffix", "prefix", "both", "query", "query-minus-empty"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)


def encoding_of(name: str) -> Encoding:
    """The encoding of a name.

    Raises:
        QueryError: there is none.
    """
    if name not in ENCODINGS:
        raise QueryError(f"no query encoding {name!r}: use one of {', '.join(ENCODINGS)}")
    return name


@runtime_checkable
class Shifts(Protocol):
    """What a search needs of an encoder."""

    def shifts(self, query: str, encoding: Encoding = "suffix") -> Float32[np.ndarray, "n d"]:
        """What adding the query does to each of some prompts."""
        ...


def query_identity(digest: str, location: str, prompts: PromptSet) -> str:
    """What decides query vectors: the encoder's weights, its tokenizer and P'.

    The tokenizer counts where it may change under its name, in a person's own folder. Models that ship with the
    package or come from the hub do not change, and those need not even be on this disk to know a vector again.
    """
    path = Path(location) / "tokenizer.json"
    tokenizer = hashlib.sha256(path.read_bytes()).hexdigest()[:8] if path.is_file() else ""
    return "-".join(filter(None, (digest or location, tokenizer, prompts.digest)))
