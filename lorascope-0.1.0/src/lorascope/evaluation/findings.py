"""What an experiment found, as plain data: tables, charts and sentences, for terminals, JSON and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from lorascope.evaluation.statistics import Interval

Value = str | int | float | Interval | None


@dataclass(frozen=True)
class FindingsTable:
    """Columns and rows; a figure may carry its interval."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Series:
    """One line of a chart, or one cloud of points; ``low`` and ``high`` bound a band, where there is one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @classmethod
    def of(cls, name: str, x: Sequence[float], y: Sequence[Interval]) -> Series:
        """A line with its intervals as a band."""
        return cls(
            name,
            tuple(x),
            tuple(point.value for point in y),
            tuple(point.lower for point in y),
            tuple(point.upper for point in y),
        )


@dataclass(frozen=True)
class Chart:
    """A picture to be drawn. ``marks`` are vertical lines with their names; ``levels`` horizontal ones."""

    kind: Literal["lines", "points", "ranges"]
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    ticks: tuple[str, ...] = ()
    marks: tuple[tuple[str, float], ...] = ()
    levels: tuple[tuple[str, float], ...] = ()
    log: bool = False


@dataclass(frozen=True)
class Section:
    """A heading, sentences, a chart, a table; each but the heading may be missing."""

    heading: str
    text: str = ""
    table: FindingsTable | None = None
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True)
class Findings:
    """All that one experiment says. ``warnings`` come first on a page: what should not be overlooked."""

    title: str
    about: str
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = field(default=())
