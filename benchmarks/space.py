"""Room of their own for what a benchmark keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def caches_in(folder: Path) -> Iterator[None]:
    """Put lorascope's caches there, in this process and in those that it starts."""
    before = os.environ.get("LORASCOPE_CACHE")
    os.environ["LORASCOPE_CACHE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("LORASCOPE_CACHE")
        if before is not None:
            os.environ["LORASCOPE_CACHE"] = before
