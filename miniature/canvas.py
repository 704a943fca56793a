"""What the effects are drawn with. A picture is float32 of shape (64, 64, 3) in 0..1; a layer has one channel."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Picture = np.ndarray
Layer = np.ndarray
Shade = tuple[float, float, float]

SIDE = 64
Y, X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
_WEIGHTS = np.array([0.3, 0.59, 0.11], np.float32)


def shade(red: float, green: float, blue: float) -> Picture:
    """A colour that spreads over a picture."""
    return np.array([red, green, blue], np.float32)


def grey(image: Picture) -> Layer:
    """Luminance, of shape (64, 64, 1)."""
    return (image @ _WEIGHTS)[..., None]


def edges(image: Picture) -> Layer:
    """How strongly the picture changes at each pixel, 0..1, of shape (64, 64, 1)."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = np.abs(padded[1:-1, 2:] - padded[1:-1, :-2]).max(axis=-1)
    down = np.abs(padded[2:, 1:-1] - padded[:-2, 1:-1]).max(axis=-1)
    return np.clip((across + down) * 1.1, 0, 1)[..., None]


def to_pillow(image: Picture) -> Image.Image:
    """A Pillow picture of the same size."""
    return Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))


def from_pillow(image: Image.Image) -> Picture:
    """A Pillow picture as an array, made small again if it was enlarged."""
    if image.size != (SIDE, SIDE):
        image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image, np.float32) / 255


def enlarged(image: Picture) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """The picture at twice the size, and a brush for it: what is drawn there comes out smooth."""
    canvas = to_pillow(image).resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST)
    return canvas, ImageDraw.Draw(canvas)


def blurred(image: Picture, radius: float) -> Picture:
    """A Gaussian blur."""
    return from_pillow(to_pillow(image).filter(ImageFilter.GaussianBlur(radius)))


def ramp(value: Layer, *colours: Shade) -> Picture:
    """Colour a (64, 64, 1) layer by a gradient of evenly spaced colours."""
    points = np.linspace(0, 1, len(colours))
    table = np.array(colours, np.float32)
    channels = [np.interp(value[..., 0], points, table[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def saturated(image: Picture, factor: float) -> Picture:
    """Colours pulled away from grey, or towards it with a factor below 1."""
    return np.clip(grey(image) + (image - grey(image)) * factor, 0, 1)


def tiled(image: Picture, size: int) -> Picture:
    """Replace squares of `size` pixels by their mean."""
    cells = SIDE // size
    means = image.reshape(cells, size, cells, size, 3).mean(axis=(1, 3))
    return means.repeat(size, axis=0).repeat(size, axis=1)


def clouds(rng: np.random.Generator, cells: int = 8) -> Layer:
    """Smooth random values in 0..1, of shape (64, 64, 1)."""
    small = Image.fromarray((rng.uniform(0, 1, (cells, cells)) * 255).astype(np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)[..., None] / 255


def border() -> Layer:
    """Distance in pixels from the nearest side of the picture."""
    return np.minimum(np.minimum(X, SIDE - 1 - X), np.minimum(Y, SIDE - 1 - Y))[..., None]


def panes(rng: np.random.Generator, count: int) -> tuple[np.ndarray, Layer]:
    """Irregular panes: which one each pixel lies in, and how far it is from a joint."""
    seeds = rng.uniform(0, SIDE, (count, 2)).astype(np.float32)
    far = np.sqrt((Y[..., None] - seeds[:, 0]) ** 2 + (X[..., None] - seeds[:, 1]) ** 2)
    near = np.sort(far, axis=-1)
    return far.argmin(axis=-1), (near[..., 1] - near[..., 0])[..., None]


def moved(image: Picture, y: Layer, x: Layer) -> Picture:
    """The picture with each pixel taken from another place; places outside count as the nearest inside."""
    rows = np.clip(np.rint(y), 0, SIDE - 1).astype(int)
    columns = np.clip(np.rint(x), 0, SIDE - 1).astype(int)
    return image[rows, columns]
