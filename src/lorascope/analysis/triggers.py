"""Measures what each trigger word of an adapter adds: the same few cells without any of them, and without each one.

Cells without any are kept as evidence, like those of ``lorascope index --triggers none``. Of the others the figures
alone are kept, word by word, so that it can be interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import final

import numpy as np
from jaxtyping import Float64

from lorascope.adapters import Delta
from lorascope.analysis.blocks import (
    AdapterResult,
    BlockMeasurement,
    Done,
    MeasuringCost,
    check_worker,
    measured_each,
)
from lorascope.analysis.cells import effect_share
from lorascope.analysis.usage import MOST_WORDS, TRIGGER_CELLS, known_shares, words_of
from lorascope.errors import LibraryError
from lorascope.library import Library, StoredAdapter, StoredProtocol
from lorascope.measure.files import measured_delta
from lorascope.measure.measurement import Measurement
from lorascope.measure.worker import Worker
from lorascope.signature import Estimate


@final
class TriggerMeasurement:
    """Measures what trigger words add, and keeps it among the facts of each adapter."""

    def __init__(self, worker: Worker, library: Library, stored: StoredProtocol) -> None:
        """Bind what measures and where it is kept.

        Raises:
            LibraryError: the worker's base model or encoder is another one, or the Protocol does not append trigger
                words on the adapter's side alone.
        """
        if stored.protocol.triggers != "adapter":
            sides = "no prompts" if stored.protocol.triggers == "none" else "the prompts of both sides"
            raise LibraryError(
                f"{stored.protocol} appends trigger words to {sides}, so its figures do not hold what these add: name"
                " one that appends them on the adapter's side with --protocol"
            )
        check_worker(worker, stored)
        self._worker, self._library, self._protocol = worker, library, stored.protocol
        self._measurement = Measurement(worker, library)
        self._with = BlockMeasurement(self._measurement, stored, TRIGGER_CELLS)
        self._without = BlockMeasurement(Measurement(worker, library, triggers="none"), stored, TRIGGER_CELLS)
        self._blocks = range(self._measurement.grid.blocks_for(TRIGGER_CELLS))

    def cost(self, adapters: Sequence[StoredAdapter]) -> MeasuringCost:
        """Time one batch, and multiply by what is still to be measured."""
        each = sum(len(self._measurement.grid.block(block)) for block in self._blocks)
        images = sum(
            self._with.images(one) + self._without.images(one) + each * len(self._missing(one)) for one in adapters
        )
        return MeasuringCost(len(adapters), images, images * self._worker.cell_cost().seconds)

    def measure(self, adapters: Sequence[StoredAdapter], done: Done) -> Iterator[AdapterResult[None]]:
        """Measure one adapter after the other; `lorascope.analysis.usage` reads what was found."""
        return measured_each(self._library, self._with.scene, adapters, lambda one: self._measure(one, done))

    def _missing(self, adapter: StoredAdapter) -> list[str]:
        """The words that are still to be left out one by one; a single word is all of them."""
        words = words_of(adapter, self._protocol)
        known = known_shares(adapter, self._protocol)
        return [word for word in words[:MOST_WORDS] if word not in known] if len(words) > 1 else []

    def _measure(self, adapter: StoredAdapter, done: Done) -> None:
        whole = self._with.cells(adapter, done)
        self._without.cells(adapter, done)
        if effect_share(whole.prompts, whole.effects, whole.effects) is None:
            return  # there is no effect to lose
        if missing := self._missing(adapter):
            delta = measured_delta(adapter, self._measurement.names)
            words = words_of(adapter, self._protocol)
            for word in missing:
                others = "".join(f", {one}" for one in words if one != word)
                effects = np.concatenate([self._effects(delta, others, block) for block in self._blocks])
                compared = effect_share(whole.prompts, effects, whole.effects)
                if compared is not None:
                    self._keep(adapter.key, word, compared.share)
                done(adapter, len(effects))

    def _effects(self, delta: Delta, words: str, block: int) -> Float64[np.ndarray, "cells d"]:
        """Effects of one block with some words, both arms of one Execution."""
        while True:
            adapted = self._worker.block(block, words=words, delta=delta, scale=self._protocol.scale)
            bare = self._measurement.bare(self._protocol, block)
            if adapted.execution == self._worker.execution:
                rows = adapted.embeddings[self._protocol.encoder_digest]
                return rows.astype(np.float64) - bare.astype(np.float64)

    def _keep(self, key: str, word: str, share: Estimate) -> None:
        with self._library.transaction():
            for current in self._library.adapters.get([key]).values():  # a run may have changed or removed it since
                scene, shares = self._protocol.scene, current.facts.word_shares
                own = {**shares.get(scene, {}), word: asdict(share)}
                facts = replace(current.facts, word_shares={**shares, scene: own})
                self._library.adapters.add([replace(current, paths=(), facts=facts)], {})
