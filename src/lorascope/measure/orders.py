"""Orders: work for any worker, as plain data that can be sent to another process."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import TypeAlias

from lorascope.adapters import Delta
from lorascope.adapters.spectra import Spectrum
from lorascope.measure.worker import NoiseFloor, RenderedBlock, Worker


@dataclass(frozen=True, eq=False)
class MeasuredBlock:
    """Both arms of a block, of one Execution. Bare arm and noise floor are None where they were known already."""

    adapted: RenderedBlock
    bare: RenderedBlock | None
    floor: NoiseFloor | None


@dataclass(frozen=True, eq=False)
class BlockOrder:
    """Measure one block of an adapter, and what is not known yet of the bare arm under the worker's Execution.

    Attributes:
        index: Which block of the grid.
        words: What is appended to the prompts of the adapted arm.
        bare_words: The same of the bare arm.
        scale: How strongly the adapter is applied.
        known: Digests of the Executions under which this block's bare arm is known.
        floors: Digests of the Executions under which the noise floor is known.
    """

    index: int
    words: str
    bare_words: str
    scale: float
    known: Set[str]
    floors: Set[str]

    def run(self, worker: Worker, delta: Delta) -> MeasuredBlock:
        """Render both arms; where the memory runs out in between, all of it anew in smaller batches."""
        while True:
            execution = worker.execution
            floor = None if execution.digest in self.floors else worker.noise_floor()
            bare = None if execution.digest in self.known else worker.block(self.index, words=self.bare_words)
            adapted = worker.block(self.index, words=self.words, delta=delta, scale=self.scale)
            arms = [one.execution for one in (floor, bare, adapted) if one is not None]
            if all(one == execution for one in [*arms, worker.execution]):
                return MeasuredBlock(adapted, bare, floor)


@dataclass(frozen=True)
class SpectrumOrder:
    """Find out how large an adapter's change of the base model is."""

    scale: float

    def run(self, worker: Worker, delta: Delta) -> Spectrum:
        """Compute it."""
        return worker.spectrum(delta, self.scale)


Order: TypeAlias = BlockOrder | SpectrumOrder
Result: TypeAlias = MeasuredBlock | Spectrum
