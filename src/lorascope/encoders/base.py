"""What an encoder is: images and texts as vectors of one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32


@runtime_checkable
class TextEncoder(Protocol):
    """The text half of an encoder. A search needs no more."""

    name: str
    digest: str

    def texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """One unnormalised embedding a text; over-long texts are cut as the encoder's tokenizer cuts them."""
        ...


@runtime_checkable
class Encoder(TextEncoder, Protocol):
    """Both halves of an encoder."""

    def images(self, images: torch.Tensor) -> Float32[np.ndarray, "n d"]:
        """One unnormalised embedding an image.

        Args:
            images: float tensor (n, 3, height, width) with values in 0..1, on any device.
        """
        ...
