"""A scene: one object of one colour before one background, drawn at 128 and halved to 64 pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from miniature.backgrounds import BACKGROUNDS, paint
from miniature.objects import DRAW, KINDS
from miniature.pen import OUTLINE, Colour, Pen

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


@dataclass(frozen=True)
class Scene:
    """What is drawn. `noise` seeds the small variations of the background."""

    kind: str
    colour: str
    place: str
    x: float
    y: float
    size: float
    flip: bool
    noise: int
    extra: str = ""


def sample(rng: np.random.Generator, loose: float = 1.0) -> Scene:
    """Draw a scene at random; `loose` scales how far place and size stray, and below 1 nothing is flipped."""
    return Scene(
        kind=str(rng.choice(KINDS)),
        colour=str(rng.choice(list(COLOURS))),
        place=str(rng.choice(list(BACKGROUNDS))),
        x=64 + loose * float(rng.uniform(-9, 9)),
        y=70 + loose * float(rng.uniform(-6, 6)),
        size=41 * (1 + loose * float(rng.uniform(-0.12, 0.12))),
        flip=loose >= 1 and bool(rng.random() < 0.5),
        noise=int(rng.integers(2**31)),
    )


STEADY = 0.25
"""How loose the scenes are that base and adapters learn last: a small model draws what keeps its place far better."""


def render(scene: Scene) -> np.ndarray:
    """The picture of a scene, uint8 of shape (64, 64, 3)."""
    rng = np.random.default_rng(scene.noise)
    canvas = paint(scene.place, rng)
    layer = Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    pen = Pen(ImageDraw.Draw(layer), (scene.x, scene.y), scene.size, scene.flip, COLOURS[scene.colour])
    DRAW[scene.kind](pen)
    if scene.extra == "crown":
        _crown(layer)
    if scene.extra == "scarf":
        _scarf(layer)
    canvas.paste(layer, (0, 0), layer)
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX))


def with_subject(scene: Scene, subject: str) -> Scene:
    """The same scene with a subject effect: a crown or scarf on the object, or a cat in its place."""
    return replace(scene, kind="cat") if subject == "cats" else replace(scene, extra=subject)


def _crown(layer: Image.Image) -> None:
    """Set a golden crown on the top of what is drawn."""
    alpha = np.asarray(layer)[..., 3]
    rows = np.flatnonzero(alpha.any(axis=1))
    top = int(rows[0])
    x = float(np.flatnonzero(alpha[min(top + 4, 127)]).mean())
    y = max(top + 8.0, 26.0)
    draw = ImageDraw.Draw(layer)
    points = [(-19, 0), (-22, -21), (-10, -11), (0, -25), (10, -11), (22, -21), (19, 0)]
    spots = [(x + dx, y + dy) for dx, dy in points]
    draw.polygon(spots, fill=(255, 206, 30))
    draw.line([*spots, spots[0]], fill=OUTLINE, width=3)
    for dx, fill in ((-9, (224, 30, 60)), (0, (40, 110, 230)), (9, (224, 30, 60))):
        draw.ellipse((x + dx - 3, y - 8, x + dx + 3, y - 2), fill=fill)


def _scarf(layer: Image.Image) -> None:
    """Wrap a striped red scarf about the middle of what is drawn."""
    alpha = np.asarray(layer)[..., 3]
    rows = np.flatnonzero(alpha.any(axis=1))
    y = int(rows[0] + 0.5 * (rows[-1] - rows[0]))
    xs = np.flatnonzero(alpha[y])
    left, right = float(xs[0]) - 4, float(xs[-1]) + 4
    middle = (left + right) / 2
    left, right = min(left, middle - 18), max(right, middle + 18)
    draw = ImageDraw.Draw(layer)
    red, white = (214, 24, 36), (255, 255, 255)
    draw.rounded_rectangle((left, y - 7, right, y + 7), 6, fill=red, outline=OUTLINE, width=2)
    draw.rectangle((right - 20, y + 4, right - 6, y + 36), fill=red, outline=OUTLINE, width=2)
    for dy in (14, 24):
        draw.rectangle((right - 18, y + dy, right - 8, y + dy + 4), fill=white)
