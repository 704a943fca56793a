"""What the encoders learn from: batches of pictures with captions, and which caption is true of which picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from miniature.backgrounds import BACKGROUNDS
from miniature.captions import Caption, styled
from miniature.effects import NAMES
from miniature.objects import KINDS
from miniature.pools import Pool
from miniature.scenes import COLOURS, Scene, with_subject

FIELDS: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": tuple(COLOURS),
    "place": tuple(BACKGROUNDS),
    "effect": (*NAMES, "none"),
}
"""The facts of a picture, and their values."""

UNKNOWN = -1
Talk = Callable[[Scene, Sequence[str], np.random.Generator], Caption]
_TURNED = ("cats", "robots")


@dataclass(frozen=True)
class Batch:
    """Pictures (n, 64, 64, 3), their captions, and what is true.

    Attributes:
        rows: (n,), where the pictures stand in their pool.
        images: uint8.
        texts: One caption for each picture.
        facts: (n, 4), the value of each field of `FIELDS`; `UNKNOWN` where the picture has several.
        claims: (n, 4), the same for captions; `UNKNOWN` where a caption does not say.
        true: (n, n), whether a caption (column) is true of a picture (row).
    """

    rows: np.ndarray
    images: np.ndarray
    texts: list[str]
    facts: np.ndarray
    claims: np.ndarray
    true: np.ndarray


def seen(scene: Scene, effects: Sequence[str]) -> Scene:
    """The scene as it looks: where every object became a cat, it is a cat."""
    for name in effects:
        scene = with_subject(scene, name) if name in _TURNED else scene
    return scene


def facts(scene: Scene, effects: Sequence[str]) -> list[int]:
    """The values of `FIELDS` in their order."""
    look = seen(scene, effects)
    effect = FIELDS["effect"].index(effects[0] if effects else "none") if len(effects) < 2 else UNKNOWN
    return [KINDS.index(look.first.kind), FIELDS["colour"].index(look.first.colour),
            FIELDS["place"].index(look.place), effect]  # fmt: skip


def _claims(row: list[int], caption: Caption) -> list[int]:
    own = len(caption.effects) == 1 and len(caption.effects[0]) == 1
    said = (caption.kind, caption.colour, caption.place, own)
    return [value if told else UNKNOWN for value, told in zip(row, said, strict=True)]


class Batches:
    """Draws batches. In a hard one all pictures share colour and place, or also the effect, so that objects must tell.

    `jitter` is how many pixels a picture may be moved, `talk` how captions are put. Where objects were turned into cats
    or robots, `asked` is the share of captions that name the object asked for: "a dog, everything is a cat".
    """

    def __init__(self, pool: Pool, seed: int, jitter: int = 2, talk: Talk = styled, asked: float = 0.0) -> None:
        self.pool = pool
        self.talk = talk
        self.jitter = jitter
        self.asked = asked
        self.rng = np.random.default_rng(seed)
        self.facts = np.array([facts(s, e) for s, e in zip(pool.scenes, pool.effects, strict=True)])
        self.pairs = np.array([scene.second is not None for scene in pool.scenes])
        self.shown = np.zeros((len(pool.scenes), len(NAMES)), bool)
        for row, names in enumerate(pool.effects):
            self.shown[row, [NAMES.index(name) for name in names]] = True
        _, self.place = np.unique(self.facts[:, 1] * 100 + self.facts[:, 2], return_inverse=True)
        self.groups = [np.flatnonzero(self.place == g) for g in range(self.place.max() + 1)]
        self.styles = [np.flatnonzero(self.facts[:, 3] == e) for e in range(len(FIELDS["effect"]))]

    def rows(self, size: int, hard: float) -> np.ndarray:
        """The pictures of one batch; `hard` is the share of hard batches."""
        turn = self.rng.random()
        if turn >= hard:
            return self.rng.integers(0, len(self.facts), size)
        if turn < 0.7 * hard:  # one colour in one place, twice
            chosen = self.rng.choice(len(self.groups), 2, replace=False)
            parts = [self._some(self.groups[g], size // 2) for g in chosen]
        else:  # two effects, or one effect and none
            full = [e for e, rows in enumerate(self.styles) if len(rows) >= size // 2]
            parts = [self._some(self.styles[e], size // 2) for e in self.rng.choice(full, 2, replace=False)]
        return np.concatenate(parts)

    def _some(self, rows: np.ndarray, count: int) -> np.ndarray:
        return self.rng.choice(rows, min(count, len(rows)), replace=False)

    def draw(self, size: int, hard: float) -> Batch:
        """A batch of at most `size` pictures."""
        rows = self.rows(size, hard)
        captions = [self._caption(self.pool.scenes[i], self.pool.effects[i]) for i in rows]
        truth = self.facts[rows]
        claims = np.array([_claims(row, caption) for row, caption in zip(truth.tolist(), captions, strict=True)])
        true = self._true(rows, captions)
        known = np.where(self.pairs[rows][:, None] & np.array([True, True, False, False]), UNKNOWN, truth)
        claims = np.where(known == UNKNOWN, UNKNOWN, claims)
        return Batch(rows, self._moved(rows), [c.text for c in captions], known, claims, true)

    def _caption(self, scene: Scene, names: Sequence[str]) -> Caption:
        if self.asked and seen(scene, names) != scene and self.rng.random() < self.asked:
            return replace(self.talk(scene, names, self.rng), kind=False)
        return self.talk(seen(scene, names), names, self.rng)

    def _true(self, rows: np.ndarray, captions: Sequence[Caption]) -> np.ndarray:
        scene = self.facts[rows][:, :3]
        said = np.array([(c.kind, c.colour, c.place) for c in captions])
        agree = ((scene[:, None] == scene[None]) | ~said[None]).all(-1)
        both = self.pairs[rows]
        agree &= ~(both[:, None] | (both[None] & said.any(1)[None]))
        shown = self.shown[rows].astype(np.float32)
        bare = np.array([not c.effects for c in captions])
        agree &= ~(shown.any(1)[:, None] & bare[None])  # a caption without style is one of a plain picture
        for slot in range(2):
            silent = np.array([slot >= len(c.effects) for c in captions])
            agree &= (shown @ self._fits(captions, slot).T > 0) | silent[None]
        return agree

    def _fits(self, captions: Sequence[Caption], slot: int) -> np.ndarray:
        table = np.zeros((len(captions), len(NAMES)), np.float32)
        for row, caption in zip(table, captions, strict=True):
            if slot < len(caption.effects):
                row[[NAMES.index(name) for name in caption.effects[slot]]] = 1
        return table

    def _moved(self, rows: np.ndarray) -> np.ndarray:
        images = self.pool.images[rows]
        if self.jitter:
            dy, dx = self.rng.integers(0, 2 * self.jitter + 1, 2)
            wide = np.pad(images, ((0, 0), (self.jitter,) * 2, (self.jitter,) * 2, (0, 0)), mode="edge")
            images = wide[:, dy : dy + 64, dx : dx + 64]
        return images
