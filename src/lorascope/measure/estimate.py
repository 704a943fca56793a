"""What a run over some folders would take, before it begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lorascope.measure.bench import Bench
from lorascope.measure.queue import finished, gather
from lorascope.measure.stopping import StoppingRule, expected_cells
from lorascope.protocol import PRECISIONS

_OVERHEAD = 40
"""Bytes a cell takes beside its embedding: distance, keys, database pages."""


@dataclass(frozen=True)
class Estimate:
    """The cost of measuring the adapters that are not known yet to one Precision, bare cells included."""

    precision: str
    adapters: int
    cells: int
    seconds_per_cell: float
    hours: float
    gigabytes: float


def estimate(bench: Bench, paths: Iterable[Path]) -> list[Estimate]:
    """Time one batch of bare cells and multiply.

    ``quick`` and ``standard`` stop when they know enough; how soon depends on each adapter's Consistency, for which
    the median of published signatures stands in.
    """
    seconds, dim = bench.time_cell()
    found: list[Estimate] = []
    for name, precision in PRECISIONS.items():
        done = finished(bench.library, bench.protocols, StoppingRule(precision, bench.preset.thresholds, bench.grid))
        adapters = len(gather(paths, bench.library, bench.preset.family, done, lambda count: None).adapters)
        each = expected_cells(precision, bench.grid)
        cells = adapters * each + each
        size = cells * (dim * 2 + _OVERHEAD)
        found.append(Estimate(name, adapters, cells, seconds, cells * seconds / 3600, size / 1e9))
    return found
