"""Reading the next adapter while the device works on this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def read_ahead(items: Iterable[A], read: Callable[[A], B]) -> Iterator[tuple[A, Callable[[], B]]]:
    """Each item, in order, with what gives its reading or raises its error; the next one is read meanwhile.

    One item is read ahead and no more, so two readings are in memory at most.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as pool:
        coming = ((item, pool.submit(read, item)) for item in items)
        current = next(coming, None)
        while current is not None:
            (item, reading), current = current, next(coming, None)
            yield item, reading.result
            del reading  # an adapter may have hundreds of megabytes
