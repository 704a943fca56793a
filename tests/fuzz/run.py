"""One round of a target: so many changed files, each read or refused."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fuzz.targets import TARGETS
from lorascope.errors import LorascopeError


def round_of(name: str, seed: int, folder: Path) -> Iterator[str]:
    """Read changed files of one kind; yields what each failure was, and how to repeat it."""
    target = TARGETS[name]
    good = folder / f"good{target.suffix}"
    target.make(good)
    data = good.read_bytes()
    draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
    for number in range(target.weight):
        place = folder / str(number)
        place.mkdir()
        path = place / f"changed{target.suffix}"
        path.write_bytes(target.change(data, draw))
        try:
            target.read(path)
        except LorascopeError:
            pass
        except Exception as error:
            yield f"{name}, seed {seed}, file {number}: {type(error).__name__}: {error}"[:300]
        shutil.rmtree(place)
