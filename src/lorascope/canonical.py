"""Weights in the one form in which they are compared: float16."""

from __future__ import annotations

import torch


def canonical_bytes(name: str, tensor: torch.Tensor) -> bytes:
    """One named tensor as digests see it: float16. Integer tensors (position ids) are no weights and leave no trace."""
    if not tensor.is_floating_point():
        return b""
    values = tensor.detach().to("cpu", torch.float16).contiguous().numpy()
    return f"{name}{tuple(tensor.shape)}".encode() + values.tobytes()
