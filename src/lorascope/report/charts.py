"""Charts as SVG for use within a page: it takes the page's text colour, so that it suits light and dark."""

from __future__ import annotations

import io
from typing import Any, Final

from lorascope.evaluation.findings import Chart
from lorascope.extras import optional

_INK: Final = "#010203"
"""Stands for the page's text colour until the SVG is written."""
_COLOURS: Final = ("#7c5cff", "#e07b00", "#0a9a6c", "#c8418f", "#2b87d1", "#a08a00", "#d9534f", "#7a7a86")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
_DASHES: Final = ("-", "--", ":", "-.")
_WIDTH: Final = 7.6
"""Inches; an inch is 72 points of the page."""


def svg(chart: Chart) -> str:
    """Draw a chart.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    matplotlib = optional("matplotlib")
    settings: dict[str, Any] = {
        "svg.fonttype": "none",  # text stays text: it can be read out, searched and copied
        "svg.hashsalt": chart.title,  # the same chart is the same file
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
    settings |= dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK)
    with matplotlib.rc_context(settings):
        figure: Any = optional("matplotlib.figure").Figure(figsize=(_WIDTH, _height(chart)), layout="constrained")
        axes: Any = figure.subplots()
        _DRAWN[chart.kind](axes, chart)
        _dress(axes, chart)
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = file.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")


def _height(chart: Chart) -> float:
    return 0.7 + 0.28 * len(chart.series) if chart.kind == "ranges" else 3.6


def _dress(axes: Any, chart: Chart) -> None:
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    axes.grid(visible=True, alpha=0.15, color=_INK)
    for name, place in chart.marks:
        axes.axvline(place, color=_INK, linewidth=0.8, linestyle=":")
        axes.annotate(name, (place, 1), xycoords=("data", "axes fraction"), fontsize=8, ha="left", va="bottom")
    for name, place in chart.levels:
        axes.axhline(place, color=_INK, linewidth=0.8, linestyle=":")
        axes.annotate(name, (1, place), xycoords=("axes fraction", "data"), fontsize=8, ha="right", va="bottom")
    if chart.log:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    if chart.ticks:
        axes.set_xticks(range(len(chart.ticks)), chart.ticks)


def _lines(axes: Any, chart: Chart) -> None:
    for place, series in enumerate(chart.series):
        colour, dash = _look(place)
        axes.plot(series.x, series.y, dash, color=colour, label=series.name, marker="o", markersize=3)
        if series.low:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.12, linewidth=0)
    _legend(axes, chart)


def _points(axes: Any, chart: Chart) -> None:
    """Clouds, or single points that are distinguished by colour and shape."""
    for place, series in enumerate(chart.series):
        size, alpha = (36, 1.0) if len(series.x) == 1 else (14, 0.55)
        axes.scatter(
            series.x, series.y, s=size, alpha=alpha, color=_look(place)[0], label=series.name, linewidth=0,
            marker=_MARKERS[place % len(_MARKERS)],
        )  # fmt: skip
    _legend(axes, chart)


def _ranges(axes: Any, chart: Chart) -> None:
    """One row for each series: its value, and the interval as a bar."""
    for series in chart.series:
        row, value = series.x[0], series.y[0]
        axes.plot([series.low[0], series.high[0]], [row, row], color=_COLOURS[0], linewidth=5, alpha=0.35)
        axes.plot([value], [row], "o", color=_COLOURS[0], markersize=6)
    axes.set_yticks([series.x[0] for series in chart.series], [series.name for series in chart.series])
    axes.margins(y=0.08)


def _legend(axes: Any, chart: Chart) -> None:
    if len(chart.series) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def _look(place: int) -> tuple[str, str]:
    return _COLOURS[place % len(_COLOURS)], _DASHES[place // len(_COLOURS) % len(_DASHES)]


_DRAWN: Final = {"lines": _lines, "points": _points, "ranges": _ranges}
