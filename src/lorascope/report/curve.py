"""A Curve as a picture: an inline SVG for pages and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from markupsafe import Markup

from lorascope.analysis import Advice, Curve
from lorascope.analysis.weight import pictures
from lorascope.library import Library, StoredAdapter
from lorascope.protocol import Protocol
from lorascope.report.page import data_address, write_page
from lorascope.signature import Estimate

FIGURES: Final = {"effect": "effect, share of that at 1.0", "kept": "prompt kept"}
"""What is drawn, by attribute of a point, with its legend."""
_COLOURS: Final = {"effect": "#7c5cff", "kept": "#0a9a6c"}
_Place = Callable[[float], float]
"""From a scale or a figure to a place in the picture."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 360, 170, 30, 22, 10


def curve_svg(curve: Curve, advice: Advice) -> str:
    """Draw effect and prompt kept over scale, with their intervals and the advised weight.

    The SVG takes the colour of the text around it, so it suits light and dark, and says in its title what it shows.
    """
    scales = [point.scale for point in curve.points]
    series = {name: curve.series(name) for name in FIGURES}
    highest = max([1.0, *(one.value for known in series.values() for _, one in known)])
    lowest = min([0.0, *(one.value for known in series.values() for _, one in known)])

    def x(scale: float) -> float:
        first, last = min(0.0, scales[0]), max(1.0, scales[-1])
        return _LEFT + (scale - first) / (last - first) * (_WIDTH - _LEFT - 10)

    def y(value: float) -> float:
        share = (min(max(value, lowest), highest) - lowest) / (highest - lowest)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    parts = [_grid(x, y, scales, lowest, highest)]
    if advice.weight is not None and advice.low is not None and advice.high is not None:
        parts.append(
            f'<rect x="{x(advice.low):.1f}" y="{_TOP}" width="{max(1.0, x(advice.high) - x(advice.low)):.1f}"'
            f' height="{_HEIGHT - _BOTTOM - _TOP}" fill="currentColor" opacity=".07"/>'
            f'<line x1="{x(advice.weight):.1f}" x2="{x(advice.weight):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"'
            ' stroke="currentColor" stroke-dasharray="3 3"/>'
        )
    for name, known in series.items():
        if known:
            parts.append(_band(x, y, known, _COLOURS[name]))
    title = escape(f"effect and prompt kept by weight: {advice.reason}")
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}"'
        f' font-size="9" xmlns="http://www.w3.org/2000/svg"><title>{title}</title>{"".join(parts)}</svg>'
    )


def _grid(x: _Place, y: _Place, scales: Sequence[float], lowest: float, highest: float) -> str:
    """Axes: a tick for each scale that was measured, and lines at 0, 0.5, 1 and so on."""
    ticks = "".join(
        f'<text x="{x(scale):.1f}" y="{_HEIGHT - 8}" text-anchor="middle" fill="currentColor">{scale:g}</text>'
        for scale in scales
    )
    levels = [step / 2 for step in range(int(lowest * 2), int(highest * 2) + 1)]
    lines = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y(level):.1f}" y2="{y(level):.1f}" stroke="currentColor"'
        f' opacity=".15"/><text x="{_LEFT - 4}" y="{y(level) + 3:.1f}" text-anchor="end" fill="currentColor">'
        f"{level:g}</text>"
        for level in levels
    )
    return lines + ticks


def _band(x: _Place, y: _Place, known: Sequence[tuple[float, Estimate]], colour: str) -> str:
    """A line through the figures, on a band of their intervals."""
    above = [f"{x(scale):.1f},{y(one.upper):.1f}" for scale, one in known]
    below = [f"{x(scale):.1f},{y(one.lower):.1f}" for scale, one in reversed(known)]
    line = " ".join(f"{x(scale):.1f},{y(one.value):.1f}" for scale, one in known)
    dots = "".join(f'<circle cx="{x(s):.1f}" cy="{y(one.value):.1f}" r="2.5" fill="{colour}"/>' for s, one in known)
    return (
        f'<polygon points="{" ".join([*above, *below])}" fill="{colour}" opacity=".15"/>'
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}'
    )


def write_curves(
    path: Path, library: Library, protocol: Protocol, curves: Sequence[tuple[StoredAdapter, Curve, Advice]]
) -> Path:
    """Write a page of Curves, each with one prompt over the weights. One HTML file, no network.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = [
        {
            "name": adapter.name,
            "advice": advice,
            "svg": Markup(curve_svg(curve, advice)),
            "pictures": [
                {"scale": f"{one.scale:g}", "prompt": one.picture.prompt, "data": data_address(one.picture.webp)}
                for one in pictures(library, protocol, adapter.key, curve)
            ],
        }
        for adapter, curve, advice in curves
    ]
    return write_page(path, "curves.html.jinja", rows=rows, figures=FIGURES, colours=_COLOURS)
