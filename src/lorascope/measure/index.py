"""Index folders: measure every adapter, breadth first, so that a search works long before the run is done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from lorascope.errors import place_of
from lorascope.library import Library
from lorascope.library.leases import this_process
from lorascope.measure.events import Event, Outcome, StopRun, Watcher
from lorascope.measure.measurement import Measurement
from lorascope.measure.run import Run
from lorascope.measure.worker import Worker
from lorascope.protocol import Precision

__all__ = ["Event", "Outcome", "StopRun", "Watcher", "index", "request_of"]


def index(
    paths: Iterable[str | Path],
    worker: Worker,
    library: Library,
    *,
    precision: str = "standard",
    scale: float | None = None,
    partial: bool = False,
    until: datetime | None = None,
    watch: Watcher | None = None,
    number: int | None = None,
) -> Outcome:
    """Measure every adapter under some folders to a Precision.

    First every adapter gets one coarse block, of each few dozen those first whose weights change the base model most;
    then each is refined. ``quick`` and ``standard`` stop early where it is certain that the preset's thresholds hide
    an adapter, which is then kept as ``screened``. Work is committed block by block: a run that is interrupted or
    killed goes on where it was. A file that cannot be measured is recorded with its reason and never stops the others.

    Args:
        paths: folders and files.
        worker: renders and embeds; see :func:`lorascope.measure.load_worker`.
        library: results go there.
        precision: ``glance``, ``quick``, ``standard`` or ``full``.
        scale: how strongly adapters are applied, instead of the preset's. It makes another Protocol, which shares
            the bare images.
        partial: measure adapters of which only some modules belong to the base model, too.
        until: begin no block that would end after this local time.
        watch: is told how it goes, and may end it.
        number: of a run that the library already has, to go on with; a new one otherwise.

    Raises:
        LibraryError: the library cannot be written. What was stored before is intact.
        ModelError: not even one image fits into memory, or the device failed.
    """
    places = [Path(path) for path in paths]
    measurement, goal = Measurement(worker, library, scale), Precision.named(precision)
    measurement.record()
    run = Run(
        measurement, goal, partial=partial, until=until or datetime.max, watch=watch or (lambda event: None),
        owner=this_process(),
    )  # fmt: skip
    if number is None:
        number = library.runs.start(request_of(places, precision, partial))
    try:
        run.go(places)
    except StopRun:
        pass
    finally:
        run.close()
        library.runs.finish(number, run.outcome.summary())
    return run.outcome


def request_of(paths: Iterable[Path], precision: str, partial: bool) -> dict[str, Any]:
    """What a run is asked, and by which process, as the library notes it."""
    return {
        "paths": [place_of(path) for path in paths],
        "precision": precision,
        "partial": partial,
        "owner": this_process(),
    }
