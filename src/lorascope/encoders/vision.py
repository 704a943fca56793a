"""CLIP's image tower in NumPy, for queries by picture. Measuring embeds images with torch, where the device is."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32
from PIL import Image

from lorascope.encoders.digest import Preprocessing, model_digest
from lorascope.encoders.transformer import Transformer
from lorascope.encoders.weights import Weights, read_config
from lorascope.errors import ModelError


@final
class ClipVision:
    """The image tower of any CLIP model in the layout of ``transformers``, on the processor."""

    def __init__(self, folder: Path, name: str = "") -> None:
        """Map the image half of a CLIP folder.

        Raises:
            ModelError: the folder lacks a configuration or a weight, or is no CLIP model.
        """
        self.name = name or str(folder)
        config = read_config(folder)
        if config.get("model_type") != "clip" or "vision_config" not in config:
            raise ModelError(f"{folder} holds a {config.get('model_type')!r} model: give the folder of a CLIP model")
        self.digest = model_digest(folder)
        self._preprocessing = Preprocessing.read(folder)
        weights = Weights(folder, ("vision_model.", "visual_projection."))
        self._projection = weights["visual_projection.weight"]
        self._tower = Transformer(weights, "vision_model", config["vision_config"])
        self._patches = self._tower.weight("embeddings.patch_embedding.weight")
        self._class = self._tower.weight("embeddings.class_embedding")
        self._positions = self._tower.weight("embeddings.position_embedding.weight")

    def picture(self, picture: Image.Image) -> Float32[np.ndarray, " d"]:
        """The unnormalised embedding of a picture, equal to ``CLIPModel.get_image_features`` up to rounding."""
        size = self._patches.shape[-1]
        pixels = prepared(picture.convert("RGB"), self._preprocessing)
        channels, height, width = pixels.shape
        grid = pixels.reshape(channels, height // size, size, width // size, size).transpose(1, 3, 0, 2, 4)
        patches = grid.reshape(-1, channels * size * size) @ self._patches.reshape(len(self._patches), -1).T
        x = np.concatenate([self._class[None], patches])
        if len(x) != len(self._positions):
            raise ModelError(
                f"{self.name}: its preprocessing gives {len(patches)} patches, its tower takes"
                f" {len(self._positions) - 1}: fetch the model again"
            )
        x = self._tower.normed((x + self._positions)[None], "pre_layrnorm")  # so it is spelt in the weights
        pooled, _ = self._tower.run(x, np.ones((x.shape[1], x.shape[1]), bool), np.zeros(1, np.int64))
        return (self._tower.normed(pooled, "post_layernorm") @ self._projection.T)[0]


def prepared(picture: Image.Image, plan: Preprocessing) -> Float32[np.ndarray, "3 height width"]:
    """Resize, crop and normalise a picture as a model's own processor does."""
    width, height = picture.size
    if plan.shortest_edge:
        short = min(width, height)
        target = (plan.size[0] * width // short, plan.size[0] * height // short)
    else:
        target = (plan.size[1], plan.size[0])
    picture = picture.resize(target, Image.Resampling.BICUBIC)
    if plan.crop is not None:
        left, top = (target[0] - plan.crop[1]) // 2, (target[1] - plan.crop[0]) // 2
        picture = picture.crop((left, top, left + plan.crop[1], top + plan.crop[0]))
    mean, std = np.array(plan.mean, np.float32), np.array(plan.std, np.float32)
    return ((np.asarray(picture, np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)
