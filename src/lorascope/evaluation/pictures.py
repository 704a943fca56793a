"""Images to judge: each adapter on held-out prompts, made once, shared by every query, retriever and judge."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from lorascope.adapters import Delta, Names
from lorascope.caches import Note, quiet
from lorascope.errors import AdapterError, LibraryError, PromptSetError, QueryError
from lorascope.evaluation.store import LabStore, Picture
from lorascope.generators.memory import release_memory
from lorascope.grid import PromptSet
from lorascope.library import BARE, StoredAdapter
from lorascope.library.words import arms, measured_words
from lorascope.measure import Worker
from lorascope.measure.files import measured_delta
from lorascope.protocol import Preset, Protocol


@dataclass(frozen=True)
class Sitting:
    """Which images are judged: every prompt with every seed."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, preset: Preset, seeds: int) -> Sitting:
        """The preset's held-out prompts, with the first of its seeds.

        Raises:
            PromptSetError: one of the prompts is in P or in P'.
            QueryError: the preset has fewer seeds.
        """
        held_out = PromptSet.load(preset.judged_prompts)
        for name in (preset.prompts, preset.query_prompts):
            shared = set(held_out.texts) & set(PromptSet.load(name).texts)
            if shared:
                raise PromptSetError(
                    f"the judged prompt {min(shared)!r} is in the prompt set {name!r}, too: judge on prompts that"
                    " neither signatures nor queries were made with"
                )
        if not 1 <= seeds <= len(preset.seeds):
            raise QueryError(f"{seeds} seeds to judge: the preset {preset.name!r} has {len(preset.seeds)}")
        return cls(held_out.texts, preset.seeds[:seeds])

    @property
    def cells(self) -> list[tuple[str, int]]:
        """Prompts and seeds, pair by pair."""
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds]


@dataclass(frozen=True)
class RenderCost:
    """What images to judge take.

    Attributes:
        adapters: how many are judged, the bare model aside.
        cells: images of each.
        images: how many of all those are still to be made.
        seconds: how long that will take, about.
        gigabytes: how much disk that will take, about.
    """

    adapters: int
    cells: int
    images: int
    seconds: float
    gigabytes: float


@final
class Studio:
    """Makes images to judge, and keeps them. The base model is loaded when an image is missing, not before."""

    def __init__(self, store: LabStore, protocol: Protocol, sitting: Sitting, load: Callable[[], Worker]) -> None:
        """Bind the store, the Protocol that images belong to, the cells, and how to load its models."""
        self.sitting = sitting
        self._store, self._protocol, self._load = store, protocol, load

    @cached_property
    def _worker(self) -> Worker:
        worker = self._load()
        if worker.protocols[0].scene != self._protocol.scene:
            raise LibraryError(
                f"the base model is another one now than {self._protocol} was measured with: put the former one back,"
                " or index again"
            )
        return worker

    def release(self) -> None:
        """Let the base model go; it is loaded again when an image is missing."""
        vars(self).pop("_worker", None)
        release_memory()

    def cost(self, keys: Sequence[str]) -> RenderCost:
        """How much is still to be made, timed on a batch of bare images."""
        missing = {key: self._missing(key) for key in (BARE, *keys)}
        images = sum(map(len, missing.values()))
        if not images:
            return RenderCost(len(keys), len(self.sitting.cells), 0, 0.0, 0.0)
        prompts, seeds = zip(*self.sitting.cells[: self._worker.preset.batch], strict=True)
        self._worker.images(prompts, seeds)  # warms up
        began = time.perf_counter()
        made = self._worker.images(prompts, seeds)
        seconds = (time.perf_counter() - began) / len(made)
        size = len(_picture("", 0, made[0]).webp)
        return RenderCost(len(keys), len(self.sitting.cells), images, images * seconds, images * size / 1e9)

    def make(self, adapters: Mapping[str, StoredAdapter], note: Note = quiet) -> list[str]:
        """Make what is missing, adapter by adapter; an interrupted run resumes from there.

        Returns:
            The reasons for adapters that have no images, because their file is gone or cannot be loaded.

        Raises:
            LibraryError: that is all of them, so that there is nothing to judge.
        """
        failed: list[str] = []
        self._draw(BARE, None, "")
        for done, (key, adapter) in enumerate(adapters.items()):
            note("making images to judge", done, len(adapters))
            if not self._missing(key):
                continue
            try:
                delta = measured_delta(adapter, Names(self._worker.shapes))
            except AdapterError as error:
                failed.append(f"{adapter.name}: {error}")
                continue
            words, _ = arms(self._protocol, measured_words(adapter, self._protocol))
            self._draw(key, delta, words)
        note("", len(adapters), len(adapters))
        if failed and len(failed) == len(adapters):
            raise LibraryError(f"none of {len(failed)} adapters has images to judge. {failed[0]}")
        return failed

    def _missing(self, key: str) -> list[tuple[str, int]]:
        drawn = self._store.drawn(scene_of(self._protocol, key), key)
        return [cell for cell in self.sitting.cells if cell not in drawn]

    def _draw(self, key: str, delta: Delta | None, words: str) -> None:
        cells = self._missing(key)
        if not cells:
            return
        prompts, seeds = [prompt + words for prompt, _ in cells], [seed for _, seed in cells]
        images = self._worker.images(prompts, seeds, delta=delta, scale=self._protocol.scale)
        found = [_picture(prompt, seed, image) for (prompt, seed), image in zip(cells, images, strict=True)]
        self._store.put_pictures(scene_of(self._protocol, key), key, found)


def scene_of(protocol: Protocol, key: str) -> str:
    """Under which scene images of an adapter, or of the bare model (``BARE``), are kept."""
    return protocol.bare_scene if key == BARE else protocol.scene


def _picture(prompt: str, seed: int, pixels: UInt8[np.ndarray, "h w 3"]) -> Picture:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True)  # a judge sees what the model made
    return Picture(prompt, seed, hashlib.sha256(file.getvalue()).hexdigest(), file.getvalue())


def pixels(pictures: Sequence[Picture]) -> UInt8[np.ndarray, "n h w 3"]:
    """Kept images as an array."""
    return np.stack([np.array(Image.open(io.BytesIO(picture.webp)).convert("RGB")) for picture in pictures])
