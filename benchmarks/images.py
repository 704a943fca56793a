"""Images with adapters, on the CPU with the shipped world: the reference, each lever alone, and all together."""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.harness import Figure, Measurement, Side, at_least, take_turns
from benchmarks.levers import decoding, reading
from benchmarks.reference_index import ReferenceIndex
from lorascope import Library, Preset, index, read_adapter
from lorascope.adapters import Names, load_delta
from lorascope.encoders.dual import DualEncoder
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.generators.noise import starting_noise
from lorascope.library.words import suffix
from lorascope.measure.local import LocalWorker
from lorascope.miniature import adapters_path

TITLE = "Images with adapters"
NOTE = """The shipped world in float32 on one thread. *End to end* is one adapter on a grid of 32 prompts and 4 seeds,
from file to signature, the bare images known: the reference as published, lorascope as `index` runs it. The levers are
measured in one program that starts without any (adapter applied by peft, batches of four seeds of one prompt, prompts
encoded again for each batch, PNG between pipeline and CLIP, default memory layout) and adds one, or all. *Multiplied*
are the ratios of the levers alone: *all of them* gives less where two levers save the same time.

*The next adapter read meanwhile* works between adapters, so it is measured over several that take one block each; on a
CPU the reader shares the cores with the device. *A tiny decoder* is timed at SDXL's size with random weights, and is a
Protocol of its own. Applying an adapter is a fixed cost, larger in the reference; over the full grid it counts less, so
end to end lorascope gains a little less there."""

_ADAPTERS = ("oldphoto", "lora-000007", "midas")
"""Kohya files that diffusers puts on rightly, too; not all of the shipped ones are (`tests/test_reference.py`)."""
_PROMPTS, _SEEDS = 32, (0, 1, 2, 3)
_ROUNDS = 5


@dataclass(frozen=True)
class Levers:
    """What may be done better than in the reference, one by one."""

    merged: bool = False
    mixed: bool = False
    texts: bool = False
    tensors: bool = False
    layout: bool = False
    compiled: bool = False


_ALONE = {
    "merged into the weights": Levers(merged=True),
    "batches of 16 that mix prompts": Levers(mixed=True),
    "prompts encoded once": Levers(texts=True),
    "no PNG between": Levers(tensors=True),
    "channels last": Levers(layout=True),
    "compiled": Levers(compiled=True),
}
_ALL = Levers(merged=True, mixed=True, texts=True, tensors=True, layout=True)
_TOGETHER = {"all of them but compiled": _ALL, "all of them": dataclasses.replace(_ALL, compiled=True)}


def measure() -> Iterator[Measurement]:
    """End to end, the UNet alone, lever by lever."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        preset = small_preset(folder)
        cells = _PROMPTS * len(_SEEDS)
        sides = {"reference": Side(_reference, (preset, folder)), "ours": Side(_ours, (preset, folder))}
        turns = take_turns(sides, rounds=_ROUNDS, unit="image", units=cells)
        yield turns.compare("reference", "ours", "end to end", target=at_least(2))
        sides = {"reference": Side(_unet, (preset, Levers())), "ours": Side(_unet, (preset, _ALL))}
        turns = take_turns(sides, rounds=_ROUNDS, unit="image and step", units=16)
        yield turns.compare("reference", "ours", "the UNet alone", target=at_least(2))
        yield from _levers(preset, folder)
        yield from reading(preset, folder)
        yield from decoding()


def small_preset(folder: Path) -> Preset:
    """The shipped world on a few of its prompts, spread over all categories."""
    preset = Preset.load("miniature")
    texts = preset.grid().prompts.texts
    path = folder / "prompts.txt"
    path.write_text("\n".join(texts[:: len(texts) // _PROMPTS][:_PROMPTS]), "utf-8")
    return dataclasses.replace(preset, prompts=str(path), seeds=_SEEDS)


def _paths() -> Iterator[Path]:
    return itertools.cycle(adapters_path() / f"{name}.safetensors" for name in _ADAPTERS)


def _reference(preset: Preset, folder: Path) -> Callable[[], object]:
    reference = ReferenceIndex(preset, preset.grid().prompts.texts, folder / "reference")
    reference.bare()
    paths = _paths()

    def work() -> None:
        path = next(paths)
        reference.adapter(path, _words(path))

    return work


def _words(path: Path) -> str:
    triggers = read_adapter(path).claims.triggers
    return suffix(triggers.value if triggers else (), "all")


def _ours(preset: Preset, folder: Path) -> Callable[[], object]:
    """Every call starts from a library that knows the bare images only."""
    torch.set_num_threads(preset.threads)
    generator, encoder = DiffusionGenerator(preset), DualEncoder(preset.encoders[0])
    place, paths = folder / "ours", _paths()
    place.mkdir()
    with Library(place / "known.db", create=True) as library:
        index(
            [adapters_path() / "royal.safetensors"],
            LocalWorker(preset, generator, [encoder]),
            library,
            precision="full",
        )

    def work() -> None:
        for kind in ("db", "evidence.db"):
            shutil.copy(place / f"known.{kind}", place / f"now.{kind}")
        with Library(place / "now.db") as library:
            index([next(paths)], LocalWorker(preset, generator, [encoder]), library, precision="full")

    return work


def _levers(preset: Preset, folder: Path) -> Iterator[Measurement]:
    variants = {"none": Levers(), **_ALONE, **_TOGETHER}
    sides = {name: Side(_images, (preset, levers, folder / "png")) for name, levers in variants.items()}
    turns = take_turns(sides, rounds=_ROUNDS, unit="image", units=16)
    alone = {name: turns.compare("none", name, f"lever: {name}") for name in _ALONE}
    yield from alone.values()
    yield from (turns.compare("none", name, f"lever: {name}") for name in _TOGETHER)
    product = math.prod(row.wall.median for row in alone.values())
    uncompiled = product / alone["compiled"].wall.median
    yield Figure(name="the levers' ratios multiplied, all but compiled", value=uncompiled, unit="x")
    yield Figure(name="the levers' ratios multiplied, all", value=product, unit="x")


def _generator(preset: Preset, levers: Levers) -> tuple[Any, Any]:
    """A generator with an adapter on, and what keeps it on."""
    torch.set_num_threads(preset.threads)
    generator = DiffusionGenerator(preset, batch=16 if levers.mixed else 4, compiled=levers.compiled)
    path = next(_paths())
    if not levers.layout:
        for part in (generator._pipe.unet, generator._pipe.vae):
            part.to(memory_format=torch.contiguous_format)
    if not levers.merged:
        generator._pipe.load_lora_weights(path.parent, weight_name=path.name)
        return generator, None
    worn = generator.with_component(load_delta(path, Names(generator.shapes)), 1.0)
    worn.__enter__()
    return generator, worn


def _batches(preset: Preset, levers: Levers) -> list[tuple[list[str], list[int]]]:
    """Sixteen images: four prompts with their seeds, or sixteen prompts."""
    texts = preset.grid().prompts.texts
    if levers.mixed:
        return [(list(texts[:16]), [place % 4 for place in range(16)])]
    return [([text] * 4, list(_SEEDS)) for text in texts[:4]]


def _images(preset: Preset, levers: Levers, folder: Path) -> Callable[[], object]:
    from transformers import CLIPImageProcessorPil

    generator, worn = _generator(preset, levers)
    encoder = DualEncoder(preset.encoders[0])
    processor = CLIPImageProcessorPil.from_pretrained(encoder._folder, local_files_only=True)
    folder.mkdir(exist_ok=True)

    def through_png(images: torch.Tensor) -> object:
        places = [folder / f"{id(worn)}-{place}.png" for place in range(len(images))]
        for place, image in zip(places, images, strict=True):
            Image.fromarray(image.mul(255).round().byte().permute(1, 2, 0).numpy()).save(place)
        pictures = [Image.open(place).convert("RGB") for place in places]
        with torch.inference_mode():
            return encoder._model.get_image_features(**processor(images=pictures, return_tensors="pt"))

    def work() -> None:
        for prompts, seeds in _batches(preset, levers):
            with nullcontext() if levers.texts else generator._prompts.anew():
                images = generator.render(prompts, seeds)
            encoder.images(images) if levers.tensors else through_png(images)

    return work


def _unet(preset: Preset, levers: Levers) -> Callable[[], object]:
    """One step of the denoising loop for sixteen images."""
    generator, _worn = _generator(preset, levers)
    batches = [_inputs(generator, *batch) for batch in _batches(preset, levers)]

    @torch.inference_mode()
    def work() -> None:
        for latents, tokens, added in batches:
            generator._pipe.unet(latents, 500, encoder_hidden_states=tokens, added_cond_kwargs=added)

    return work


@torch.inference_mode()
def _inputs(generator: Any, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    texts = generator._prompts.encode(prompts)
    latents, _ = starting_noise(seeds, (8, 16, 16), "cell", 0)
    return latents, torch.cat([text.tokens for text in texts]), generator._added(texts)
