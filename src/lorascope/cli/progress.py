"""Progress of caches that are built once, before the first search."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@final
class CacheProgress:
    """A bar that appears when a cache begins to be built, and vanishes at the end of the block."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> CacheProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def note(self, what: str, done: int, total: int) -> None:
        """Show how much is built; each new name gets a bar of its own."""
        if self._progress is None:
            from rich.progress import Progress

            from lorascope.cli.output import err

            self._progress = Progress(console=err, transient=True)
            self._progress.start()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(f"{what}, once", total=total)
        self._progress.update(self._tasks[what], completed=done)
