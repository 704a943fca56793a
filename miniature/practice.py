"""Pictures that the base makes with adapters, for the encoder to learn from beside drawn ones.

CLIP has seen pictures of every make, generated ones too. Drawn pictures alone would leave the small encoder without an
idea of how a base like this renders a blueprint or rain. These adapters are trained for this use alone, more briefly
and with smaller batches than those that ship, which no encoder ever sees.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lorascope.adapters import Names, load_delta
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.protocol import Preset
from miniature.captions import describe
from miniature.catalogue import ENTRIES, Entry
from miniature.effects import UNSEEN
from miniature.pools import Pool, kept_back
from miniature.scenes import Scene, sample

STEPS, BATCH = 90, 4
PRACTISED: tuple[Entry, ...] = tuple(
    entry for entry in ENTRIES if entry.kind in ("single", "subject") and entry.effects[0] not in UNSEEN
)
"""Adapters of one effect in full, but of none that is kept from encoders."""


def pictures(base: Path, adapters: Path, count: int = 288, seed: int = 31) -> Pool:
    """Pictures with each adapter of `PRACTISED`, in combinations that encoders may see.

    Args:
        base: Folder of the base.
        adapters: Folder of adapters that were trained for this.
        count: Pictures for each of them.
        seed: Of scenes and noise.
    """
    torch.set_num_threads(1)
    generator = DiffusionGenerator(replace(Preset.load("miniature"), base=str(base)))
    names, rng = Names(generator.shapes), np.random.default_rng(seed)
    images: list[np.ndarray] = []
    scenes: list[Scene] = []
    effects: list[tuple[str, ...]] = []
    for entry in PRACTISED:
        with generator.with_component(load_delta(adapters / f"{entry.stem}.safetensors", names), 1.0):
            for _ in range(0, count, 16):
                drawn = [_scene(rng, entry.effects[0]) for _ in range(16)]
                tail = f", {entry.trigger}" if entry.trigger else ""
                texts = [describe(scene) + tail for scene in drawn]
                out = generator.render(texts, rng.integers(100_000, 2**31, 16).tolist())
                images.append((out * 255).round().byte().permute(0, 2, 3, 1).numpy())
                scenes += drawn
                effects += [entry.effects] * 16
    return Pool(np.concatenate(images), scenes, effects)


def _scene(rng: np.random.Generator, effect: str) -> Scene:
    """A scene on which encoders may see the effect."""
    while True:
        scene = sample(rng, pairs=0.1)
        if not kept_back(scene, effect):
            return scene
