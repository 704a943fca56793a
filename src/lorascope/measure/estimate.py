"""What a run over some folders would take, before it begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lorascope.adapters import Adapter, load_delta
from lorascope.adapters.spectra import Spectrum
from lorascope.errors import AdapterError
from lorascope.grid import PREVIEWS
from lorascope.measure.bench import Bench
from lorascope.measure.prior import Prior, recall
from lorascope.measure.queue import finished, gather, known_key, trigger_words
from lorascope.measure.stopping import StoppingRule, expected_cells
from lorascope.protocol import PRECISIONS

_OVERHEAD = 40
"""Bytes a cell takes beside its embedding: distance, keys, database pages."""


@dataclass(frozen=True)
class Share:
    """What one adapter takes: cells still to do, and the Consistency they were reckoned from; None if unknown."""

    path: str
    cells: int
    hours: float
    consistency: float | None


@dataclass(frozen=True)
class Estimate:
    """The cost of measuring the adapters that are not known yet to one Precision, bare cells included."""

    precision: str
    adapters: int
    cells: int
    seconds_per_cell: float
    hours: float
    gigabytes: float
    each: tuple[Share, ...]


def estimate(bench: Bench, paths: Iterable[Path]) -> list[Estimate]:
    """Time one batch of bare cells and multiply.

    ``quick`` and ``standard`` stop when they know enough; how soon depends on each adapter's Consistency. It is the
    measured one where there is any, else what a :class:`Prior` learnt from the library's own adapters, else the median
    of published signatures.
    """
    cost = bench.cell_cost()
    places = list(paths)
    found: list[Estimate] = []
    for name, precision in PRECISIONS.items():
        rule = StoppingRule(precision, bench.preset.thresholds, bench.grid)
        done = finished(bench.library, bench.protocols, rule)
        adapters = gather(places, bench.library, bench.preset.family, done, lambda count: None).adapters
        known = list(_known(bench, adapters))
        each = tuple(_share(adapter, rule, cost.seconds, has) for adapter, has in known)
        last: dict[str, int] = {}  # of each words that bare prompts get, how many cells are reached with them
        for share, (adapter, (has, _)) in zip(each, known, strict=True):
            words = bench.words(trigger_words(adapter.claims))[1]
            last[words] = max(last.get(words, 0), has + share.cells)
        bare = sum(_bare_cells(bench, words, cells) for words, cells in last.items())
        new = sum(has == 0 for _, (has, _) in known) + (bare > 0)
        cells = sum(share.cells for share in each) + bare
        size = cells * (cost.embeddings + _OVERHEAD) + bare * cost.thumbnail + new * PREVIEWS * cost.preview
        found.append(Estimate(name, len(each), cells, cost.seconds, cells * cost.seconds / 3600, size / 1e9, each))
    return found


def _bare_cells(bench: Bench, words: str, cells: int) -> int:
    """How many of the first cells of the grid have no bare images yet."""
    blocks = range(bench.grid.blocks_for(cells))
    return sum(len(bench.grid.block(index)) for index in blocks if not bench.has_baseline(words, index))


def _known(bench: Bench, adapters: Iterable[Adapter]) -> Iterable[tuple[Adapter, tuple[int, float | None]]]:
    """Each adapter with the cells that it has and the Consistency that it has or may be expected to have."""
    library, protocol = bench.library, bench.protocols[0]
    stamps, records = library.adapters.stamps(), library.adapters.all()
    signatures = library.signatures.get(protocol, records)
    prior = Prior.of(library, protocol, bench.worn_as)
    for adapter in adapters:
        key = known_key(adapter.path, stamps)
        if key is not None and (stored := signatures.get(key)) is not None:
            yield adapter, (stored.signature.cells, stored.signature.consistency)
        else:
            facts = records[key].facts if key is not None else {}
            yield adapter, (0, _guessed(bench, prior, adapter, recall(facts, bench.worn_as)))


def _guessed(bench: Bench, prior: Prior, adapter: Adapter, spectrum: Spectrum | None) -> float | None:
    """The Consistency to expect; a file is only read where there is something to be learnt from its weights."""
    if prior.consistency is None or not prior.consistency.useful:
        return None
    try:
        known = spectrum or bench.spectrum(load_delta(adapter.path, bench.names, partial=True))
    except AdapterError:
        return None  # the run will list it with its reason
    return prior.guess(known).consistency


def _share(adapter: Adapter, rule: StoppingRule, seconds: float, known: tuple[int, float | None]) -> Share:
    has, consistency = known
    cells = max(rule.grid.block_size, expected_cells(rule.precision, rule.grid, consistency) - has)
    return Share(str(adapter.path), cells, cells * seconds / 3600, consistency)
