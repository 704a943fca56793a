"""Images as numbers: 8-bit arrays, thumbnails and how far these moved."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8

THUMBNAIL = 64


def to_pixels(images: torch.Tensor) -> UInt8[np.ndarray, "n h w 3"]:
    """Images (n, 3, h, w) with values in 0..1 as 8-bit arrays in rows of memory."""
    return images.float().mul(255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def thumbnails(images: torch.Tensor) -> UInt8[np.ndarray, "n 3 s s"]:
    """Images (n, 3, h, w) in small."""
    small = F.interpolate(images.float(), size=(THUMBNAIL, THUMBNAIL), mode="area")
    return small.mul(255).round().to("cpu", torch.uint8).contiguous().numpy()


def distances(one: UInt8[np.ndarray, "n 3 s s"], other: UInt8[np.ndarray, "n 3 s s"]) -> Float32[np.ndarray, " n"]:
    """Root mean square difference of each pair of thumbnails, 0 to 1.

    Squares are summed as whole numbers, so the result does not depend on the order in which memory holds them.
    """
    squares = (one.astype(np.int64) - other) ** 2
    return (np.sqrt(squares.sum((1, 2, 3)) / squares[0].size) / 255).astype(np.float32)
