"""When a measurement is good enough, and how much work that will be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from lorascope.grid import Grid
from lorascope.protocol import Precision
from lorascope.signature import Signature, cells_for

_TYPICAL_CONSISTENCY = 0.1
"""About the median of published SDXL signatures; the guess for an adapter nobody has looked at yet."""


def looks(grid: Grid) -> list[int]:
    """After how many blocks a sequential measurement looks at its intervals: 1, 2, 3, 4, 6, 8, 12, 16, 24, ...

    Few, widely spaced looks keep the widening for repeated looking small.
    """
    found = [blocks for power in range(grid.blocks.bit_length()) for blocks in (2**power, 3 * 2**power // 2)]
    return sorted({blocks for blocks in found if 0 < blocks < grid.blocks} | {grid.blocks})


def planned_looks(precision: Precision, grid: Grid) -> int:
    """How many looks the intervals of a Precision have to allow for."""
    return 1 if precision.agreement in (-1.0, 1.0) else len(looks(grid))


def enough(signatures: Callable[[], Iterable[Signature]], blocks: int, precision: Precision, grid: Grid) -> bool:
    """Whether a measurement reaches its Precision under every Protocol.

    Args:
        signatures: computes the Signatures, which is only done where they are looked at.
        blocks: how many blocks are known.
        precision: the goal.
        grid: the grid.
    """
    if blocks >= grid.blocks or (blocks >= 1 and precision.agreement == -1.0):
        return True
    if precision.agreement == 1.0 or blocks not in looks(grid):
        return False
    return all(_settled(signature, precision, len(grid.prompts)) for signature in signatures())


def _settled(signature: Signature, precision: Precision, prompts: int) -> bool:
    """Whether one Direction is known well enough; one of an adapter that did nothing on any prompt cannot be."""
    if signature.active_share == 0 and signature.cells >= prompts:
        return True
    return signature.agreement is not None and signature.agreement.lower >= precision.agreement


def expected_cells(precision: Precision, grid: Grid, consistency: float | None = None) -> int:
    """About how many cells a Precision takes; a whole number of blocks.

    Args:
        precision: the goal.
        grid: the grid.
        consistency: C so far, or None for an adapter that was not measured yet.
    """
    if precision.agreement == -1.0:
        cells = grid.block_size
    elif precision.agreement == 1.0:
        cells = len(grid)
    else:
        known = _TYPICAL_CONSISTENCY if consistency is None else max(consistency, 0.01)
        cells = math.ceil(min(len(grid), cells_for(known, precision.agreement)))
    return min(len(grid), grid.blocks_for(cells) * grid.block_size)
