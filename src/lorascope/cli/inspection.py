"""What inspect prints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from lorascope.cli.output import counted, out, print_table


def print_inspected(rows: list[dict[str, Any]]) -> None:
    """One line for each file, and totals by kind."""
    shown = [
        (
            Path(row["path"]).name,
            row["family"],
            row["format"],
            ", ".join(f"{n} {kind}" for kind, n in row["kinds"].items()) + ("; all zero" if row["all_zero"] else ""),
            ", ".join(map(str, row["ranks"])) or "–",
            ", ".join(row["claims"].get("triggers", {}).get("value", ())) or "–",
            *([row["sha256"][:12]] if "sha256" in row else []),
        )
        for row in rows
    ]
    columns = ["file", "base", "format", "modules", "rank", "triggers"]
    if shown:
        print_table(columns + (["sha256"] if len(shown[0]) > len(columns) else []), shown)
        _print_totals(rows)
    else:
        out.print("no adapter files here")


def _print_totals(rows: list[dict[str, Any]]) -> None:
    """``3 adapters: 2 lora, 1 loha; 3 sdxl``: each file counts once, by all kinds of modules in it."""
    if len(rows) > 1:
        kinds = Counter("+".join(sorted(row["kinds"])) for row in rows)
        families = Counter(row["family"] for row in rows)
        totals = "; ".join(", ".join(f"{n} {name}" for name, n in one.most_common()) for one in (kinds, families))
        out.print(f"{counted(len(rows), 'adapter')}: {totals}", soft_wrap=True, highlight=False)
