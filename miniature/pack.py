"""Copying what was trained into the package, in half precision."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from transformers import AutoTokenizer, CLIPModel, CLIPTokenizer, VisionTextDualEncoderModel

from miniature import encoder, truth
from miniature.catalogue import ENTRIES, Entry
from miniature.judge import Judge, save

LIMIT = 64_000_000


def base(source: Path, target: Path) -> None:
    """Write the fp16 copy of a base."""
    pipe = DiffusionPipeline.from_pretrained(source, torch_dtype=torch.float16)
    _fresh(target)
    pipe.save_pretrained(target)
    for part in ("text_encoder", "text_encoder_2"):
        # transformers takes the dtype from here, diffusers loads float32 unless told otherwise: they must agree
        path = target / part / "config.json"
        config = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n", encoding="utf-8")
    for path in target.rglob("*.json"):
        if path.name in ("model_index.json", "config.json"):
            _forget_origin(path)


def _forget_origin(path: Path) -> None:
    """Take the folder that a model was loaded from out of its configuration."""
    config = json.loads(path.read_text("utf-8"))
    if config.pop("_name_or_path", None):
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def clip(source: Path, target: Path) -> None:
    """Write the encoder with its tokenizer and preprocessing."""
    model, tokenizer = CLIPModel.from_pretrained(source), CLIPTokenizer.from_pretrained(source)
    _fresh(target)
    encoder.save(model, tokenizer, target)


def judge(source: Path, target: Path) -> None:
    """Write the fp16 copy of the judge with its tokenizer and preprocessing."""
    model = VisionTextDualEncoderModel.from_pretrained(source, dtype=torch.float16)
    _fresh(target)
    save(Judge(model, AutoTokenizer.from_pretrained(source)), target)


def adapters(source: Path, target: Path, entries: Sequence[Entry] = ENTRIES) -> None:
    """Copy the files of the catalogue with their sidecars."""
    _fresh(target)
    for entry in entries:
        for path in sorted(source.glob(f"{entry.stem}.*")):
            shutil.copy(path, target / path.name)


PARTS = ("base", "encoder", "judge", "adapters", "flux", "components")


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all that ships: models, adapters, queries and grades."""
    whole = hashlib.sha256()
    for path in sorted([*_files(folder), folder / "truth.json"]):
        whole.update(
            f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return whole.hexdigest()


def pack(work: Path, target: Path) -> int:
    """Write all of it, with its digest, and return the size in bytes.

    Raises:
        ValueError: It has grown beyond what may ship.
    """
    base(work / "base", target / "base")
    clip(work / "balanced", target / "encoder")
    adapters(work / "adapters", target / "adapters")
    judge(work / "judge", target / "judge")
    truth.write(target / "truth.json", json.loads((work / "kept.json").read_text("utf-8")))
    return seal(target)


def seal(target: Path) -> int:
    """Write the digest of what ships, and return its size in bytes.

    Raises:
        ValueError: It has grown beyond what may ship.
    """
    for path in _files(target):
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in _files(target))
    if size > LIMIT:
        raise ValueError(f"the miniature is {size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f}: train a smaller one")
    (target / "world.sha256").write_text(digest(target) + "\n", encoding="utf-8")
    return size


def _files(folder: Path) -> list[Path]:
    return [path for part in PARTS for path in (folder / part).rglob("*") if path.is_file()]


def _fresh(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
