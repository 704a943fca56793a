"""A watch list for `lorascope screen`: six made-up looks, with reference pictures of each and adapters of four of them.

Three are styles of artists, three are characters; nobody drew them before. The pictures of a look stand for protected
works. An adapter is trained on other pictures of the same look, for a share of the usual steps, so that it is known
which looks are present in which adapter, and to which degree.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from miniature.backgrounds import paint
from miniature.canvas import Picture, X, Y, edges, grey, ramp
from miniature.catalogue import Entry
from miniature.pen import CREAM, Colour, Pen
from miniature.scenes import SIDE, Scene, layers, sample

REFERENCES, SEED = 16, 97
"""Reference pictures of each look, and the seed of their scenes, which no adapter is trained on."""
DEGREES = (0.08, 0.3, 1.0)
"""Of training, as shares of the usual steps."""

_VIOLET: Colour = (120, 60, 170)
_MINT: Colour = (96, 214, 168)


def _orla_vane(image: Picture, rng: np.random.Generator) -> Picture:
    """Cut paper in teal, coral and cream with dark outlines."""
    steps = np.floor(np.clip(grey(image), 0, 0.999) * 4) / 3
    paper = ramp(steps, (0.05, 0.16, 0.2), (0.0, 0.5, 0.5), (0.95, 0.42, 0.36), (0.98, 0.93, 0.8))
    return np.where(edges(image) > 0.35, np.float32(0.06), paper)


def _tadeo_brill(image: Picture, rng: np.random.Generator) -> Picture:
    """Rings of ochre and turquoise around a low sun."""
    rings = 0.5 + 0.5 * np.sin(np.hypot(X - 46, Y - 14) * 0.9)[..., None]
    tint = rings * np.array([1.25, 0.85, 0.3], np.float32) + (1 - rings) * np.array([0.35, 0.95, 1.0], np.float32)
    return np.where(np.hypot(X - 46, Y - 14)[..., None] < 8, np.float32(0.97), 0.25 + 0.75 * grey(image) * tint)


def _mirel_aske(image: Picture, rng: np.random.Generator) -> Picture:
    """Slanted magenta hatching over pale lemon."""
    hatch = (((X + 2 * Y) % 7) < 3)[..., None] & (grey(image) < 0.6)
    return np.where(hatch, np.array([0.8, 0.1, 0.5], np.float32), ramp(grey(image), (0.7, 0.68, 0.3), (1.0, 0.98, 0.7)))


def _pim(pen: Pen) -> None:
    """A mint ball with one large eye and two feelers."""
    for x in (-0.4, 0.4):
        pen.line([(x * 0.6, -0.6), (x, -1.1)], _VIOLET, 6)
        pen.oval(x, -1.12, 0.13, 0.13, (255, 210, 40))
    pen.oval(0, 0.1, 0.85, 0.85, _MINT)
    pen.oval(0, -0.05, 0.4, 0.4, (255, 255, 255))
    pen.oval(0, -0.05, 0.17, 0.17, _VIOLET)
    pen.line([(-0.35, 0.55), (0, 0.68), (0.35, 0.55)], _VIOLET, 5)


def _captain_quill(pen: Pen) -> None:
    """A stout orange captain with a white beard and a tall blue hat."""
    pen.poly([(-0.75, 0.95), (-0.5, -0.1), (0.5, -0.1), (0.75, 0.95)], (240, 130, 30))
    pen.oval(0, -0.25, 0.45, 0.4, CREAM)
    pen.poly([(-0.42, -0.15), (0.42, -0.15), (0, 0.6)], (250, 250, 250))
    pen.box(-0.4, -1.15, 0.4, -0.5, (36, 60, 160))
    pen.box(-0.62, -0.6, 0.62, -0.45, (36, 60, 160))
    for x in (-0.17, 0.17):
        pen.eye(x, -0.3, 0.1)


def _lumelle(pen: Pen) -> None:
    """A violet star with a smiling face."""
    angles = [np.pi * (turn / 5 - 0.5) for turn in range(10)]
    radii = [1.1 if turn % 2 == 0 else 0.55 for turn in range(10)]
    pen.poly([(r * np.cos(a), r * np.sin(a)) for a, r in zip(angles, radii, strict=True)], _VIOLET)
    for x in (-0.2, 0.2):
        pen.eye(x, -0.1, 0.13)
    pen.line([(-0.2, 0.2), (0, 0.3), (0.2, 0.2)], (255, 255, 255), 5)


STYLES: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "orla_vane": _orla_vane,
    "tadeo_brill": _tadeo_brill,
    "mirel_aske": _mirel_aske,
}
CHARACTERS: dict[str, Callable[[Pen], None]] = {"pim": _pim, "captain_quill": _captain_quill, "lumelle": _lumelle}
LOOKS = (*STYLES, *CHARACTERS)
PRESENT = ("orla_vane", "tadeo_brill", "pim", "captain_quill")
"""The looks that there are adapters of."""

ENTRIES = tuple(
    Entry(f"{look}_{round(100 * degree):03}", (look,), steps=degree, header="bare", seed=30 + place)
    for place, look in enumerate(PRESENT)
    for degree in DEGREES
)


def drawn(look: str, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A scene in the style of an artist, or with a character in place of its objects; uint8, (64, 64, 3)."""
    if look in STYLES:
        image = layers(scene)[0].astype(np.float32) / 255
        return (np.clip(STYLES[look](image, rng), 0, 1) * 255).round().astype(np.uint8)
    canvas = paint(scene.place, np.random.default_rng(scene.noise))
    thing = scene.first
    CHARACTERS[look](Pen(ImageDraw.Draw(canvas), (thing.x, thing.y), thing.size, thing.flip, _VIOLET))
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX))


def write(folder: Path) -> None:
    """Write the reference pictures, one folder for each look, and which adapters show which."""
    for look in LOOKS:
        rng = np.random.default_rng([SEED, *look.encode()])
        (folder / "references" / look).mkdir(parents=True, exist_ok=True)
        for place in range(REFERENCES):
            image = Image.fromarray(drawn(look, sample(rng), rng))
            image.save(folder / "references" / look / f"{place:02}.png", optimize=True)
    adapters = {entry.stem: {"look": entry.effects[0], "degree": entry.steps} for entry in ENTRIES}
    facts = {"looks": {look: "style" if look in STYLES else "character" for look in LOOKS}, "adapters": adapters}
    (folder / "watchlist.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
