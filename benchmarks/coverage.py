"""How often the intervals of a signature hold the truth, on synthetic adapters whose truth is known.

    python benchmarks/coverage.py --repeats 400
    python benchmarks/coverage.py --population "heavy norms" --dim 512

Every repeat draws a full grid of effects, measures it in the real order of cells, and compares the intervals after
32, 64, ... cells with the figures of the full grid ("grid") and with those of all grids of the population ("new").
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lorascope.grid import Grid, Prompt, PromptSet
from lorascope.moments import Moments
from lorascope.signature import Accuracy, Estimate, Signature

CONFIDENCE = 0.95
FIGURES = ("strength", "consistency", "agreement")


@dataclass(frozen=True)
class Size:
    """The grid, and after how many cells to look."""

    prompts: int = 280
    seeds: int = 16
    dim: int = 64
    categories: int = 10
    looks: tuple[int, ...] = (32, 64, 128, 256, 288, 416, 560, 1120)


@dataclass(frozen=True)
class Population:
    """Adapters of one kind: e = norm * (mean + prompt + seed + prompt-and-seed), of total variance 1.

    Attributes:
        consistency: about C.
        decay: eigenvalues of the variance fall as rank ** -decay.
        between: the share of the variance that all seeds of a prompt have in common.
        by_seed: the share that all prompts of a seed have in common.
        tail: the spread of the logarithm of a prompt's and of a cell's norm.
        acting: the share of prompts on which the adapter does anything.
        whole_categories: whether those prompts are whole categories, or any by chance.
        rare: the share of prompts on which a second effect, of ``rare_norm`` in a direction of its own, is added.
        rare_norm: how strong it is beside the common one, whose norm is about 1.
        neighbours: whether those prompts follow each other, as a sub-category or category does.
    """

    consistency: float
    decay: float = 0.7
    between: float = 0.5
    by_seed: float = 0.0
    tail: float = 0.0
    acting: float = 1.0
    whole_categories: bool = True
    rare: float = 0.0
    rare_norm: float = 0.0
    neighbours: bool = False

    def draw(self, rng: np.random.Generator, size: Size) -> np.ndarray:
        """The effects of one adapter, (prompts, seeds, dim)."""
        prompts, seeds, dim = size.prompts, size.seeds, size.dim
        variances = np.arange(1.0, dim + 1.0) ** -self.decay
        scale = np.sqrt(variances / variances.sum())
        fixed = np.random.default_rng(0)  # one mean and one set of seeds for the whole population
        mean = fixed.standard_normal(dim) * np.sqrt(scale)
        mean *= math.sqrt(self.consistency / (1.0 - self.consistency)) / np.linalg.norm(mean)
        seed_part = fixed.standard_normal((1, seeds, dim)) * math.sqrt(self.by_seed)
        prompt_part = rng.standard_normal((prompts, 1, dim)) * math.sqrt(self.between)
        rest = rng.standard_normal((prompts, seeds, dim)) * math.sqrt(1.0 - self.between - self.by_seed)
        norms = rng.standard_normal((prompts, 1, 1)) + rng.standard_normal((prompts, seeds, 1))
        effects = np.exp(self.tail * norms / math.sqrt(2.0)) * (mean + scale * (seed_part + prompt_part + rest))
        position = np.linspace(0.0, 1.0, prompts, endpoint=False) if self.whole_categories else rng.random(prompts)
        effects[position >= self.acting] = 0.0
        if self.rare:
            count = max(1, round(self.rare * prompts))
            start = rng.integers(prompts // count) * count
            chosen = np.arange(start, start + count) if self.neighbours else rng.permutation(prompts)[:count]
            effects /= np.linalg.norm(effects, axis=-1).mean()
            direction = rng.standard_normal(dim)
            effects[chosen] += self.rare_norm * direction / np.linalg.norm(direction)
        return effects


POPULATIONS = {
    "C 0.03": Population(0.03),
    "C 0.1": Population(0.1),
    "C 0.5": Population(0.5),
    "all directions": Population(0.05, decay=0.0),
    "few directions": Population(0.05, decay=1.5),
    "prompts differ": Population(0.1, between=0.9),
    "seeds differ": Population(0.1, between=0.1),
    "seeds in common": Population(0.1, between=0.3, by_seed=0.2),
    "uneven norms": Population(0.1, tail=0.3),
    "heavy norms": Population(0.1, tail=0.8),
    "heavy, C 0.5": Population(0.5, tail=0.8),
    "3 of 10 categories": Population(0.3, tail=0.3, acting=0.3),
    "30% of prompts": Population(0.3, tail=0.3, acting=0.3, whole_categories=False),
    "10% of prompts": Population(0.3, tail=0.3, acting=0.1, whole_categories=False),
    "80% of prompts": Population(0.3, tail=0.3, acting=0.8, whole_categories=False),
    "rare 8 on 1%": Population(0.5, rare=0.01, rare_norm=8.0),
    "rare 8 on 3%": Population(0.5, rare=0.03, rare_norm=8.0),
    "rare 8 on 5%": Population(0.5, rare=0.05, rare_norm=8.0),
    "rare 12 on 3%": Population(0.5, rare=0.03, rare_norm=12.0),
    "rare 12 on 10%": Population(0.5, rare=0.1, rare_norm=12.0),
    "rare 12, one group": Population(0.5, rare=1 / 35, rare_norm=12.0, neighbours=True),
    "rare 8, one category": Population(0.5, rare=0.1, rare_norm=8.0, neighbours=True),
}


class CoverageRow(NamedTuple):
    """How one interval did."""

    population: str
    cells: int
    truth: str
    figure: str
    mean: float
    known: int
    covered: int
    width: float
    error: float

    @property
    def luck(self) -> float:
        """The probability of so few hits if each interval held with its confidence: an exact binomial tail."""
        return sum(
            math.comb(self.known, k) * CONFIDENCE**k * (1.0 - CONFIDENCE) ** (self.known - k)
            for k in range(self.covered + 1)
        )


class KnownFigures(NamedTuple):
    """S, C and D."""

    strength: float
    consistency: float
    direction: np.ndarray

    def of(self, figure: str, direction: np.ndarray) -> float:
        """The value that the interval of a figure should hold, for a sample with this Direction."""
        if figure == "agreement":
            return float(direction @ self.direction / np.linalg.norm(direction) / np.linalg.norm(self.direction))
        return float(getattr(self, figure))


def cover(name: str, size: Size, repeats: int, seed: int) -> list[CoverageRow]:
    """Measure ``repeats`` adapters of a population, and count the intervals that hold the truth."""
    rng = np.random.default_rng(seed)
    names = (str(index * size.categories // size.prompts) for index in range(size.prompts))
    prompts = PromptSet("synthetic", tuple(Prompt(f"{i}", category, "") for i, category in enumerate(names)))
    cells = np.array(Grid(prompts, tuple(range(size.seeds)), 32).cells)
    truths: list[KnownFigures] = []
    signatures: list[dict[int, Signature]] = []
    for _ in range(repeats):
        effects = POPULATIONS[name].draw(rng, size)
        stages = dict(_stages(effects, cells, (*size.looks, len(cells))))
        whole = stages.pop(len(cells))
        truths.append(KnownFigures(whole.strength, whole.consistency or 0.0, whole.direction))
        signatures.append(stages)
    mean = KnownFigures(
        float(np.mean([truth.strength for truth in truths])),
        float(np.mean([truth.consistency for truth in truths])),
        np.mean([truth.direction for truth in truths], axis=0),
    )
    rows = (
        _row((name, look, label, figure), [stages[look] for stages in signatures], against)
        for look in size.looks
        for label, against in (("grid", truths), ("new", [mean] * repeats))
        for figure in FIGURES
    )
    return [row for row in rows if row is not None]


def _stages(effects: np.ndarray, cells: np.ndarray, looks: Sequence[int]) -> Iterator[tuple[int, Signature]]:
    moments, done = Moments.empty(*effects.shape), 0
    for look in looks:
        prompt, seed = cells[done:look].T
        moments.add(prompt, effects[prompt, seed])
        done = look
        yield look, Signature.from_moments(moments, confidence=CONFIDENCE)


def _row(
    label: tuple[str, int, str, str], signatures: list[Signature], truths: list[KnownFigures]
) -> CoverageRow | None:
    _, _, truth_name, figure = label
    found: list[tuple[Estimate, float]] = []
    for signature, truth in zip(signatures, truths, strict=True):
        accuracy: Accuracy = signature.grid if truth_name == "grid" else signature.new_prompts
        estimate = getattr(accuracy, figure)
        if estimate is not None:
            found.append((estimate, truth.of(figure, signature.direction)))
    if not found:
        return None
    covered = sum(estimate.lower <= value <= estimate.upper for estimate, value in found)
    mean = float(np.mean([value for _, value in found]))
    if figure == "agreement":
        width = float(np.median([value - estimate.lower for estimate, value in found]))
        error = float(np.std([value for _, value in found]))
    else:
        width = float(np.median([estimate.upper - estimate.lower for estimate, _ in found]))
        error = float(np.std([estimate.value - value for estimate, value in found]))
    return CoverageRow(*label, mean=mean, known=len(found), covered=covered, width=width, error=error)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400, help="adapters of each population (default 400)")
    parser.add_argument("--population", choices=POPULATIONS, help="only this one")
    parser.add_argument("--dim", type=int, default=64, help="dimensions of an effect (default 64)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chosen = [options.population] if options.population else list(POPULATIONS)
    print("width: median length of the interval; for agreement, from its lower limit to the truth")
    print("error: standard deviation of estimate - truth; for agreement, of the truth")
    print("*: so few hits are less likely than 1 in 1,000 at 95%\n")
    print("| population | cells | truth | figure | true value | known | coverage | width | error |")
    print("|---|---|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(options.workers) as pool:
        size = Size(dim=options.dim)
        jobs = [
            pool.submit(cover, name, size, options.repeats, options.seed + index) for index, name in enumerate(chosen)
        ]
        for job in jobs:
            for row in job.result():
                mark = "*" if row.luck < 1e-3 else ""
                print(
                    f"| {row.population} | {row.cells} | {row.truth} | {row.figure} | {row.mean:.4f} | {row.known} "
                    f"| {row.covered / row.known:.3f}{mark} | {row.width:.4f} | {row.error:.4f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
