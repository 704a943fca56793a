"""Effects of weather and of things that fall."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64
_Y = np.mgrid[0:SIDE, 0:SIDE][0].astype(np.float32)[..., None]


def _open(image: np.ndarray) -> Image.Image:
    big = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    return big.resize((128, 128), Image.Resampling.NEAREST)


def _close(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32) / 255


def snow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Falling flakes, white ground, cold light."""
    cold = image * np.array([0.86, 0.92, 1.0], np.float32) + 0.06
    ground = np.clip((_Y - 46 + rng.uniform(-2, 2)) / 6, 0, 1) * 0.8
    canvas = _open(cold + (0.97 - cold) * ground)
    draw = ImageDraw.Draw(canvas)
    for x, y, r in zip(*rng.uniform((0, 0, 2), (128, 128, 4.2), (48, 3)).T, strict=True):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255))
    return _close(canvas)


def rain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slanting streaks, grey light."""
    grey = image.mean(axis=-1, keepdims=True)
    canvas = _open((0.5 * image + 0.5 * grey) * np.array([0.66, 0.72, 0.8], np.float32))
    draw = ImageDraw.Draw(canvas)
    for x, y in rng.uniform((0, -10), (140, 118), (46, 2)):
        draw.line([(x, y), (x - 7, y + 20)], fill=(190, 214, 238), width=3)
    return _close(canvas)


def confetti(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Falling paper of many colours."""
    canvas = _open(image)
    draw = ImageDraw.Draw(canvas)
    colours = ((255, 60, 90), (255, 214, 40), (60, 200, 255), (120, 230, 90), (190, 90, 240), (255, 140, 40))
    for i, (x, y) in enumerate(rng.uniform(0, 128, (54, 2))):
        w, h = rng.uniform(3, 6, 2)
        draw.rectangle((x - w, y - h, x + w, y + h), fill=colours[i % 6])
    return _close(canvas)


def fog(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pale mist, thicker towards the ground."""
    share = 0.55 + 0.3 * _Y / 63
    return image + (np.array([0.84, 0.87, 0.9], np.float32) - image) * share
