"""Two ways to spend fewer images that were tried and left out, and what they would have given on the shipped world.

    python -m benchmarks.trials LIBRARY

*Fewer steps*: effects of the same cells in one and two of the four steps, as a second control variate. What it can save
follows from the share of the variance of full effects that a regression on cheap ones explains, and from their cost
(Giles, *Multilevel Monte Carlo methods*, 2015, section 1.2, with the best number of cheap cells).

*A first guess from weights*: each adapter's Direction and Strength from those of the other adapters, weighted by how
alike the changes of the weights are. LIBRARY holds the shipped adapters, measured.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.machine import describe as machine
from lorascope import Library, Preset
from lorascope.adapters import Delta, Names, load_delta, similarity
from lorascope.measure import Worker, load_worker
from lorascope.miniature import adapters_path

ADAPTERS = 12
"""Of the shipped ones, evenly by name, for the trial with fewer steps."""
BLOCKS = 6
STEPS = (1, 2)
"""Of four."""
LOOK_ALIKE = 0.5
"""Cosine of two changes above which one is a copy, a version or a resized form of the other."""
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


def guess_table(path: Path) -> list[str]:
    """How near a first guess from weights comes, each adapter left out in turn: with its look-alikes, and without."""
    with Library(path) as library:
        names = {key: one.name for key, one in library.adapters.all().items()}
        stored = library.protocols.find()
        known = {
            names[key]: one.signature for key, one in library.signatures.get(stored.protocol.digest, names).items()
        }
    shapes = Names(load_worker(Preset.load("miniature"), device="cpu").shapes)
    files = {name: file for name in known if (file := adapters_path() / f"{name}.safetensors").exists()}
    deltas = [load_delta(file, shapes, partial=True) for file in files.values()]
    alike = np.array([[similarity(one, two) or 0.0 for two in deltas] for one in deltas])
    directions = np.stack([_unit(known[name].direction) for name in files])
    strengths = np.log([known[name].strength for name in files])
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
        order = spearmanr([row[1][-1] for row in rows], strengths).statistic
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


def _unit(vector: NDArray[np.floating]) -> NDArray[np.floating]:
    return vector / np.linalg.norm(vector)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    path = parser.parse_args().library
    print(f"{machine()}.\n", flush=True)
    print("\n".join(guess_table(path)), flush=True)
    print("\n".join(["", *steps_table()]))


if __name__ == "__main__":
    main()
