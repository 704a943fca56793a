"""The truth about the shipped world: every adapter on its whole grid, about 121,000 images.

    python -m benchmarks.truth --library truth.db

About a core-hour. What is measured stays: after an interruption the same command goes on. Its evidence, the
embedding of every cell, is what ``benchmarks/stopping.py`` replays in other orders without making an image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lorascope import Library, Preset, index
from lorascope.cli.running import ProgressBar, report
from lorascope.measure import load_bench
from lorascope.miniature import adapters_path


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True, help="where results go; made if it does not exist")
    options = parser.parse_args()
    with Library(options.library, create=True) as library, ProgressBar() as progress:
        bench = load_bench(Preset.load("miniature"), library, device="cpu")
        outcome = index([adapters_path()], bench, precision="full", watch=progress.watch)
    report(outcome, library, as_json=False)


if __name__ == "__main__":
    main()
