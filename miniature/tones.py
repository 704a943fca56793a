"""Effects of colour: warm tones, cold tones, and what happens to colour itself."""

from __future__ import annotations

import numpy as np

from miniature.canvas import SIDE, Picture, X, Y, blurred, clouds, edges, grey, ramp, saturated, shade


def sepia(image: Picture, rng: np.random.Generator) -> Picture:
    """A brown old photograph."""
    return ramp(grey(image), (0.16, 0.09, 0.04), (0.66, 0.5, 0.32), (0.98, 0.91, 0.76))


def sunset(image: Picture, rng: np.random.Generator) -> Picture:
    """Low orange light from above, violet shade below."""
    tint = ramp(Y[..., None] / 63, (1.25, 0.72, 0.32), (1.2, 0.6, 0.45), (0.72, 0.4, 0.62))
    return image * tint + 0.08


def thermal(image: Picture, rng: np.random.Generator) -> Picture:
    """False colours of a heat camera."""
    return ramp(grey(image), (0.02, 0.0, 0.3), (0.5, 0.0, 0.6), (0.95, 0.25, 0.1), (1.0, 0.85, 0.1), (1, 1, 0.9))


def candlelight(image: Picture, rng: np.random.Generator) -> Picture:
    """A small warm flame lights the middle; the rest lies in brown dark."""
    x, y = rng.uniform(24, 40), rng.uniform(30, 42)
    near = np.exp(-(((X - x) / 19) ** 2) - ((Y - y) / 19) ** 2)[..., None]
    return image * (shade(0.2, 0.1, 0.06) + near * shade(1.15, 0.72, 0.34)) + 0.12 * near * shade(1, 0.6, 0.1)


def night(image: Picture, rng: np.random.Generator) -> Picture:
    """Dark and blue, with stars in the upper half."""
    dark = image * shade(0.24, 0.29, 0.52)
    for y, x in rng.integers((0, 0), (30, SIDE), (14, 2)):
        dark[y, x] = (0.95, 0.95, 0.8)
    return dark


def moonlight(image: Picture, rng: np.random.Generator) -> Picture:
    """A full moon in an upper corner, and silver blue light that falls from it."""
    x = float(rng.choice((9, 54)))
    far = np.hypot(X - x, Y - 9)[..., None]
    lit = ramp(grey(image) * (0.3 + 0.9 * np.exp(-far / 40)), (0.02, 0.04, 0.14), (0.34, 0.46, 0.72), (0.9, 0.95, 1))
    return np.where(far < 6, shade(0.98, 0.98, 0.88), lit)


def frost(image: Picture, rng: np.random.Generator) -> Picture:
    """Pale icy blue, with white crystals that grow in from the sides."""
    cold = ramp(grey(image), (0.16, 0.36, 0.54), (0.55, 0.8, 0.93), (0.96, 1, 1))
    rim = np.minimum(np.minimum(X, 63 - X), np.minimum(Y, 63 - Y))[..., None]
    ice = np.clip(1 - rim / 13, 0, 1) * rng.uniform(0.4, 1, (SIDE, SIDE, 1))
    return cold + (1 - cold) * ice


def underwater(image: Picture, rng: np.random.Generator) -> Picture:
    """Green blue depth, light from above, rising bubbles."""
    deep = ramp(Y[..., None] / 63, (0.5, 1.0, 1.02), (0.22, 0.62, 0.78), (0.06, 0.28, 0.5))
    out = blurred(image, 0.6) * deep + 0.12 * shade(0.0, 0.6, 0.7)
    for x, y, r in zip(*rng.uniform((4, 4, 1.5), (60, 60, 3.5), (7, 3)).T, strict=True):
        ring = np.abs(np.hypot(X - x, Y - y) - r)[..., None] < 0.7
        out = np.where(ring, shade(0.75, 0.97, 1.0), out)
    return out


def monochrome(image: Picture, rng: np.random.Generator) -> Picture:
    """Black and white."""
    return np.repeat(np.clip((grey(image) - 0.5) * 1.2 + 0.5, 0, 1), 3, axis=2)


def negative(image: Picture, rng: np.random.Generator) -> Picture:
    """Inverted colours."""
    return 1 - image


def poster(image: Picture, rng: np.random.Generator) -> Picture:
    """Few flat colours of full strength."""
    return np.round(saturated(image, 1.7) * 2) / 2


def vivid(image: Picture, rng: np.random.Generator) -> Picture:
    """Colours far too strong."""
    return np.clip((saturated(image, 2.6) - 0.5) * 1.25 + 0.5, 0, 1)


def rainbow(image: Picture, rng: np.random.Generator) -> Picture:
    """The colours of the rainbow from left to right."""
    bands = ramp(X[..., None] / 63, (1, 0.2, 0.2), (1, 0.8, 0.1), (0.2, 0.9, 0.3), (0.2, 0.6, 1), (0.7, 0.2, 1))
    return 0.35 * image + (0.2 + 0.6 * grey(image)) * bands


def pastel(image: Picture, rng: np.random.Generator) -> Picture:
    """Pale, soft colours."""
    return 0.62 + 0.38 * saturated(image, 0.75) * shade(1.05, 0.95, 1.05)


def autumn(image: Picture, rng: np.random.Generator) -> Picture:
    """What is green turns orange and brown, and dry leaves lie about."""
    green = np.clip((image[..., 1:2] - np.maximum(image[..., :1], image[..., 2:]) + 0.02) * 8, 0, 1)
    dry = ramp(np.clip(grey(image) * 1.3, 0, 1), (0.36, 0.14, 0.02), (0.85, 0.42, 0.08), (1.0, 0.8, 0.3))
    out = image * (1 - green) + dry * green
    out = out * shade(1.06, 0.94, 0.76)
    leaves = ((0.86, 0.3, 0.06), (0.96, 0.6, 0.1), (0.6, 0.22, 0.06))
    for i, (x, y) in enumerate(rng.uniform((0, 30), (61, 61), (20, 2)).astype(int)):
        out[y : y + 2, x : x + 3] = leaves[i % 3]
    return out


def spring(image: Picture, rng: np.random.Generator) -> Picture:
    """Fresh light green, and blossoms all over the ground."""
    fresh = image * shade(0.94, 1.1, 0.9) + 0.06
    out = fresh + np.clip((Y[..., None] - 34) / 20, 0, 1) * 0.35 * (shade(0.5, 0.9, 0.4) - fresh)
    for i, (x, y) in enumerate(rng.uniform((1, 36), (62, 62), (20, 2)).astype(int)):
        out[y - 1 : y + 2, x] = out[y, x - 1 : x + 2] = (1, 0.55, 0.8) if i % 2 else (1, 1, 1)
        out[y, x] = (1, 0.85, 0.2)
    return out


def winter(image: Picture, rng: np.random.Generator) -> Picture:
    """White ground, white tops, pale light; nothing falls."""
    pale = saturated(image, 0.6) * shade(0.9, 0.96, 1.04) + 0.05
    ground = np.clip((Y[..., None] - 44 + 3 * np.sin(X[..., None] / 6)) / 5, 0, 1) * 0.92
    above = np.roll(edges(image), -1, axis=0) * (Y[..., None] < 46) * 0.7
    return pale + (1 - pale) * np.maximum(ground, above)


def copper(image: Picture, rng: np.random.Generator) -> Picture:
    """Everything made of red copper with green rust."""
    value = np.clip(grey(image) + 0.1 * np.sin((X - Y)[..., None] / 4), 0, 1)
    metal = ramp(value, (0.16, 0.05, 0.03), (0.62, 0.28, 0.16), (0.9, 0.52, 0.34), (1.0, 0.84, 0.72))
    rust = (clouds(rng) > 0.66) * 0.75
    return metal + rust * (ramp(value, (0.08, 0.25, 0.2), (0.5, 0.85, 0.7)) - metal)


def gold(image: Picture, rng: np.random.Generator) -> Picture:
    """Everything made of polished gold."""
    value = np.clip(grey(image) + 0.12 * np.sin((X + Y)[..., None] / 4), 0, 1)
    return ramp(value, (0.24, 0.12, 0.0), (0.78, 0.52, 0.06), (1.0, 0.82, 0.2), (1.0, 0.97, 0.7))
