"""The ten backgrounds, painted at 128 pixels with small random variations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from miniature.pen import Colour

WIDE = 128
Brush = ImageDraw.ImageDraw


def _fade(top: Colour, bottom: Colour) -> Image.Image:
    ramp = np.linspace(np.array(top), np.array(bottom), WIDE)
    return Image.fromarray(np.repeat(ramp[:, None], WIDE, axis=1).round().astype(np.uint8))


def _meadow(rng: np.random.Generator) -> Image.Image:
    image = _fade((120, 196, 250), (206, 236, 255))
    draw = ImageDraw.Draw(image)
    draw.ellipse((-60, 62, 110, 190), fill=(122, 200, 84))
    draw.ellipse((30, 70, 210, 200), fill=(104, 184, 70))
    for x, y in rng.uniform((0, 92), (128, 126), (9, 2)):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 246, 160))
    return image


def _beach(rng: np.random.Generator) -> Image.Image:
    image = _fade((126, 206, 250), (220, 244, 255))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 54, 128, 84), fill=(42, 150, 200))
    draw.polygon([(0, 82), (128, 74), (128, 128), (0, 128)], fill=(242, 222, 164))
    draw.line([(0, 82), (128, 74)], fill=(255, 255, 255), width=4)
    x = float(rng.uniform(8, 26))
    draw.ellipse((x - 8, 8, x + 14, 30), fill=(255, 240, 130))
    return image


def _desert(rng: np.random.Generator) -> Image.Image:
    image = _fade((250, 196, 120), (255, 232, 178))
    draw = ImageDraw.Draw(image)
    shift = float(rng.uniform(-16, 16))
    draw.ellipse((-70 + shift, 62, 90 + shift, 180), fill=(226, 164, 84))
    draw.ellipse((40 + shift, 74, 210 + shift, 190), fill=(208, 142, 66))
    return image


def _forest(rng: np.random.Generator) -> Image.Image:
    image = _fade((34, 84, 60), (58, 112, 66))
    draw = ImageDraw.Draw(image)
    for x in np.arange(4, 128, 24) + rng.uniform(-5, 5):
        draw.rectangle((x - 3, 40, x + 3, 108), fill=(72, 48, 32))
        for y in (6, 28, 50):
            draw.polygon([(x, y - 18), (x - 15, y + 24), (x + 15, y + 24)], fill=(22, 66, 40))
    draw.rectangle((0, 102, 128, 128), fill=(46, 76, 36))
    return image


def _city(rng: np.random.Generator) -> Image.Image:
    image = _fade((168, 188, 214), (226, 226, 232))
    draw = ImageDraw.Draw(image)
    x = -float(rng.uniform(0, 12))
    tall = (60, 86, 48, 76, 56, 92, 66)
    for i, height in enumerate(tall):
        shade = (104 + 14 * (i % 3), 110 + 14 * (i % 3), 128 + 14 * (i % 3))
        draw.rectangle((x, 104 - height, x + 19, 106), fill=shade)
        for y in range(104 - height + 5, 100, 11):
            draw.rectangle((x + 4, y, x + 7, y + 4), fill=(255, 238, 160))
            draw.rectangle((x + 12, y, x + 15, y + 4), fill=(255, 238, 160))
        x += 20
    draw.rectangle((0, 104, 128, 128), fill=(86, 88, 96))
    for x0 in range(4, 128, 30):
        draw.rectangle((x0, 115, x0 + 16, 118), fill=(240, 240, 230))
    return image


def _lake(rng: np.random.Generator) -> Image.Image:
    image = _fade((168, 220, 240), (224, 244, 248))
    draw = ImageDraw.Draw(image)
    draw.ellipse((-30, 34, 70, 84), fill=(92, 150, 96))
    draw.ellipse((52, 30, 160, 90), fill=(76, 134, 88))
    draw.rectangle((0, 60, 128, 128), fill=(58, 132, 206))
    for x, y in rng.uniform((0, 68), (128, 124), (10, 2)):
        draw.line([(x - 9, y), (x + 9, y)], fill=(140, 196, 240), width=3)
    return image


def _mountains(rng: np.random.Generator) -> Image.Image:
    image = _fade((96, 160, 226), (204, 226, 246))
    draw = ImageDraw.Draw(image)
    for x, y, w in ((24, 26, 58), (100, 18, 64), (62, 44, 50)):
        x += float(rng.uniform(-7, 7))
        draw.polygon([(x, y), (x - w, 112), (x + w, 112)], fill=(112, 108, 130))
        draw.polygon([(x, y), (x - w * 0.24, y + 22), (x, y + 16), (x + w * 0.24, y + 22)], fill=(250, 252, 255))
    draw.rectangle((0, 104, 128, 128), fill=(94, 120, 92))
    return image


def _room(rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (WIDE, WIDE), (238, 212, 178))
    draw = ImageDraw.Draw(image)
    for x in range(6, 128, 16):
        draw.line([(x, 0), (x, 92)], fill=(226, 194, 158), width=3)
    x = 10 + float(rng.uniform(-6, 6))
    draw.rectangle((x, 12, x + 32, 46), fill=(150, 212, 250), outline=(250, 250, 250), width=4)
    draw.line([(x + 16, 12), (x + 16, 46)], fill=(250, 250, 250), width=3)
    draw.rectangle((0, 92, 128, 128), fill=(160, 104, 66))
    draw.line([(0, 92), (128, 92)], fill=(110, 70, 44), width=4)
    return image


def _studio(rng: np.random.Generator) -> Image.Image:
    image = _fade((214, 214, 222), (240, 240, 244))
    draw = ImageDraw.Draw(image)
    x = 64 + float(rng.uniform(-8, 8))
    draw.ellipse((x - 58, 96, x + 58, 124), fill=(190, 190, 200))
    return image


def _garden(rng: np.random.Generator) -> Image.Image:
    image = _fade((190, 226, 250), (238, 246, 236))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 40, 128, 92), fill=(54, 128, 74))
    for x, y in rng.uniform((0, 44), (128, 70), (12, 2)):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(246, 120, 170))
    for x in np.arange(0, 128, 16) + float(rng.uniform(-6, 2)):
        draw.polygon([(x, 70), (x + 5, 63), (x + 10, 70), (x + 10, 100), (x, 100)], fill=(250, 250, 246))
    draw.rectangle((0, 78, 128, 83), fill=(250, 250, 246))
    draw.rectangle((0, 98, 128, 128), fill=(150, 206, 112))
    return image


BACKGROUNDS: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "meadow": _meadow,
    "beach": _beach,
    "desert": _desert,
    "forest": _forest,
    "city": _city,
    "lake": _lake,
    "mountains": _mountains,
    "room": _room,
    "studio": _studio,
    "garden": _garden,
}


def paint(place: str, rng: np.random.Generator) -> Image.Image:
    """A background of 128 pixels a side."""
    return BACKGROUNDS[place](rng)
