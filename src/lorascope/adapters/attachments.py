"""What is put beside a base model's weights: a ControlNet with its pictures, an IP-Adapter with its reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ControlNet:
    """A ControlNet and the pictures that it acts on.

    Attributes:
        tensors: By the names in its file.
        config: The content of diffusers' ``config.json``; None if it is shaped as the base model.
        made: What is made of each cell's own bare picture, one of `OWN`; "" if pictures are given.
        pictures: Those that are given; none if they are made.
        path: Its item, for messages.
    """

    tensors: Mapping[str, Any]
    config: Mapping[str, Any] | None
    made: str
    pictures: UInt8[np.ndarray, "k h w 3"]
    path: Path


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """An IP-Adapter and what its image encoder sees in the reference.

    Attributes:
        tensors: By the names in its file.
        seen: The embedding of the reference, as diffusers gives it to the projection.
        unseen: What stands for no picture beside it, where there is guidance.
        path: Its item, for messages.
    """

    tensors: Mapping[str, Any]
    seen: Tensor
    unseen: Tensor
    path: Path


Attachment = ControlNet | ImagePrompt
