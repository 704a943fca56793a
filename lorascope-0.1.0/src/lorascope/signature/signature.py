"""The signature of one adapter: Direction, Strength, Consistency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lorascope.moments import Moments
from lorascope.signature.accuracy import Accuracy, Estimate, accuracy
from lorascope.signature.consistency import Pairs


@final
@dataclass(frozen=True)
class CategoryProfile:
    """What the adapter does to the prompts of one category.

    Attributes:
        category: its name.
        cells: how many of its cells were seen.
        strength: mean norm of their effects, CLIP units.
        consistency: mean cosine over their pairs, estimated for the whole category; None below two cells.
        alignment: cosine between their mean effect and the Direction, -1 to 1; 0 where either is zero.
    """

    category: str
    cells: int
    strength: float
    consistency: float | None
    alignment: float


@final
@dataclass(frozen=True, eq=False)
class Signature:
    """What an adapter does: in which direction, how strongly, how consistently (CARLoS, arXiv 2512.08826).

    Attributes:
        direction: D, the mean effect, CLIP units.
        strength: S, the mean norm of the effects, CLIP units.
        consistency: C, the mean cosine over all pairs of effects, an estimate for the full grid as long as
            not all of it was seen; None with fewer than two cells.
        active_consistency: the same over active cells alone; None where no pair of them was seen.
        active_share: the share of cells whose effect is above the noise floor, 0 to 1.
        magnitude: ``|D|`` without what chance adds to the length of a mean, CLIP units.
        cells: n, how many cells were seen.
        prompts: how many different prompts they belong to.
        grid: accuracy with the full grid of the Protocol as the truth.
        new_prompts: accuracy with other prompts of the same kind, at the same seeds, as the truth.
        categories: the profile over the categories seen, in the order in which the prompts name them.

    Examples:
        >>> moments = Moments.empty(prompts=2, seeds=1, dim=2)
        >>> moments.add(np.array([0, 1]), np.array([[3.0, 4.0], [3.0, 4.0]]))
        >>> signature = Signature.from_moments(moments)
        >>> signature.strength, signature.direction
        (5.0, array([3., 4.]))
    """

    direction: Float64[np.ndarray, " dim"]
    strength: float
    consistency: float | None
    active_consistency: float | None
    active_share: float
    magnitude: float
    cells: int
    prompts: int
    grid: Accuracy
    new_prompts: Accuracy
    categories: tuple[CategoryProfile, ...]

    @property
    def agreement(self) -> Estimate | None:
        """The cosine between this Direction and the full grid's; None where the sample is too small."""
        return self.grid.agreement

    @classmethod
    def from_moments(
        cls,
        moments: Moments,
        categories: Sequence[str] | None = None,
        *,
        confidence: float = 0.95,
        looks: int = 1,
    ) -> Signature:
        """Condense moments into a signature.

        Args:
            moments: the sums over the cells that were seen.
            categories: the category of each prompt of the grid, in order; none for no profile.
            confidence: the probability with which an interval holds the truth.
            looks: how often a stopping rule may look at intervals like these before it stops. They are widened so
                that all of them hold together with the probability ``confidence`` (Bonferroni; for the Direction
                see :func:`lorascope.signature.accuracy.accuracy`).

        Raises:
            ValueError: no cells, a confidence outside (0, 1), looks below 1, or not one category per prompt.
        """
        _check(moments, categories, confidence, looks)
        alpha = 1.0 - confidence
        direction = moments.sum_effect.sum(axis=0) / moments.cells
        pairs = Pairs.of(moments)
        return cls(
            direction=direction,
            strength=float(moments.sum_norm.sum()) / moments.cells,
            consistency=None if pairs is None else pairs.mean,
            active_consistency=None if pairs is None else pairs.active,
            active_share=int(moments.n_active.sum()) / moments.cells,
            magnitude=_magnitude(moments),
            cells=moments.cells,
            prompts=int((moments.n > 0).sum()),
            grid=accuracy(moments, new_prompts=False, alpha=alpha, looks=looks),
            new_prompts=accuracy(moments, new_prompts=True, alpha=alpha, looks=looks),
            categories=() if categories is None else _profile(moments, categories, direction),
        )


def _check(moments: Moments, categories: Sequence[str] | None, confidence: float, looks: int) -> None:
    if moments.cells == 0:
        raise ValueError("moments hold no cells: add the effects of at least one")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}: give a probability between 0 and 1, such as 0.95")
    if looks < 1:
        raise ValueError(f"looks is {looks}: give the number of times that the interval may be looked at, 1 or more")
    if categories is not None and len(categories) != moments.prompts:
        raise ValueError(f"categories has {len(categories)} entries for {moments.prompts} prompts: give one for each")


def _magnitude(moments: Moments) -> float:
    """|D| from products of effects of different prompts, in which chance cancels; plain on the full grid.

    E[e_i . e_j] = |D|^2 for independent prompts, while |D_n|^2 is too large by the variance of D_n. The
    result is 0 where chance explains all of it, and the plain |D_n| where there is only one prompt.
    """
    n, sums = moments.n, moments.sum_effect
    total = sums.sum(axis=0)
    apart = int(n.sum()) ** 2 - int((n**2).sum())
    if moments.complete or apart == 0:
        return float(np.sqrt(total @ total)) / moments.cells
    return float(np.sqrt(max(0.0, float(total @ total - np.einsum("pd,pd->", sums, sums)) / apart)))


def _profile(
    moments: Moments, categories: Sequence[str], direction: Float64[np.ndarray, " dim"]
) -> tuple[CategoryProfile, ...]:
    names = np.array(categories)
    chosen = ((name, moments.select(np.flatnonzero(names == name))) for name in dict.fromkeys(categories))
    return tuple(_category(name, part, direction) for name, part in chosen if part.cells)


def _category(name: str, part: Moments, direction: Float64[np.ndarray, " dim"]) -> CategoryProfile:
    own = part.sum_effect.sum(axis=0)
    length = float(np.sqrt((own @ own) * (direction @ direction)))
    pairs = Pairs.of(part)
    return CategoryProfile(
        category=name,
        cells=part.cells,
        strength=float(part.sum_norm.sum()) / part.cells,
        consistency=None if pairs is None else pairs.mean,
        alignment=float(own @ direction) / length if length > 0.0 else 0.0,
    )
