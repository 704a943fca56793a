"""An approximate index for very large libraries: FAISS, inverted lists of rows in 8 bits a component.

It only proposes candidates, which are ranked exactly afterwards. The filter is a selector inside the search, so that
rows that may not appear cost nothing and never crowd out those that may.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float32, Int64

from lorascope.caches import Note, fingerprint, quiet, unfinished

_LISTS = 2048
_ROWS_A_LIST = 100
_PROBED, _LEAST_PROBED = 1 / 10, 8
"""The share of the lists that are looked through: see docs/performance.md for what is found in them."""
_TRAINING_ROWS_A_LIST = 50
_CHUNK = 50_000


def faiss() -> Any | None:
    """FAISS, if it is installed (extra ``faiss``)."""
    try:
        import faiss as found
    except ImportError:
        return None
    return found


@final
class ListIndex:
    """IVF-SQ8 over the mapped Directions of a matrix, itself mapped from the disk."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def near(
        self, vector: Float32[np.ndarray, " d"], allowed: Bool[np.ndarray, " m"], count: int
    ) -> Int64[np.ndarray, " k"]:
        """Places of at most ``count`` rows with a high product among those that are allowed."""
        library = faiss()
        assert library is not None
        probed = max(_LEAST_PROBED, round(self._index.nlist * _PROBED))
        selector = library.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        parameters = library.SearchParametersIVF(sel=selector, nprobe=probed)
        _, found = self._index.search(vector[None], count, params=parameters)
        return found[0][found[0] >= 0]


def open_index(folder: Path) -> ListIndex | None:
    """The index beside a mapped matrix, if there is one, it is whole, and FAISS is installed."""
    library = faiss()
    if library is None:
        return None
    for path in folder.glob("*.faiss"):
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # FAISS raises RuntimeError
            if fingerprint(np.memmap(path, np.uint8, "r")) == path.stem:
                return ListIndex(library.read_index(str(path), library.IO_FLAG_MMAP | library.IO_FLAG_READ_ONLY))
    return None


def can_build(folder: Path) -> bool:
    """Whether an index can be made and kept beside a mapped matrix."""
    return faiss() is not None and os.access(folder, os.W_OK)


def build_index(folder: Path, directions: Float32[np.ndarray, "m d"], note: Note = quiet) -> ListIndex | None:
    """Make an index and keep it beside the matrix; None if the disk does not take it."""
    library = faiss()
    assert library is not None
    size, dim = directions.shape
    lists = min(_LISTS, max(1, size // _ROWS_A_LIST))
    index = library.index_factory(dim, f"IVF{lists},SQ8", library.METRIC_INNER_PRODUCT)
    sample = np.random.default_rng(0).choice(size, min(size, lists * _TRAINING_ROWS_A_LIST), replace=False)
    note("dividing the signatures into lists", 0, size)
    index.train(directions[np.sort(sample)])
    for start in range(0, size, _CHUNK):
        note("building the index of this library", start, size)
        index.add(np.ascontiguousarray(directions[start : start + _CHUNK]))
    with contextlib.suppress(OSError, RuntimeError), unfinished(folder) as partial:
        library.write_index(index, str(partial))
        for old in folder.glob("*.faiss"):  # damaged
            old.unlink()
        partial.rename(folder / f"{fingerprint(np.memmap(partial, np.uint8, 'r'))}.faiss")
    return open_index(folder)
