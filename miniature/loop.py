"""What trainings share: one thread, a log, averaged weights, a learning rate that falls, check points, and the loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn


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

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float = 0.995) -> None:
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

    def state_dict(self) -> dict[str, Any]:
        """The kept copy, for a check point."""
        return {"kept": self.kept, "steps": self.steps}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what a check point holds."""
        self.steps = state["steps"]
        for kept, saved in zip(self.kept, state["kept"], strict=True):
            kept.copy_(saved)


class Stateful(Protocol):
    """What a check point can hold."""

    def state_dict(self) -> Any:
        """What there is to keep."""
        ...

    def load_state_dict(self, state: Any) -> Any:
        """Take it over."""
        ...


class Checkpoint:
    """All that a training needs to go on as if it had not stopped: weights, optimizer, average and random numbers."""

    def __init__(self, path: Path, rng: np.random.Generator, **parts: Stateful) -> None:
        self.path = path
        self.rng = rng
        self.parts = parts

    def load(self) -> int:
        """Take over the check point if there is one, and return how many steps it holds."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=False)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["torch"])
        self.rng.bit_generator.state = state["numpy"]
        return int(state["step"])

    def save(self, step: int) -> None:
        """Write a check point after `step` steps; never a half one."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        extra = {"step": step, "torch": torch.get_rng_state(), "numpy": self.rng.bit_generator.state}
        part = self.path.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state | extra, part)
        part.replace(self.path)


def fit(
    parts: Mapping[str, nn.Module],
    loss: Callable[[np.random.Generator], torch.Tensor],
    save: Callable[[], object],
    point: Path,
    log: Log,
    *,
    steps: int,
    peak: float,
    fall: float = 0.4,
    decay: float = 0.995,
) -> None:
    """Train the parts of a base model together, or go on from a check point.

    Args:
        parts: Models by the names that they have in the check point.
        loss: Of a batch that it draws with the given generator.
        save: Writes the parts; called with the averaged weights, every 200 steps and at the end.
        point: The check point's file.
        log: Gets the mean of the last losses every 50 steps.
        steps: In all; fewer than at the first start bring the fall of the learning rate forward.
        peak: The highest learning rate.
        fall: Over which last share of the steps it falls.
        decay: Of the average of the weights.
    """
    rng = np.random.default_rng(0)
    parameters = [p for part in parts.values() for p in part.train().parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.01, betas=(0.9, 0.99))
    average = Average(parameters, decay)
    checkpoint = Checkpoint(point, rng, **parts, optimizer=optimizer, average=average)
    seen = 0.0
    for done, step in enumerate(range(checkpoint.load(), steps), 1):
        optimizer.param_groups[0]["lr"] = rate(step, steps, peak, fall)
        optimizer.zero_grad()
        value = loss(rng)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        seen += (value.item() - seen) / min(done, 50)
        if step % 50 == 49:
            log(f"step {step + 1} loss {seen:.4f}")
        if step % 200 == 199 or step == steps - 1:
            checkpoint.save(step + 1)
            average.swap()
            save()
            average.swap()
