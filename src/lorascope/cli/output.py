"""Printing: tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lorascope.cli.hints import command
from lorascope.errors import code_of
from lorascope.protocol import Thresholds
from lorascope.report.words import NOTHING, hidden_line, prompt_tag, summary
from lorascope.search import Answer, Hit
from lorascope.signature import Estimate

out = Console(emoji=False)  # a query or a name may hold ":cat:"
err = Console(stderr=True, emoji=False)
_NO_MEMBER = "No other adapter is of that --family and under that --folder. This lists all: "
_ALONE = "There is no other adapter under this Protocol to compare it with. This measures more: "
_COMMANDS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


_INTERVAL = re.compile(r" \(-?[\d.]+–-?[\d.]+\)$")


def harmless(text: str) -> str:
    """Text for a terminal: characters by which a name could move the cursor or turn the text around are spelt out."""
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


def print_line(text: str, style: str = "") -> None:
    """Print a line on standard output as it is: neither wrapped nor read as markup, and harmless."""
    out.print(harmless(text), style=style, soft_wrap=True, markup=False, highlight=False)


def print_note(text: str, style: str = "") -> None:
    """The same on standard error, for whatever is no answer."""
    err.print(harmless(text), style=style, soft_wrap=True, markup=False, highlight=False)


def print_json(data: Any) -> None:
    """One JSON document on standard output, in ASCII where that cannot print everything."""
    everything = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(_finite(data), ensure_ascii=not everything, indent=1, allow_nan=False)
    sys.stdout.write(_COMMANDS.sub(lambda command: f"\\u{ord(command[0]):04x}", text) + "\n")


def print_result(as_json: bool, sentence: str, **fields: object) -> None:
    """Print in a sentence, or as JSON, what a command has done."""
    if as_json:
        print_json(fields)
    else:
        print_line(sentence)


def _finite(data: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not know: no figure, or no limit."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def print_error(error: BaseException, *, as_json: bool = False) -> None:
    """Print an error, in words or as JSON."""
    if as_json:
        print_json({"error": {"code": code_of(error), "message": str(error)}})
    else:
        err.print(f"[bold red]error:[/] {escape(harmless(str(error)))}", highlight=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A plain table; in a pipe, lines of cells between tabs, the first with the names of the columns.

    On a screen, numbers are right-aligned, and where the table is too wide, intervals are left out first.
    """
    rows = list(rows)
    if not out.is_terminal:
        cells = [columns, *([_cell(value) for value in row] for row in rows)]
        sys.stdout.write("".join("\t".join(line) + "\n" for line in cells))
        return
    table = _table(columns, rows, title)
    if out.measure(table).maximum > out.width:
        table = _table(columns, [[_without_interval(value) for value in row] for row in rows], title)
    out.print(table)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> Table:
    table = Table(
        title=escape(harmless(title)) or None, title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    for place, column in enumerate(columns):
        numeric = bool(rows) and isinstance(rows[0][place], int | float)
        last = place == len(columns) - 1
        justify = "right" if numeric else "left"
        table.add_column(escape(column), justify=justify, overflow="fold", no_wrap=not last)
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    return table


def _cell(value: Any) -> str:
    """One line, whatever a name holds."""
    if value is None:
        return "–"
    text = f"{value:.3f}" if isinstance(value, float) else harmless(str(value))
    return text.replace("\n", "\\n").replace("\t", "\\t")


def _without_interval(value: Any) -> Any:
    return _INTERVAL.sub("", value) if isinstance(value, str) else value


def print_answer(answer: Answer, library: Path, *, show_hidden: bool) -> None:
    """Print hits as a table, or which command on the library helps."""
    thresholds, filters = answer.stored.preset.thresholds, answer.filters
    title = f"{answer.query}  ({answer.considered} adapters, {answer.protocol})"
    if not answer.considered:
        narrowed = filters.family or filters.folder
        arguments = ("list",) if narrowed else ("index", "FOLDER")
        print_line((_NO_MEMBER if narrowed else _ALONE) + command(*arguments, library=library), "yellow")
        return
    if answer.hits and not answer.matched:
        out.print(f"[yellow]{NOTHING}[/]")
    rows = [_row(hit, thresholds) for hit in answer.hits + (answer.hidden if show_hidden else ())]
    print_table(("", "adapter", "score", "Strength", "Consistency", "in words"), rows, title)
    if answer.hits:
        _print_use(answer.hits[0])
    if (line := hidden_line(answer)) and not show_hidden:
        out.print(f"[dim]Left out by thresholds: {line}. --hidden shows them, --everything ranks them.[/]")


def _print_use(hit: Hit) -> None:
    """What a person types next, for the best hit."""
    adapter = hit.adapter
    if out.is_terminal and adapter.paths:
        words = ", ".join(adapter.claimed("triggers") or ())
        print_line("  ".join(filter(None, (f"{hit.rank}: {adapter.paths[0]}", prompt_tag(adapter), words))), "dim")


def _row(hit: Hit, thresholds: Thresholds) -> tuple[Any, ...]:
    signature = hit.signature.signature
    return (
        hit.rank,
        hit.adapter.name,
        hit.score,
        ranged(signature.strength, signature.grid.strength, 2),
        ranged(signature.consistency, signature.grid.consistency, 3),
        summary(hit, thresholds),
    )


def ranged(value: float | None, estimate: Estimate | None, digits: int) -> str:
    """``5.81 (5.60–6.02)``, the interval where there is one."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    if estimate is None or estimate.lower == estimate.upper:
        return text
    return f"{text} ({estimate.lower:.{digits}f}–{estimate.upper:.{digits}f})"


def estimated(estimate: Estimate | None, digits: int = 2) -> str:
    """An estimate with its interval; a dash for none."""
    return ranged(None if estimate is None else estimate.value, estimate, digits)


def counted(count: int, noun: str) -> str:
    """``1 file``, ``2 files``, ``2 queries``."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
