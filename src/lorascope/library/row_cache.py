"""Rows as they were decoded, by their seals.

A seal is over all columns of a row, so a row whose seal is known needs neither reading nor checking again: while a run
writes one signature after the other, searches read only what is new.
"""

from __future__ import annotations

from typing import Generic, TypeVar, final

T = TypeVar("T")


@final
class RowCache(Generic[T]):
    """The last decoded rows of one kind, of all libraries of this process. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: dict[object, T] = {}

    def get(self, seal: object) -> T | None:
        """The row of a seal, if it is kept; None for a row without one."""
        return None if seal is None else self._rows.get(seal)

    def put(self, seal: object, row: T) -> None:
        """Keep a row, in the place of all others where these are too many."""
        if seal is not None:
            if len(self._rows) >= self._most:
                self._rows = {}
            self._rows[seal] = row
