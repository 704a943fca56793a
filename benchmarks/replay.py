"""Measure adapters whose truth is known in random orders, without making an image, and judge the result."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.truth import Truth, World
from lorascope import Grid, Library, PromptSet, Searcher, Signature
from lorascope.evaluation import Corpus, load_queries
from lorascope.evaluation.measures import Qrels
from lorascope.measure.stopping import StoppingRule
from lorascope.precision import PRECISIONS, SCREENED
from lorascope.protocol import Thresholds
from lorascope.signature import Calibration, Effects, Estimate
from lorascope.signature.quantiles import t_quantile

COARSE = ("glance", "quick", "standard")
FIGURES = ("Direction", "Strength", "Consistency")


@dataclass(frozen=True)
class Stop:
    """Where measuring one adapter in one order stopped, and whether all that was said up to then holds the truth."""

    adapter: str
    order: int
    cells: int
    screened: bool
    signature: Signature
    cosine: float
    held: Mapping[str, bool]
    always: Mapping[str, bool]


Stops = Mapping[str, Sequence[Stop]]
"""By precision."""


def replay(world: World, thresholds: Thresholds, orders: int, *, calibrated: bool) -> Stops:
    """Measure every adapter in every order to every precision.

    Args:
        world: the truth.
        thresholds: what hides an adapter.
        orders: how many.
        calibrated: estimate Directions by a Calibration fitted on the first cells of the other adapters.
    """
    found: dict[str, list[Stop]] = defaultdict(list)
    for order in range(orders):
        grid, prompts, seeds = shuffled(world.grid, order)
        rules = [StoppingRule(PRECISIONS[name], thresholds, grid) for name in COARSE]
        for adapter in world.adapters:
            calibration = calibration_without(world, adapter, prompts, seeds) if calibrated else None
            path = OrderedPath(adapter, world.bare, grid, prompts, seeds, calibration)
            for rule in rules:
                found[rule.precision.name].append(_stop(path, rule, order))
    return found


def calibration_without(world: World, left_out: Truth, prompts: np.ndarray, seeds: np.ndarray) -> Calibration:
    """Fit a Calibration as a run would after ``quick``, but without one adapter."""
    first, taught = slice(len(world.grid.prompts)), slice(PRECISIONS["quick"].prompts)
    bare = world.bare[prompts, seeds]
    samples = (
        (one.effects[prompts[taught], seeds[taught]], bare[taught]) for one in world.adapters if one is not left_out
    )
    size = len(world.grid.prompts), len(world.grid.seeds)
    return Calibration.fit("replayed", samples, bare[first], prompts[first], size)


@dataclass
class OrderedPath:
    """One adapter in one order: its signature at every look, computed once for all rules that look alike."""

    adapter: Truth
    bare: np.ndarray
    grid: Grid
    prompts: np.ndarray
    seeds: np.ndarray
    calibration: Calibration | None

    def __post_init__(self) -> None:
        self._signatures: dict[tuple[int, int], Signature] = {}

    def signature(self, blocks: int, planned: int) -> Signature:
        """What is known after some blocks, with intervals that allow for the looks that are planned."""
        key = (blocks, planned)
        if key not in self._signatures:
            self._signatures[key] = self._after(blocks).signature(looks=planned, calibration=self.calibration)
        return self._signatures[key]

    def _after(self, blocks: int) -> Effects:
        effects = Effects(*self.adapter.effects.shape)
        cells = slice(blocks * self.grid.block_size)
        prompts, seeds = self.prompts[cells], self.seeds[cells]
        measured = self.adapter.effects[prompts, seeds]
        effects.add(prompts, measured, self.bare[prompts, seeds], noise_floor=self.adapter.noise_floor)
        return effects


def shuffled(grid: Grid, order: int) -> tuple[Grid, np.ndarray, np.ndarray]:
    """A grid of the same prompts and seeds in another order, and its cells as places in the first one."""
    rng = np.random.default_rng(order)
    prompts, seeds = rng.permutation(len(grid.prompts)), rng.permutation(len(grid.seeds))
    other = PromptSet(grid.prompts.name, tuple(grid.prompts.prompts[place] for place in prompts))
    # the seeds of the copy are places of seeds, so that its cells index the truth
    copy = Grid(other, tuple(seeds.tolist()), grid.block_size)
    cells = np.array(copy.cells)
    return copy, prompts[cells[:, 0]], cells[:, 1]


def _stop(path: OrderedPath, rule: StoppingRule, order: int) -> Stop:
    always = dict.fromkeys(FIGURES, True)
    for blocks in path.grid.looks:
        signature = path.signature(blocks, rule.looks)
        held, cosine = _held(signature, path.adapter.signature)
        always = {figure: always[figure] and held[figure] for figure in FIGURES}
        if rule.enough(lambda: [signature], blocks):  # noqa: B023 called at once
            break
    screened = rule.label(signature).startswith(SCREENED)
    return Stop(path.adapter.name, order, signature.cells, screened, signature, cosine, held, always)


def _held(found: Signature, true: Signature) -> tuple[dict[str, bool], float]:
    """Whether each interval holds the truth (one that says nothing does), and the cosine of the Directions."""
    lengths = np.linalg.norm(found.direction) * np.linalg.norm(true.direction)
    cosine = float(found.direction @ true.direction / lengths) if lengths > 0 else 0.0
    agreement = found.agreement
    return {
        "Direction": agreement is None or cosine >= agreement.lower,
        "Strength": _inside(found.grid.strength, true.strength),
        "Consistency": _inside(found.grid.consistency, true.consistency or 0.0),
    }, cosine


def _inside(estimate: Estimate | None, value: float) -> bool:
    return estimate is None or estimate.lower <= value <= estimate.upper


@dataclass(frozen=True)
class IntervalCoverage:
    """A share of intervals that held, with adapters as the units: orders of one adapter are no independent samples."""

    share: float
    error: float
    adapters: int

    @classmethod
    def of(cls, rows: Iterable[tuple[str, bool]]) -> IntervalCoverage:
        """From adapter and outcome."""
        groups: dict[str, list[bool]] = defaultdict(list)
        for name, held in rows:
            groups[name].append(held)
        shares = np.array([np.mean(group) for group in groups.values()])
        error = float(shares.std(ddof=1) / math.sqrt(len(shares))) if len(shares) > 1 else 0.0
        return cls(float(shares.mean()), error, len(shares))

    @property
    def upper(self) -> float:
        """The upper limit of a one-sided 95% interval."""
        return self.share + self.error * (t_quantile(0.95, self.adapters - 1) if self.adapters > 1 else 0.0)

    def __str__(self) -> str:
        return f"{self.share:.1%}{'' if self.upper >= 0.95 else ' (significantly below 95%)'}"


class Queries:
    """The shipped queries, and how well Directions answer them."""

    def __init__(self, library: Path) -> None:
        with Library(library) as opened:
            searcher = Searcher(opened)
            queries = [query for query in load_queries("miniature") if query.split != "fresh"]  # these are for reports
            corpus = Corpus.of(searcher)
            self._names = corpus.names
            self._qrels = Qrels(corpus, queries)
            self._vectors = np.stack([searcher.vector(query.text) for query in queries])

    def ndcg5(self, signatures: Mapping[str, Signature]) -> float:
        """Mean nDCG@5 over the queries, of a ranking by cosine; every adapter of the library has a signature."""
        scores = self._scores({name: signature.direction for name, signature in signatures.items()})
        return float(self._qrels.main(scores).mean())

    def kept(self, found: Mapping[str, np.ndarray], whole: Mapping[str, np.ndarray], best: int) -> float:
        """The share of the best so many adapters of each query, by some Directions, that are so by others."""
        ranked = [np.argsort(-self._scores(directions), axis=1)[:, :best] for directions in (found, whole)]
        return float(np.mean([len(set(one) & set(other)) / best for one, other in zip(*ranked, strict=True)]))

    def _scores(self, directions: Mapping[str, np.ndarray]) -> np.ndarray:
        rows = np.stack([directions[name] for name in self._names])
        return self._vectors @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T


def losses(queries: Queries, world: World, stops: Sequence[Stop]) -> np.ndarray:
    """What stopping costs in nDCG@5 with every adapter ranked, order by order."""
    best = queries.ndcg5({one.name: one.signature for one in world.adapters})
    orders = sorted({stop.order for stop in stops})
    return np.array(
        [
            best - queries.ndcg5({stop.adapter: stop.signature for stop in stops if stop.order == order})
            for order in orders
        ]
    )
