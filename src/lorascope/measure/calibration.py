"""Fits the Calibration of a Protocol from the evidence of a library, and estimates its signatures anew by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import final

import numpy as np

from lorascope.errors import CalibrationError
from lorascope.library import Block, Library
from lorascope.library.recomputation import add_block
from lorascope.measure.measurement import Measurement
from lorascope.measure.stopping import StoppingRule
from lorascope.models import SHIPPED, find_file
from lorascope.precision import PRECISIONS, SCREENED
from lorascope.protocol import Protocol
from lorascope.signature import Calibration, Effects
from lorascope.signature.calibration import FEWEST_ADAPTERS

_GROWTH = 2
"""A library that has so many times the adapters of its Calibration fits another one."""
_FOREIGN = "~"
"""Marks the Execution of a block that was measured elsewhere: it teaches nothing about what is measured here."""


@final
class Calibrations:
    """The Calibrations by which one run estimates Directions, by Protocol; none where the preset asks for the mean."""

    def __init__(self, measurement: Measurement) -> None:
        """Take up what the library has, or else what the preset ships.

        Raises:
            CalibrationError: the preset's is damaged, or of another Protocol.
        """
        self._measurement = measurement
        self._library = measurement.library
        self.current: dict[str, Calibration] = {}
        # words that are in both arms give each adapter bare images of its own, whose mean is not known
        self._wanted = measurement.preset.estimator == "regression" and measurement.preset.triggers != "both"
        if self._wanted:
            self._take_up()

    def fit(self, goes_on: Callable[[str], bool] = lambda text: True, *, again: bool = False) -> bool:
        """Fit where there is no Calibration yet or the library has outgrown it, and estimate its signatures by it.

        The bare cells of the first round of the grid are rendered where they are missing, unless that would take more
        images than the adapters have so far.

        Args:
            goes_on: is called with what is done, before each block of bare images; nothing is fitted where it says no.
            again: fit in any case.

        Returns:
            Whether anything was fitted.
        """
        if not self._wanted:
            return False
        fitted = [self._fit(protocol, again, goes_on) for protocol in self._measurement.protocols]
        return any(fitted)

    def _take_up(self) -> None:
        preset, protocols = self._measurement.preset, self._library.protocols
        for protocol in self._measurement.protocols:
            known = protocols.calibrations(protocol.digest)
            found = protocols.calibration(known[0]) if known else None
            # what a person names goes first; what comes with a preset is for libraries that have none
            if preset.calibration and (found is None or not preset.calibration.startswith(SHIPPED)):
                brought = given(preset.calibration, protocol)
                if brought is not None:
                    protocols.put_calibration(brought)
                    found = brought
            if found is not None:
                self.current[protocol.digest] = found

    def _fit(self, protocol: Protocol, again: bool, goes_on: Callable[[str], bool]) -> bool:
        measurement, known = self._measurement, self.current.get(protocol.digest)
        adapters = self._measured(protocol)
        if len(adapters) < FEWEST_ADAPTERS:
            return False
        if known is not None and not again and len(adapters) < _GROWTH * known.adapters:
            return False
        grid = measurement.grid
        first = range(grid.blocks_for(len(grid.prompts)))
        missing = sum(len(grid.block(index)) for index in first if not measurement.has_bare("", index))
        if missing > sum(adapters.values()):
            return False
        blocks: list[np.ndarray] = []
        for index in first:
            if not goes_on(f"bare images for the calibration: block {index + 1} of {len(first)}"):
                return False
            blocks.append(measurement.bare(protocol, index))
        bare = np.concatenate(blocks).astype(np.float64)
        cells = [cell.prompt for index in first for cell in grid.block(index)]
        samples = (
            (np.concatenate([block.effects for block in blocks]), np.concatenate([block.bare for block in blocks]))
            for blocks in self._own_blocks(protocol, adapters)
        )
        size = len(grid.prompts), len(grid.seeds)
        try:
            found = Calibration.fit(protocol.digest, samples, bare, np.array(cells), size)
        except CalibrationError:
            return False  # too few of them do anything
        with self._library.transaction():
            self._library.protocols.put_calibration(found)
        self.current[protocol.digest] = found
        reestimate(self._library, measurement, protocol, found)
        return True

    def _measured(self, protocol: Protocol) -> dict[str, int]:
        """The cells that each adapter has in the evidence."""
        return self._library.evidence.cells(protocol.digest)

    def _own_blocks(self, protocol: Protocol, adapters: dict[str, int]) -> Iterator[list[Block]]:
        for key in adapters:
            blocks = self._library.evidence.blocks(key, protocol.digest)
            own = [block for block in blocks if _FOREIGN not in block.execution]
            if own:
                yield own


def first_phase(measurement: Measurement, adapters: int) -> int:
    """How many bare cells it takes to calibrate, where a run of so many adapters would; else 0."""
    wanted = measurement.preset.estimator == "regression" and measurement.preset.triggers != "both"
    known = all(measurement.library.protocols.calibrations(digest) for digest in measurement.digests)
    if not wanted or known or measurement.preset.calibration or adapters < FEWEST_ADAPTERS:
        return 0
    return len(measurement.grid.prompts)


def given(location: str, protocol: Protocol) -> Calibration | None:
    """A Calibration from a file of its own, or the last one of another library.

    None where a preset that ships brings one and a person has changed the preset's settings.

    Raises:
        CalibrationError: it is damaged, or of another Protocol.
        ModelError: there is no such file.
        LibraryError: the other library cannot be read.
    """
    path = find_file(location)
    if path.suffix != ".npz":
        with Library(path) as other:
            known = other.protocols.calibrations(protocol.digest)
            found = other.protocols.calibration(known[0]) if known else None
        if found is None:
            raise CalibrationError(
                f"{path} has no calibration of {protocol}: index at least 20 adapters there, or none"
            )
        return found
    found = Calibration.from_bytes(path.read_bytes())
    if found.protocol != protocol.digest and location.startswith(SHIPPED):
        return None
    if found.protocol != protocol.digest:
        raise CalibrationError(
            f"{location} is a calibration of Protocol {found.protocol}, not of {protocol}: leave it out, or give that"
            " Protocol's"
        )
    return found


def reestimate(library: Library, measurement: Measurement, protocol: Protocol, calibration: Calibration) -> None:
    """Compute every signature that was measured here anew from its evidence, by another Calibration."""
    grid, digest = measurement.grid, protocol.digest
    for key in library.evidence.cells(digest):
        stored = library.signatures.get(digest, [key]).get(key)
        if stored is None or stored.origin or stored.claimed:
            continue
        effects: Effects | None = None
        for block in library.evidence.blocks(key, digest, 0, grid.blocks_for(stored.signature.cells)):
            effects = add_block(effects, block, grid)
        if effects is None or effects.moments.cells != stored.signature.cells:
            continue  # a damaged library: verify names it
        label = stored.precision.split(" ")[0]
        goal = PRECISIONS["standard" if label == SCREENED else label]
        looks = StoppingRule(goal, measurement.preset.thresholds, grid).looks
        signature = effects.signature(grid.prompts.categories, looks=looks, calibration=calibration)
        library.signatures.put(digest, stored.precision, {key: signature})
