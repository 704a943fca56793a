"""The workbench: a resident base model and its encoders, measuring one block of cells at a time into a Library."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16, Float32, UInt8
from PIL import Image

from lorascope.adapters import Delta, Names
from lorascope.adapters.spectra import Spectrum, spectrum
from lorascope.encoders.base import Encoder
from lorascope.errors import ModelError
from lorascope.generators.base import Generator
from lorascope.grid import PREVIEWS, Cell
from lorascope.library import BARE, Library, Preview
from lorascope.protocol import Preset, Protocol

T = TypeVar("T")

_THUMBNAIL = 64
_PREVIEW = 384
_FLOOR_CELLS = 8


@dataclass(frozen=True)
class _Arm:
    """What one pass over a block's cells left behind."""

    embeddings: dict[str, Float16[np.ndarray, "n d"]]
    thumbnails: UInt8[np.ndarray, "n 3 s s"]


@dataclass(frozen=True)
class CellCost:
    """What one cell takes: seconds, and bytes of its embeddings, its thumbnail, and a preview where one is kept."""

    seconds: float
    embeddings: int
    thumbnail: int
    preview: int


@final
class Bench:
    """Everything that stays loaded while adapters come and go.

    Each block is rendered twice, without and with the adapter, in the same batch layout and by the same Execution.
    Bare blocks are embedded once and kept.
    """

    def __init__(self, preset: Preset, generator: Generator, encoders: Sequence[Encoder], library: Library) -> None:
        """Bind models and library, with a Protocol for each encoder. Nothing is written yet."""
        self.preset = preset
        self.grid = preset.grid()
        self.library = library
        self.names = Names(generator.shapes)
        self._encoders: dict[str, Encoder] = {}
        self._known: dict[str, Protocol] = {}
        for encoder in encoders:
            protocol = preset.protocol(
                base_digest=generator.digest, encoder=encoder.name, encoder_digest=encoder.digest
            )
            self._known[protocol.digest] = protocol
            self._encoders[protocol.digest] = encoder
            self.scene = protocol.scene
            self.worn_as = f"{protocol.base_digest} x {protocol.scale:g}"
        self._recorded = False
        self._use(generator)

    def _use(self, generator: Generator) -> None:
        self._generator = generator
        self.execution = generator.execution.digest
        if self._recorded:
            self.library.protocols.add_execution(generator.execution)

    def record(self) -> None:
        """Make the Protocols known to the library, the last one active, with what the preset says of thresholds."""
        for protocol in self._known.values():
            self.library.protocols.add(protocol, self.preset)
        self.library.protocols.add_execution(self._generator.execution)
        self._recorded = True

    @property
    def protocols(self) -> tuple[str, ...]:
        """The digests of the Protocols that are measured together."""
        return tuple(self._encoders)

    def cut(self, triggers: str) -> int:
        """How many prompts of the grid become too long for the base model when trigger words are appended."""
        return self._generator.cut([text + self.words(triggers)[0] for text in self.grid.prompts.texts])

    def spectrum(self, delta: Delta) -> Spectrum:
        """How large an adapter's change of the base model is, and of what shape.

        Raises:
            ModelError: the device's memory does not hold the change of one layer.
        """
        try:
            return spectrum(delta, self._generator.untouched, self.preset.scale)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            raise ModelError(
                "the device's memory does not hold one changed layer beside the base model: another program may use it;"
                " end that, or use --device cpu"
            ) from error

    def cell_cost(self) -> CellCost:
        """What one cell takes in a full batch, warmed up."""
        return self._fitting(self._cell_cost)

    def _cell_cost(self) -> CellCost:
        cells = self.grid.block(0)[: self._generator.execution.batch]  # a batch never reaches beyond a block
        images, dims, began = torch.empty(0), 0, 0.0
        for _ in range(2):  # the first pass warms caches up
            began = time.perf_counter()
            images = self._images(cells, "")
            dims = sum(encoder.images(images).shape[1] for encoder in self._encoders.values())
        seconds = (time.perf_counter() - began) / len(cells)
        return CellCost(seconds, dims * 2, 3 * _THUMBNAIL**2, len(_webp(images[0], _PREVIEW)))

    def pictures(
        self, prompts: Sequence[str], seeds: Sequence[int], delta: Delta | None = None
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Render cells that need not be of the grid, bare or with an adapter, to be looked at rather than measured.

        Raises:
            ModelError: not even one image fits into the device's memory.
        """
        return self._fitting(lambda: self._pictures(prompts, seeds, delta))

    def _pictures(
        self, prompts: Sequence[str], seeds: Sequence[int], delta: Delta | None
    ) -> UInt8[np.ndarray, "n h w 3"]:
        size = self._generator.execution.batch
        with nullcontext() if delta is None else self._generator.wearing(delta, self.preset.scale):
            parts = [
                self._generator.render(prompts[first : first + size], seeds[first : first + size])
                for first in range(0, len(prompts), size)
            ]
        return torch.cat(parts).float().mul(255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()

    def measure(self, key: str, delta: Delta, words: str, index: int) -> None:
        """Measure one block of one adapter and commit it.

        Args:
            key: the adapter's key in the library.
            delta: what it does to the base weights.
            words: its trigger words, as ", word, word" or "".
            index: which block of the grid.

        Raises:
            ModelError: not even one image fits into the device's memory.
        """
        self._fitting(lambda: self._measure(key, delta, words, index))

    def _fitting(self, work: Callable[[], T]) -> T:
        """Do some rendering; where the device's memory runs out, do it again in batches of half the size."""
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                self._halve(error)

    def _measure(self, key: str, delta: Delta, words: str, index: int) -> None:
        if not self._recorded:
            self.record()
        if any(self.library.evidence.floor(digest, self.execution) is None for digest in self.protocols):
            self._measure_floor()
        worn, bare = self.words(words)
        before = self._baseline(bare, index)
        with self._generator.wearing(delta, self.preset.scale):
            arm = self._render(index, worn, previews_of=key)
        moved = arm.thumbnails.astype(np.float32) - before.astype(np.float32)
        distance = np.sqrt((moved**2).mean((1, 2, 3))) / 255
        self.library.evidence.put_block(
            key, index, self.execution, bare, list(arm.embeddings.items()), distance.astype(np.float32)
        )

    def draw(self, prompt: str, triggers: str, seeds: Sequence[int], delta: Delta | None = None) -> list[bytes]:
        """Pictures (WebP) of a prompt of one's own at the preset's settings, bare or wearing an adapter; none is kept.

        Args:
            prompt: any words.
            triggers: the adapter's trigger words, as ", word, word"; added as the trigger policy says.
            seeds: one a picture.
            delta: the adapter; None for the bare base model.

        Raises:
            ModelError: not even one image fits into the device's memory.
        """
        worn, bare = self.words(triggers)
        text = prompt + (bare if delta is None else worn)
        return self._fitting(lambda: self._draw(text, seeds, delta))

    def _draw(self, text: str, seeds: Sequence[int], delta: Delta | None) -> list[bytes]:
        wearing = nullcontext() if delta is None else self._generator.wearing(delta, self.preset.scale)
        size = self._generator.execution.batch
        with wearing:
            batches = [seeds[first : first + size] for first in range(0, len(seeds), size)]
            return [
                _webp(image, max(image.shape[-2:]))
                for batch in batches
                for image in self._generator.render([text] * len(batch), batch)
            ]

    def words(self, triggers: str) -> tuple[str, str]:
        """What the trigger policy appends to the prompts of the adapted and of the bare arm."""
        policy = self.preset.triggers
        return (triggers if policy != "none" else ""), (triggers if policy == "both" else "")

    def _halve(self, error: RuntimeError) -> None:
        """Both arms are measured anew in smaller batches: another layout is another Execution."""
        batch = self._generator.execution.batch // 2
        if batch < 1:
            raise ModelError(
                "the device's memory does not hold even one image: use a smaller size or --device cpu"
            ) from error
        torch.cuda.empty_cache()
        self._use(self._generator.with_batch(batch))

    def keep_baseline_mean(self, blocks: int) -> None:
        """Keep the mean bare embedding over the first blocks, for queries by image."""
        for digest in self.protocols:
            total, cells = np.zeros(1), 0
            for index in range(blocks):
                found = self.library.evidence.baseline(digest, self.execution, "", index)
                if found is not None:
                    cells += len(self.grid.block(index))
                    total = total + found.reshape(len(self.grid.block(index)), -1).sum(0, dtype=np.float64)
            if cells:
                self.library.protocols.put_baseline_mean(digest, (total / cells).astype(np.float32))

    def has_baseline(self, words: str, index: int) -> bool:
        """Whether a bare block, with these words appended to its prompts, is kept for every Protocol."""
        evidence = self.library.evidence
        return all(evidence.baseline(digest, self.execution, words, index) is not None for digest in self.protocols)

    def _baseline(self, words: str, index: int) -> UInt8[np.ndarray, "n 3 s s"]:
        """Make sure that the bare block is measured and kept; returns its thumbnails."""
        evidence, cells = self.library.evidence, len(self.grid.block(index))
        known = evidence.thumbnails(self.scene, self.execution, words, index)
        if known is not None and self.has_baseline(words, index):
            return known.reshape(cells, 3, _THUMBNAIL, _THUMBNAIL)
        arm = self._render(index, words, previews_of=BARE)
        for digest, embeddings in arm.embeddings.items():
            evidence.put_baseline(digest, self.execution, words, index, embeddings)
        evidence.put_thumbnails(self.scene, self.execution, words, index, arm.thumbnails)
        return arm.thumbnails

    def _render(self, index: int, words: str, *, previews_of: str) -> _Arm:
        """Render and embed one block, keeping the pictures of its pinned cells."""
        cells = self.grid.block(index)
        embeddings: dict[str, list[Float16[np.ndarray, "b d"]]] = {digest: [] for digest in self._encoders}
        thumbnails: list[UInt8[np.ndarray, "b 3 s s"]] = []
        previews: list[Preview] = []
        size, start = self._generator.execution.batch, index * self.grid.block_size
        for first in range(0, len(cells), size):
            batch = cells[first : first + size]
            images = self._images(batch, words)
            for digest, encoder in self._encoders.items():
                embeddings[digest].append(_stored(encoder.images(images)))
            thumbnails.append(_thumbnails(images))
            previews += self._previews(batch, images, start + first)
        if previews:
            self.library.previews.put(self.scene, previews_of, previews)
        return _Arm({digest: np.concatenate(rows) for digest, rows in embeddings.items()}, np.concatenate(thumbnails))

    def _images(self, cells: Sequence[Cell], words: str) -> Float[torch.Tensor, "n 3 h w"]:
        texts = self.grid.prompts.texts
        return self._generator.render([texts[cell.prompt] + words for cell in cells], [cell.seed for cell in cells])

    def _previews(self, cells: Sequence[Cell], images: torch.Tensor, start: int) -> list[Preview]:
        texts = self.grid.prompts.texts
        return [
            Preview(place, texts[cell.prompt], cell.seed, _webp(image, _PREVIEW))
            for place, (cell, image) in enumerate(zip(cells, images, strict=True), start)
            if place < PREVIEWS
        ]

    def _measure_floor(self) -> None:
        """The noise floor: the largest |e| of the bare model against itself under another batch layout."""
        cells = self.grid.cells[:_FLOOR_CELLS]
        size = self._generator.execution.batch
        other = max(1, size // 2) if size > 1 else 2
        arms: list[dict[str, Float32[np.ndarray, "n d"]]] = []
        for layout in (size, other):
            batches = [self._images(cells[i : i + layout], "") for i in range(0, len(cells), layout)]
            arms.append(
                {
                    digest: np.concatenate([_stored(encoder.images(batch)) for batch in batches]).astype(np.float32)
                    for digest, encoder in self._encoders.items()
                }
            )
        for digest in self.protocols:
            distances = np.linalg.norm(arms[0][digest] - arms[1][digest], axis=1)
            self.library.evidence.put_floor(digest, self.execution, float(distances.max()))


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a type of its own for this, Apple GPUs have not."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def _stored(embeddings: Float32[np.ndarray, "n d"]) -> Float16[np.ndarray, "n d"]:
    """Round to the stored type before anything is computed, so that a resumed run sees the same numbers."""
    if not np.isfinite(embeddings).all():
        raise FloatingPointError("the adapted images cannot be embedded: they hold NaN or infinity")
    return embeddings.astype(np.float16)


def _thumbnails(images: torch.Tensor) -> UInt8[np.ndarray, "n 3 s s"]:
    small = F.interpolate(images.float(), size=(_THUMBNAIL, _THUMBNAIL), mode="area")
    return small.mul(255).round().to("cpu", torch.uint8).numpy()


def _webp(image: torch.Tensor, longest: int) -> bytes:
    pixels = image.float().mul(255).round().to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=88, method=4)
    return file.getvalue()
