"""A figure with its intervals, and a category's share, placed on a line that a template draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lorascope.signature import Estimate

WIDTH = 400
"""Units of the drawing's width."""


@dataclass(frozen=True)
class Gauge:
    """Places on the line, 0 to WIDTH: the figure, its interval for the full grid and for new prompts, the threshold.

    An interval is (start, width). ``mark`` is None without a threshold.
    """

    at: float
    grid: tuple[float, float] | None
    new: tuple[float, float] | None
    mark: float | None
    end: str

    @classmethod
    def of(cls, value: float, grid: Estimate | None, new: Estimate | None, threshold: float, most: float) -> Gauge:
        """Scale the line so that everything fits on it; it never reaches beyond ``most``."""
        mark = threshold if math.isfinite(threshold) else None
        tops = [value, mark or 0.0, *(estimate.upper for estimate in (grid, new) if estimate is not None)]
        end = min(_round_up(1.05 * max(tops)), most)
        return cls(
            at=_place(value, end),
            grid=_span(grid, end),
            new=_span(new, end),
            mark=None if mark is None else _place(mark, end),
            end=f"{end:g}",
        )


def _round_up(value: float) -> float:
    """The next number with one significant digit and a half: 1, 1.5, 2, 3, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if value <= step * power)


def _place(value: float, end: float) -> float:
    return round(WIDTH * min(max(value / end, 0.0), 1.0), 1)


def _span(estimate: Estimate | None, end: float) -> tuple[float, float] | None:
    if estimate is None:
        return None
    low, high = _place(estimate.lower, end), _place(estimate.upper, end)
    return low, max(high - low, 1.0)
