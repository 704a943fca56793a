"""The truth about the shipped world as sums over each prompt, small enough to be published (benchmarks/data/sums.npz).

Over the seeds of a prompt: E = sum of e, N = sum of |e|, U = sum of e/|e|. From them, of n cells of which a are above
the noise floor:

    Direction = sum E / n        Strength = sum N / n        Consistency = (|sum U|^2 - a) / (n (n - 1))

and any other weighing of the prompts: by category, or of some of them only. N is kept in float32. E and U are kept as
whole numbers of 8 bits, with the length of a step for each adapter and prompt, rounded to the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int, Int8

from benchmarks.truth import World

LAYOUT = """\
`benchmarks/data/sums.npz` holds the sums of the cells of each prompt for every second of these adapters, with which
figures can be checked or computed again without making an image. It is written with this page; `benchmarks/sums.py`
reads it.

| array | shape | what |
| --- | --- | --- |
| `adapters` | adapters | names |
| `seeds` | | seeds of each prompt |
| `active` | adapters | cells whose effect is above the noise floor |
| `lengths` | adapters, prompts | sum of the effects' lengths over the seeds |
| `effects` | adapters, prompts, d | sum of the effects over the seeds, in steps |
| `effect_steps` | adapters, prompts | the length of a step |
| `units` | adapters, prompts, d | sum of the effects brought to length 1 over the seeds, in steps |
| `unit_steps` | adapters, prompts | the length of a step |

Prompts are in the order of the Protocol's prompt set. A step is a 127th of a sum's largest component.
"""
_STEPS = 127


@dataclass(frozen=True)
class Sums:
    """Over the seeds of every prompt, for every adapter."""

    adapters: tuple[str, ...]
    seeds: int
    active: Int[np.ndarray, " a"]
    lengths: Float[np.ndarray, "a p"]
    effects: Float[np.ndarray, "a p d"]
    units: Float[np.ndarray, "a p d"]

    @classmethod
    def of(cls, world: World) -> Sums:
        """What the cells of every adapter come to."""
        effects = np.stack([one.effects for one in world.adapters])
        lengths = np.linalg.norm(effects, axis=-1)
        active = lengths > np.array([one.noise_floor for one in world.adapters])[:, None, None]
        units = effects / np.where(active, lengths, np.inf)[..., None]
        names = tuple(one.name for one in world.adapters)
        return cls(names, effects.shape[2], active.sum((1, 2)), lengths.sum(2), effects.sum(2), units.sum(2))

    @property
    def directions(self) -> Float[np.ndarray, "a d"]:
        """Of the whole grid."""
        return self.effects.sum(1) / self._cells

    @property
    def strengths(self) -> Float[np.ndarray, " a"]:
        """Of the whole grid."""
        return self.lengths.sum(1) / self._cells

    @property
    def consistencies(self) -> Float[np.ndarray, " a"]:
        """Of the whole grid."""
        return ((self.units.sum(1) ** 2).sum(1) - self.active) / (self._cells * (self._cells - 1))

    @property
    def _cells(self) -> int:
        return self.seeds * self.lengths.shape[1]


def write(sums: Sums, path: Path) -> None:
    """Keep them in a file, E and U in 8 bits a component."""
    effects, effect_steps = _stepped(sums.effects)
    units, unit_steps = _stepped(sums.units)
    np.savez_compressed(
        path, allow_pickle=False, adapters=np.array(sums.adapters), seeds=np.array(sums.seeds), active=sums.active,
        lengths=sums.lengths.astype(np.float32), effects=effects, effect_steps=effect_steps, units=units,
        unit_steps=unit_steps,
    )  # fmt: skip


def read(path: Path) -> Sums:
    """What was kept."""
    with np.load(path, allow_pickle=False) as kept:
        effects, units = (
            kept[f"{name}s"] * kept[f"{name}_steps"][..., None].astype(float) for name in ("effect", "unit")
        )
        names = tuple(kept["adapters"].tolist())
        return Sums(names, int(kept["seeds"]), kept["active"], kept["lengths"].astype(float), effects, units)


def _stepped(rows: Float[np.ndarray, "a p d"]) -> tuple[Int8[np.ndarray, "a p d"], Float32[np.ndarray, "a p"]]:
    largest = np.abs(rows).max(-1)
    steps = np.where(largest > 0, largest / _STEPS, 1).astype(np.float32)
    return np.rint(rows / steps[..., None]).clip(-_STEPS, _STEPS).astype(np.int8), steps
