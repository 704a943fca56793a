"""What fits into a budget of time: how many adapters, and how many of them on the whole grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FEWEST: Final = 30
MOST: Final = 50
"""Adapters to measure."""
_WHOLE: Final = 2
"""How many of the first get the whole grid before more than the fewest are measured."""


@dataclass(frozen=True)
class ReplicationPlan:
    """What fits into a budget.

    Attributes:
        adapters: how many are measured to ``standard``.
        whole: how many of these then continue to ``full``.
        cells: how many images are still to be made for that, those of the bare model among them.
        seconds_per_cell: how long one takes here.
        seconds: how long measuring may take.
        spent: how long earlier runs took.
    """

    adapters: int
    whole: int
    cells: int
    seconds_per_cell: float
    seconds: float
    spent: float

    @property
    def hours(self) -> float:
        """About how long measuring takes."""
        return self.cells * self.seconds_per_cell / 3600


def fitting(known: Sequence[int], expected: Sequence[int], grid: int, cells: float) -> tuple[int, int, int]:
    """How many adapters and how many whole grids fit into so many cells, and how many cells these take.

    First the fewest adapters, then two whole grids, then more adapters up to the most, then more whole grids; where one
    kind no longer fits, the other may.

    Args:
        known: the cells that are measured already, of each adapter in the order of the draw.
        expected: those that ``standard`` takes, of each.
        grid: those of the whole grid.
        cells: how many there is time for.
    """
    places = range(min(MOST, len(known)))
    coarse, whole = [(place, expected[place], 0) for place in places], [(place, grid, 1) for place in places]
    reached, bare, taken, counts, full = list(known), max(known, default=0), 0, [0, 0], [False, False]
    for place, goal, kind in coarse[:FEWEST] + whole[:_WHOLE] + coarse[FEWEST:] + whole[_WHOLE:]:
        more = max(0, goal - reached[place]) + max(0, goal - bare)  # the bare model's cells are shared
        full[kind] |= taken + more > cells
        if full[kind]:
            continue
        taken += more
        reached[place], bare = max(goal, reached[place]), max(goal, bare)
        counts[kind] += 1
    return counts[0], counts[1], taken
