"""Fuzz for some minutes: ``python -m tests.fuzz --minutes 60``."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.run import round_of
from fuzz.targets import TARGETS


def main() -> int:
    """Fuzz every target in turn until the time is over; 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    options = parser.parse_args()
    until, failures = time.monotonic() + 60 * options.minutes, 0
    for seed in itertools.count(options.seed):
        for name in TARGETS:
            with TemporaryDirectory() as folder:
                for failure in round_of(name, seed, Path(folder)):
                    failures += 1
                    print(failure, flush=True)
            if time.monotonic() > until:
                print(f"{seed - options.seed + 1} rounds, {failures} failures")
                return int(failures > 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
