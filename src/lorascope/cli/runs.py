"""What inspect, index and demo share: presets with changes, progress, reports."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, final

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from lorascope.cli.output import counted, err, harmless, out, print_json, print_refusals, print_table
from lorascope.library import Library
from lorascope.measure import Bench, Event, Outcome, index, load_bench
from lorascope.measure.estimate import Estimate, estimate
from lorascope.measure.pace import Pace
from lorascope.protocol import Preset
from lorascope.report.words import duration

_LONGEST = 20
_QUIET = 60.0
"""Seconds between two lines where nothing can be drawn, as in the log of a cluster's job."""


@final
class RunProgress:
    """Shows a run: stage, cells, time left, files left out, adapter. Bar and adapter give way where it is narrow.

    Where there is no terminal it writes a line for each stage, and one a minute.
    """

    def __init__(self) -> None:
        self._pace = Pace()
        self._stage = "looking for files"
        self._refused = 0
        self._spoke = -_QUIET
        self._progress = Progress(
            TextColumn("{task.fields[stage]}"), BarColumn(None, table_column=Column(ratio=1)),
            TextColumn("{task.fields[cells]}"), TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[refused]}", style="yellow"),
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            console=err, expand=True,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None, stage=self._stage, cells="", left="", refused="")

    def __enter__(self) -> RunProgress:
        if err.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._progress.stop()

    def watch(self, event: Event) -> None:
        """Follow one event."""
        if event.kind == "stage":
            self._stage, self._spoke = event.text, -_QUIET
        self._refused += event.kind == "refused"
        self._pace.follow(self._stage, event.cells, event.total, event.later)
        left = self._pace.seconds_left
        figures: dict[str, Any] = {
            "stage": self._stage,
            "cells": f"{event.cells} of {event.total} cells" if event.total else "",
            "left": "" if left is None else f"{duration(left)} left",
            "refused": f"{counted(self._refused, 'file')} left out" if self._refused else "",
        }
        if not err.is_terminal:
            self._speak(", ".join(filter(None, figures.values())))
            return
        self._progress.update(
            self._task,
            description=harmless(event.text) if event.kind in ("scan", "weigh", "block") else "",
            completed=event.cells,
            total=event.total or None,
            **figures,
        )

    def _speak(self, line: str) -> None:
        now = time.monotonic()
        if now - self._spoke >= _QUIET:
            self._spoke = now
            err.print(line, highlight=False, markup=False, soft_wrap=True)


def loaded(preset: Preset, library: Library, **how: Any) -> Bench:
    """The models of a preset, resident."""
    with err.status("loading models"):
        return load_bench(preset, library, **how)


def followed(paths: list[Path], bench: Bench, **how: Any) -> Outcome:
    """Index, and show how it goes."""
    with RunProgress() as bar:
        return index(paths, bench, watch=bar.watch, **how)


def report(outcome: Outcome, library: Library, as_json: bool) -> None:
    """Tell how a run ended, and why each file was left out."""
    if as_json:
        print_json(outcome.summary() | {"refusals": [vars(refusal) for refusal in outcome.refused]})
        return
    print_refusals(outcome.refused)
    print_outcome(outcome, library)


def print_outcome(outcome: Outcome, library: Library) -> None:
    """Tell in a sentence how a run ended."""
    adapters = counted(len(outcome.measured), "adapter")
    parts = [f"{adapters} measured with {outcome.cells} cells in {outcome.seconds:.0f} s"]
    parts += [f"{len(outcome.unchanged)} already known"] if outcome.unchanged else []
    parts += [f"{counted(len(outcome.refused), 'file')} left out"] if outcome.refused else []
    parts += [f"about {outcome.left} cells left for the next run, as the time is over"] if outcome.left else []
    parts += [f"{len(outcome.elsewhere)} being measured by another process"] if outcome.elsewhere else []
    out.print(f"{', '.join(parts)}. Library: {library.path}", soft_wrap=True, highlight=False, markup=False)


def chosen_preset(name: str, **changes: Any) -> Preset:
    """A preset with what the person changed: fields that are None or empty stay as they are.

    Raises:
        ProtocolError: there is no such preset, or a value is out of range.
        PromptSetError: one of its prompt sets cannot be read. Told here, it leaves no empty library.
    """
    chosen = dataclasses.replace(Preset.load(name), **{k: v for k, v in changes.items() if v not in (None, "", ())})
    chosen.check_prompts()
    return chosen


def print_estimate(bench: Bench, paths: list[Path], precision: str, as_json: bool) -> None:
    """Tell what a run would take."""
    found = estimate(bench, paths)
    if as_json:
        print_json([dataclasses.asdict(row) for row in found])
        return
    rows = [(e.precision, e.adapters, e.cells, _time(e.hours), _size(e.gigabytes)) for e in found]
    print_table(("precision", "adapters", "cells", "time", "disk"), rows)
    chosen = next((e for e in found if e.precision == precision), None)
    if chosen is not None:
        _print_longest(chosen)
        out.print(f"At {precision}: about {_time(chosen.hours)} at {chosen.seconds_per_cell:.3f} s a cell.")


def _time(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _size(gigabytes: float) -> str:
    return f"{gigabytes:,.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:.1f} MB"


def _print_longest(chosen: Estimate) -> None:
    """The adapters that take longest, where they are known to differ."""
    shares = sorted(chosen.each, key=lambda share: -share.cells)
    if len({share.cells for share in shares}) > 1:
        rows = [(Path(s.path).stem, s.consistency, s.cells, _time(s.hours)) for s in shares[:_LONGEST]]
        print_table(("adapter", "Consistency", "cells", "time"), rows, f"{chosen.precision}, the longest first")
        if len(shares) > _LONGEST:
            out.print(f"[dim]and {len(shares) - _LONGEST} more: --json lists all[/]")
