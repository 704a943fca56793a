"""Runs and tries, done by one worker process: runs one after the other, tries ahead of them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, final

from lorascope.adapters import scan
from lorascope.errors import LibraryError
from lorascope.library import Library
from lorascope.measure.events import request_of
from lorascope.precision import Precision
from lorascope.server.job_pipe import JobPipe, Start
from lorascope.server.jobs import (
    Column,
    EndRun,
    FromWorker,
    IndexJob,
    JobProgress,
    ModelConfig,
    RunEnded,
    TryJob,
)
from lorascope.server.problems import Problem, problem_of
from lorascope.server.runs import RunStatus, Wish, how_it_ended, stored_run
from lorascope.server.tries import Tries

_WAITING = 8
"""The most runs that may wait."""
Libraries = Callable[[], AbstractContextManager[Library]]


@final
class WorkQueue:
    """Queues runs, sends jobs to the worker and follows its messages. Every method is safe to call from any thread."""

    def __init__(self, plan: ModelConfig, folders: Sequence[Path], libraries: Libraries, start: Start) -> None:
        """Start no worker before the first job."""
        self.listeners = Listeners()
        self.tries = Tries(self._send_try)
        self._folders = tuple(folders)
        self._libraries = libraries
        self._lock = threading.RLock()
        self._pipe = JobPipe(
            plan, start, self._lock, on_message=self._on_message, on_death=self._on_death, is_idle=self._is_idle
        )
        self._waiting: deque[RunStatus] = deque()
        self._current: RunStatus | None = None
        self._last_error: dict[str, Any] | None = None

    def serve_folders(self, plan: ModelConfig) -> None:
        """Allow runs to index the folders of a plan, from the next worker on."""
        with self._lock:
            self._folders = plan.folders
            self._pipe.change_plan(plan)

    # --- Requests -------------------------------------------------------------------------------------------------

    def start(
        self, folders: Sequence[int] | None, precision: str, *, files: Sequence[str] = (), partial: bool = False
    ) -> dict[str, Any]:
        """Queue a run over folders, by their numbers, and over files in them; over all folders if neither is given.

        Raises:
            ProtocolError: no such precision.
            Problem: no folder was named at start, an unknown one or an unknown file is chosen or none, or too many runs
                are waiting.
        """
        Precision.named(precision)
        if not self._folders:
            raise Problem(409, "no-folders", "no folder may be indexed here", "start with `lorascope serve --folder`")
        everything = folders is None and not files
        chosen = range(len(self._folders)) if everything else folders or ()
        if not chosen and not files:
            raise Problem(422, "bad-value", "no folder is chosen", "choose at least one", "folders")
        wrong = [number for number in chosen if not 0 <= number < len(self._folders)]
        if wrong:
            raise Problem(
                404, "unknown-folder", f"there is no folder {wrong[0]}", "take an id from /api/v1/folders", "folders"
            )
        paths = [str(self._folders[number]) for number in dict.fromkeys(chosen)]
        return self._queue(None, (*paths, *self._found(files)), precision, partial)

    def _found(self, files: Sequence[str]) -> tuple[str, ...]:
        """Files by their paths, which are compared with those that the folders hold: none is opened for its name.

        Raises:
            Problem: one of them is not there.
        """
        known = {str(path) for path in scan(self._folders)} if files else set[str]()
        for path in files:
            if path not in known:
                problem = f"{path[:200]!r} is no adapter file of a served folder"
                raise Problem(404, "unknown-file", problem, "see /api/v1/folders", "files")
        return tuple(dict.fromkeys(files))

    def resume(self, number: int) -> dict[str, Any]:
        """Queue a run again that has not finished.

        Raises:
            Problem: there is no such run, it is done or running, or its folders are not among those named at start.
        """
        run = self.run(number)
        if not run["resumable"]:
            raise Problem(409, "not-resumable", f"run {number} is {run['state']}", "start a new one")
        outside = [path for path in run["folders"] if not self._is_allowed(path)]
        if outside:
            raise Problem(
                409, "folder-not-named", f"run {number} indexed {outside[0]}, which is not served",
                "start the server with that --folder",
            )  # fmt: skip
        return self._queue(number, tuple(run["folders"]), run["precision"], run["partial"])

    def end(self, number: int, wish: Wish) -> dict[str, Any]:
        """End a run after its current block; it keeps what it measured, and can be resumed. A pause frees the models.

        Raises:
            Problem: there is no such run, or it has ended.
        """
        with self._lock:
            waiting = next((run for run in self._waiting if run.number == number), None)
            if waiting is not None:
                self._waiting.remove(waiting)
                self._record_end(number, {"finished": False}, how_it_ended(wish, finished=False, died=False))
            elif self._current is not None and self._current.number == number:
                self._current.wish, self._current.state = wish, "pausing" if wish == "pause" else "cancelling"
                self._pipe.send(EndRun())
            else:
                state = self.run(number)["state"]
                raise Problem(409, "not-running", f"run {number} is {state}", "only an unfinished run can be ended")
            self.listeners.notify()
        return self.run(number)

    def run(self, number: int) -> dict[str, Any]:
        """The state of one run.

        Raises:
            Problem: there is no such run.
        """
        row = next((run for run in self.runs() if run["id"] == number), None)
        if row is None:
            raise Problem(404, "unknown-run", f"there is no run {number}", "see /api/v1/runs")
        return row

    def runs(self) -> list[dict[str, Any]]:
        """Every run of the library, the latest first."""
        with self._libraries() as library:
            rows = library.runs.all()
        with self._lock:
            alive = {run.number: run.plain() for run in self._unfinished()}
        return [alive.get(row["id"]) or stored_run(row) for row in rows]

    def snapshot(self) -> dict[str, Any]:
        """The state of the queue, as the API and the work page show it."""
        with self._lock:
            return {
                "state": "idle" if self._current is None else _PHASES.get(self._current.state, "stopping"),
                "run": self._current.plain() if self._current else None,
                "waiting": [run.plain() for run in self._waiting],
                "tries": self.tries.waiting,
                "last": self._last_error,
            }

    def close(self, seconds: float) -> None:
        """Pause every run and wait for the worker, at most ``seconds``."""
        with self._lock:
            for run in self._unfinished():
                self.end(run.number, "pause")
        self._pipe.close(seconds)
        self.listeners.close()

    # --- Queue ----------------------------------------------------------------------------------------------------

    def _unfinished(self) -> list[RunStatus]:
        return [*self._waiting, *([self._current] if self._current else ())]

    def _is_allowed(self, path: str) -> bool:
        return any(Path(path).resolve().is_relative_to(folder) for folder in self._folders)

    def _queue(self, number: int | None, paths: tuple[str, ...], precision: str, partial: bool) -> dict[str, Any]:
        with self._lock:
            if len(self._waiting) >= _WAITING:
                raise Problem(429, "queue-full", f"{_WAITING} runs are waiting already", "cancel one, or wait", wait=60)
            with self._libraries() as library:
                number = library.runs.start(request_of(map(Path, paths), precision, partial), number)
            run = RunStatus(number, paths, precision, partial)
            self._waiting.append(run)
            self._start_next()
            return run.plain()

    def _start_next(self) -> None:
        """Send the next run to the worker unless one is running."""
        if self._current is None and self._waiting:
            run = self._current = self._waiting.popleft()
            run.state = "loading"
            self._last_error = None
            self._pipe.send(IndexJob(run.number, run.paths, run.precision, run.partial))
        self.listeners.notify()

    # --- To and from the worker -----------------------------------------------------------------------------------

    def _send_try(self, job: TryJob) -> None:
        with self._lock:
            self._pipe.send(job)
            self.listeners.notify()

    def _on_message(self, message: FromWorker) -> None:
        """Handle one message from the worker."""
        with self._lock:
            if isinstance(message, JobProgress):
                if self._current is not None:
                    self._current.follow(message)
            elif isinstance(message, RunEnded):
                self._on_run_end(message.outcome, message.error)
            elif isinstance(message, Column):
                self.tries.column(message)
            else:
                self.tries.end(message.id, message.error)
            self.listeners.notify()

    def _on_run_end(self, outcome: dict[str, Any], error: dict[str, Any] | None, *, died: bool = False) -> None:
        run = self._current
        if run is None:
            return
        ending = how_it_ended(run.wish, finished=bool(outcome.get("finished")), died=died)
        self._last_error = error
        self._record_end(run.number, outcome | ({"error": error} if error else {}), ending)
        self._current = None
        if ending != "paused" or self._waiting:
            self._start_next()
        elif not self.tries.waiting:
            self._pipe.release_worker()  # a user who pauses wants the device for something else

    def _record_end(self, number: int, outcome: dict[str, Any], ending: str) -> None:
        try:
            with self._libraries() as library:
                library.runs.finish(number, outcome | {"ended": ending})
        except LibraryError as error:
            self._last_error = problem_of(error).plain()

    def _is_idle(self) -> bool:
        with self._lock:
            return self._current is None and not self.tries.waiting

    def _on_death(self) -> None:
        """Handle the end of a worker that still had work."""
        error = Problem(
            500, "worker-died", "the process that renders and measures ended unexpectedly",
            "what was measured is kept: resume the run; if it happens again, check for a lack of memory",
        ).plain()  # fmt: skip
        with self._lock:
            self.tries.end_all(error)
            self._on_run_end({"finished": False}, error, died=True)
            self._last_error = error
            self.listeners.notify()


_PHASES = {"loading": "starting", "running": "running"}


@final
class Listeners:
    """The coroutines that wait for changes of the work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def listening(self) -> Generator[asyncio.Event]:
        """An event that is set at every change until the end of the block; the caller clears it."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._waiting.discard(entry)

    def notify(self) -> None:
        """Wake every listener: something has changed."""
        with self._lock:
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Wake every listener for the last time; ``closed`` says that nothing more will come."""
        self.closed = True
        self.notify()
