"""A denoiser's layers in float8: half of their memory in bfloat16. Each is cast to the working dtype while it runs.

Adapters are merged into the weights as they were before rounding, so a change smaller than a step of float8 moves some
values by a whole step and most by none. How far that alone moves an image is part of the noise floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, final

import torch
from jaxtyping import Float

from lorascope.adapters.delta import Coverage, Delta, Parameter

NAME: Final = "float8"
"""What a preset calls it."""
DTYPE: Final = torch.float8_e4m3fn
_MANTISSA: Final = 3
_NORMAL: Final = 2.0**-6
"""Below it, steps do not get smaller."""


def store(denoiser: Any) -> dict[str, torch.Tensor]:
    """Round the layers of a model of diffusers to float8, and return what they were, in CPU memory.

    What diffusers' layerwise casting leaves out keeps its dtype: embeddings of positions, what belongs to a norm.
    """
    before = {name: weight.detach().to("cpu", copy=True) for name, weight in denoiser.named_parameters()}
    denoiser.enable_layerwise_casting(storage_dtype=DTYPE, compute_dtype=denoiser.dtype)
    return {name: before[name] for name, weight in denoiser.named_parameters() if weight.dtype == DTYPE}


@final
class Rounding:
    """How a weight is changed so that rounding it is a matter of chance: nearer neighbours are likelier."""

    def __init__(self, draw: torch.Generator) -> None:
        self._draw = draw

    def apply(self, base: Float[torch.Tensor, "*shape"], scale: float) -> Float[torch.Tensor, "*shape"]:
        """Add noise of up to half a step of float8."""
        noise = torch.rand(base.shape, generator=self._draw).to(base.device) - 0.5
        return base + scale * noise * step(base)

    def acts(self) -> bool:
        """It does."""
        return True


def rounding(shapes: Mapping[str, Mapping[str, tuple[int, ...]]], held: Callable[[Parameter], torch.dtype]) -> Delta:
    """In place of an adapter, another rounding of the matrices that are held in float8."""
    draw = torch.Generator().manual_seed(0)
    weights = (Parameter(component, name) for component, names in shapes.items() for name in names)
    forms = {one: Rounding(draw) for one in weights if len(shapes[one.component][one.name]) > 1 and held(one) == DTYPE}
    return Delta(forms, Coverage(len(forms), len(forms), ()))


def step(values: torch.Tensor) -> torch.Tensor:
    """The distance between neighbours in float8 (e4m3) about some values.

    Examples:
        >>> step(torch.tensor([1.0, 1.9, 2.0, 0.0]))
        tensor([0.1250, 0.1250, 0.2500, 0.0020])
    """
    exponents = torch.frexp(values.float().abs().clamp_min(_NORMAL)).exponent - 1
    return torch.ldexp(torch.ones_like(values, dtype=torch.float32), exponents - _MANTISSA)
