"""Measures Curves: the same few cells of an adapter at several scales, block by block, so that it can be interrupted.

Cells are kept as evidence under the Protocol of their scale. The bare arm does not know the scale, and cells at 1.0 are
mostly there already, so a Curve takes a few blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from lorascope.analysis.cells import Cells, PromptTexts, cells_of, known_grid
from lorascope.analysis.weight import CELLS, REFERENCE, SCALES, SLIDER_SCALES, Curve, curve_of, next_scale
from lorascope.errors import AdapterError, LibraryError
from lorascope.library import Library, StoredAdapter, StoredProtocol
from lorascope.library.leases import this_process
from lorascope.library.words import measured_words
from lorascope.measure.files import measured_delta
from lorascope.measure.measurement import Measurement
from lorascope.measure.worker import Worker

_USUAL_SCALES = 5
"""So many scales most Curves take, for an estimate of what they cost."""


@final
@dataclass(frozen=True)
class CurveCost:
    """About what measuring some Curves takes: images still to be made, and seconds."""

    adapters: int
    images: int
    seconds: float


@final
@dataclass(frozen=True)
class MeasuredCurve:
    """The Curve of an adapter; or why there is none."""

    adapter: StoredAdapter
    curve: Curve | None
    problem: str = ""


@final
class CurveMeasurement:
    """Measures the Curves of a library's adapters under one Protocol, and keeps them in the library."""

    def __init__(self, worker: Worker, library: Library, stored: StoredProtocol, texts: PromptTexts) -> None:
        """Bind what measures and where it is kept.

        Args:
            worker: loaded with the preset of the Protocol.
            library: has the adapters, and keeps cells and Curves.
            stored: under which Protocol the adapters were measured.
            texts: the embeddings of its prompts.

        Raises:
            LibraryError: the worker's base model or encoder is another one.
        """
        self._place = _place(worker, stored)
        self._worker, self._library, self._stored, self._texts = worker, library, stored, texts
        self._grid = known_grid(stored)
        self._blocks = self._grid.blocks_for(CELLS)
        self._at: dict[float, Measurement] = {}

    def cost(self, adapters: Sequence[StoredAdapter]) -> CurveCost:
        """Time one batch, and multiply by what is usually still to be measured."""
        images = len(adapters) * (_USUAL_SCALES - len(SCALES)) * self._cells
        for adapter in adapters:
            for scale in scales_of(adapter):
                missing = self._missing(adapter, self._measurement(scale))
                images += sum(len(self._grid.block(block)) for block in missing)
        return CurveCost(len(adapters), images, images * self._worker.cell_cost().seconds)

    def measure(
        self, adapters: Sequence[StoredAdapter], done: Callable[[StoredAdapter, int], None]
    ) -> Iterator[MeasuredCurve]:
        """Measure one adapter after the other; ``done`` is called with the images of each block.

        An adapter whose file is gone or breaks the images is told of with the reason; the others go on.
        """
        owner = this_process()
        try:
            for adapter in adapters:
                if not self._library.leases.acquire(adapter.key, self._measurement(REFERENCE).scene, owner):
                    yield MeasuredCurve(adapter, None, "another process is measuring it")
                    continue
                try:
                    yield MeasuredCurve(adapter, self._curve(adapter, done))
                except (AdapterError, FloatingPointError) as error:
                    yield MeasuredCurve(adapter, None, str(error))
        finally:
            self._library.leases.release(owner)

    def _curve(self, adapter: StoredAdapter, done: Callable[[StoredAdapter, int], None]) -> Curve:
        """Measure where most changes, until it is known well enough."""
        cells: dict[float, Cells] = {}
        wanted: list[float] = list(scales_of(adapter))
        while True:
            for scale in wanted:
                cells[scale] = self._cells_at(adapter, scale, done)
            curve = curve_of(cells, self._texts.rows(cells[REFERENCE].prompts))
            scale = next_scale(curve)
            if scale is None:
                self._library.curves.put(self._stored.protocol.digest, adapter.key, curve.to_json())
                return curve
            wanted = [scale]

    def _cells_at(self, adapter: StoredAdapter, scale: float, done: Callable[[StoredAdapter, int], None]) -> Cells:
        measurement = self._measurement(scale)
        digest = measurement.digests[self._place]
        missing = self._missing(adapter, measurement)
        if missing:
            delta = measured_delta(adapter, measurement.names)
            words = measured_words(adapter, self._stored.protocol)
            for block in missing:
                measurement.measure(adapter.key, delta, words, block)
                done(adapter, len(self._grid.block(block)))
        known = cells_of(self._library, self._grid, digest, adapter.key, self._blocks)
        if known is None:
            raise LibraryError(f"{self._library.path}: {adapter.name} was removed while it was measured: run again")
        return known

    def _missing(self, adapter: StoredAdapter, measurement: Measurement) -> list[int]:
        """The blocks that are still to be measured at a scale."""
        evidence = self._library.evidence
        return [
            block
            for block in range(self._blocks)
            if not all(evidence.blocks(adapter.key, digest, block, block + 1) for digest in measurement.digests)
        ]

    @property
    def _cells(self) -> int:
        return sum(len(self._grid.block(block)) for block in range(self._blocks))

    def _measurement(self, scale: float) -> Measurement:
        return self._at.setdefault(scale, Measurement(self._worker, self._library, scale))


def scales_of(adapter: StoredAdapter) -> tuple[float, ...]:
    """Where the Curve of an adapter is measured first: with negative scales if it calls itself a slider."""
    said = f"{adapter.name} {adapter.claimed('title') or ''}".lower()
    return (*SLIDER_SCALES, *SCALES) if "slider" in said else SCALES


def _place(worker: Worker, stored: StoredProtocol) -> int:
    """Which of a worker's Protocols is that of a library, whatever its scale.

    Raises:
        LibraryError: none is.
    """
    known = [replace(protocol, scale=stored.protocol.scale).digest for protocol in worker.protocols]
    if stored.protocol.digest not in known:
        raise LibraryError(
            f"{stored.protocol} was measured with another base model or encoder than {stored.preset.base} and"
            f" {', '.join(stored.preset.encoders)} are now: put the former ones back, or index again"
        )
    return known.index(stored.protocol.digest)
