"""From what a preset names to a pipeline of diffusers that is ready to be measured."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lorascope.adapters import Names, load_delta
from lorascope.canonical import canonical_bytes
from lorascope.errors import ModelError
from lorascope.families import ARCHITECTURES, architecture
from lorascope.generators import float8
from lorascope.generators.memory import out_of_memory
from lorascope.generators.parts import plain
from lorascope.generators.single_file import load_single_file
from lorascope.models import (
    SHIPPED,
    find_configuration,
    find_file,
    find_model,
    is_repository,
    is_single_file,
    is_without_vocabulary,
    network,
)
from lorascope.protocol import Preset

_COMPONENTS = tuple(dict.fromkeys(part for row in ARCHITECTURES if row.generator for part in row.components))
_CHANNELS_LAST = 4
"""Dimensions of the weights that can have their channels last."""
_OPTION = r"\w+=\w+"
_NEEDED = ("unet", "transformer", "vae", "text_encoder", "tokenizer", "scheduler")
"""Beginnings of the names of parts without which nothing is drawn."""


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
    for module in (pipe.vae, denoiser(pipe)):
        if all(weight.ndim <= _CHANNELS_LAST for weight in module.parameters()):  # not video autoencoders
            module.to(memory_format=torch.channels_last)
    return pipe


def components(pipe: Any) -> dict[str, nn.Module]:
    """The parts of a pipeline that adapters change."""
    return {name: part for name in _COMPONENTS if (part := getattr(pipe, name, None)) is not None}


def denoiser(pipe: Any) -> Any:
    """The part that removes the noise: a U-Net, or a transformer."""
    return getattr(pipe, "unet", None) or pipe.transformer


def working_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a preset on a device.

    Raises:
        ModelError: it names none that can be used.
    """
    if name == float8.NAME and device.type == "mps":
        raise ModelError("dtype is 'float8', which Apple GPUs do not have: use bfloat16")
    dtype = torch.bfloat16 if name == float8.NAME else getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point or dtype.itemsize == 1:
        raise ModelError(f"dtype is {name!r}: use float8, float16, bfloat16 or float32")
    if device.type == "cpu" and (dtype == torch.float16 or name == float8.NAME):
        return torch.float32  # CPUs emulate half precision slowly
    return dtype


def digest(pipe: Any) -> str:
    """First 16 hex digits over the float16 form of every tensor of the denoiser, the VAE and the text encoders."""
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
    _quiet()
    with network(allowed=download):
        with _named("base model"):  # one that is missing is not to be blamed on the VAE
            base = _located(preset.base, download=download)
        options: dict[str, Any] = {"dtype": dtype, "local_files_only": not download}
        autoencoder = partial(_vae, preset, options, download=download)
        if preset.vae and isinstance(base, str):
            folder = find_configuration(base, download=download) if is_repository(base) else find_model(base)
            options = options | {"vae": autoencoder(folder)}
        with _explained(f"the base model {preset.base}", download=download):
            if isinstance(base, Path):
                pipe = load_single_file(preset, base, options, autoencoder if preset.vae else None)
            else:
                pipe = _repository(base, options)
    _check_tokenizers(pipe, preset.base)
    kind = type(pipe).__name__
    row = architecture(preset.family)
    if row is None or not row.generator or kind not in row.pipelines:
        known = ", ".join(sorted(row.name for row in ARCHITECTURES if row.generator))
        raise ModelError(f"{preset.base} is a {kind}, preset family {preset.family!r}: families measured are {known}")
    return pipe


def _quiet() -> None:
    import transformers
    from diffusers.utils import logging

    transformers.utils.logging.set_verbosity_error()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its warnings are about how a folder was saved, not about what is wrong with it
    transformers.utils.logging.disable_progress_bar()


@contextmanager
def _explained(what: str, *, download: bool) -> Generator[None]:
    from diffusers.loaders.single_file_utils import SingleFileComponentError

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SingleFileComponentError) as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        remedy = "check the name and the connection" if download else "check it, or run once with --download"
        reason = str(error).strip().rstrip(".")
        raise ModelError(f"{what} cannot be loaded: {reason}. To mend it: {remedy}") from error


@contextmanager
def _named(role: str) -> Generator[None]:
    """Say of which model it is that a place is wrong."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"the {role} cannot be found: {error}") from error


def _located(base: str, *, download: bool) -> Path | str:
    """The single file of a model, or the folder or repository that diffusers loads.

    Raises:
        ModelError: it is not on this disk (or, with ``download``, cannot be fetched).
    """
    if is_single_file(base):
        return find_file(base, download=download)
    if base.startswith(SHIPPED) or Path(base).exists() or not is_repository(base):
        return str(find_model(base))
    if not download:
        find_configuration(base)
    return base


def _repository(base: str, options: dict[str, Any]) -> Any:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    if Path(base).is_dir():
        _check_folders(Path(base), options)
        return DiffusionPipeline.from_pretrained(base, use_safetensors=True, **options)
    try:
        return DiffusionPipeline.from_pretrained(base, variant="fp16", use_safetensors=True, **options)
    except (OSError, ValueError):  # not every repository has a half-precision variant
        return DiffusionPipeline.from_pretrained(base, use_safetensors=True, **options)


def _check_folders(base: Path, options: dict[str, Any]) -> None:
    """Refuse a model without the folder of one of its parts.

    Raises:
        ModelError: one is not there.
    """
    index: dict[str, Any] = json.loads((base / "model_index.json").read_text("utf-8"))
    parts = [name for name, kind in index.items() if name.startswith(_NEEDED) and isinstance(kind, list) and kind[0]]
    if lacking := [name for name in parts if name not in options and not (base / name).is_dir()]:
        raise ModelError(f"{base} lacks the folder {lacking[0]!r} that its model_index.json names: get the whole model")


def _check_tokenizers(pipe: Any, base: str) -> None:
    """Refuse a model with a tokenizer without its vocabulary.

    Raises:
        ModelError: it has one.
    """
    for number in ("", "_2", "_3"):
        tokenizer, encoder = (getattr(pipe, f"{name}{number}", None) for name in ("tokenizer", "text_encoder"))
        config = getattr(encoder, "config", None)
        words = getattr(config, "vocab_size", None) or getattr(getattr(config, "text_config", None), "vocab_size", None)
        if tokenizer is not None and words and is_without_vocabulary(len(tokenizer), words):
            raise ModelError(
                f"the base model {base}: its tokenizer knows {len(tokenizer)} of {words} words, so files in"
                f" tokenizer{number} are missing: get the whole model, or run once with --download"
            )


def _vae(preset: Preset, options: dict[str, Any], config: Path, *, download: bool) -> Any:
    """The VAE that a preset names: a folder, a repository, or a single file, configured as the base's own is."""
    from diffusers.models.auto_model import AutoModel
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    what = f"the VAE {preset.vae}"
    with _named("VAE"):
        place = _located(preset.vae, download=download)
    if isinstance(place, str):
        with _explained(what, download=download):
            return AutoModel.from_pretrained(place, use_safetensors=True, **options)
    with _explained(what, download=download):
        tensors: Any = plain(load_file(place))  # the annotation of diffusers knows places of files only
        return AutoencoderKL.from_single_file(tensors, config=str(config), subfolder="vae", **options)


def _scheduler(pipe: Any, spelt: str) -> Any:
    """The scheduler that a preset spells ``Name`` or ``Name(option=value, ...)``; the model's own if it is silent.

    Options are those of its class in diffusers, such as ``prediction_type=v_prediction``.
    """
    import diffusers

    if not spelt:
        return pipe.scheduler
    parts = re.fullmatch(rf"(\w+)(?:\(({_OPTION}(?:, *{_OPTION})*)\))?", spelt)
    kind = getattr(diffusers, parts[1], None) if parts else None
    if parts is None or kind is None or not hasattr(kind, "from_config"):
        raise ModelError(f"no scheduler {spelt!r} in diffusers: use a class name such as EulerDiscreteScheduler")
    options = dict(re.findall(r"(\w+)=(\w+)", parts[2] or ""))
    known = [name for name in inspect.signature(kind).parameters if name not in {"args", "kwargs"}]
    for name in options:
        if name not in known:
            raise ModelError(f"scheduler {spelt!r}: no option {name!r}: use one of {', '.join(known)}")
    truths = {"true": True, "false": False}
    return kind.from_config(pipe.scheduler.config, **{name: truths.get(text, text) for name, text in options.items()})


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
