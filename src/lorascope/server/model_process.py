"""The worker: a process of its own that holds the models, so that the pages stay quick while it measures."""

from __future__ import annotations

import signal
import time
from collections import deque
from multiprocessing.connection import Connection
from typing import Any, final

from lorascope.adapters import Delta, Names
from lorascope.errors import LorascopeError
from lorascope.library import Library
from lorascope.library.words import arms, measured_words
from lorascope.measure import Event, StopRun, Worker, index, load_worker
from lorascope.measure.files import measured_delta
from lorascope.measure.pixels import webp
from lorascope.protocol import Preset
from lorascope.server.jobs import (
    Column,
    EndRun,
    FromWorker,
    IndexJob,
    ModelConfig,
    Progress,
    RunEnded,
    TriedAdapter,
    TryEnded,
    TryJob,
)
from lorascope.server.problems import Problem, problem_of

_USUAL = "sdxl-paper"
_SCAN_SECONDS = 0.2
"""Files are found by the thousand in a second; so often is it told how many."""


def run(pipe: Connection, plan: ModelConfig) -> None:
    """The process: work until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the server too, which says when to end
    work(pipe, plan)


def work(pipe: Connection, plan: ModelConfig) -> None:
    """Do the jobs that come through the pipe, one after the other, until its other end is closed."""
    with Library(plan.library, create=True) as library:
        worker = ModelProcess(pipe, plan, library)
        while (job := worker.next()) is not None:
            worker.do(job)


def chosen_preset(library: Library, name: str) -> Preset:
    """The preset of a name; without one that of the library's active Protocol, or the usual one for a new library."""
    if name:
        return Preset.load(name)
    protocols = library.protocols.all()
    return library.protocols.find().preset if protocols else Preset.load(_USUAL)


@final
class ModelProcess:
    """Runs jobs and sends progress messages. A try that arrives during a run is done between two of its blocks."""

    def __init__(self, pipe: Connection, plan: ModelConfig, library: Library) -> None:
        self._pipe = pipe
        self._plan = plan
        self._library = library
        self._worker: Worker | None = None
        self._jobs: deque[IndexJob | TryJob] = deque()

    def next(self) -> IndexJob | TryJob | None:
        """The next job, or None at the end."""
        try:
            while not self._jobs:
                self._take(self._pipe.recv())
        except (EOFError, OSError):
            return None
        return self._jobs.popleft()

    def do(self, job: IndexJob | TryJob) -> None:
        """Do one job. What goes wrong is told; only a broken pipe ends the worker."""
        if isinstance(job, IndexJob):
            self._index(job)
        else:
            self._try(job)

    def _take(self, job: Any) -> None:
        if not isinstance(job, EndRun):  # a run that has ended by itself meanwhile needs no ending
            self._jobs.append(job)

    def _tell(self, message: FromWorker) -> None:
        try:
            self._pipe.send(message)
        except OSError as error:
            raise StopRun from error

    def _loaded(self) -> Worker:
        if self._worker is None:
            plan = self._plan
            preset = chosen_preset(self._library, plan.preset)
            self._worker = load_worker(preset, device=plan.device, download=plan.download)
        return self._worker

    # --- Runs -----------------------------------------------------------------------------------------------------

    def _index(self, job: IndexJob) -> None:
        watcher = _ProgressReporter(self, job.run)
        try:
            outcome = index(
                job.paths,
                self._loaded(),
                self._library,
                precision=job.precision,
                partial=job.partial,
                watch=watcher,
                number=job.run,
            )
            self._tell(RunEnded(job.run, outcome.summary()))
        except LorascopeError as error:
            self._tell(RunEnded(job.run, {"finished": False}, problem_of(error).plain()))

    def between(self, progress: Progress) -> None:
        """Between two blocks: tell how it goes, do what cannot wait.

        Raises:
            StopRun: the run is to end here.
        """
        self._tell(progress)
        try:
            while self._pipe.poll():
                job = self._pipe.recv()
                if isinstance(job, EndRun):
                    raise StopRun
                if isinstance(job, TryJob):
                    self._try(job)
                else:
                    self._take(job)
        except (EOFError, OSError) as error:  # the server is gone
            raise StopRun from error

    # --- Tries ----------------------------------------------------------------------------------------------------

    def _try(self, job: TryJob) -> None:
        try:
            worker = self._loaded()
            seeds = worker.preset.seeds[: job.seeds]
            self._tell(Column(job.id, 0, seeds, _drawn(worker, job.prompt, seeds)))
            for place, tried in enumerate(job.adapters, 1):
                self._tell(self._column(worker, job, place, tried, seeds))
            self._tell(TryEnded(job.id))
        except StopRun:  # the server is gone
            raise
        except Exception as error:  # a try that fails must neither wait for ever nor disturb the run around it
            self._tell(TryEnded(job.id, _failure(error)))

    def _column(self, worker: Worker, job: TryJob, place: int, tried: TriedAdapter, seeds: tuple[int, ...]) -> Column:
        """One column; an adapter that cannot be applied says why, and the others are tried."""
        try:
            adapter = self._library.adapters.find(tried.key)
            delta = measured_delta(adapter, Names(worker.shapes))
            words, _ = arms(worker.preset, measured_words(adapter, worker.protocols[0]))
            images = _drawn(worker, job.prompt + words, seeds, delta)
            return Column(job.id, place, seeds, images, worker.preset.scale)
        except Exception as error:
            return Column(job.id, place, error=_failure(error))


def _drawn(worker: Worker, prompt: str, seeds: tuple[int, ...], delta: Delta | None = None) -> tuple[bytes, ...]:
    """Pictures (WebP) of one prompt, bare or with an adapter."""
    images = worker.images([prompt] * len(seeds), seeds, delta=delta, scale=worker.preset.scale)
    return tuple(webp(image) for image in images)


def _failure(error: Exception) -> dict[str, Any]:
    """What became of a try or of a column, whatever went wrong in the libraries below."""
    if isinstance(error, LorascopeError):
        return problem_of(error).plain()
    reason = f"it could not be rendered ({type(error).__name__}: {error})"
    return Problem(500, "try-failed", reason, "try again; if it fails again, report it").plain()


@final
class _ProgressReporter:
    """Turns the events of a run into tidings. It counts adapters by name, which is all that an event tells of them."""

    def __init__(self, worker: ModelProcess, run: int) -> None:
        self._worker = worker
        self._run = run
        self._stage = "scan"
        self._refused = 0
        self._cells = 0
        self._measured: set[str] = set()
        self._told = 0.0

    def __call__(self, event: Event) -> None:
        """Follow one event."""
        adapter = event.text if event.kind == "block" else ""
        if event.kind == "stage":
            self._stage = event.text
            self._cells = event.cells
        elif event.kind == "block" and event.cells > self._cells:  # not merely the end of an adapter
            self._measured.add(adapter)
            self._cells = event.cells
        elif event.kind == "refused":
            self._refused += 1
        elif event.kind in ("scan", "weigh") and time.monotonic() - self._told < _SCAN_SECONDS:
            return
        self._told = time.monotonic()
        counts = event.cells, event.total, event.later, self._refused, len(self._measured)
        self._worker.between(Progress(self._run, self._stage, adapter, *counts))
