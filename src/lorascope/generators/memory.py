"""What fits into a device's memory, what waits elsewhere, and whether an error is the device's and not the work's."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""Apple GPUs, the CPU's allocator and CUDA's libraries have no type of their own for this."""
_DECODED: Final = 1536
"""Bytes a pixel of the one image that is decoded at a time: three layers of 256 channels in two bytes."""
_DENOISED: Final = 450
"""Bytes a pixel of every image of a batch: 16 values of two bytes for each of a token's 3,072 channels, 16 x 16 px."""
_CONTEXT: Final = 2**29
"""What the device's own libraries take."""
_ROOM: Final = 8 * 2**30
"""What has to be free beside a second denoiser before untouched copies are kept on the device."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a device has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )


def release_memory() -> None:
    """Give back to the device what models took that nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class MemoryPlan:
    """Which parts of a base model are on the device, and when.

    Attributes:
        offload: "none": all of them, always. "parts": the denoiser and the VAE, or the text encoders while prompts are
            encoded. "blocks": one block of the denoiser or one layer of a text encoder at a time.
        copies: Whether untouched copies of changed weights are kept on the device, too.
        peak: The most memory that is used, in bytes, as estimated from the sizes of weights and images.
    """

    offload: str
    copies: bool
    peak: int

    def __str__(self) -> str:
        where = {
            "none": "all parts stay on the device",
            "parts": "text encoders and denoiser take turns on the device",
            "blocks": "blocks are moved to the device one at a time",
        }
        return f"about {self.peak / 1e9:.1f} GB ({where[self.offload]})"


def size(module: nn.Module | None) -> int:
    """Bytes of a module's weights."""
    return sum(weight.nbytes for weight in module.parameters()) if module is not None else 0


def block_size(denoiser: nn.Module) -> int:
    """Bytes of the largest block, such as one layer of a transformer, and of all that is in no block."""
    blocks = [size(block) for child in denoiser.children() if isinstance(child, nn.ModuleList) for block in child]
    return max(blocks, default=0) + size(denoiser) - sum(blocks)


def memory_plan(
    parts: Mapping[str, int], *, block: int, pixels: int, batch: int, available: float, asked: str = ""
) -> MemoryPlan:
    """Choose the plan that moves least and fits.

    Args:
        parts: Bytes of "denoiser", "vae" and "texts" (all text encoders).
        block: Bytes of the denoiser's largest block.
        pixels: Of one image.
        batch: Images rendered at once.
        available: Bytes of the device's memory.
        asked: A plan by name, whatever fits; "" chooses one.

    Examples:
        >>> flux = {"denoiser": 23_800_000_000, "vae": 170_000_000, "texts": 9_800_000_000}
        >>> one = {"block": 680_000_000, "pixels": 2**20, "batch": 1}
        >>> print(memory_plan(flux, available=48e9, **one))
        about 35.9 GB (all parts stay on the device)
        >>> print(memory_plan(flux, available=12e9, **one))
        about 3.7 GB (blocks are moved to the device one at a time)
    """
    work = pixels * max(_DECODED, _DENOISED * batch) + _CONTEXT
    peaks = {
        "none": sum(parts.values()) + work,
        "parts": max(parts["denoiser"] + parts["vae"], parts["texts"]) + work,
        "blocks": 2 * block + parts["vae"] + work,
    }
    chosen = asked or next((name for name, peak in peaks.items() if peak <= available), "")
    chosen = chosen or min(peaks, key=lambda name: peaks[name])
    whole = sum(parts.values()) + parts["denoiser"]
    copies = chosen == "none" and whole + _ROOM <= available
    return MemoryPlan(chosen, copies, peaks[chosen] + (parts["denoiser"] if copies else 0))


def available(device: torch.device) -> float:
    """Bytes of a device's memory that this process may use; unlimited where that is not known."""
    if device.type != "cuda":
        return float("inf")
    share = torch.cuda.get_per_process_memory_fraction(device)
    return torch.cuda.get_device_properties(device).total_memory * share
