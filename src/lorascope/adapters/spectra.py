"""How large an adapter's change of a base model is, and of what shape, from weights alone."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from lorascope.adapters.delta import Delta, Parameter

_POWER_STEPS: Final = 6
"""Steps of the power iteration. Singular values of trained adapters fall fast, so few will do for a prior."""
_TINY: Final = 1e-12
"""Stands for the squared norm of base weights that are all zero."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What an adapter changes, summed over every weight that it touches.

    Attributes:
        norm: ``|W - W0| / |W0|`` over all touched weights together (Frobenius).
        stable_rank: ``|dW|_F^2 / |dW|_2^2`` of the matrices, averaged with their ``|dW|_F^2`` as weights. It is 1 where
            one direction does it all, and never above the rank (Rudelson and Vershynin 2007).
        text: the share of ``|W - W0|^2`` that is in text encoders, 0 to 1.
        attention: likewise in attention layers of the image model.
        changed: the share of touched values that differ once they are rounded to the working dtype, 0 to 1.
    """

    norm: float
    stable_rank: float
    text: float
    attention: float
    changed: float


def spectrum(
    delta: Delta,
    untouched: Callable[[Parameter], Float[Tensor, "..."]],
    scale: float,
    held: Callable[[Parameter], torch.dtype] | None = None,
) -> Spectrum:
    """Compare each touched weight with the base model's, one at a time.

    Args:
        delta: what the adapter does.
        untouched: gives the base model's own value of a parameter, before any rounding to float8.
        scale: how strongly the adapter is applied.
        held: gives the dtype in which a parameter is held; that of `untouched` by default.
    """
    if not delta.targets:  # the base model matches adapters itself, so nothing is known about its weights
        return Spectrum(0.0, 0.0, 0.0, 0.0, changed=1.0)
    parts = [_part(parameter, delta, untouched(parameter), scale, held) for parameter in delta.targets]
    moved = sum(part.moved for part in parts)
    return Spectrum(
        norm=math.sqrt(moved / max(sum(part.base for part in parts), _TINY)),
        stable_rank=_share((part.moved * part.stable_rank for part in parts if part.stable_rank), moved),
        text=_share((part.moved for part in parts if part.parameter.component.startswith("text")), moved),
        attention=_share((part.moved for part in parts if _is_attention(part.parameter)), moved),
        changed=sum(part.changed for part in parts) / sum(part.size for part in parts),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One parameter: squared norms of its change and of itself, and how many of its values change."""

    parameter: Parameter
    moved: float
    base: float
    stable_rank: float
    changed: int
    size: int


def _part(
    parameter: Parameter,
    delta: Delta,
    base: Float[Tensor, "..."],
    scale: float,
    held: Callable[[Parameter], torch.dtype] | None,
) -> _Part:
    own = delta.apply(*parameter, base, scale)
    dtype = held(parameter) if held else base.dtype
    changed = int((own.to(dtype) != base.to(dtype)).sum())
    change = own.sub_(base)
    moved = float(change.square().sum())
    largest = _largest_squared(change.flatten(1)) if change.dim() > 1 and moved > 0.0 else 0.0
    stable_rank = moved / largest if largest > 0.0 else 0.0
    return _Part(parameter, moved, float(base.float().square().sum()), stable_rank, changed, base.numel())


def _largest_squared(matrix: Float[Tensor, "rows columns"]) -> float:
    """The square of the largest singular value, from below, by power iteration from a fixed start."""
    start = torch.Generator("cpu").manual_seed(0)
    vector = torch.randn(matrix.shape[1], generator=start).to(matrix.device)
    value = 0.0
    for _ in range(_POWER_STEPS):
        vector = matrix.T @ (matrix @ (vector / torch.linalg.vector_norm(vector).clamp_min(1e-30)))
        value = float(torch.linalg.vector_norm(vector))
    return value


def _is_attention(parameter: Parameter) -> bool:
    return not parameter.component.startswith("text") and ".attn" in parameter.name


def _share(parts: Iterable[float], whole: float) -> float:
    return sum(parts) / whole if whole > 0.0 else 0.0
