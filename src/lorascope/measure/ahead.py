"""Reading the next adapters while devices work on others."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def read_ahead(items: Iterable[A], read: Callable[[A], B], ahead: int = 1) -> Iterator[tuple[A, Callable[[], B]]]:
    """Each item, in order, with what gives its reading or raises its error; the next ones are read meanwhile.

    So many items are read ahead and no more, so that many readings and one are in memory at most.
    """
    with ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="read-ahead") as pool:
        coming = ((item, pool.submit(read, item)) for item in items)
        waiting = deque(itertools.islice(coming, ahead))
        while waiting:
            item, reading = waiting.popleft()
            waiting.extend(itertools.islice(coming, 1))
            yield item, reading.result
            del reading  # an adapter may have hundreds of megabytes
