"""Writing one trained change in the ways that people's files spell it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from miniature.catalogue import Entry

Factors = Mapping[str, Mapping[str, torch.Tensor]]
"""Module path, such as ``unet.mid_block.attentions.0.proj_in``, to named factors."""

_ATTENTIONS: dict[str, str] = {
    "down_blocks.1.attentions.0": "input_blocks.4.1",
    "down_blocks.1.attentions.1": "input_blocks.5.1",
    "down_blocks.2.attentions.0": "input_blocks.7.1",
    "down_blocks.2.attentions.1": "input_blocks.8.1",
    "mid_block.attentions.0": "middle_block.1",
    **{f"up_blocks.{i // 3}.attentions.{i % 3}": f"output_blocks.{i}.1" for i in range(6)},
}
"""The names of SDXL's transformers in the authors' code base; the miniature has the same layout of blocks."""

_LOW_RANK = ("lora", "locon", "dora")


def kohya_name(path: str, sgm: bool = False) -> str:
    """The flattened name of a module."""
    part, rest = path.split(".", 1)
    for ours, theirs in _ATTENTIONS.items():
        if sgm and part == "unet" and rest.startswith(ours + "."):
            rest = theirs + rest[len(ours) :]
    head = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[part]
    return f"{head}_{rest.replace('.', '_')}"


def tensors(factors: Factors, entry: Entry) -> dict[str, torch.Tensor]:
    """All tensors of a file, fp16, named in the entry's form."""
    found: dict[str, torch.Tensor] = {}
    for turn, (path, parts) in enumerate(factors.items()):
        if entry.form in ("diffusers", "peft"):
            name = path if entry.form == "diffusers" else f"base_model.model.{path.removeprefix('unet.')}"
            found |= {f"{name}.lora_A.weight": parts["down"], f"{name}.lora_B.weight": parts["up"]}
            continue
        name = kohya_name(path, sgm=entry.form == "sgm")
        if entry.algo in _LOW_RANK:
            found |= _kohya(name, parts, entry.rank, _alpha(entry, turn))
        else:
            head = {"loha": "hada", "lokr": "lokr"}[entry.algo]
            found |= {f"{name}.{head}_{key}": value for key, value in parts.items()}
            found[f"{name}.alpha"] = torch.tensor(float(entry.rank))
    return {key: value.detach().to(torch.float16).contiguous().clone() for key, value in found.items()}


def _kohya(name: str, parts: Mapping[str, torch.Tensor], rank: int, alpha: float) -> dict[str, torch.Tensor]:
    found = {
        f"{name}.lora_down.weight": parts["down"],
        f"{name}.lora_up.weight": parts["up"] * (rank / alpha),  # alpha / rank scales the change
        f"{name}.alpha": torch.tensor(alpha),
    }
    if "dora_scale" in parts:
        found[f"{name}.dora_scale"] = parts["dora_scale"]
    return found


def _alpha(entry: Entry, turn: int) -> float:
    """Half the rank; in files of mixed alphas 1, 2 or 4 by turns."""
    return float((1, 2, 4)[turn % 3]) if entry.alphas else entry.rank / 2


def header(entry: Entry) -> dict[str, str]:
    """The free text in the file's header."""
    if entry.header == "bare":
        return {}
    if entry.header == "modelspec":
        return {
            "modelspec.architecture": "miniature-v1/lora",
            "modelspec.title": entry.title,
            "modelspec.description": entry.about,
            "modelspec.resolution": "64x64",
        }
    found = {
        "ss_base_model_version": "miniature_v1",
        "ss_network_dim": str(entry.rank),
        "ss_network_alpha": str(entry.rank / 2),
        "ss_network_module": "networks.lora" if entry.algo == "lora" else "lycoris.kohya",
        "ss_output_name": entry.stem,
        "ss_seed": str(entry.seed),
    }
    if entry.header == "tags":
        counts = {effect: entry.pictures // len(entry.effects) for effect in entry.effects}
        found["ss_tag_frequency"] = json.dumps({"1_train": counts})
    if entry.trigger:
        found["modelspec.trigger_phrase"] = entry.trigger
    return found


def write(factors: Factors, entry: Entry, folder: Path) -> Path:
    """Write the sidecar and the file."""
    folder.mkdir(parents=True, exist_ok=True)
    sidecar(entry, folder)
    path = folder / f"{entry.stem}.safetensors"
    part = path.with_suffix(".part")
    save_file(tensors(factors, entry), part, metadata=header(entry) or None)
    part.chmod(0o644)
    part.replace(path)
    return path


def _manager(entry: Entry, words: list[str]) -> dict[str, Any]:
    return {
        "file_name": entry.stem, "model_name": entry.title, "base_model": "Other", "modelDescription": entry.about,
        "tags": [], "civitai": {"trainedWords": words}, "usage_tips": "{}", "notes": "", "from_civitai": False,
    }  # fmt: skip


def _civitai(entry: Entry, words: list[str]) -> dict[str, Any]:
    return {
        "name": "v1.0", "baseModel": "Other", "trainedWords": words,
        "model": {"name": entry.title, "type": "LORA", "nsfw": False}, "description": entry.about,
    }  # fmt: skip


def _a1111(entry: Entry, words: list[str]) -> dict[str, Any]:
    return {
        "description": entry.about, "sd version": "Other", "activation text": " ".join(words),
        "preferred weight": 0.3 if entry.kind == "overpowering" else 1.0, "notes": "",
    }  # fmt: skip


def _rgthree(entry: Entry, words: list[str]) -> dict[str, Any]:
    return {
        "name": entry.title, "baseModel": "Other", "userNote": entry.about,
        "trainedWords": [{"word": word, "civitai": True} for word in words], "raw": {},
    }  # fmt: skip


def _matrix(entry: Entry, words: list[str]) -> dict[str, Any]:
    return {
        "ModelName": entry.title, "ModelDescription": entry.about, "Nsfw": False, "Tags": [], "BaseModel": "Other",
        "TrainedWords": words, "ImportedAt": "2026-03-01T12:00:00+00:00",
    }  # fmt: skip


_SIDECARS: dict[str, tuple[str, Callable[[Entry, list[str]], dict[str, Any]]]] = {
    "manager": (".metadata.json", _manager),
    "civitai": (".civitai.info", _civitai),
    "a1111": (".json", _a1111),
    "rgthree": (".safetensors.rgthree-info.json", _rgthree),
    "matrix": (".cm-info.json", _matrix),
}


def sidecar(entry: Entry, folder: Path) -> None:
    """Write what a manager of LoRAs would have left beside the file."""
    if entry.sidecar == "none":
        return
    ending, fill = _SIDECARS[entry.sidecar]
    data = fill(entry, [entry.trigger] if entry.trigger else [])
    (folder / f"{entry.stem}{ending}").write_text(json.dumps(data, indent=2, ensure_ascii=False), encoding="utf-8")
