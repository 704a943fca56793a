"""Measured quality of what was trained: Direction, Strength, Consistency, P@1, time an image, contact sheets."""

from __future__ import annotations

import contextlib
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPTokenizer

from miniature.catalogue import ENTRIES, by_stem
from miniature.encoder import pixels, tokens
from miniature.formats import kohya_name

HERE = Path(__file__).resolve().parents[1] / "src" / "lorascope"


def texts(name: str) -> list[str]:
    """The prompts of a shipped set, categories in turn."""
    data = tomllib.loads((HERE / "prompts" / f"{name}.toml").read_text("utf-8"))
    lanes = [[t for group in v.values() for t in group] for k, v in data.items() if k != "name"]
    longest = max(len(lane) for lane in lanes)
    return [lane[i] for i in range(longest) for lane in lanes if i < len(lane)]


class World:
    """The base, its adapters and the encoder, loaded from a folder."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.folder = folder
        load = StableDiffusionXLPipeline.from_pretrained
        self.pipe = load(folder / "base", add_watermarker=False, dtype=torch.float32)
        self.pipe.set_progress_bar_config(disable=True)
        self.clip: Any = CLIPModel.from_pretrained(folder / "encoder", dtype=torch.float32).eval()
        self.words = CLIPTokenizer.from_pretrained(folder / "encoder")

    @torch.inference_mode()
    def images(self, prompts: list[str], seeds: list[int]) -> np.ndarray:
        """Pictures, uint8 (n, 64, 64, 3), each from the noise of its own seed."""
        found = []
        for start in range(0, len(prompts), 16):
            noise = [torch.Generator().manual_seed(seed) for seed in seeds[start : start + 16]]
            out = self.pipe(
                prompts[start : start + 16], generator=noise, num_inference_steps=4, guidance_scale=1.0,
                height=64, width=64, output_type="np",
            )  # fmt: skip
            found.append((out.images * 255).round().astype(np.uint8))
        return np.concatenate(found)

    @torch.inference_mode()
    def see(self, images: np.ndarray) -> np.ndarray:
        """Unnormalised embeddings of pictures, (n, d)."""
        return self.clip.get_image_features(pixel_values=pixels(images)).pooler_output.double().numpy()

    @torch.inference_mode()
    def read(self, lines: list[str]) -> np.ndarray:
        """Unnormalised embeddings of texts, (n, d)."""
        return self.clip.get_text_features(**tokens(self.words, lines)).pooler_output.double().numpy()

    @contextlib.contextmanager
    def wearing(self, stem: str) -> Iterator[None]:
        """The pipeline with an adapter, by diffusers' own loader where it knows the form."""
        path = self.folder / "adapters" / f"{stem}.safetensors"
        entry = by_stem(stem)
        if entry.form == "loha" or entry.alphas:  # diffusers refuses the one and reads the other wrongly
            with self._merged(load_file(path), entry.form == "sgm"):
                yield
            return
        self.pipe.load_lora_weights(path, adapter_name="one")
        try:
            yield
        finally:
            self.pipe.unload_lora_weights()

    @contextlib.contextmanager
    def _merged(self, parts: dict[str, torch.Tensor], sgm: bool) -> Iterator[None]:
        """A kohya file of the UNet, added to the weights and taken off again."""
        layers = {kohya_name(f"unet.{name}", sgm): module for name, module in self.pipe.unet.named_modules() if name}
        before = {}
        for name in sorted({key.split(".")[0] for key in parts}):
            weight = layers[name].weight
            before[name] = weight.detach().clone()
            mine = {k.split(".", 1)[1]: v.float() for k, v in parts.items() if k.split(".")[0] == name}
            weight.data += _delta(mine)
        try:
            yield
        finally:
            for name, value in before.items():
                layers[name].weight.data.copy_(value)


def _delta(f: dict[str, torch.Tensor]) -> torch.Tensor:
    """The change of a linear layer's weight."""
    if "hada_w1_a" in f:
        return (f["hada_w1_a"] @ f["hada_w1_b"]) * (f["hada_w2_a"] @ f["hada_w2_b"])
    down, up = f["lora_down.weight"], f["lora_up.weight"]
    return up @ down * (f["alpha"] / len(down))


def signature(effects: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Direction, Strength and Consistency of effects of shape (n, d)."""
    sizes = np.linalg.norm(effects, axis=1)
    units = effects / np.maximum(sizes, 1e-9)[:, None]
    n, total = len(effects), units.sum(axis=0)
    return effects.mean(axis=0), float(sizes.mean()), float((total @ total - n) / (n * (n - 1)))


def cells(count: int) -> tuple[list[str], list[int]]:
    """Prompts and seeds of the first cells of the index set."""
    return texts("miniature-index")[:count], [1000 + i for i in range(count)]


def triggered(prompts: list[str], trigger: str) -> list[str]:
    """The prompts with an adapter's trigger word."""
    return [f"{prompt}, {trigger}" for prompt in prompts] if trigger else prompts


def measure(world: World, count: int = 64, sheet: Path | None = None) -> dict[str, tuple[np.ndarray, float, float]]:
    """Signatures of all adapters; strips without and with each go into `sheet`."""
    prompts, seeds = cells(count)
    bare = world.images(prompts, seeds)
    seen = world.see(bare)
    found, rows = {}, [bare[:10]]
    for entry in ENTRIES:
        with world.wearing(entry.stem):
            images = world.images(triggered(prompts, entry.trigger), seeds)
        found[entry.stem] = signature(world.see(images) - seen)
        rows.append(images[:10])
    if sheet:
        picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
        Image.fromarray(picture).save(sheet)
    return found


def shift(world: World, query: str, prompts: list[str]) -> np.ndarray:
    """The query vector by suffix encoding."""
    return (world.read([f"{p} {query}" for p in prompts]) - world.read(prompts)).mean(axis=0)


def pace(world: World) -> float:
    """Milliseconds an image, one thread, batches of 16."""
    prompts, seeds = cells(16)
    world.images(prompts, seeds)
    start = time.process_time()
    for _ in range(3):
        world.images(prompts, seeds)
    return (time.process_time() - start) / 48 * 1000


def unit(x: np.ndarray) -> np.ndarray:
    """Divide by the length along the last axis."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def report(folder: Path, queries: list[dict[str, Any]], count: int = 64, sheet: Path | None = None) -> None:
    """Print the table of the adapters and P@1 of the queries."""
    world = World(folder)
    print(f"{pace(world):.1f} ms an image")
    found = measure(world, count, sheet)
    stems = list(found)
    directions = unit(np.stack([found[stem][0] for stem in stems]))
    alike = directions @ directions.T - 2 * np.eye(len(stems))
    for i, stem in enumerate(stems):
        _, strength, consistency = found[stem]
        print(f"{stem:26s} S {strength:6.3f}  C {consistency:6.3f}  next {stems[int(alike[i].argmax())]}")
    prompts = texts("miniature-query")
    hits: dict[str, list[int]] = {"word": [], "paraphrase": []}
    for query in queries:
        best = stems[int((directions @ unit(shift(world, query["text"], prompts))).argmax())]
        grade = query["relevant"].get(best, 0)
        hits[query["kind"]].append(grade)
        if grade < 2:
            print(f"missed: {query['text']!r} -> {best} (grade {grade})")
    for kind, grades in hits.items():
        exact, close = np.mean([g == 2 for g in grades]), np.mean([g > 0 for g in grades])
        print(f"P@1 of {kind}s: {exact:.3f} exact, {close:.3f} exact or near")
