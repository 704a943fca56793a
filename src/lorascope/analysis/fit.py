"""Whether an adapter does on other base models what it does on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from lorascope.analysis.cells import Cells, effect_share
from lorascope.signature import Estimate

CELLS = 64
"""Images on each base model, at least."""
_ALIKE = 0.6
"""Below this cosine an adapter does something else than on its home base."""
_WHOLE = 0.8
"""From this share on an effect counts as kept whole."""
_LOST = 0.4
"""Below this share it counts as lost."""
_MORE = 1.25
"""From this share on it is said that it is more."""

Verdict = Literal["keeps", "weakens", "loses", "changes", "unknown"]


@final
@dataclass(frozen=True)
class BaseFit:
    """What an adapter does on one base model; figures with 95% intervals.

    Attributes:
        base: the base model, as it was named.
        cells: how many images.
        strength: mean norm of the effects, CLIP units.
        consistency: mean cosine over all pairs of effects.
        matched: how many of the adapter's modules the base model has.
        modules: how many modules the adapter has.
        cosine: of the Direction here and the one on the home base; None where it does not differ from chance.
        kept: how much of the home base's effect is there, along its Direction; None where there is none at home.
    """

    base: str
    cells: int
    strength: Estimate
    consistency: Estimate
    matched: int
    modules: int
    cosine: Estimate | None
    kept: Estimate | None

    @property
    def verdict(self) -> Verdict:
        """Whether it keeps the effect of its home base, by the figures' values and what their intervals exclude."""
        if self.kept is None:
            return "unknown"
        if self.kept.upper < _LOST:
            return "loses"
        if self.cosine is None:
            return "unknown"
        if self.cosine.upper < _ALIKE:
            return "changes"
        return "keeps" if self.kept.value >= _WHOLE else "weakens" if self.kept.value >= _LOST else "loses"

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        share = 0.0 if self.kept is None else max(0.0, self.kept.value)
        return {
            "keeps": "does the same" if share < _MORE else f"does the same, {share:.1f} times as strongly",
            "weakens": f"does the same, at {share:.0%} of the strength",
            "loses": f"hardly does it any more: {share:.0%} is left",
            "changes": f"does something else: {share:.0%} of its effect is left",
            "unknown": "does not differ from chance",
        }[self.verdict]


def base_fit(base: str, cells: Cells, home: Cells, matched: int, modules: int) -> BaseFit:
    """Compare the cells of an adapter on a base model with those on its home base."""
    count = min(len(cells), len(home))
    here, there = cells.first(count), home.first(count)
    strength, consistency = here.strength_and_consistency
    shared = effect_share(here.prompts, here.effects, there.effects)
    return BaseFit(
        base, count, strength, consistency, matched, modules, shared.cosine if shared else None,
        shared.share if shared else None,
    )  # fmt: skip
