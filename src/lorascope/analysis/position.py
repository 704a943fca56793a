"""Where an adapter stands in Strength and Consistency, and what that says of substantiality and volition.

The paper (CARLoS, arXiv 2512.08826) links Strength to the substantiality of what an adapter contributes to pictures,
and Consistency to volition: whether the adapter, rather than chance or the user, decides what appears. Weak or
inconsistent adapters: infringement or authorship unlikely. Strong and consistent ones may infringe, depending on
whether protected elements or a distinct style are reproduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float64

from lorascope.library import Matrix
from lorascope.signature import Estimate

Side = Literal["low", "high", "undecided"]
FEWEST = 20
"""Adapters among which a position is taken."""
PUBLISHED = (5.81, 0.090)
"""Median Strength and Consistency of the 740 adapters of the published library: SDXL base 1.0 and CLIP ViT-B/32."""


@final
@dataclass(frozen=True)
class Position:
    """One figure of an adapter among those of others.

    Attributes:
        value: the figure; its interval is infinite where it is not known.
        limit: the middle of the others, which parts low from high.
        share: the share of others that lie below it; None where there are too few.
        lower: the same for the lower end of the interval.
        upper: the same for the upper end.
    """

    value: Estimate
    limit: float
    share: float | None
    lower: float | None
    upper: float | None

    @property
    def side(self) -> Side:
        """Low or high where the whole interval is on one side of the limit."""
        if self.value.lower > self.limit:
            return "high"
        return "low" if self.value.upper < self.limit else "undecided"


@final
@dataclass(frozen=True)
class Field:
    """One of the paper's four fields, or a border between them, in words.

    Attributes:
        title: which one.
        reading: what the paper says of such adapters.
        follows: what would follow.
        does_not: what would not.
    """

    title: str
    reading: str
    follows: str
    does_not: str


FIELDS: dict[tuple[Side, Side], Field] = {
    ("low", "low"): Field(
        "weak and inconsistent",
        "It changes pictures little, and each in another way. Infringement by the adapter, or authorship of its maker"
        " in what it makes, is unlikely.",
        "A claim that this file by itself reproduces protected expression finds little support in these figures.",
        "It does not follow that no single picture made with it, and nothing in how it was trained, raises a question.",
    ),
    ("low", "high"): Field(
        "weak but consistent",
        "What it adds, it adds steadily, but it is slight compared with what the base model and the prompt contribute."
        " Substantiality is in doubt, so infringement or authorship is unlikely.",
        "If a resemblance to protected works is found, the question is whether so small a part of a picture matters.",
        "It does not follow that it stays slight: at a higher weight, or in another base model, it may be strong.",
    ),
    ("high", "low"): Field(
        "strong but inconsistent",
        "It changes pictures much, but not in one way: what appears owes more to the prompt and to chance. Volition is"
        " in doubt, so infringement or authorship is unlikely.",
        "If a picture resembles a protected work, whoever chose the prompt and the picture may have had the larger part"
        " in it.",
        "It does not follow that it is erratic on every kind of prompt: look at the categories below.",
    ),
    ("high", "high"): Field(
        "strong and consistent",
        "It changes pictures much, and in one way that it decides. It may infringe, depending on whether protected"
        " elements or a distinct style are reproduced.",
        "Whether such elements are reproduced is the question that remains; the reference works below speak to it.",
        "It does not follow that it infringes anything: an adapter can be strong and consistent and copy no protected"
        " work.",
    ),
}  # fmt: skip
BORDER = Field(
    "near a border",
    "Its interval reaches across the middle of the others, so it cannot be placed in one of the paper's four fields.",
    "More images make the interval smaller: index it with a finer --precision.",
    "It does not follow that the nearest field applies.",
)


def field_of(substantiality: Position, volition: Position) -> Field:
    """The field of an adapter."""
    return FIELDS.get((substantiality.side, volition.side), BORDER)


def positions(matrix: Matrix, row: int, *, published: bool) -> tuple[Position, Position] | None:
    """Substantiality and volition of one adapter of a library.

    Args:
        matrix: the signatures of the library.
        row: which adapter.
        published: whether the published library's medians apply, where this one is too small.

    Returns:
        Both positions; None where there are too few other adapters, and no published ones to compare with.
    """
    acting = np.flatnonzero((matrix.strength > 0) & ~np.isnan(matrix.consistency))
    others = acting[acting != row]
    figures = ((matrix.strength, matrix.strength_interval), (matrix.consistency, matrix.consistency_interval))
    if len(others) < FEWEST and not published:
        return None
    found = [
        _position(values[row], ends[row], values[others], PUBLISHED[place] if len(others) < FEWEST else None)
        for place, (values, ends) in enumerate(figures)
    ]
    return found[0], found[1]


def _position(
    value: float, ends: Float64[np.ndarray, " 2"], others: Float64[np.ndarray, " n"], limit: float | None
) -> Position:
    low, high = float(ends[0]), float(ends[1])
    known = Estimate(float(value), low, high)
    if limit is not None:
        return Position(known, limit, None, None, None)
    shares = (float((others < figure).mean()) for figure in (value, low, high))
    return Position(known, float(np.median(others)), *shares)
