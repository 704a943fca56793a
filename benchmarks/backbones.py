"""The two small worlds compared: the tables of docs/backbones.md.

    python -m benchmarks.backbones LIBRARY

The second world's adapters and the first one's of the same names are measured at `standard`, without thresholds. The
judge looks at the same images, as a second encoder: it says whether an adapter's effect is there, and whether object
and place still are.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.judged import JUDGE, JudgedScenes
from benchmarks.machine import describe as machine
from benchmarks.markdown import table
from lorascope import Library, Preset
from lorascope.analysis.cells import cells_of, known_grid
from lorascope.evaluation import load_queries
from lorascope.evaluation.experiments.backbones import average, backbone_findings
from lorascope.evaluation.experiments.calibration import by_quantile
from lorascope.evaluation.findings import FindingsTable, Value
from lorascope.library import StoredProtocol
from lorascope.measure import index, load_worker
from lorascope.miniature import adapters_path
from lorascope.report.lab import plain_cell
from lorascope.search import Searcher
from miniature.catalogue import by_stem

WORLDS = ("miniature", "miniature-flux")


def measure(library: Library) -> None:
    """Measure what is missing."""
    first = adapters_path()
    second = sorted((first.parent / "flux" / "adapters").glob("*.safetensors"))
    for name, files in zip(WORLDS, ([first / path.name for path in second], second), strict=True):
        preset = Preset.load(name)
        everything = replace(preset, strength_max=np.inf, consistency_min=-np.inf, calibration="")
        worker = load_worker(replace(everything, encoders=(*preset.encoders, JUDGE)), device="cpu")
        index(files, worker, library, precision="standard")


def protocols(library: Library, judge: bool) -> list[StoredProtocol]:
    """The Protocols of both worlds, of the encoder that measures or of the judge."""
    known = [one for one in library.protocols.all() if (one.protocol.encoder == JUDGE) == judge]
    return sorted(known, key=lambda one: WORLDS.index(one.protocol.name))


def judged(library: Library) -> FindingsTable:
    """What the judge says of each world's images, as means over adapters."""
    rows: list[tuple[Value, ...]] = []
    for stored in protocols(library, judge=True):
        grid = known_grid(stored)
        judge = JudgedScenes(grid)
        found: list[tuple[float, ...]] = []
        adapters = library.adapters.all()
        for key in library.signatures.get(stored.protocol.digest, adapters):
            cells, entry = cells_of(library, grid, stored.protocol.digest, key), by_stem(adapters[key].name)
            assert cells is not None, "measured just now"
            kept = judge.single(cells)
            adapted, bare, prompts = cells.adapted[kept], cells.bare[kept], cells.prompts[kept]
            found.append(
                (
                    float(kept.mean()),
                    float(judge.seen(entry, bare, prompts).mean()),
                    float(judge.seen(entry, adapted, prompts).mean()),
                    float(judge.right(entry, adapted, prompts).mean()),
                )
            )
        rows.append((stored.protocol.name, len(found), *map(average, np.array(found).T)))
    columns = ("world", "adapters", "images judged", "effect seen, bare", "with the adapter", "scene kept")
    return FindingsTable(columns, tuple(rows))


def halves(library: Library) -> FindingsTable:
    """How alike Directions from one half of the prompts and from the other are: of one backbone, and of both."""
    known: dict[str, dict[str, tuple[np.ndarray, ...]]] = {}
    for stored in protocols(library, judge=False):
        grid, adapters = known_grid(stored), library.adapters.all()
        for key in library.signatures.get(stored.protocol.digest, adapters):
            cells = cells_of(library, grid, stored.protocol.digest, key)
            assert cells is not None, "measured just now"
            means = [cells.effects[cells.prompts % 2 == half].mean(0) for half in (0, 1)]
            units = tuple(mean / np.linalg.norm(mean) for mean in means)
            known.setdefault(adapters[key].name, {})[stored.protocol.name] = units
    one, two = WORLDS
    within = {name: np.array([worlds[name][0] @ worlds[name][1] for worlds in known.values()]) for name in WORLDS}
    pairs = [(worlds[one], worlds[two]) for worlds in known.values()]
    across = np.array([(a[0] @ b[1] + a[1] @ b[0]) / 2 for a, b in pairs])
    rows = [
        *((f"{name}, twice", average(values)) for name, values in within.items()),
        ("one of each", average(across)),
        ("what differs beyond the prompts", average(np.mean(list(within.values()), axis=0) - across)),
    ]
    return FindingsTable(("Directions from different prompts", "cosine"), tuple(rows))


def encoders(library: Library) -> FindingsTable:
    """The thresholds of each world by either encoder, and what those of the other encoder would hide."""
    figures: dict[tuple[str, bool], tuple[np.ndarray, np.ndarray]] = {}
    for judge in (False, True):
        for stored in protocols(library, judge):
            known = library.signatures.get(stored.protocol.digest, library.adapters.all()).values()
            strength = np.array([one.signature.strength for one in known])
            consistency = np.array([one.signature.consistency for one in known], dtype=float)
            figures[stored.protocol.name, judge] = strength, consistency
    rows: list[tuple[Value, ...]] = []
    for (name, judge), (strength, consistency) in figures.items():
        strongest, least = by_quantile(*figures[name, not judge])
        hidden = float(np.mean((strength > strongest) | (consistency < least)))
        medians = float(np.median(strength)), float(np.median(consistency))
        rows.append((name, "judge" if judge else "shipped", *medians, *by_quantile(strength, consistency), hidden))
    columns = ("world", "encoder", "median Strength", "median Consistency", "S_max", "C_min", "hidden by the other's")
    return FindingsTable(columns, tuple(rows))


def shown(found: FindingsTable) -> str:
    """A table in Markdown."""
    return table(found.columns, [list(map(plain_cell, row)) for row in found.rows])


def report(library: Library) -> str:
    """All tables in Markdown."""
    first, second = (Searcher(library, protocol=one.protocol.digest) for one in protocols(library, judge=False))
    parts = [
        machine(),
        f"### What the judge sees\n\n{shown(judged(library))}",
        f"### What is left of a Direction with other prompts\n\n{shown(halves(library))}",
        f"### Thresholds of either encoder\n\n{shown(encoders(library))}",
    ]
    for split in ("test", "dev"):
        findings = backbone_findings(first, second, load_queries("miniature", split=split))
        parts.append(f"## Queries of {split}\n\n{findings.about}")
        for section in findings.sections:
            assert section.table is not None, "each has one"
            parts.append(f"### {section.heading}\n\n{section.text}\n\n{shown(section.table)}")
    return "\n\n".join(parts)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="where measurements are kept; made if it does not exist")
    with Library(parser.parse_args().library, create=True) as library:
        measure(library)
        print(report(library))


if __name__ == "__main__":
    main()
