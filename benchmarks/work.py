"""The work of one image of full-size SDXL, counted rather than timed: no weights and no GPU are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import Figure, Measurement
from benchmarks.models import sdxl_parts
from lorascope.measure.stopping import expected_cells
from lorascope.precision import PRECISIONS
from lorascope.protocol import Preset

TITLE = "The work of SDXL, counted"
NOTE = """Floating-point operations of one pass, by torch's counter on models without weights; a multiplication and an
addition are two. *An adapter* counts its own images only, at the number of cells that its precision is expected to take
for a Consistency of 0.1, about the median of published signatures."""

_SIZES = (512, 768, 1024)


def measure() -> Iterator[Measurement]:
    """Passes, images, adapters."""
    parts = sdxl_parts("meta")
    passes = {size: _passes(parts, size) for size in _SIZES}
    for size, found in passes.items():
        for stage in (_UNET, _VAE, _TINY):
            yield Figure(name=f"{stage}, {size} px", value=found[stage] / 1e12, unit="TFLOP")
    for stage in (_TEXTS, _CLIP):
        yield Figure(name=stage, value=passes[1024][stage] / 1e12, unit="TFLOP")
    for name in ("sdxl-paper", "sdxl-fast", "sdxl-lightning"):
        preset = Preset.load(name)
        image = _image(preset, passes[preset.width])
        yield Figure(name=f"one image, `{name}`", value=image / 1e12, unit="TFLOP")
        for precision in PRECISIONS.values():
            cells = expected_cells(precision, preset.grid())
            yield Figure(
                name=f"an adapter at `{precision.name}`, `{name}`",
                value=cells * image / 1e15,
                unit="PFLOP",
                note=f"{cells} images",
            )


_TEXTS = "both text encoders, one prompt"
_UNET = "UNet, one pass"
_VAE = "decoder"
_TINY = "tiny decoder"
_CLIP = "CLIP ViT-B/32, one image"


def _image(preset: Preset, passes: dict[str, float]) -> float:
    """Guidance doubles the UNet's passes; prompts are encoded once and hardly count."""
    unet = preset.steps * (2 if preset.guidance > 1 else 1) * passes[_UNET]
    return unet + passes[_TINY if "taesd" in preset.vae else _VAE] + passes[_CLIP]


def _passes(parts: dict[str, Any], size: int) -> dict[str, float]:
    def meta(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    latents = meta(1, 4, size // 8, size // 8)
    added = {"text_embeds": meta(1, 1280), "time_ids": meta(1, 6)}
    ids = torch.zeros(1, 77, dtype=torch.long, device="meta")
    work = {
        _UNET: lambda: parts["unet"](
            latents, meta(1), encoder_hidden_states=meta(1, 77, 2048), added_cond_kwargs=added
        ),
        _VAE: lambda: parts["vae"].decode(latents),
        _TINY: lambda: parts["tiny"].decode(latents),
        _TEXTS: lambda: (parts["text_encoder"](ids), parts["text_encoder_2"](ids)),
        _CLIP: lambda: parts["clip"].get_image_features(pixel_values=meta(1, 3, 224, 224)),
    }
    return {stage: count(run) for stage, run in work.items()}


def count(run: Callable[[], object]) -> float:
    """Floating-point operations of some work in torch: its products of matrices, convolutions and attention."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return float(counter.get_total_flops())
