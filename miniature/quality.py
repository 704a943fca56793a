"""How well an encoder names what is in a picture by texts alone, as people use CLIP without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from miniature.batches import FIELDS, seen
from miniature.captions import describe
from miniature.effects import FAMILY
from miniature.pools import TRAINED, Pool
from miniature.scenes import Scene
from miniature.vocabulary import WORDS

See = Callable[[np.ndarray], np.ndarray]
Read = Callable[[list[str]], np.ndarray]


def figures(see: See, read: Read, pool: Pool, count: int) -> dict[str, float]:
    """Share of pictures for which the right text is nearest among those that differ in one fact.

    Args:
        see: uint8 pictures to embeddings of length 1, (n, d).
        read: Texts to embeddings of length 1, (n, d).
        pool: Pictures with one effect each, in combinations that were kept back from training.
        count: How many pictures.
    """
    eyes = see(pool.images[:count])
    rows = list(zip(eyes, pool.scenes[:count], pool.effects[:count], strict=True))
    alone = [(v, seen(s, e), e[0]) for v, s, e in rows if s.second is None]
    found = {}
    for field in ("kind", "colour", "place"):
        hits = [named(v, s, field, lambda x, e=e: f"{describe(x)}, {WORDS[e][0]}", read) for v, s, e in alone]
        found[field] = round(float(np.mean(hits)), 3)
    chosen = [TRAINED[int((read([f"{describe(s)}, {WORDS[n][0]}" for n in TRAINED]) @ v).argmax())] for v, s, _ in rows]
    truth = [e[0] for _, _, e in rows]
    found["effect"] = round(float(np.mean([a == b for a, b in zip(chosen, truth, strict=True)])), 3)
    found["family"] = round(float(np.mean([FAMILY[a] == FAMILY[b] for a, b in zip(chosen, truth, strict=True)])), 3)
    return found


def judged(see: See, read: Read, say: Callable[[Scene], str], pool: Pool, count: int) -> dict[str, float]:
    """Share of pictures with one object whose kind, colour or place is named by the nearest of its values' sentences.

    `say` puts a scene into words; effects are not mentioned.
    """
    chosen = [i for i in range(min(count, len(pool.images))) if pool.scenes[i].second is None]
    eyes = see(pool.images[chosen])
    scenes = [seen(pool.scenes[i], pool.effects[i]) for i in chosen]
    found = {}
    for field in ("kind", "colour", "place"):
        hits = [named(v, s, field, say, read) for v, s in zip(eyes, scenes, strict=True)]
        found[field] = round(float(np.mean(hits)), 3)
    return found


def named(v: np.ndarray, scene: Scene, field: str, say: Callable[[Scene], str], read: Read) -> bool:
    """Whether of all values of a field the scene's own makes the nearest sentence."""
    values = FIELDS[field]
    scores = read([say(_with(scene, field, value)) for value in values]) @ v
    right = scene.place if field == "place" else getattr(scene.first, field)
    return values[int(scores.argmax())] == right


def _with(scene: Scene, field: str, value: str) -> Scene:
    if field == "place":
        return replace(scene, place=value)
    return replace(scene, first=replace(scene.first, **{field: value}))
