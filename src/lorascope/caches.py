"""What every file shares that is derived or asked for: it appears whole or not at all, and damage is noticed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np

from lorascope.errors import OutputError

_WORDS = 512
_ABANDONED_SECONDS = 3600
Note = Callable[[str, int, int], None]
"""Is called with what is being built, how much of it is done, and of how much."""


def quiet(what: str, done: int, total: int) -> None:
    """A :data:`Note` that ignores progress."""


@contextmanager
def unfinished(folder: Path) -> Generator[Path]:
    """A place for a new file or folder, to be renamed when it is whole; what is still there at the end vanishes.

    So nobody meets half of anything, and several processes may build the same at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob("*.partial"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - other.stat().st_mtime > _ABANDONED_SECONDS:  # its process was killed
                _remove(other)
    partial = folder / f"{uuid4().hex}.partial"
    try:
        yield partial
    finally:
        _remove(partial)


@contextmanager
def whole(path: Path) -> Generator[Path]:
    """A place to write a file that a person asked for. At the end it takes that file's place, or vanishes.

    Until then a file of that name stays as it was. What is no file (``/dev/stdout``, a pipe) is written as it is.

    Raises:
        OutputError: it cannot be written.
    """
    special = path.exists() and not path.is_file()
    target = path if special else path.resolve()  # a link stays a link
    partial = path if special else target.with_name(f".{uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # pyarrow's says much more than that
        raise OutputError(f"{path} cannot be written ({reason}): choose another place") from error
    finally:
        if not special:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file that a person asked for, as :func:`whole` does."""
    with whole(path) as partial:
        partial.write_text(text, "utf-8")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def fingerprint(*arrays: np.ndarray) -> str:
    """A digest that finds rot and truncation at the speed of memory, over contiguous arrays, shapes and types.

    It is the sha256 over the sums of every 4 KiB, as 64-bit words, and over what is left at the end. sha256 over all
    of it would take 2 s for the Directions of a million adapters. It is no defence against a forger.
    """
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        raw = array.reshape(-1).view(np.uint8)
        whole = raw.size - raw.size % (8 * _WORDS)
        total.update(raw[:whole].view(np.uint64).reshape(-1, _WORDS).sum(1).tobytes())
        total.update(raw[whole:].tobytes())
    return total.hexdigest()[:32]
