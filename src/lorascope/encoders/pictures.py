"""A picture file as an embedding, opened with care: it may come from anywhere."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from lorascope.encoders.base import PictureEncoder
from lorascope.errors import QueryError

_MOST_PIXELS = 64_000_000
_LONGEST = 2048
"""Pixels. Larger pictures are shrunk to this before they are floats; encoders look at 224 to 512."""
_NARROWEST = 16
"""Times that a picture may be longer than wide: encoders enlarge the short side to what they look at."""
_MOST_SCANS = 64
"""Of a progressive JPEG, which encoders write in 6 to 20: a scan of 100 bytes costs a pass over the whole picture."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")
"""What pictures come in. Pillow knows others that start programs or follow links."""
_REMEDY = "give a PNG, JPEG, WebP, GIF, BMP or AVIF file"


def embed_picture(source: Path | BytesIO, encoder: str | PictureEncoder) -> Float32[np.ndarray, " d"]:
    """Embed a picture.

    Args:
        source: a PNG, JPEG, WebP, GIF, BMP or AVIF file of at most 64 megapixels.
        encoder: an encoder, or where one is.

    Raises:
        QueryError: the file cannot be read as a picture, or is too large.
        ModelError: the encoder cannot be loaded.
    """
    from lorascope.encoders.load import load_picture_encoder

    upright = open_picture(source)
    if isinstance(encoder, str):
        encoder = load_picture_encoder(encoder)
    return encoder.picture(upright)


def open_picture(source: Path | BytesIO) -> Image.Image:
    """Open a picture as a person sees it, with a long side of at most 2,048 pixels.

    Args:
        source: a PNG, JPEG, WebP, GIF, BMP or AVIF file of at most 64 megapixels.

    Raises:
        QueryError: the file cannot be read as a picture, or is too large.
    """
    name = source if isinstance(source, Path) else "the picture"
    if isinstance(source, Path) and source.exists() and not source.is_file():  # a pipe would be waited for for ever
        raise QueryError(f"{name} is no file: {_REMEDY}")
    try:
        with Image.open(source, formats=FORMATS) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise QueryError(f"{name} has {picture.width} x {picture.height} pixels: use at most 64 megapixels")
            if max(picture.size) > _NARROWEST * min(picture.size):
                raise QueryError(f"{name} has {picture.width} x {picture.height} pixels: cut out the part that matters")
            if isinstance(picture, JpegImageFile) and _bytes(source).count(b"\xff\xda") > _MOST_SCANS:
                raise QueryError(f"{name} is a JPEG of more than {_MOST_SCANS} scans: save it anew")
            return _upright(picture)
    except UnidentifiedImageError as error:  # its message has the object that was read, not what is wrong with it
        raise QueryError(f"{name} cannot be read as a picture: {_REMEDY}") from error
    except QueryError:
        raise
    except Exception as error:  # decoders raise errors of many kinds; AVIF's raises RuntimeError
        reason = str(error) or type(error).__name__
        raise QueryError(f"{name} cannot be read as a picture ({reason}): {_REMEDY}") from error


def _bytes(source: Path | BytesIO) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source.getvalue()


def _upright(picture: Image.Image) -> Image.Image:
    """What a person sees: upright, on white where it is transparent, with 16 bits of grey as 8."""
    picture.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BICUBIC)
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright) // 256).clip(0, 255).astype(np.uint8))
    white = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
