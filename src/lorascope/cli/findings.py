"""Findings of the lab, and what an evaluation would take, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from lorascope.cli.output import counted, err, out, print_json, print_note, print_table
from lorascope.evaluation import EvaluationPlan, Findings
from lorascope.evaluation.findings import Value
from lorascope.evaluation.statistics import Interval
from lorascope.report.lab import plain_cell

if TYPE_CHECKING:  # loads torch
    from lorascope.evaluation.pictures import RenderCost


def print_plan(plan: EvaluationPlan, as_json: bool) -> None:
    """Print what an evaluation would do and take."""
    if as_json:
        print_json(asdict(plan))
        return
    asked = f"{counted(plan.queries, 'query')} in {counted(plan.groups, 'group')}"
    lines = [
        f"Would rank {counted(plan.adapters, 'adapter')} for {asked}, {plan.graded} of them with known answers, by"
        f" {', '.join(plan.retrievers)}."
    ]
    lines += [f"{name}: {counted(count, 'text')} still to embed." for name, count in plan.texts.items() if count]
    lines += [f"{name} cannot take part: {reason}." for name, reason in plan.missing.items()]
    if not plan.graded and plan.images is None:
        lines.append("No answers are known: diversity only, unless a judge looks at images (--judge).")
    for line in lines:
        print_note(line)
    if plan.images is not None:
        print_cost(plan.images)


def print_cost(cost: RenderCost) -> None:
    """Print what images to judge take."""
    err.print(
        f"Images to judge: {cost.cells} for each of {cost.adapters} adapters; {cost.images} still to make, about"
        f" {cost.seconds / 60:.1f} minutes and {cost.gigabytes:.2f} GB. Each is made once.",
        highlight=False,
    )


def print_findings(findings: Findings, path: Path | None, as_json: bool) -> None:
    """Print the tables, and where the page is."""
    if as_json:
        print_json(asdict(findings))
        return
    out.print(f"[bold]{escape(findings.title)}[/]\n{escape(findings.about)}", highlight=False)
    for warning in findings.warnings:
        out.print(f"[yellow]{escape(warning)}[/]", highlight=False)
    for section in findings.sections:
        if section.charts and section.table is None:
            continue  # it is a chart, for the page
        out.print(f"\n[bold]{escape(section.heading)}[/]\n[dim]{escape(section.text)}[/]", highlight=False)
        if section.table is not None:
            print_table(section.table.columns, [[_short(cell, row) for cell in row] for row in section.table.rows])
    if path is not None:
        out.print(f"\nReport: {path.as_uri()}", soft_wrap=True)


def _short(cell: Value, row: Sequence[Value]) -> str | int:
    """A cell for a terminal: where a row has many intervals, they are left to the page and to JSON."""
    many = sum(isinstance(one, Interval) for one in row) > 2
    if isinstance(cell, int):
        return cell
    return plain_cell(cell.value if many and isinstance(cell, Interval) else cell)
