"""The findings of an experiment as one HTML file, which needs no network."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lorascope.evaluation.findings import Chart, Findings, Value
from lorascope.evaluation.statistics import Interval
from lorascope.report.charts import svg
from lorascope.report.page import write_page

_SURE = 0.001


def write_findings(path: Path, findings: Findings, origin: str) -> Path:
    """Write the page.

    Raises:
        OutputError: the file cannot be written.
        MissingExtra: matplotlib is not installed.
    """
    filters: dict[str, Any] = {"cell": plain_cell, "svg": _drawn, "numeric": _numeric}
    return write_page(
        path,
        "lab.html.jinja",
        filters,
        findings=findings,
        origin=origin,
        date=time.strftime("%Y-%m-%d"),
    )


def _drawn(chart: Chart) -> Markup:
    return Markup(svg(chart))


def plain_cell(cell: Value) -> str:
    """``0.741 (0.640–0.820)``; a p that 10,000 draws cannot tell from 0 as ``< 0.001``."""
    if cell is None:
        return "–"
    if isinstance(cell, Interval) and not cell.known:
        return _short(cell.value)
    if isinstance(cell, Interval):
        dash = " to " if cell.lower < 0 else "–"
        return f"{_short(cell.value)} ({_short(cell.lower)}{dash}{_short(cell.upper)})"
    if isinstance(cell, float):
        return f"< {_short(_SURE)}" if 0 < cell < _SURE else _short(cell)
    return str(cell)


def _short(value: float) -> str:
    """Three digits. Infinity is no limit, and what is no number is not known."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "none"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
    return text.replace("-", "−")


def _numeric(cell: Value) -> bool:
    return not isinstance(cell, str)
