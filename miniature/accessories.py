"""What an object can wear or have beside it, drawn on the layer of the object once that is there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from miniature.pen import OUTLINE


def _top(layer: Image.Image) -> tuple[float, float]:
    """Where the top of what is drawn lies, low enough for something to stand on it."""
    alpha = np.asarray(layer)[..., 3]
    top = int(np.flatnonzero(alpha.any(axis=1))[0])
    below = min(top + 4, 127)
    return float(np.flatnonzero(alpha[below if alpha[below].any() else top]).mean()), max(top + 8.0, 26.0)


def _row(layer: Image.Image, share: float) -> tuple[float, float, float]:
    """Left and right end of what is drawn at a share of its height, and that height."""
    alpha = np.asarray(layer)[..., 3]
    rows = np.flatnonzero(alpha.any(axis=1))
    y = int(rows[round(share * (len(rows) - 1))])
    xs = np.flatnonzero(alpha[y])
    return float(xs[0]), float(xs[-1]), float(y)


def crown(layer: Image.Image) -> None:
    """A golden crown with three jewels."""
    x, y = _top(layer)
    draw = ImageDraw.Draw(layer)
    spots = [(x + dx, y + dy) for dx, dy in ((-19, 0), (-22, -21), (-10, -11), (0, -25), (10, -11), (22, -21), (19, 0))]
    draw.polygon(spots, fill=(255, 206, 30))
    draw.line([*spots, spots[0]], fill=OUTLINE, width=3)
    for dx, fill in ((-9, (224, 30, 60)), (0, (40, 110, 230)), (9, (224, 30, 60))):
        draw.ellipse((x + dx - 3, y - 8, x + dx + 3, y - 2), fill=fill)


def hat(layer: Image.Image) -> None:
    """A black top hat with a red band."""
    x, y = _top(layer)
    draw = ImageDraw.Draw(layer)
    draw.rectangle((x - 14, y - 27, x + 14, y), fill=(30, 28, 36), outline=(10, 8, 14), width=2)
    draw.rectangle((x - 14, y - 10, x + 14, y - 3), fill=(206, 30, 46))
    draw.rounded_rectangle((x - 25, y - 3, x + 25, y + 4), 3, fill=(30, 28, 36), outline=(10, 8, 14), width=2)


def scarf(layer: Image.Image) -> None:
    """A striped red scarf about the middle."""
    left, right, y = _row(layer, 0.5)
    middle = (left + right) / 2
    left, right = min(left - 4, middle - 18), max(right + 4, middle + 18)
    draw = ImageDraw.Draw(layer)
    red, white = (214, 24, 36), (255, 255, 255)
    draw.rounded_rectangle((left, y - 7, right, y + 7), 6, fill=red, outline=OUTLINE, width=2)
    draw.rectangle((right - 20, y + 4, right - 6, y + 36), fill=red, outline=OUTLINE, width=2)
    for dy in (14, 24):
        draw.rectangle((right - 18, y + dy, right - 8, y + dy + 4), fill=white)


def sunglasses(layer: Image.Image) -> None:
    """Large black sunglasses."""
    left, right, y = _row(layer, 0.28)
    x = (left + right) / 2
    draw = ImageDraw.Draw(layer)
    draw.line((x - 25, y - 4, x + 25, y - 4), fill=(12, 12, 16), width=5)
    for dx in (-13, 13):
        draw.rounded_rectangle((x + dx - 11, y - 7, x + dx + 11, y + 10), 6, fill=(16, 16, 22))
        draw.line((x + dx - 6, y - 2, x + dx - 1, y + 4), fill=(150, 190, 220), width=3)


def balloons(layer: Image.Image) -> None:
    """Four balloons on strings, behind the object."""
    draw = ImageDraw.Draw(layer)
    for x, y, fill in (
        (20, 26, (236, 50, 60)),
        (42, 16, (255, 210, 40)),
        (88, 17, (60, 190, 90)),
        (108, 30, (70, 120, 240)),
    ):
        draw.line((x, y + 12, 64 + (x - 64) * 0.3, 78), fill=(70, 60, 70), width=2)
        draw.ellipse((x - 12, y - 15, x + 12, y + 14), fill=fill, outline=OUTLINE, width=2)
        draw.ellipse((x - 7, y - 10, x - 2, y - 3), fill=(255, 255, 255))


WORN: dict[str, Callable[[Image.Image], None]] = {
    "crown": crown,
    "hat": hat,
    "scarf": scarf,
    "sunglasses": sunglasses,
}
