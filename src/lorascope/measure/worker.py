"""What a worker is: a device with a base model and encoders that renders and embeds cells, and stores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, UInt8

from lorascope import protocol as protocols
from lorascope.adapters import Delta
from lorascope.adapters.spectra import Spectrum
from lorascope.protocol import Execution, Preset


@dataclass(frozen=True, eq=False)
class RenderedBlock:
    """One arm of one block of the grid, rendered and embedded. Plain data, which can be sent to another process.

    Attributes:
        embeddings: by the digest of each encoder, one row for each cell.
        thumbnails: the images, 64 pixels wide and high.
        pictures: WebP files of those cells whose pictures are kept, the first of the grid, up to 1024 pixels wide and
            high; none in later blocks.
        execution: how it was rendered. Both arms of an effect need the same.
        seconds: how long it took.
    """

    embeddings: Mapping[str, Float16[np.ndarray, "n d"]]
    thumbnails: UInt8[np.ndarray, "n 3 s s"]
    pictures: tuple[bytes, ...]
    execution: Execution
    seconds: float


@dataclass(frozen=True)
class NoiseFloor:
    """The largest effect that the bare model shows against itself, by the digest of each encoder."""

    floors: Mapping[str, float]
    execution: Execution


@dataclass(frozen=True)
class CellCost:
    """What one cell takes: seconds, and bytes of its embeddings, its thumbnail, and its picture where one is kept.

    ``memory`` says what the base model takes of the device's memory, as estimated; "" where that is not known.
    """

    seconds: float
    embeddings: int
    thumbnail: int
    picture: int
    memory: str = ""


@runtime_checkable
class Worker(Protocol):
    """Renders and embeds cells of one preset's grid, with and without adapters.

    All that goes in and comes out is plain data, so a worker may be in another process or on another machine. Where
    the device's memory runs out, it continues in smaller batches, which changes its Execution. What it remembers of
    earlier work never changes a result: the same call under the same Execution gives the same bits.

    Examples:
        >>> bare = worker.block(0)
        >>> [embeddings.shape[0] for embeddings in bare.embeddings.values()] == [worker.preset.block_size]
        True
    """

    @property
    def preset(self) -> Preset:
        """What it was loaded from."""
        ...

    @property
    def protocols(self) -> tuple[protocols.Protocol, ...]:
        """The preset's Protocol for each encoder."""
        ...

    @property
    def shapes(self) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
        """Every weight of the base model by component and name: what adapters are matched against."""
        ...

    @property
    def execution(self) -> Execution:
        """How it works at present."""
        ...

    def block(self, index: int, *, words: str = "", delta: Delta | None = None, scale: float = 1.0) -> RenderedBlock:
        """Render and embed one block of the grid.

        Args:
            index: which block.
            words: what is appended to every prompt, as ", word".
            delta: the adapter; None for the bare base model.
            scale: how strongly the adapter is applied.

        Raises:
            FloatingPointError: the images with the adapter hold NaN or infinity.
            ModelError: those of the bare model do, or not even one image fits into the device's memory.
        """
        ...

    def images(
        self, prompts: Sequence[str], seeds: Sequence[int], *, delta: Delta | None = None, scale: float = 1.0,
        preset: Preset | None = None,
    ) -> UInt8[np.ndarray, "n h w 3"]:  # fmt: skip
        """Render cells that need not be of the grid, to be looked at rather than measured.

        Args:
            prompts: the text of each.
            seeds: the seed of each.
            delta: the adapter; None for the bare base model.
            scale: how strongly the adapter is applied.
            preset: has another size or negative prompt; None for those of the worker's own.

        Raises:
            ModelError: not even one image fits into the device's memory, or the base model draws none of this size or
                reads no negative prompt.
        """
        ...

    def spectrum(self, delta: Delta, scale: float) -> Spectrum:
        """How large an adapter's change of the base model is, and of what shape.

        Raises:
            ModelError: the device's memory does not hold the change of one layer.
        """
        ...

    def noise_floor(self) -> NoiseFloor:
        """Compare bare cells with themselves in another batch layout."""
        ...

    def cell_cost(self) -> CellCost:
        """Time one full batch of bare cells, warmed up."""
        ...

    def cut_off(self, prompts: Sequence[str]) -> int:
        """How many prompts are longer than the base model reads, so that their ends go unseen."""
        ...
