"""The worker process, which holds the models, so that the pages stay responsive while it measures."""

from __future__ import annotations

import signal
import time
from collections import deque
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, final

from lorascope.adapters import Delta, Names
from lorascope.adapters.items import file_of
from lorascope.errors import AdapterError, LorascopeError, UnreadableAdapter
from lorascope.library import Library, StoredAdapter
from lorascope.library.webp import webp
from lorascope.library.words import arms, measured_words
from lorascope.measure import Event, StopRun, Worker, index, load_worker
from lorascope.measure.files import measured_delta
from lorascope.protocol import Preset
from lorascope.server.jobs import (
    Column,
    EndRun,
    FromWorker,
    IndexJob,
    JobProgress,
    ModelConfig,
    RunEnded,
    TriedAdapter,
    TryEnded,
    TryJob,
)
from lorascope.server.problems import Problem, problem_of
from lorascope.server.readiness import chosen_preset

_SCAN_SECONDS = 0.2
"""Seconds between two progress messages of a scan, which finds thousands of files a second."""


def run(pipe: Connection, plan: ModelConfig) -> None:
    """The target of the process: do jobs until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the server too, which ends the worker
    work(pipe, plan)


def work(pipe: Connection, plan: ModelConfig) -> None:
    """Do jobs from a pipe, one after the other, until its other end is closed."""
    with Library(plan.library, create=True) as library:
        worker = ModelProcess(pipe, plan, library)
        while (job := worker.next()) is not None:
            worker.do(job)


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
        """Do one job. Errors are sent to the server; only a broken pipe ends the worker."""
        if isinstance(job, IndexJob):
            self._index(job)
        else:
            self._try(job)

    def _take(self, job: Any) -> None:
        if not isinstance(job, EndRun):  # its run has ended by itself meanwhile
            self._jobs.append(job)

    def _send(self, message: FromWorker) -> None:
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
            self._send(RunEnded(job.run, outcome.summary()))
        except LorascopeError as error:
            self._send(RunEnded(job.run, {"finished": False}, problem_of(error).plain()))

    def between(self, progress: JobProgress) -> None:
        """Between two blocks of a run, report progress and do the tries that have arrived.

        Raises:
            StopRun: the run should end here.
        """
        self._send(progress)
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
            seeds = worker.preset.seeds[: job.seeds] if job.seed is None else (job.seed,)
            for place, adapters in enumerate(((), *job.columns)):
                self._send(self._column(worker, job, place, adapters, seeds))
            self._send(TryEnded(job.id))
        except StopRun:  # the server is gone
            raise
        except Exception as error:  # a failed try must end, and must not disturb the run around it
            self._send(TryEnded(job.id, _failure(error)))

    def _column(
        self, worker: Worker, job: TryJob, place: int, adapters: tuple[TriedAdapter, ...], seeds: tuple[int, ...]
    ) -> Column:
        """One column; if adapters cannot be applied, it says why, and the others are tried."""
        try:
            parts = [self._part(worker, tried) for tried in adapters]
            prompt = job.prompt + "".join(dict.fromkeys(words for _, _, words in parts))
            weights = tuple(weight for _, weight, _ in parts)
            delta, scale = _joined([(delta, weight) for delta, weight, _ in parts])
            images = worker.images(
                [prompt] * len(seeds), seeds, delta=delta, scale=scale, preset=_changed(worker.preset, job)
            )
            return Column(job.id, place, seeds, tuple(webp(image) for image in images), weights)
        except Exception as error:
            if not adapters:  # it is nothing about an adapter
                raise
            problem = _failure(error)
            if isinstance(error, AdapterError) and len(adapters) > 1:  # which of them it is
                problem["message"] = f"{error.path.name}: {problem['message']}"
            return Column(job.id, place, error=problem)

    def _part(self, worker: Worker, tried: TriedAdapter) -> tuple[Delta, float, str]:
        """What an adapter changes, its weight, and its trigger words."""
        adapter = _within(self._library.adapters.find(tried.key), self._plan.folders)
        words, _ = arms(worker.preset, measured_words(adapter, worker.protocols[0]))
        weight = worker.preset.scale if tried.weight is None else tried.weight
        return measured_delta(adapter, Names(worker.shapes)), weight, words


def _joined(parts: list[tuple[Delta, float]]) -> tuple[Delta | None, float]:
    """All adapters of a column as one, and its scale."""
    if len(parts) < 2:
        return parts[0] if parts else (None, 1.0)
    return Delta.together(parts), 1.0


def _changed(preset: Preset, job: TryJob) -> Preset | None:
    """The preset with what a try changes; None if that is nothing."""
    wanted = {name: getattr(job, name) for name in ("width", "height", "negative_prompt")}
    changes = {name: value for name, value in wanted.items() if value not in (None, getattr(preset, name))}
    return replace(preset, **changes) if changes else None


def _within(adapter: StoredAdapter, folders: tuple[Path, ...]) -> StoredAdapter:
    """Leave out paths with links that lead out of the folders named at start.

    Raises:
        UnreadableAdapter: there is no other path.
    """
    kept = tuple(path for path in adapter.paths if not folders or _stays(file_of(path), folders))
    if adapter.paths and not kept:
        problem = f"{adapter.paths[0]} links to a place outside the folders named at start"
        raise UnreadableAdapter(adapter.name, problem, "Start the server with that place as a --folder")
    return replace(adapter, paths=kept)


def _stays(path: Path, folders: tuple[Path, ...]) -> bool:
    """Whether a path has no link, or leads into a folder."""
    target = path.resolve()
    return target == path or any(target.is_relative_to(folder) for folder in folders)


def _failure(error: Exception) -> dict[str, Any]:
    """The problem for a try or column, whatever exception a library below has raised."""
    if isinstance(error, LorascopeError):
        return problem_of(error).plain()
    reason = f"it could not be rendered ({type(error).__name__}: {error})"
    return Problem(500, "try-failed", reason, "try again; if it fails again, report it").plain()


@final
class _ProgressReporter:
    """Turns the events of a run into progress messages. It counts adapters by name, as events hold no keys."""

    def __init__(self, worker: ModelProcess, run: int) -> None:
        self._worker = worker
        self._run = run
        self._stage = "scan"
        self._refused = 0
        self._cells = 0
        self._measured: set[str] = set()
        self._reported = 0.0

    def __call__(self, event: Event) -> None:
        """Report one event."""
        adapter = event.text if event.kind == "block" else ""
        if event.kind == "stage":
            self._stage = event.text
            self._cells = event.cells
        elif event.kind == "block" and event.cells > self._cells:  # not merely the end of an adapter
            self._measured.add(adapter)
            self._cells = event.cells
        elif event.kind == "refused":
            self._refused += 1
        elif event.kind in ("scan", "weigh") and time.monotonic() - self._reported < _SCAN_SECONDS:
            return
        self._reported = time.monotonic()
        counts = event.cells, event.total, event.later, self._refused, len(self._measured)
        self._worker.between(JobProgress(self._run, self._stage, adapter, *counts))
