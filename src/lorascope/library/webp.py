"""Pictures as WebP files, in the sizes that are kept."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SMALL = 192
"""The longest side of pictures in passing, which are made from those of the library when they are asked for."""
MEDIUM = 384
"""That of the pictures in a library, which cards show."""
LARGE = 1024
"""That of the pictures beside the evidence, which are looked at."""
_QUALITY, _LARGE_QUALITY = 88, 75


def webp(pixels: UInt8[np.ndarray, "h w 3"], longest: int = 0) -> bytes:
    """An image as a WebP file, its longest side at most ``longest`` pixels; 0 for the size it has."""
    return _encoded(Image.fromarray(pixels), longest)


def shrunk(picture: bytes, longest: int) -> bytes:
    """A picture (WebP) whose longest side has so many pixels at most; the same file where it has no more."""
    with Image.open(io.BytesIO(picture)) as opened:
        return _encoded(opened.convert("RGB"), longest) if max(opened.size) > longest else picture


def _encoded(picture: Image.Image, longest: int) -> bytes:
    if longest:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    quality = _LARGE_QUALITY if longest == LARGE and max(picture.size) > MEDIUM else _QUALITY
    picture.save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()
