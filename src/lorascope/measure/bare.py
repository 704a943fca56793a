"""The bare arm of a measurement: what is kept of the bare model's images, and found again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias, TypeVar, final

import numpy as np
from jaxtyping import Float16, UInt8

from lorascope.grid import Grid
from lorascope.library import Library
from lorascope.measure.pixels import THUMBNAIL
from lorascope.measure.worker import RenderedBlock
from lorascope.protocol import Protocol

T = TypeVar("T")
Thumbnails: TypeAlias = UInt8[np.ndarray, "n 3 s s"]
Embeddings: TypeAlias = Float16[np.ndarray, "n d"]


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
