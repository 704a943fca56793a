"""Runs: their progress, their reports, and what they would cost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from lorascope.adapters.items import Conditions
from lorascope.cli.output import counted, err, harmless, out, print_json, print_line, print_note, print_table
from lorascope.cli.plans import Plans
from lorascope.cli.refusals import print_known, print_refusals, without
from lorascope.library import Library, Refusal, library_if_any
from lorascope.library.objects import ObjectStore
from lorascope.measure import Event, Outcome, Worker, index, load_worker
from lorascope.measure.cluster import ClusterPlan
from lorascope.measure.crew import Crew
from lorascope.measure.estimate import CostEstimate, estimate, total_cost
from lorascope.measure.events import Pace
from lorascope.protocol import Preset
from lorascope.report.words import duration, file_size

_LONGEST = 20
_QUIET = 60.0
"""Seconds between two lines without a terminal, as in the log of a batch job."""


@final
class RunProgress:
    """Shows a run: stage, cells, time left, files left out, adapter. Bar and adapter give way where it is narrow.

    Without a terminal it writes a line for each stage, and one every minute.
    """

    def __init__(self) -> None:
        self._pace, self._pace_of_all = Pace(), Pace()
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
        self._pace.follow(self._stage, event.cells, event.total, 0)
        self._pace_of_all.follow(self._stage, event.cells, event.total, event.later)
        figures: dict[str, Any] = {
            "stage": self._stage,
            "cells": f"{event.cells} of {event.total} cells" if event.total else "",
            "left": self._left(event.later),
            "refused": f"{counted(self._refused, 'file')} left out" if self._refused else "",
        }
        if not err.is_terminal:
            self._speak(", ".join(filter(None, figures.values())))
            return
        self._progress.update(
            self._task,
            description=harmless(event.text) if event.kind in ("scan", "weigh", "calibrate", "block") else "",
            completed=event.cells,
            total=event.total or None,
            **figures,
        )

    def _left(self, later: int) -> str:
        """Time left of the stage that is shown, and of the whole run where more stages follow."""
        left, of_all = self._pace.seconds_left, self._pace_of_all.seconds_left
        if left is None or of_all is None:
            return ""
        return f"{duration(left)} left" + (f", {duration(of_all)} in all" if later else "")

    def _speak(self, line: str) -> None:
        now = time.monotonic()
        if now - self._spoke >= _QUIET:
            self._spoke = now
            print_note(line)


def measure(
    plans: Plans,
    place: Path | None,
    how: Mapping[str, Any],
    fleet: ClusterPlan | None = None,
    objects: ObjectStore | None = None,
    *,
    as_json: bool,
    **which: Any,
) -> bool:
    """Index some folders and report how it went.

    Returns:
        Whether all went well: no file was newly left out, and no other process is measuring one.
    """
    with library_if_any(place) as known:
        before = known.refusals.all()
    outcome = Outcome(refused=list(plans.refused), finished=True)
    for plan in plans.each:
        with library_if_any(place) as known:
            preset = known.protocols.continued(plan.preset)
        # where no worker starts, no library is made; its models go before the next one's are loaded
        with crew_of(preset, fleet, **how) as crew, Library(place, create=True) as library:
            if objects is not None:
                library.evidence.keep_in(objects)
            one = followed(list(plan.paths), crew, library, follow_links=plans.follow_links, **which)
        outcome = outcome.plus(one)
    with Library(place, create=True) as library:
        for refused in plans.refused:
            library.refusals.add(refused)
        new = without(outcome.refused, before)
        report(outcome, new, library, place, as_json=as_json)
    return not new and not outcome.elsewhere


@contextmanager
def crew_of(preset: Preset, fleet: ClusterPlan | None, **how: Any) -> Generator[Worker | Crew]:
    """A worker in this process, or a crew on a cluster, with the models of a preset."""
    if fleet is None:
        yield loaded(preset, **how)
        return
    from lorascope.measure.ray import RayCrew

    if not err.is_terminal:
        err.print("starting workers")
    with err.status("starting workers"):
        crew = RayCrew(preset, fleet, **how)
    with crew:
        yield crew


def loaded(preset: Preset, **how: Any) -> Worker:
    """A worker with the models of a preset."""
    if not err.is_terminal:
        err.print("loading models")
    with err.status("loading models"):
        return load_worker(preset, **how)


def followed(paths: list[Path], worker: Worker | Crew, library: Library, **how: Any) -> Outcome:
    """Index, and show progress."""
    with RunProgress() as bar:
        return index(paths, worker, library, watch=bar.watch, **how)


def report(outcome: Outcome, new: Sequence[Refusal], library: Library, place: Path | None, *, as_json: bool) -> None:
    """Print how a run ended, and why files were left out: in full where that is new."""
    if as_json:
        refusals = [vars(one) | {"new": one in new} for one in outcome.refused]
        print_json(outcome.summary() | {"refusals": refusals})
        return
    print_refusals(new)
    print_known([one for one in outcome.refused if one not in new], place)
    print_outcome(outcome, library)


def print_outcome(outcome: Outcome, library: Library) -> None:
    """Print in one sentence how a run ended."""
    adapters = counted(len(outcome.measured), "adapter")
    parts = [f"{adapters} measured with {outcome.cells} cells in {outcome.seconds:.0f} s"]
    parts += [f"{len(outcome.unchanged)} already known"] if outcome.unchanged else []
    parts += [f"{counted(len(outcome.refused), 'file')} left out"] if outcome.refused else []
    parts += [f"about {outcome.left} cells left for the next run, as the time is over"] if outcome.left else []
    parts += [f"{len(outcome.elsewhere)} being measured by another process"] if outcome.elsewhere else []
    print_line(f"{', '.join(parts)}. Library: {library.path}")


def dry_run(
    plans: Plans, place: Path | None, how: Mapping[str, Any], conditions: Conditions, *, precision: str, as_json: bool
) -> None:
    """Print what a run would take. Nothing is written."""
    with library_if_any(place) as library:
        costs = [
            estimate(
                loaded(library.protocols.continued(plan.preset), **how), library, plan.paths,
                follow_links=plans.follow_links, conditions=conditions,
            )
            for plan in plans.each
        ]  # fmt: skip
    total = [total_cost(each) for each in zip(*costs, strict=True)]
    if as_json:
        print_json([dataclasses.asdict(cost) for cost in total])
        return
    rows = [
        (cost.precision, cost.adapters, cost.cells, _time(cost.hours), file_size(int(cost.gigabytes * 1e9)))
        for cost in total
    ]
    print_table(("precision", "adapters", "cells", "time", "disk"), rows)
    print_refusals([*plans.refused, *(total[0].refused if total else ())])
    if total and total[0].copies:
        verbs = ("looks", "is") if total[0].copies == 1 else ("look", "are")
        out.print(
            f"{counted(total[0].copies, 'file')} {verbs[0]} the same as another one, and {verbs[1]} measured once."
        )
    for chosen in (cost for cost in total if cost.precision == precision):
        _print_longest(chosen)
        out.print(f"At {precision}: about {_time(chosen.hours)} at {chosen.seconds_per_cell:.3f} s a cell.")
        out.print(f"Memory that the base model takes, estimated: {chosen.memory}.", soft_wrap=True)


def _time(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _print_longest(chosen: CostEstimate) -> None:
    """The adapters that take longest, where they are known to differ."""
    shares = sorted(chosen.each, key=lambda share: -share.cells)
    if len({share.cells for share in shares}) > 1:
        rows = [(Path(s.path).stem, s.consistency, s.cells, _time(s.hours)) for s in shares[:_LONGEST]]
        print_table(("adapter", "Consistency", "cells", "time"), rows, f"{chosen.precision}, the longest first")
        if len(shares) > _LONGEST:
            out.print(f"[dim]and {len(shares) - _LONGEST} more: --json lists all[/]")
