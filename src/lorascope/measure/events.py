"""What a run tells those who watch it: progress, the time left, and how it ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, final

from lorascope.errors import place_of
from lorascope.library import Refusal
from lorascope.library.leases import this_process

_RECENT = 100
"""How many blocks the time left is reckoned by."""


@dataclass(frozen=True)
class Event:
    """What a run tells its watcher: ``cells`` of ``total`` of its stage are done; ``text`` names the file or the stage.

    ``later`` is about how many cells the stages after this one will take.
    """

    kind: Literal["scan", "stage", "weigh", "calibrate", "block", "refused"]
    text: str
    cells: int = 0
    total: int = 0
    later: int = 0


Watcher = Callable[[Event], None]
"""Is called with each event, between two blocks of work: it may take its time, and it ends the run with StopRun."""


class StopRun(Exception):
    """Raised by a watcher to end a run where it is: every block so far is kept, and the outcome is not ``finished``."""


@dataclass
class Outcome:
    """How a run ended: keys measured now, files that needed nothing, files left out, keys another process has.

    ``left`` is about how many cells are still to do in the stage at which its time was over.

    Examples:
        >>> from lorascope import index
        >>> outcome = index(["loras"], worker, library, precision="glance")
        >>> len(outcome.unchanged), outcome.refused, outcome.finished
        (3, [], True)
    """

    measured: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    cells: int = 0
    left: int = 0
    seconds: float = 0.0
    finished: bool = False

    def plus(self, other: Outcome) -> Outcome:
        """Both of two runs, one after the other."""
        return Outcome(
            *(getattr(self, one.name) + getattr(other, one.name) for one in fields(self) if one.name != "finished"),
            finished=self.finished and other.finished,
        )

    def summary(self) -> dict[str, Any]:
        """Counts, as plain data."""
        counts = {name: len(getattr(self, name)) for name in ("measured", "unchanged", "refused", "elsewhere")}
        others = {"cells": self.cells, "left": self.left, "seconds": round(self.seconds, 3), "finished": self.finished}
        return counts | others


@final
class Progress:
    """Counts the cells of a stage and tells the watcher."""

    def __init__(self, watch: Watcher) -> None:
        self._watch = watch
        self._spent = 0
        self._expected: dict[Path, int] = {}
        self.later = 0

    @property
    def left(self) -> int:
        """About how many cells the stage still takes."""
        return sum(self._expected.values())

    def scanned(self, count: int) -> None:
        """Tell how many files were found so far."""
        self._watch(Event("scan", f"{count} files", count))

    def begin(self, stage: str, expected: Mapping[Path, int]) -> None:
        """Begin a stage, of which each file is expected to take so many cells."""
        self._spent, self._expected = 0, dict(expected)
        self._watch(Event("stage", stage, 0, self.left, self.later))

    def advance(self, path: Path, cells: int) -> None:
        """Count cells of a file."""
        self._spent += cells
        self._expected[path] = max(0, self._expected[path] - cells)

    def drop(self, path: Path) -> None:
        """Expect nothing more of a file."""
        del self._expected[path]

    def say(self, kind: Literal["weigh", "calibrate", "block", "refused"], text: str) -> None:
        """Report the progress of the stage."""
        self._watch(Event(kind, text, self._spent, self._spent + self.left, self.later))


def request_of(paths: Iterable[Path], precision: str, partial: bool) -> dict[str, Any]:
    """What a run is asked, and by which process, as the library notes it."""
    return {
        "paths": [place_of(path) for path in paths],
        "precision": precision,
        "partial": partial,
        "owner": this_process(),
    }


@final
class Pace:
    """Seconds left of a whole run, if the stages to come go at the pace of the last blocks of this one."""

    def __init__(self) -> None:
        self._stage = ""
        self._blocks: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self.seconds_left: float | None = None
        """None before the second block of a stage: the first one makes pictures that all others share."""

    def follow(self, stage: str, cells: int, total: int, later: int) -> None:
        """Take in that ``cells`` of ``total`` of a stage are done, and that about ``later`` come after it."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage = stage
            self._blocks.clear()
        if cells and (not self._blocks or cells > self._blocks[-1][1]):
            self._blocks.append((now, cells))
        began, before = self._blocks[0] if self._blocks else (now, cells)
        left = total - cells + later
        self.seconds_left = (now - began) / (cells - before) * left if total and cells > before else None
