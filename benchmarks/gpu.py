"""Full-size SDXL on a GPU with random weights: they cost what trained ones cost, and nothing has to be fetched."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Figure, Measurement, at_least, at_most
from benchmarks.models import clip_vit_b32, sdxl_lora, sdxl_pipeline
from benchmarks.reference_index import ReferenceIndex
from lorascope import Library, Preset
from lorascope.adapters import load_delta, sha256_of
from lorascope.measure import load_worker
from lorascope.measure import measurement as measuring
from lorascope.measure.stopping import expected_cells
from lorascope.protocol import PRECISIONS

TITLE = "SDXL on a GPU"
NOTE = """The full-size models with random weights, 1024 px, float16, a rank-16 LoRA on every attention layer. *Capped*
limits the GPU memory (`set_per_process_memory_fraction`). *Images/s* are those of 32 cells of one adapter, including
reading and applying it. An adapter counts its own images only, at the number of cells that its precision is expected to
take for the median Consistency of published signatures."""

_CAPS = (8, 12, 16, 24)
_PRESETS = ("sdxl-paper", "sdxl-lightning")
_LIMITS = {("sdxl-paper", "standard"): 480.0, ("sdxl-lightning", "quick"): 30.0, ("sdxl-lightning", "glance"): 4.0}
"""Seconds an adapter, on one H200."""


def missing() -> str:
    """Why this cannot be measured here."""
    return "" if torch.cuda.is_available() else "no GPU here"


def measure() -> Iterator[Measurement]:
    """Images per second of both, then seconds an adapter, then memory under caps."""
    if missing():
        yield from _outstanding()
        return
    with tempfile.TemporaryDirectory() as name:
        clip_vit_b32(Path(name) / "clip")
        yield from measure_on("cuda", Path(name), small=False)


def measure_on(device: str, folder: Path, *, small: bool) -> Iterator[Measurement]:
    """With the encoder that lies in ``folder / "clip"``; ``small`` is to try this out on any device."""
    sdxl_pipeline(folder / "base", small=small)
    for name in _PRESETS:
        preset = _preset(name, folder, small=small)
        ours = _ours(preset, folder, device)
        yield Figure(name=f"lorascope, `{name}`", value=1 / ours, unit="images/s")
        if name == _PRESETS[0]:
            reference = _reference(preset, folder, device)
            yield Figure(name=f"reference, `{name}`", value=1 / reference, unit="images/s")
            yield Figure(name="end to end", value=reference / ours, unit="x", target=at_least(2))
        for precision in PRECISIONS.values():
            seconds = ours * expected_cells(precision, Preset.load(name).grid())
            limit = _LIMITS.get((name, precision.name))
            target = None if limit is None else at_most(limit)
            yield Figure(name=f"an adapter at `{precision.name}`, `{name}`", value=seconds, unit="s", target=target)
    if device == "cuda":
        yield from _capped(_preset(_PRESETS[0], folder, small=small), folder)


def _outstanding() -> Iterator[Measurement]:
    yield Figure(name="end to end", value=None, unit="x", target=at_least(2), note=missing())
    for (preset, precision), limit in _LIMITS.items():
        name = f"an adapter at `{precision}`, `{preset}`"
        yield Figure(name=name, value=None, unit="s", target=at_most(limit), note=missing())
    for cap in _CAPS:
        yield Figure(name=f"capped at {cap} GB", value=None, unit="images/s", note=missing())


def _preset(name: str, folder: Path, *, small: bool) -> Preset:
    """A shipped preset on models that are made here; the accelerator would change weights, not work."""
    preset = Preset.load(name)
    vae = str(folder / "base" / "tiny") if "taesd" in preset.vae else ""
    changes: dict[str, Any] = {"base": str(folder / "base"), "encoders": (str(folder / "clip"),)}
    changes |= {"vae": vae, "accelerator": "", "seeds": (42, 43, 44, 45)}
    size = {"width": 64, "height": 64, "steps": 1, "block_size": 4, "batch": 4} if small else {}
    return dataclasses.replace(preset, **changes, **size)


def _ours(preset: Preset, folder: Path, device: str) -> float:
    """Seconds an image of a first block, from file to stored cells through the same steps as `index`.

    The bare images are known.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name, Library(Path(name) / "gpu.db", create=True) as library:
        worker = load_worker(preset, device=device)
        measurement = measuring.Measurement(worker, library)
        measurement.record()
        path = sdxl_lora(folder, worker.shapes)
        for turn in ("first", "second"):  # the first one draws the bare images, too, and warms up
            began = time.perf_counter()
            data = path.read_bytes()
            measurement.measure(f"{turn} {sha256_of(data)}", load_delta(data, measurement.names), "", 0)
        return (time.perf_counter() - began) / preset.block_size


def _reference(preset: Preset, folder: Path, device: str) -> float:
    """The same for the reference, on as many cells."""
    prompts = preset.grid().prompts.texts[: preset.block_size // len(preset.seeds)]
    reference = ReferenceIndex(preset, prompts, folder / "reference", device)
    reference.bare()
    began = time.perf_counter()
    reference.adapter(folder / "lora.safetensors")
    return (time.perf_counter() - began) / (len(prompts) * len(preset.seeds))


def _capped(preset: Preset, folder: Path) -> Iterator[Measurement]:
    total = torch.cuda.get_device_properties(0).total_memory
    for cap in _CAPS:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap * 2**30 / total))
        seconds = _ours(preset, folder, "cuda")
        peak = torch.cuda.max_memory_reserved() / 2**30
        yield Figure(name=f"capped at {cap} GB", value=1 / seconds, unit="images/s", note=f"peak {peak:.1f} GB")
    torch.cuda.set_per_process_memory_fraction(1.0)
