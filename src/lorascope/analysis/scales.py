"""Measures Curves: the same few cells of an adapter at several scales, block by block, so that it can be interrupted.

Cells are kept as evidence under the Protocol of their scale. The bare arm does not know the scale, and cells at 1.0 are
mostly there already, so a Curve takes a few blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

from lorascope.analysis.blocks import (
    AdapterResult,
    BlockMeasurement,
    Done,
    MeasuringCost,
    check_worker,
    measured_each,
)
from lorascope.analysis.cells import Cells, PromptTexts
from lorascope.analysis.weight import CELLS, REFERENCE, SCALES, SLIDER_SCALES, Curve, curve_of, next_scale
from lorascope.library import Library, StoredAdapter, StoredProtocol
from lorascope.measure.measurement import Measurement
from lorascope.measure.worker import Worker

_USUAL_SCALES = 5
"""So many scales most Curves take, for an estimate of what they cost."""


@final
class CurveMeasurement:
    """Measures the Curves of a library's adapters under one Protocol, and keeps them in the library."""

    def __init__(self, worker: Worker, library: Library, stored: StoredProtocol, texts: PromptTexts) -> None:
        """Bind what measures and where it is kept.

        Raises:
            LibraryError: the worker's base model or encoder is another one.
        """
        check_worker(worker, stored)
        self._worker, self._library, self._stored, self._texts = worker, library, stored, texts
        self._scales: dict[float, BlockMeasurement] = {}

    def cost(self, adapters: Sequence[StoredAdapter]) -> MeasuringCost:
        """Time one batch, and multiply by what is usually still to be measured."""
        images = sum(self._at(scale).images(adapter) for adapter in adapters for scale in scales_of(adapter))
        images += len(adapters) * (_USUAL_SCALES - len(SCALES)) * CELLS
        return MeasuringCost(len(adapters), images, images * self._worker.cell_cost().seconds)

    def measure(self, adapters: Sequence[StoredAdapter], done: Done) -> Iterator[AdapterResult[Curve]]:
        """Measure one adapter after the other."""
        return measured_each(self._library, self._at(REFERENCE).scene, adapters, lambda one: self._curve(one, done))

    def _curve(self, adapter: StoredAdapter, done: Done) -> Curve:
        """Measure where most changes, until it is known well enough."""
        cells: dict[float, Cells] = {}
        wanted: list[float] = list(scales_of(adapter))
        while True:
            cells |= {scale: self._at(scale).cells(adapter, done) for scale in wanted}
            curve = curve_of(cells, self._texts.rows(cells[REFERENCE].prompts))
            scale = next_scale(curve)
            if scale is None:
                self._library.curves.put(self._stored.protocol.digest, adapter.key, curve.to_json())
                return curve
            wanted = [scale]

    def _at(self, scale: float) -> BlockMeasurement:
        if scale not in self._scales:
            measurement = Measurement(self._worker, self._library, scale)
            self._scales[scale] = BlockMeasurement(measurement, self._stored, CELLS)
        return self._scales[scale]


def scales_of(adapter: StoredAdapter) -> tuple[float, ...]:
    """Where the Curve of an adapter is measured first: with negative scales if it calls itself a slider."""
    said = f"{adapter.name} {adapter.claimed('title') or ''}".lower()
    return (*SLIDER_SCALES, *SCALES) if "slider" in said else SCALES
