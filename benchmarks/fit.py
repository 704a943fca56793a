"""Whether `lorascope fit` is right about other base models, on the shipped world.

    python -m benchmarks.fit LIBRARY

Adapters are measured on the base that ships and on the two that were trained on from it, on drawings and on nights. The
world's independent judge says how much more probable it finds their effect with the adapter than without it on each
base, which makes the truth: an effect is kept where at least half of that gain is left, and lost otherwise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.judged import JUDGE, JudgedScenes, judged_preset
from benchmarks.machine import describe as machine
from benchmarks.markdown import print_report
from lorascope import Library
from lorascope.analysis import BaseFit, base_fit
from lorascope.analysis.blocks import BlockMeasurement
from lorascope.analysis.cells import Cells, cells_of, known_grid
from lorascope.measure import index, load_worker
from lorascope.measure.measurement import Measurement
from lorascope.miniature import adapters_path
from miniature.catalogue import by_stem

BASES = ("base", "bases/sketch", "bases/dusk")
ADAPTERS = ("pencil_sketch_v1", "noir_look", "after_dark", "golden_hour_light", "royal", "party_time")
CELLS = 32
_HALF = 0.5


def report(path: Path) -> str:
    """A table in Markdown."""
    with Library(path, create=True) as library:
        fits, gains = _measured(library)
    lines = [f"{len(ADAPTERS)} adapters, {CELLS} images of each on each base; {machine()}.", ""]
    lines += ["| adapter | base | cosine | effect kept | judge | in words | |", "|---|---|---|---|---|---|---|"]
    right, told = 0, 0
    for name in ADAPTERS:
        for base in BASES[1:]:
            fit, true = fits[name, base], gains[name, base] / gains[name, BASES[0]]
            holds = (fit.verdict in ("keeps", "weakens")) == (true >= _HALF)
            agrees = "" if fit.verdict == "unknown" else "right" if holds else "wrong"
            right, told = right + (agrees == "right"), told + bool(agrees)
            cosine = "–" if fit.cosine is None else f"{fit.cosine.value:.2f}"
            kept = "–" if fit.kept is None else f"{fit.kept.value:.2f} ({fit.kept.lower:.2f} to {fit.kept.upper:.2f})"
            lines.append(f"| {name} | {Path(base).name} | {cosine} | {kept} | {true:.2f} | {fit.sentence} | {agrees} |")
    return "\n".join([*lines, "", f"Right in {right} of {told}; of {2 * len(ADAPTERS) - told} nothing was said."])


def _measured(library: Library) -> tuple[dict[tuple[str, str], BaseFit], dict[tuple[str, str], float]]:
    """What fit says of each adapter on each base, and by how much the judge finds its effect more probable there."""
    fits: dict[tuple[str, str], BaseFit] = {}
    gains: dict[tuple[str, str], float] = {}
    home: dict[str, Cells] = {}
    judge: JudgedScenes | None = None
    for base in BASES:
        preset = judged_preset(f"package:miniature/{base}")
        worker = load_worker(preset, device="cpu")
        if not home:
            index([adapters_path() / f"{name}.safetensors" for name in ADAPTERS], worker, library, precision="glance")
        stored = next(one for one in library.protocols.all() if one.protocol.encoder == preset.encoders[0])
        grid = known_grid(stored)
        judge = judge or JudgedScenes(grid)
        measurement = Measurement(worker, library)
        blocks = BlockMeasurement(measurement, stored, CELLS)
        theirs = next(one for one in measurement.protocols if one.encoder == JUDGE).digest
        for name in ADAPTERS:
            adapter = library.adapters.find(name)
            cells = blocks.cells(adapter, lambda adapter, count: None)
            coverage = blocks.coverage(adapter)
            fits[name, base] = base_fit(base, cells, home.setdefault(name, cells), coverage.matched, coverage.total)
            images = cells_of(library, grid, theirs, adapter.key, grid.blocks_for(CELLS))
            assert images is not None
            gains[name, base] = _gain(judge, name, images)
            print(name, base, fits[name, base].sentence, f"{gains[name, base]:.2f}", flush=True)
    return fits, gains


def _gain(judge: JudgedScenes, name: str, images: Cells) -> float:
    """How much more probable the judge finds the effect with the adapter than without it."""
    entry = by_stem(name)
    one = np.array([judge.scenes[prompt] is not None for prompt in images.prompts.tolist()])
    with_it, without = (judge.seen(entry, rows[one], images.prompts[one]) for rows in (images.adapted, images.bare))
    return float(np.mean(with_it - without))


if __name__ == "__main__":
    print_report(__doc__, report, "where measurements are kept; made if it does not exist")
