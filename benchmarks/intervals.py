"""How often the lab's intervals hold the true mean, by the number of groups of queries.

    python -m benchmarks.intervals

Each group has a level of its own and one to eight queries around it, cut to 0 to 1 as measures of retrieval are: most
groups near the ceiling, most near the floor, or either. The truth is the mean over very many groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.markdown import table
from lorascope.evaluation.statistics import Clusters

GROUPS = (3, 5, 9, 20, 61)
REPEATS = 1000
MANY = 200_000
"""Groups from which the truth is."""
_SPREAD = 0.15
"""Standard deviation of queries about their group."""
Levels = Callable[[np.random.Generator, int], NDArray[np.float64]]
LEVELS: Mapping[str, Levels] = {
    "most near 1": lambda rng, size: np.minimum(rng.beta(5.0, 1.0, size) + 0.1, 1.0),
    "most near 0": lambda rng, size: np.maximum(rng.beta(1.0, 5.0, size) - 0.1, 0.0),
    "near either": lambda rng, size: rng.beta(0.5, 0.5, size),
}


def draw(levels: Levels, rng: np.random.Generator, groups: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The group of each query, and its figure."""
    sizes = rng.integers(1, 9, groups)
    rows = np.repeat(np.arange(groups), sizes)
    return rows, np.clip(levels(rng, groups)[rows] + rng.normal(0.0, _SPREAD, len(rows)), 0.0, 1.0)


def coverage(levels: Levels, groups: int) -> float:
    """The share of 95% intervals that hold the mean."""
    rng = np.random.default_rng(groups)
    truth = draw(levels, rng, MANY)[1].mean()
    held = 0
    for _ in range(REPEATS):
        rows, figures = draw(levels, rng, groups)
        low, high = np.quantile(Clusters(list(map(str, rows))).samples(figures[:, None]), (0.025, 0.975))
        held += bool(low <= truth <= high)
    return held / REPEATS


def main() -> None:
    """Print the table."""
    rows = [(groups, *(f"{coverage(levels, groups):.1%}" for levels in LEVELS.values())) for groups in GROUPS]
    print(table(("groups", *(f"figures {name}" for name in LEVELS)), rows))


if __name__ == "__main__":
    main()
