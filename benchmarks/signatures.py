"""Made-up Directions that lie as real ones do: as long tails of variance, and in clusters of look-alikes.

``python -m benchmarks.signatures PARQUET`` fits the model to a published library and prints the figures that stand
below; they describe a library as a whole, and no row of one.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_RANKS = (1, 2, 3, 5, 9, 17, 33, 65, 129)
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_CHUNK = 20_000


@dataclass(frozen=True)
class Shape:
    """A library as a whole.

    ``mean`` is the length of the mean of its unit Directions; ``spectrum`` holds the variances along the principal
    axes of the ranks 1, 2, 3, 5, 9, ..., 129; Directions come from ``clusters`` clusters, the k-th of which is chosen
    in proportion to 1 / k, and ``within`` is the share of the variance that lies within a cluster.
    """

    mean: float
    spectrum: tuple[float, ...]
    clusters: int
    within: float


SAMPLE = Shape(
    mean=0.26,
    spectrum=(0.133, 0.0995, 0.0869, 0.0517, 0.0256, 0.0123, 0.00435, 0.00133, 0.000219),
    clusters=1000,
    within=0.3,
)
"""Fitted to 200 rows of the published library."""


def directions(count: int, dim: int = 512, shape: Shape = SAMPLE, seed: int = 0) -> np.ndarray:
    """Unit rows (count, dim), float32. The axes of the variance are those of the coordinates, largest first."""
    rng = np.random.default_rng(seed)
    axes = _deviations(shape, dim)
    centres = _mean(shape, axes) + rng.normal(size=(shape.clusters, dim)) * axes * np.sqrt(1 - shape.within)
    weights = 1 / np.arange(1, shape.clusters + 1)
    chosen = rng.choice(shape.clusters, count, p=weights / weights.sum())
    found = np.empty((count, dim), np.float32)
    for start in range(0, count, _CHUNK):
        part = chosen[start : start + _CHUNK]
        rows = centres[part] + rng.standard_normal((len(part), dim), np.float32) * (axes * np.sqrt(shape.within))
        found[start : start + _CHUNK] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def along_axes(shifts: np.ndarray) -> np.ndarray:
    """Text-side shifts as queries: turned, so that their own principal axes are those of :func:`directions`."""
    _, _, axes = np.linalg.svd(shifts - shifts.mean(0), full_matrices=True)
    turned = shifts @ axes.T
    return (turned / np.linalg.norm(turned, axis=1, keepdims=True)).astype(np.float32)


def _deviations(shape: Shape, dim: int) -> np.ndarray:
    """The standard deviation along every axis; between the known ranks, and after them, as a power of the rank."""
    ranks, known = np.log(_RANKS), np.log(shape.spectrum)
    every = np.log(np.arange(1, dim + 1))
    slope = (known[-1] - known[-2]) / (ranks[-1] - ranks[-2])
    logs = np.where(every <= ranks[-1], np.interp(every, ranks, known), known[-1] + slope * (every - ranks[-1]))
    variances = np.exp(logs)
    return np.sqrt(variances / variances.sum() * (1 - shape.mean**2))


def _mean(shape: Shape, axes: np.ndarray) -> np.ndarray:
    return shape.mean * axes / np.linalg.norm(axes)


def _nearest(rows: np.ndarray) -> np.ndarray:
    """Quantiles of the cosine of every row with its nearest other one."""
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    return np.quantile(cosines.max(1), _QUANTILES)


def fit(rows: np.ndarray) -> Shape:
    """The shape of a library, from its unit Directions (n, d): cluster figures are those that repeat its neighbours."""
    middle = rows.mean(0)
    variances = np.linalg.eigvalsh(np.cov((rows - middle).T))[::-1]
    spectrum = tuple(float(variances[rank - 1]) for rank in _RANKS)
    wanted = _nearest(rows)
    found: list[tuple[float, Shape]] = []
    for clusters, within in itertools.product((50, 100, 200, 300, 500, 1000, 2000), np.arange(0.05, 0.75, 0.05)):
        shape = Shape(float(np.linalg.norm(middle)), spectrum, clusters, round(float(within), 2))
        made = np.mean([_nearest(directions(len(rows), rows.shape[1], shape, seed)) for seed in range(3)], axis=0)
        found.append((float(np.abs(made - wanted).max()), shape))
    error, best = min(found, key=lambda pair: pair[0])
    print(f"cosine with the nearest, quantiles {_QUANTILES}: {wanted.round(3).tolist()}, off by at most {error:.3f}")
    return best


def _main() -> None:
    import pyarrow.parquet

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parquet", type=Path)
    rows = np.array(pyarrow.parquet.read_table(parser.parse_args().parquet)["direction"].to_pylist(), np.float32)
    print(fit(rows / np.linalg.norm(rows, axis=1, keepdims=True)))


if __name__ == "__main__":
    _main()
