"""The pipe to the worker process, which is started by the first job and let go after some idle minutes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Protocol, final, runtime_checkable

from lorascope.extras import require
from lorascope.server.jobs import FromWorker, ModelConfig, ToWorker

_IDLE_SECONDS = 300.0
"""How long an idle worker keeps its models loaded."""
_LEAVING_SECONDS = 10.0
_TICK = 0.5


@runtime_checkable
class Task(Protocol):
    """What a worker runs in: a process, or a thread in tests."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        ...


Start = Callable[[Connection, ModelConfig], Task]


def start_process(pipe: Connection, plan: ModelConfig) -> Task:
    """Start a worker process. It is spawned, because torch's threads do not survive a fork."""
    require("measure")
    from lorascope.server.model_process import run  # loads torch, which a server that only searches does not need

    process = get_context("spawn").Process(target=run, args=(pipe, plan), name="lorascope-worker", daemon=True)
    process.start()
    pipe.close()  # only the worker holds this end now, so the other end sees EOF when the worker dies
    return process


@final
class JobPipe:
    """Sends jobs to the worker and passes its messages to callbacks."""

    def __init__(
        self,
        plan: ModelConfig,
        start: Start,
        lock: threading.RLock,
        *,
        on_message: Callable[[FromWorker], None],
        on_death: Callable[[], None],
        is_idle: Callable[[], bool],
    ) -> None:
        """Start no worker yet.

        Args:
            plan: which models the worker loads.
            start: starts a worker.
            lock: held while a job is sent, and while an idle worker is let go.
            on_message: called with each message of the worker.
            on_death: called when the worker has died while it had work.
            is_idle: whether there is no work.
        """
        self._plan = plan
        self._start = start
        self._on_message = on_message
        self._on_death = on_death
        self._is_idle = is_idle
        self._lock = lock
        self._pipe: Connection | None = None
        self._follower: threading.Thread | None = None
        self._leaving = threading.Event()

    def send(self, job: ToWorker) -> None:
        """Send a job, and start a worker if there is none. If the worker dies meanwhile, ``on_death`` is called."""
        with self._lock, contextlib.suppress(OSError):
            (self._pipe or self._open()).send(job)

    def release_worker(self) -> None:
        """End the worker as soon as it is idle, which frees the models."""
        self._leaving.set()

    def close(self, seconds: float) -> None:
        """End the worker, and wait for its last block, at most ``seconds``."""
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
        """Pass messages on until the worker is dead, or idle for long enough."""
        dead, last_message = False, time.monotonic()
        while not dead:
            try:
                if pipe.poll(_TICK):
                    self._on_message(pipe.recv())
                    last_message = time.monotonic()
                    continue
            except (EOFError, OSError):
                dead = True
            with self._lock:
                may_end = leaving.is_set() or time.monotonic() - last_message > _IDLE_SECONDS
                if dead or (may_end and self._is_idle()):
                    self._pipe = None
                    break
        pipe.close()
        task.join(_LEAVING_SECONDS)
        if dead and not self._is_idle():
            self._on_death()
