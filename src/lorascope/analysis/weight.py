"""What an adapter does at which weight: its Curve, and the weight that is advised.

A Curve is measured on the same few cells at every scale, so that its points differ by the scale alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lorascope.analysis.cells import Cells, effect_share, prompt_kept
from lorascope.analysis.jackknife import FEWEST_PROMPTS
from lorascope.library import BARE, Library, Preview
from lorascope.protocol import Protocol
from lorascope.signature import Estimate

REFERENCE = 1.0
"""The scale that the others are compared with."""
SCALES = (0.2, 0.6, 1.0, 1.6)
"""Where every Curve is measured first."""
SLIDER_SCALES = (-1.0, -0.5)
"""Where that of a slider is measured, too: it is made to be turned the other way."""
CELLS = 32
"""Images at each scale, at least."""
STEP = 0.1
"""Scales are multiples of this, and no two are nearer."""
MOST_SCALES = 7
_CHANGE = 0.2
"""Between two scales the prompt kept may change by so much, and the effect by so much more than the scale does."""

_SETS_IN = 0.3
"""An effect sets in at this share of the one at 1.0."""
_KEPT = 0.7
"""Below this share of the bare model's fit to prompts the scene is lost."""
_FULL = 1.0
"""An effect that is this much of the one at 1.0 is seen in full: more of it gains nothing."""
_POWER = 2.0
"""How much the prompt that is kept counts beside the effect that is seen."""
_SATURATED = 1 / 3
"""An effect is saturated where it grows on by less than this share of what it grew by up to there, for each weight."""
_NEAR = 0.8
"""The range holds the scales that are at least this share as good as the advised one."""


@final
@dataclass(frozen=True)
class CurvePoint:
    """What an adapter does at one scale; each figure with its 95% interval.

    Attributes:
        scale: how strongly it is applied.
        cells: how many images.
        strength: mean norm of the effects, CLIP units.
        consistency: mean cosine over all pairs of effects.
        cosine: of the Direction here and the one at 1.0; None where it does not differ from chance.
        effect: how much of the effect at 1.0 is there, along its Direction; None where there is none at 1.0.
        kept: how much of what prompts ask for is still there (:func:`lorascope.analysis.cells.prompt_kept`).
    """

    scale: float
    cells: int
    strength: Estimate
    consistency: Estimate
    cosine: Estimate | None
    effect: Estimate | None
    kept: Estimate | None


@final
@dataclass(frozen=True)
class Curve:
    """An adapter over scales, in ascending order, under one Protocol.

    Examples:
        >>> nothing = Estimate(0.0, 0.0, 0.0)
        >>> curve = Curve((CurvePoint(1.0, 32, nothing, nothing, None, None, None),))
        >>> Curve.from_json(curve.to_json()) == curve
        True
    """

    points: tuple[CurvePoint, ...]

    def to_json(self) -> str:
        """All points as JSON, the inverse of :meth:`from_json`."""
        return json.dumps([asdict(point) for point in self.points])

    @classmethod
    def from_json(cls, text: str) -> Curve:
        """A Curve from :meth:`to_json`."""
        points: list[dict[str, Any]] = json.loads(text)
        return cls(tuple(CurvePoint(**{name: _figure(value) for name, value in point.items()}) for point in points))

    def series(self, name: str) -> list[tuple[float, Estimate]]:
        """The scales at which a figure of :class:`CurvePoint` is known, with its estimates."""
        found = ((point.scale, getattr(point, name)) for point in self.points)
        return [(scale, estimate) for scale, estimate in found if estimate is not None]


def _figure(value: Any) -> Any:
    return Estimate(**value) if isinstance(value, dict) else value


@final
@dataclass(frozen=True)
class ScaledPicture:
    """What a pinned cell looks like at a scale; 0 is the bare model."""

    scale: float
    picture: Preview


def known_curves(library: Library, protocol: str, keys: Iterable[str]) -> dict[str, Curve]:
    """The Curves that were measured of some adapters under a Protocol (its digest), by key."""
    return {key: Curve.from_json(figures) for key, figures in library.curves.get(protocol, keys).items()}


def pictures(library: Library, protocol: Protocol, key: str, curve: Curve) -> list[ScaledPicture]:
    """The first pinned cell over the scales of a Curve and at 0, which is the bare model, in ascending order."""
    bare = library.previews.get(library.previews.scene(protocol, BARE), BARE, 0)
    found = [] if bare is None else [ScaledPicture(0.0, bare)]
    for point in curve.points:
        picture = library.previews.get(replace(protocol, scale=point.scale).scene, key, 0)
        found += [] if picture is None else [ScaledPicture(point.scale, picture)]
    return sorted(found, key=lambda one: one.scale)


def curve_of(cells: dict[float, Cells], texts: Float64[np.ndarray, "prompts d"], fewest: int = FEWEST_PROMPTS) -> Curve:
    """The Curve of an adapter from its cells at several scales, 1.0 among them.

    Args:
        cells: by scale, the same cells at each.
        texts: the embeddings of their prompts (:class:`lorascope.analysis.cells.PromptTexts`).
        fewest: prompts from which intervals are given.
    """
    reference = cells[REFERENCE].effects
    return Curve(tuple(_measured(scale, cells[scale], reference, texts, fewest) for scale in sorted(cells)))


def _measured(
    scale: float,
    cells: Cells,
    reference: Float64[np.ndarray, "cells d"],
    texts: Float64[np.ndarray, "prompts d"],
    fewest: int,
) -> CurvePoint:
    strength, consistency = cells.strength_and_consistency
    shared = effect_share(cells.prompts, cells.effects, reference, fewest)
    return CurvePoint(
        scale, len(cells), strength, consistency, shared.cosine if shared else None, shared.share if shared else None,
        prompt_kept(cells, texts, fewest),
    )  # fmt: skip


@final
@dataclass(frozen=True)
class Advice:
    """At which weight to use an adapter, and why. Scales between those that were measured are interpolated.

    Attributes:
        weight: the one to start with; None where the adapter has no effect that differs from chance.
        low: the lowest weight that is nearly as good.
        high: the highest one.
        sets_in: from where on the effect is seen; None if it is at the smallest scale that was measured.
        saturates: from where on more weight does hardly more; None if the effect grows to the end.
        breaks: from where on what prompts ask for is lost; None if it is not.
        reason: all of it in words.
    """

    weight: float | None
    low: float | None
    high: float | None
    sets_in: float | None
    saturates: float | None
    breaks: float | None
    reason: str

    @property
    def range(self) -> str:
        """From the lowest to the highest weight, as ``0.4–0.9``; "" where none is advised."""
        return "" if self.low is None or self.high is None else f"{self.low:g}–{self.high:g}"


def advise(curve: Curve) -> Advice:
    """Advise a weight: where as much of the effect as at 1.0 is seen and most of what prompts ask for is kept.

    The rule was chosen on the shipped world's dev adapters; docs/analysis.md has its error.
    """
    effect, kept = ([(scale, one) for scale, one in curve.series(name) if scale > 0] for name in ("effect", "kept"))
    if not effect:
        reason = f"up to {curve.points[-1].scale:g} it has no effect that differs from chance"
        return Advice(None, None, None, None, None, None, reason)
    scales = np.round(np.arange(effect[0][0], effect[-1][0] + STEP / 4, STEP / 2), 2)
    seen, left = _between(scales, effect, 0.0), _between(scales, kept, 1.0)
    good = np.clip(seen / _FULL, 0.0, 1.0) * np.clip(left, 0.0, 1.0) ** _POWER
    best = int(good.argmax())
    near = np.flatnonzero(good >= _NEAR * good[best])
    weight, low, high = (float(scales[place]) for place in (best, near[0], near[-1]))
    sets_in = _first(scales, seen >= _SETS_IN)
    before, after = seen / scales, (seen[-1] - seen)[:-1] / (scales[-1] - scales[:-1])
    sets_in = None if sets_in == scales[0] else sets_in
    saturates = _first(scales, (seen[:-1] >= _SETS_IN) & (after < _SATURATED * before[:-1]))
    breaks = _first(scales, left < _KEPT)
    reason = _reason(sets_in, saturates, breaks, known=bool(kept))
    return Advice(weight, low, high, sets_in, saturates, breaks, reason)


def _between(
    scales: Float64[np.ndarray, " s"], known: list[tuple[float, Estimate]], at_zero: float
) -> Float64[np.ndarray, " s"]:
    """A figure at scales between those at which it is known, and the one that it has without the adapter."""
    return np.interp(scales, [0.0, *(scale for scale, _ in known)], [at_zero, *(one.value for _, one in known)])


def _first(scales: Float64[np.ndarray, " s"], true: np.ndarray) -> float | None:
    return float(scales[int(true.argmax())]) if true.any() else None


def _reason(sets_in: float | None, saturates: float | None, breaks: float | None, *, known: bool) -> str:
    scene = "keeps the scene throughout" if breaks is None else f"breaks the scene from {breaks:g} on"
    parts = [
        "seen at every weight" if sets_in is None else f"sets in at {sets_in:g}",
        "" if saturates is None else f"does hardly more from {saturates:g} on",
        scene if known else "whether the scene is kept is unknown: the bare images do not follow their prompts",
    ]
    return ", ".join(filter(None, parts))


def next_scale(curve: Curve) -> float | None:
    """Where to measure next: in the middle of the two neighbours between which most changes; None if it is enough."""
    gaps = [(_change(one, two), one.scale, two.scale) for one, two in pairwise(curve.points)]
    wide = [gap for gap in gaps if gap[2] - gap[1] >= 2 * STEP and gap[0] > _CHANGE]
    if not wide or len(curve.points) >= MOST_SCALES:
        return None
    _, low, high = max(wide)
    return round(round((low + high) / 2 / STEP) * STEP, 1)


def _change(one: CurvePoint, two: CurvePoint) -> float:
    """How much more the effect grows between two points than the scale does, or how much less of the prompt is kept."""
    effects, kept = (one.effect, two.effect), (one.kept, two.kept)
    grown = 0.0 if effects[0] is None or effects[1] is None else effects[1].value - effects[0].value
    beyond = abs(grown - (two.scale - one.scale)) if grown else 0.0
    return max(beyond, 0.0 if kept[0] is None or kept[1] is None else abs(kept[1].value - kept[0].value))
