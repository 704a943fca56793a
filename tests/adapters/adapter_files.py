"""Making adapter files for tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

TINY_UNET = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (8, 16, 16),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 1, 2),
    "cross_attention_dim": 12,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 20,
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return normal noise that depends on nothing but its arguments."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def save(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a safetensors file."""
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, dict(metadata or {}))
    return path


def raw(header: object, body: bytes = b"") -> bytes:
    """Return the bytes of a file with this header, a text or something to dump as JSON."""
    text = header if isinstance(header, str) else json.dumps(header)
    return len(text.encode()).to_bytes(8, "little") + text.encode() + body


def lora(shape: Sequence[int], rank: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return down and up for a weight of this shape, convolutions as LoCon keeps them."""
    ones = [1] * (len(shape) - 2)
    return noise(rank, *shape[1:], seed=seed), noise(shape[0], rank, *ones, seed=seed + 1)


def kohya_lora(
    modules: Mapping[str, Sequence[int]], prefix: str = "lora_unet_", rank: int = 2
) -> dict[str, torch.Tensor]:
    """Return a kohya adapter of these modules: dotted name to the shape of its weight."""
    tensors: dict[str, torch.Tensor] = {}
    for seed, (module, shape) in enumerate(modules.items()):
        alias = prefix + module.replace(".", "_")
        down, up = lora(shape, rank, seed)
        tensors |= {f"{alias}.lora_down.weight": down, f"{alias}.lora_up.weight": up}
        tensors[f"{alias}.alpha"] = torch.tensor(float(rank))
    return tensors
