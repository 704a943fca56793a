"""How early measuring stops, and whether what it then says is true: replayed from the truth in random orders.

    python -m benchmarks.truth --library truth.db
    python -m benchmarks.stopping --library truth.db --signatures metrics.parquet --write docs/stopping.md

No image is made: every order of prompts and seeds is a grid of its own, whose cells the truth holds. Give the published
library, or a part of it, as --signatures for what its adapters would need by the rule of thumb.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import prior
from benchmarks.coverage import POPULATIONS, Size
from benchmarks.machine import describe
from benchmarks.replay import FIGURES, Coverage, Queries, Stop, Stops, losses, replay
from benchmarks.truth import World, read, truth_of
from lorascope import Grid, PromptSet
from lorascope.grid import Prompt
from lorascope.measure.stopping import crossed
from lorascope.protocol import PRECISIONS, Thresholds
from lorascope.signature import Estimate, cells_for

TITLE = "Stopping when the answer is known"
NOTE = (
    "Replayed from the whole grid of the shipped world in random orders; no image is made. Set `LORASCOPE_TRUTH` to"
    " the library that `python -m benchmarks.truth` fills. All of it: [stopping.md](stopping.md)."
)
GOALS = {"glance": (None, 0.06), "quick": (1 / 20, 0.03), "standard": (1 / 5, 0.01)}
"""By precision: the share of the grid for the median adapter that passes, and the loss of nDCG@5."""
ORDERS = 50


# --- the page ----------------------------------------------------------------------------------------------------


def strict(world: World) -> Thresholds:
    """Thresholds that hide about a quarter of the adapters on each side, so that screening has something to do."""
    return Thresholds(
        strength_max=float(np.quantile([one.signature.strength for one in world.adapters], 0.75)),
        consistency_min=float(np.quantile([one.signature.consistency or 0.0 for one in world.adapters], 0.25)),
    )


def report(library: Path, orders: int, synthetic: int, signatures: Path | None) -> str:
    """Everything, as Markdown."""
    world = read(library)
    queries = Queries(library, [one.name for one in world.adapters])
    parts = [
        f"# {TITLE}\n",
        "Written by `python -m benchmarks.stopping`; do not edit.\n",
        f"{len(world.adapters)} adapters of `{world.name}` with their whole grid of {len(world.grid):,} cells, each"
        f" measured in {orders} random orders of prompts and seeds; {describe()}.\n",
    ]
    for title, thresholds in (("The preset's thresholds", world.thresholds), ("Stricter thresholds", strict(world))):
        stops = replay(world, thresholds, orders)
        limits = f"Strength up to {thresholds.strength_max:.4g}, Consistency from {thresholds.consistency_min:.3g}.\n"
        parts += [f"## {title}\n", limits, _cells(world, thresholds, stops), _truths(stops), _widths(stops)]
        parts.append(_decisions(world, thresholds, stops))
        parts.append(_losses(queries, world, stops))
    if synthetic:
        parts += ["## Synthetic adapters\n", _synthetic(synthetic)]
    if signatures is not None:
        parts += ["## Published signatures\n", _theory(signatures)]
    parts += ["## What weights alone predict\n", prior.section(library)]
    return "\n".join(parts)


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
    note = "Cells used. *rule of thumb*: the median of cells used over those of cos = sqrt(C / (C + (1 - C)/n)).\n\n"
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
        kept = Coverage.of((stop.adapter, stop.cosine >= promised) for stop in settled) if settled else "–"
        last = [Coverage.of((stop.adapter, stop.held[figure]) for stop in found) for figure in FIGURES]
        ever = [Coverage.of((stop.adapter, stop.always[figure]) for stop in found) for figure in FIGURES]
        words = ("–", "–") if promised < 0 else (f"{promised:.2f}", kept)
        rows.append((name, *words, f"{np.median(cosines):.3f}", f"{np.percentile(cosines, 5):.3f}", *last, *ever))
    columns = ("precision", "cos promised", "kept", "cos median", "cos p5", *FIGURES)
    note = (
        "\nWhat is said and what is true. *kept*: the share of stops at which the cosine with the Direction of the"
        " whole grid reaches what is promised. Then the share of intervals that hold the truth, at the stop and at"
        " every look up to it. Significance with the adapters as units.\n\n"
    )
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
        wrongly = np.mean([said for true, said in says if not true])
        rightly = np.mean([said for true, said in says if true])
        rows.append((name, f"{wrongly:.1%}", f"{rightly:.0%}"))
    note = "\nWhat thresholds hide at the stop. The other filtered adapters are still undecided, and shown as such.\n\n"
    return note + table(("precision", "of those that pass, hidden", "of those filtered, hidden"), rows)


def _losses(queries: Queries, world: World, stops: Stops) -> str:
    rows: list[Sequence[object]] = []
    for name, found in stops.items():
        values = losses(queries, world, found)
        rows.append((name, f"{values.mean():+.4f}", f"{np.percentile(values, 95):+.4f}"))
    note = (
        "\nnDCG@5 lost on the shipped queries against Directions of the whole grid, all adapters ranked: mean and 95th"
        " percentile over orders.\n\n"
    )
    return note + table(("precision", "mean", "p95"), rows)


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
        found = replay(World(name, grid, Thresholds(), drawn), Thresholds(), 1)
        consistency = np.median([one.signature.consistency or 0.0 for one in drawn])
        for precision in ("quick", "standard"):
            stops = found[precision]
            kept = Coverage.of((stop.adapter, stop.cosine >= PRECISIONS[precision].agreement) for stop in stops)
            median, p90 = np.percentile([stop.cells for stop in stops], (50, 90))
            rows.append((name, f"{consistency:.3f}", precision, f"{median:.0f}", f"{p90:.0f}", kept))
    note = (
        f"{repeats} adapters of each population of `benchmarks/coverage.py`, on 280 prompts x 16 seeds in blocks of 32,"
        " without thresholds, each in one order: cells used, and how often the promised cosine was reached.\n\n"
    )
    return note + table(("population", "Consistency", "precision", "median", "p90", "kept"), rows)


def _theory(path: Path) -> str:
    import pyarrow.parquet

    columns = pyarrow.parquet.read_table(path, columns=["strength", "consistency"]).to_pydict()
    strength, consistency = (np.array(columns[name]) for name in ("strength", "consistency"))
    passes = (strength <= 9.8) & (consistency >= 0.041)
    rows: list[Sequence[object]] = []
    for name in ("quick", "standard"):
        for group, chosen in (("pass 9.8 and .041", passes), ("filtered", ~passes)):
            needed = [cells_for(value, PRECISIONS[name].agreement) for value in consistency[chosen]]
            shares = [f"{np.mean(np.array(needed) <= limit):.0%}" for limit in (32, 224, 896)]
            p10, median, p90 = np.percentile(needed, (10, 50, 90))
            rows.append((name, group, len(needed), f"{p10:.0f}", f"{median:.0f}", f"{p90:.0f}", *shares))
    note = (
        f"{len(strength)} published signatures: the cells at which cos(D_n, D) is what the precision asks for, by"
        " sqrt(C / (C + (1 - C)/n)), which holds on average. To be sure takes more: see *rule of thumb* above.\n\n"
    )
    columns_ = ("precision", "adapters that", "n", "p10", "median", "p90", "within 32", "within 224", "within 896")
    return note + table(columns_, rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


# --- rows for docs/performance.md --------------------------------------------------------------------------------


def missing() -> str:
    """Why this cannot run, or ""."""
    return "" if os.environ.get("LORASCOPE_TRUTH") else "LORASCOPE_TRUTH does not name the library of the truth"


def measure() -> Iterator[Any]:
    """The goals, as rows of the page on performance."""
    from benchmarks.harness import Figure, at_least, at_most

    path = Path(os.environ["LORASCOPE_TRUTH"])
    world = read(path)
    queries = Queries(path, [one.name for one in world.adapters])
    stops = replay(world, world.thresholds, ORDERS)
    passing = {one.name for one in world.adapters if not crossed(one.signature, world.thresholds)}
    for name, (share, loss) in GOALS.items():
        cells = [stop.cells for stop in stops[name] if stop.adapter in passing]
        p5, median, p95 = np.percentile(np.array(cells) / len(world.grid), (5, 50, 95))
        target = at_most(share) if share else None
        yield Figure(name=f"`{name}`: share of the grid", value=median, unit="", p5=p5, p95=p95, target=target)
        lost = losses(queries, world, stops[name])
        p5, p95 = np.percentile(lost, (5, 95))
        yield Figure(name=f"`{name}`: nDCG@5 lost", value=lost.mean(), unit="", p5=p5, p95=p95, target=at_most(loss))
        if share:
            promised = PRECISIONS[name].agreement
            kept = Coverage.of((stop.adapter, stop.cosine >= promised) for stop in stops[name] if not stop.screened)
            yield Figure(name=f"`{name}`: promise kept", value=kept.share, unit="", target=at_least(0.95))


def main() -> None:
    """Print the page, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True, help="what `python -m benchmarks.truth` measured")
    parser.add_argument("--orders", type=int, default=ORDERS, help=f"random orders of each adapter (default {ORDERS})")
    parser.add_argument("--synthetic", type=int, default=60, help="adapters of each synthetic population (default 60)")
    parser.add_argument("--signatures", type=Path, help="published signatures (parquet)")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    options = parser.parse_args()
    text = report(options.library, options.orders, options.synthetic, options.signatures)
    print(text)
    if options.write:
        options.write.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
