"""Wakes waiting coroutines from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import final


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
