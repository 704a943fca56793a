"""Pools of rendered pictures with their scenes, so that training does not wait for drawing."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from miniature import effects
from miniature.scenes import Scene, Thing, render, sample, with_subject

TRAINED: tuple[str, ...] = tuple(name for name in effects.NAMES if name not in effects.UNSEEN)


@dataclass(frozen=True)
class Pool:
    """Pictures, uint8 (n, 64, 64, 3), the scenes in them, and the effects on them."""

    images: np.ndarray
    scenes: list[Scene]
    effects: list[tuple[str, ...]]

    def __add__(self, other: Pool) -> Pool:
        """The pictures of both."""
        images = np.concatenate([self.images, other.images])
        return Pool(images, self.scenes + other.scenes, self.effects + other.effects)

    def save(self, path: Path) -> None:
        """Write the pool as one .npz file; of the scenes only what captions need is kept."""
        rows = [_words(scene) for scene in self.scenes]
        np.savez(path, images=self.images, scenes=np.array(rows), effects=np.array([" ".join(e) for e in self.effects]))

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read a pool."""
        data = np.load(path)
        scenes = [_scene(*map(str, row)) for row in data["scenes"]]
        return cls(data["images"], scenes, [tuple(str(e).split()) for e in data["effects"]])


def _words(scene: Scene) -> tuple[str, ...]:
    second = scene.second or Thing("", "")
    return (scene.first.kind, scene.first.colour, scene.place, second.kind, second.colour, scene.relation)


def _scene(kind: str, colour: str, place: str, kind2: str, colour2: str, relation: str) -> Scene:
    return Scene(Thing(kind, colour), place, second=Thing(kind2, colour2) if kind2 else None, relation=relation)


def plain(count: int, seed: int, loose: float = 1.0) -> Pool:
    """Scenes without effects."""
    rng = np.random.default_rng(seed)
    scenes = [sample(rng, loose) for _ in range(count)]
    return Pool(np.stack([render(scene) for scene in scenes]), scenes, [()] * count)


def kept_back(scene: Scene, name: str) -> bool:
    """Whether no encoder sees this effect on this object in this place: a tenth of all combinations."""
    return zlib.crc32(f"{name} {scene.first.kind} {scene.place}".encode()) % 10 == 0


def varied(count: int, seed: int, names: Sequence[str] = TRAINED) -> Pool:
    """Scenes, a third plain, the others with one effect of a degree from .35 to 1, some with two; none kept back."""
    rng = np.random.default_rng(seed)
    rows = []
    while len(rows) < count:
        scene, chosen = sample(rng), _choose(rng, names)
        if not any(kept_back(scene, name) for name in chosen):
            rows.append((picture(scene, chosen, rng), scene, chosen))
    return _pool(rows)


def kept(count: int, seed: int) -> Pool:
    """Scenes with one effect each, all in combinations that were kept back."""
    rng = np.random.default_rng(seed)
    rows = []
    while len(rows) < count:
        scene, chosen = sample(rng), (str(rng.choice(TRAINED)),)
        if kept_back(scene, chosen[0]):
            rows.append((picture(scene, chosen, rng), scene, chosen))
    return _pool(rows)


def _pool(rows: Sequence[tuple[np.ndarray, Scene, tuple[str, ...]]]) -> Pool:
    images, scenes, names = zip(*rows, strict=True)
    return Pool(np.stack(images), list(scenes), list(names))


def picture(scene: Scene, chosen: tuple[str, ...], rng: np.random.Generator, low: float = 0.35) -> np.ndarray:
    """A scene with effects, each of a degree from `low` to 1."""
    for name in chosen:
        scene = with_subject(scene, name) if name in effects.SUBJECTS else scene
    image = render(scene)
    for name in chosen:
        if name not in effects.SUBJECTS:
            image = effects.apply(name, image, rng, float(rng.uniform(low, 1)))
    return image


def _choose(rng: np.random.Generator, names: Sequence[str]) -> tuple[str, ...]:
    count = int(rng.choice(3, p=(0.33, 0.59, 0.08)))
    return tuple(str(name) for name in rng.choice(names, count, replace=False))
