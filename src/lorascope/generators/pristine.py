"""Weights that adapters are merged into, and the untouched copies they are restored from."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import final

import torch
from torch import nn

from lorascope.adapters import Delta

_CPU = torch.device("cpu")


@final
class PristineWeights:
    """The resident weights of a base model, with an untouched copy of each one that was ever changed.

    Merging always starts from the untouched copy, so nothing drifts, and what is restored is bit-identical.
    """

    def __init__(
        self,
        components: Mapping[str, nn.Module],
        *,
        device: torch.device = _CPU,
        copies: torch.device = _CPU,
        unrounded: Mapping[tuple[str, str], torch.Tensor] | None = None,
    ) -> None:
        """Take hold of the components' parameters; nothing is copied yet.

        Args:
            components: by name.
            device: where merging is computed, wherever a weight is at the time: so the bits are the same.
            copies: where the untouched copies are kept. The device, for speed, or the CPU, to save its memory.
            unrounded: what weights were before they were rounded to float8; adapters are merged into these.
        """
        self._resident = {
            (component, name): parameter
            for component, module in components.items()
            for name, parameter in module.named_parameters()
        }
        self._device = device
        self._copies = copies
        self._untouched: dict[tuple[str, str], torch.Tensor] = dict(unrounded or {})

    @property
    def shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """The shape of every parameter by component and name."""
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for (component, name), parameter in self._resident.items():
            found.setdefault(component, {})[name] = tuple(parameter.shape)
        return found

    def untouched(self, target: tuple[str, str]) -> torch.Tensor:
        """The base model's own value of a weight, which is not to be changed. No adapter may be applied."""
        return self._untouched.get(target, self._resident[target].detach())

    def held(self, target: tuple[str, str]) -> torch.dtype:
        """The dtype in which a weight is held, to which merging rounds."""
        return self._resident[target].dtype

    @contextmanager
    def with_component(self, delta: Delta, scale: float) -> Generator[None]:
        """Merge an adapter in float32, hold the result in the working dtype, and restore on leaving."""
        touched: list[tuple[str, str]] = []
        try:
            with torch.no_grad():
                for target in delta.targets:
                    parameter = self._resident[target]
                    if target not in self._untouched:
                        self._untouched[target] = parameter.detach().to(self._copies, copy=True)
                    touched.append(target)
                    base = self._untouched[target].to(self._device, torch.float32)
                    parameter.copy_(delta.apply(*target, base, scale))
            yield
        finally:
            with torch.no_grad():
                for target in touched:
                    self._resident[target].copy_(self._untouched[target])
