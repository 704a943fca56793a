"""CLIP's text tower with a prefix cache, in NumPy.

The tower is causal and reads its result at the end-of-text token, and its tokenizer never merges across the
space before a query. So the keys and values of a prompt do not change when a query is appended to it: they are
computed once, and each query costs only its own tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32, Int64
from tokenizers import Tokenizer

from lorascope.caches import Note, quiet
from lorascope.encoders.digest import model_digest
from lorascope.encoders.transformer import Array, Past, Transformer
from lorascope.encoders.weights import Weights, read_config
from lorascope.errors import ModelError
from lorascope.models import is_without_vocabulary

_BATCH = 64


@dataclass(frozen=True)
class Prefixes:
    """The prompts of P', ready to have queries appended.

    ``keys`` and ``values`` are (layers, prompts, heads, longest, head width), padded at the end; ``lengths``
    (prompts,) counts the valid positions, begin-of-text included; ``embeddings`` (prompts, d) are u(p).
    """

    keys: Float32[np.ndarray, "layers prompts heads longest width"]
    values: Float32[np.ndarray, "layers prompts heads longest width"]
    lengths: Int64[np.ndarray, " prompts"]
    embeddings: Float32[np.ndarray, "prompts d"]


@final
class ClipText:
    """The text tower of any CLIP model in the layout of ``transformers``, on the processor."""

    def __init__(self, folder: Path, name: str = "") -> None:
        """Map the text half of a CLIP folder.

        Raises:
            ModelError: it lacks config.json, tokenizer.json, its words or the text weights, or is no CLIP model.
        """
        self.name = name or str(folder)
        config = read_config(folder)
        if config.get("model_type") != "clip" or "text_config" not in config:
            raise ModelError(f"{folder} holds a {config.get('model_type')!r} model: give the folder of a CLIP model")
        text = config["text_config"]
        self.limit: int = text.get("max_position_embeddings", 77)
        self._tokenizer = _read_tokenizer(folder)
        self.digest = model_digest(folder)
        weights = Weights(folder, ("text_model.", "text_projection."))
        self._projection = weights["text_projection.weight"]
        self._tower = Transformer(weights, "text_model", text)
        self._tokens = self._tower.weight("embeddings.token_embedding.weight")
        self._positions = self._tower.weight("embeddings.position_embedding.weight")
        if is_without_vocabulary(self._tokenizer.get_vocab_size(), len(self._tokens)):
            raise ModelError(f"{folder} has a tokenizer.json without a vocabulary: give a complete model folder")
        self._bos, self._eos = self._tokenizer.encode("").ids[:2]

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return self._projection.shape[0]

    def texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unnormalised text embeddings, equal to ``CLIPModel.get_text_features`` up to rounding."""
        ids = [self._cut(self.ids(text)) for text in texts]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))  # alike lengths share a batch
        result = np.empty((len(ids), self.dim), np.float32)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            result[batch] = self._encode([[self._bos, *ids[i], self._eos] for i in batch])[0]
        return result

    def ids(self, text: str) -> list[int]:
        """Token ids without begin- and end-of-text."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def prefixes(self, prompts: Sequence[str], note: Note = quiet) -> Prefixes:
        """Compute the prefix cache of a set of prompts."""
        ids = [[self._bos, *self._cut(self.ids(prompt)), self._eos] for prompt in prompts]
        longest = max(map(len, ids)) - 1
        embeddings: list[Float32[np.ndarray, "b d"]] = []
        keys: list[Float32[np.ndarray, "layers b heads longest width"]] = []
        values: list[Float32[np.ndarray, "layers b heads longest width"]] = []
        for start in range(0, len(ids), _BATCH):
            note("reading the prompts of queries", start, len(ids))
            embedded, cached = self._encode(ids[start : start + _BATCH])
            embeddings.append(embedded)
            for parts, index in ((keys, 0), (values, 1)):
                stack = np.stack([layer[index] for layer in cached])[..., :longest, :]
                padding = ((0, 0), (0, 0), (0, 0), (0, longest - stack.shape[-2]), (0, 0))
                parts.append(np.pad(stack, padding))
        lengths = np.array([len(row) - 1 for row in ids])
        return Prefixes(np.concatenate(keys, 1), np.concatenate(values, 1), lengths, np.concatenate(embeddings))

    def suffixed(self, prefixes: Prefixes, query: str) -> Float32[np.ndarray, "n d"]:
        """u(p + " " + query) for every cached prompt p, over-long texts cut as the tokenizer cuts them."""
        ids = self.ids(query)
        rows = [[*ids[: max(0, self.limit - 1 - length)], self._eos] for length in prefixes.lengths.tolist()]
        return self._encode(rows, prefixes)[0]

    def appends(self, prompt: str, query: str) -> bool:
        """Whether the ids of ``prompt + " " + query`` are those of both parts, as the cache assumes."""
        return self.ids(f"{prompt} {query}") == self.ids(prompt) + self.ids(query)

    def _cut(self, ids: list[int]) -> list[int]:
        return ids[: self.limit - 2]

    def _encode(
        self, rows: list[list[int]], prefixes: Prefixes | None = None
    ) -> tuple[Float32[np.ndarray, "n d"], list[tuple[Array, Array]]]:
        """Run token rows (n, longest), optionally after cached prefixes; returns embeddings, keys and values."""
        longest = max(map(len, rows))
        ids = np.array([row + [self._eos] * (longest - len(row)) for row in rows])
        ends = np.array([row.index(self._eos) for row in rows])  # pooled at the first end-of-text, as CLIP does
        first = np.zeros(len(rows), np.int64) if prefixes is None else prefixes.lengths
        places = (first[:, None] + np.arange(longest)).clip(max=self.limit - 1)
        causal = np.tri(longest, dtype=bool)
        past = None if prefixes is None else Past(prefixes.keys, prefixes.values, prefixes.lengths)
        pooled, cached = self._tower.run(self._tokens[ids] + self._positions[places], causal, ends, past)
        return self._tower.normed(pooled, "final_layer_norm") @ self._projection.T, cached


def _read_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no tokenizer.json: save the tokenizer again with a recent transformers")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
