"""Where the parts of a pipeline are while it works: all on the device, or there by turns."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import nn

from lorascope.generators.loading import components, denoiser
from lorascope.generators.memory import MemoryPlan, available, block_size, memory_plan, size
from lorascope.protocol import Preset

_CPU = torch.device("cpu")


@final
class Placement:
    """Puts a pipeline's parts where its memory plan wants them. All work is done on the device: bits are the same."""

    def __init__(self, pipe: Any, device: torch.device, preset: Preset, batch: int) -> None:
        """Choose a plan for the device's memory, unless the preset names one, and move the parts."""
        self._device = device
        self._denoiser: nn.Module = denoiser(pipe)
        self._vae: nn.Module = pipe.vae
        self._encoders = [part for part in components(pipe).values() if part is not self._denoiser]
        self.plan: MemoryPlan = memory_plan(
            {"denoiser": size(self._denoiser), "vae": size(self._vae), "texts": sum(map(size, self._encoders))},
            block=block_size(self._denoiser),
            pixels=preset.width * preset.height,
            batch=batch,
            available=available(device),
            asked=preset.offload,
        )
        self.copies = device if self.plan.copies else _CPU
        if self.plan.offload == "blocks":
            self._move_by_blocks()
        else:
            _move([self._denoiser, self._vae], device)
            _move(self._encoders, device if self.plan.offload == "none" else _CPU)

    @contextmanager
    def encoding(self) -> Generator[None]:
        """Have the text encoders on the device, and the denoiser in CPU memory meanwhile if they take turns."""
        if self.plan.offload != "parts":
            yield
            return
        try:
            _move([self._denoiser], _CPU)
            _move(self._encoders, self._device)
            yield
        finally:
            _move(self._encoders, _CPU)
            _move([self._denoiser], self._device)

    def _move_by_blocks(self) -> None:
        from diffusers.hooks.group_offloading import apply_group_offloading

        for module in (self._denoiser, *self._encoders):
            apply_group_offloading(
                module,
                onload_device=self._device,
                offload_device=_CPU,
                offload_type="block_level" if module is self._denoiser else "leaf_level",
                num_blocks_per_group=1 if module is self._denoiser else None,
            )
        _move([self._vae], self._device)


def _move(modules: Sequence[nn.Module], device: torch.device) -> None:
    for module in modules:
        module.to(device)
