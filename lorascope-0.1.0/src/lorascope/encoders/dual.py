"""Image encoders through transformers: CLIP, SigLIP and their like. Images never leave the tensor path."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32
from PIL import Image

from lorascope.encoders.digest import Preprocessing, model_digest
from lorascope.encoders.text import ClipText
from lorascope.encoders.weights import read_config
from lorascope.errors import ModelError
from lorascope.models import find_model

_TEXT_BATCH = 64


@final
class DualEncoder:
    """An image and text encoder of ``transformers`` (CLIPModel, SiglipModel, Siglip2Model, ...), in float32."""

    def __init__(self, location: str, *, device: str = "cpu", download: bool = False) -> None:
        """Load a model from a folder, from the package (``package:...``) or from the Hugging Face cache.

        Raises:
            ModelError: it is not on this disk, incomplete, or has no image and text features.
        """
        from transformers import AutoModel

        self._folder = find_model(location, download=download)
        self.name = location
        self.digest = model_digest(self._folder)
        self._preprocessing = Preprocessing.read(self._folder)
        self._device = torch.device(device)
        try:
            model: Any = AutoModel.from_pretrained(
                self._folder, use_safetensors=True, local_files_only=True, dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{self._folder} is no model that transformers can load ({error}): give a complete model folder"
            ) from error
        if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
            raise ModelError(
                f"{location} is a {type(model).__name__}, which does not embed images and texts: use CLIP or SigLIP"
            )
        self._model = model.eval().requires_grad_(requires_grad=False).to(self._device)

    @torch.inference_mode()
    def images(self, images: torch.Tensor) -> Float32[np.ndarray, "n d"]:
        """Unnormalised image embeddings (n, d) of images (n, 3, height, width) in 0..1."""
        pixels = self._prepare(images.to(self._device, torch.float32))
        return _features(self._model.get_image_features(pixel_values=pixels))

    def picture(self, picture: Image.Image) -> Float32[np.ndarray, " d"]:
        """The unnormalised embedding of one picture."""
        pixels = torch.from_numpy(np.array(picture.convert("RGB")))
        return self.images(pixels.permute(2, 0, 1)[None].float() / 255)[0]

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unnormalised text embeddings (n, d)."""
        if self._clip_text is not None:
            return self._clip_text.texts(texts)
        found: list[Float32[np.ndarray, "b d"]] = []
        for start in range(0, len(texts), _TEXT_BATCH):
            inputs = self._tokenizer(
                list(texts[start : start + _TEXT_BATCH]),
                padding="max_length",  # as SigLIP was trained; its towers are not causal, so padding counts
                truncation=True,
                max_length=self._model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self._device)
            found.append(_features(self._model.get_text_features(**inputs)))
        return np.concatenate(found)

    def _prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Resize, crop and normalise as the PIL processor does, to within 1/255, without leaving the tensor."""
        plan = self._preprocessing
        height, width = images.shape[-2:]
        if plan.shortest_edge:
            short = min(height, width)
            target = (plan.size[0] * height // short, plan.size[0] * width // short)
        else:
            target = plan.size
        images = _rounded(images)
        for size in ((height, target[1]), target):  # Pillow keeps whole numbers between its two passes, too
            if size != tuple(images.shape[-2:]):
                images = _rounded(F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False))
        if plan.crop is not None:
            top, left = (target[0] - plan.crop[0]) // 2, (target[1] - plan.crop[1]) // 2
            images = images[..., top : top + plan.crop[0], left : left + plan.crop[1]]
        mean, std = (torch.tensor(row, device=images.device)[:, None, None] for row in (plan.mean, plan.std))
        return (images - mean) / std

    @cached_property
    def _clip_text(self) -> ClipText | None:
        return ClipText(self._folder, self.name) if read_config(self._folder).get("model_type") == "clip" else None

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._folder, local_files_only=True)


def _rounded(images: torch.Tensor) -> torch.Tensor:
    return images.clamp(0, 1).mul(255).round().div(255)


def _features(output: Any) -> Float32[np.ndarray, "n d"]:
    tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return tensor.float().cpu().numpy()
