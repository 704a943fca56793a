"""How often the replication kit's limits hold what others publish of the same adapters, measured with other prompts.

    python -m benchmarks.truth --library truth.db --sample
    python -m benchmarks.limits truth.db

The prompts of each adapter are divided at random: one half, with all seeds, stands for what was published; of the other
half a part, with some seeds of each prompt, for what was measured here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.truth import Truth, read
from lorascope import Moments, Signature
from lorascope.evaluation.replication.comparison import cosine, limits_of, within

SAMPLES = ((128, 2), (128, 4), (140, 16))
"""Prompts, and seeds of each."""
DRAWS = 20
Held = tuple[bool, bool, bool]


def measured(one: Truth, prompts: np.ndarray, seeds: np.ndarray) -> Signature:
    """The signature of some prompts, each with some seeds: (prompts, k)."""
    effects = np.take_along_axis(one.effects[prompts], seeds[:, :, None], axis=1)
    moments = Moments.empty(len(prompts), one.effects.shape[1], effects.shape[2])
    rows = np.repeat(np.arange(len(prompts)), seeds.shape[1])
    moments.add(rows, effects.reshape(len(rows), -1), noise_floor=one.noise_floor)
    return Signature.from_moments(moments)


def held(one: Truth, prompts: int, seeds: int, draws: np.random.Generator) -> Held:
    """Whether the limits of one sample hold the Strength, Consistency and Direction of the other half."""
    count, every = one.effects.shape[:2]
    order = draws.permutation(count)
    chosen = draws.permuted(np.tile(np.arange(every), (prompts, 1)), axis=1)[:, :seeds]
    ours = measured(one, order[:prompts], chosen)
    theirs = measured(one, order[count // 2 :], np.tile(np.arange(every), (count - count // 2, 1)))
    limits = limits_of(ours, theirs, same_prompts=False)
    near = limits.agreement is not None and cosine(ours.direction, theirs.direction) >= limits.agreement.lower
    consistency = within(limits.consistency, theirs.consistency or 0.0)
    return bool(within(limits.strength, theirs.strength)), bool(consistency), near


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="a library of whole grids")
    world = read(parser.parse_args().library)
    print(f"{len(world.adapters)} adapters, {DRAWS} divisions each.\n")
    print("| prompts x seeds | Strength | Consistency | Direction |\n|---|---|---|---|")
    for prompts, seeds in SAMPLES:
        draws = np.random.default_rng(0)
        answers = np.array([[held(one, prompts, seeds, draws) for _ in range(DRAWS)] for one in world.adapters])
        means = answers.mean(axis=1)
        error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        cells = " | ".join(f"{mean:.3f} ± {2 * e:.3f}" for mean, e in zip(means.mean(axis=0), error, strict=True))
        print(f"| {prompts} x {seeds} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
