"""benchmarks/data/performance.json, what was measured, and docs/performance.md, the same for people."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, Goal, Measurement, Ratio, SpeedComparison, Usage
from benchmarks.machine import describe

DATA = Path("benchmarks/data/performance.json")
PAGE = Path("docs/performance.md")

_HEAD = """# Performance

Written by `make bench`; do not edit. One part alone: `python -m benchmarks NAME`.

The *reference* is the published procedure, written for this project from its description
(`benchmarks/reference_search.py`, `benchmarks/reference_index.py`). It and lorascope take turns, each in a process of
its own. A ratio is how many times less lorascope takes: the median over rounds, and the 5th to 95th percentile. *CPU*
is processor time of all cores, *memory* the peak of the process, *target* what the project set itself.
"""


def keep(name: str, title: str, note: str, rows: Iterable[Measurement]) -> None:
    """Put one part's rows in place of those that were kept of it, and write the page anew."""
    parts = _read()
    parts[name] = {
        "title": title,
        "note": note,
        "machine": describe(),
        "comparisons": [dataclasses.asdict(row) for row in rows if isinstance(row, SpeedComparison)],
        "figures": [dataclasses.asdict(row) for row in rows if isinstance(row, Figure)],
    }
    DATA.write_text(json.dumps({"parts": parts}, indent=1, ensure_ascii=False) + "\n", "utf-8")


def kept(name: str) -> bool:
    """Whether rows of a part are kept."""
    return name in _read()


def write(order: Sequence[str]) -> None:
    """The page, parts in this order."""
    parts = {name: part for name, part in _read().items() if name in order}
    machines = Counter(_split(part["machine"])[0] for part in parts.values())
    usual = machines.most_common(1)[0][0]
    head = f"{_HEAD}\nThe machine, where a part names no other: {usual}.\n"
    PAGE.write_text("\n".join([head, *(_part(name, parts[name], usual) for name in order if name in parts)]), "utf-8")


def line(row: Measurement) -> str:
    """One row as it is shown while the benchmark runs."""
    cells = _comparison_cells(row) if isinstance(row, SpeedComparison) else _figure_cells(row)
    return "  ".join(cell for cell in cells if cell)


def _read() -> dict[str, Any]:
    return json.loads(DATA.read_text("utf-8"))["parts"] if DATA.exists() else {}


def _split(description: str) -> tuple[str, str]:
    """A description of a machine, and the commit at its end."""
    machine, _, commit = description.rpartition(", commit ")
    return (machine, f"commit {commit}") if machine else (description, "")


def _part(name: str, part: Mapping[str, Any], usual: str) -> str:
    machine, commit = _split(part["machine"])
    source = (f"`python -m benchmarks {name}`", "" if machine == usual else machine, commit)
    measured = "; ".join(text for text in source if text)
    text = f"## {part['title']}\n\n{part['note'].strip()}\n\n{measured}.\n"
    if part["comparisons"]:
        columns = ("what", "reference", "lorascope", "ratio", "CPU ratio", "memory", "target", "met")
        text += _table(columns, [_comparison_cells(_comparison(row)) for row in part["comparisons"]])
    if part["figures"]:
        columns = ("what", "measured", "target", "met")
        text += _table(columns, [_figure_cells(_figure(row)) for row in part["figures"]])
    return text


def _comparison(row: Mapping[str, Any]) -> SpeedComparison:
    costs = {side: Usage(**row[side]) for side in ("reference", "ours")}
    ratios = {clock: Ratio(**row[clock]) for clock in ("wall", "cpu")}
    return SpeedComparison(**{**row, **costs, **ratios, "target": _target(row)})


def _figure(row: Mapping[str, Any]) -> Figure:
    return Figure(**{**row, "target": _target(row)})


def _target(row: Mapping[str, Any]) -> Goal | None:
    return None if row["target"] is None else Goal(**row["target"])


def _comparison_cells(row: SpeedComparison) -> tuple[str, ...]:
    target = ""
    if row.target is not None:
        target = f"{_sign(row.target)} {row.target.limit:g}x{' CPU' if row.clock == 'cpu' else ''}"
    return (
        row.name,
        f"{_seconds(row.reference.wall)} per {row.unit} (CPU {_seconds(row.reference.cpu)})",
        f"{_seconds(row.ours.wall)} (CPU {_seconds(row.ours.cpu)})",
        _ratio(row.wall),
        _ratio(row.cpu),
        f"{row.ours.memory:.0f} against {row.reference.memory:.0f} MiB",
        target,
        _met(row),
    )


def _figure_cells(row: Figure) -> tuple[str, ...]:
    measured = "outstanding" if row.value is None else f"{_number(row.value)} {row.unit}".strip()
    if row.p5 is not None and row.p95 is not None:
        measured += f" ({_number(row.p5)} to {_number(row.p95)})"
    measured += f"; {row.note}" if row.note else ""
    target = "" if row.target is None else f"{_sign(row.target)} {_number(row.target.limit)} {row.unit}".strip()
    return (row.name, measured, target, _met(row))


def _sign(target: Goal) -> str:
    return "at least" if target.at_least else "at most"


def _met(row: Measurement) -> str:
    if row.met is None:
        return "" if row.target is None else "not measured"
    return "yes" if row.met else "**no**"


def _ratio(ratio: Ratio) -> str:
    return f"{_number(ratio.median)}x ({_number(ratio.p5)} to {_number(ratio.p95)})"


def _seconds(seconds: float) -> str:
    return f"{_number(seconds)} s" if seconds >= 1 else f"{_number(seconds * 1e3)} ms"


def _number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, without columns that are empty."""
    filled = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    lines = [[row[place] for place in filled] for row in (columns, ["---"] * len(columns), *rows)]
    return "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
