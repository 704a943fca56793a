"""What one worker measures into one library: its Protocols, the shared bare arm, and the commit of each block."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, TypeAlias, TypeVar, final

import numpy as np
from jaxtyping import Float16, UInt8

from lorascope.adapters import Delta, Names
from lorascope.errors import LibraryError
from lorascope.grid import PREVIEWS, Grid
from lorascope.library import BARE, Library, Preview
from lorascope.library.webp import LARGE, MEDIUM, shrunk, webp
from lorascope.library.words import arms
from lorascope.measure.orders import BlockOrder, MeasuredBlock
from lorascope.measure.pixels import THUMBNAIL, distances
from lorascope.measure.worker import RenderedBlock, Worker
from lorascope.protocol import Execution, Protocol, TriggerPolicy

T = TypeVar("T")
Thumbnails: TypeAlias = UInt8[np.ndarray, "n 3 s s"]
Embeddings: TypeAlias = Float16[np.ndarray, "n d"]


@final
class Measurement:
    """Measures adapters block by block. Each effect has two arms, rendered under the same Execution.

    The bare arm does not know the adapter, so all adapters, scales and trigger policies share it.
    """

    def __init__(
        self, worker: Worker, library: Library, scale: float | None = None, triggers: TriggerPolicy | None = None
    ) -> None:
        """Bind worker and library. Nothing is written yet.

        Args:
            worker: renders and embeds.
            library: keeps.
            scale: how strongly adapters are applied; the preset's if None. It makes other Protocols.
            triggers: on which side trigger words are; the preset's if None. It makes other Protocols.
        """
        given: dict[str, Any] = {"scale": scale, "triggers": triggers}
        changes = {name: value for name, value in given.items() if value is not None}
        self.worker = worker
        self.library = library
        self.preset = dataclasses.replace(worker.preset, **changes)
        self.grid = self.preset.grid()
        self.protocols = tuple(dataclasses.replace(protocol, **changes) for protocol in worker.protocols)
        self._arm = BareArm(library, self.protocols, self.grid)
        self._executions: set[str] = set()

    @cached_property
    def names(self) -> Names:
        """The base model's modules, which adapters are matched against."""
        return Names(self.worker.shapes)

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of the Protocols that are measured together."""
        return tuple(protocol.digest for protocol in self.protocols)

    @property
    def scene(self) -> str:
        """What decides the images; see :attr:`lorascope.protocol.Protocol.scene`."""
        return self.protocols[0].scene

    @property
    def weighed_as(self) -> str:
        """For which base model and scale spectra hold."""
        return f"{self.protocols[0].base_digest} x {self.preset.scale:g}"

    def record(self) -> None:
        """Make the Protocols known to the library, the last one active, with what the preset says of thresholds."""
        for protocol in self.protocols:
            self.library.protocols.add(protocol, self.preset)
        self._know(self.worker.execution)

    def cut_off(self, words: str) -> int:
        """How many prompts of the grid become too long for the base model when trigger words are appended."""
        adapted, _ = arms(self.preset, words)
        return self.worker.cut_off([text + adapted for text in self.grid.prompts.texts])

    def measure(self, key: str, delta: Delta, words: str, index: int) -> None:
        """Measure one block of one adapter and commit it, under all Protocols or none.

        Raises:
            FloatingPointError: the images with the adapter hold NaN or infinity.
            ModelError: not even one image fits into the device's memory.
        """
        order = self.order(words, index)
        self.commit(key, order, order.run(self.worker, delta))

    def order(self, words: str, index: int) -> BlockOrder:
        """What a worker has to do to measure one block of an adapter."""
        adapted_words, bare_words = arms(self.preset, words)
        self._know(self.worker.execution)
        return BlockOrder(
            index,
            adapted_words,
            bare_words,
            self.preset.scale,
            known={digest for digest in self._executions if self._arm.block(digest, bare_words, index) is not None},
            floors={digest for digest in self._executions if self._arm.floor(digest) is not None},
        )

    def commit(self, key: str, order: BlockOrder, found: MeasuredBlock) -> None:
        """Keep what a worker has measured, under all Protocols or none."""
        execution, words, index = found.adapted.execution, order.bare_words, order.index
        self._know(execution)
        if found.floor is not None:
            self._arm.keep_floor(execution.digest, [found.floor.floors[one.encoder_digest] for one in self.protocols])
        if found.bare is not None:
            self._keep_bare(found.bare, words, index)
        bare = self._arm.block(execution.digest, words, index)
        floors = self._arm.floor(execution.digest)
        if bare is None or floors is None:
            raise LibraryError(
                f"{self.library.path}: a bare block was removed while this run measured: run index again"
            )
        thumbnails, embeddings = bare
        self._arm.keep_floor(execution.digest, floors)  # to be joined with the blocks of this very Protocol
        self._arm.keep_embeddings(execution.digest, words, index, embeddings)
        self._keep_previews(self.scene, key, found.adapted.pictures, index * self.grid.block_size)
        self.library.evidence.put_block(
            key,
            index,
            execution.digest,
            words,
            [(one.digest, found.adapted.embeddings[one.encoder_digest]) for one in self.protocols],
            distances(found.adapted.thumbnails, thumbnails),
        )

    def restore_previews(self, key: str, blocks: int, words: str = "", delta: Delta | None = None) -> None:
        """Render the pictures that were lost of blocks which are known. Nothing is measured again."""
        due, scene = min(PREVIEWS, blocks * self.grid.block_size), self.library.previews.scene(self.protocols[0], key)
        kept = self.library.previews.pins(self.protocols[0], [key]).get(key, {})
        lost = {place for place in range(min(due, len(self.grid))) if place not in kept}
        adapted_words, _ = arms(self.preset, words)
        size, block = self.worker.execution.batch, self.grid.block_size
        for first in sorted({place - place % block % size for place in lost}):  # batches as they were, for equal bits
            cells = self.grid.cells[first : min(first + size, first - first % block + block)]
            prompts = [self.grid.prompts.texts[cell.prompt] + adapted_words for cell in cells]
            images = self.worker.images(prompts, [cell.seed for cell in cells], delta=delta, scale=self.preset.scale)
            found = [webp(pixels, LARGE) if first + n in lost else b"" for n, pixels in enumerate(images)]
            self._keep_previews(scene, key, found, first)

    def bare(self, protocol: Protocol, index: int) -> Embeddings:
        """The bare embeddings of one block without trigger words, rendered if they are not kept yet."""
        execution = self.worker.execution.digest
        if self._arm.block(execution, "", index) is None:
            block = self.worker.block(index)
            execution = block.execution.digest
            self._know(block.execution)
            self._keep_bare(block, "", index)
        found = self._arm.embeddings(protocol, execution, "", index)
        assert found is not None, "what was just kept is there"
        return found

    def has_bare(self, words: str, index: int) -> bool:
        """Whether a bare block, with these words appended to its prompts, is kept for every Protocol."""
        execution = self.worker.execution.digest
        return all(self._arm.embeddings(one, execution, words, index) is not None for one in self.protocols)

    def keep_bare_mean(self) -> None:
        """Keep the mean bare embedding over all bare blocks that are known, for queries by image."""
        for protocol in self.protocols:
            blocks = self.library.evidence.baselines(protocol.digest)
            if blocks:
                rows = [blocks[index].reshape(len(self.grid.block(index)), -1) for index in sorted(blocks)]
                total = sum((part.sum(0, dtype=np.float64) for part in rows), np.zeros(rows[0].shape[1]))
                cells = sum(map(len, rows))
                mean = (total / cells).astype(np.float32)
                self.library.protocols.put_baseline_mean(protocol.digest, mean, cells)

    def _know(self, execution: Execution) -> None:
        """Have the library know how something was rendered before it keeps it."""
        if execution.digest not in self._executions:
            self.library.protocols.add_execution(execution)
            self._executions.add(execution.digest)

    def _keep_bare(self, block: RenderedBlock, words: str, index: int) -> None:
        self._arm.keep(block, words, index)
        scene = self.protocols[0].scene if words else self.protocols[0].bare_scene
        self._keep_previews(scene, BARE, block.pictures, index * self.grid.block_size)

    def _keep_previews(self, scene: str, key: str, files: Sequence[bytes], first: int) -> None:
        """Keep the pictures of the cells from ``first`` on; an empty one is left out.

        The library has them in a size that suits lists. Larger ones are kept beside the evidence, and only at the scale
        of the preset: they take much more room.
        """
        texts, cells = self.grid.prompts.texts, self.grid.cells[first : first + len(files)]
        previews = [
            Preview(place, texts[cell.prompt], cell.seed, shrunk(file, MEDIUM))
            for place, (cell, file) in enumerate(zip(cells, files, strict=True), first)
            if file
        ]
        if previews:
            self.library.previews.put(scene, key, previews)
        if self.preset.scale == self.worker.preset.scale:
            small = {one.place: one.webp for one in previews}
            large = {place: file for place, file in enumerate(files, first) if file and file is not small[place]}
            self.library.evidence.pictures.put(scene, key, large)


@final
class BareArm:
    """The bare blocks of some Protocols in a library. Protocols that differ in scale or trigger words share them."""

    def __init__(self, library: Library, protocols: Sequence[Protocol], grid: Grid) -> None:
        """Bind a library, and the Protocols that are measured together on one grid. Nothing is written yet."""
        self._library, self._protocols, self._grid = library, protocols, grid

    def floor(self, execution: str) -> list[float] | None:
        """The noise floor under each Protocol; None where one is not known."""
        known = [
            _first(self._library.evidence.floor(name, execution) for name in _shared(one)) for one in self._protocols
        ]
        return None if None in known else [floor for floor in known if floor is not None]

    def keep_floor(self, execution: str, floors: Sequence[float]) -> None:
        """Keep the noise floor under each Protocol, in their order."""
        for one, floor in zip(self._protocols, floors, strict=True):
            for name in _shared(one):
                if self._library.evidence.floor(name, execution) is None:
                    self._library.evidence.put_floor(name, execution, floor)

    def block(self, execution: str, words: str, index: int) -> tuple[Thumbnails, list[Embeddings]] | None:
        """The thumbnails of a bare block, and its embeddings under each Protocol; None where one is not known."""
        scenes = (self._protocols[0].scene, self._protocols[0].bare_scene)
        flat = _first(self._library.evidence.thumbnails(scene, execution, words, index) for scene in scenes)
        known = [self.embeddings(one, execution, words, index) for one in self._protocols]
        found = [embeddings for embeddings in known if embeddings is not None]
        if flat is None or len(found) < len(known):
            return None
        return flat.reshape(-1, 3, THUMBNAIL, THUMBNAIL), found

    def keep(self, block: RenderedBlock, words: str, index: int) -> None:
        """Keep the thumbnails and embeddings of a bare block that was rendered with these words."""
        execution, scene = block.execution.digest, self._protocols[0].bare_scene
        self._library.evidence.put_thumbnails(scene, execution, words, index, block.thumbnails)
        embeddings = [block.embeddings[one.encoder_digest] for one in self._protocols]
        self.keep_embeddings(execution, words, index, embeddings)

    def keep_embeddings(self, execution: str, words: str, index: int, embeddings: Sequence[Embeddings]) -> None:
        """Keep the embeddings of a bare block under each Protocol, in their order."""
        for one, rows in zip(self._protocols, embeddings, strict=True):
            for name in _shared(one):
                if self._library.evidence.baseline(name, execution, words, index) is None:
                    self._library.evidence.put_baseline(name, execution, words, index, rows)

    def embeddings(
        self, protocol: Protocol, execution: str, words: str, index: int
    ) -> Float16[np.ndarray, "*n"] | None:
        """The bare embeddings of a block, measured under this Protocol or one that shares its bare arm."""
        found = _first(self._library.evidence.baseline(name, execution, words, index) for name in _shared(protocol))
        return None if found is None else found.reshape(len(self._grid.block(index)), -1)


def _shared(protocol: Protocol) -> tuple[str, ...]:
    """The digests under which a Protocol's bare arm is kept: its own, to be joined with its blocks, and the shared."""
    return tuple(dict.fromkeys((protocol.digest, protocol.bare)))


def _first(items: Iterable[T | None]) -> T | None:
    """The first that is there."""
    return next((item for item in items if item is not None), None)
