"""Judges by name, from presets."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from safetensors import safe_open

from lorascope.encoders.digest import model_digest
from lorascope.encoders.dual import DualEncoder
from lorascope.errors import ModelError, QueryError
from lorascope.evaluation.judges.base import Judge
from lorascope.evaluation.judges.cosine import FORMULAS, CosineJudge, Formula, sigmoid
from lorascope.evaluation.presets import read_presets
from lorascope.models import cache_dir, find_file, find_model

Rule = Literal["clipscore", "cosine", "sigmoid", "yes-no", "reward"]


@dataclass(frozen=True, kw_only=True)
class JudgePreset:
    """A judge before it is loaded; see ``data/judges.toml``.

    Attributes:
        rule: how a score is made.
        model: a folder, ``package:...`` or a Hugging Face id; for the rule ``reward`` a weights file.
        template: the text that is compared, or asked; holds {query}.
        processor: where tokenizer and preprocessing come from, if the model has none of its own; for the rule
            ``reward`` a ``tokenizer.json``.
    """

    rule: Rule
    model: str
    template: str
    processor: str = ""


def _preset(_: str, fields: dict[str, str]) -> JudgePreset:
    preset = JudgePreset(**cast("dict[str, Any]", fields))
    if preset.rule not in get_args(Rule):
        raise ValueError(f"has the rule {preset.rule!r}: use one of {', '.join(get_args(Rule))}")
    if preset.rule == "reward" and not preset.processor:
        raise ValueError("has no processor: name BERT's tokenizer.json")
    if "{query}" not in preset.template:
        raise ValueError(f"has the template {preset.template!r} without {{query}}")
    return preset


def find_judge(name: str, *, presets: Path | None = None, download: bool = False) -> tuple[JudgePreset, Path]:
    """A judge's preset and the folder (or file) of its model, which is not opened yet.

    Raises:
        QueryError: no such judge, or a preset is wrong.
        ModelError: its model is not on this disk.
    """
    known = read_presets("the judges", "judges.toml", presets, _preset)
    if name not in known:
        raise QueryError(f"no judge {name!r}: use one of {', '.join(known)}")
    preset = known[name]
    if preset.rule == "reward":
        find_file(preset.processor, download=download)
        return preset, find_file(preset.model, download=download)
    folder = find_model(preset.model, download=download)
    if preset.processor:
        folder = _joined(folder, find_model(preset.processor, download=download))
    return preset, folder


def load_judge(name: str, *, presets: Path | None = None, device: str = "cpu", download: bool = False) -> Judge:
    """A judge by name.

    Args:
        name: of a preset.
        presets: a TOML file of presets of one's own.
        device: a torch device.
        download: fetch its model if it is not on this disk.

    Raises:
        QueryError: no such judge, or a preset is wrong.
        ModelError: its model is not on this disk, or incomplete.
    """
    preset, folder = find_judge(name, presets=presets, download=download)
    if preset.rule == "reward":
        return _reward(name, preset, folder, find_file(preset.processor, download=download), device)
    digest = model_digest(folder)
    identity = _identity(name, preset, digest)
    if preset.rule == "yes-no":
        from lorascope.evaluation.judges.yesno import YesNoJudge

        return YesNoJudge(name, identity, digest, folder, preset.template, device)
    encoder = DualEncoder(str(folder), device=device)
    return CosineJudge(name, identity, encoder, preset.template, _formula(preset.rule, folder))


def _identity(name: str, preset: JudgePreset, digest: str) -> str:
    fields = json.dumps(asdict(preset) | {"model": digest}, sort_keys=True)
    return f"{name}-{hashlib.sha256(fields.encode()).hexdigest()[:10]}"


def _reward(name: str, preset: JudgePreset, path: Path, tokenizer: Path, device: str) -> Judge:
    from lorascope.evaluation.judges.reward import RewardJudge, read_weights, weights_digest

    weights = read_weights(path)
    digest = weights_digest(weights)
    identity = _identity(name, preset, digest + hashlib.sha256(tokenizer.read_bytes()).hexdigest())
    return RewardJudge(name, identity, digest, weights, tokenizer, preset.template, device)


def _formula(rule: Rule, folder: Path) -> Formula:
    if rule != "sigmoid":
        return FORMULAS[rule]
    scale, bias = (_scalar(folder, key) for key in ("logit_scale", "logit_bias"))
    return sigmoid(scale, bias)


def _scalar(folder: Path, key: str) -> float:
    """One learnt number among a model's weights."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if key in file.keys():  # noqa: SIM118 - it is no dictionary
                return float(file.get_tensor(key))
    raise ModelError(f"{folder} has no {key}, which a sigmoid judge needs: use a SigLIP model")


def _joined(weights: Path, processor: Path) -> Path:
    """A folder of links: the model of one, tokenizer and preprocessing of another."""
    name = hashlib.sha256(f"{weights.resolve()} {processor.resolve()}".encode()).hexdigest()[:16]
    folder = cache_dir() / "judges" / name
    folder.mkdir(parents=True, exist_ok=True)
    own = {path.name for path in weights.iterdir() if path.suffix == ".safetensors" or path.name == "config.json"}
    chosen = [weights / name for name in own]
    chosen += [path for path in processor.iterdir() if path.suffix != ".safetensors" and path.name not in own]
    for path in chosen:
        link = folder / path.name
        partial = folder / f".{path.name}.{os.getpid()}"
        partial.symlink_to(path.resolve())
        partial.replace(link)
    return folder
