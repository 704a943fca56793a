"""Thresholds for a library: by quantile as the paper's, or by what labelled queries gain, with how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from lorascope.caches import Note, quiet
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.findings import Chart, Findings, FindingsTable, Section, Series, Value
from lorascope.evaluation.measures import MAIN, Qrels
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.statistics import FEWEST, Clusters, Interval
from lorascope.protocol import Thresholds, borrowed_thresholds
from lorascope.search import Searcher

STRENGTH_QUANTILE: Final = 719 / 740
"""The share of the published library (740 adapters) whose Strength is at most the paper's 9.8."""
CONSISTENCY_QUANTILE: Final = 204 / 740
"""The share of it whose Consistency is below the paper's 0.041."""
ENOUGH_ADAPTERS: Final = 50
"""With fewer adapters there is too little to calibrate on."""
_SUBSETS: Final = (10, 25, 50)
_DRAWS: Final = 1000
_FOLDS: Final = 5
_STEPS: Final = 8
_SEED: Final = 20251209


def calibration_findings(
    searcher: Searcher, corpus: Corpus, queries: Sequence[JudgedQuery] = (), note: Note = quiet
) -> Findings:
    """Thresholds by quantile; with graded queries also those that serve them best."""
    stored = searcher.stored
    sections = [_by_quantile(searcher), _subsets(searcher)]
    if any(query.grades for query in queries):
        sections.append(_by_queries(searcher, corpus, queries, note))
    sections.append(_map(searcher))
    groups = len({query.cluster for query in queries})
    warnings = [text for text in (borrowed_thresholds(stored.protocol, searcher.thresholds),) if text]
    if len(corpus) < ENOUGH_ADAPTERS:
        warnings.append(
            f"{len(corpus)} adapters are too little to calibrate on: with fewer than {ENOUGH_ADAPTERS}, quantiles"
            " depend on which ones they are"
        )
    if 0 < groups < FEWEST:
        warnings.append(f"{groups} groups of queries are too little to calibrate on: label {FEWEST} or more")
    about = (
        f"{len(corpus)} adapters of {stored.protocol}. Put the pair that you choose into a preset, as strength_max and"
        " consistency_min, or give it to a search, as --max-strength and --min-consistency."
    )
    return Findings("Which thresholds suit this library?", about, tuple(sections), tuple(warnings))


def by_quantile(strength: Float[np.ndarray, " n"], consistency: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The thresholds that leave out as large a share of a library as the paper's leave out of the published one."""
    known = consistency[~np.isnan(consistency)]
    return (
        float(np.quantile(strength, STRENGTH_QUANTILE)),
        float(np.quantile(known, CONSISTENCY_QUANTILE)) if len(known) else float("-inf"),
    )


def _resampled(searcher: Searcher, size: int) -> tuple[Interval, Interval]:
    """Quantile thresholds of random libraries of some size, drawn from this one with replacement."""
    strength, consistency = searcher.matrix.strength, searcher.matrix.consistency
    draw = np.random.default_rng(_SEED)
    found = np.array(
        [
            by_quantile(strength[rows], consistency[rows])
            for rows in (draw.integers(len(strength), size=size) for _ in range(_DRAWS))
        ]
    )
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    values = by_quantile(strength, consistency)
    first, second = (Interval(values[i], float(low[i]), float(high[i])) for i in (0, 1))
    return first, second


def _by_quantile(searcher: Searcher) -> Section:
    strength, consistency = _resampled(searcher, len(searcher.matrix))
    now = searcher.thresholds
    rows: tuple[tuple[Value, ...], ...] = (
        ("Strength, at most", strength, now.strength_max, f"{STRENGTH_QUANTILE:.1%} keep"),
        ("Consistency, at least", consistency, now.consistency_min, f"{1 - CONSISTENCY_QUANTILE:.1%} keep"),
    )
    text = (
        "What leaves out as large a share of this library as the paper's 9.8 and 0.041 leave out of the published one."
        " Intervals: bootstrap over adapters."
    )
    return Section("By quantile", text, FindingsTable(("threshold", "suggested", "now", "share"), rows))


def _subsets(searcher: Searcher) -> Section:
    rows: list[tuple[Value, ...]] = [
        (size, *_resampled(searcher, size)) for size in _SUBSETS if size <= len(searcher.matrix)
    ]
    text = "The same, from random subsets: how far thresholds of a small library may be off."
    return Section("On smaller libraries", text, FindingsTable(("adapters", "Strength", "Consistency"), tuple(rows)))


def _by_queries(searcher: Searcher, corpus: Corpus, queries: Sequence[JudgedQuery], note: Note) -> Section:
    """The pair with the best nDCG on labelled queries, and what it gains on queries that did not choose it."""
    clusters = Clusters([query.cluster for query in queries])
    pairs = _candidates(searcher)
    qrels = Qrels(corpus, queries)
    scores = np.stack([searcher.scores(searcher.vector(query.text)) for query in queries]).astype(float)
    columns: list[Float[np.ndarray, " queries"]] = []
    for done, pair in enumerate(pairs):
        note("trying thresholds", done, len(pairs))
        columns.append(qrels.main(np.where(_kept(searcher, pair), scores, -np.inf)))
    note("", len(pairs), len(pairs))
    figures = np.stack(columns, axis=1)
    best = pairs[int(figures.mean(0).argmax())]
    means = clusters.samples(figures)
    chosen = np.array([[pairs[place].strength_max, pairs[place].consistency_min] for place in means.argmax(1)])
    low, high = np.quantile(chosen, (0.025, 0.975), axis=0, method="nearest")
    crossed, free = _crossed(queries, figures), figures[:, 0]
    now = qrels.main(np.where(_kept(searcher, searcher.thresholds), scores, -np.inf))
    rows: tuple[tuple[Value, ...], ...] = (
        ("no thresholds", clusters.interval(free), None),
        ("those of now", clusters.interval(now), clusters.interval(now - free)),
        ("chosen by other queries", clusters.interval(crossed), clusters.interval(crossed - free)),
    )
    text = (
        f"Best on all queries: Strength at most {_said(best.strength_max)} ({_said(low[0])} to {_said(high[0])}),"
        f" Consistency at least {_said(best.consistency_min)} ({_said(low[1])} to {_said(high[1])}). What that gains is"
        f" estimated by {_FOLDS}-fold cross-validation over groups of queries: each part is ranked with the thresholds"
        " that the other parts chose."
    )
    return Section("By labelled queries", text, FindingsTable(("thresholds", MAIN, "gain"), rows))


def _said(value: float) -> str:
    return "anything" if np.isinf(value) else f"{value:.3g}"


def _candidates(searcher: Searcher) -> list[Thresholds]:
    """Pairs from the library's own quantiles; the first one hides nothing."""
    high = np.unique(np.quantile(searcher.matrix.strength, np.linspace(0.7, 0.99, _STEPS)))
    known = searcher.matrix.consistency[~np.isnan(searcher.matrix.consistency)]
    low = np.unique(np.quantile(known, np.linspace(0.02, 0.5, _STEPS))) if len(known) else np.array([])
    return [
        Thresholds(strength_max=float(strength), consistency_min=float(consistency))
        for strength in (np.inf, *high)
        for consistency in (-np.inf, *low)
    ]


def _kept(searcher: Searcher, thresholds: Thresholds) -> Bool[np.ndarray, " adapters"]:
    """Which adapters lie within thresholds, by their figures."""
    weak = np.isnan(searcher.matrix.consistency) | (searcher.matrix.consistency < thresholds.consistency_min)
    return (searcher.matrix.strength <= thresholds.strength_max) & ~(weak & ~np.isneginf(thresholds.consistency_min))


def _crossed(
    queries: Sequence[JudgedQuery], figures: Float[np.ndarray, "queries pairs"]
) -> Float[np.ndarray, " queries"]:
    """Each query's figure under the pair that does best on the groups of the other folds."""
    names = list(dict.fromkeys(query.cluster for query in queries))
    order = np.random.default_rng(_SEED).permutation(len(names))
    fold_of = {name: int(order[place]) % _FOLDS for place, name in enumerate(names)}
    folds = np.array([fold_of[query.cluster] for query in queries])
    found = np.zeros(len(queries))
    for fold in np.unique(folds):
        others = figures[folds != fold] if (folds != fold).any() else figures
        found[folds == fold] = figures[folds == fold, int(others.mean(0).argmax())]
    return found


def _map(searcher: Searcher) -> Section:
    """Every adapter by Strength and Consistency, with the thresholds of now."""
    matrix, now = searcher.matrix, searcher.thresholds
    known = ~np.isnan(matrix.consistency)
    points = Series("adapters", tuple(matrix.strength[known].tolist()), tuple(matrix.consistency[known].tolist()))
    chart = Chart(
        "points",
        "Every adapter, and the thresholds of now",
        "Strength",
        "Consistency",
        (points,),
        marks=(("", now.strength_max),) if np.isfinite(now.strength_max) else (),
        levels=(("", now.consistency_min),) if np.isfinite(now.consistency_min) else (),
    )
    return Section("Strength and Consistency", "", None, (chart,))
