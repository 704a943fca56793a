"""What generators that keep a pipeline of diffusers in memory have in common."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

import torch

from lorascope.adapters import Delta
from lorascope.errors import ModelError
from lorascope.generators import float8
from lorascope.generators.execution import execution
from lorascope.generators.memory import MemoryPlan
from lorascope.generators.placement import Placement
from lorascope.generators.pristine import PristineWeights
from lorascope.protocol import Execution, Preset

T = TypeVar("T")
P = TypeVar("P", bound="ResidentPipeline")
_KEPT = 1024


class KnownPrompts(Generic[T]):
    """What text encoders made of the prompts so far."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, T] = OrderedDict()

    def _forget_oldest(self) -> None:
        """Keep as many as all the prompts of a grid need."""
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    @contextmanager
    def anew(self) -> Generator[None]:
        """Encode prompts anew for as long as an adapter changes the encoders, then go back to what was known."""
        bare, self._kept = self._kept, OrderedDict()
        try:
            yield
        finally:
            self._kept = bare


class ResidentPipeline:
    """A pipeline in memory, into whose weights adapters are merged and out of which they are taken again."""

    _preset: Preset
    _device: torch.device
    _batch: int
    _compiled: bool
    _denoiser: Any
    _pipe: Any
    _placement: Placement
    _prompts: Any  # KnownPrompts of its own kind
    _weights: PristineWeights

    @property
    def shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Every weight of the denoiser and the text encoders by component and name."""
        return self._weights.shapes

    @property
    def execution(self) -> Execution:
        """Device, dtype, batch layout, threads and library versions."""
        dtype = float8.DTYPE if self._preset.dtype == float8.NAME else self._denoiser.dtype
        return execution(self._preset, self._device, dtype, self._batch, compiled=self._compiled)

    @property
    def memory(self) -> MemoryPlan:
        """Which parts are on the device when, and what that takes."""
        return self._placement.plan

    def untouched(self, target: tuple[str, str]) -> torch.Tensor:
        """The base model's own value of a weight of the denoiser or a text encoder."""
        return self._weights.untouched(target)

    def held(self, target: tuple[str, str]) -> torch.dtype:
        """The dtype in which a weight is held."""
        return self._weights.held(target)

    def with_batch(self: P, batch: int) -> P:
        """The same resident model, rendering in batches of another size."""
        other = copy.copy(self)
        other._batch = batch
        return other

    def with_preset(self: P, preset: Preset) -> P:
        """The same resident model, rendering in the size and with the negative prompt of another preset."""
        step = self._step
        for name in ("width", "height"):
            if (side := getattr(preset, name)) % step:
                raise ModelError(
                    f"{name} is {side}: the base model draws pictures whose sides are multiples of {step} pixels, such"
                    f" as {max(1, round(side / step)) * step}"
                )
        if preset.negative_prompt != self._preset.negative_prompt and preset.guidance <= 1:
            raise ModelError(
                f"negative_prompt is {preset.negative_prompt!r}, which does nothing at a guidance of"
                f" {preset.guidance:g}: leave it out"
            )
        other = copy.copy(self)
        other._preset = preset
        return other

    @property
    def _step(self) -> int:
        """What width and height are multiples of: a latent pixel, or a token of several."""
        processor = self._pipe.image_processor.config.vae_scale_factor
        return max(processor, self._pipe.vae_scale_factor * getattr(self._pipe, "patch_size", 1))

    @contextmanager
    def with_component(self, delta: Delta, scale: float) -> Generator[None]:
        """Apply an adapter. Prompts are encoded anew only where it touches a text encoder or brings words along."""
        with ExitStack() as stack:
            if delta.inversions or any(component.startswith("text_encoder") for component, _ in delta.targets):
                stack.enter_context(self._prompts.anew())
            stack.enter_context(self._weights.with_component(delta, scale))
            if delta.inversions:  # they fit pipelines whose text encoders are all CLIP's only
                stack.enter_context(self._prompts.with_inversions(delta.inversions, scale))
            yield
