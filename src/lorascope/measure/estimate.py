"""What a run over some folders would take, before it begins."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorascope.adapters import Adapter
from lorascope.adapters.items import Conditions
from lorascope.grid import PREVIEWS
from lorascope.library import Library, Refusal
from lorascope.library.words import arms, suffix
from lorascope.measure.calibration import first_phase
from lorascope.measure.measurement import Measurement
from lorascope.measure.queue import finished, gather, known_key
from lorascope.measure.stopping import StoppingRule, expected_cells
from lorascope.measure.worker import Worker
from lorascope.precision import PRECISIONS

_OVERHEAD = 40
"""Bytes a cell takes beside its embedding: distance, keys, database pages."""
_SAMPLE = 65536
"""Bytes that are read at the beginning, the middle and the end of files of equal size, to tell copies."""


@dataclass(frozen=True)
class Share:
    """What one adapter takes with a preset: cells still to do, and the Consistency behind it; None if unknown."""

    path: str
    preset: str
    cells: int
    hours: float
    consistency: float | None


@dataclass(frozen=True)
class CostEstimate:
    """The cost of measuring the adapters that are not known yet to one Precision, bare cells included.

    ``copies`` counts files that look the same as another one, which are measured once; ``refused`` are the files that
    would be left out. ``memory`` is what the base model takes of the device's memory, in words.
    """

    precision: str
    adapters: int
    cells: int
    seconds_per_cell: float
    hours: float
    gigabytes: float
    each: tuple[Share, ...]
    copies: int = 0
    refused: tuple[Refusal, ...] = ()
    memory: str = ""


def total_cost(costs: Sequence[CostEstimate]) -> CostEstimate:
    """Return the cost of several runs of one Precision together, at the mean time of a cell."""
    cells, hours = sum(cost.cells for cost in costs), sum(cost.hours for cost in costs)
    return CostEstimate(
        precision=costs[0].precision,
        adapters=sum(cost.adapters for cost in costs),
        cells=cells,
        seconds_per_cell=hours * 3600 / cells if cells else costs[0].seconds_per_cell,
        hours=hours,
        gigabytes=sum(cost.gigabytes for cost in costs),
        each=tuple(share for cost in costs for share in cost.each),
        copies=sum(cost.copies for cost in costs),
        refused=tuple(refusal for cost in costs for refusal in cost.refused),
        memory="; ".join(dict.fromkeys(cost.memory for cost in costs)),
    )


def estimate(
    worker: Worker,
    library: Library,
    paths: Iterable[Path],
    *,
    follow_links: bool = False,
    conditions: Conditions | None = None,
) -> list[CostEstimate]:
    """Time one batch of bare cells and multiply.

    ``quick`` and ``standard`` stop when they know enough; how soon depends on each adapter's Consistency. It is the
    measured one where there is any, else the median of published signatures.
    """
    measurement, cost = Measurement(worker, library), worker.cell_cost()
    places = list(paths)
    found: list[CostEstimate] = []
    for name, precision in PRECISIONS.items():
        rule = StoppingRule(precision, measurement.preset.thresholds, measurement.grid)
        done = finished(library, measurement.digests, rule)
        files = gather(
            places, library, measurement.preset.family, done, lambda count: None, follow_links=follow_links,
            conditions=conditions,
        )  # fmt: skip
        adapters = _without_copies(files.adapters)
        left = len(files.adapters) - len(adapters), tuple(files.refused)
        known = _known(measurement, adapters)
        name_of_preset = measurement.preset.name
        each = tuple(_share(name_of_preset, one, rule, cost.seconds, known[one.path]) for one in adapters)
        bare = _bare_cells(
            measurement, adapters, [known[a.path][0] + s.cells for a, s in zip(adapters, each, strict=True)]
        )
        new = sum(has == 0 for has, _ in known.values()) + (bare > 0)
        cells = sum(share.cells for share in each) + bare
        size = cells * (cost.embeddings + _OVERHEAD) + bare * cost.thumbnail + new * PREVIEWS * cost.picture
        found.append(
            CostEstimate(
                name, len(each), cells, cost.seconds, cells * cost.seconds / 3600, size / 1e9, each, *left, cost.memory
            )
        )
    return found


def _without_copies(adapters: Sequence[Adapter]) -> list[Adapter]:
    """Adapters without files that look the same as an earlier one. The run itself compares whole files."""
    sizes = Counter(adapter.size for adapter in adapters)
    first: dict[tuple[int, str], Adapter] = {}
    for adapter in adapters:
        sample = _sampled(adapter) if sizes[adapter.size] > 1 else ""
        first.setdefault((adapter.size, sample), adapter)
    return list(first.values())


def _sampled(adapter: Adapter) -> str:
    digest = hashlib.sha256()
    try:
        with adapter.path.open("rb") as file:
            for place in (0, adapter.size // 2, max(0, adapter.size - _SAMPLE)):
                file.seek(place)
                digest.update(file.read(_SAMPLE))
    except OSError:
        return str(adapter.path)  # the run will say what is wrong with it
    return digest.hexdigest()


def _bare_cells(measurement: Measurement, adapters: Sequence[Adapter], reached: Iterable[int]) -> int:
    """How many bare cells are still to be rendered, where each adapter's measuring reaches so many cells."""
    last: dict[str, int] = {}  # by the words that bare prompts get
    for adapter, cells in zip(adapters, reached, strict=True):
        triggers = adapter.claims.triggers
        words = suffix(triggers.value if triggers else (), measurement.preset.alternatives, adapter.tokens)
        bare = arms(measurement.preset, words)[1]
        last[bare] = max(last.get(bare, 0), cells)
    last[""] = max(last.get("", 0), first_phase(measurement, len(adapters)))
    grid = measurement.grid
    return sum(
        len(grid.block(index))
        for words, cells in last.items()
        for index in range(grid.blocks_for(cells))
        if not measurement.has_bare(words, index)
    )


def _known(measurement: Measurement, adapters: Iterable[Adapter]) -> dict[Path, tuple[int, float | None]]:
    """The cells that each adapter has, and its Consistency so far."""
    library = measurement.library
    stamps = library.adapters.stamps()
    keys = {adapter.path: known_key(adapter.path, stamps) for adapter in adapters}
    stored = library.signatures.get(measurement.digests[0], [key for key in keys.values() if key is not None])
    signatures = {path: stored[key].signature for path, key in keys.items() if key in stored}
    return {
        path: (signatures[path].cells, signatures[path].consistency) if path in signatures else (0, None)
        for path in keys
    }


def _share(preset: str, adapter: Adapter, rule: StoppingRule, seconds: float, known: tuple[int, float | None]) -> Share:
    has, consistency = known
    cells = max(rule.grid.block_size, expected_cells(rule.precision, rule.grid, consistency) - has)
    return Share(str(adapter.path), preset, cells, cells * seconds / 3600, consistency)
