"""The rows of a matrix under filters: which may appear, the best of them, and why the others are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Float32, Float64

from lorascope.caches import Note, quiet
from lorascope.errors import QueryError
from lorascope.library import Library, Matrix
from lorascope.protocol import Thresholds
from lorascope.search.answer import Hidden
from lorascope.search.approximate import build_index, can_build, open_index
from lorascope.search.ranking import EXACT, EXACT_HIDDEN, Mask, Ranked, best, highest
from lorascope.search.request import Filters, Order
from lorascope.search.vectors import unit

_REMEMBERED = 16


@dataclass(frozen=True)
class _Admission:
    """What filters make of the rows of a matrix: no row is in two of these."""

    shown: Mask
    strong: Mask
    inconsistent: Mask

    def without(self, rows: Sequence[int]) -> _Admission:
        if not rows:
            return self
        masks = [mask.copy() for mask in (self.shown, self.strong, self.inconsistent)]
        for mask in masks:
            mask[list(rows)] = False
        return _Admission(*masks)


@dataclass(frozen=True)
class Selection:
    """Rows of a matrix and their scores, best first: those that are shown, those that thresholds hide; and counts."""

    shown: Ranked
    hidden: Ranked
    considered: int
    too_strong: int
    too_inconsistent: int


@final
class Ranker:
    """Ranks the rows of one matrix. It remembers what the last filters admit, for the next query mostly has the same.

    Very large matrices have an index, which is opened where it was built before.
    """

    def __init__(self, matrix: Matrix) -> None:
        """Take the matrix, and open its index."""
        self.matrix = matrix
        self._admissions: dict[Filters, _Admission] = {}
        self._index_folder = matrix.folder if len(matrix) > EXACT else None
        self.index = open_index(self._index_folder) if self._index_folder is not None else None

    def select(
        self,
        vector: Float[np.ndarray, " d"],
        filters: Filters,
        library: Library,
        top: int,
        *,
        hidden: bool = True,
        leave_out: Sequence[int] = (),
    ) -> Selection:
        """The rows of the highest cosine with a vector.

        Args:
            vector: of any length.
            filters: which rows may appear.
            library: tells which adapters belong to a family and lie under a folder.
            top: how many rows, of those that are shown and of those that thresholds hide.
            hidden: rank what thresholds hide, too.
            leave_out: rows that appear nowhere.

        Raises:
            QueryError: the vector is of another encoder.
        """
        admission = self._admit(filters, library).without(leave_out)
        groups = [(admission.shown, EXACT), (admission.strong | admission.inconsistent, EXACT_HIDDEN)]
        ranked = best(self.matrix, unit(self._checked(vector)), groups[: 1 + hidden], top, self.index)
        return _selection(admission, ranked)

    def listed(
        self, filters: Filters, library: Library, top: int, *, order: Order = "strongest", hidden: bool = True
    ) -> Selection:
        """The first rows in some order. What they are ordered by is their score, negative where low comes first."""
        admission = self._admit(filters, library)
        values = self._values(order, library)
        masks = [admission.shown, admission.strong | admission.inconsistent]
        ranked = [highest(self.matrix, values, mask, top) for mask in masks[: 1 + hidden]]
        return _selection(admission, ranked)

    def _values(self, order: Order, library: Library) -> Float64[np.ndarray, " n"]:
        """What rows are ordered by, the highest first."""
        if order in ("strongest", "weakest"):
            return self.matrix.strength if order == "strongest" else -self.matrix.strength
        if order == "steadiest":
            return np.nan_to_num(self.matrix.consistency, nan=-np.inf)
        if order == "newest":
            added = library.adapters.added()
            return np.array([added.get(number, 0.0) for number in self.matrix.ids.tolist()])
        names = [name.casefold() for name in self.matrix.names]
        ranks = {name: -float(rank) for rank, name in enumerate(sorted(set(names)))}
        return np.array([ranks[name] for name in names])

    def scores(self, vectors: Float[np.ndarray, "*q d"]) -> Float32[np.ndarray, "*q n"]:
        """Cosine with every Direction, of one vector or of each of several at once."""
        return (self.matrix.directions @ unit(self._checked(vectors)).T).T

    def undecided(self, row: int, thresholds: Thresholds) -> tuple[str, ...]:
        """The figures of a row whose interval holds their threshold."""
        low, high = self.matrix.strength_interval[row]
        bottom, ceiling = self.matrix.consistency_interval[row]
        figures = []
        if low <= thresholds.strength_max < high:
            figures.append("strength")
        if bottom < thresholds.consistency_min <= ceiling:
            figures.append("consistency")
        return tuple(figures)

    def hidden_by(self, row: int, thresholds: Thresholds) -> Hidden:
        """Which threshold hides a row that one of them hides."""
        return "too strong" if self.matrix.strength_interval[row, 0] > thresholds.strength_max else "too inconsistent"

    @property
    def wants_index(self) -> bool:
        """Whether an index can be built that is not there."""
        return self.index is None and self._index_folder is not None and can_build(self._index_folder)

    def build_index(self, note: Note = quiet) -> None:
        """Build the index of a very large library, where FAISS is installed and the caches can be written."""
        if self._index_folder is not None and can_build(self._index_folder):
            self.index = build_index(self._index_folder, self.matrix.directions.mapped, note)

    def _checked(self, vectors: Float[np.ndarray, "*q d"]) -> Float[np.ndarray, "*q d"]:
        if vectors.shape[-1:] != self.matrix.directions.shape[1:]:
            raise QueryError(
                f"the query vector has shape {vectors.shape}, Directions have {self.matrix.directions.shape[1]}"
                " components: use the encoder of the Protocol"
            )
        return vectors

    def _admit(self, filters: Filters, library: Library) -> _Admission:
        admission = self._admissions.get(filters)
        if admission is None:
            allowed = self._allowed(filters, library)
            strong, inconsistent = self._outside(filters.thresholds)
            strong &= allowed
            inconsistent &= allowed & ~strong
            admission = _Admission(allowed & ~strong & ~inconsistent, strong, inconsistent)
            if len(self._admissions) >= _REMEMBERED:
                self._admissions.clear()
            self._admissions[filters] = admission
        return admission

    def _allowed(self, filters: Filters, library: Library) -> Mask:
        allowed = np.ones(len(self.matrix), bool)
        if filters.family or filters.folder:
            members = library.adapters.members(filters.family, Path(filters.folder) if filters.folder else None)
            allowed = np.isin(self.matrix.ids, members)
        if filters.only is not None:
            places = self.matrix.places
            named = np.zeros(len(self.matrix), bool)
            named[[places[key] for key in filters.only if key in places]] = True
            allowed &= named
        return allowed

    def _outside(self, thresholds: Thresholds) -> tuple[Mask, Mask]:
        """Which rows are beyond a threshold for certain: too strong, too inconsistent.

        A row whose interval holds a threshold is not.
        """
        strong = self.matrix.strength_interval[:, 0] > thresholds.strength_max
        high = self.matrix.consistency_interval[:, 1]
        inconsistent = (high < thresholds.consistency_min) | np.isnan(self.matrix.consistency)
        return strong, inconsistent & ~np.isneginf(thresholds.consistency_min)


def _selection(admission: _Admission, ranked: Sequence[Ranked]) -> Selection:
    masks = (admission.shown, admission.strong, admission.inconsistent)
    counts = [int(np.count_nonzero(mask)) for mask in masks]
    return Selection(ranked[0], ranked[1] if len(ranked) > 1 else {}, sum(counts), counts[1], counts[2])
