"""The Directions of a library as one matrix of unit rows, most of which may be mapped from the disk."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from jaxtyping import Float32, Int64

_CHUNK = 8192


@final
class Directions:
    """Unit rows (n, d), multiplied like an array: ``directions @ vector``, ``directions[rows]``.

    Two blocks lie below: what is mapped from the disk, and what came since and is in memory. ``places`` says where
    in the blocks, one after the other, each row is, in ascending order; None if row i is in place i. Places that no
    row has are of adapters that changed or went. The recent block is there with all its rows, which are the last.
    """

    def __init__(
        self,
        mapped: Float32[np.ndarray, "m d"],
        recent: Float32[np.ndarray, "k d"],
        places: Int64[np.ndarray, " n"] | None = None,
    ) -> None:
        self.mapped = mapped
        self.recent = recent
        self.places = places

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        rows = len(self.mapped) + len(self.recent) if self.places is None else len(self.places)
        return rows, self.mapped.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __matmul__(self, other: Float32[np.ndarray, "d ..."]) -> Float32[np.ndarray, "n ..."]:
        found = [block @ other for block in (self.mapped, self.recent) if len(block)]
        whole = found[0] if len(found) == 1 else np.concatenate(found or [self.mapped @ other])
        return whole if self.places is None else whole[self.places]

    def __getitem__(self, rows: Any) -> Float32[np.ndarray, "... d"]:
        """A row by number, or several by an array of numbers."""
        places = np.asarray(rows) if self.places is None else self.places[rows]
        if not len(self.recent):
            return np.asarray(self.mapped[places])
        recent = places >= len(self.mapped)
        found = np.empty((*places.shape, self.shape[1]), np.float32)
        found[~recent] = self.mapped[places[~recent]]
        found[recent] = self.recent[places[recent] - len(self.mapped)]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows in memory: for small libraries."""
        return np.asarray(self[np.arange(len(self))], dtype)

    def scores(self, rows: Int64[np.ndarray, " k"], vector: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " k"]:
        """The product with some rows only, without copying all of these at once."""
        found = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _CHUNK):
            found[start : start + _CHUNK] = self[rows[start : start + _CHUNK]] @ vector
        return found
