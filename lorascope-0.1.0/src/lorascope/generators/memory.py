"""Whether an error is the device's and not the work's."""

from __future__ import annotations

import torch

_SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""Apple GPUs, the CPU's allocator and CUDA's libraries have no type of their own for this."""


def out_of_memory(error: BaseException) -> bool:
    """Whether a device has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )
