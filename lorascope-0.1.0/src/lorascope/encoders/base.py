"""What an encoder is: images and texts as vectors of one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from PIL import Image

if TYPE_CHECKING:
    import torch


@runtime_checkable
class TextEncoder(Protocol):
    """The text half of an encoder. A search in words needs no more."""

    name: str
    digest: str

    def texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """One unnormalised embedding a text; over-long texts are cut as the encoder's tokenizer cuts them."""
        ...


@runtime_checkable
class PictureEncoder(Protocol):
    """What a search by picture needs of an encoder."""

    name: str
    digest: str

    def picture(self, picture: Image.Image) -> Float32[np.ndarray, " d"]:
        """The unnormalised embedding of one picture, prepared as the model's own processor does."""
        ...


@runtime_checkable
class Encoder(TextEncoder, PictureEncoder, Protocol):
    """Both halves of an encoder, as measuring needs them."""

    def images(self, images: torch.Tensor) -> Float32[np.ndarray, "n d"]:
        """One unnormalised embedding an image.

        Args:
            images: float tensor (n, 3, height, width) with values in 0..1, on any device.
        """
        ...
