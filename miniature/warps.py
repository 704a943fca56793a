"""Effects that bend, tear and blur."""

from __future__ import annotations

import numpy as np

from miniature.canvas import SIDE, Picture, X, Y, blurred, moved, shade


def glitch(image: Picture, rng: np.random.Generator) -> Picture:
    """Torn rows and split colour channels."""
    out = image.copy()
    out[..., 0] = np.roll(image[..., 0], 4, axis=1)
    out[..., 2] = np.roll(image[..., 2], -4, axis=1)
    for _ in range(6):
        y, height = int(rng.integers(0, 58)), int(rng.integers(2, 6))
        out[y : y + height] = np.roll(out[y : y + height], int(rng.integers(-9, 10)), axis=1)
    return out


def scanlines(image: Picture, rng: np.random.Generator) -> Picture:
    """The dark lines and green cast of an old television."""
    lines = np.where(Y % 3 < 1, 0.35, 1.0)[..., None]
    return image * lines * shade(0.85, 1.1, 0.9) + 0.03


def blur(image: Picture, rng: np.random.Generator) -> Picture:
    """Out of focus."""
    return blurred(image, 2.2)


def speed(image: Picture, rng: np.random.Generator) -> Picture:
    """Smeared sideways, as if it raced past."""
    return np.mean([np.roll(image, shift, axis=1) for shift in range(-6, 7)], axis=0)


def swirl(image: Picture, rng: np.random.Generator) -> Picture:
    """Turned about the middle like water in a drain."""
    dy, dx = Y - 31.5, X - 31.5
    far = np.hypot(dy, dx)
    turn = np.arctan2(dy, dx) + 2.2 * np.exp(-far / 18)
    return moved(image, 31.5 + far * np.sin(turn), 31.5 + far * np.cos(turn))


def ripple(image: Picture, rng: np.random.Generator) -> Picture:
    """Wavy, like a reflection on moving water."""
    phase = rng.uniform(0, 6.28)
    return moved(image, Y + 1.5 * np.sin(X / 4 + phase), X + 3.2 * np.sin(Y / 3.4 + phase))


def mirror(image: Picture, rng: np.random.Generator) -> Picture:
    """The left half twice: the right one is its reflection."""
    return np.concatenate([image[:, : SIDE // 2], image[:, : SIDE // 2][:, ::-1]], axis=1)
