"""Levers that work outside the making of an image: reading the next adapter meanwhile, and a tiny decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TypeVar
from unittest import mock

import torch

from benchmarks.harness import Figure, Measurement, Side, repeat, take_turns
from benchmarks.models import sdxl_lora, sdxl_parts
from lorascope import Library, Preset, index
from lorascope.adapters import Names, load_delta, sha256_of
from lorascope.measure import load_worker
from lorascope.miniature import adapters_path

_ADAPTERS, _ROUNDS = 8, 5
_DECODED = 256
"""Pixels a side: at 1024 SDXL's decoder takes minutes on a CPU."""

A = TypeVar("A")
B = TypeVar("B")


def reading(preset: Preset, folder: Path) -> Iterator[Measurement]:
    """Several adapters, the next one read meanwhile or in its turn; and how long an adapter of SDXL's size takes."""
    sides = {name: Side(_indexing, (preset, folder / name, name == "ahead")) for name in ("in turn", "ahead")}
    turns = take_turns(sides, rounds=_ROUNDS, unit="adapter", units=_ADAPTERS)
    yield turns.compare("in turn", "ahead", "lever: the next adapter read meanwhile")
    unet = sdxl_parts("meta")["unet"]
    shapes = {"unet": {name: tuple(weight.shape) for name, weight in unet.named_parameters()}}
    path, names = sdxl_lora(folder, shapes), Names(shapes)

    def read() -> None:
        data = path.read_bytes()
        sha256_of(data)
        load_delta(data, names)

    size = Figure(name="an adapter of SDXL, rank 16 on all attention", value=path.stat().st_size / 1e6, unit="MB")
    yield from (size, repeat("reading, hashing and checking it", read, repeats=_ROUNDS))


def _indexing(preset: Preset, folder: Path, ahead: bool) -> Callable[[], object]:
    """First looks at adapters, one block each. Every call starts from a library that knows the bare images only."""
    folder.mkdir()
    paths = sorted(adapters_path().glob("*.safetensors"))[: _ADAPTERS + 1]
    library = Library(folder / "library.db", create=True)
    worker = load_worker(preset, device="cpu")
    index(paths[:1], worker, library, precision="glance")
    if not ahead:  # in the process of this side alone
        mock.patch.object(import_module("lorascope.measure.run"), "read_ahead", _in_turn).start()

    def work() -> None:
        index(paths[1:], worker, library, precision="glance")
        for key in library.adapters.all():
            library.remove(key)

    return work


def _in_turn(items: Iterable[A], read: Callable[[A], B]) -> Iterator[tuple[A, Callable[[], B]]]:
    return ((item, partial(read, item)) for item in items)


def decoding() -> Iterator[Measurement]:
    """SDXL's decoder against the tiny one."""
    sides = {name: Side(_decoder, (name,)) for name in ("vae", "tiny")}
    turns = take_turns(sides, rounds=3, unit="image")
    yield turns.compare("vae", "tiny", f"lever: a tiny decoder, {_DECODED} px")


def _decoder(name: str) -> Callable[[], object]:
    torch.set_num_threads(1)
    decoder = sdxl_parts("meta")[name].to_empty(device="cpu")
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    latents = torch.zeros(1, 4, _DECODED // 8, _DECODED // 8)

    @torch.inference_mode()
    def work() -> None:
        decoder.decode(latents)

    return work
