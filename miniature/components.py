"""A ControlNet and an IP-Adapter for the base that ships, in the layouts that people download."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionXLPipeline
from safetensors.torch import save_file
from transformers import CLIPVisionModelWithProjection

from lorascope.encoders.dual import DualEncoder
from lorascope.generators.attachments import made_of
from miniature import effects, pools
from miniature.adapters import encoded
from miniature.autoencoder import to_tensor
from miniature.base import Diffusion
from miniature.captions import plain
from miniature.loop import Log, quiet, rate
from miniature.scenes import STEADY, Scene

STEPS, BATCH, PEAK = 1200, 8, 2e-3
PICTURES, LOOKS = 600, 12
"""How many scenes the ControlNet learns from, and how many of each effect the IP-Adapter."""
TOKENS = 4
"""That a reference becomes; diffusers assumes as many."""

Batch = tuple[torch.Tensor, list[str], dict[str, Any]]
"""Latents, captions, and what stands beside them."""


def train_control(base: Path, out: Path, steps: int = STEPS) -> None:
    """Train a ControlNet on the edges of plain scenes, and write it as diffusers does, in float16."""
    pipe, log = _frozen(base), Log(out.parent / "components.log")
    pool = pools.plain(PICTURES, 31)  # objects that stray, so that edges say more than captions
    latents, pictures = encoded(pipe.vae, pool.images), to_tensor(pool.images) / 2 + 0.5
    edges = torch.cat([made_of(picture, "edges") for picture in pictures])
    model = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32, 64)).train()
    model.requires_grad_(True)
    rng = np.random.default_rng(31)

    def beside(mixed: torch.Tensor, times: torch.Tensor, hidden: torch.Tensor, extra: Any, rows: Any) -> dict[str, Any]:
        down, middle = model(mixed, times, encoder_hidden_states=hidden, added_cond_kwargs=extra, controlnet_cond=rows,
                             return_dict=False)  # fmt: skip
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def batches() -> Iterator[tuple[torch.Tensor, list[str], Any]]:
        while True:
            index = rng.integers(0, len(latents), BATCH)
            yield latents[index], [_half(pool.scenes[i], rng) for i in index], edges[index]

    _train(pipe, list(model.parameters()), batches(), beside, steps, log)
    model.eval().half().save_pretrained(out, safe_serialization=True)


def train_image_prompt(base: Path, encoder: Path, out: Path, steps: int = STEPS) -> None:
    """Train an IP-Adapter to draw a scene with the effect of another one, and write it with its image encoder."""
    pipe, log = _frozen(base), Log(out.parent / "components.log")
    diffusion = Diffusion(pipe)
    rng = np.random.default_rng(32)
    names = [name for name in pools.TRAINED if name not in effects.SUBJECTS]
    scenes: list[Scene] = pools.plain(PICTURES, 32, STEADY).scenes
    chosen = [[scenes[i] for i in rng.integers(0, len(scenes), LOOKS)] for _ in names]
    shown = ((scene, name) for name, row in zip(names, chosen, strict=True) for scene in row)
    images = np.stack([pools.picture(scene, (name,), rng, 0.8) for scene, name in shown])
    latents = encoded(pipe.vae, images)
    tower = DualEncoder(str(encoder))
    seen = torch.from_numpy(np.concatenate([tower.images(part / 2 + 0.5) for part in to_tensor(images).split(64)]))
    unet = pipe.unet
    unet._load_ip_adapter_weights([_untrained(unet, seen.shape[1])], low_cpu_mem_usage=False)
    parts = [part for part in unet.attn_processors.values() if hasattr(part, "to_k_ip")]
    parameters = [p.requires_grad_(True) for part in (*parts, unet.encoder_hid_proj) for p in part.parameters()]

    def beside(mixed: torch.Tensor, times: torch.Tensor, hidden: torch.Tensor, extra: Any, rows: Any) -> dict[str, Any]:
        extra["image_embeds"] = [rows[:, None]]
        return {}

    def batches() -> Iterator[tuple[torch.Tensor, list[str], Any]]:
        while True:
            look = rng.integers(0, len(names), BATCH)
            index, other = (look * LOOKS + rng.integers(0, LOOKS, BATCH) for _ in range(2))
            yield latents[index], [plain(chosen[i // LOOKS][i % LOOKS], rng).text for i in index], seen[other]

    _train(pipe, parameters, batches(), beside, steps, log, diffusion)
    out.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in _tensors(unet).items()}, out / "looks.safetensors")
    vision = CLIPVisionModelWithProjection.from_pretrained(encoder).half()
    vision.save_pretrained(out / "image_encoder", safe_serialization=True)
    text = (encoder / "preprocessor_config.json").read_text("utf-8")
    (out / "image_encoder" / "preprocessor_config.json").write_text(text, "utf-8")


def _half(scene: Scene, rng: np.random.Generator) -> str:
    """A caption, or none, so that edges have to be read."""
    return plain(scene, rng).text if rng.random() < 0.5 else ""


def _frozen(base: Path) -> StableDiffusionXLPipeline:
    quiet(0)
    pipe = StableDiffusionXLPipeline.from_pretrained(base, add_watermarker=False, dtype=torch.float32)
    for model in (pipe.unet, pipe.text_encoder, pipe.text_encoder_2, pipe.vae):
        model.requires_grad_(False)
    return pipe


def _train(
    pipe: StableDiffusionXLPipeline, parameters: list[Any], batches: Iterator[tuple[torch.Tensor, list[str], Any]],
    beside: Callable[..., dict[str, Any]], steps: int, log: Log, diffusion: Diffusion | None = None,
) -> None:  # fmt: skip
    diffusion = diffusion or Diffusion(pipe)
    optimizer = torch.optim.AdamW(parameters, lr=PEAK, weight_decay=0.0, betas=(0.9, 0.98))
    seen = 0.0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step, steps, PEAK)
        latents, texts, rows = next(batches)
        optimizer.zero_grad()
        value = diffusion.loss(latents, texts, beside=lambda *given, rows=rows: beside(*given, rows))
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        seen += (value.item() - seen) / min(step + 1, 50)
        if step % 50 == 49:
            log(f"step {step + 1} loss {seen:.4f}")


def _cross(unet: Any) -> Iterator[tuple[int, Any]]:
    """Layers of cross-attention with the odd numbers by which IP-Adapters call them."""
    for place, name in enumerate(unet.attn_processors):
        if ".attn2." in name:
            yield place, unet.get_submodule(name.removesuffix(".processor"))


def _untrained(unet: Any, width: int) -> dict[str, dict[str, torch.Tensor]]:
    """An IP-Adapter that begins with the base's own keys and values, as its authors began."""
    cross = unet.config.cross_attention_dim
    layers = {
        f"{place}.{name}_ip.weight": getattr(layer, name).weight.detach().clone()
        for place, layer in _cross(unet)
        for name in ("to_k", "to_v")
    }
    projection = {
        "proj.weight": torch.randn(TOKENS * cross, width) / width**0.5, "proj.bias": torch.zeros(TOKENS * cross),
        "norm.weight": torch.ones(cross), "norm.bias": torch.zeros(cross),
    }  # fmt: skip
    return {"image_proj": projection, "ip_adapter": layers}


def _tensors(unet: Any) -> dict[str, torch.Tensor]:
    """What was trained, by the names of IP-Adapter's files."""
    (projection,) = unet.encoder_hid_proj.image_projection_layers
    found = {
        "image_proj.proj.weight": projection.image_embeds.weight, "image_proj.proj.bias": projection.image_embeds.bias,
        "image_proj.norm.weight": projection.norm.weight, "image_proj.norm.bias": projection.norm.bias,
    }  # fmt: skip
    for place, layer in _cross(unet):
        (keys,), (values,) = layer.processor.to_k_ip, layer.processor.to_v_ip
        found |= {
            f"ip_adapter.{place}.to_k_ip.weight": keys.weight,
            f"ip_adapter.{place}.to_v_ip.weight": values.weight,
        }
    return {key: value.detach() for key, value in found.items()}
