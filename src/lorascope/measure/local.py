"""The worker of this process: a resident base model and its encoders."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar, final

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, UInt8

from lorascope.adapters import Delta
from lorascope.adapters.spectra import Spectrum, spectrum
from lorascope.encoders.base import Encoder
from lorascope.errors import ModelError
from lorascope.generators import float8
from lorascope.generators.base import Generator
from lorascope.generators.memory import out_of_memory
from lorascope.grid import PREVIEWS, Cell
from lorascope.library.webp import LARGE, MEDIUM, shrunk, webp
from lorascope.measure.pixels import THUMBNAIL, thumbnails, to_pixels
from lorascope.measure.worker import CellCost, NoiseFloor, RenderedBlock
from lorascope.protocol import Execution, Preset, Protocol

T = TypeVar("T")

_FLOOR_CELLS = 8
_FLAT = 1 / 255
"""Standard deviation of the pixels of a picture in which nothing is drawn; on the shipped bases it is at least .029."""


@final
class LocalWorker:
    """A generator and its encoders, in this process (see :class:`lorascope.measure.worker.Worker`)."""

    def __init__(self, preset: Preset, generator: Generator, encoders: Sequence[Encoder]) -> None:
        self._preset = preset
        self._generator = generator
        self._encoders = {encoder.digest: encoder for encoder in encoders}
        self._grid = preset.grid()
        self._protocols = tuple(
            preset.protocol(base_digest=generator.digest, encoder=encoder.name, encoder_digest=encoder.digest)
            for encoder in encoders
        )

    @property
    def preset(self) -> Preset:
        """What it was loaded from."""
        return self._preset

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The preset's Protocol for each encoder."""
        return self._protocols

    @property
    def shapes(self) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
        """Every weight of the base model by component and name."""
        return self._generator.shapes

    @property
    def execution(self) -> Execution:
        """How it works at present."""
        return self._generator.execution

    def block(self, index: int, *, words: str = "", delta: Delta | None = None, scale: float = 1.0) -> RenderedBlock:
        """Render and embed one block of the grid; where the memory runs out, anew in smaller batches."""
        if delta is None:
            return self._of_the_base(lambda: self._block(index, words, None, scale))
        return self._fitting(lambda: self._block(index, words, delta, scale))

    def images(
        self, prompts: Sequence[str], seeds: Sequence[int], *, delta: Delta | None = None, scale: float = 1.0,
        preset: Preset | None = None,
    ) -> UInt8[np.ndarray, "n h w 3"]:  # fmt: skip
        """Render cells that need not be of the grid, to be looked at rather than measured."""
        if preset is not None:
            other = copy.copy(self)  # where its pictures take too much memory, the batches of measurements stay
            other._preset, other._generator = preset, self._generator.with_preset(preset)
            return other.images(prompts, seeds, delta=delta, scale=scale)
        return self._fitting(lambda: self._images(prompts, seeds, delta, scale))

    def spectrum(self, delta: Delta, scale: float) -> Spectrum:
        """How large an adapter's change of the base model is, and of what shape."""
        try:
            return spectrum(delta, self._generator.untouched, scale, self._generator.held)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise ModelError(
                "the device's memory does not hold one changed layer beside the base model: another program may use it;"
                " end that, or use --device cpu"
            ) from error

    def noise_floor(self) -> NoiseFloor:
        """Compare the first cells of the grid with themselves in another batch layout.

        Raises:
            ModelError: the bare base model draws nothing: flat pictures, NaN or infinity.
        """
        return self._of_the_base(self._noise_floor)

    def cell_cost(self) -> CellCost:
        """Time one full batch of bare cells, warmed up."""
        return self._fitting(self._cell_cost)

    def cut_off(self, prompts: Sequence[str]) -> int:
        """How many prompts are longer than the base model reads."""
        return self._generator.cut(prompts)

    # --- how ------------------------------------------------------------------------------------------------------

    def _fitting(self, work: Callable[[], T]) -> T:
        """Do some rendering; where the device's memory runs out, do it again in batches of half the size."""
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                batch = self._generator.execution.batch // 2
                if batch < 1:
                    size = f"{self._preset.width} x {self._preset.height}"
                    raise ModelError(
                        f"the device's memory does not hold even one image of {size} pixels: use a smaller size or"
                        " --device cpu"
                    ) from error
                torch.cuda.empty_cache()
                self._generator = self._generator.with_batch(batch)

    def _of_the_base(self, work: Callable[[], T]) -> T:
        """Do some rendering without an adapter, where nothing but the base model can be at fault."""
        try:
            return self._fitting(work)
        except FloatingPointError as error:
            raise ModelError(
                f"the bare base model makes images that cannot be measured ({error}): use dtype float32 or bfloat16, or"
                " another --vae"
            ) from error

    def _with(self, delta: Delta | None, scale: float) -> AbstractContextManager[None]:
        return nullcontext() if delta is None else self._generator.with_component(delta, scale)

    def _block(self, index: int, words: str, delta: Delta | None, scale: float) -> RenderedBlock:
        began, execution = time.monotonic(), self._generator.execution
        cells, size = self._grid.block(index), execution.batch
        kept = max(0, PREVIEWS - index * self._grid.block_size)
        embeddings: dict[str, list[Float16[np.ndarray, "b d"]]] = {digest: [] for digest in self._encoders}
        small: list[UInt8[np.ndarray, "b 3 s s"]] = []
        pictures: list[bytes] = []
        with self._with(delta, scale):
            for first in range(0, len(cells), size):
                images = self._render(cells[first : first + size], words)
                for digest, encoder in self._encoders.items():
                    embeddings[digest].append(_stored(encoder.images(images)))
                small.append(thumbnails(images))
                pinned = images[: max(0, kept - first)]
                pictures += [webp(pixels, LARGE) for pixels in to_pixels(pinned)]
        found = {digest: np.concatenate(rows) for digest, rows in embeddings.items()}
        return RenderedBlock(found, np.concatenate(small), tuple(pictures), execution, seconds=time.monotonic() - began)

    def _render(self, cells: Sequence[Cell], words: str) -> Float[torch.Tensor, "n 3 h w"]:
        texts = self._grid.prompts.texts
        return self._generator.render([texts[cell.prompt] + words for cell in cells], [cell.seed for cell in cells])

    def _images(
        self, prompts: Sequence[str], seeds: Sequence[int], delta: Delta | None, scale: float
    ) -> UInt8[np.ndarray, "n h w 3"]:
        size = self._generator.execution.batch
        with self._with(delta, scale):
            parts = [
                to_pixels(self._generator.render(prompts[first : first + size], seeds[first : first + size]))
                for first in range(0, len(prompts), size)
            ]
        return np.concatenate(parts)

    def _noise_floor(self) -> NoiseFloor:
        cells, execution = self._grid.cells[:_FLOOR_CELLS], self._generator.execution
        other = max(1, execution.batch // 2) if execution.batch > 1 else 2
        ways: list[tuple[int, Delta | None]] = [(execution.batch, None), (other, None)]
        if self._preset.dtype == float8.NAME:
            ways.append((execution.batch, float8.rounding(self._generator.shapes, self._generator.held)))
        arms: list[dict[str, Float32[np.ndarray, "n d"]]] = []
        for layout, delta in ways:
            with self._with(delta, 1.0):
                batches = [self._render(cells[first : first + layout], "") for first in range(0, len(cells), layout)]
            if all(float(batch.std((2, 3)).max()) < _FLAT for batch in batches):
                raise FloatingPointError("every one is of a single colour")
            arms.append(
                {
                    digest: np.concatenate([_stored(encoder.images(batch)) for batch in batches]).astype(np.float32)
                    for digest, encoder in self._encoders.items()
                }
            )
        floors = {
            digest: max(float(np.linalg.norm(arms[0][digest] - arm[digest], axis=1).max()) for arm in arms[1:])
            for digest in self._encoders
        }
        return NoiseFloor(floors, execution)

    def _cell_cost(self) -> CellCost:
        cells = self._grid.block(0)[: self._generator.execution.batch]  # a batch never reaches beyond a block
        images, dims, began = torch.empty(0), 0, 0.0
        for _ in range(2):  # the first pass warms caches up
            began = time.perf_counter()
            images = self._render(cells, "")
            dims = sum(encoder.images(images).shape[1] for encoder in self._encoders.values())
        seconds = (time.perf_counter() - began) / len(cells)
        picture = webp(to_pixels(images[:1])[0], LARGE)
        small = shrunk(picture, MEDIUM)
        kept = len(small) + (len(picture) if picture is not small else 0)
        return CellCost(seconds, dims * 2, 3 * THUMBNAIL**2, kept, str(self._generator.memory))


def _stored(embeddings: Float32[np.ndarray, "n d"]) -> Float16[np.ndarray, "n d"]:
    """Round to the stored type before anything is computed, so that a resumed run sees the same numbers."""
    if not np.isfinite(embeddings).all():
        raise FloatingPointError("the images cannot be embedded: they hold NaN or infinity")
    return embeddings.astype(np.float16)
