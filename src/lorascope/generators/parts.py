"""The text encoders and the VAE of a checkpoint: baked into the file, or found in the tools on this machine.

A file holds a text encoder if it has every weight of the class that the model's configuration names, in its shape. Of
several such files the largest is taken, which is the most precise. VAEs of several architectures have the same
tensors, so there the file's name has to fit, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lorascope.errors import ModelError
from lorascope.families import Architecture
from lorascope.installations import PartsFinder

Shapes = Mapping[str, tuple[int, ...]]
Tensors = dict[str, torch.Tensor]

_SCALES = (".scale_weight", ".weight_scale")
_BESIDE = (*_SCALES, ".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
"""Ends of what ComfyUI keeps beside weights in float8."""
_TEXT_ENCODERS = re.compile(r"text_encoders\.[^.]+\.transformer\.")
_VAE = ("first_stage_model.", "vae.")
"""Beginnings of what is baked into a checkpoint."""
_DENOISER = "model.diffusion_model."
_WRAPPERS = ("", "text_model.", "model.", "transformer.")
_PROJECTION = "text_projection.weight"


@dataclass(frozen=True)
class Parts:
    """Text encoders and VAE of a model.

    Attributes:
        checkpoint: The tensors of its file.
        row: Its architecture.
        repository: Its name on the Hugging Face hub.
        folder: Its configuration.
        finder: Finds files of the tools on this machine.
        dtype: Of the weights.
        download: Whether the hub may be asked for what is not here.
    """

    checkpoint: Tensors
    row: Architecture
    repository: str
    folder: Path
    finder: PartsFinder
    dtype: torch.dtype
    download: bool

    @cached_property
    def index(self) -> dict[str, Any]:
        """The class of the pipeline, and library and class of each of its parts."""
        return json.loads((self.folder / "model_index.json").read_text("utf-8"))

    @property
    def names(self) -> list[str]:
        """The text encoders and the VAE."""
        return [name for name in (*self.row.text_encoders, "vae") if self.index.get(name, [None])[0]]

    def load(self, names: Iterable[str]) -> dict[str, nn.Module]:
        """Load some of them.

        Raises:
            ModelError: one is not on this disk, or cannot be fetched.
        """
        found = {name: self._part(name, self.index[name][1]) for name in names}
        if lacking := [f"{name} ({self.index[name][1]})" for name, part in found.items() if part is None]:
            places = ", ".join(map(str, self.finder.places)) or "no tool was found"
            vae = ", or name its VAE with --vae" if found.get("vae", self) is None else ""
            raise ModelError(
                f"{self.finder.checkpoint} lacks {' and '.join(lacking)}, and no file on this disk fits ({places}): run"
                f" once with --download, which fetches it from {self.repository}{vae}"
            )
        return {name: part for name, part in found.items() if part is not None}

    def _part(self, name: str, kind: str) -> nn.Module | None:
        """Load one from the first place that has it: the checkpoint, the model's folder, a tool, the hub."""
        import diffusers
        import transformers

        kind_of_part: Any = getattr(diffusers if name == "vae" else transformers, kind)
        part = (
            self._autoencoder(kind, baked=True) if name == "vae" else self._text_encoder(name, kind_of_part, baked=True)
        )
        own = [file.name for file in (self.folder / name).glob("*.safetensors")]
        if part is None and own:
            variant = "fp16" if all(".fp16" in file for file in own) else None
            return kind_of_part.from_pretrained(self.folder / name, dtype=self.dtype, variant=variant)
        if part is None:
            part = self._autoencoder(kind) if name == "vae" else self._text_encoder(name, kind_of_part)
        if part is None and self.download:
            return kind_of_part.from_pretrained(self.repository, subfolder=name, dtype=self.dtype, use_safetensors=True)
        return part

    def _text_encoder(self, name: str, kind: Any, *, baked: bool = False) -> nn.Module | None:
        config = kind.config_class.from_pretrained(self.folder / name)
        with torch.device("meta"):
            expected = {key: tuple(value.shape) for key, value in kind(config).named_parameters()}
        for prefix, shapes, load in self._baked() if baked else self._files():
            if (names := _fitting(expected, shapes, prefix)) is None:
                continue
            tensors = plain(load())
            state = {ours: tensors[theirs] for ours, theirs in names.items()}
            if _PROJECTION in expected and _PROJECTION not in state:
                state[_PROJECTION] = torch.eye(expected[_PROJECTION][0])  # left out where it does nothing
            return kind.from_pretrained(None, config=config, state_dict=state, dtype=self.dtype)
        return None

    def _baked(self) -> Iterator[tuple[str, Shapes, Callable[[], Tensors]]]:
        """Yield what the names of each text encoder in the checkpoint begin with, the shapes, and what loads them."""
        shapes = {key: tuple(value.shape) for key, value in self.checkpoint.items()}
        for prefix in sorted({match[0] for key in shapes if (match := _TEXT_ENCODERS.match(key))}):
            yield prefix, shapes, lambda: self.checkpoint

    def _files(self) -> Iterator[tuple[str, Shapes, Callable[[], Tensors]]]:
        """Yield the same for each file of a text encoder."""
        for path, header in self.finder.text_encoders():
            yield "", {key: info.shape for key, info in header.tensors.items()}, lambda path=path: load_file(path)

    def _autoencoder(self, kind: str, *, baked: bool = False) -> nn.Module | None:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        if kind != "AutoencoderKL":
            return None
        channels = json.loads((self.folder / "vae" / "config.json").read_text("utf-8"))["latent_channels"]
        if baked:
            tensors = {key: value for key, value in self.checkpoint.items() if key.startswith(_VAE)}
        else:
            path = next(self.finder.autoencoders(self.row.autoencoders, channels), None)
            tensors = load_file(path) if path else {}
        if not tensors:
            return None
        loaded: Any = plain(tensors)  # its annotation knows places of files only
        return AutoencoderKL.from_single_file(
            loaded, config=str(self.folder), subfolder="vae", dtype=self.dtype, local_files_only=True
        )


def _fitting(expected: Shapes, shapes: Shapes, prefix: str) -> dict[str, str] | None:
    """A file's names for all names of a model, if the file has every weight in its shape; else None."""
    for wrapper in _WRAPPERS:
        for dropped in _WRAPPERS:
            names = {name: prefix + wrapper + name.removeprefix(dropped) for name in expected}
            lacking = {name for name, theirs in names.items() if shapes.get(theirs) != expected[name]}
            if not lacking or (lacking == {_PROJECTION} and len(set(expected[_PROJECTION])) == 1):
                return {name: theirs for name, theirs in names.items() if name not in lacking}
    return None


def denoiser_of(checkpoint: Tensors) -> Tensors:
    """The tensors of the denoiser alone: converters of diffusers take everything for its own."""
    own = {key: value for key, value in checkpoint.items() if key.startswith(_DENOISER)}
    return own or dict(checkpoint)


def plain(checkpoint: Tensors) -> Tensors:
    """Weights multiplied by the scales that ComfyUI keeps beside those in float8.

    Raises:
        ModelError: weights are quantised in a way that is not read.
    """
    scales = {key.rpartition(".")[0]: value for key, value in checkpoint.items() if key.endswith(_SCALES)}
    found: Tensors = {}
    for key, value in checkpoint.items():
        if key.endswith(_BESIDE):
            continue
        scale = scales.get(key.removesuffix(".weight")) if key.endswith(".weight") else None
        if (key.endswith(".weight") and not value.is_floating_point()) or (scale is not None and scale.numel() > 1):
            raise ModelError(
                f"{key} is quantised ({str(value.dtype).removeprefix('torch.')}) in a way that is not read: get the"
                " model in float16, bfloat16 or float8"
            )
        found[key] = value if scale is None else (value.float() * scale.float()).to(torch.bfloat16)
    return found
