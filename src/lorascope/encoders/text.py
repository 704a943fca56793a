"""CLIP's text tower with a prefix cache, needing torch, tokenizers and safetensors only.

The tower is causal and reads its result at the end-of-text token, and its tokenizer never merges across the
space before a query. So the keys and values of a prompt do not change when a query is appended to it: they are
computed once, and each query costs only its own tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from safetensors import safe_open
from tokenizers import Tokenizer

from lorascope.caches import Note
from lorascope.encoders.digest import model_digest
from lorascope.encoders.encoding import Dtype
from lorascope.errors import ModelError

Tensors = dict[str, torch.Tensor]
_BATCH = 64
_QUICK = 1.702
"""CLIP's activation is x sigmoid(1.702 x), which is silu(1.702 x) / 1.702: both factors are put into the weights."""


@dataclass(frozen=True)
class _Layer:
    norm1: tuple[torch.Tensor, torch.Tensor]
    qkv: tuple[torch.Tensor, torch.Tensor]
    out: tuple[torch.Tensor, torch.Tensor]
    norm2: tuple[torch.Tensor, torch.Tensor]
    up: tuple[torch.Tensor, torch.Tensor]
    down: tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Prefixes:
    """The prompts of P', ready to have queries appended.

    ``keys`` and ``values`` are (layers, prompts, heads, longest, head width), padded at the end; ``lengths``
    (prompts,) counts the valid positions, begin-of-text included; ``embeddings`` (prompts, d) are u(p).
    """

    keys: torch.Tensor
    values: torch.Tensor
    lengths: torch.Tensor
    embeddings: torch.Tensor


@final
class ClipText:
    """The text tower of any CLIP model in the layout of ``transformers``, on the CPU."""

    def __init__(self, folder: Path, name: str = "", dtype: Dtype = "float32") -> None:
        """Load the text half of a CLIP folder.

        Raises:
            ModelError: the folder lacks config.json, tokenizer.json or the text weights, or is no CLIP model; or the
                processor does not have the dtype.
        """
        if dtype == "bfloat16" and not has_bfloat16():
            raise ModelError("this processor has no bfloat16 arithmetic, so it would not be faster: leave out --fast")
        self.name = name or str(folder)
        self.dtype: Dtype = dtype
        config = _read_config(folder)
        text = config["text_config"]
        self.limit: int = text.get("max_position_embeddings", 77)
        self._heads: int = text.get("num_attention_heads", 8)
        self._eps: float = text.get("layer_norm_eps", 1e-5)
        self._quick: bool = text.get("hidden_act", "quick_gelu") == "quick_gelu"
        self._tokenizer = _read_tokenizer(folder)
        self.digest = model_digest(folder)
        weights = _read_text_weights(folder)
        kind = self._kind = getattr(torch, dtype)
        factor = _QUICK if self._quick else 1.0
        try:
            self._layers = [_layer(weights, i, factor, kind) for i in range(text.get("num_hidden_layers", 12))]
            self._tokens = weights["embeddings.token_embedding.weight"]
            self._positions = weights["embeddings.position_embedding.weight"].to(kind)
            self._final = _pair(weights, "final_layer_norm", kind)
            self._projection = weights["text_projection.weight"].to(kind)
        except KeyError as error:
            raise ModelError(f"{folder} lacks the text weight {error}: give a complete CLIP folder") from error
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
            result[batch] = self._encode([[self._bos, *ids[i], self._eos] for i in batch])[0].float().numpy()
        return result

    def ids(self, text: str) -> list[int]:
        """Token ids without begin- and end-of-text."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def prefixes(self, prompts: Sequence[str], note: Note | None = None) -> Prefixes:
        """Compute the prefix cache of a set of prompts, in the tower's dtype."""
        ids = [[self._bos, *self._cut(self.ids(prompt)), self._eos] for prompt in prompts]
        longest = max(map(len, ids)) - 1
        embeddings, keys, values = [], [], []
        for start in range(0, len(ids), _BATCH):
            if note is not None:
                note("reading the prompts of queries", start, len(ids))
            found, cached = self._encode(ids[start : start + _BATCH])
            embeddings.append(found)
            for kept, index in ((keys, 0), (values, 1)):
                stack = torch.stack([layer[index] for layer in cached])[..., :longest, :]
                kept.append(F.pad(stack, (0, 0, 0, longest - stack.shape[-2])))
        lengths = torch.tensor([len(row) - 1 for row in ids])
        return Prefixes(torch.cat(keys, 1), torch.cat(values, 1), lengths, torch.cat(embeddings))

    def suffixed(self, prefixes: Prefixes, query: str) -> Float[torch.Tensor, "n d"]:
        """u(p + " " + query) for every cached prompt p, over-long texts cut as the tokenizer cuts them."""
        ids = self.ids(query)
        rows = [[*ids[: max(0, self.limit - 1 - length)], self._eos] for length in prefixes.lengths.tolist()]
        return self._encode(rows, prefixes)[0]

    def appends(self, prompt: str, query: str) -> bool:
        """Whether the ids of ``prompt + " " + query`` are those of both parts, as the cache assumes."""
        return self.ids(f"{prompt} {query}") == self.ids(prompt) + self.ids(query)

    def _cut(self, ids: list[int]) -> list[int]:
        return ids[: self.limit - 2]

    @torch.inference_mode()
    def _encode(
        self, rows: list[list[int]], prefixes: Prefixes | None = None
    ) -> tuple[Float[torch.Tensor, "n d"], list[tuple[torch.Tensor, torch.Tensor]]]:
        """Run token rows (n, longest), optionally after cached prefixes; returns embeddings, keys and values."""
        longest = max(map(len, rows))
        ids = torch.tensor([row + [self._eos] * (longest - len(row)) for row in rows])
        ends = torch.tensor([row.index(self._eos) for row in rows])  # pooled at the first end-of-text, as CLIP does
        first = prefixes.lengths if prefixes is not None else torch.zeros(len(rows), dtype=torch.long)
        places = (first[:, None] + torch.arange(longest)).clamp(max=self.limit - 1)
        x = self._tokens[ids].to(self._kind) + self._positions[places]
        own = torch.ones(longest, longest, dtype=torch.bool).tril()[None, None]
        cached: list[tuple[torch.Tensor, torch.Tensor]] = []
        for index, layer in enumerate(self._layers):
            before = None
            if prefixes is not None:
                valid = torch.arange(prefixes.keys.shape[-2]) < prefixes.lengths[:, None]
                before = (prefixes.keys[index], prefixes.values[index], valid[:, None, None])
            last = index == len(self._layers) - 1
            x, pair = self._block(layer, x, own, before, ends if last else None)
            cached.append(pair)
        pooled = F.layer_norm(x[:, 0], x.shape[-1:], *self._final, self._eps)
        return pooled @ self._projection.T, cached

    def _block(
        self,
        layer: _Layer,
        x: torch.Tensor,
        own: torch.Tensor,
        before: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None,
        ends: torch.Tensor | None,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """One transformer layer. With ``ends``, only those positions are carried on (the last layer's need)."""
        n, length, width = x.shape
        normed = F.layer_norm(x, (width,), *layer.norm1, self._eps)
        q, k, v = F.linear(normed, *layer.qkv).view(n, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        mask = own
        if ends is not None:
            rows = torch.arange(n)
            x, q, mask = x[rows, ends][:, None], q[rows, :, ends][:, :, None], own[0, 0][ends][:, None, None]
        mixed = _attend(q, k, v, mask, before)
        x = x + F.linear(mixed.transpose(1, 2).reshape(n, -1, width), *layer.out)
        hidden = F.linear(F.layer_norm(x, (width,), *layer.norm2, self._eps), *layer.up)
        hidden = F.silu(hidden, inplace=True) if self._quick else F.gelu(hidden)
        return x + F.linear(hidden, *layer.down), (k, v)


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor,
    before: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None,
) -> torch.Tensor:
    """Attention over one's own tokens, and over cached ones without copying them together."""
    if before is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    keys, values, valid = before
    q = q * q.shape[-1] ** -0.5
    past = (q @ keys.transpose(-1, -2)).masked_fill_(~valid, -torch.inf)
    here = (q @ k.transpose(-1, -2)).masked_fill_(~mask, -torch.inf)
    shares = torch.cat([past, here], -1).softmax(-1)
    return shares[..., : past.shape[-1]] @ values + shares[..., past.shape[-1] :] @ v


def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16 by itself (AVX512-BF16, AMX, or Arm's)."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(value for name, value in found.items() if name.endswith("bf16"))


def _pair(weights: Tensors, name: str, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return weights[f"{name}.weight"].to(kind), weights[f"{name}.bias"].to(kind)


def _layer(weights: Tensors, index: int, factor: float, kind: torch.dtype) -> _Layer:
    stem = f"encoder.layers.{index}"
    parts = [_pair(weights, f"{stem}.self_attn.{part}_proj", kind) for part in "qkv"]
    up = tuple((weights[f"{stem}.mlp.fc1.{part}"] * factor).to(kind) for part in ("weight", "bias"))
    down = (weights[f"{stem}.mlp.fc2.weight"] / factor).to(kind), weights[f"{stem}.mlp.fc2.bias"].to(kind)
    return _Layer(
        norm1=_pair(weights, f"{stem}.layer_norm1", kind),
        qkv=(torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts])),
        out=_pair(weights, f"{stem}.self_attn.out_proj", kind),
        norm2=_pair(weights, f"{stem}.layer_norm2", kind),
        up=(up[0], up[1]),
        down=down,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} has no readable config.json ({error}): give a complete CLIP folder") from error
    if config.get("model_type") != "clip" or "text_config" not in config:
        raise ModelError(f"{folder} holds a {config.get('model_type')!r} model: give the folder of a CLIP model")
    return config


def _read_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no tokenizer.json: save the tokenizer again with a recent transformers")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_text_weights(folder: Path) -> Tensors:
    weights: Tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  (a safetensors file is no dict)
                if key.startswith(("text_model.", "text_projection.")):
                    weights[key.removeprefix("text_model.")] = file.get_tensor(key).float()
    return weights
