"""A deterministic generator that costs nothing, for tests of everything above generators."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import final

import torch
from torch import nn

from lorascope.adapters import Delta
from lorascope.generators.memory import MemoryPlan
from lorascope.generators.pristine import PristineWeights
from lorascope.protocol import Execution, Preset

_SIZE = 8


@final
class FakeGenerator:
    """Renders 8x8 pictures: a pattern from prompt and seed, tinted by one weight that adapters can change.

    Its single UNet layer, ``down_blocks.0.attentions.0.proj_in.weight`` (3, 3), starts at zero; the tint of a
    picture is the sum of its rows, so an adapter that raises the first row by .3 makes every picture redder.
    """

    digest = "fake-generator"

    def __init__(self, preset: Preset) -> None:
        """Take block and batch size from the preset; the rest of it is not used, except by `with_preset`."""
        self._preset = preset
        self.family = preset.family
        layer = nn.Linear(3, 3, bias=False)
        nn.init.zeros_(layer.weight)
        tree: nn.Module = layer
        for name in reversed(("down_blocks", "0", "attentions", "0", "proj_in")):
            outer = nn.Module()
            outer.add_module(name, tree)
            tree = outer
        self._layer = layer
        self._size = (_SIZE, _SIZE)
        self._avoided = ""
        self._weights = PristineWeights({"unet": tree})
        self._batch = preset.batch

    @property
    def shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """The one weight."""
        return self._weights.shapes

    @property
    def execution(self) -> Execution:
        """Always the same except for the batch."""
        return Execution(
            device="fake", dtype="float32", batch=self._batch, block_size=self._preset.block_size,
            threads=1, compiled=False, versions="fake 1",
        )  # fmt: skip

    @property
    def memory(self) -> MemoryPlan:
        """Nothing worth mentioning."""
        return MemoryPlan("none", copies=True, peak=0)

    def untouched(self, target: tuple[str, str]) -> torch.Tensor:
        """The one weight."""
        return self._weights.untouched(target)

    def held(self, target: tuple[str, str]) -> torch.dtype:
        """The dtype of the one weight."""
        return self._weights.held(target)

    def with_component(self, delta: Delta, scale: float) -> AbstractContextManager[None]:
        """Merge an adapter into the one weight."""
        return self._weights.with_component(delta, scale)

    def cut(self, prompts: Sequence[str]) -> int:
        """It reads everything."""
        return 0

    def with_batch(self, batch: int) -> FakeGenerator:
        """The same generator with another batch size."""
        other = copy.copy(self)
        other._batch = batch
        return other

    def with_preset(self, preset: Preset) -> FakeGenerator:
        """The same generator, drawing in the size and with the negative prompt of another preset."""
        other = copy.copy(self)
        other._size, other._avoided = (preset.height, preset.width), preset.negative_prompt
        return other

    @torch.inference_mode()
    def render(self, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        """Patterns in .35 to .65, each channel multiplied by .5 to 1.5."""
        tint = self._layer.weight.sum(1).clamp(-0.5, 0.5)[:, None, None]
        texts = [prompt.split(",")[0] + self._avoided for prompt in prompts]
        patterns = [_pattern(text, seed, self._size) for text, seed in zip(texts, seeds, strict=True)]
        return (torch.stack(patterns) * (1 + tint)).clamp(0, 1)


def _pattern(prompt: str, seed: int, size: tuple[int, int]) -> torch.Tensor:
    digest = hashlib.sha256(f"{prompt}|{seed}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:7]))
    return torch.rand(3, *size, generator=generator) * 0.3 + 0.35
