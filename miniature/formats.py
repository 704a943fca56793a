"""Writing one trained change in the ways that people's files spell it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from miniature.catalogue import Entry

Factors = Mapping[str, Mapping[str, torch.Tensor]]
"""Module path, such as ``unet.mid_block.attentions.0.proj_in``, to named factors."""

_SGM: dict[str, str] = {
    "down_blocks.1.attentions.0": "input_blocks.4.1",
    "down_blocks.1.attentions.1": "input_blocks.5.1",
    "down_blocks.2.attentions.0": "input_blocks.7.1",
    "down_blocks.2.attentions.1": "input_blocks.8.1",
    "mid_block.attentions.0": "middle_block.1",
    **{f"up_blocks.{i // 3}.attentions.{i % 3}": f"output_blocks.{i}.1" for i in range(6)},
}
"""The names of SDXL's transformers in the authors' code base; the miniature has the same layout of blocks."""


def kohya_name(path: str, sgm: bool = False) -> str:
    """The flattened name of a module."""
    part, rest = path.split(".", 1)
    for ours, theirs in _SGM.items():
        if sgm and part == "unet" and rest.startswith(ours + "."):
            rest = theirs + rest[len(ours) :]
    head = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[part]
    return f"{head}_{rest.replace('.', '_')}"


def tensors(factors: Factors, entry: Entry) -> dict[str, torch.Tensor]:
    """All tensors of a file, fp16, named in the entry's form."""
    found: dict[str, torch.Tensor] = {}
    for turn, (path, parts) in enumerate(factors.items()):
        if entry.form == "peft":
            found[f"{path}.lora_A.weight"] = parts["down"]
            found[f"{path}.lora_B.weight"] = parts["up"]
            continue
        name = kohya_name(path, sgm=entry.form == "sgm")
        if entry.form == "loha":
            found.update({f"{name}.hada_{key}": value for key, value in parts.items()})
            found[f"{name}.alpha"] = torch.tensor(float(entry.rank))
            continue
        # alpha / rank scales the change, so the up factor is divided by it
        alpha = _alpha(entry, turn)
        found[f"{name}.lora_down.weight"] = parts["down"]
        found[f"{name}.lora_up.weight"] = parts["up"] * (entry.rank / alpha)
        found[f"{name}.alpha"] = torch.tensor(alpha)
    return {key: value.detach().to(torch.float16).contiguous() for key, value in found.items()}


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
        "ss_network_module": "lycoris.kohya" if entry.form == "loha" else "networks.lora",
        "ss_output_name": entry.stem,
        "ss_seed": str(entry.seed),
    }
    if entry.header == "tags":
        counts = {effect: 256 // len(entry.effects) for effect in entry.effects}
        found["ss_tag_frequency"] = json.dumps({"1_train": counts})
    if entry.trigger:
        found["modelspec.trigger_phrase"] = entry.trigger
    return found


def write(factors: Factors, entry: Entry, folder: Path) -> Path:
    """Write the file and its sidecar."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{entry.stem}.safetensors"
    save_file(tensors(factors, entry), path, metadata=header(entry) or None)
    path.chmod(0o644)
    sidecar(entry, folder)
    return path


def sidecar(entry: Entry, folder: Path) -> None:
    """Write what a manager of LoRAs would have left beside the file."""
    words = [entry.trigger] if entry.trigger else []
    if entry.sidecar == "manager":
        name = f"{entry.stem}.metadata.json"
        data = {
            "file_name": entry.stem, "model_name": entry.title, "base_model": "Other", "modelDescription": entry.about,
            "tags": [], "civitai": {"trainedWords": words}, "usage_tips": "{}", "notes": "", "from_civitai": False,
        }  # fmt: skip
    elif entry.sidecar == "civitai":
        name = f"{entry.stem}.civitai.info"
        data = {
            "name": "v1.0", "baseModel": "Other", "trainedWords": words,
            "model": {"name": entry.title, "type": "LORA", "nsfw": False}, "description": f"<p>{entry.about}</p>",
        }  # fmt: skip
    elif entry.sidecar == "a1111":
        name = f"{entry.stem}.json"
        weight = 0.3 if entry.kind == "overpowering" else 1.0
        data = {
            "description": entry.about, "sd version": "Other", "activation text": " ".join(words),
            "preferred weight": weight, "notes": "",
        }  # fmt: skip
    else:
        return
    (folder / name).write_text(json.dumps(data, indent=2, ensure_ascii=False), encoding="utf-8")
