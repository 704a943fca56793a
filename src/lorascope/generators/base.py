"""What a generator is: a resident base model that adapters are put on and taken off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import torch

from lorascope.adapters import Delta
from lorascope.generators.memory import MemoryPlan
from lorascope.protocol import Execution, Preset

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


@runtime_checkable
class Generator(Protocol):
    """Renders cells with the bare base model, or with an adapter while one is applied."""

    family: str
    digest: str

    @property
    def shapes(self) -> Shapes:
        """Every weight of the base by component and name: what adapters are matched against."""
        ...

    @property
    def execution(self) -> Execution:
        """How it works right now."""
        ...

    @property
    def memory(self) -> MemoryPlan:
        """Which parts of the base are on the device when, and what that takes."""
        ...

    def untouched(self, target: tuple[str, str]) -> torch.Tensor:
        """The base model's own value of a weight, by component and name, before any rounding to float8."""
        ...

    def held(self, target: tuple[str, str]) -> torch.dtype:
        """The dtype in which a weight is held: that of `untouched`, or float8."""
        ...

    def with_component(self, delta: Delta, scale: float) -> AbstractContextManager[None]:
        """Apply an adapter; on leaving, every weight is what it was, to the bit."""
        ...

    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        """Render one batch.

        Args:
            prompts: the text of each cell; the preset's quality words are put before it.
            seeds: the seed of each cell. The starting noise depends on the seed alone.

        Returns:
            float32 (n, 3, height, width) in 0..1.
        """
        ...

    def cut(self, prompts: Sequence[str]) -> int:
        """How many of these prompts are longer than the base model reads, so that their ends go unseen."""
        ...

    def with_batch(self, batch: int) -> Generator:
        """The same resident model, rendering in batches of another size."""
        ...

    def with_preset(self, preset: Preset) -> Generator:
        """The same resident model, rendering in the size and with the negative prompt of another preset.

        Raises:
            ModelError: the base model draws no pictures of this size, or reads no negative prompt.
        """
        ...
