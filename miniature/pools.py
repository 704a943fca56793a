"""Pools of rendered pictures with their scenes, so that training does not wait for drawing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from miniature import effects
from miniature.scenes import Scene, render, sample, with_subject

NAMES: tuple[str, ...] = (*effects.EFFECTS, "crown", "scarf")


@dataclass(frozen=True)
class Pool:
    """Pictures, uint8 (n, 64, 64, 3), the scenes in them, and the effects on them."""

    images: np.ndarray
    scenes: list[Scene]
    effects: list[tuple[str, ...]]

    def save(self, path: Path) -> None:
        """Write the pool as one .npz file."""
        scenes = np.array([(s.kind, s.colour, s.place) for s in self.scenes])
        np.savez(path, images=self.images, scenes=scenes, effects=np.array([" ".join(e) for e in self.effects]))

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read a pool; of the scenes only what captions need is kept."""
        data = np.load(path)
        scenes = [Scene(str(k), str(c), str(p), 0, 0, 0, False, 0) for k, c, p in data["scenes"]]
        return cls(data["images"], scenes, [tuple(str(e).split()) for e in data["effects"]])


def plain(count: int, seed: int, loose: float = 1.0) -> Pool:
    """Scenes without effects."""
    rng = np.random.default_rng(seed)
    scenes = [sample(rng, loose) for _ in range(count)]
    return Pool(np.stack([render(scene) for scene in scenes]), scenes, [()] * count)


def varied(count: int, seed: int) -> Pool:
    """Scenes, a quarter plain, the others with one effect of a degree from .45 to 1, some with two."""
    rng = np.random.default_rng(seed)
    scenes, images, names = [], [], []
    for _ in range(count):
        scene = sample(rng)
        chosen = _choose(rng)
        for name in chosen:
            scene = with_subject(scene, name) if name in effects.SUBJECTS else scene
        image = render(scene)
        for name in chosen:
            if name not in effects.SUBJECTS:
                image = effects.apply(name, image, rng, float(rng.uniform(0.45, 1)))
        scenes.append(scene)
        images.append(image)
        names.append(chosen)
    return Pool(np.stack(images), scenes, names)


def _choose(rng: np.random.Generator) -> tuple[str, ...]:
    count = int(rng.choice(3, p=(0.25, 0.65, 0.1)))
    return tuple(str(name) for name in rng.choice(NAMES, count, replace=False))
