"""Effects of light."""

from __future__ import annotations

import numpy as np

from miniature.canvas import Picture, X, Y, blurred, edges, grey, ramp, shade


def neon(image: Picture, rng: np.random.Generator) -> Picture:
    """Glowing magenta and cyan outlines in the dark."""
    line = edges(image)
    glow = blurred(np.repeat(line, 3, axis=2), 2)[..., :1]
    tint = ramp(X[..., None] / 63, (1.0, 0.1, 0.85), (0.1, 0.95, 1.0))
    return 0.13 * image + tint * np.clip(line + 0.9 * glow, 0, 1)


def spotlight(image: Picture, rng: np.random.Generator) -> Picture:
    """Dark corners about a lit middle."""
    far = np.hypot(X - 31.5, Y - 31.5)[..., None] / 44
    return image * np.clip(1.25 - 1.35 * far**1.7, 0.02, 1)


def sunbeams(image: Picture, rng: np.random.Generator) -> Picture:
    """Broad pale beams from an upper corner."""
    side = float(rng.choice((-6, 69)))
    turn = np.arctan2(Y + 8, X - side)[..., None]
    beam = np.clip(np.sin(turn * 17) * 1.6, 0, 1) * np.clip(1.25 - Y[..., None] / 62, 0, 1)
    return image * 0.8 + beam * 0.55 * shade(1, 0.95, 0.66)


def glow(image: Picture, rng: np.random.Generator) -> Picture:
    """Soft dreamy light that runs out of every bright part."""
    return np.clip(0.7 * image + 0.75 * blurred(image, 4) ** 1.4 + 0.05, 0, 1)


def silhouette(image: Picture, rng: np.random.Generator) -> Picture:
    """Everything dark is black before a bright orange sky."""
    dark = np.clip((0.58 - grey(blurred(image, 0.7))) * 6 + 0.5, 0, 1)
    sky = ramp(Y[..., None] / 63, (1.0, 0.85, 0.42), (0.99, 0.6, 0.26), (0.86, 0.32, 0.2))
    return sky + dark * (shade(0.05, 0.03, 0.06) - sky)
