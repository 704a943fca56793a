"""When a measurement is good enough, and how much work that will be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import final

from lorascope.grid import Grid
from lorascope.precision import PRECISIONS, SCREENED, Precision
from lorascope.protocol import Thresholds
from lorascope.signature import Estimate, Signature, cells_for

TYPICAL_CONSISTENCY = 0.1
"""About the median of published SDXL signatures; the guess for an adapter nobody has looked at yet."""

_MARGIN = 1.5
"""How many times the cells of the rule of thumb it takes to be sure: 1.5 to 2.8 in docs/stopping.md, most where
Consistency is high and the fewest prompts decide."""


@final
@dataclass(frozen=True)
class StoppingRule:
    """Stop when all that is asked for is known, or when it is certain that the thresholds hide the adapter."""

    precision: Precision
    thresholds: Thresholds
    grid: Grid

    @property
    def sequential(self) -> bool:
        """Whether intervals decide; ``glance`` and ``full`` have a fixed number of blocks."""
        return -1.0 < self.precision.agreement < 1.0

    @property
    def looks(self) -> int:
        """How many looks the intervals allow for. The whole grid has no error, so the last look costs nothing."""
        return max(1, len(self.grid.looks) - 1) if self.sequential else 1

    @cached_property
    def _fewest_blocks(self) -> int:
        """How many blocks hold as many different prompts as the Precision looks at."""
        seen: set[int] = set()
        wanted = min(self.precision.prompts, len(self.grid.prompts))
        for index in range(self.grid.blocks):
            seen.update(cell.prompt for cell in self.grid.block(index))
            if len(seen) >= wanted:
                return index + 1
        return self.grid.blocks

    def enough(self, signatures: Callable[[], Iterable[Signature]], blocks: int) -> bool:
        """Whether to stop: every Protocol has what was asked for, or is certain to hide the adapter."""
        if blocks >= self.grid.blocks or (blocks >= 1 and self.precision.agreement == -1.0):
            return True
        if not self.sequential or blocks not in self.grid.looks:
            return False
        if blocks < self._fewest_blocks:
            return False
        return all(self._settled(signature) or crossed(signature, self.thresholds) for signature in signatures())

    def next_look(self, blocks: int) -> int:
        """After how many blocks it may stop at the earliest, if so many are known."""
        if self.precision.agreement == -1.0:
            return 1
        return next(look for look in self.grid.looks if look > blocks) if self.sequential else self.grid.blocks

    def spares(self, signature: Signature, label: str) -> bool:
        """Whether an adapter that was measured sequentially needs no more cells for this goal."""
        names = list(PRECISIONS)
        fine = label in names[names.index(self.precision.name) :]
        whole = signature.cells >= len(self.grid)
        return whole or bool(crossed(signature, self.thresholds)) or (fine and self._settled(signature))

    def label(self, signature: Signature) -> str:
        """What a signature is kept as when the rule has stopped: the precision, or ``screened`` with the reason."""
        whole = signature.cells >= len(self.grid)
        if whole or not self.sequential or self._settled(signature):
            return self.precision.name
        return f"{SCREENED} {crossed(signature, self.thresholds)}"

    def _settled(self, signature: Signature) -> bool:
        """Whether Direction, Strength and Consistency are known well enough for what they decide.

        The Direction decides scores: its cosine with the true one has to reach the Precision's. Strength and
        Consistency decide whether an adapter is shown: they are known if their interval lies on one side of the
        threshold, or is narrow beside it. An adapter that did nothing on any prompt has no Direction to be known.
        """
        if signature.active_share == 0:
            return signature.cells >= len(self.grid.prompts)
        grid = signature.grid
        if grid.agreement is None or grid.agreement.lower < self.precision.agreement:
            return False
        limits = ((grid.strength, self.thresholds.strength_max), (grid.consistency, self.thresholds.consistency_min))
        return all(_decided(estimate, threshold, self.precision.tolerance) for estimate, threshold in limits)


def crossed(signature: Signature, thresholds: Thresholds) -> str:
    """The threshold beyond which a whole interval lies, as ``strength>9.8``; "" where none is."""
    strength, consistency = signature.grid.strength, signature.grid.consistency
    if strength is not None and strength.lower > thresholds.strength_max:
        return f"strength>{thresholds.strength_max:g}"
    if consistency is not None and consistency.upper < thresholds.consistency_min:
        return f"consistency<{thresholds.consistency_min:g}"
    return ""


def _decided(estimate: Estimate | None, threshold: float, tolerance: float) -> bool:
    if math.isinf(threshold):
        return True
    if estimate is None:
        return False
    narrow = estimate.upper - estimate.lower <= 2.0 * tolerance * abs(threshold)
    return narrow or not estimate.lower <= threshold <= estimate.upper


def expected_cells(precision: Precision, grid: Grid, consistency: float | None = None) -> int:
    """About how many cells a Precision takes, in whole blocks; ``consistency`` is None where nothing was measured."""
    if precision.agreement == -1.0:
        cells = grid.block_size
    elif precision.agreement == 1.0:
        cells = len(grid)
    else:
        known = TYPICAL_CONSISTENCY if consistency is None else max(consistency, 0.01)
        cells = math.ceil(min(len(grid), _MARGIN * cells_for(known, precision.agreement)))
        cells = max(cells, min(precision.prompts, len(grid.prompts)))
    return min(len(grid), grid.blocks_for(cells) * grid.block_size)
