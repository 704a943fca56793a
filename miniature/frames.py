"""Effects that put something round the picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from miniature.canvas import SIDE, Picture, X, Y, border, saturated, shade, to_pillow


def _shrunk(image: Picture, box: tuple[int, int, int, int], ground: float) -> Picture:
    """The picture made small within a box of a plain ground."""
    x0, y0, x1, y1 = box
    out = np.full((SIDE, SIDE, 3), ground, np.float32)
    small = to_pillow(image).resize((x1 - x0, y1 - y0), Image.Resampling.BOX)
    out[y0:y1, x0:x1] = np.asarray(small, np.float32) / 255
    return out


def frame(image: Picture, rng: np.random.Generator) -> Picture:
    """A carved wooden picture frame with a white mount."""
    edge = border()
    carved = np.where(edge % 3 < 1, 0.6, 1.0) * shade(0.55, 0.32, 0.12)
    return np.where(edge < 6, carved, np.where(edge < 9, 0.97, image))


def polaroid(image: Picture, rng: np.random.Generator) -> Picture:
    """An instant photograph with a white border, wide below, and faded colours."""
    faded = saturated(image, 0.75) * shade(0.95, 0.92, 0.84) + 0.06
    out = _shrunk(faded, (7, 6, 57, 50), 0.97)
    rim = border()
    return np.where(rim < 1, 0.72, out)


def filmstrip(image: Picture, rng: np.random.Generator) -> Picture:
    """A strip of film with holes above and below."""
    out = _shrunk(image, (2, 10, 62, 54), 0.06)
    hole = ((Y % 56 > 2) & (Y % 56 < 7) & (X % 9 > 2) & (X % 9 < 7))[..., None]
    return np.where(hole & (border() < 9), 0.93, out)


def stamp(image: Picture, rng: np.random.Generator) -> Picture:
    """A postage stamp with a toothed edge."""
    out = _shrunk(saturated(image, 0.85), (9, 9, 55, 55), 0.96)
    x, y = np.abs(X - 31.5), np.abs(Y - 31.5)
    tooth = np.minimum(np.hypot(x - 29.5, Y % 6 - 2.5), np.hypot(X % 6 - 2.5, y - 29.5))[..., None] < 2
    outside = np.maximum(x, y)[..., None] > 29.5
    return np.where(tooth | outside, shade(0.36, 0.3, 0.28), out)
