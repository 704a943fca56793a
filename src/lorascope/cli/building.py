"""Progress of what has to be built once before a search can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@final
class Building:
    """A bar that appears with the first word of what is being built, and is gone at the end of the block."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Building:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def note(self, what: str, done: int, total: int) -> None:
        """Show how far it is; a new name begins a new bar."""
        if self._progress is None:
            from rich.progress import Progress

            from lorascope.cli.output import err

            self._progress = Progress(console=err, transient=True)
            self._progress.start()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(f"{what}, once", total=total)
        self._progress.update(self._tasks[what], completed=done)
