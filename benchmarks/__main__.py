"""Measure, and write docs/performance.md, docs/world.md and docs/stopping.md.

``make bench``, or ``python -m benchmarks NAME...``.

A part is a module of this package with a ``TITLE``, a ``NOTE`` for the page, and ``measure()``, which yields rows. One
that cannot run here says why in ``missing()``; what it measured elsewhere stays on the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.harness import Figure, Measurement

PARTS = ("start", "queries", "ranking", "images", "protocols", "serve", "browse", "work", "gpu")
"""In the order of docs/performance.md."""
PAGES = {"world": Path("docs/world.md"), "stopping": Path("docs/stopping.md")}
"""Parts with a page of their own, which their ``report()`` is."""


def main() -> None:
    """Run the parts that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = (*PARTS, *PAGES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(every)} (default: all)")
    names = parser.parse_args().names or every
    unknown = sorted(set(names).difference(every))
    if unknown:
        parser.error(f"no part {', '.join(unknown)}: use {', '.join(every)}")
    for name in names:
        print(f"== {name}", flush=True)
        run(name, import_module(f"benchmarks.{name}"))


def run(name: str, part: Any) -> None:
    """Measure one part and write its page."""
    reason = part.missing() if hasattr(part, "missing") else ""
    if reason and (name in PAGES or page.kept(name)):
        print(f"{reason}: what was measured elsewhere stays")
    elif name in PAGES:
        PAGES[name].write_text(part.report(), "utf-8")
    else:
        _rows(name, part)


def _rows(name: str, part: Any) -> None:
    """Measure, and keep what was measured even if an error ends it: a GPU that can hold no more, say."""
    rows: list[Measurement] = []
    try:
        for row in part.measure():
            print(page.line(row), flush=True)
            rows.append(row)
            _keep(name, part, rows)  # a machine that is lent may be taken back
    except Exception as error:
        if rows:
            note = f"ended by {type(error).__name__}"
            _keep(name, part, [*rows, Figure(name="all that follows", value=None, unit="", note=note)])
        raise


def _keep(name: str, part: Any, rows: Sequence[Measurement]) -> None:
    page.keep(name, part.TITLE, part.NOTE, rows)
    page.write(PARTS)


if __name__ == "__main__":
    main()
