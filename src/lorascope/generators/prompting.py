"""An IP-Adapter beside a resident U-Net: layers of attention that see a reference picture, for a while."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from lorascope.adapters.attachments import ImagePrompt
from lorascope.errors import MalformedAdapter


@contextmanager
def with_image_prompt(unet: Any, part: ImagePrompt, scale: float) -> Generator[None]:
    """Have diffusers put an IP-Adapter on a U-Net; on leaving, the U-Net has its own layers again.

    Args:
        unet: A UNet2DConditionModel.
        part: The IP-Adapter.
        scale: What the attention to the reference is multiplied by.

    Raises:
        MalformedAdapter: diffusers does not read it as an IP-Adapter of this base model.
    """
    processors, projection, kind = unet.attn_processors, unet.encoder_hid_proj, unet.config.encoder_hid_dim_type
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, tensor in part.tensors.items():
        name, _, rest = key.partition(".")
        parts[name][rest] = tensor
    try:
        try:
            unet._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = f"diffusers cannot load it as an IP-Adapter of this base model ({str(error).splitlines()[0]:.200})"
            raise MalformedAdapter(part.path, reason, "Use one that was trained for this base model") from error
        for processor in unet.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [scale]
        yield
    finally:
        unet.set_attn_processor(dict(processors))
        unet.encoder_hid_proj = projection
        unet.config.encoder_hid_dim_type = kind


def shown(part: ImagePrompt, count: int, guided: int, like: torch.Tensor) -> list[torch.Tensor]:
    """What the U-Net's call is given for a batch: for those of its first rows that guide, no picture."""
    rows = [part.unseen] * guided + [part.seen] * count
    return [torch.stack(rows).to(like)]
