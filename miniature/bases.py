"""Two more bases of the same architecture: the base, trained on for some steps on pictures of another look.

They are to the base what a community's checkpoint is to the model that it was trained from. What ships is small:
matrices and convolutions of the UNet in float8, as people share checkpoints, everything else in float16.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from miniature import autoencoder, base, effects, pack
from miniature.pools import Pool
from miniature.scenes import STEADY, render, sample

LOOKS = {"sketch": "pencil", "dusk": "night"}
"""The effect on every picture that a base is trained on, by its name."""
PHASE = base.Phase(steps=160, batch=16, full=0.7, decay=0.95, used=0.9, fall=0.5)
_UNET = Path("unet") / "diffusion_pytorch_model.safetensors"


def pool(look: str, count: int = 3000, seed: int = 41) -> Pool:
    """Steady scenes with an effect in full, of which captions say nothing."""
    rng = np.random.default_rng(seed)
    scenes = [sample(rng, STEADY) for _ in range(count)]
    return Pool(np.stack([effects.apply(look, render(scene), rng) for scene in scenes]), scenes, [()] * count)


def train_all(home: Path, work: Path, steps: int) -> None:
    """Train each base that `work` lacks, from the one in the folder `home`."""
    for name, look in LOOKS.items():
        folder = work / name
        if (folder / "trained").exists():
            continue
        drawn = pool(look)
        latents = autoencoder.encode(home / "vae", drawn.images)
        pipe = StableDiffusionXLPipeline.from_pretrained(home, add_watermarker=False, dtype=torch.float32)
        folder.mkdir(parents=True, exist_ok=True)
        base.train(latents, drawn, pipe, folder / "base", replace(PHASE, steps=steps))
        (folder / "trained").touch()


def ship(work: Path, target: Path) -> None:
    """Write the small copies."""
    for name in LOOKS:
        pack.base(work / name / "base", target / name)
        weights = load_file(target / name / _UNET)
        small = {key: value.to(torch.float8_e4m3fn) if value.ndim > 1 else value for key, value in weights.items()}
        save_file(small, target / name / _UNET, {"format": "pt"})
