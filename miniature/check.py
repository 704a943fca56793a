"""What was trained, measured: whether the judge finds what prompts ask for, bare and with each adapter; and sheets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, VisionTextDualEncoderModel

from lorascope.adapters import Names, load_delta
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.protocol import Preset
from miniature import prompts
from miniature.adapters import drawn
from miniature.captions import describe
from miniature.catalogue import ENTRIES, Entry
from miniature.effects import NAMES, SUBJECTS
from miniature.judge import Judge, sentence
from miniature.quality import named
from miniature.scenes import Scene, sample, with_subject

FIELDS = ("kind", "place")
KEPT = (0.45, 0.8)
"""From which share of the bare base's right scenes on a scene counts as partly kept, and as kept."""


@dataclass(frozen=True)
class World:
    """Base, adapters and judge, loaded from a folder."""

    folder: Path
    generator: DiffusionGenerator
    judge: Judge
    batch: int = 16

    @classmethod
    def load(cls, folder: Path) -> World:
        """Load what lies in a folder, that of the work or that of the package."""
        torch.set_num_threads(1)
        preset = replace(Preset.load("miniature"), base=str(folder / "base"))
        model = VisionTextDualEncoderModel.from_pretrained(folder / "judge", dtype=torch.float32).eval()
        judge = Judge(model, AutoTokenizer.from_pretrained(folder / "judge"))
        return cls(folder, DiffusionGenerator(preset), judge)

    @contextmanager
    def wearing(self, entry: Entry) -> Iterator[None]:
        """The base with an adapter."""
        path = self.folder / "adapters" / f"{entry.stem}.safetensors"
        with self.generator.with_component(load_delta(path, Names(self.generator.shapes)), 1.0):
            yield

    def images(self, texts: Sequence[str], seed: int = 9000) -> np.ndarray:
        """Pictures, uint8 (n, 64, 64, 3), each from the noise of its own seed."""
        found = []
        for start in range(0, len(texts), self.batch):
            part = texts[start : start + self.batch]
            out = self.generator.render(part, range(seed + start, seed + start + len(part)))
            found.append((out * 255).round().byte().permute(0, 2, 3, 1).numpy())
        return np.concatenate(found)

    @torch.inference_mode()
    def right(self, images: np.ndarray, scenes: Sequence[Scene]) -> dict[str, np.ndarray]:
        """For each field whether the judge names it."""
        eyes = self.judge.see(images).numpy()
        return {
            field: np.array([named(v, s, field, sentence, self._read) for v, s in zip(eyes, scenes, strict=True)])
            for field in FIELDS
        }

    def _read(self, texts: list[str]) -> np.ndarray:
        return self.judge.read(texts).numpy()


def asked(entry: Entry, scene: Scene) -> Scene:
    """What is left of a scene if the adapter does just what it was made for: a cat where everything turns into cats."""
    turned = [effect for effect in entry.effects if effect in SUBJECTS]
    return with_subject(scene, turned[0]) if len(entry.effects) == len(turned) == 1 else scene


def kept(world: World) -> dict[str, dict[str, float]]:
    """For each adapter the share of the bare base's right scenes, objects and places both, that stay right."""
    scenes = prompts.sets()[2]
    texts = [describe(scene) for scene in scenes]
    bare = np.logical_and(*world.right(world.images(texts), scenes).values())
    found = {}
    for entry in ENTRIES:
        tail = f", {entry.trigger}" if entry.trigger else ""
        with world.wearing(entry):
            images = world.images([text + tail for text in texts])
        still = np.logical_and(*world.right(images, [asked(entry, scene) for scene in scenes]).values())
        share = float((still & bare).sum() / max(1, bare.sum()))
        found[entry.stem] = {"kept": int(np.searchsorted(KEPT, share, side="right")), "kept_share": round(share, 3)}
    return found


def rates(world: World, count: int = 240) -> dict[str, float]:
    """How often the judge names object and place in pictures of the bare base, for prompts of one object."""
    rng = np.random.default_rng(5)
    scenes = [replace(scene, second=None) for scene in prompts.sets()[2]]
    scenes = [scenes[i] for i in rng.integers(0, len(scenes), count)]
    right = world.right(world.images([describe(scene) for scene in scenes], 20000), scenes)
    return {field: round(float(hits.mean()), 3) for field, hits in right.items()}


def sheet(rows: Sequence[np.ndarray], path: Path, zoom: int = 2) -> None:
    """Rows of pictures as one PNG."""
    picture = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    picture.resize((zoom * picture.width, zoom * picture.height), Image.Resampling.NEAREST).save(path, optimize=True)


def base_sheet(world: World, path: Path, columns: int = 15) -> None:
    """Sixty pictures of the bare base."""
    scenes = prompts.sets()[2]
    images = world.images([describe(scene) for scene in scenes])
    sheet([images[start : start + columns] for start in range(0, len(images), columns)], path)


def adapter_sheet(world: World, path: Path, columns: int = 8, stacks: int = 3) -> None:
    """The bare base in the first row, then a row for each adapter, on the same prompts and noise; in stacks of rows."""
    scenes = prompts.sets()[2][:: 60 // columns][:columns]
    texts = [describe(scene) for scene in scenes]
    rows = [world.images(texts)]
    for entry in ENTRIES:
        with world.wearing(entry):
            rows.append(world.images([f"{text}, {entry.trigger}" if entry.trigger else text for text in texts]))
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % stacks)
    height = len(rows) // stacks
    sheet([np.concatenate(rows[start::height]) for start in range(height)], path, zoom=1)


def effect_sheet(path: Path, columns: int = 17, seed: int = 3) -> None:
    """Every effect as it is drawn, in full, in the order of `effects.NAMES`; no model is needed."""
    rng = np.random.default_rng(seed)
    tiles = [drawn(Entry(name, (name,)), sample(rng, pairs=0.1), name, rng) for name in NAMES]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet([np.stack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)], path, zoom=1)
