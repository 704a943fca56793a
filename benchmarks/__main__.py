"""Run every benchmark and write its page: ``make bench``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import speed, world

PAGES = ((speed, "docs/performance.md"), (world, "docs/world.md"))


def main() -> None:
    """One page after the other."""
    for benchmark, page in PAGES:
        text = benchmark.report()
        print(text)
        Path(page).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
