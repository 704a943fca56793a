"""The table of effects: which there are, which are close to each other, and how one is put on a picture.

An effect takes a float32 picture of shape (64, 64, 3) in 0..1 and a random generator, and returns another.
Subjects are no change of the picture but of the scene: see `scenes.with_subject`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from miniature import frames, lights, lines, textures, tones, warps, weather
from miniature.canvas import Layer, Picture

Effect = Callable[[Picture, np.random.Generator], Picture]

_DRAWN: dict[str, tuple[Effect, ...]] = {
    "line": (lines.pencil, lines.ink, lines.blueprint, lines.chalk, lines.charcoal),
    "warm": (tones.sepia, tones.gold, tones.copper, tones.sunset, tones.thermal, tones.candlelight),
    "cold": (tones.night, tones.moonlight, tones.frost, tones.underwater),
    "weather": (weather.snow, weather.rain, weather.hail, weather.confetti, weather.petals, weather.fog),
    "season": (tones.autumn, tones.spring, tones.winter),
    "colour": (tones.monochrome, tones.negative, tones.poster, tones.vivid, tones.rainbow),
    "tiles": (textures.mosaic, textures.pixel, textures.stainedglass, textures.halftone, textures.knitted),
    "paint": (textures.watercolor, textures.oil, tones.pastel),
    "material": (textures.marble, textures.chrome, textures.wood, textures.cracked),
    "light": (lights.neon, lights.spotlight, lights.sunbeams, lights.glow, lights.silhouette),
    "frame": (frames.frame, frames.polaroid, frames.filmstrip, frames.stamp),
    "screen": (warps.glitch, warps.scanlines, textures.grain),
    "warp": (warps.blur, warps.speed, warps.swirl, warps.ripple, warps.mirror),
}

EFFECTS: dict[str, Effect] = {effect.__name__: effect for group in _DRAWN.values() for effect in group}

FAMILIES: dict[str, tuple[str, ...]] = {
    **{family: tuple(effect.__name__ for effect in group) for family, group in _DRAWN.items()},
    "worn": ("crown", "scarf", "sunglasses", "hat"),
    "turned": ("cats", "robots"),
    "size": ("giant", "tiny"),
    "beside": ("balloons",),
}
"""Effects that resemble each other; each belongs to one family."""

SUBJECTS: tuple[str, ...] = tuple(name for f in ("worn", "turned", "size", "beside") for name in FAMILIES[f])

NAMES: tuple[str, ...] = (*EFFECTS, *SUBJECTS)

UNSEEN: tuple[str, ...] = ("charcoal", "hail", "ripple", "stamp")
"""Effects that no encoder is trained on."""

FAMILY: dict[str, str] = {name: family for family, names in FAMILIES.items() for name in names}


def apply(
    name: str, image: np.ndarray, rng: np.random.Generator, degree: float = 1.0, where: Layer | None = None
) -> np.ndarray:
    """Put an effect on a picture.

    Args:
        name: A key of `EFFECTS`.
        image: uint8, (64, 64, 3).
        rng: For the parts of the effect that are random.
        degree: 0 leaves the picture as it is, 1 is the full effect.
        where: Share of the effect at each pixel, (64, 64, 1); everywhere if not given.

    Returns:
        uint8, (64, 64, 3).
    """
    before = image.astype(np.float32) / 255
    after = np.clip(EFFECTS[name](before, rng), 0, 1)
    share = degree if where is None else degree * where
    return ((before + share * (after - before)) * 255).round().astype(np.uint8)
