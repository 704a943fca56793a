"""A made-up home with every image tool's layout: files of a few bytes with true names of tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

CROSS = "lora_unet_{}_1_transformer_blocks_0_attn2_to_k"
CONTEXT = {"sd15": ("input_blocks_1", 768), "sdxl": ("input_blocks_4", 2048)}
"""By architecture: a block with cross-attention, and the width of the text that it reads."""


def write(path: Path, shapes: Mapping[str, Sequence[int]], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a safetensors file of empty float16 tensors: holes, where they are large."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for name, shape in shapes.items():
        size = 2
        for axis in shape:
            size *= axis
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)
    return path


def lora(path: Path, architecture: str = "sdxl", base: str = "") -> Path:
    """Write a kohya LoRA whose header names its base model. No two are the same file."""
    if architecture == "flux":
        shapes = {f"lora_unet_double_blocks_{n}_img_attn_qkv.lora_{part}.weight": shape
                  for n in range(19) for part, shape in (("down", (1, 3072)), ("up", (9216, 1)))}  # fmt: skip
    else:
        block, width = CONTEXT[architecture]
        alias = CROSS.format(block)
        shapes = {f"{alias}.lora_down.weight": (1, width), f"{alias}.lora_up.weight": (640, 1)}
    return write(path, shapes, {"comment": path.stem} | ({"ss_sd_model_name": base} if base else {}))


def checkpoint(path: Path, architecture: str = "sdxl", *marks: str, title: str = "") -> Path:
    """Write a checkpoint as the authors' code saves it; marks are names of empty tensors, such as ``v_pred``."""
    block, width = CONTEXT[architecture]
    name, number = block.rsplit("_", 1)
    inner = f"model.diffusion_model.{name}.{number}.1.transformer_blocks.0.attn2.to_k.weight"
    shapes: dict[str, Sequence[int]] = {inner: (640, width), "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3)}
    return write(path, shapes | {mark: (0,) for mark in marks}, {"modelspec.title": title} if title else None)


def denoiser(path: Path) -> Path:
    """Write the first and the last blocks of FLUX.1's transformer, in its authors' names and sizes."""
    shapes = {f"double_blocks.{n}.img_attn.qkv.weight": (9216, 3072) for n in (0, 18)}
    return write(path, shapes | {"single_blocks.37.linear1.weight": (21504, 3072)})


def vae(path: Path) -> Path:
    """Write a VAE by itself."""
    return write(path, {"decoder.conv_in.weight": (8, 4, 3, 3), "decoder.conv_out.weight": (3, 8, 3, 3)})


def comfyui(root: Path) -> Path:
    """ComfyUI with LoRAs for four lineages, and a checkpoint for three."""
    (root / "custom_nodes").mkdir(parents=True)
    models = root / "models"
    lora(models / "loras" / "ink.safetensors", base="Illustrious-XL-v1.0.safetensors")
    lora(models / "loras" / "dots.safetensors", base="waiNSFWIllustrious_v140.safetensors")
    lora(models / "loras" / "foal.safetensors", base="ponyDiffusionV6XL.safetensors")
    lora(models / "loras" / "noob.safetensors", base="noobaiXLNAIXL_vPred10Version")
    lora(models / "loras" / "quiet.safetensors")
    lora(models / "loras" / "animagine" / "rain.safetensors")
    lora(models / "loras" / "old.safetensors", "sd15")
    lora(models / "loras" / "flux.safetensors", "flux")
    checkpoint(models / "checkpoints" / "waiNSFWIllustrious_v140.safetensors")
    checkpoint(models / "checkpoints" / "Illustrious-XL-v1.0.safetensors")
    checkpoint(models / "checkpoints" / "cyberrealisticPony_v8.safetensors")
    checkpoint(models / "checkpoints" / "merge.safetensors", "sdxl", "v_pred", "ztsnr", title="NoobAI-XL v-pred 1.0")
    checkpoint(models / "checkpoints" / "dreamshaper_8.safetensors", "sd15")
    vae(models / "vae" / "sdxl_vae.safetensors")
    return root


def webui(root: Path, *marks: str) -> Path:
    """A1111 or one of its kin, by the files that mark it, with one LoRA and one checkpoint."""
    for mark in ("webui.py", *marks):
        (root / mark).parent.mkdir(parents=True, exist_ok=True)
        (root / mark).touch()
    lora(root / "models" / "Lora" / f"{root.name}.safetensors", "sd15")
    checkpoint(root / "models" / "Stable-diffusion" / f"{root.name}-v1.safetensors", "sd15")
    vae(root / "models" / "VAE" / "vae.safetensors")
    return root


def invokeai(root: Path) -> Path:
    """InvokeAI, whose models lie together."""
    root.mkdir(parents=True)
    (root / "invokeai.yaml").touch()
    lora(root / "models" / "8d1f" / "invoked.safetensors", "sd15")
    checkpoint(root / "models" / "0a3c" / "base.safetensors", "sd15")
    write(root / "models" / "77aa" / "t5.safetensors", {"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8)})
    return root


def swarmui(root: Path) -> Path:
    """SwarmUI."""
    (root / "Data").mkdir(parents=True)
    (root / "Data" / "Settings.fds").touch()
    lora(root / "Models" / "Lora" / "swarm.safetensors", "sd15")
    checkpoint(root / "Models" / "Stable-Diffusion" / "swarm-base.safetensors", "sd15")
    return root


def stability_matrix(root: Path) -> Path:
    """Stability Matrix, with A1111 as one of its packages, whose LoRAs are a link to the shared ones."""
    lora(root / "Models" / "Lora" / "matrix.safetensors", "sd15")
    checkpoint(root / "Models" / "StableDiffusion" / "matrix-base.safetensors", "sd15")
    package = root / "Packages" / "stable-diffusion-webui"
    (package / "models").mkdir(parents=True)
    (package / "webui.py").touch()
    (package / "models" / "Lora").symlink_to(root / "Models" / "Lora")
    return root


def fooocus(root: Path, elsewhere: Path) -> Path:
    """Fooocus, whose LoRAs its config.txt places elsewhere."""
    root.mkdir(parents=True)
    (root / "fooocus_version.py").touch()
    lora(elsewhere / "placed.safetensors", "sd15")
    checkpoint(root / "models" / "checkpoints" / "fooocus-base.safetensors", "sd15")
    (root / "config.txt").write_text(json.dumps({"path_loras": [str(elsewhere)]}), "utf-8")
    return root


def cached(cache: Path) -> Path:
    """A Hugging Face cache with SDXL 1.0."""
    snapshot = cache / "models--stabilityai--stable-diffusion-xl-base-1.0" / "snapshots" / "462165984030"
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}', "utf-8")
    return cache
