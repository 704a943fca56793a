"""The rows of a matrix under filters: which may appear, the best of them, and why the others are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from lorascope.caches import Note, quiet
from lorascope.errors import QueryError
from lorascope.library import Directions, Library, Matrix
from lorascope.protocol import Thresholds
from lorascope.search.answer import Hidden
from lorascope.search.approximate import build_index, can_build, open_index
from lorascope.search.request import Filters, Order
from lorascope.search.vectors import unit

_REMEMBERED = 16
Mask = Bool[np.ndarray, " n"]
Ranked = dict[int, float]
"""Rows of a matrix and their scores, best first."""
EXACT = 200_000
"""Up to so many rows that may be shown, all products are computed, whatever index there is."""
EXACT_HIDDEN = 20_000
"""The same for rows that thresholds hide, which are reported."""
_FEW = 4
_ERROR = 1e-5
"""More than float32 products of unit vectors are ever wrong by."""


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


@runtime_checkable
class Candidates(Protocol):
    """An index over the mapped part of a matrix."""

    def near(
        self, vector: Float32[np.ndarray, " d"], allowed: Bool[np.ndarray, " m"], count: int
    ) -> Int64[np.ndarray, " k"]:
        """Places of about ``count`` rows with a high product among those that are allowed."""
        ...


def best(
    matrix: Matrix,
    vector: Float32[np.ndarray, " d"],
    groups: Sequence[tuple[Mask, int]],
    top: int,
    index: Candidates | None = None,
) -> list[Ranked]:
    """For each group the ``top`` rows of the highest cosine, best first; of equal ones those that came in first.

    Scores are computed from float64 products of the rows that come into question, so they do not depend on how these
    were found, on the rank of a row, or on its neighbours.

    Args:
        matrix: what is ranked.
        vector: of length 1.
        groups: for each ranking, which rows may appear, and up to how many of them all products are computed.
        top: how many of each.
        index: asked for candidates where more rows may appear.
    """
    whole: Float32[np.ndarray, " n"] | None = None
    found: list[Ranked] = []
    for mask, exact in groups:
        if index is not None and np.count_nonzero(mask) > exact:
            rows = _candidates(matrix.directions, vector, mask, top, index)
        else:
            rows = np.flatnonzero(mask)
        if len(rows) * _FEW < len(mask):
            scores = matrix.directions.scores(rows, vector)
        else:
            whole = matrix.directions @ vector if whole is None else whole
            scores = whole[rows]
        found.append(_first(matrix, vector, rows, scores, top))
    return found


def _first(
    matrix: Matrix,
    vector: Float32[np.ndarray, " d"],
    rows: Int64[np.ndarray, " k"],
    scores: Float32[np.ndarray, " k"],
    top: int,
) -> Ranked:
    if top < len(rows):
        rows = rows[scores >= np.partition(scores, -top)[-top] - _ERROR]
    exact = (matrix.directions[rows].astype(np.float64) @ vector).astype(np.float32)
    return _ordered(matrix, rows, exact, top)


def highest(matrix: Matrix, values: Float64[np.ndarray, " n"], mask: Mask, top: int) -> Ranked:
    """The ``top`` rows of the highest values, best first; of equal ones those that came in first."""
    rows = np.flatnonzero(mask)
    if top < len(rows):
        rows = rows[values[rows] >= np.partition(values[rows], -top)[-top]]
    return _ordered(matrix, rows, values[rows], top)


def _ordered(matrix: Matrix, rows: Int64[np.ndarray, " k"], values: Float[np.ndarray, " k"], top: int) -> Ranked:
    order = np.lexsort((matrix.ids[rows], -values))[:top]
    return dict(zip(rows[order].tolist(), values[order].tolist(), strict=True))


def _candidates(
    directions: Directions, vector: Float32[np.ndarray, " d"], mask: Mask, top: int, index: Candidates
) -> Int64[np.ndarray, " k"]:
    """Rows that an index finds in the mapped part, and all that are not in it."""
    recent = len(mask) - len(directions.recent)
    count = max(10 * top, 100)
    if directions.places is None:
        near = index.near(vector, mask[:recent], count)
    else:
        places = directions.places[:recent]
        allowed = np.zeros(len(directions.mapped), bool)
        allowed[places] = mask[:recent]
        near = np.searchsorted(places, index.near(vector, allowed, count))
    return np.concatenate([near, np.flatnonzero(mask[recent:]) + recent])
