"""What inspect prints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from lorascope.cli.output import counted, out, print_table
from lorascope.families import title_of


def print_inspected(rows: list[dict[str, Any]]) -> None:
    """One line for each file, with the notes of reading it, and totals by kind."""
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
    if not rows:
        out.print("no adapter files here")
        return
    columns = ["file", "base", "format", "modules", "rank", "triggers", *(["sha256"] if "sha256" in rows[0] else [])]
    if any(row["notes"] for row in rows):
        columns.append("notes")
        shown = [(*line, "; ".join(row["notes"])) for line, row in zip(shown, rows, strict=True)]
    print_table(columns, shown)
    _print_totals(rows)


def print_file(row: dict[str, Any]) -> None:
    """Everything known about one file."""
    from lorascope.cli.details import module_rows, said_rows

    parts = ", ".join(f"{count} in {part}" for part, count in row["components"].items())
    rows = [("path", row["path"]), ("base", title_of(row["family"])), *module_rows(row), ("changes", parts)]
    rows += [("size", f"{row['size'] / 1e6:.2f} MB"), *([("sha256", row["sha256"])] if "sha256" in row else [])]
    effect = [("effect", "none: all its weights are zero")] if row["all_zero"] else []
    print_table(("", ""), [*rows, *effect, *said_rows(row)])


def _print_totals(rows: list[dict[str, Any]]) -> None:
    """``3 adapters: 2 lora, 1 loha; 3 sdxl``: each file counts once, by all kinds of modules in it."""
    if len(rows) > 1:
        kinds = Counter("+".join(sorted(row["kinds"])) for row in rows)
        families = Counter(row["family"] for row in rows)
        totals = "; ".join(", ".join(f"{n} {name}" for name, n in one.most_common()) for one in (kinds, families))
        out.print(f"{counted(len(rows), 'adapter')}: {totals}", soft_wrap=True, highlight=False)
