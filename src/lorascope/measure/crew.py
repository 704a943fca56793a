"""Crews: one worker or many, which do orders in any order, for lanes of work that each wait for their own."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, final, runtime_checkable

from lorascope.adapters import Delta
from lorascope.measure.orders import Order, Result
from lorascope.measure.worker import Worker

A = TypeVar("A")
B = TypeVar("B")
Batch: TypeAlias = Sequence[tuple[Order, Delta]]
Lane: TypeAlias = Generator[Batch, list[Any], None]
"""Work on one adapter: yields orders, and is sent their results in the same order. An empty batch waits for others."""


class WorkerDied(Exception):
    """The worker of an order died, more often than chance explains: what it worked on may have killed it."""


@runtime_checkable
class Crew(Protocol):
    """Does orders. Its workers have loaded the same models, which it has checked."""

    @property
    def worker(self) -> Worker:
        """Stands for all of them: says what is loaded, and does what is not measured in blocks."""
        ...

    @property
    def free(self) -> int:
        """How many orders can be given before a result is collected."""
        ...

    def submit(self, order: Order, delta: Delta) -> int:
        """Give an order; returns its number."""
        ...

    def collect(self) -> list[tuple[int, Result | Exception]]:
        """Wait until an order is done; returns results, or why there is none, by number.

        Raises:
            ModelError: no worker is left.
        """
        ...


@final
class LocalCrew:
    """The worker of this process, which does an order when it is given."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._done: list[tuple[int, Result | Exception]] = []
        self._given = 0

    @property
    def worker(self) -> Worker:
        """The worker."""
        return self._worker

    @property
    def free(self) -> int:
        """One at a time."""
        return 1 - len(self._done)

    def submit(self, order: Order, delta: Delta) -> int:
        """Do an order."""
        self._given += 1
        try:
            self._done.append((self._given, order.run(self._worker, delta)))
        except Exception as error:
            self._done.append((self._given, error))
        return self._given

    def collect(self) -> list[tuple[int, Result | Exception]]:
        """What was done."""
        done, self._done = self._done, []
        return done


@dataclass(eq=False)
class _Running(Generic[A]):
    """A lane, and the results that came so far of the orders that it waits for."""

    item: A
    lane: Lane
    results: list[Any] = field(default_factory=list[Any])
    missing: int = 0
    error: Exception | None = None


def run_lanes(crew: Crew, lanes: Iterator[tuple[A, Lane]]) -> Iterator[tuple[A, Exception | None]]:
    """Run lanes side by side, as many as the crew has workers free, begun in their order.

    Yields each item when its lane has ended, with the error that ended it.
    """
    return _LaneRunner(crew).run(lanes)


class _LaneRunner(Generic[A]):
    """Feeds a crew from lanes."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._waiting: dict[int, tuple[_Running[A], int]] = {}
        self._paused: deque[_Running[A]] = deque()
        self._ended: list[tuple[A, Exception | None]] = []

    def run(self, lanes: Iterator[tuple[A, Lane]]) -> Iterator[tuple[A, Exception | None]]:
        more = True
        while more or self._waiting or self._paused:
            while more and self._crew.free > 0:
                item, lane = next(lanes, (None, None))
                more = lane is not None
                if item is not None and lane is not None:
                    self._advance(_Running(item, lane))
                yield from self._take_ended()
            if self._waiting:
                for number, result in self._crew.collect():
                    self._receive(number, result)
            for _ in range(len(self._paused)):
                self._advance(self._paused.popleft())
            yield from self._take_ended()

    def _take_ended(self) -> list[tuple[A, Exception | None]]:
        ended, self._ended = self._ended, []
        return ended

    def _receive(self, number: int, result: Result | Exception) -> None:
        running, place = self._waiting.pop(number)
        running.missing -= 1
        if isinstance(result, Exception):
            running.error = running.error or result
        else:
            running.results[place] = result
        if not running.missing:
            self._advance(running)

    def _advance(self, running: _Running[A]) -> None:
        """Let a lane continue to its next orders, or to its end."""
        error, results = running.error, running.results
        try:
            if error is not None:
                batch = running.lane.throw(error)
            else:
                batch = running.lane.send(results) if results else next(running.lane)
        except StopIteration:
            self._ended.append((running.item, None))
        except Exception as ending:
            self._ended.append((running.item, ending))
        else:
            running.error, running.results, running.missing = None, [None] * len(batch), len(batch)
            if not batch:
                self._paused.append(running)
            for place, (order, delta) in enumerate(batch):
                self._waiting[self._crew.submit(order, delta)] = running, place


def read_ahead(items: Iterable[A], read: Callable[[A], B], ahead: int = 1) -> Iterator[tuple[A, Callable[[], B]]]:
    """Each item, in order, with what gives its reading or raises its error; the next ones are read meanwhile.

    So many items are read ahead and no more, so that many readings and one are in memory at most.
    """
    pool = ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="read-ahead")
    try:
        coming = ((item, pool.submit(read, item)) for item in items)
        waiting = deque(itertools.islice(coming, ahead))
        while waiting:
            item, reading = waiting.popleft()
            waiting.extend(itertools.islice(coming, 1))
            yield item, reading.result
            del reading  # an adapter may have hundreds of megabytes
    finally:  # without waiting: what a failed run leaves behind may be collected in a thread of the pool
        pool.shutdown(wait=False, cancel_futures=True)
