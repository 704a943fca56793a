"""Tries: a user's own prompt, rendered without and with some adapters. The latest pictures stay in memory."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from lorascope.library import StoredAdapter
from lorascope.server.jobs import Column, TriedAdapter, TryJob
from lorascope.server.problems import Problem

MOST_ADAPTERS = 4
MOST_SEEDS = 4
MOST_WEIGHT = 4.0
LONGEST_PROMPT = 1000
_WAITING = 8
_KEPT = 32
_KEPT_BYTES = 64_000_000


@dataclass
class _Try:
    """One try so far: a column for the bare model, and one for each adapter."""

    job: TryJob
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
        heads = [("", "without"), *((adapter.key, adapter.name) for adapter in self.job.adapters)]
        return {
            "id": self.job.id,
            "state": self.state,
            "prompt": self.job.prompt,
            "weight": self.job.weight,
            "seeds": list(self.columns[0].seeds) if 0 in self.columns else [],
            "done": len(self.columns),
            "total": len(heads),
            "columns": [self._plain(place, key, name) for place, (key, name) in enumerate(heads)],
            "error": self.error,
        }

    def _plain(self, place: int, key: str, name: str) -> dict[str, Any]:
        column = self.columns.get(place)
        images = range(len(column.images)) if column else ()
        first = place * MOST_SEEDS
        return {
            "key": key,
            "name": name,
            "images": [f"/api/v1/tries/{self.job.id}/images/{first + number}" for number in images],
            "weight": column.weight if column else None,
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

    def start(
        self, prompt: str, adapters: Sequence[StoredAdapter], seeds: int = 2, weight: float | None = None
    ) -> dict[str, Any]:
        """Send a try ahead of every run.

        Args:
            prompt: any words, at most 1000 characters.
            adapters: at most four.
            seeds: pictures of each, one to four.
            weight: the weight of each adapter, -4 to 4; by default the one at which adapters are measured.

        Raises:
            Problem: one of these is out of range, or too many tries are waiting.
        """
        words = " ".join(prompt.split())
        if not 1 <= len(words) <= LONGEST_PROMPT:
            raise Problem(
                422, "bad-value", f"prompt has {len(words)} characters", f"give 1 to {LONGEST_PROMPT}", "prompt"
            )
        if not 1 <= len(adapters) <= MOST_ADAPTERS:
            raise Problem(
                422, "bad-value", f"adapters has {len(adapters)} keys", f"give 1 to {MOST_ADAPTERS}", "adapters"
            )
        if not 1 <= seeds <= MOST_SEEDS:
            raise Problem(422, "bad-value", f"seeds is {seeds}", f"give 1 to {MOST_SEEDS}", "seeds")
        if weight is not None and not abs(weight) <= MOST_WEIGHT:
            limits = f"give {-MOST_WEIGHT:g} to {MOST_WEIGHT:g}"
            raise Problem(422, "bad-value", f"weight is {weight:g}", limits, "weight")
        if self.waiting >= _WAITING:
            problem = f"{_WAITING} tries are waiting already"
            raise Problem(429, "queue-full", problem, "wait for one to be done", wait=10)
        tried = tuple(TriedAdapter(adapter.key, adapter.name) for adapter in adapters)
        one = _Try(TryJob(secrets.token_urlsafe(16), words, seeds, weight, tried))
        with self._lock:
            self._kept[one.job.id] = one
        self._send(one.job)
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
