"""The transformer that both towers of CLIP are made of, in NumPy: matrix products, softmax and layer norm.

A search is a short process, and importing torch would take longer than the arithmetic. ``transformers`` computes the
same to rounding; the tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float32, Int64

from lorascope.encoders.weights import Weights
from lorascope.errors import ModelError

Array = Float32[np.ndarray, "..."]
Linear = tuple[Array, Array]
_SLICE = 64
"""Rows of a hidden layer that are activated at once: they stay in the processor's cache."""


@dataclass(frozen=True)
class Past:
    """Keys and values of tokens that stand before the ones to be computed, in every layer.

    ``keys`` and ``values`` are (layers, n, heads, longest, head width), padded at the end; ``lengths`` (n,) counts the
    valid positions.
    """

    keys: Float32[np.ndarray, "layers n heads longest width"]
    values: Float32[np.ndarray, "layers n heads longest width"]
    lengths: Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class _Layer:
    norm1: Linear
    q: Linear
    k: Linear
    v: Linear
    out: Linear
    norm2: Linear
    up: Linear
    down: Linear


@final
class Transformer:
    """A stack of pre-norm layers, as ``transformers`` lays CLIP's out."""

    def __init__(self, weights: Weights, stem: str, config: Mapping[str, Any]) -> None:
        """Pick the weights of a tower, whose names begin with ``stem``, such as ``text_model``.

        Raises:
            ModelError: a weight is missing, or the activation is not one of CLIP's.
        """
        self._weights, self._stem = weights, stem
        self._heads: int = config.get("num_attention_heads", 8)
        self._epsilon: float = config.get("layer_norm_eps", 1e-5)
        activation = config.get("hidden_act", "quick_gelu")
        if activation not in _ACTIVATIONS:
            raise ModelError(f"the model's activation is {activation!r}: use a CLIP with {' or '.join(_ACTIVATIONS)}")
        self._activate = _ACTIVATIONS[activation]
        self._layers = [self._layer(index) for index in range(config.get("num_hidden_layers", 12))]

    def weight(self, name: str) -> Array:
        """A weight of this tower, by its name behind the stem.

        Raises:
            ModelError: there is none.
        """
        return self._weights[f"{self._stem}.{name}"]

    def pair(self, name: str) -> Linear:
        """The weight and the bias of a part of this tower."""
        return self.weight(f"{name}.weight"), self.weight(f"{name}.bias")

    def normed(self, x: Array, name: str) -> Array:
        """Layer norm by the weights of a name."""
        return _normed(x, self.pair(name), self._epsilon)

    def run(
        self,
        x: Float32[np.ndarray, "n length width"],
        mask: Bool[np.ndarray, "length length"],
        pooled: Int64[np.ndarray, " n"],
        past: Past | None = None,
    ) -> tuple[Float32[np.ndarray, "n width"], list[tuple[Array, Array]]]:
        """Run all layers.

        Args:
            x: the embedded tokens.
            mask: whether a token (row) sees another (column).
            pooled: the position of each row that is asked for; the last layer computes no other.
            past: what stands before; every token sees all of it.

        Returns:
            The pooled rows, and each layer's keys and values, (n, heads, length, head width).
        """
        rows, cached = np.arange(len(x)), list[tuple[Array, Array]]()
        hidden = _penalty(mask)[None, None]
        before = (
            None if past is None else _penalty(np.arange(past.keys.shape[3]) < past.lengths[:, None])[:, None, None]
        )
        for index, layer in enumerate(self._layers):
            normed = _normed(x, layer.norm1, self._epsilon)
            q, k, v = (self._split(_linear(normed, part)) for part in (layer.q, layer.k, layer.v))
            cached.append((k, v))
            if index == len(self._layers) - 1:
                x, q, hidden = (
                    x[rows, pooled][:, None],
                    q[rows, :, pooled][:, :, None],
                    _penalty(mask)[pooled][:, None, None],
                )
            earlier = None if past is None or before is None else (past.keys[index], past.values[index], before)
            x = x + _linear(_joined(_attention(q, k, v, hidden, earlier)), layer.out)
            inner = _linear(_normed(x, layer.norm2, self._epsilon), layer.up)
            self._activate(inner)
            x += _linear(inner, layer.down)
        return x[:, 0], cached

    def _split(self, x: Float32[np.ndarray, "n length width"]) -> Float32[np.ndarray, "n heads length part"]:
        return np.ascontiguousarray(x.reshape(*x.shape[:2], self._heads, -1).transpose(0, 2, 1, 3))

    def _layer(self, index: int) -> _Layer:
        stem = f"encoder.layers.{index}"
        q, k, v, out = (self.pair(f"{stem}.self_attn.{name}_proj") for name in ("q", "k", "v", "out"))
        norm1, norm2, up, down = (
            self.pair(f"{stem}.{name}") for name in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2")
        )
        return _Layer(norm1, q, k, v, out, norm2, up, down)


def _penalty(seen: Bool[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """What is added to attention scores: nothing where a token is seen, minus infinity elsewhere."""
    return np.where(seen, np.float32(0), np.float32(-np.inf))


def _linear(x: Array, layer: Linear) -> Array:
    """X W' + b. The leading dimensions are joined: one large product is faster than many small ones."""
    weight, bias = layer
    result = x.reshape(-1, x.shape[-1]) @ weight.T
    result += bias
    return result.reshape(*x.shape[:-1], -1)


def _normed(x: Array, layer: Linear, epsilon: float) -> Array:
    weight, bias = layer
    result = x - x.mean(-1, keepdims=True)
    result /= np.sqrt(
        np.einsum("...i,...i->...", result, result)[..., None] / np.float32(x.shape[-1]) + np.float32(epsilon)
    )
    result *= weight
    result += bias
    return result


def _joined(x: Float32[np.ndarray, "n heads length part"]) -> Float32[np.ndarray, "n length width"]:
    return x.transpose(0, 2, 1, 3).reshape(len(x), x.shape[2], -1)


def _attention(q: Array, k: Array, v: Array, hidden: Array, past: tuple[Array, Array, Array] | None) -> Array:
    """Scaled dot-product attention over one's own tokens, and over earlier ones without copying them together."""
    q = q * np.float32(q.shape[-1] ** -0.5)
    own = q @ k.swapaxes(-1, -2)
    own += hidden
    highest = own.max(-1, keepdims=True)
    if past is None:
        np.exp(np.subtract(own, highest, out=own), out=own)
        return own @ v / own.sum(-1, keepdims=True)
    keys, values, before = past
    earlier = q @ keys.swapaxes(-1, -2)
    earlier += before
    highest = np.maximum(highest, earlier.max(-1, keepdims=True))
    for scores in (own, earlier):
        np.exp(np.subtract(scores, highest, out=scores), out=scores)
    mixed = own @ v
    mixed += earlier @ values
    mixed /= own.sum(-1, keepdims=True) + earlier.sum(-1, keepdims=True)
    return mixed


def _quick_gelu(x: Array) -> None:
    """X sigmoid(1.702 x), in place."""
    flat = x.reshape(-1, x.shape[-1])
    scratch = np.empty((_SLICE, flat.shape[1]), np.float32)
    for start in range(0, len(flat), _SLICE):
        part = flat[start : start + _SLICE]
        gate = scratch[: len(part)]
        np.multiply(part, np.float32(-1.702), out=gate)
        with np.errstate(over="ignore"):  # e^88 and more: the sigmoid is 0 then
            np.exp(gate, out=gate)
        gate += np.float32(1)
        part /= gate


def _gelu(x: Array) -> None:
    """X Phi(x), in place.

    Phi by the rational Chebyshev fit of erfc in Press et al., Numerical Recipes, section 6.2: 1.2e-7 relative.
    """
    flat = x.reshape(-1, x.shape[-1])
    for start in range(0, len(flat), _SLICE):
        part = flat[start : start + _SLICE]
        size = np.abs(part.astype(np.float64)) / np.sqrt(2)
        t = 1 / (1 + size / 2)
        tail = t * np.exp(-size * size + np.polynomial.polynomial.polyval(t, _ERFC))
        part *= np.where(part > 0, 1 - tail / 2, tail / 2)


_ERFC = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
)  # fmt: skip
_ACTIVATIONS: dict[str, Callable[[Array], None]] = {"quick_gelu": _quick_gelu, "gelu": _gelu}
