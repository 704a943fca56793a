"""From what a preset names to a pipeline of diffusers that is ready to be measured."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lorascope.adapters import Names, load_delta
from lorascope.canonical import canonical_bytes
from lorascope.errors import ModelError
from lorascope.families import ARCHITECTURES, architecture
from lorascope.models import SHIPPED, find_file, find_model
from lorascope.protocol import Preset

_COMPONENTS = ("unet", "text_encoder", "text_encoder_2")


def load_pipeline(preset: Preset, device: torch.device, *, download: bool) -> Any:
    """The base model of a preset, in CPU memory and in the dtype it works in.

    Raises:
        ModelError: it is not here, incomplete, or of a family that cannot be run.
    """
    dtype = working_dtype(preset.dtype, device)
    pipe = _load(preset, dtype, download=download)
    pipe.scheduler = _scheduler(pipe, preset.scheduler)
    if preset.accelerator:
        _fold_in(components(pipe), find_file(preset.accelerator, download=download))
    if dtype == torch.float16 and getattr(pipe.vae.config, "force_upcast", False):
        pipe.vae.to(torch.float32)  # SDXL's own VAE overflows in float16
    for module in (pipe.vae, *components(pipe).values()):
        module.eval().requires_grad_(requires_grad=False)
    for module in (pipe.vae, pipe.unet):
        module.to(memory_format=torch.channels_last)
    return pipe


def components(pipe: Any) -> dict[str, nn.Module]:
    """The parts of a pipeline that adapters change."""
    return {name: part for name in _COMPONENTS if (part := getattr(pipe, name, None)) is not None}


def working_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a preset on a device.

    Raises:
        ModelError: it names none that can be used.
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ModelError(f"dtype is {name!r}: use float16, bfloat16 or float32")
    if device.type == "cpu" and dtype == torch.float16:
        return torch.float32  # CPUs emulate float16 slowly
    return dtype


def digest(pipe: Any) -> str:
    """First 16 hex digits over the float16 form of every tensor of the UNet, the VAE and the text encoders."""
    total = hashlib.sha256()
    for component in (*_COMPONENTS, "vae"):
        module = getattr(pipe, component, None)
        if module is not None:
            for name, tensor in sorted(module.state_dict().items()):
                if tensor.is_floating_point():  # position ids are no weights
                    values = tensor.detach().to("cpu", torch.float16).contiguous().numpy()
                    total.update(canonical_bytes(f"{component}.{name}", values))
    return total.hexdigest()[:16]


def _load(preset: Preset, dtype: torch.dtype, *, download: bool) -> Any:
    import transformers
    from diffusers.models.auto_model import AutoModel
    from diffusers.utils import logging

    transformers.utils.logging.set_verbosity_error()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its warnings are about how a folder was saved, not about what is wrong with it
    transformers.utils.logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": not download}
    try:
        if preset.vae:
            options["vae"] = AutoModel.from_pretrained(
                preset.vae, dtype=dtype, use_safetensors=True, local_files_only=not download
            )
        pipe = _load_base(preset.base, options)
    except (OSError, ValueError) as error:
        models = preset.base + (f" with the VAE {preset.vae}" if preset.vae else "")
        elsewhere = "" if preset.vae else ", or give --base FOLDER"
        remedy = "check the name and the connection" if download else f"run once with --download{elsewhere}"
        raise ModelError(
            f"the base model {models} cannot be loaded: {str(error).rstrip('.')}. To mend it: {remedy}"
        ) from error
    kind = type(pipe).__name__
    row = architecture(preset.family)
    if row is None or not row.measured or row.pipeline != kind:
        known = ", ".join(sorted(row.name for row in ARCHITECTURES if row.measured))
        raise ModelError(f"{preset.base} is a {kind}, preset family {preset.family!r}: families measured are {known}")
    return pipe


def _load_base(base: str, options: dict[str, Any]) -> Any:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    if base.endswith(".safetensors"):
        return StableDiffusionXLPipeline.from_single_file(base, add_watermarker=False, **options)
    if base.startswith(SHIPPED) or Path(base).is_dir():
        folder = find_model(base)
        return DiffusionPipeline.from_pretrained(folder, use_safetensors=True, **options)
    try:
        return DiffusionPipeline.from_pretrained(base, variant="fp16", use_safetensors=True, **options)
    except (OSError, ValueError):  # not every repository has a half-precision variant
        return DiffusionPipeline.from_pretrained(base, use_safetensors=True, **options)


def _scheduler(pipe: Any, spelt: str) -> Any:
    """The scheduler that a preset spells ``Name`` or ``Name(option=value)``; the model's own if it is silent."""
    import diffusers

    if not spelt:
        return pipe.scheduler
    parts = re.fullmatch(r"(\w+)(?:\((\w+)=(\w+)\))?", spelt)
    kind = getattr(diffusers, parts[1], None) if parts else None
    if parts is None or kind is None or not hasattr(kind, "from_config"):
        raise ModelError(f"no scheduler {spelt!r} in diffusers: use a class name such as EulerDiscreteScheduler")
    if parts[2] and parts[2] not in pipe.scheduler.config:
        known = ", ".join(name for name in pipe.scheduler.config if not name.startswith("_"))
        raise ModelError(f"scheduler {spelt!r}: no option {parts[2]!r}: use one of {known}")
    return kind.from_config(pipe.scheduler.config, **({parts[2]: parts[3]} if parts[2] else {}))


def _fold_in(parts: dict[str, nn.Module], path: Path) -> None:
    """Make an adapter part of the base for good, such as one that lets it draw in few steps."""
    weights = {(part, name): weight for part, module in parts.items() for name, weight in module.named_parameters()}
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for (part, name), weight in weights.items():
        shapes.setdefault(part, {})[name] = tuple(weight.shape)
    delta = load_delta(path, Names(shapes))
    with torch.no_grad():
        for target in delta.targets:
            weights[target].copy_(delta.apply(*target, weights[target], 1.0))
