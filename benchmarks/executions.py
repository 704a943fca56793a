"""How far measurements of the same adapters differ between Executions: other batches, threads and types of numbers.

    python -m benchmarks.executions

Shipped adapters are measured on the same cells each time, and compared with the first way. The tolerances by which
packs are compared (`lorascope.packs.agreement`) have to be wider than what machines alone make of one file.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.machine import describe as machine
from lorascope import Library, Preset, Signature
from lorascope.measure import index, load_worker
from lorascope.miniature import adapters_path
from lorascope.packs.agreement import CONSISTENCY, COSINE, STRENGTH

WAYS = {
    "float32, batches of 16, 1 thread": {},
    "batches of 4": {"batch": 4},
    "2 threads": {"threads": 2},
    "bfloat16": {"dtype": "bfloat16"},
}
"""Changes of the preset; everything is compared with the first."""
ADAPTERS = 8


def measured(changes: dict[str, object], folder: Path) -> dict[str, Signature]:
    """The signatures of some shipped adapters, of the first cells of each, by key."""
    preset = dataclasses.replace(Preset.load("miniature"), calibration="", **changes)
    files = sorted(adapters_path().glob("*.safetensors"))[:ADAPTERS]
    with tempfile.TemporaryDirectory(dir=folder) as place, Library(Path(place) / "library.db", create=True) as library:
        index(files, load_worker(preset, device="cpu"), library, precision="glance")
        digest = library.protocols.find().protocol.digest
        return {key: one.signature for key, one in library.signatures.get(digest, library.adapters.all()).items()}


def row(name: str, pairs: list[tuple[Signature, Signature]]) -> str:
    """The largest differences of one way from the first, as a line of Markdown."""
    strength = max(abs(one.strength - two.strength) / one.strength for one, two in pairs)
    consistency = max(abs((one.consistency or 0.0) - (two.consistency or 0.0)) for one, two in pairs)
    rows = [np.stack([one.direction, two.direction]).astype(float) for one, two in pairs]
    cosine = min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in rows)
    return f"| {name} | {strength:.1e} | {consistency:.1e} | {1 - cosine:.1e} |"


def report() -> str:
    """A table in Markdown."""
    first: dict[str, Signature] = {}
    lines = ["| compared with the first | Strength, share | Consistency | 1 - cosine |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name, changes in WAYS.items():
            found = measured(dict(changes), Path(folder))
            if not first:
                first = found
                continue
            lines.append(row(name, [(first[key], found[key]) for key in first]))
    name = next(iter(WAYS))
    cells = next(iter(first.values())).cells
    note = f"The first is {name}. {ADAPTERS} adapters, {cells} cells of each; {machine()}."
    limits = f"| *tolerance* | {STRENGTH:.1e} | {CONSISTENCY:.1e} | {1 - COSINE:.1e} |"
    return "\n".join([note, "", *lines, limits])


if __name__ == "__main__":
    print(report())
