"""What inspect prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorascope.cli.output import out, print_table


def print_inspected(rows: list[dict[str, Any]]) -> None:
    """One line a file."""
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
    else:
        out.print("no adapter files here")
