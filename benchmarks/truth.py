"""The truth about the shipped world: adapters on their whole grid, 4,480 images each, two core-minutes on a CPU.

    python -m benchmarks.truth --library truth.db
    python -m benchmarks.truth --library truth.db --sample

All 81 adapters, or the sample on which docs/stopping.md rests: every adapter whose effect is bound to some content, and
every fourth of the others by name. What is measured stays: after an interruption
the same command goes on. Its evidence, the embedding of every cell, is what ``benchmarks/stopping.py`` replays in other
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

    def moments(self, prompts: np.ndarray, seeds: np.ndarray) -> Moments:
        """The sums over some cells, by prompt and place of the seed."""
        found = Moments.empty(*self.effects.shape)
        found.add(prompts, self.effects[prompts, seeds], noise_floor=self.noise_floor)
        return found


@dataclass(frozen=True)
class World:
    """Every adapter that was measured on its whole grid, under one Protocol."""

    name: str
    grid: Grid
    thresholds: Thresholds
    adapters: tuple[Truth, ...]


def read(path: Path) -> World:
    """The adapters of a library whose every cell is in its evidence."""
    with Library(path) as library:
        stored = library.protocols.find()
        grid = stored.preset.grid()
        found = [
            _truth(library, key, one.name, grid, stored.protocol.digest) for key, one in library.adapters.all().items()
        ]
    return World(str(stored.protocol), grid, stored.preset.thresholds, tuple(one for one in found if one is not None))


def _truth(library: Library, key: str, name: str, grid: Grid, protocol: str) -> Truth | None:
    blocks = library.evidence.blocks(key, protocol)
    if len(blocks) < grid.blocks:
        return None
    measured = np.concatenate([block.effects for block in blocks])
    effects = np.zeros((len(grid.prompts), len(grid.seeds), measured.shape[1]))
    places = {seed: place for place, seed in enumerate(grid.seeds)}
    prompts = np.array([cell.prompt for cell in grid.cells])
    seeds = np.array([places[cell.seed] for cell in grid.cells])
    effects[prompts, seeds] = measured
    return truth_of(name, effects, blocks[0].noise_floor)


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
