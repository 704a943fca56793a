"""Three ways to spend fewer images that were tried and left out, and what they would have given on the shipped world.

    python -m benchmarks.trials LIBRARY --truth truth.db

*Fewer steps*: effects of the same cells in one and two of the four steps, as a second control variate. What it can save
follows from the share of the variance of full effects that a regression on cheap ones explains, and from their cost
(Giles, *Multilevel Monte Carlo methods*, 2015, section 1.2, with the best number of cheap cells).

*A first guess from weights*: each adapter's Direction and Strength from those of the other adapters, weighted by how
alike the changes of the weights are. LIBRARY holds the shipped adapters, measured.

*A prior for rankings*: the posterior mean of a Direction under a normal prior, whose covariance is half that of the
other adapters' Directions and half the identity. Judged by what a search shows: the share of the shipped queries whose
best adapter stays the best, and the share of the three best that stay among them, both against Directions of the whole
grid. The truth is that of `benchmarks.truth --sample`.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe as machine
from benchmarks.replay import OrderedPath, Queries, calibration_without, shuffled
from benchmarks.truth import World, read
from lorascope import Grid, Library, Preset
from lorascope.adapters import Delta, Names, load_delta, similarity
from lorascope.evaluation.statistics import spearman
from lorascope.measure import Worker, load_worker
from lorascope.miniature import adapters_path
from lorascope.signature import Calibration

ADAPTERS = 12
"""Of the shipped ones, evenly by name, for the trial with fewer steps."""
BLOCKS = 6
STEPS = (1, 2)
"""Of four."""
LOOK_ALIKE = 0.5
"""Cosine of two changes above which one is a copy, a version or a resized form of the other."""
CELLS = (8, 16, 32)
ORDERS = 10
RIDGE = 0.1
"""Variance of what changes do not explain, to that of an adapter; not tuned."""


def steps_table() -> list[str]:
    """The share of variance that effects in fewer steps explain, and the images that they can save at best."""
    preset = Preset.load("miniature")
    paths = sorted(adapters_path().glob("*.safetensors"))
    paths = paths[:: len(paths) // ADAPTERS][:ADAPTERS]
    effects = {
        steps: _effects(load_worker(dataclasses.replace(preset, steps=steps), device="cpu"), paths)
        for steps in (*STEPS, preset.steps)
    }
    full = effects.pop(preset.steps)
    lines = [
        "| steps | cost of an image | variance explained, median | cost with the best mixture, of today's |",
        "|---|---|---|---|",
    ]
    for steps, cheap in effects.items():
        explained = float(np.median([_explained(one, two) for one, two in zip(cheap, full, strict=True)]))
        cost = steps / preset.steps
        mixture = min(1.0, (np.sqrt(1 - explained) + np.sqrt(explained * cost)) ** 2)
        lines.append(f"| {steps} | {cost:.2f} | {explained:.2f} | {mixture:.2f} |")
    return lines


def _effects(worker: Worker, paths: list[Path]) -> list[NDArray[np.float32]]:
    """Of each adapter on the first blocks, (cells, d)."""
    bare = _embeddings(worker)
    return [_embeddings(worker, load_delta(path, Names(worker.shapes), partial=True)) - bare for path in paths]


def _embeddings(worker: Worker, delta: Delta | None = None) -> NDArray[np.float32]:
    """By the first encoder, of the first blocks."""
    digest = worker.protocols[0].encoder_digest
    return np.concatenate([worker.block(n, delta=delta).embeddings[digest] for n in range(BLOCKS)]).astype(np.float32)


def _explained(cheap: NDArray[np.float32], full: NDArray[np.float32]) -> float:
    """The share of the variance of full effects that one slope on the cheap ones explains."""
    x, y = cheap - cheap.mean(0), full - full.mean(0)
    slope = (x * y).sum() / (x * x).sum()
    return float(max(0.0, 1 - ((y - slope * x) ** 2).sum() / (y * y).sum()))


def _changes(library: Library) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The shipped adapters of a library, how alike their changes are, unit Directions, and logarithms of Strengths."""
    names = {key: one.name for key, one in library.adapters.all().items()}
    digest = library.protocols.find().protocol.digest
    known = {names[key]: one.signature for key, one in library.signatures.get(digest, names).items()}
    shapes = Names(load_worker(Preset.load("miniature"), device="cpu").shapes)
    files = {name: file for name in known if (file := adapters_path() / f"{name}.safetensors").exists()}
    deltas = [load_delta(file, shapes, partial=True) for file in files.values()]
    alike = np.array([[similarity(one, two) or 0.0 for two in deltas] for one in deltas])
    directions = np.stack([_unit(known[name].direction) for name in files])
    return list(files), alike, directions, np.log([known[name].strength for name in files])


def guessed_directions(library: Library) -> dict[str, NDArray[np.floating]]:
    """The unit Direction of each shipped adapter as a first guess has it, from all others, by name."""
    names, alike, directions, _ = _changes(library)
    return {name: _unit(_guess(alike, n, directions, np.inf)[1]) for n, name in enumerate(names)}


def guess_table(path: Path) -> list[str]:
    """How near a first guess from weights comes, each adapter left out in turn: with its look-alikes, and without."""
    with Library(path) as library:
        files, alike, directions, strengths = _changes(library)
    nearest = np.sort(alike - 2 * np.eye(len(alike)))[:, -1]
    lines = [
        f"{len(files)} adapters; the change most like one has a cosine of {np.median(nearest):.2f} at the median.", "",
        "| others | cosine of the mean Direction | of the guess | rank correlation of Strength |", "|---|---|---|---|",
    ]  # fmt: skip
    for label, limit in (("all", 2.0), (f"without those above {LOOK_ALIKE}", LOOK_ALIKE)):
        rows = [_guess(alike, n, np.column_stack([directions, strengths]), limit) for n in range(len(files))]
        plain, guessed = (
            float(np.median([_unit(row[side][:-1]) @ directions[n] for n, row in enumerate(rows)])) for side in (0, 1)
        )
        order = spearman(np.array([row[1][-1] for row in rows]), strengths)
        lines.append(f"| {label} | {plain:.2f} | {guessed:.2f} | {order:.2f} |")
    return lines


def _guess(
    alike: NDArray[np.float64], one: int, known: NDArray[np.float64], limit: float
) -> tuple[NDArray[np.float64], ...]:
    """The mean of the others, and the posterior mean of a Gaussian process whose covariance is how alike they are."""
    others = np.array([n for n in range(len(alike)) if n != one and abs(alike[one, n]) <= limit])
    mean = known[others].mean(0)
    covariance = alike[np.ix_(others, others)] + RIDGE * np.eye(len(others))
    return mean, mean + alike[one, others] @ np.linalg.solve(covariance, known[others] - mean)


def prior_table(path: Path) -> list[str]:
    """The cosine with the truth, and what stays of the best one and three, by estimator and number of cells."""
    world, queries = read(path), Queries(path)
    whole = {one.name: one.signature.direction for one in world.adapters}
    found: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for order in range(ORDERS):
        grid, prompts, seeds = shuffled(world.grid, order)
        calibrations = {one.name: calibration_without(world, one, prompts, seeds) for one in world.adapters}
        for cells in CELLS:
            for name, directions in _estimates(world, calibrations, grid, prompts, seeds, cells).items():
                cosines = [_unit(directions[one]) @ _unit(whole[one]) for one in whole if np.any(whole[one])]
                kept = (queries.kept(directions, whole, best) for best in (1, 3))
                found.setdefault((cells, name), []).append((float(np.median(cosines)), *kept))
    lines = ["| cells | estimator | cosine | best one kept | best three kept |", "|---|---|---|---|---|"]
    for (cells, name), rows in found.items():
        cosine, one, three = np.mean(rows, 0)
        lines.append(f"| {cells} | {name} | {cosine:.3f} | {one:.1%} | {three:.1%} |")
    return lines


def _estimates(
    world: World,
    calibrations: dict[str, Calibration],
    grid: Grid,
    prompts: NDArray[np.intp],
    seeds: NDArray[np.intp],
    cells: int,
) -> dict[str, dict[str, NDArray[np.floating]]]:
    """Directions of every adapter after the first cells of an order, by each estimator."""
    blocks = Grid(grid.prompts, grid.seeds, cells)
    found: dict[str, dict[str, NDArray[np.floating]]] = {"mean": {}, "regression": {}, "with the prior": {}}
    taught = {one.name: one.effects[prompts[:96], seeds[:96]] for one in world.adapters}
    spreads = {name: _spread(effects) for name, effects in taught.items() if np.any(effects)}
    for one in world.adapters:
        path = OrderedPath(one, world.bare, blocks, prompts, seeds, calibrations[one.name])
        signature = path.signature(1, 1)
        others = [name for name in spreads if name != one.name]
        directions = np.stack([_unit(taught[name].mean(0)) for name in others])
        spread = np.mean([spreads[name] for name in others], 0)
        found["mean"][one.name] = signature.mean
        found["regression"][one.name] = signature.direction
        effects = one.effects[prompts[:cells], seeds[:cells]]
        found["with the prior"][one.name] = _posterior(signature.direction, effects, directions, spread)
    return found


def _spread(effects: NDArray[np.floating]) -> NDArray[np.floating]:
    """The covariance of effects about their mean, with a trace of 1."""
    covariance = np.cov(effects.T)
    return covariance / np.trace(covariance)


def _posterior(
    direction: NDArray[np.floating],
    effects: NDArray[np.floating],
    others: NDArray[np.floating],
    spread: NDArray[np.floating],
) -> NDArray[np.floating]:
    """A Direction drawn to where other Directions are, the more the larger its error is, which spreads as theirs do."""
    size = len(direction)
    error = float(((effects - effects.mean(0)) ** 2).sum()) / (len(effects) - 1) / len(effects)
    length = float(direction @ direction)
    covariance = max(length - error, 0.1 * length) * (np.eye(size) / size + others.T @ others / len(others)) / 2
    return covariance @ np.linalg.solve(covariance + error * spread, direction)


def _unit(vector: NDArray[np.floating]) -> NDArray[np.floating]:
    return vector / np.linalg.norm(vector)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    options = parser.parse_args()
    print(f"{machine()}.\n", flush=True)
    for table in (guess_table(options.library), prior_table(options.truth), steps_table()):
        print("\n".join([*table, ""]), flush=True)


if __name__ == "__main__":
    main()
