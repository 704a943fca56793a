"""Reading the next adapter while the device works on this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def read_ahead(items: Sequence[A], read: Callable[[A], B]) -> Iterator[tuple[A, Callable[[], B]]]:
    """Each item, in order, with what gives its reading or raises its error; the next one is read meanwhile.

    One item is read ahead and no more, so two readings are in memory at most.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as pool:
        coming = pool.submit(read, items[0]) if items else None
        for place, item in enumerate(items):
            assert coming is not None
            current = coming
            coming = pool.submit(read, items[place + 1]) if place + 1 < len(items) else None
            yield item, current.result
            del current  # an adapter may have hundreds of megabytes
