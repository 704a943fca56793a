"""A deterministic encoder that costs nothing, for tests of everything above encoders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float32
from PIL import Image

if TYPE_CHECKING:
    import torch

WORDS = ("red", "green", "blue")
"""The words it understands: a query for one points where images move that gain that colour."""
_DIM = 16


@final
class FakeEncoder:
    """Embeds the mean colour of an image and the colour words of a text; the rest is fixed noise."""

    name = "fake"
    digest = "fake-encoder"

    def images(self, images: torch.Tensor) -> Float32[np.ndarray, "n d"]:
        """Mean colour in the first three places, the picture's own pattern in the others."""
        return self._embedded(images.detach().float().cpu().numpy())

    def picture(self, picture: Image.Image) -> Float32[np.ndarray, " d"]:
        """The same of one picture."""
        pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
        return self._embedded(pixels.transpose(2, 0, 1)[None])[0]

    def _embedded(self, pixels: Float32[np.ndarray, "n 3 h w"]) -> Float32[np.ndarray, "n d"]:
        result = np.zeros((len(pixels), _DIM), np.float32)
        result[:, :3] = pixels.mean((2, 3)) * 4
        flat = pixels.reshape(len(pixels), -1)
        pattern = flat[:, : _DIM - 3]
        result[:, 3 : 3 + pattern.shape[1]] = pattern * 0.5
        return result

    def texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Colour words in the first three places, a hash of the whole text in the others."""
        result = np.zeros((len(texts), _DIM), np.float32)
        for row, text in zip(result, texts, strict=True):
            words = text.lower().split()
            row[:3] = [words.count(word) for word in WORDS]
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
            row[3:] = np.random.default_rng(seed).normal(size=_DIM - 3) * 0.05
        return result
