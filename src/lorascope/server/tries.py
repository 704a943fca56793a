"""Tries: a user's own prompt, rendered without and with some adapters. The latest pictures stay in memory."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from lorascope.server.jobs import Column, TriedAdapter, TryJob
from lorascope.server.problems import Problem

MOST_ADAPTERS = 4
MOST_SEEDS = 4
MOST_WEIGHT = 4.0
MOST_SEED = 2**32
SIDES = range(64, 2049, 8)
"""Widths and heights, in pixels."""
STRIP = (0.4, 0.7, 1.0, 1.3)
"""The weights of a try at several."""
LONGEST_PROMPT = 1000
_WAITING = 8
_KEPT = 32
_KEPT_BYTES = 64_000_000


@dataclass(frozen=True, kw_only=True)
class TryRequest:
    """What a person wants to see. What is None is as adapters are measured.

    Attributes:
        prompt: any words, at most 1000 characters.
        adapters: the keys of at most four.
        weights: a weight for each adapter, -4 to 4; where one is missing or None, it is ``weight``.
        weight: the weight of the others.
        seeds: pictures of each, one to four.
        seed: one of the person's own in place of those of the preset.
        several: draw the first adapter at several weights (:data:`STRIP`).
        together: apply all adapters at once instead of each alone; with ``several``, the others beside the first.
        width: of the pictures, a multiple of 8 from 64 to 2048.
        height: the same.
        negative_prompt: what pictures are guided away from.
    """

    prompt: str
    adapters: Sequence[str]
    weights: Sequence[float | None] = ()
    weight: float | None = None
    seeds: int = 2
    seed: int | None = None
    several: bool = False
    together: bool = False
    width: int | None = None
    height: int | None = None
    negative_prompt: str | None = None

    def check(self) -> None:
        """Check all of it, also for callers that have not.

        Raises:
            Problem: a value is out of range.
        """
        prompt, avoided, count = len(self.words), len(self.negative_prompt or ""), len(self.adapters)
        characters = f"give at most {LONGEST_PROMPT}"
        weights = [self.weight, *self.weights]
        heavy = [weight for weight in weights if weight is not None and not abs(weight) <= MOST_WEIGHT]
        sides = f"give a multiple of {SIDES.step} from {SIDES[0]} to {SIDES[-1]}"
        for fits, name, problem, remedy in (
            (prompt > 0, "prompt", "has no words", "write a prompt"),
            (prompt <= LONGEST_PROMPT, "prompt", f"has {prompt} characters", characters),
            (avoided <= LONGEST_PROMPT, "negative_prompt", f"has {avoided} characters", characters),
            (1 <= count <= MOST_ADAPTERS, "adapters", f"has {count} keys", f"give 1 to {MOST_ADAPTERS}"),
            (len(self.weights) <= count, "weights", f"has {len(self.weights)} entries", f"give at most {count}"),
            (not heavy, "weight", f"is {', '.join(map(str, heavy))}", f"give {-MOST_WEIGHT:g} to {MOST_WEIGHT:g}"),
            (1 <= self.seeds <= MOST_SEEDS, "seeds", f"is {self.seeds}", f"give 1 to {MOST_SEEDS}"),
            (0 <= (self.seed or 0) < MOST_SEED, "seed", f"is {self.seed}", f"give 0 to {MOST_SEED - 1}"),
            (self.width is None or self.width in SIDES, "width", f"is {self.width}", sides),
            (self.height is None or self.height in SIDES, "height", f"is {self.height}", sides),
        ):
            if not fits:
                raise Problem(422, "bad-value", f"{name} {problem}", remedy, name)

    @property
    def words(self) -> str:
        """The prompt, with single spaces."""
        return " ".join(self.prompt.split())

    def columns(self, names: Mapping[str, str]) -> tuple[tuple[TriedAdapter, ...], ...]:
        """The adapters of each column; ``names`` has their names by key."""
        own = dict(zip(self.adapters, self.weights, strict=False))
        chosen = [(key, self.weight if own.get(key) is None else own[key]) for key in dict.fromkeys(self.adapters)]
        tried = tuple(TriedAdapter(key, names[key], weight) for key, weight in chosen)
        if self.several:
            others = tried[1:] if self.together else ()
            return tuple((replace(tried[0], weight=step), *others) for step in STRIP)
        return (tried,) if self.together else tuple((one,) for one in tried)


@dataclass
class _Try:
    """One try so far: a column for the bare model, and one for each adapter."""

    job: TryJob
    weight: float | None
    columns: dict[int, Column] = field(default_factory=dict[int, Column])
    ended: bool = False
    error: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        return sum(len(image) for column in self.columns.values() for image in column.images)

    @property
    def state(self) -> str:
        if self.ended:
            return "failed" if self.error else "done"
        return "working" if self.columns else "waiting"

    def plain(self) -> dict[str, Any]:
        """The fields of the API's `TryRow`."""
        columns = ((), *self.job.columns)
        return {
            "id": self.job.id,
            "state": self.state,
            "prompt": self.job.prompt,
            "weight": self.weight,
            "width": self.job.width,
            "height": self.job.height,
            "negative_prompt": self.job.negative_prompt,
            "seeds": list(self.columns[0].seeds) if 0 in self.columns else [],
            "done": len(self.columns),
            "total": len(columns),
            "columns": [self._plain(place, adapters) for place, adapters in enumerate(columns)],
            "error": self.error,
        }

    def _plain(self, place: int, adapters: tuple[TriedAdapter, ...]) -> dict[str, Any]:
        column = self.columns.get(place)
        images = range(len(column.images)) if column else ()
        weights = column.weights if column and column.weights else (None,) * len(adapters)
        first = place * MOST_SEEDS
        return {
            "key": adapters[0].key if len(adapters) == 1 else "",
            "name": " + ".join(adapter.name for adapter in adapters) or "without",
            "adapters": [
                {"key": adapter.key, "name": adapter.name, "weight": weight}
                for adapter, weight in zip(adapters, weights, strict=True)
            ],
            "images": [f"/api/v1/tries/{self.job.id}/images/{first + number}" for number in images],
            "weight": weights[0] if len(weights) == 1 else None,
            "error": column.error if column else None,
        }


@final
class Tries:
    """The latest tries, each by an id that cannot be guessed."""

    def __init__(self, send: Callable[[TryJob], None]) -> None:
        """Keep ``send``, which sends a try to the worker."""
        self._send = send
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Try] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many have not ended."""
        with self._lock:
            return sum(not one.ended for one in self._kept.values())

    def start(self, asked: TryRequest, names: Mapping[str, str]) -> dict[str, Any]:
        """Send a try ahead of every run; ``names`` has the adapters' names by key.

        Raises:
            Problem: too many tries are waiting.
        """
        if self.waiting >= _WAITING:
            problem = f"{_WAITING} tries are waiting already"
            raise Problem(429, "queue-full", problem, "wait for one to be done", wait=10)
        job = TryJob(
            secrets.token_urlsafe(16), asked.words, asked.seeds, asked.seed, asked.columns(names),
            asked.width, asked.height, asked.negative_prompt,
        )  # fmt: skip
        one = _Try(job, asked.weight)
        with self._lock:
            self._kept[job.id] = one
        self._send(job)
        return one.plain()

    def get(self, name: str) -> dict[str, Any]:
        """The state of one try.

        Raises:
            Problem: it does not exist, or no longer.
        """
        with self._lock:
            return self._find(name).plain()

    def image(self, name: str, number: int) -> bytes:
        """A picture of a try, WebP.

        Raises:
            Problem: it does not exist, or not yet.
        """
        with self._lock:
            column = self._find(name).columns.get(number // MOST_SEEDS)
            if column is None or not 0 <= number % MOST_SEEDS < len(column.images):
                raise Problem(404, "unknown-picture", f"this try has no picture {number}", "wait until it is done")
            return column.images[number % MOST_SEEDS]

    def _find(self, name: str) -> _Try:
        if name not in self._kept:
            raise Problem(404, "unknown-try", "there is no such try", "the latest ones are kept: try again")
        return self._kept[name]

    def column(self, column: Column) -> None:
        """Store the pictures of one column."""
        with self._lock:
            if column.id in self._kept:
                self._kept[column.id].columns[column.place] = column
            self._forget()

    def end(self, name: str, error: dict[str, Any] | None) -> None:
        """End a try."""
        with self._lock:
            if name in self._kept:
                self._kept[name].ended, self._kept[name].error = True, error

    def end_all(self, error: dict[str, Any]) -> None:
        """End every try that is waiting, with an error."""
        with self._lock:
            for one in self._kept.values():
                if not one.ended:
                    one.ended, one.error = True, error

    def _forget(self) -> None:
        """Drop the oldest ended tries beyond the memory limit."""
        size = sum(one.size for one in self._kept.values())
        for name in [name for name, one in self._kept.items() if one.ended]:
            if len(self._kept) <= _KEPT and size <= _KEPT_BYTES:
                return
            size -= self._kept.pop(name).size
