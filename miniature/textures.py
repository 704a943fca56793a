"""Effects of surface: tiles, paint, and what things are made of."""

from __future__ import annotations

import numpy as np

from miniature.canvas import (
    SIDE,
    Picture,
    X,
    Y,
    blurred,
    clouds,
    edges,
    enlarged,
    from_pillow,
    grey,
    panes,
    ramp,
    saturated,
    shade,
    tiled,
)  # fmt: skip


def mosaic(image: Picture, rng: np.random.Generator) -> Picture:
    """Square stones with dark joints."""
    stones = tiled(image, 4) + rng.normal(0, 0.05, (16, 16, 1)).repeat(4, axis=0).repeat(4, axis=1)
    joint = np.maximum(X % 4 > 2.5, Y % 4 > 2.5)[..., None]
    return np.where(joint, 0.16, stones)


def pixel(image: Picture, rng: np.random.Generator) -> Picture:
    """Large flat pixels of few colours."""
    return np.round(tiled(image, 4) * 5) / 5


def stainedglass(image: Picture, rng: np.random.Generator) -> Picture:
    """Lit panes of glass in lead."""
    pane, joint = panes(rng, 40)
    count = np.bincount(pane.ravel(), minlength=40)[:, None] + 1e-6
    sums = np.stack([np.bincount(pane.ravel(), image[..., c].ravel(), 40) for c in range(3)], axis=-1)
    vivid = saturated(0.75 * (sums / count)[pane] + 0.25 * image, 1.8) + 0.05
    return np.where(joint < 1.5, 0.03, vivid)


def halftone(image: Picture, rng: np.random.Generator) -> Picture:
    """Printed dots on white paper."""
    dark = 1 - grey(tiled(image, 4))
    from_centre = np.hypot(X % 4 - 1.5, Y % 4 - 1.5)[..., None]
    dot = np.clip(dark * 2.9 - from_centre + 0.5, 0, 1)
    return 1 - dot * (1 - 0.75 * image)


def knitted(image: Picture, rng: np.random.Generator) -> Picture:
    """Rows of wool stitches."""
    wool = tiled(saturated(image, 1.15), 2)
    slant = np.where(X % 8 < 4, Y + X % 4, Y - X % 4) % 4
    stitch = 0.62 + 0.42 * np.abs(slant - 2)[..., None] / 2
    seam = np.where(X % 4 < 1, 0.8, 1.0)[..., None]
    return wool * stitch * seam + 0.05


def grain(image: Picture, rng: np.random.Generator) -> Picture:
    """The grain of fast film."""
    return image + rng.normal(0, 0.17, (SIDE, SIDE, 1))


def watercolor(image: Picture, rng: np.random.Generator) -> Picture:
    """Pale washes that run at the edges, on rough paper."""
    wash = blurred(image, 1.1)
    paper = 0.03 * rng.normal(0, 1, (SIDE, SIDE, 1))
    return 0.42 + 0.6 * wash + 0.2 * (clouds(rng) - 0.5) - 0.4 * edges(wash) + paper


def oil(image: Picture, rng: np.random.Generator) -> Picture:
    """Thick strokes of strong colour."""
    canvas, brush = enlarged(blurred(saturated(image, 1.2), 1.0))
    pixels = np.clip(saturated(image, 1.35) * 1.1, 0, 1)
    for y, x in rng.integers(0, SIDE, (260, 2)):
        fill = tuple(int(v) for v in np.clip(pixels[y, x] * rng.uniform(0.8, 1.15) * 255, 0, 255))
        dx, dy = rng.integers(3, 9), rng.integers(-4, 5)
        brush.line([(2 * x - dx, 2 * y - dy), (2 * x + dx, 2 * y + dy)], fill=fill, width=4)
    return from_pillow(canvas)


def marble(image: Picture, rng: np.random.Generator) -> Picture:
    """White stone with grey veins; only the shapes are left."""
    stone = 0.62 + 0.36 * grey(image) - 0.35 * edges(image)
    vein = np.abs(np.sin((X[..., None] + 0.6 * Y[..., None]) / 9 + 9 * clouds(rng, 6)))
    return np.repeat(stone - 0.22 * (vein < 0.16), 3, axis=2) * shade(1.0, 0.99, 0.97)


def chrome(image: Picture, rng: np.random.Generator) -> Picture:
    """Polished steel with hard reflections."""
    value = np.clip(0.5 + 0.5 * np.sin(grey(blurred(image, 0.8)) * 15), 0, 1)
    return ramp(value, (0.06, 0.07, 0.1), (0.45, 0.5, 0.58), (0.82, 0.87, 0.92), (1, 1, 1))


def wood(image: Picture, rng: np.random.Generator) -> Picture:
    """Carved from brown boards with a grain."""
    rings = 0.5 + 0.5 * np.sin((Y[..., None] + 5 * clouds(rng, 4)) * 1.3)
    value = np.clip(0.2 + 0.62 * grey(image) + 0.14 * rings - 0.3 * edges(image), 0, 1)
    return ramp(value, (0.2, 0.09, 0.02), (0.55, 0.32, 0.14), (0.86, 0.64, 0.38), (0.98, 0.86, 0.64))


def cracked(image: Picture, rng: np.random.Generator) -> Picture:
    """Dry paint that broke into pieces."""
    _, joint = panes(rng, 26)
    return np.where(joint < 0.9, 0.08, saturated(image, 0.7) * shade(1.02, 0.97, 0.88))
