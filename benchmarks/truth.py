"""The truth about the shipped world: adapters on their whole grid, 4,480 images each, two core-minutes on a CPU.

    python -m benchmarks.truth --library truth.db
    python -m benchmarks.truth --library truth.db --sample

All 81 adapters, or the sample on which docs/stopping.md rests: every adapter whose effect is bound to some content, and
every fourth of the others by name. What is measured stays: after an interruption
the same command resumes. Its evidence, the embedding of every cell, is what ``benchmarks/stopping.py`` replays in other
orders without making an image. Its sums of every prompt, which are small enough to be published, are what
``benchmarks/data/sums.npz`` holds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorascope import Grid, Library, Moments, Preset, Signature, index
from lorascope.cli.runs import RunProgress, report
from lorascope.measure import load_worker
from lorascope.miniature import adapters_path, truth
from lorascope.protocol import Thresholds


@dataclass(frozen=True)
class Truth:
    """One adapter on its whole grid: effects (prompts, seeds, dim), and what they amount to."""

    name: str
    effects: np.ndarray
    noise_floor: float
    signature: Signature


@dataclass(frozen=True)
class World:
    """Every adapter that was measured on its whole grid, under one Protocol; ``bare`` is (prompts, seeds, dim)."""

    name: str
    grid: Grid
    thresholds: Thresholds
    adapters: tuple[Truth, ...]
    bare: np.ndarray


def read(path: Path) -> World:
    """The adapters of a library whose every cell is in its evidence."""
    with Library(path) as library:
        stored = library.protocols.find()
        grid = stored.preset.grid()
        names = {key: one.name for key, one in library.adapters.all().items()}
        whole = {
            names[key]: library.evidence.blocks(key, stored.protocol.digest)
            for key, cells in library.evidence.cells(stored.protocol.digest).items()
            if cells == len(grid)
        }
    adapters = tuple(
        truth_of(name, _placed(grid, [block.effects for block in blocks]), blocks[0].noise_floor)
        for name, blocks in whole.items()
    )
    bare = _placed(grid, [block.bare for block in next(iter(whole.values()))])
    return World(str(stored.protocol), grid, stored.preset.thresholds, adapters, bare)


def _placed(grid: Grid, blocks: list[np.ndarray]) -> np.ndarray:
    """What was measured of every cell, in the order of the grid, as (prompts, seeds, dim)."""
    measured = np.concatenate(blocks)
    placed = np.zeros((len(grid.prompts), len(grid.seeds), measured.shape[1]))
    places = {seed: place for place, seed in enumerate(grid.seeds)}
    prompts = np.array([cell.prompt for cell in grid.cells])
    seeds = np.array([places[cell.seed] for cell in grid.cells])
    placed[prompts, seeds] = measured
    return placed


def truth_of(name: str, effects: np.ndarray, noise_floor: float = 0.0) -> Truth:
    """What the effects of a whole grid, (prompts, seeds, dim), amount to."""
    prompts, seeds, dim = effects.shape
    moments = Moments.empty(prompts, seeds, dim)
    moments.add(np.repeat(np.arange(prompts), seeds), effects.reshape(-1, dim), noise_floor=noise_floor)
    return Truth(name, effects, noise_floor, Signature.from_moments(moments))


def sample() -> list[str]:
    """Every adapter whose effect is bound to some content, and every fourth of the others by name, sorted."""
    facts = truth()["adapters"]
    bound = [name for name, fact in facts.items() if fact["kind"] == "bound"]
    return sorted([*bound, *sorted(set(facts) - set(bound))[::4]])


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True, help="where results go; made if it does not exist")
    parser.add_argument("--sample", action="store_true", help="only the sample of docs/stopping.md")
    options = parser.parse_args()
    names = sample() if options.sample else sorted(truth()["adapters"])
    paths = [adapters_path() / f"{name}.safetensors" for name in names]
    with Library(options.library, create=True) as library, RunProgress() as progress:
        worker = load_worker(Preset.load("miniature"), device="cpu")
        outcome = index(paths, worker, library, precision="full", watch=progress.watch)
    with Library(options.library) as library:
        report(outcome, outcome.refused, library, library.path, as_json=False)


if __name__ == "__main__":
    main()
