"""The ways in which words become a vector. Nothing heavy: a search that knows its query needs no more."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float32

from lorascope.grid import PromptSet

Encoding = Literal["suffix", "prefix", "both", "query", "query-minus-empty"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
Dtype = Literal["float32", "bfloat16"]
"""What the text tower computes in. bfloat16 is faster where the processor has it, and near-ties may change places."""


@runtime_checkable
class Shifts(Protocol):
    """What a search needs of an encoder."""

    def shifts(self, query: str, encoding: Encoding = "suffix") -> Float32[np.ndarray, "n d"]:
        """What adding the query does to each of some prompts."""
        ...


def query_identity(digest: str, location: str, prompts: PromptSet, dtype: Dtype = "float32") -> str:
    """What decides query vectors: the encoder's weights, its tokenizer, P', and what is computed in.

    The tokenizer counts where it may change under its name, in a person's own folder. Models that ship with the
    package or come from the hub do not change, and those need not even be on this disk to know a vector again.
    """
    path = Path(location) / "tokenizer.json"
    tokenizer = hashlib.sha256(path.read_bytes()).hexdigest()[:8] if path.is_file() else ""
    return "-".join(filter(None, (digest or location, tokenizer, prompts.digest, dtype)))
