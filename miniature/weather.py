"""Effects of weather and of things that fall."""

from __future__ import annotations

import numpy as np

from miniature.canvas import Picture, Y, clouds, enlarged, from_pillow, grey, saturated, shade


def snow(image: Picture, rng: np.random.Generator) -> Picture:
    """Falling flakes, white ground, cold light."""
    cold = image * shade(0.86, 0.92, 1.0) + 0.06
    ground = np.clip((Y[..., None] - 46 + rng.uniform(-2, 2)) / 6, 0, 1) * 0.8
    canvas, brush = enlarged(cold + (0.97 - cold) * ground)
    for x, y, r in zip(*rng.uniform((0, 0, 2), (128, 128, 4.2), (48, 3)).T, strict=True):
        brush.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255))
    return from_pillow(canvas)


def rain(image: Picture, rng: np.random.Generator) -> Picture:
    """Slanting streaks, grey light."""
    canvas, brush = enlarged((0.5 * image + 0.5 * grey(image)) * shade(0.62, 0.7, 0.8))
    for x, y in rng.uniform((0, -10), (140, 118), (40, 2)):
        brush.line([(x, y), (x - 9, y + 26)], fill=(196, 220, 242), width=3)
    return from_pillow(canvas)


def hail(image: Picture, rng: np.random.Generator) -> Picture:
    """Grey balls of ice with a light edge, some bouncing, under a dark sky."""
    canvas, brush = enlarged(saturated(image, 0.45) * shade(0.6, 0.66, 0.72) + 0.03)
    for x, y, r in zip(*rng.uniform((0, 0, 3.5), (128, 128, 6), (30, 3)).T, strict=True):
        brush.ellipse((x - r, y - r, x + r, y + r), fill=(206, 222, 234), outline=(96, 112, 130), width=2)
    return from_pillow(canvas)


def confetti(image: Picture, rng: np.random.Generator) -> Picture:
    """Falling paper of many colours."""
    canvas, brush = enlarged(image)
    colours = ((255, 60, 90), (255, 214, 40), (60, 200, 255), (120, 230, 90), (190, 90, 240), (255, 140, 40))
    for i, (x, y) in enumerate(rng.uniform(0, 128, (54, 2))):
        w, h = rng.uniform(3, 6, 2)
        brush.rectangle((x - w, y - h, x + w, y + h), fill=colours[i % 6])
    return from_pillow(canvas)


def petals(image: Picture, rng: np.random.Generator) -> Picture:
    """Pink petals in a soft wind."""
    canvas, brush = enlarged(image * shade(1.0, 0.93, 0.96) + shade(0.05, 0.03, 0.04))
    for i, (x, y) in enumerate(rng.uniform(0, 128, (40, 2))):
        w, h = ((6, 3), (3, 6), (5, 4))[i % 3]
        brush.ellipse((x - w, y - h, x + w, y + h), fill=((255, 160, 200), (255, 200, 222))[i % 2])
    return from_pillow(canvas)


def fog(image: Picture, rng: np.random.Generator) -> Picture:
    """Pale mist, thicker towards the ground."""
    share = np.clip(0.42 + 0.3 * Y[..., None] / 63 + 0.3 * (clouds(rng, 5) - 0.4), 0.2, 0.9)
    return image + (shade(0.84, 0.87, 0.9) - image) * share
