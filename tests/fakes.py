"""Adapters for the fake base model, and a searcher for libraries of them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.grid import PromptSet
from lorascope.library import Library
from lorascope.search import Searcher

MODULE = "unet.down_blocks.0.attentions.0.proj_in"
COLOURS = ("red", "green", "blue")


def tint(path: Path, red: float = 0.0, green: float = 0.0, blue: float = 0.0, **metadata: str) -> Path:
    """An adapter that multiplies the channels of every fake picture by 1 + these."""
    down = torch.full((1, 3), 1 / 3)
    up = torch.tensor([[red], [green], [blue]])
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"{MODULE}.lora_A.weight": down, f"{MODULE}.lora_B.weight": up}
    save_file(tensors, path, {key: str(value) for key, value in metadata.items()})
    return path


def three(folder: Path) -> Path:
    """A folder of three adapters: redder, greener, bluer."""
    for colour in COLOURS:
        tint(folder / f"{colour}der.safetensors", **{colour: 0.3})
    return folder


def searcher(library: Library, protocol: str = "") -> Searcher:
    """Search with the fake encoder."""
    prompts = PromptSet.load("query")
    return Searcher(library, protocol=protocol, query_encoder=lambda stored: QueryEncoder(FakeEncoder(), prompts))
