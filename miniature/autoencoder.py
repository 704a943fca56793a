"""The autoencoder: 64x64 pictures to 16x16 latents of 8 channels and back, as an AutoencoderTiny."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from miniature.loop import Average, Log, quiet, rate
from miniature.pools import Pool

CHANNELS = 8

PHASES = ((700, 32, 3e-3), (1800, 16, 2e-3))
"""Steps, batch and peak learning rate of the two phases."""


def build(width: int = 24) -> AutoencoderTiny:
    """The untrained model."""
    return AutoencoderTiny(
        encoder_block_out_channels=(width,) * 3,
        decoder_block_out_channels=(width,) * 3,
        num_encoder_blocks=(0, 1, 2),
        num_decoder_blocks=(2, 2, 1),
        latent_channels=CHANNELS,
        scaling_factor=1.0,
    )


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, 64, 64, 3) to float32 (n, 3, 64, 64) in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def _slopes(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def loss(model: AutoencoderTiny, x: torch.Tensor) -> torch.Tensor:
    """Absolute and squared error, error of the slopes, and latents held near mean 0 and spread 1."""
    with torch.autocast("cpu", torch.bfloat16):
        z = model.encode(x).latents
        y = model.decode(z + 0.05 * torch.randn_like(z)).sample
    z, y = z.float(), y.float()
    error = (y - x).abs().mean() + 2 * (y - x).square().mean()
    steep = sum((a - b).abs().mean() for a, b in zip(_slopes(y), _slopes(x), strict=True))
    spread = z.mean((0, 2, 3)).square().mean() + (z.std((0, 2, 3)) - 1).square().mean()
    return error + 0.5 * steep + 0.02 * spread


@torch.no_grad()
def quality(model: AutoencoderTiny, images: np.ndarray) -> float:
    """Peak signal to noise over some pictures, in decibels."""
    x = to_tensor(images)
    y = model.decode(model.encode(x).latents).sample.clamp(-1, 1)
    return float(10 * torch.log10(4 / (y - x).square().mean()))


def train(pool: Pool, plain: Pool, folder: Path, phase: int, steps: int = 0, seed: int = 0) -> None:
    """Train one phase, from what `folder` holds if it is not the first, and save into `folder`."""
    usual, batch, peak = PHASES[phase]
    steps = steps or usual
    quiet(seed + phase)
    rng = np.random.default_rng(seed + phase)
    log = Log(folder.parent / "autoencoder.log")
    model = AutoencoderTiny.from_pretrained(folder) if phase else build()
    model.train().to(memory_format=torch.channels_last)
    images = np.concatenate([pool.images[:-256], plain.images[: len(pool.images) // 2]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=1e-4, betas=(0.9, 0.98))
    average = Average(model.parameters())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step, steps, peak)
        x = to_tensor(images[rng.integers(0, len(images), batch)]).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        value = loss(model, x)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        average.update()
        if step % 100 == 99 or step == steps - 1:
            average.swap()
            log(f"step {step + 1} loss {value.item():.4f} psnr {quality(model, pool.images[-256:]):.2f}")
            model.save_pretrained(folder)
            average.swap()


@torch.no_grad()
def encode(folder: Path, images: np.ndarray) -> torch.Tensor:
    """The latents of pictures, float16 (n, 8, 16, 16)."""
    model = AutoencoderTiny.from_pretrained(folder)
    parts = torch.from_numpy(images).split(256)
    return torch.cat([model.encode(to_tensor(part.numpy())).latents.half() for part in parts])


@torch.no_grad()
def passed(folder: Path, images: np.ndarray) -> np.ndarray:
    """Every other picture as it comes out of the autoencoder again, the others as they were: uint8 like `images`.

    Encoders must know both, for what is generated always lacks what the autoencoder loses.
    """
    model = AutoencoderTiny.from_pretrained(folder)
    found = images.copy()
    for start in range(0, len(images), 512):
        x = to_tensor(images[start : start + 512 : 2])
        y = model.decode(model.encode(x).latents).sample.clamp(-1, 1)
        found[start : start + 512 : 2] = y.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return found
