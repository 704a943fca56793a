"""What inspect, index and demo share: presets with changes, progress, reports."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lorascope.cli.output import counted, err, out, print_json, print_refusals, print_table
from lorascope.library import Library
from lorascope.measure import Bench, Event, Outcome
from lorascope.measure.estimate import Estimate, estimate
from lorascope.protocol import Preset

_LONGEST = 20


class ProgressBar:
    """Shows a run: stage, adapter, cells done, time left, files left out so far."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[stage]}"), BarColumn(), MofNCompleteColumn(), TextColumn("cells,"),
            TimeElapsedColumn(), TextColumn("gone,"), TimeRemainingColumn(), TextColumn("left"),
            TextColumn("{task.fields[refused]}"), TextColumn("{task.description}", markup=False), console=err,
        )  # fmt: skip
        self._refused = 0
        self._task = self._progress.add_task("", total=None, stage="looking for files", refused="")

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def watch(self, event: Event) -> None:
        """Follow one event."""
        if event.kind in ("scan", "weigh"):
            self._progress.update(self._task, description=event.text)
        elif event.kind == "stage":
            left_out = self._left_out  # named again, for reset forgets the fields that it is not given
            self._progress.reset(self._task, total=event.total, description="", stage=event.text, refused=left_out)
        elif event.kind == "block":
            self._progress.update(self._task, completed=event.cells, total=event.total, description=event.text)
        else:
            self._refused += 1
            self._progress.update(self._task, refused=self._left_out)

    @property
    def _left_out(self) -> str:
        return f"[yellow]{counted(self._refused, 'file')} left out[/]" if self._refused else ""


def report(outcome: Outcome, library: Library, as_json: bool) -> None:
    """Tell how a run ended."""
    if as_json:
        print_json(outcome.summary() | {"refusals": [vars(refusal) for refusal in outcome.refused]})
        return
    print_refusals(outcome.refused)
    adapters = counted(len(outcome.measured), "adapter")
    parts = [f"{adapters} measured with {outcome.cells} cells in {outcome.seconds:.0f} s"]
    parts += [f"{len(outcome.unchanged)} already known"] if outcome.unchanged else []
    parts += [f"{counted(len(outcome.refused), 'file')} left out"] if outcome.refused else []
    parts += [f"about {outcome.left} cells left for the next run, as the time is over"] if outcome.left else []
    parts += [f"{len(outcome.elsewhere)} being measured by another process"] if outcome.elsewhere else []
    out.print(f"{', '.join(parts)}. Library: {library.path}", soft_wrap=True, highlight=False, markup=False)


def chosen_preset(
    name: str, base: str, encoders: list[str] | None, prompts: str, triggers: str, scale: float | None
) -> Preset:
    """A preset with what the person changed."""
    changes: dict[str, Any] = {
        "base": base,
        "encoders": tuple(encoders or ()),
        "prompts": prompts,
        "triggers": triggers,
    }
    changes = {key: value for key, value in changes.items() if value}
    if scale is not None:
        changes["scale"] = scale
    return dataclasses.replace(Preset.load(name), **changes)


def with_thresholds(preset: Preset, strength_max: float | None, consistency_min: float | None) -> Preset:
    """A preset with other thresholds, which its library's searches will have too."""
    changes = {"strength_max": strength_max, "consistency_min": consistency_min}
    return dataclasses.replace(preset, **{name: value for name, value in changes.items() if value is not None})


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
