"""What fits into a budget of time: how many adapters, and how many of them on the whole grid."""

from __future__ import annotations

import hashlib
import tomllib
from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain, zip_longest
from typing import Final

from lorascope.library.published import PublishedRow
from lorascope.signature import Signature

FEWEST: Final = 30
MOST: Final = 50
"""Adapters to measure."""
_WHOLE: Final = 2
"""How many of the first get the whole grid before more than the fewest are measured."""
STRENGTHS: Final = (4.0, 6.0, 9.8)
CONSISTENCIES: Final = (0.041, 0.1, 0.2)
"""Between these lie the strata. 9.8 and 0.041 are the paper's thresholds."""
_SEED: Final = 20251209


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


def listed() -> tuple[int, ...]:
    """Versions of the published library that are drawn before all others, by Civitai's numbers."""
    path = files("lorascope") / "evaluation" / "data" / "replication.toml"
    return tuple(tomllib.loads(path.read_text("utf-8"))["versions"])


def stratum(signature: Signature) -> tuple[int, int]:
    """The band of Strength and that of Consistency in which an adapter is."""
    return bisect(STRENGTHS, signature.strength), bisect(CONSISTENCIES, signature.consistency or 0.0)


def draw(rows: Mapping[int, PublishedRow], first: Collection[int]) -> list[list[int]]:
    """Every version by stratum, each stratum in a random order that depends on the versions alone.

    So the draw is the same for everyone, a longer one only adds to it, and one that cannot be had is replaced by the
    next of its stratum.
    """
    strata: dict[tuple[int, int], list[int]] = {}
    lots = {version: hashlib.sha256(f"{_SEED} {version}".encode()).hexdigest() for version in rows}
    for version in sorted(rows, key=lambda one: (one not in first, lots[one])):
        strata.setdefault(stratum(rows[version].signature), []).append(version)
    return [strata[key] for key in sorted(strata)]


def in_turn(strata: Sequence[Sequence[int]]) -> list[int]:
    """One version of each stratum after another: however many are taken, rare strata are as full as they can be."""
    return [version for version in chain.from_iterable(zip_longest(*strata)) if version is not None]
