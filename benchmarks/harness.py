"""Measure two or more ways of doing the same thing side by side.

Every side lives in a process of its own, so that its processor time and its memory are its own. The sides take turns,
round by round and in changing order: what else the machine does meets all of them alike, and the ratio is taken
within a round.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np

Clock = Literal["wall", "cpu"]
_STATUS = Path("/proc/self/status")
_BYTES = 1 if sys.platform == "darwin" else 1024
"""The unit of memory in getrusage."""


@dataclass(frozen=True)
class Side:
    """One way of doing it: ``make(*args)`` loads what is needed and returns the work to be timed.

    Both must be known to a fresh process: a function at the top of a module, and arguments that pickle.
    """

    make: Callable[..., Callable[[], object]]
    args: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Usage:
    """What one unit of work took: seconds by the clock, seconds of all processor cores, and the process's peak MiB."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Goal:
    """What was to be reached."""

    limit: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Whether a value does."""
        return value >= self.limit if self.at_least else value <= self.limit


def at_least(limit: float) -> Goal:
    """The more the better."""
    return Goal(limit)


def at_most(limit: float) -> Goal:
    """The less the better."""
    return Goal(limit, at_least=False)


@dataclass(frozen=True)
class Ratio:
    """How many times less: the median over rounds, and the 5th and 95th percentile."""

    median: float
    p5: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        """From one value a round."""
        p5, median, p95 = np.percentile(values, (5, 50, 95)).tolist()
        return cls(median, p5, p95)


@dataclass(frozen=True, kw_only=True)
class SpeedComparison:
    """A row: ours against the reference. ``clock`` says which of the ratios the target speaks of."""

    name: str
    unit: str
    reference: Usage
    ours: Usage
    wall: Ratio
    cpu: Ratio
    rounds: int
    target: Goal | None = None
    clock: Clock = "wall"

    @property
    def met(self) -> bool | None:
        """Whether the target was reached, by the median; None without a target."""
        return None if self.target is None else self.target.met(getattr(self, self.clock).median)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A row: one number. Without a ``value`` it is outstanding, and ``note`` says why."""

    name: str
    value: float | None
    unit: str
    p5: float | None = None
    p95: float | None = None
    target: Goal | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None without a target or a value."""
        return None if self.target is None or self.value is None else self.target.met(self.value)


Measurement = SpeedComparison | Figure


@dataclass
class Turns:
    """What every side cost, round by round, per unit of work."""

    unit: str
    costs: Mapping[str, list[Usage]] = field(default_factory=dict)

    def compare(
        self, reference: str, ours: str, name: str, *, target: Goal | None = None, clock: Clock = "wall"
    ) -> SpeedComparison:
        """One side against another."""
        theirs, mine = self.costs[reference], self.costs[ours]
        pairs = list(zip(theirs, mine, strict=True))
        return SpeedComparison(
            name=name,
            unit=self.unit,
            reference=_typical(theirs),
            ours=_typical(mine),
            wall=Ratio.of([a.wall / b.wall for a, b in pairs]),
            cpu=Ratio.of([a.cpu / b.cpu for a, b in pairs]),
            rounds=len(pairs),
            target=target,
            clock=clock,
        )


def take_turns(
    sides: Mapping[str, Side],
    *,
    rounds: int,
    unit: str = "call",
    units: int = 1,
    repeats: Mapping[str, int] | None = None,
) -> Turns:
    """Run every side once a round, after a round that warms them up and is not counted.

    Args:
        sides: by name.
        rounds: how many are counted.
        unit: what a unit of work is called.
        units: how many units one call of the work does.
        repeats: how often a side's work is called in one turn, for work that takes microseconds; 1 by default.
    """
    counts = {name: (repeats or {}).get(name, 1) for name in sides}
    costs: dict[str, list[Usage]] = {name: [] for name in sides}
    with ExitStack() as stack:
        turn = {name: stack.enter_context(_worker(side)) for name, side in sides.items()}
        for place in range(rounds + 1):
            names = list(sides) if place % 2 else list(sides)[::-1]
            for name in names:
                cost = turn[name](counts[name])
                if place:
                    costs[name].append(Usage(cost.wall / units, cost.cpu / units, cost.memory))
    return Turns(unit, costs)


def repeat(
    name: str, work: Callable[[], object], *, repeats: int, unit: str = "s", target: Goal | None = None
) -> Figure:
    """How long something takes here in this process: the median and the spread of several times."""
    scale = {"s": 1.0, "ms": 1e3}[unit]
    seconds: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append((time.perf_counter() - began) * scale)
    spread = Ratio.of(seconds)
    return Figure(name=name, value=spread.median, unit=unit, p5=spread.p5, p95=spread.p95, target=target)


def processor_seconds() -> float:
    """Of this process with all its threads, and of its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_memory() -> float:
    """The most MiB that this process held at any time.

    Linux hands its parent's peak down to a process as its own ``ru_maxrss``, so there its status is read.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10  # in kB, which are KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES / 2**20


def _typical(costs: Sequence[Usage]) -> Usage:
    middle = statistics.median
    return Usage(middle(c.wall for c in costs), middle(c.cpu for c in costs), max(c.memory for c in costs))


@contextmanager
def _worker(side: Side) -> Generator[Callable[[int], Usage]]:
    """A process that holds one side ready; the function takes one turn in it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, side), daemon=False)
    process.start()
    theirs.close()

    def turn(repeats: int) -> Usage:
        ours.send(repeats)
        return _answer(ours)

    try:
        _answer(ours)
        yield turn
    finally:
        ours.close()
        process.join()


def _answer(pipe: Connection) -> Any:
    try:
        found = pipe.recv()
    except EOFError:
        raise RuntimeError("a side of the benchmark ended without an answer") from None
    if isinstance(found, str):
        raise RuntimeError(f"a side of the benchmark failed:\n{found}")
    return found


def _serve(pipe: Connection, side: Side) -> None:
    try:
        work = side.make(*side.args)
        pipe.send(True)
        while True:
            repeats = pipe.recv()
            began, used = time.perf_counter(), processor_seconds()
            for _ in range(repeats):
                work()
            wall, cpu = time.perf_counter() - began, processor_seconds() - used
            pipe.send(Usage(wall / repeats, cpu / repeats, peak_memory()))
    except EOFError:  # the parent is done
        return
    except Exception:
        pipe.send(traceback.format_exc())
