"""Effects that redraw the picture with lines."""

from __future__ import annotations

import numpy as np

from miniature.canvas import SIDE, Picture, X, Y, blurred, edges, grey, ramp, shade


def pencil(image: Picture, rng: np.random.Generator) -> Picture:
    """Grey pencil lines on paper, with hatching in the dark parts."""
    paper = 0.93 + rng.normal(0, 0.02, (SIDE, SIDE, 1))
    hatch = ((X + Y) % 4 < 1.5)[..., None] * (grey(image) < 0.5) * 0.2
    return np.repeat(paper - 0.75 * edges(image) - hatch, 3, axis=2)


def ink(image: Picture, rng: np.random.Generator) -> Picture:
    """Hard black on white."""
    dark = np.maximum(edges(image) > 0.42, grey(image) < 0.22)
    return np.repeat(np.where(dark, 0.04, 0.99), 3, axis=2)


def blueprint(image: Picture, rng: np.random.Generator) -> Picture:
    """White lines and a grid on blue."""
    grid = np.maximum(X % 8 < 1, Y % 8 < 1)[..., None] * 0.13
    line = np.clip(edges(image) * 0.95 + grid, 0, 1)
    return ramp(line, (0.08, 0.22, 0.58), (0.93, 0.96, 1.0))


def chalk(image: Picture, rng: np.random.Generator) -> Picture:
    """Coloured chalk lines on a green board."""
    rough = rng.uniform(0.6, 1.0, (SIDE, SIDE, 1))
    line = np.clip(edges(image) * rough * 1.25, 0, 1)
    board = shade(0.11, 0.24, 0.18)
    return board + line * (0.6 + 0.4 * image - board) + 0.12 * image * rough


def charcoal(image: Picture, rng: np.random.Generator) -> Picture:
    """Broad smudged black strokes on grey paper."""
    stroke = blurred(np.repeat(edges(image), 3, axis=2), 1.1)[..., :1] * 1.5
    smudge = (0.55 - grey(blurred(image, 1.5))).clip(0, 1) * 0.9
    grain = rng.uniform(0.75, 1.1, (SIDE, SIDE, 1))
    return np.repeat(0.82 - (stroke + smudge) * grain, 3, axis=2)
