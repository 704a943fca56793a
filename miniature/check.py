"""What was trained, measured: whether the judge finds what prompts ask for, bare and with each adapter; and sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, VisionTextDualEncoderModel

from lorascope.adapters import Names, load_delta
from lorascope.measure import Worker, load_worker
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
    """Base, adapters and judge, loaded from folders."""

    folder: Path
    worker: Worker
    judge: Judge

    @classmethod
    def load(cls, folder: Path, judge: Path | None = None, preset: str = "miniature") -> World:
        """Load what is in a folder, that of the work or that of the package; the judge may be in another one."""
        judge = judge or folder / "judge"
        model = VisionTextDualEncoderModel.from_pretrained(judge, dtype=torch.float32).eval()
        settings = replace(Preset.load(preset), base=str(folder / "base"))
        worker = load_worker(settings, device="cpu")
        return cls(folder, worker, Judge(model, AutoTokenizer.from_pretrained(judge)))

    def images(self, texts: Sequence[str], seed: int = 9000, entry: Entry | None = None) -> np.ndarray:
        """Pictures, uint8 (n, 64, 64, 3), each from the noise of its own seed; with an adapter, or of the bare base."""
        path = self.folder / "adapters" / f"{entry.stem}.safetensors" if entry else None
        delta = load_delta(path, Names(self.worker.shapes)) if path else None
        return self.worker.images(texts, range(seed, seed + len(texts)), delta=delta)

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
        images = world.images([text + tail for text in texts], entry=entry)
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


def adapter_sheet(
    world: World, path: Path, columns: int = 8, stacks: int = 3, entries: Sequence[Entry] = ENTRIES
) -> None:
    """The bare base in the first row, then a row for each adapter, on the same prompts and noise; in stacks of rows."""
    scenes = prompts.sets()[2][:: 60 // columns][:columns]
    texts = [describe(scene) for scene in scenes]
    rows = [world.images(texts)]
    for entry in entries:
        tail = f", {entry.trigger}" if entry.trigger else ""
        rows.append(world.images([text + tail for text in texts], entry=entry))
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % stacks)
    height = len(rows) // stacks
    sheet([np.concatenate(rows[start::height]) for start in range(height)], path, zoom=1)


def effect_sheet(path: Path, columns: int = 17, seed: int = 3) -> None:
    """Every effect as it is drawn, in full, in the order of `effects.NAMES`; no model is needed."""
    rng = np.random.default_rng(seed)
    tiles = [drawn(Entry(name, (name,)), sample(rng, pairs=0.1), name, rng) for name in NAMES]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet([np.stack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)], path, zoom=1)
