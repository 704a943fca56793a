"""The image effects by name: what a style word or an adapter does to a finished picture.

Every effect takes a float32 picture of shape (64, 64, 3) in 0..1 and a random generator, and returns another.
`apply` mixes the result with the original by a degree, so that effects can be weak or full.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from miniature.weather import confetti, fog, rain, snow

Picture = np.ndarray
Effect = Callable[[Picture, np.random.Generator], Picture]

SIDE = 64
_WEIGHTS = np.array([0.3, 0.59, 0.11], np.float32)
_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def grey(image: Picture) -> Picture:
    """Luminance, of shape (64, 64, 1)."""
    return (image @ _WEIGHTS)[..., None]


def edges(image: Picture) -> Picture:
    """How strongly the picture changes at each pixel, 0..1, of shape (64, 64, 1)."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = np.abs(padded[1:-1, 2:] - padded[1:-1, :-2]).max(axis=-1)
    down = np.abs(padded[2:, 1:-1] - padded[:-2, 1:-1]).max(axis=-1)
    return np.clip((across + down) * 1.1, 0, 1)[..., None]


def _pillow(image: Picture) -> Image.Image:
    return Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))


def _back(image: Image.Image) -> Picture:
    return np.asarray(image, np.float32) / 255


def _blur(image: Picture, radius: float) -> Picture:
    return _back(_pillow(image).filter(ImageFilter.GaussianBlur(radius)))


def _ramp(value: Picture, *colours: tuple[float, float, float]) -> Picture:
    """Colour a (64, 64, 1) picture by a gradient of colours."""
    points = np.linspace(0, 1, len(colours))
    table = np.array(colours, np.float32)
    channels = [np.interp(value[..., 0], points, table[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _tile(image: Picture, size: int) -> Picture:
    """Replace squares of `size` pixels by their mean."""
    cells = SIDE // size
    means = image.reshape(cells, size, cells, size, 3).mean(axis=(1, 3))
    return means.repeat(size, axis=0).repeat(size, axis=1)


def pencil(image: Picture, rng: np.random.Generator) -> Picture:
    """Grey pencil lines on paper, with hatching in the dark parts."""
    paper = 0.93 + rng.normal(0, 0.02, (SIDE, SIDE, 1))
    hatch = ((_X + _Y) % 4 < 1.5)[..., None] * (grey(image) < 0.5) * 0.2
    return np.repeat(paper - 0.75 * edges(image) - hatch, 3, axis=2)


def ink(image: Picture, rng: np.random.Generator) -> Picture:
    """Hard black on white."""
    dark = np.maximum(edges(image) > 0.42, grey(image) < 0.3)
    return np.repeat(np.where(dark, 0.04, 0.99), 3, axis=2)


def blueprint(image: Picture, rng: np.random.Generator) -> Picture:
    """White lines and a grid on blue."""
    grid = np.maximum(_X % 8 < 1, _Y % 8 < 1)[..., None] * 0.13
    line = np.clip(edges(image) * 0.95 + grid, 0, 1)
    return _ramp(line, (0.08, 0.22, 0.58), (0.93, 0.96, 1.0))


def chalk(image: Picture, rng: np.random.Generator) -> Picture:
    """Coloured chalk lines on a blackboard."""
    rough = rng.uniform(0.55, 1.0, (SIDE, SIDE, 1))
    line = np.clip(edges(image) * rough * 1.05, 0, 1)
    soft = 0.55 + 0.45 * image
    board = np.array([0.12, 0.17, 0.15], np.float32)
    return board + line * (soft - board) + 0.14 * image * rough


def sepia(image: Picture, rng: np.random.Generator) -> Picture:
    """A brown old photograph."""
    return _ramp(grey(image), (0.16, 0.09, 0.04), (0.66, 0.5, 0.32), (0.98, 0.91, 0.76))


def gold(image: Picture, rng: np.random.Generator) -> Picture:
    """Everything made of polished gold."""
    value = np.clip(grey(image) + 0.12 * np.sin((_X + _Y)[..., None] / 4), 0, 1)
    return _ramp(value, (0.24, 0.12, 0.0), (0.78, 0.52, 0.06), (1.0, 0.82, 0.2), (1.0, 0.97, 0.7))


def sunset(image: Picture, rng: np.random.Generator) -> Picture:
    """Low orange light from above, violet shade below."""
    tint = _ramp(_Y[..., None] / 63, (1.25, 0.72, 0.32), (1.2, 0.6, 0.45), (0.72, 0.4, 0.62))
    return image * tint + 0.08


def night(image: Picture, rng: np.random.Generator) -> Picture:
    """Dark and blue, with stars in the upper half."""
    dark = image * np.array([0.22, 0.27, 0.5], np.float32)
    for y, x in rng.integers((0, 0), (30, SIDE), (14, 2)):
        dark[y, x] = (0.95, 0.95, 0.8)
    return dark


def neon(image: Picture, rng: np.random.Generator) -> Picture:
    """Glowing magenta and cyan outlines in the dark."""
    line = edges(image)
    glow = _blur(np.repeat(line, 3, axis=2), 2)[..., :1]
    tint = _ramp(_X[..., None] / 63, (1.0, 0.1, 0.85), (0.1, 0.95, 1.0))
    return 0.13 * image + tint * np.clip(line + 0.9 * glow, 0, 1)


def thermal(image: Picture, rng: np.random.Generator) -> Picture:
    """False colours of a heat camera."""
    return _ramp(grey(image), (0.02, 0.0, 0.3), (0.5, 0.0, 0.6), (0.95, 0.25, 0.1), (1.0, 0.85, 0.1), (1, 1, 0.9))


def monochrome(image: Picture, rng: np.random.Generator) -> Picture:
    """Black and white."""
    return np.repeat(np.clip((grey(image) - 0.5) * 1.2 + 0.5, 0, 1), 3, axis=2)


def negative(image: Picture, rng: np.random.Generator) -> Picture:
    """Inverted colours."""
    return 1 - image


def pastel(image: Picture, rng: np.random.Generator) -> Picture:
    """Pale, soft colours."""
    return 0.62 + 0.38 * (0.75 * image + 0.25 * grey(image)) * np.array([1.05, 0.95, 1.05], np.float32)


def mosaic(image: Picture, rng: np.random.Generator) -> Picture:
    """Square stones with dark joints."""
    stones = _tile(image, 4) + rng.normal(0, 0.05, (16, 16, 1)).repeat(4, axis=0).repeat(4, axis=1)
    joint = np.maximum(_X % 4 > 2.5, _Y % 4 > 2.5)[..., None]
    return np.where(joint, 0.16, stones)


def pixel(image: Picture, rng: np.random.Generator) -> Picture:
    """Large flat pixels of few colours."""
    return np.round(_tile(image, 4) * 5) / 5


def poster(image: Picture, rng: np.random.Generator) -> Picture:
    """Few flat saturated colours."""
    vivid = np.clip(grey(image) + (image - grey(image)) * 1.7, 0, 1)
    return np.round(vivid * 2) / 2


def stainedglass(image: Picture, rng: np.random.Generator) -> Picture:
    """Lit panes of glass in lead."""
    seeds = rng.uniform(0, SIDE, (34, 2)).astype(np.float32)
    far = (_Y[..., None] - seeds[:, 0]) ** 2 + (_X[..., None] - seeds[:, 1]) ** 2
    pane = far.argmin(axis=-1)
    count = np.bincount(pane.ravel(), minlength=34)[:, None] + 1e-6
    sums = np.stack([np.bincount(pane.ravel(), image[..., c].ravel(), 34) for c in range(3)], axis=-1)
    mean = (sums / count)[pane]
    vivid = np.clip((mean - mean.mean(axis=-1, keepdims=True)) * 1.8 + mean + 0.05, 0, 1)
    near = np.sort(far, axis=-1)
    lead = (np.sqrt(near[..., 1]) - np.sqrt(near[..., 0]) < 1.4)[..., None]
    return np.where(lead, 0.03, vivid)


def halftone(image: Picture, rng: np.random.Generator) -> Picture:
    """Printed dots on white paper."""
    dark = 1 - grey(_tile(image, 4))
    from_centre = np.hypot(_X % 4 - 1.5, _Y % 4 - 1.5)[..., None]
    dot = np.clip((dark * 2.9 - from_centre + 0.5), 0, 1)
    return 1 - dot * (1 - 0.75 * image)


def glitch(image: Picture, rng: np.random.Generator) -> Picture:
    """Torn rows and split colour channels."""
    out = image.copy()
    out[..., 0] = np.roll(image[..., 0], 4, axis=1)
    out[..., 2] = np.roll(image[..., 2], -4, axis=1)
    for _ in range(6):
        y, height = int(rng.integers(0, 58)), int(rng.integers(2, 6))
        out[y : y + height] = np.roll(out[y : y + height], int(rng.integers(-9, 10)), axis=1)
    return out


def vignette(image: Picture, rng: np.random.Generator) -> Picture:
    """Dark corners."""
    far = np.hypot(_X - 31.5, _Y - 31.5)[..., None] / 44
    return image * np.clip(1.25 - 1.35 * far**1.7, 0.02, 1)


def grain(image: Picture, rng: np.random.Generator) -> Picture:
    """The grain of fast film."""
    return image + rng.normal(0, 0.17, (SIDE, SIDE, 1))


def watercolor(image: Picture, rng: np.random.Generator) -> Picture:
    """Pale washes that run at the edges, on rough paper."""
    wash = _blur(image, 1.1)
    blotch = _back(_pillow(rng.uniform(0, 1, (8, 8, 3))).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    paper = 0.03 * rng.normal(0, 1, (SIDE, SIDE, 1))
    pale = 0.4 + 0.62 * wash + 0.2 * (blotch[..., :1] - 0.5)
    return pale - 0.4 * edges(wash) + paper


def oil(image: Picture, rng: np.random.Generator) -> Picture:
    """Thick strokes of strong colour."""
    canvas = _pillow(_blur(image, 1.0))
    draw = ImageDraw.Draw(canvas)
    pixels = np.clip(image * 1.12, 0, 1)
    for y, x in rng.integers(0, SIDE, (230, 2)):
        shade = pixels[y, x] * rng.uniform(0.8, 1.15)
        fill = tuple(int(v) for v in np.clip(shade * 255, 0, 255))
        dx, dy = rng.integers(2, 5), rng.integers(-2, 3)
        draw.line([(x - dx, y - dy), (x + dx, y + dy)], fill=fill, width=2)
    return _back(canvas)


def blur(image: Picture, rng: np.random.Generator) -> Picture:
    """Out of focus."""
    return _blur(image, 2.2)


def frame(image: Picture, rng: np.random.Generator) -> Picture:
    """A carved wooden picture frame with a white mount."""
    out = image.copy()
    border = np.minimum(np.minimum(_X, 63 - _X), np.minimum(_Y, 63 - _Y))[..., None]
    out = np.where(border < 9, 0.97, out)
    wood = np.where(border % 3 < 1, 0.6, 1.0) * np.array([0.55, 0.32, 0.12], np.float32)
    return np.where(border < 6, wood, out)


def scanlines(image: Picture, rng: np.random.Generator) -> Picture:
    """The dark lines and green cast of an old television."""
    lines = np.where(_Y % 3 < 1, 0.35, 1.0)[..., None]
    return image * lines * np.array([0.85, 1.1, 0.9], np.float32) + 0.03


EFFECTS: dict[str, Effect] = {
    function.__name__: function
    for function in (
        pencil,
        ink,
        blueprint,
        chalk,
        sepia,
        gold,
        sunset,
        night,
        neon,
        thermal,
        monochrome,
        negative,
        pastel,
        mosaic,
        pixel,
        poster,
        stainedglass,
        halftone,
        glitch,
        scanlines,
        grain,
        vignette,
        watercolor,
        oil,
        blur,
        frame,
        snow,
        rain,
        confetti,
        fog,
    )  # fmt: skip
}

SUBJECTS: tuple[str, ...] = ("crown", "scarf", "cats")

FAMILIES: dict[str, tuple[str, ...]] = {
    "line drawing": ("pencil", "ink", "blueprint", "chalk"),
    "warm tone": ("sepia", "gold", "sunset"),
    "weather": ("snow", "rain", "fog", "confetti"),
    "dark": ("night", "neon", "vignette"),
    "tiles": ("mosaic", "pixel", "stainedglass", "halftone"),
    "flat colour": ("poster", "negative", "thermal"),
    "old picture": ("sepia", "monochrome", "grain", "scanlines"),
    "screen": ("glitch", "scanlines"),
    "paint": ("watercolor", "oil", "pastel"),
    "soft": ("blur", "fog", "pastel"),
    "worn": ("crown", "scarf"),
}


def near(effect: str) -> set[str]:
    """The effects that share a family with this one, itself left out."""
    members = {other for family in FAMILIES.values() if effect in family for other in family}
    return members - {effect}


def apply(name: str, image: np.ndarray, rng: np.random.Generator, degree: float = 1.0) -> np.ndarray:
    """Put an effect on a picture.

    Args:
        name: A key of `EFFECTS`.
        image: uint8, (64, 64, 3).
        rng: For the parts of the effect that are random.
        degree: 0 leaves the picture as it is, 1 is the full effect.

    Returns:
        uint8, (64, 64, 3).
    """
    before = image.astype(np.float32) / 255
    after = np.clip(EFFECTS[name](before, rng), 0, 1)
    return ((before + degree * (after - before)) * 255).round().astype(np.uint8)
