"""The best rows for a vector among those that may appear: by all products, or by the candidates of an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from lorascope.library import Directions, Matrix

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
