"""The identity of an encoder: a digest over its weights and its preprocessing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorascope.canonical import canonical_bytes
from lorascope.encoders.weights import mapped
from lorascope.errors import ModelError
from lorascope.models import remembered

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of red, green and blue."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the encoder's input: resize, crop, normalise."""

    size: tuple[int, int]
    shortest_edge: bool
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of_clip(cls, size: int) -> Preprocessing:
        """CLIP's own, for pictures of so many pixels a side."""
        return cls((size, size), shortest_edge=True, crop=(size, size), mean=_MEAN, std=_STD)

    @classmethod
    def read(cls, folder: Path) -> Preprocessing:
        """Read a folder's preprocessor_config.json; what it leaves out is as in CLIP.

        Version 5 of transformers writes processor_config.json in its place where it saves a whole processor.

        Raises:
            ModelError: the file is missing or is not JSON.
        """
        path, newer = folder / "preprocessor_config.json", folder / "processor_config.json"
        try:
            if path.is_file() or not newer.is_file():
                fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
            else:
                fields = json.loads(newer.read_text("utf-8"))["image_processor"]
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{folder} has no readable preprocessor_config.json ({error}): give a complete model folder"
            ) from error
        fields = fields.get("image_processor", fields)
        size = fields.get("size", 224)
        shortest = isinstance(size, int) or "shortest_edge" in size
        crop = fields.get("crop_size", 224) if fields.get("do_center_crop", shortest) else None
        return cls(
            size=_sides(size),
            shortest_edge=shortest,
            crop=None if crop is None else _sides(crop),
            mean=tuple(fields.get("image_mean", _MEAN)),
            std=tuple(fields.get("image_std", _STD)),
        )


def _sides(size: int | dict[str, int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    edge = size.get("shortest_edge", 0)
    return size.get("height", edge), size.get("width", edge)


def model_digest(folder: Path) -> str:
    """First 16 hex digits of the sha256 over a model's tensors (as float16) and its preprocessing.

    float16 is the canonical form, so a half-precision copy of the same weights is the same model. The digest is
    remembered by the size and time of every file, since reading a large model takes seconds.

    Raises:
        ModelError: the folder holds no safetensors file, or one that cannot be read.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ModelError(f"{folder} holds no .safetensors weights: give a complete model folder")
    preprocessing = repr(Preprocessing.read(folder))
    return remembered(paths, preprocessing, lambda: _digest(paths, preprocessing))


def _digest(paths: list[Path], preprocessing: str) -> str:
    total = hashlib.sha256(preprocessing.encode())
    for path in paths:
        for name, values in sorted(mapped(path).items()):
            if np.issubdtype(values.dtype, np.floating):  # position ids are no weights
                total.update(canonical_bytes(name, values))
    return total.hexdigest()[:16]
