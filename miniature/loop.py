"""What every training shares: a thread count, a log, an averaged copy of the weights, a learning rate that falls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch


def quiet(seed: int) -> None:
    """One thread a process (two are slower when the machine is shared) and a seed."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)


def rate(step: int, steps: int, peak: float, fall: float = 0.4) -> float:
    """A short rise, a long plateau, and a linear fall over the last `fall` of the steps."""
    rise = min(1.0, (step + 1) / 60)
    return peak * rise * (min(1.0, (steps - step) / (fall * steps)) if fall else 1.0)


class Log:
    """Appends lines with the time passed to a file and prints them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, text: str) -> None:
        """Write one line."""
        line = f"{time.monotonic() - self.start:7.0f} s  {text}"
        print(line, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class Average:
    """An exponential moving average of some parameters."""

    def __init__(self, parameters: Iterator[torch.nn.Parameter], decay: float = 0.995) -> None:
        self.live = list(parameters)
        self.kept = [p.detach().clone() for p in self.live]
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move the kept copy a little towards the live weights."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        torch._foreach_lerp_(self.kept, self.live, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange live and kept weights."""
        for live, kept in zip(self.live, self.kept, strict=True):
            old = live.clone()
            live.copy_(kept)
            kept.copy_(old)
