"""What stands beside a resident U-Net: a ControlNet, which adds to its layers, or an IP-Adapter with its attention."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFilter

from lorascope.adapters.attachments import ControlNet, ImagePrompt
from lorascope.errors import MalformedAdapter

_BLOCK = re.compile(r"controlnet_cond_embedding\.blocks\.(\d*[13579])\.weight")
_BLUR = 32
"""Radius of the blur as a share of the picture's width."""


@final
class Control:
    """A ControlNet of diffusers, loaded for one U-Net."""

    def __init__(self, unet: Any, part: ControlNet, scale: float) -> None:
        """Load it to where the U-Net is.

        Args:
            unet: A UNet2DConditionModel.
            part: The ControlNet's tensors, and its pictures.
            scale: What its additions are multiplied by.

        Raises:
            MalformedAdapter: diffusers does not read it as a ControlNet of this base model.
        """
        self._part = part
        self._scale = scale
        self._model = _loaded(unet, part).to(unet.device, unet.dtype).eval()

    def pictures(
        self, prompts: Sequence[str], seeds: Sequence[int], bare: Callable[[], Float[torch.Tensor, "n 3 h w"]]
    ) -> Float[torch.Tensor, "n 3 h w"]:
        """The picture of each cell: made of its bare one, or one of those given, by its prompt and seed alone."""
        if self._part.made:
            return torch.cat([made_of(picture, self._part.made) for picture in bare()])
        count = len(self._part.pictures)
        places = [zlib.crc32(f"{seed} {prompt}".encode()) % count for prompt, seed in zip(prompts, seeds, strict=True)]
        return torch.from_numpy(self._part.pictures[places]).permute(0, 3, 1, 2).float() / 255

    def additions(
        self, latents: torch.Tensor, moment: Any, tokens: torch.Tensor, added: Mapping[str, Any] | None,
        pictures: torch.Tensor,
    ) -> dict[str, Any]:  # fmt: skip
        """What the U-Net's call is given beside the rest: for each of its layers on the way down, and the middle."""
        down, middle = self._model(
            latents, moment, encoder_hidden_states=tokens, controlnet_cond=pictures.to(latents),
            added_cond_kwargs=added, conditioning_scale=self._scale, return_dict=False,
        )  # fmt: skip
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def made_of(picture: Float[torch.Tensor, "3 h w"], way: str) -> Float[torch.Tensor, "1 3 h w"]:
    """Make a condition of a picture in 0..1: ``edges`` (white on black), ``blur`` or ``grey``, with Pillow."""
    pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(pixels)
    image = image.filter(ImageFilter.GaussianBlur(image.width / _BLUR)) if way == "blur" else image.convert("L")
    if way == "edges":
        image = image.filter(ImageFilter.FIND_EDGES)
        ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=0)  # Pillow skips the rim
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255


def _loaded(unet: Any, part: ControlNet) -> Any:
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
    from diffusers.models.controlnets.controlnet import ControlNetModel

    model: Any
    try:
        with torch.device("meta"):
            if part.config is None:
                config = {**unet.config, "layers_per_block": unet.config.layers_per_block}
                tensors = convert_controlnet_checkpoint(dict(part.tensors), config)
                model = ControlNetModel.from_unet(
                    unet, load_weights_from_unet=False, conditioning_embedding_out_channels=_widths(tensors),
                    conditioning_channels=tensors["controlnet_cond_embedding.conv_in.weight"].shape[1],
                )  # fmt: skip
            else:
                tensors, model = part.tensors, ControlNetModel.from_config(dict(part.config))
        model.load_state_dict(tensors, assign=True)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = f"diffusers cannot load it as a ControlNet of this base model ({str(error).splitlines()[0]:.200})"
        raise MalformedAdapter(
            part.path, reason, "Use it in diffusers' layout, with its config.json beside it"
        ) from error
    return model.requires_grad_(requires_grad=False)


def _widths(tensors: Mapping[str, torch.Tensor]) -> tuple[int, ...]:
    """Channels of the layers that read the picture, one for each size of it."""
    blocks = sorted(
        (int(match.group(1)), len(value)) for key, value in tensors.items() if (match := _BLOCK.fullmatch(key))
    )
    return (len(tensors["controlnet_cond_embedding.conv_in.weight"]), *(width for _, width in blocks))


@contextmanager
def with_image_prompt(unet: Any, part: ImagePrompt, scale: float) -> Generator[None]:
    """Have diffusers put an IP-Adapter on a U-Net; on leaving, the U-Net has its own layers again.

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
