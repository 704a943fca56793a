"""Measures the first blocks of adapters where the evidence does not hold them yet, for questions that need images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, final

from lorascope.adapters import Coverage
from lorascope.analysis.cells import Cells, cells_of
from lorascope.errors import AdapterError, LibraryError
from lorascope.library import Library, StoredAdapter, StoredProtocol
from lorascope.library.leases import this_process
from lorascope.library.words import measured_words
from lorascope.measure.files import measured_delta
from lorascope.measure.measurement import Measurement
from lorascope.measure.worker import Worker

T = TypeVar("T")
Done = Callable[[StoredAdapter, int], None]
"""Is called with an adapter and the number of images of each block."""


@final
@dataclass(frozen=True)
class MeasuringCost:
    """About what measuring takes: adapters, images still to be made, and seconds."""

    adapters: int
    images: int
    seconds: float


@final
@dataclass(frozen=True)
class AdapterResult(Generic[T]):
    """What was measured of an adapter; or why nothing was."""

    adapter: StoredAdapter
    found: T | None
    problem: str = ""


def measured_each(
    library: Library, scene: str, adapters: Sequence[StoredAdapter], measure: Callable[[StoredAdapter], T]
) -> Iterator[AdapterResult[T]]:
    """Measure one adapter after the other, each under a lease.

    One whose file is gone, or breaks the images, gets no result but the reason; the others continue.
    """
    owner = this_process()
    try:
        for adapter in adapters:
            if not library.leases.acquire(adapter.key, scene, owner):
                yield AdapterResult(adapter, None, "another process is measuring it")
                continue
            try:
                yield AdapterResult(adapter, measure(adapter))
            except AdapterError as error:
                yield AdapterResult(adapter, None, f"{error.reason}. {error.remedy}")
            except FloatingPointError as error:
                yield AdapterResult(adapter, None, str(error))
    finally:
        library.leases.release(owner)


@final
class BlockMeasurement:
    """Cells of adapters at one scale on one base model. Each block is kept as soon as it is measured."""

    def __init__(self, measurement: Measurement, stored: StoredProtocol, cells: int) -> None:
        """Bind what measures, and how much.

        Args:
            measurement: at the scale, on the base model.
            stored: the Protocol under which the library knows the adapters; its encoder is the one that is asked.
            cells: measure the fewest blocks that hold so many.

        Raises:
            LibraryError: the encoder is not one that the worker has.
        """
        encoders = [protocol.encoder_digest for protocol in measurement.protocols]
        if stored.protocol.encoder_digest not in encoders:
            raise LibraryError(
                f"{stored.protocol} was measured with another encoder than {', '.join(stored.preset.encoders)} are now:"
                " put the former one back, or index again"
            )
        self._measurement, self._stored = measurement, stored
        self._protocol = measurement.digests[encoders.index(stored.protocol.encoder_digest)]
        self._blocks = measurement.grid.blocks_for(cells)

    @property
    def scene(self) -> str:
        """What leases of its adapters are for."""
        return self._measurement.scene

    def missing(self, adapter: StoredAdapter) -> list[int]:
        """The blocks that are still to be measured."""
        evidence, digests = self._measurement.library.evidence, self._measurement.digests
        return [
            block
            for block in range(self._blocks)
            if not all(evidence.blocks(adapter.key, digest, block, block + 1) for digest in digests)
        ]

    def images(self, adapter: StoredAdapter) -> int:
        """How many images are still to be made."""
        return sum(len(self._measurement.grid.block(block)) for block in self.missing(adapter))

    def coverage(self, adapter: StoredAdapter) -> Coverage:
        """Which of an adapter's modules the base model has.

        Raises:
            AdapterError: its file is gone, or nothing of it belongs to the base model.
        """
        return measured_delta(adapter, self._measurement.names).coverage

    def cells(self, adapter: StoredAdapter, done: Done) -> Cells:
        """The cells of an adapter, measured where they are not known.

        Raises:
            AdapterError: its file is gone, or nothing of it belongs to the base model.
            FloatingPointError: its images hold NaN or infinity.
            LibraryError: it was removed meanwhile.
        """
        measurement = self._measurement
        if missing := self.missing(adapter):
            delta = measured_delta(adapter, measurement.names)
            words = measured_words(adapter, self._stored.protocol)
            for block in missing:
                measurement.measure(adapter.key, delta, words, block)
                done(adapter, len(measurement.grid.block(block)))
        known = cells_of(measurement.library, measurement.grid, self._protocol, adapter.key, self._blocks)
        if known is None:
            raise LibraryError(f"{measurement.library.path}: {adapter.name} was removed while it was measured")
        return known


def check_worker(worker: Worker, stored: StoredProtocol) -> None:
    """Refuse a worker whose base model or encoder is not that of a Protocol, whatever the scale.

    Raises:
        LibraryError: it is another one.
    """
    known = [replace(protocol, scale=stored.protocol.scale).digest for protocol in worker.protocols]
    if stored.protocol.digest not in known:
        raise LibraryError(
            f"{stored.protocol} was measured with another base model or encoder than {stored.preset.base} and"
            f" {', '.join(stored.preset.encoders)} are now: put the former ones back, or index again"
        )
