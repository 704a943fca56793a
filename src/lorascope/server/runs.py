"""Runs: those of this server, and those stored in the library."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from lorascope.library.leases import ended
from lorascope.measure.events import Pace
from lorascope.server.jobs import JobProgress

Wish = Literal["", "pause", "cancel"]
_ENDS = {"": "failed", "pause": "paused", "cancel": "cancelled"}
_RESUMABLE = ("paused", "interrupted", "failed", "cancelled")


@dataclass
class RunStatus:
    """A waiting or running run; ``measured`` counts the adapters with a block of it so far."""

    number: int
    paths: tuple[str, ...]
    precision: str
    partial: bool
    state: str = "waiting"
    wish: Wish = ""
    stage: str = ""
    adapter: str = ""
    cells: int = 0
    total: int = 0
    refused: int = 0
    measured: int = 0
    started: float = field(default_factory=time.time)
    _pace: Pace = field(default_factory=Pace)

    def follow(self, progress: JobProgress) -> None:
        """Update from a progress message."""
        self._pace.follow(progress.stage, progress.cells, progress.total, progress.later)
        if self.state == "loading":
            self.state = "running"
        self.stage, self.refused, self.measured = progress.stage, progress.refused, progress.measured
        self.adapter = progress.adapter or self.adapter
        self.cells, self.total = progress.cells, progress.total

    @property
    def seconds_left(self) -> float | None:
        """Seconds left of the whole run; None before the second block of a stage."""
        left = self._pace.seconds_left
        return None if left is None else round(left, 1)

    def plain(self) -> dict[str, Any]:
        """The fields of the API's `RunRow`."""
        return _record(self.number, self.state, self.paths, self.precision, self.started) | {
            "partial": self.partial,
            "stage": self.stage,
            "adapter": self.adapter,
            "cells": self.cells,
            "total": self.total,
            "seconds_left": self.seconds_left,
            "refused": self.refused,
            "measured": self.measured,
        }


def how_it_ended(wish: Wish, *, finished: bool, died: bool) -> str:
    """The state in which a run ended."""
    if finished:
        return "done"
    return "interrupted" if died else _ENDS[wish]


def stored_run(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of the API's `RunRow`, for a run that this server is not working on."""
    request, outcome = row["request"], row["outcome"] or {}
    plain = _record(row["id"], _state(row), request["paths"], request["precision"], row["started"])
    return plain | {
        "partial": request.get("partial", False),
        "finished": row["finished"],
        "cells": outcome.get("cells", 0),
        "total": outcome.get("cells", 0),
        "refused": outcome.get("refused", 0),
        "measured": outcome.get("measured", 0),
        "error": outcome.get("error"),
    }


def _state(row: dict[str, Any]) -> str:
    outcome = row["outcome"]
    if outcome is None:
        owner = row["request"].get("owner", "")
        return "elsewhere" if owner and not ended(owner) else "interrupted"
    return outcome.get("ended") or ("done" if outcome.get("finished") else "interrupted")


def _record(number: int, state: str, paths: Any, precision: str, started: float) -> dict[str, Any]:
    return {
        "id": number,
        "state": state,
        "folders": list(paths),
        "precision": precision,
        "partial": False,
        "started": started,
        "finished": None,
        "stage": "",
        "adapter": "",
        "cells": 0,
        "total": 0,
        "seconds_left": None,
        "refused": 0,
        "measured": 0,
        "error": None,
        "resumable": state in _RESUMABLE,
    }
