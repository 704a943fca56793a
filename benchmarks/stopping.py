"""How early measuring stops, and whether what it then says is true: replayed from the truth in random orders.

    python -m benchmarks.truth --library truth.db --sample
    LORASCOPE_TRUTH=truth.db LORASCOPE_PUBLISHED=metrics.parquet python -m benchmarks stopping

Writes docs/stopping.md and benchmarks/data/sums.npz. No image is made: every order of prompts and seeds is a grid of
its own, whose cells the truth holds. The second file is the published library, or a part of it, for what its adapters
would need by the rule of thumb.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import sums
from benchmarks.coverage import POPULATIONS, Size
from benchmarks.machine import describe
from benchmarks.markdown import table
from benchmarks.replay import (
    FIGURES,
    IntervalCoverage,
    OrderedPath,
    Queries,
    Stop,
    Stops,
    calibration_without,
    losses,
    replay,
    shuffled,
)
from benchmarks.truth import World, read, sample, truth_of
from lorascope import Grid, PromptSet
from lorascope.grid import Prompt
from lorascope.measure.stopping import crossed
from lorascope.precision import PRECISIONS
from lorascope.protocol import Thresholds
from lorascope.signature import Estimate, cells_for

GOALS = {"glance": (None, 0.06), "quick": (96, 0.03), "standard": (128, 0.01)}
"""By precision: the cells for the median adapter that passes, and the loss of nDCG@5."""
FIRST_CELLS = {8: 0.92, 16: 0.95, 32: 0.97, 64: None, 96: None, 128: None}
"""After so many cells: the median cosine with the Direction of the whole grid that was aimed at."""
SUMS = Path("benchmarks/data/sums.npz")
ORDERS = 50
"""Random orders of each adapter."""
SYNTHETIC = 60
"""Adapters of each synthetic population."""
Losses = Mapping[str, np.ndarray]
"""By precision: nDCG@5 lost, order by order."""
_FILES = {
    "LORASCOPE_TRUTH": "the library that `python -m benchmarks.truth` fills",
    "LORASCOPE_PUBLISHED": "published signatures (parquet)",
}


def missing() -> str:
    """Why this cannot run here, or ""."""
    lacking = [
        f"{name} does not name {what}" for name, what in _FILES.items() if not Path(os.environ.get(name, "")).is_file()
    ]
    return ", ".join(lacking)


def strict(world: World) -> Thresholds:
    """Thresholds that hide about a quarter of the adapters on each side, so that screening has something to do."""
    return Thresholds(
        strength_max=float(np.quantile([one.signature.strength for one in world.adapters], 0.75)),
        consistency_min=float(np.quantile([one.signature.consistency or 0.0 for one in world.adapters], 0.25)),
    )


_LEGEND = """\
*rule of thumb*: the median of cells used over those of cos = sqrt(C / (C + (1 - C)/n)). *kept*: the share of stops at
which the cosine with the Direction of the whole grid reaches what is promised. The columns after it: the share of
intervals that hold the truth, at the stop and at every look up to it. Adapters are the independent units, not their
orders: even 100% of 25 adapters leaves room for a true share of 89% (one-sided, 95%), so these tables can show that an
interval is too narrow, but not that it is never so. Significance is over adapters. The last three columns are below
those before them where an earlier look, at which nothing was decided, missed the truth.
Filtered adapters that are not hidden at the stop are undecided, and shown as such. nDCG@5 lost: on the shipped
queries, against Directions of the whole grid, all adapters ranked; mean and 95th percentile over orders.
"""


def report() -> str:
    """Everything, as Markdown."""
    library, published = (Path(os.environ[name]) for name in _FILES)
    world = read(library)
    queries = Queries(library)
    parts = [
        "# Stopping when the answer is known\n",
        "Written by `python -m benchmarks stopping`; do not edit.\n",
        f"{len(world.adapters)} adapters of `{world.name}` with their whole grid of {len(world.grid):,} cells, each"
        f" measured in {ORDERS} random orders of prompts and seeds; {describe()}.\n",
        _sample(world),
    ]
    plain = replay(world, world.thresholds, ORDERS, calibrated=False)
    stops = replay(world, world.thresholds, ORDERS, calibrated=True)
    lost = _lost(queries, world, stops)
    parts += ["## Goals\n", _goals(world, stops, plain, lost)]
    parts += ["## First looks\n", _first_looks(world)]
    parts += ["## How to read the tables\n", _LEGEND]
    parts += ["## The preset's thresholds\n", *_under(world, world.thresholds, stops, lost)]
    parts += ["## The same by the plain mean\n", _cells(world, world.thresholds, plain), _truths(plain)]
    stops = replay(world, strict(world), ORDERS, calibrated=True)
    parts += ["## Stricter thresholds\n", *_under(world, strict(world), stops, _lost(queries, world, stops))]
    parts += ["## Synthetic adapters\n", _synthetic(SYNTHETIC)]
    parts += ["## Published signatures\n", _theory(published)]
    sums.write(sums.Sums.of(replace(world, adapters=world.adapters[::2])), SUMS)
    parts += ["## The truth, prompt by prompt\n", sums.LAYOUT]
    return "\n".join(parts)


def _sample(world: World) -> str:
    """Which adapters these are, and by which rule they were drawn."""
    rule = "every adapter whose effect is bound to some content, and every fourth of the others by name"
    names = {one.name for one in world.adapters}
    drawn = rule if names == set(sample()) else f"not the sample of `python -m benchmarks.truth --sample` ({rule})"
    return f"The adapters: {', '.join(sorted(names))}; {drawn}.\n"


def _lost(queries: Queries, world: World, stops: Stops) -> Losses:
    return {name: losses(queries, world, found) for name, found in stops.items()}


def _under(world: World, thresholds: Thresholds, stops: Stops, lost: Losses) -> list[str]:
    """All tables about stopping under some thresholds."""
    limits = f"Strength up to {thresholds.strength_max:.4g}, Consistency from {thresholds.consistency_min:.3g}.\n"
    tables = [_cells(world, thresholds, stops), _truths(stops), _widths(stops), _decisions(world, thresholds, stops)]
    return [limits, *tables, _losses(lost)]


def _goals(world: World, stops: Stops, plain: Stops, lost: Losses) -> str:
    """What the project set itself, under the preset's thresholds, and what the plain mean takes in the same orders."""
    passing = {one.name for one in world.adapters if not crossed(one.signature, world.thresholds)}
    rows: list[Sequence[object]] = []
    for name, (limit, most) in GOALS.items():
        cells, before = (
            float(np.median([stop.cells for stop in found[name] if stop.adapter in passing]))
            for found in (stops, plain)
        )
        mean = float(lost[name].mean())
        goal = ("–", "") if limit is None else (limit, _met(cells <= limit))
        rows.append((name, f"{before:.0f}", f"{cells:.0f}", *goal, f"{mean:+.4f}", f"{most:.2f}", _met(mean <= most)))
    note = (
        "Cells for the median adapter that passes the preset's thresholds, by the plain mean and by regression, and"
        " nDCG@5 lost, mean over orders. Both estimators look at as many prompts before they stop.\n\n"
    )
    columns = ("precision", "mean", "regression", "at most", "met", "nDCG@5 lost", "at most", "met")
    return note + table(columns, rows)


def _first_looks(world: World) -> str:
    """How near Directions are after a number of cells, by both estimators."""
    found: dict[int, list[tuple[float, float]]] = {cells: [] for cells in FIRST_CELLS}
    for order in range(ORDERS):
        grid, prompts, seeds = shuffled(world.grid, order)
        whole = Grid(grid.prompts, grid.seeds, min(FIRST_CELLS))
        for one in world.adapters:
            if np.linalg.norm(one.signature.direction) > 0.0:
                calibration = calibration_without(world, one, prompts, seeds)
                paths = [OrderedPath(one, world.bare, whole, prompts, seeds, used) for used in (None, calibration)]
                for cells, cosines in found.items():
                    directions = (path.signature(cells // whole.block_size, 1).direction for path in paths)
                    mean, regression = (_cosine(direction, one.signature.direction) for direction in directions)
                    cosines.append((mean, regression))
    rows: list[Sequence[object]] = []
    for cells, cosines in found.items():
        mean, regression = np.array(cosines).T
        goal = FIRST_CELLS[cells]
        aim = ("–", "") if goal is None else (f"{goal:.2f}", _met(bool(np.median(regression) >= goal)))
        both = ((np.median(each), *np.percentile(each, (10,))) for each in (mean, regression))
        rows.append((cells, *(f"{median:.3f} ({low:.2f})" for median, low in both), *aim))
    note = (
        "Cosine with the Direction of the whole grid after a number of cells: median, and 10th percentile in brackets."
        f" The Calibration is fitted on the first {PRECISIONS['quick'].prompts} cells of the other adapters and"
        f" {len(world.grid.prompts)} bare cells of the same order.\n\n"
    )
    return note + table(("cells", "mean", "regression", "aim", "met"), rows)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def _met(reached: bool) -> str:
    return "yes" if reached else "**no**"


def _cells(world: World, thresholds: Thresholds, stops: Stops) -> str:
    passing = {one.name for one in world.adapters if not crossed(one.signature, thresholds)}
    needed = {one.name: one.signature.consistency or 0.0 for one in world.adapters}
    rows: list[Sequence[object]] = []
    for name, found in stops.items():
        for group, members in (("pass", passing), ("filtered", set(needed) - passing)):
            chosen = [stop for stop in found if stop.adapter in members]
            if chosen:
                rows.append(
                    (name, group, len(members), *_spread(chosen, len(world.grid)), _thumb(name, chosen, needed))
                )
    note = "Cells used.\n\n"
    columns = ("precision", "adapters that", "n", "median", "p90", "most", "median share", "p90 share", "screened")
    return note + table((*columns, "rule of thumb"), rows)


def _spread(stops: Sequence[Stop], whole: int) -> tuple[object, ...]:
    cells = np.array([stop.cells for stop in stops])
    median, p90 = np.percentile(cells, (50, 90))
    screened = np.mean([stop.screened for stop in stops])
    return f"{median:.0f}", f"{p90:.0f}", cells.max(), f"{median / whole:.1%}", f"{p90 / whole:.1%}", f"{screened:.0%}"


def _thumb(precision: str, stops: Sequence[Stop], consistency: Mapping[str, float]) -> str:
    agreement = PRECISIONS[precision].agreement
    if not 0 < agreement < 1:
        return ""
    found = [stop.cells / cells_for(consistency[stop.adapter], agreement) for stop in stops if not stop.screened]
    return f"{np.median(found):.1f}" if found else ""


def _truths(stops: Stops) -> str:
    rows: list[Sequence[object]] = []
    for name, found in stops.items():
        settled = [stop for stop in found if not stop.screened]
        cosines = [stop.cosine for stop in settled] or [math.nan]
        promised = PRECISIONS[name].agreement
        kept = IntervalCoverage.of((stop.adapter, stop.cosine >= promised) for stop in settled) if settled else "–"
        last = [IntervalCoverage.of((stop.adapter, stop.held[figure]) for stop in found) for figure in FIGURES]
        ever = [IntervalCoverage.of((stop.adapter, stop.always[figure]) for stop in found) for figure in FIGURES]
        words = ("–", "–") if promised < 0 else (f"{promised:.2f}", kept)
        rows.append((name, *words, f"{np.median(cosines):.3f}", f"{np.percentile(cosines, 5):.3f}", *last, *ever))
    columns = ("precision", "cos promised", "kept", "cos median", "cos p5", *FIGURES)
    note = "\nPromises kept, and intervals that hold the truth.\n\n"
    return note + table((*columns, *(f"{figure}, every look" for figure in FIGURES)), rows)


def _widths(stops: Stops) -> str:
    rows: list[Sequence[object]] = []
    for name, found in stops.items():
        half: dict[str, list[float]] = {"strength": [], "consistency": []}
        for stop in found:
            for figure, values in half.items():
                estimate: Estimate | None = getattr(stop.signature.grid, figure)
                if estimate is not None and estimate.value > 0:
                    values.append((estimate.upper - estimate.lower) / 2 / estimate.value)
        rows.append((name, *(f"± {np.median(values):.0%}" if values else "–" for values in half.values())))
    return "\nHalf the width of intervals at the stop, median.\n\n" + table(
        ("precision", "Strength", "Consistency"), rows
    )


def _decisions(world: World, thresholds: Thresholds, stops: Stops) -> str:
    hidden = {one.name: bool(crossed(one.signature, thresholds)) for one in world.adapters}
    rows: list[Sequence[object]] = []
    for name, found in stops.items():
        says = [(hidden[stop.adapter], bool(crossed(stop.signature, thresholds))) for stop in found]
        wrongly = [said for true, said in says if not true]
        rightly = [said for true, said in says if true]
        shares = (f"{np.mean(wrongly):.1%}" if wrongly else "–", f"{np.mean(rightly):.0%}" if rightly else "–")
        rows.append((name, *shares))
    note = "\nHidden by thresholds at the stop.\n\n"
    return note + table(("precision", "of those that pass, hidden", "of those filtered, hidden"), rows)


def _losses(lost: Losses) -> str:
    rows = [(name, f"{values.mean():+.4f}", f"{np.percentile(values, 95):+.4f}") for name, values in lost.items()]
    return "\nnDCG@5 lost.\n\n" + table(("precision", "mean", "p95"), rows)


def _synthetic(repeats: int) -> str:
    """The same for adapters drawn from distributions, most of them far less consistent than the shipped ones."""
    size = Size()
    names = [str(place * size.categories // size.prompts) for place in range(size.prompts)]
    prompts = PromptSet("synthetic", tuple(Prompt(f"{place}", name, "") for place, name in enumerate(names)))
    grid = Grid(prompts, tuple(range(size.seeds)), 32)
    rows: list[Sequence[object]] = []
    for name, population in POPULATIONS.items():
        rng = np.random.default_rng(0)
        drawn = tuple(truth_of(str(place), population.draw(rng, size)) for place in range(repeats))
        bare = rng.standard_normal(drawn[0].effects.shape)
        world = World(name, grid, Thresholds(), drawn, bare)
        consistency = np.median([one.signature.consistency or 0.0 for one in drawn])
        for calibrated in (False, True):
            found = replay(world, Thresholds(), 1, calibrated=calibrated)
            for precision in ("quick", "standard"):
                stops = found[precision]
                kept = [(stop.adapter, stop.cosine >= PRECISIONS[precision].agreement) for stop in stops]
                held = [
                    IntervalCoverage.of((stop.adapter, stop.held[figure]) for stop in stops) for figure in FIGURES[1:]
                ]
                median, p90 = np.percentile([stop.cells for stop in stops], (50, 90))
                estimator = "regression" if calibrated else "mean"
                label = (name, f"{consistency:.3f}", precision, estimator)
                rows.append((*label, f"{median:.0f}", f"{p90:.0f}", IntervalCoverage.of(kept), *held))
    note = (
        f"{repeats} adapters of each population of `benchmarks/coverage.py`, on 280 prompts x 16 seeds in blocks of 32,"
        " without thresholds, each in one order: cells used, how often the promised cosine was reached, and how often"
        " the intervals held at the stop. No effect depends on a bare image here, so a Calibration has nothing to tell:"
        " the rows of the regression show what it costs.\n\n"
    )
    columns = ("population", "Consistency", "precision", "estimator", "median", "p90", "kept")
    return note + table((*columns, *FIGURES[1:]), rows)


def _theory(path: Path) -> str:
    import pyarrow.parquet

    columns = pyarrow.parquet.read_table(path, columns=["strength", "consistency"]).to_pydict()
    strength, consistency = (np.array(columns[name]) for name in ("strength", "consistency"))
    passes = (strength <= 9.8) & (consistency >= 0.041)
    rows: list[Sequence[object]] = []
    for name in ("quick", "standard"):
        for group, chosen in (("pass 9.8 and 0.041", passes), ("filtered", ~passes)):
            needed = [cells_for(value, PRECISIONS[name].agreement) for value in consistency[chosen]]
            shares = [f"{np.mean(np.array(needed) <= limit):.0%}" for limit in (32, 224, 896)]
            p10, median, p90 = np.percentile(needed, (10, 50, 90))
            rows.append((name, group, len(needed), f"{p10:.0f}", f"{median:.0f}", f"{p90:.0f}", *shares))
    note = (
        f"{len(strength)} published signatures: the cells at which cos(D_n, D) is what the precision asks for by the"
        " rule of thumb, which holds on average. Stopping takes more: the column *rule of thumb* above says how"
        " much.\n\n"
    )
    columns_ = ("precision", "adapters that", "n", "p10", "median", "p90", "within 32", "within 224", "within 896")
    return note + table(columns_, rows)
