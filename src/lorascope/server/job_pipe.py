"""The pipe to the worker: started with the first job, followed by a thread, closed when it idles or is gone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Protocol, final, runtime_checkable

from lorascope.server.jobs import FromWorker, ModelConfig, ToWorker
from lorascope.server.model_process import run

_IDLE_SECONDS = 300.0
"""How long an idle worker keeps its models loaded."""
_LEAVING_SECONDS = 10.0
_TICK = 0.5


@runtime_checkable
class Task(Protocol):
    """What a worker runs in: a process, or in tests a thread."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        ...


Start = Callable[[Connection, ModelConfig], Task]


def start_process(pipe: Connection, plan: ModelConfig) -> Task:
    """Begin a worker in a process of its own; spawned, because torch's threads do not survive a fork."""
    process = get_context("spawn").Process(target=run, args=(pipe, plan), name="lorascope-worker", daemon=True)
    process.start()
    pipe.close()  # this end is the worker's now; that it closes with it is how its end is noticed
    return process


@final
class JobPipe:
    """Sends jobs, and calls back with what comes."""

    def __init__(
        self,
        plan: ModelConfig,
        start: Start,
        lock: threading.RLock,
        *,
        told: Callable[[FromWorker], None],
        lost: Callable[[], None],
        idle: Callable[[], bool],
    ) -> None:
        """Start nothing yet.

        Args:
            plan: for the worker.
            start: begins it.
            lock: held while something is sent, and while it is decided that an idle worker goes.
            told: called with each of its messages.
            lost: called when it is gone while it had work.
            idle: whether it has none.
        """
        self._plan = plan
        self._start = start
        self._told = told
        self._lost = lost
        self._idle = idle
        self._lock = lock
        self._pipe: Connection | None = None
        self._follower: threading.Thread | None = None
        self._leaving = threading.Event()

    def send(self, job: ToWorker) -> None:
        """Send a job, to a new worker if there is none. One that dies meanwhile is noticed by its follower."""
        with self._lock, contextlib.suppress(OSError):
            (self._pipe or self._open()).send(job)

    def leave(self) -> None:
        """Let the worker go as soon as it is idle, so that its models are freed."""
        self._leaving.set()

    def close(self, seconds: float) -> None:
        """Let the worker go, and wait so long for its last block."""
        self._leaving.set()
        if self._follower is not None:
            self._follower.join(seconds)

    def _open(self) -> Connection:
        ours, theirs = get_context("spawn").Pipe()
        self._leaving = threading.Event()
        task = self._start(theirs, self._plan)
        self._pipe = ours
        self._follower = threading.Thread(target=self._follow, args=(ours, task, self._leaving), daemon=True)
        self._follower.start()
        return ours

    def _follow(self, pipe: Connection, task: Task, leaving: threading.Event) -> None:
        """Pass on what the worker tells, until it is gone or may go."""
        lost, heard = False, time.monotonic()
        while not lost:
            try:
                if pipe.poll(_TICK):
                    self._told(pipe.recv())
                    heard = time.monotonic()
                    continue
            except (EOFError, OSError):
                lost = True
            with self._lock:
                tired = leaving.is_set() or time.monotonic() - heard > _IDLE_SECONDS
                if lost or (tired and self._idle()):
                    self._pipe = None
                    break
        pipe.close()
        task.join(_LEAVING_SECONDS)
        if lost and not self._idle():
            self._lost()
