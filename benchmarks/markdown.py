"""Tables and reports in Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def print_report(about: str | None, report: Callable[[Path], str], library: str) -> None:
    """The command of a benchmark that takes nothing but a path of a library or folder, whose help is ``library``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help=library)
    print(report(parser.parse_args().library))
