"""Full-size SDXL on a GPU with random weights: they cost what trained ones cost, and nothing has to be fetched."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
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
from lorascope.models import find_model
from lorascope.precision import PRECISIONS

TITLE = "SDXL on a GPU"
NOTE = """The full-size models with random weights, 1024 px, float16, a rank-16 LoRA on every attention layer. *Capped*
limits the GPU memory (`set_per_process_memory_fraction`). *Images/s* are those of one block of one adapter, including
reading and applying it. *4 steps* is `sdxl-lightning`. Denoisers of FLUX and Z-Image are timed alone, a step of one
image at 1024 px in bfloat16. What does not fit into nine minutes is left out and
named. An adapter counts its own images only, at the number of cells that its precision is expected to take
for the median Consistency of published signatures."""

_BUDGET = 420.0
"""Seconds after which no further group of rows is begun; one takes at most two minutes."""
_TRAINING = 40.0
_CAPS = (8, 12, 16, 24)
_PRESETS = ("sdxl-paper", "sdxl-lightning")
_LIMITS = {("sdxl-paper", "standard"): 480.0, ("sdxl-lightning", "quick"): 30.0, ("sdxl-lightning", "glance"): 4.0}
"""Seconds an adapter, on one H200."""


def missing() -> str:
    """Why this cannot be measured here."""
    return "" if torch.cuda.is_available() else "no GPU here"


def measure() -> Iterator[Measurement]:
    """Images per second of both, seconds an adapter, variants, other denoisers, training, memory under caps."""
    if missing():
        yield from _outstanding()
        return
    with tempfile.TemporaryDirectory() as name:
        clip_vit_b32(Path(name) / "clip")
        yield from measure_on("cuda", Path(name), small=False)


def measure_on(device: str, folder: Path, *, small: bool) -> Iterator[Measurement]:
    """With the encoder that lies in ``folder / "clip"``; ``small`` is to try this out on any device."""
    until = time.monotonic() + _BUDGET
    sdxl_pipeline(folder / "base", small=small)
    for part in (_presets, _variants, _denoisers, _training, _capped):
        if time.monotonic() > until:
            yield Figure(name=f"{part.__name__[1:]} and what follows", value=None, unit="", note="no time was left")
            return
        yield from part(device, folder, small=small)


def _presets(device: str, folder: Path, *, small: bool) -> Iterator[Measurement]:
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


def _variants(device: str, folder: Path, *, small: bool) -> Iterator[Measurement]:
    """Data types, batch sizes and compilation at 4 steps, where they take little time."""
    preset = _preset(_PRESETS[1], folder, small=small)
    for label, changes, compiled in (
        ("bfloat16", {"dtype": "bfloat16"}, False),
        ("batches of 4", {"batch": 4}, False),
        ("batches of 16, blocks of 16", {"batch": 16, "block_size": 16}, False),
        ("blocks of 32", {"block_size": 32}, False),
        ("compiled", {}, True),
    ):
        if small and (compiled or "blocks" in label):
            continue
        seconds = _ours(dataclasses.replace(preset, **changes), folder, device, compiled=compiled)
        yield Figure(name=f"4 steps, {label}", value=1 / seconds, unit="images/s")


def _denoisers(device: str, folder: Path, *, small: bool) -> Iterator[Measurement]:
    """One step of larger denoisers with random weights; how many steps an image takes is in the presets."""
    for name, made in (("FLUX.1", _flux), ("Z-Image", _z_image)):
        step = made(device, small=small)
        yield Figure(name=f"a step of {name}'s denoiser", value=_seconds(step, device), unit="s")
        del step
        torch.cuda.empty_cache()


def _flux(device: str, *, small: bool) -> Callable[[], object]:
    from diffusers import FluxTransformer2DModel

    size = {"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2} if small else {}
    with torch.device(device):
        model = FluxTransformer2DModel(guidance_embeds=True, **size).to(torch.bfloat16).eval()
        tokens = 16 if small else 4096
        given = {
            "hidden_states": torch.randn(1, tokens, 64), "encoder_hidden_states": torch.randn(1, 512, 4096),
            "pooled_projections": torch.randn(1, 768), "timestep": torch.ones(1), "guidance": torch.ones(1),
        }  # fmt: skip
        places = {"img_ids": torch.zeros(tokens, 3), "txt_ids": torch.zeros(512, 3)}
    given = {name: tensor.to(torch.bfloat16) for name, tensor in given.items()}
    return lambda: model(**given, **places)


def _z_image(device: str, *, small: bool) -> Callable[[], object]:
    from diffusers import ZImageTransformer2DModel

    size: dict[str, Any] = {"n_layers": 1, "n_refiner_layers": 1} if small else {}
    side = 16 if small else 128
    with torch.device(device):
        model = ZImageTransformer2DModel(**size).to(torch.bfloat16).eval()
        picture, words = torch.randn(16, 1, side, side), torch.randn(64, 2560)
        time_left = torch.ones(1)
    picture, words = picture.to(torch.bfloat16), words.to(torch.bfloat16)
    return lambda: model([picture], time_left, [words])


def _seconds(step: Callable[[], object], device: str, times: int = 3) -> float:
    """The mean time of a step after one that warms up."""
    with torch.inference_mode():
        step()
        _wait(device)
        began = time.perf_counter()
        for _ in range(times):
            step()
        _wait(device)
    return (time.perf_counter() - began) / times


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _training(device: str, folder: Path, *, small: bool) -> Iterator[Measurement]:
    """Steps of training the shipped world's denoiser, in batches of 64."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(find_model("package:miniature/base") / "unet").to(device).train()
    optimizer = torch.optim.AdamW(unet.parameters())
    config, batch = unet.config, 2 if small else 64
    side, width = config["sample_size"], config["cross_attention_dim"]
    text = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
    latents = torch.randn(batch, config["in_channels"], side, side, device=device)
    words = torch.randn(batch, 16, width, device=device)
    added = {"text_embeds": torch.randn(batch, text, device=device), "time_ids": torch.zeros(batch, 6, device=device)}
    steps, until = 0, time.perf_counter() + (1 if small else _TRAINING)
    began = time.perf_counter()
    while time.perf_counter() < until:
        found = unet(latents, torch.zeros(batch, device=device), words, added_cond_kwargs=added).sample
        (found**2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        _wait(device)
        steps += 1
    yield Figure(name="training the shipped world's base", value=steps / (time.perf_counter() - began), unit="steps/s")


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


def _ours(preset: Preset, folder: Path, device: str, *, compiled: bool = False) -> float:
    """Seconds an image of a first block, from file to stored cells through the same steps as `index`.

    The bare images are known.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name, Library(Path(name) / "gpu.db", create=True) as library:
        worker = load_worker(preset, device=device, compiled=compiled)
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


def _capped(device: str, folder: Path, *, small: bool) -> Iterator[Measurement]:
    if device != "cuda":
        return
    preset = _preset(_PRESETS[0], folder, small=small)
    total = torch.cuda.get_device_properties(0).total_memory
    for cap in _CAPS:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap * 2**30 / total))
        seconds = _ours(preset, folder, "cuda")
        peak = torch.cuda.max_memory_reserved() / 2**30
        yield Figure(name=f"capped at {cap} GB", value=1 / seconds, unit="images/s", note=f"peak {peak:.1f} GB")
    torch.cuda.set_per_process_memory_fraction(1.0)
