"""Adapters as they were published and as they were measured here: how far apart, and how far apart they may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from lorascope.evaluation.statistics import FEWEST, Interval, resampled, spearman, wilson
from lorascope.library import Library, StoredProtocol
from lorascope.library.recomputation import add_block
from lorascope.measure.stopping import StoppingRule
from lorascope.precision import PRECISIONS
from lorascope.protocol import Thresholds
from lorascope.signature import Accuracy, Effects, Estimate, Signature


@dataclass(frozen=True, eq=False)
class Twin:
    """One adapter, published and measured.

    Attributes:
        key: its key in the library that was measured.
        name: its name.
        version: Civitai's number of the version.
        precision: how far it was measured.
        theirs: what was published.
        ours: what was measured.
        limits: within which the published figures lie with 95% if both measured the same.
    """

    key: str
    name: str
    version: int
    precision: str
    theirs: Signature
    ours: Signature
    limits: Accuracy

    @property
    def ended(self) -> bool:
        """Whether it was measured to the end, and not only until it was certain to be hidden."""
        return self.precision in ("standard", "full")

    @property
    def cosine(self) -> float:
        """Between both Directions."""
        return cosine(self.theirs.direction, self.ours.direction)


def cosine(one: Float[np.ndarray, " d"], two: Float[np.ndarray, " d"]) -> float:
    """Between two vectors; 0 where one has no length."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one @ two) / lengths if lengths else 0.0


def limits_of(ours: Signature, theirs: Signature, *, same_prompts: bool) -> Accuracy:
    """Within which limits published figures should lie, as far as the choice of cells goes.

    With the same prompts theirs is the whole grid that ours is a sample of, so our intervals for the grid serve. With
    other prompts of the same kind both are samples. The squared error of each
    about what all such prompts would give falls as one over the number of its prompts, so that of the difference is
    ours times 1 + n/N, for n prompts of ours and N of theirs. Our intervals for new prompts are stretched by the root
    of that; for Directions, whose error is an angle, its sine is.
    """
    if same_prompts:
        return ours.grid
    stretch = math.sqrt(1 + ours.prompts / theirs.prompts)
    found = ours.new_prompts
    return Accuracy(
        _stretched(found.strength, stretch), _stretched(found.consistency, stretch), _tilted(found.agreement, stretch)
    )


def _stretched(estimate: Estimate | None, by: float) -> Estimate | None:
    if estimate is None:
        return None
    value = estimate.value
    return Estimate(value, value - by * (value - estimate.lower), value + by * (estimate.upper - value))


def _tilted(agreement: Estimate | None, by: float) -> Estimate | None:
    if agreement is None:
        return None
    sine = math.sqrt(max(0.0, 1 - max(0.0, agreement.lower) ** 2)) * by
    return Estimate(agreement.value, math.sqrt(max(0.0, 1 - sine**2)), agreement.upper)


def within(estimate: Estimate | None, value: float) -> bool | None:
    """Whether an interval holds a value; None where there is none, or it has no width because the grid is whole."""
    if estimate is None or estimate.lower == estimate.upper:
        return None
    return estimate.lower <= value <= estimate.upper


def share(answers: Sequence[bool | None]) -> Interval:
    """The share of yes among yes and no, with Wilson's interval."""
    known = [answer for answer in answers if answer is not None]
    if not known:
        return Interval(math.nan, math.nan, math.nan)
    limits = wilson(sum(known), len(known)) if len(known) >= FEWEST else (math.nan, math.nan)
    return Interval(sum(known) / len(known), *limits)


def median(values: Sequence[float]) -> Interval:
    """The median over adapters, with its interval."""
    kept = np.array(values)
    return resampled(lambda rows: float(np.median(kept[rows])), len(kept))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Spearman's correlation over adapters, with its interval."""
    one, two = np.array(first), np.array(second)
    return resampled(lambda rows: spearman(one[rows], two[rows]), len(one))


def stopped(library: Library, stored: StoredProtocol, twins: Sequence[Twin]) -> list[float]:
    """Of adapters of the whole grid: the cosine of the Direction where ``standard`` stops with the whole grid's."""
    grid = stored.preset.grid()
    rule = StoppingRule(PRECISIONS["standard"], stored.preset.thresholds, grid)
    found: list[float] = []
    for twin in twins:
        if twin.ours.cells < len(grid):
            continue
        effects: Effects | None = None
        for block in library.evidence.blocks(twin.key, stored.protocol.digest, 0):
            effects = add_block(effects, block, grid)
            look = partial(effects.signature, grid.prompts.categories, looks=rule.looks)
            if rule.enough(lambda look=look: [look()], block.index + 1):
                found.append(cosine(look().direction, twin.ours.direction))
                break
    return found


def shown(signature: Signature, thresholds: Thresholds) -> bool:
    """Whether the thresholds let an adapter appear, by its figures alone."""
    return (
        signature.strength <= thresholds.strength_max and (signature.consistency or 0.0) >= thresholds.consistency_min
    )


def same_first(
    one: Float[np.ndarray, "queries adapters"], two: Float[np.ndarray, "queries adapters"], span: int
) -> Float[np.ndarray, " queries"]:
    """For each query, the share of the first hits that two rankings have in common."""
    first, second = (np.argsort(-scores, axis=1, kind="stable")[:, :span] for scores in (one, two))
    return np.array([len(np.intersect1d(a, b)) for a, b in zip(first, second, strict=True)]) / min(span, one.shape[1])
