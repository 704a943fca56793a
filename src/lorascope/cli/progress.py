"""Progress of caches that are built once, before the first search, and of the lab."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lorascope.caches import Note

_EACH = 100
"""Files between two updates of their count."""
_QUIET = 10.0
"""Seconds between two lines where there is no terminal."""


@final
class CacheProgress:
    """A bar that appears when a cache begins to be built, and vanishes at the end; without a terminal, lines."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._line = _lines()

    def __enter__(self) -> CacheProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def note(self, what: str, done: int, total: int) -> None:
        """Show how much is built; each new name gets a bar of its own."""
        from lorascope.cli.output import err

        if not err.is_terminal:
            self._line(what, done, total)
            return
        if self._progress is None:
            from rich.progress import Progress

            self._progress = Progress(console=err, transient=True)
            self._progress.start()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(f"{what}, once", total=total)
        self._progress.update(self._tasks[what], completed=done)


@contextmanager
def counted_files() -> Generator[Callable[[Path], None]]:
    """A line that counts the files whose headers are read; call what it gives with each."""
    from lorascope.cli.output import counted, err

    count = 0
    with err.status("reading the headers of files") as line:

        def note(_: Path) -> None:
            nonlocal count
            count += 1
            if count % _EACH == 0:
                line.update(f"reading the headers of files: {counted(count, 'file')}")

        yield note


@contextmanager
def step_progress() -> Generator[Note]:
    """A bar that follows the steps of the lab; without a terminal, a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lorascope.cli.output import err

    if not err.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


def _lines() -> Note:
    from lorascope.cli.output import print_note

    spoke = -_QUIET

    def note(stage: str, done: int, total: int) -> None:
        nonlocal spoke
        if stage and time.monotonic() - spoke >= _QUIET:
            spoke = time.monotonic()
            print_note(f"{stage}, {done + 1} of {total}")

    return note
