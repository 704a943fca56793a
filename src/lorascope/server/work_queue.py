"""The work: runs one after the other and tries ahead of them, done by one worker process, told to whoever listens."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, final

from lorascope.errors import LibraryError
from lorascope.library import Library
from lorascope.measure.index import request_of
from lorascope.protocol import Precision
from lorascope.server.job_pipe import JobPipe, Start
from lorascope.server.jobs import (
    Column,
    EndRun,
    FromWorker,
    IndexJob,
    ModelConfig,
    Progress,
    RunEnded,
    ToWorker,
    TryJob,
)
from lorascope.server.listeners import Listeners
from lorascope.server.problems import Problem, problem_of
from lorascope.server.runs import Run, Wish, how_it_ended, stored_run
from lorascope.server.tries import Tries

_WAITING = 8
_SHOWN = 50
Libraries = Callable[[], AbstractContextManager[Library]]


@final
class WorkQueue:
    """What is under way, what waits, and how both are told. Every method may be called by any thread."""

    def __init__(self, plan: ModelConfig, folders: Sequence[Path], libraries: Libraries, start: Start) -> None:
        """Nothing is loaded before the first job.

        Args:
            plan: what the worker loads.
            folders: the only ones that runs may look into, resolved.
            libraries: lends a Library.
            start: begins a worker.
        """
        self.listeners = Listeners()
        self.tries = Tries(self._send_try)
        self._folders = tuple(folders)
        self._libraries = libraries
        self._lock = threading.RLock()
        self._post = JobPipe(plan, start, self._lock, told=self._told, lost=self._lost, idle=self._idle)
        self._waiting: deque[Run] = deque()
        self._current: Run | None = None
        self._last: dict[str, Any] | None = None

    # --- Asked by requests ----------------------------------------------------------------------------------------

    def start(self, folders: Sequence[int] | None, precision: str, *, partial: bool = False) -> dict[str, Any]:
        """Queue a run over folders, by their numbers; all of them if None.

        Raises:
            ProtocolError: no such precision.
            Problem: no such folder, none that may be indexed, none chosen, or too many runs are waiting.
        """
        Precision.named(precision)
        if not self._folders:
            raise Problem(409, "no-folders", "no folder may be indexed here", "start with `lorascope serve --folder`")
        chosen = range(len(self._folders)) if folders is None else folders
        if not chosen:
            raise Problem(422, "bad-value", "no folder is chosen", "choose at least one", "folders")
        wrong = [number for number in chosen if not 0 <= number < len(self._folders)]
        if wrong:
            raise Problem(
                404, "unknown-folder", f"there is no folder {wrong[0]}", "take an id from /api/v1/folders", "folders"
            )
        paths = tuple(str(self._folders[number]) for number in dict.fromkeys(chosen))
        return self._queue(None, paths, precision, partial)

    def resume(self, number: int) -> dict[str, Any]:
        """Queue a run again that did not come to its end.

        Raises:
            Problem: no such run, it is done or under way, or its folders are not among those named at start.
        """
        run = self.run(number)
        if not run["resumable"]:
            raise Problem(409, "not-resumable", f"run {number} is {run['state']}", "start a new one")
        outside = [path for path in run["folders"] if not self._allowed(path)]
        if outside:
            raise Problem(
                409, "folder-not-named", f"run {number} looked into {outside[0]}, which is not served",
                "start the server with that --folder",
            )  # fmt: skip
        return self._queue(number, tuple(run["folders"]), run["precision"], run["partial"])

    def pause(self, number: int) -> dict[str, Any]:
        """End a run after the block that is under way, and free the models; it can be resumed.

        Raises:
            Problem: no such run, or it is not under way.
        """
        return self._end(number, "pause")

    def cancel(self, number: int) -> dict[str, Any]:
        """End a run after the block that is under way. What it measured is kept.

        Raises:
            Problem: no such run, or it is not under way.
        """
        return self._end(number, "cancel")

    def run(self, number: int) -> dict[str, Any]:
        """How one run stands.

        Raises:
            Problem: there is no such run.
        """
        found = next((run for run in self._runs() if run["id"] == number), None)
        if found is None:
            raise Problem(404, "unknown-run", f"there is no run {number}", "see /api/v1/runs")
        return found

    def runs(self, limit: int = _SHOWN) -> list[dict[str, Any]]:
        """The latest runs, the last first."""
        return self._runs()[:limit]

    def _runs(self) -> list[dict[str, Any]]:
        with self._libraries() as library:
            rows = library.runs.all()
        with self._lock:
            alive = {run.number: run.plain() for run in (*self._waiting, *([self._current] if self._current else ()))}
        return [alive.get(row["id"]) or stored_run(row) for row in rows]

    def snapshot(self) -> dict[str, Any]:
        """How the work stands."""
        with self._lock:
            return {
                "state": "idle" if self._current is None else _PHASES.get(self._current.state, "stopping"),
                "run": self._current.plain() if self._current else None,
                "waiting": [run.plain() for run in self._waiting],
                "tries": self.tries.waiting,
                "last": self._last,
            }

    def close(self, seconds: float) -> None:
        """End after the block that is under way, and wait for that; the run can be resumed afterwards."""
        with self._lock:
            for run in (*self._waiting, *([self._current] if self._current else ())):
                self._end(run.number, "pause")
        self._post.close(seconds)
        self.listeners.close()

    # --- Queue ----------------------------------------------------------------------------------------------------

    def _allowed(self, path: str) -> bool:
        return any(Path(path).resolve().is_relative_to(folder) for folder in self._folders)

    def _queue(self, number: int | None, paths: tuple[str, ...], precision: str, partial: bool) -> dict[str, Any]:
        with self._lock:
            if len(self._waiting) >= _WAITING:
                raise Problem(429, "queue-full", f"{_WAITING} runs are waiting already", "cancel one, or wait", wait=60)
            with self._libraries() as library:
                number = library.runs.start(request_of(map(Path, paths), precision, partial), number)
            run = Run(number, paths, precision, partial)
            self._waiting.append(run)
            self._next()
            return run.plain()

    def _next(self) -> None:
        """Hand the next run to the worker, if it has none."""
        if self._current is None and self._waiting:
            run = self._current = self._waiting.popleft()
            run.state = "loading"
            self._last = None
            self._send(IndexJob(run.number, run.paths, run.precision, run.partial))
        self.listeners.tell()

    def _end(self, number: int, wish: Wish) -> dict[str, Any]:
        with self._lock:
            waiting = next((run for run in self._waiting if run.number == number), None)
            if waiting is not None:
                self._waiting.remove(waiting)
                self._note(number, {"finished": False}, how_it_ended(wish, finished=False, died=False))
            elif self._current is not None and self._current.number == number:
                self._current.wish, self._current.state = wish, "pausing" if wish == "pause" else "cancelling"
                self._send(EndRun())
            else:
                state = self.run(number)["state"]
                raise Problem(409, "not-running", f"run {number} is {state}", "only a run under way can be ended")
            self.listeners.tell()
        return self.run(number)

    # --- To and from the worker -----------------------------------------------------------------------------------

    def _send(self, job: ToWorker) -> None:
        self._post.send(job)

    def _send_try(self, job: TryJob) -> None:
        with self._lock:
            self._send(job)
            self.listeners.tell()

    def _told(self, message: FromWorker) -> None:
        """Take in one message of the worker."""
        with self._lock:
            if isinstance(message, Progress):
                if self._current is not None:
                    self._current.follow(message)
            elif isinstance(message, RunEnded):
                self._ended(message.outcome, message.error)
            elif isinstance(message, Column):
                self.tries.column(message)
            else:
                self.tries.end(message.id, message.error)
            self.listeners.tell()

    def _ended(self, outcome: dict[str, Any], error: dict[str, Any] | None, *, died: bool = False) -> None:
        run = self._current
        if run is None:
            return
        ending = how_it_ended(run.wish, finished=bool(outcome.get("finished")), died=died)
        self._last = error
        self._note(run.number, outcome | ({"error": error} if error else {}), ending)
        self._current = None
        if ending != "paused" or self._waiting:
            self._next()
        elif not self.tries.waiting:
            self._post.leave()  # whoever pauses wants the device for something else

    def _note(self, number: int, outcome: dict[str, Any], ending: str) -> None:
        try:
            with self._libraries() as library:
                library.runs.finish(number, outcome | {"ended": ending})
        except LibraryError as error:
            self._last = problem_of(error).plain()

    def _idle(self) -> bool:
        with self._lock:
            return self._current is None and not self.tries.waiting

    def _lost(self) -> None:
        """The worker is gone although it had work."""
        error = Problem(
            500, "worker-died", "the process that renders and measures came to a sudden end",
            "what was measured is kept: resume the run; if it happens again, look for a lack of memory",
        ).plain()  # fmt: skip
        with self._lock:
            self.tries.end_all(error)
            self._ended({"finished": False}, error, died=True)
            self._last = error
            self.listeners.tell()


_PHASES = {"loading": "starting", "running": "running"}
