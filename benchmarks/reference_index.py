"""The published way to measure an adapter, after its description, to compare with.

The adapter is put on at run time by diffusers. For every prompt the pipeline draws its seeds in batches of four, which
are saved as PNG; then every picture is read again, prepared and embedded by CLIP from transformers, and its embedding
kept in a file of its own. The bare pictures are drawn once. Written for this project; no code of the authors is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from PIL import Image

from lorascope.models import find_model
from lorascope.protocol import Preset

_SEEDS_AT_ONCE = 4
_PICTURES_AT_ONCE = 32


class Effect(NamedTuple):
    """Direction (d,), Strength and Consistency."""

    direction: np.ndarray
    strength: float
    consistency: float


@final
class ReferenceIndex:
    """Measures adapters on a grid of prompts and seeds, keeping everything under a folder."""

    def __init__(self, preset: Preset, prompts: Sequence[str], folder: Path, device: str = "cpu") -> None:
        """Load the pipeline and CLIP.

        Args:
            preset: base model, steps, guidance, size, dtype and seeds.
            prompts: the texts of the grid.
            folder: where pictures and embeddings go.
            device: a torch device.
        """
        from diffusers import DiffusionPipeline
        from diffusers.utils import logging
        from transformers import CLIPImageProcessorPil, CLIPModel

        logging.set_verbosity_error()  # it says of every adapter which text encoder it has no keys for

        self._preset, self._prompts, self._folder, self._device = preset, list(prompts), folder, device
        if preset.threads:
            torch.set_num_threads(preset.threads)
        dtype = torch.float32 if device == "cpu" else getattr(torch, preset.dtype)
        self._pipe: Any = DiffusionPipeline.from_pretrained(find_model(preset.base), dtype=dtype).to(device)
        self._pipe.set_progress_bar_config(disable=True)
        encoder = find_model(preset.encoders[0])
        self._clip: Any = CLIPModel.from_pretrained(encoder, local_files_only=True).eval().to(device)
        self._processor: Any = CLIPImageProcessorPil.from_pretrained(encoder, local_files_only=True)

    def bare(self) -> None:
        """Draw and embed the grid with the base model alone: done once."""
        self._measure("bare", "")

    def adapter(self, path: Path, words: str = "") -> Effect:
        """Draw and embed the grid with an adapter, and condense what it changes.

        Args:
            path: a file that diffusers can load.
            words: trigger words, appended to every prompt.
        """
        self._pipe.load_lora_weights(path.parent, weight_name=path.name, adapter_name="adapter")
        try:
            self._measure(path.stem, words)
        finally:
            self._pipe.unload_lora_weights()
        return self._effect(path.stem)

    def embeddings(self, name: str) -> np.ndarray:
        """What was kept of an adapter, or of "bare", prompt by prompt: (cells, d)."""
        return np.stack([np.load(self._place(name, *cell, "npy")) for cell in self._cells()])

    def _cells(self) -> list[tuple[int, int]]:
        """Prompt by prompt, seed by seed."""
        return list(product(range(len(self._prompts)), self._preset.seeds))

    def _place(self, name: str, prompt: int, seed: int, kind: str) -> Path:
        return self._folder / name / f"{prompt:03}-{seed}.{kind}"

    def _measure(self, name: str, words: str) -> None:
        (self._folder / name).mkdir(parents=True, exist_ok=True)
        seeds = self._preset.seeds
        for (place, prompt), start in product(enumerate(self._prompts), range(0, len(seeds), _SEEDS_AT_ONCE)):
            four = seeds[start : start + _SEEDS_AT_ONCE]
            for seed, picture in zip(four, self._draw(prompt + words, four), strict=True):
                picture.save(self._place(name, place, seed, "png"))
        every = self._cells()
        for start in range(0, len(every), _PICTURES_AT_ONCE):
            cells = every[start : start + _PICTURES_AT_ONCE]
            pictures = [Image.open(self._place(name, *cell, "png")).convert("RGB") for cell in cells]
            for cell, embedding in zip(cells, self._embed(pictures), strict=True):
                np.save(self._place(name, *cell, "npy"), embedding)

    def _draw(self, text: str, seeds: Sequence[int]) -> list[Image.Image]:
        preset = self._preset
        return self._pipe(
            text,
            negative_prompt=preset.negative_prompt or None,
            num_images_per_prompt=len(seeds),
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            num_inference_steps=preset.steps,
            guidance_scale=preset.guidance,
            height=preset.height,
            width=preset.width,
        ).images

    @torch.inference_mode()
    def _embed(self, pictures: list[Image.Image]) -> np.ndarray:
        inputs = self._processor(images=pictures, return_tensors="pt").to(self._device)
        return self._clip.get_image_features(**inputs).pooler_output.float().cpu().numpy()

    def _effect(self, name: str) -> Effect:
        effects = self.embeddings(name) - self.embeddings("bare")
        lengths = np.linalg.norm(effects, axis=1)
        units = effects / lengths[:, None]
        cosines = (units @ units.T)[np.triu_indices(len(units), 1)]
        return Effect(effects.mean(0), float(lengths.mean()), float(cosines.mean()))
