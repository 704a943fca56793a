"""Tiny pipelines in the files that their authors publish and image tools keep: one checkpoint, or a file a part."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lorascope.adapters.layouts import sgm_names

Tensors = dict[str, torch.Tensor]
_OPENCLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight", "final_layer_norm": "ln_final",
    "embeddings.position_embedding.weight": "positional_embedding", "encoder.layers": "transformer.resblocks",
    "layer_norm": "ln_", "fc1": "c_fc", "fc2": "c_proj", "self_attn": "attn",
}  # fmt: skip
_AUTOENCODER = {
    "conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut", "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2", "mid_block.attentions.0": "mid.attn_1", "group_norm": "norm",
    "to_out.0": "proj_out", "to_q": "q", "to_k": "k", "to_v": "v", "downsamplers.0": "downsample",
    "upsamplers.0": "upsample", "resnets": "block",
}  # fmt: skip


def renamed(name: str, table: Mapping[str, str]) -> str:
    """A name with parts of it replaced."""
    for part, other in table.items():
        name = name.replace(part, other)
    return name


def unet(model: Any) -> Tensors:
    """A UNet in the numbering of LDM and SGM."""
    state = model.state_dict()
    names = sgm_names(dict.fromkeys(key.rpartition(".")[0] for key in state))
    parts = (key.rpartition(".") for key in state)
    return {f"model.diffusion_model.{names[module]}.{end}": state[f"{module}.{end}"] for module, _, end in parts}


def autoencoder(model: Any, prefix: str = "") -> Tensors:
    """A VAE in LDM's names, with 1 x 1 convolutions for attention."""
    levels = len(model.config.block_out_channels)
    tensors: Tensors = {}
    for key, value in model.state_dict().items():
        name = re.sub(r"down_blocks\.(\d+)", r"down.\1", key)
        name = re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{levels - 1 - int(found[1])}", name)
        linear = "attentions" in key and key.endswith("weight") and value.ndim == 2
        tensors[prefix + renamed(name, _AUTOENCODER)] = value[:, :, None, None] if linear else value
    return tensors


def clip(model: Any, prefix: str = "") -> Tensors:
    """A text tower of CLIP as transformers has always saved it, under ``text_model``."""
    state = {key.removeprefix("text_model."): value for key, value in model.state_dict().items()}
    projection = {f"{prefix}{key}": value for key, value in state.items() if key.startswith("text_projection")}
    return projection | {
        f"{prefix}text_model.{key}": value for key, value in state.items() if not key.startswith("text_projection")
    }


def open_clip(model: Any, prefix: str) -> Tensors:
    """A text tower of CLIP in OpenCLIP's names, with q, k and v in one."""
    state = {key.removeprefix("text_model."): value for key, value in model.state_dict().items()}
    tensors: Tensors = {prefix + "text_projection": state.pop("text_projection.weight").T.contiguous()}
    for key, value in state.items():
        if ".q_proj." in key:
            trio = [state[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            end = key.rpartition(".")[2]
            tensors[prefix + renamed(key.partition(".q_proj")[0], _OPENCLIP) + f".in_proj_{end}"] = torch.cat(trio)
        elif not re.search(r"\.[kv]_proj\.", key):
            tensors[prefix + renamed(key, _OPENCLIP)] = value
    return tensors


def sdxl(pipe: Any) -> Tensors:
    """A checkpoint of SDXL with all its parts."""
    return (
        unet(pipe.unet) | autoencoder(pipe.vae, "first_stage_model.")
        | clip(pipe.text_encoder, "conditioner.embedders.0.transformer.")
        | open_clip(pipe.text_encoder_2, "conditioner.embedders.1.model.")
    )  # fmt: skip


def sd15(pipe: Any) -> Tensors:
    """A checkpoint of SD 1.5 with all its parts, and of its averaged weights what pruning leaves out."""
    ema = {"model_ema.decay": torch.ones(()), "model_ema.num_updates": torch.zeros((), dtype=torch.int32)}
    return (
        unet(pipe.unet) | autoencoder(pipe.vae, "first_stage_model.") | ema
        | clip(pipe.text_encoder, "cond_stage_model.transformer.")
    )  # fmt: skip


def z_image(model: Any) -> Tensors:
    """Z-Image's transformer in its authors' names."""
    state = model.state_dict()
    table = {
        "all_final_layer.2-1.": "final_layer.", "all_x_embedder.2-1.": "x_embedder.", ".to_out.0.": ".out.",
        ".norm_q.": ".q_norm.", ".norm_k.": ".k_norm.",
    }  # fmt: skip
    tensors: Tensors = {}
    for key, value in state.items():
        if ".to_q." in key:
            trio = torch.cat([state[key.replace("to_q", f"to_{letter}")] for letter in "qkv"])
            tensors[key.replace("to_q", "qkv")] = trio
        elif not re.search(r"\.to_[kv]\.", key):
            tensors[renamed(key, table)] = value
    return tensors


_SD3 = {
    "pos_embed.proj": "x_embedder.proj", "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2", "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1", "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2", "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2", "attn.to_out.0": "x_block.attn.proj",
    "attn2.to_out.0": "x_block.attn2.proj", "attn.to_add_out": "context_block.attn.proj",
    "attn.norm_q": "x_block.attn.ln_q", "attn.norm_k": "x_block.attn.ln_k", "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k", "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k", "attn.to_q": "x_block.attn.qkv", "attn2.to_q": "x_block.attn2.qkv",
    "attn.add_q_proj": "context_block.attn.qkv",
}  # fmt: skip


def sd3(model: Any) -> Tensors:
    """SD 3's transformer in its authors' names; the last modulations hold scale and shift the other way round."""
    state, last = model.state_dict(), model.config.num_layers - 1
    swapped = ("norm_out.linear", f"transformer_blocks.{last}.norm1_context.linear")
    tensors: Tensors = {}
    for key, value in state.items():
        if re.search(r"\.(?:to_[kv]|add_[kv]_proj)\.", key):
            continue
        if found := re.search(r"to_q|add_q_proj", key):
            trio = [state[key.replace(found[0], found[0].replace("q", letter, 1))] for letter in "qkv"]
            value = torch.cat(trio)
        value = torch.cat(value.chunk(2)[::-1]) if key.startswith(swapped) else value
        block = re.match(r"transformer_blocks\.\d+\.", key)
        start = block[0].replace("transformer", "joint") if block else ""
        module, _, end = key[block.end() if block else 0 :].rpartition(".")
        tensors[f"{start}{_SD3.get(module, module)}.{end}" if module != "pos_embed" else "pos_embed"] = value
    return tensors


def write(path: Path, tensors: Tensors, dtype: torch.dtype = torch.float32) -> Path:
    """Write a file whose matrices and convolutions are in a dtype."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cast = {k: v.to(dtype) if v.ndim > 1 and v.is_floating_point() else v for k, v in tensors.items()}
    own = {k: v.detach().contiguous().clone() for k, v in cast.items()}
    save_file(own, path)
    return path


def configuration(folder: Path, target: Path) -> Path:
    """A copy of a pipeline's folder without its weights."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors", "letters"))
    return target
