"""Coroutines that wait for something to change, woken from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import final


@final
class Listeners:
    """Who listens to the work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def listening(self) -> Generator[asyncio.Event]:
        """An event that is set at every change, until the end of the block; whoever waits for it clears it."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._waiting.discard(entry)

    def tell(self) -> None:
        """Something has changed."""
        with self._lock:
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Nothing will change any more: whoever listens should go."""
        self.closed = True
        self.tell()
