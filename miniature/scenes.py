"""A scene: one or two coloured objects before a background, drawn at 128 and halved to 64 pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from miniature import accessories
from miniature.backgrounds import BACKGROUNDS, paint
from miniature.objects import DRAW, KINDS
from miniature.pen import Colour, Pen

SIDE = 64

COLOURS: dict[str, Colour] = {
    "red": (222, 40, 44),
    "orange": (245, 134, 26),
    "yellow": (250, 214, 48),
    "green": (52, 168, 68),
    "blue": (40, 96, 222),
    "purple": (134, 58, 190),
    "pink": (248, 132, 184),
    "brown": (134, 84, 46),
    "white": (246, 246, 248),
    "black": (52, 50, 60),
}

RELATIONS = ("beside", "in front of")


@dataclass(frozen=True)
class Thing:
    """One object. `x`, `y` and `size` are in pixels of the large canvas."""

    kind: str
    colour: str
    x: float = 64.0
    y: float = 70.0
    size: float = 41.0
    flip: bool = False


@dataclass(frozen=True)
class Scene:
    """What is drawn: an object, perhaps a second one, a place. `noise` seeds small variations of the background.

    With the relation "beside" the second object stands to the right of the first; with "in front of" the first one
    hides part of it. `extra` names what the first object wears.
    """

    first: Thing
    place: str
    noise: int = 0
    second: Thing | None = None
    relation: str = ""
    extra: str = ""


def sample(rng: np.random.Generator, loose: float = 1.0, pairs: float = 0.15) -> Scene:
    """Draw a scene at random.

    Args:
        rng: Of all choices.
        loose: How far place and size stray; below 1 nothing is flipped.
        pairs: Share of scenes with two objects.
    """
    one = _stray(rng, _thing(rng), loose)
    scene = Scene(one, str(rng.choice(list(BACKGROUNDS))), int(rng.integers(2**31)))
    if rng.random() >= pairs:
        return scene
    other = _thing(rng)
    while other.kind == one.kind:
        other = _thing(rng)
    return arranged(replace(scene, second=_stray(rng, other, loose)), str(rng.choice(RELATIONS)))


def arranged(scene: Scene, relation: str) -> Scene:
    """The scene with its two objects moved to where the relation puts them."""
    first, second = scene.first, scene.second
    if second is None:
        raise ValueError(f"{relation!r} needs a second object: give the scene one")
    if relation == "beside":
        first, second = _at(first, -28, 6, 0.68), _at(second, 28, 6, 0.68)
    else:
        first, second = _at(first, 20, 24, 0.62), _at(second, -12, -14, 0.85)
    return replace(scene, first=first, second=second, relation=relation)


def _at(thing: Thing, dx: float, dy: float, scale: float) -> Thing:
    return replace(thing, x=thing.x + dx, y=thing.y + dy, size=thing.size * scale)


def _thing(rng: np.random.Generator) -> Thing:
    return Thing(str(rng.choice(KINDS)), str(rng.choice(list(COLOURS))))


def _stray(rng: np.random.Generator, thing: Thing, loose: float) -> Thing:
    return replace(
        thing,
        x=64 + loose * float(rng.uniform(-9, 9)),
        y=70 + loose * float(rng.uniform(-6, 6)),
        size=41 * (1 + loose * float(rng.uniform(-0.12, 0.12))),
        flip=loose >= 1 and bool(rng.random() < 0.5),
    )


STEADY = 0.25
"""How loose the scenes are that base and adapters learn last: a small model draws what keeps its place far better."""


def render(scene: Scene) -> np.ndarray:
    """The picture of a scene, uint8 of shape (64, 64, 3)."""
    return layers(scene)[0]


def layers(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The picture, and which share of each pixel an object covers: float32 of shape (64, 64, 1)."""
    canvas = paint(scene.place, np.random.default_rng(scene.noise))
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    brush = ImageDraw.Draw(layer)
    if scene.second is not None:
        _draw(brush, scene.second)
    if scene.extra == "balloons":
        accessories.balloons(layer)
    _draw(brush, scene.first)
    if scene.extra in accessories.WORN:
        accessories.WORN[scene.extra](layer)
    canvas.paste(layer, (0, 0), layer)
    cover = layer.getchannel("A").resize((SIDE, SIDE), Image.Resampling.BOX)
    picture = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX))
    return picture, np.asarray(cover, np.float32)[..., None] / 255


def _draw(brush: ImageDraw.ImageDraw, thing: Thing) -> None:
    DRAW[thing.kind](Pen(brush, (thing.x, thing.y), thing.size, thing.flip, COLOURS[thing.colour]))


def with_subject(scene: Scene, subject: str) -> Scene:
    """The same scene with a subject effect: something worn, another kind of object, or another size."""
    first = scene.first
    if subject in ("cats", "robots"):
        return replace(scene, first=replace(first, kind=subject[:-1]))
    if subject in ("giant", "tiny"):
        scale = 1.5 if subject == "giant" else 0.45
        return replace(scene, first=replace(first, size=first.size * scale, y=first.y + (0 if scale > 1 else 16)))
    return replace(scene, extra=subject)
