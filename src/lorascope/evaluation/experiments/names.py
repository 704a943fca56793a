"""A library without known answers: does behaviour agree with the names that are clear, and what do the filters hide?"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

import numpy as np
from jaxtyping import Float

from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.findings import Chart, Findings, FindingsTable, Section, Series, Value
from lorascope.search import Searcher

_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_SAYS_NOTHING: Final = frozenset({
    "sdxl", "lora", "loras", "style", "styles", "model", "models", "version", "concept", "slider", "sliders", "base",
    "turbo", "lightning", "pony", "illustrious", "redmond", "with", "from", "that", "this", "your", "more", "less",
    "better", "best", "ultra", "super", "pack", "mode", "weights", "acceleration", "module",
})  # fmt: skip
_MOST: Final = 10
_NEAREST: Final = 10
_SHOWN: Final = 30


def names_findings(searcher: Searcher, corpus: Corpus) -> Findings:
    """Neighbours by Direction against shared words in names, the map of Strength and Consistency, filter shares."""
    directions = np.asarray(searcher.matrix.directions, float)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    shared = shared_words(corpus)
    about = (
        f"{len(corpus)} adapters of {searcher.stored.protocol}. Two adapters share a word if both names contain it"
        f" and in at most {_MOST} names in all, has four letters or more, and says something (not 'style' or 'lora')."
    )
    sections = (_agreement(cosines, shared), _by_word(cosines, shared), _filters(searcher))
    return Findings("Does behaviour agree with clear names?", about, sections)


def shared_words(corpus: Corpus) -> dict[str, list[int]]:
    """Rows of the corpus by each word that a few names share."""
    found: dict[str, list[int]] = defaultdict(list)
    for row, words in enumerate(corpus.words):
        for word in sorted(set(_WORD.findall(words.name.lower())) - _SAYS_NOTHING):
            found[word].append(row)
    return {word: rows for word, rows in found.items() if 2 <= len(rows) <= _MOST}


def _agreement(cosines: Float[np.ndarray, "n n"], shared: dict[str, list[int]]) -> Section:
    """How near those that share a word are to each other, against what chance would give."""
    partners: dict[int, set[int]] = defaultdict(set)
    for members in shared.values():
        for row in members:
            partners[row] |= set(members) - {row}
    size = len(cosines)
    ranks: list[int] = []
    chances: list[float] = []
    for row, others in partners.items():
        order = (-cosines[row]).argsort().tolist()
        ranks.append(min(order.index(other) for other in others) + 1)
        # the chance that none of the nearest, drawn at random, is a partner
        free = np.prod([(size - 1 - len(others) - i) / max(1, size - 1 - i) for i in range(min(_NEAREST, size - 1))])
        chances.append(1 - max(0.0, float(free)))
    within = [float(cosines[a, b]) for members in shared.values() for a in members for b in members if a < b]
    apart = cosines[np.triu_indices(size, 1)]
    rows: tuple[tuple[Value, ...], ...] = (
        ("adapters that share a word with another", len(partners), None),
        (f"a sharer among its {_NEAREST} nearest", _mean([rank <= _NEAREST for rank in ranks]), _mean(chances)),
        ("a sharer is the very nearest", _mean([rank == 1 for rank in ranks]), None),
        ("mean cosine of two that share a word", _mean(within), float(apart.mean()) if len(apart) else None),
    )
    text = "The last column is what random neighbours, or all pairs, would give."
    return Section("Neighbours and names", text, FindingsTable(("", "found", "by chance"), rows))


def _mean(values: list[float] | list[bool]) -> float | None:
    return float(np.mean(values)) if values else None


def _by_word(cosines: Float[np.ndarray, "n n"], shared: dict[str, list[int]]) -> Section:
    """Each shared word: do those that say it do the same?"""
    apart = np.sort(cosines[np.triu_indices(len(cosines), 1)])
    rows: list[tuple[str, int, float, float]] = []
    for word, members in shared.items():
        mean = float(np.mean([cosines[a, b] for a in members for b in members if a < b]))
        rows.append((word, len(members), mean, float(np.searchsorted(apart, mean) / max(1, len(apart)))))
    rows.sort(key=lambda row: -row[2])
    chosen = rows if len(rows) <= _SHOWN else rows[: _SHOWN // 2] + rows[-_SHOWN // 2 :]
    left = f" The {_SHOWN // 2} most and least alike of {len(rows)}." if len(rows) > _SHOWN else ""
    text = f"Mean cosine between adapters that share a word, and the share of all pairs that are less alike.{left}"
    return Section("Word by word", text, FindingsTable(("word", "adapters", "cosine", "above"), tuple(chosen)))


def _filters(searcher: Searcher) -> Section:
    matrix, now = searcher.matrix, searcher.thresholds
    strong = matrix.strength > now.strength_max
    weak = np.isnan(matrix.consistency) | (matrix.consistency < now.consistency_min)
    groups = {
        "within both": ~strong & ~weak,
        "too strong": strong & ~weak,
        "too inconsistent": weak & ~strong,
        "both": strong & weak,
    }
    rows = tuple((name, int(mask.sum()), float(mask.mean())) for name, mask in groups.items())
    series = tuple(
        Series(name, tuple(matrix.strength[mask].tolist()), tuple(matrix.consistency[mask].tolist()))
        for name, mask in groups.items()
        if mask.any()
    )
    chart = Chart(
        "points",
        "Every adapter by Strength and Consistency",
        "Strength",
        "Consistency",
        series,
        marks=(("", now.strength_max),) if np.isfinite(now.strength_max) else (),
        levels=(("", now.consistency_min),) if np.isfinite(now.consistency_min) else (),
    )
    return Section("What the thresholds hide", "", FindingsTable(("", "adapters", "share"), rows), (chart,))
