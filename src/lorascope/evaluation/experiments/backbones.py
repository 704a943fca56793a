"""Whether signatures carry over between base models, by adapters of the same name on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, final

import numpy as np

from lorascope.errors import QueryError
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.experiments.calibration import by_quantile
from lorascope.evaluation.findings import Findings, FindingsTable, Section, Value
from lorascope.evaluation.measures import MAIN, Qrels
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.retrievers import Behaviour, Scores
from lorascope.evaluation.statistics import Clusters, Interval, compare, resampled, spearman
from lorascope.moments import unit_rows
from lorascope.search import Searcher

FEWEST_TWINS: Final = 3


@final
class Side:
    """The adapters of one backbone that have a twin on the other, in one order for both."""

    def __init__(self, searcher: Searcher, twins: Sequence[str]) -> None:
        corpus = Corpus.of(searcher)
        keys = [corpus.find(name) for name in twins]
        self.rows = [searcher.matrix.places[key] for key in keys if key is not None]
        self.name = searcher.stored.protocol.name
        self.corpus = replace(
            corpus,
            keys=tuple(f"{self.name}/{name}" for name in twins),
            names=tuple(twins),
            words=tuple(corpus.words[row] for row in self.rows),
            downloads=tuple(corpus.downloads[row] for row in self.rows),
        )
        self.searcher = searcher
        self.directions = searcher.matrix.directions[self.rows].astype(np.float64)
        self.strength = searcher.matrix.strength[self.rows]
        self.consistency = searcher.matrix.consistency[self.rows]

    def scores(self, texts: Sequence[str]) -> Scores:
        """Cosines of queries with the twins' Directions, without thresholds."""
        return Behaviour(self.searcher, filters="none").scores(texts)[:, self.rows]


def backbone_findings(first: Searcher, second: Searcher, queries: Sequence[JudgedQuery]) -> Findings:
    """Compare two Protocols of one library whose base models differ.

    Args:
        first: The Protocol that is compared with.
        second: The other one.
        queries: Queries with known answers, by names of adapters.

    Raises:
        QueryError: The encoders differ, too few names are on both sides, or no query is answered by one of them.
    """
    one, two = first.stored.protocol, second.stored.protocol
    if one.encoder_digest != two.encoder_digest:
        raise QueryError(f"{one} and {two} have different encoders: measure both with the same one")
    twins = [name for name in first.matrix.names if name in set(second.matrix.names)]
    if len(twins) < FEWEST_TWINS:
        raise QueryError(
            f"{len(twins)} adapters have the same name under {one} and {two}: measure at least {FEWEST_TWINS}"
        )
    here = [replace(query, grades={n: g for n, g in query.grades.items() if n in twins}, kept={}) for query in queries]
    asked = [query for query in here if any(query.grades.values())]
    if not asked:
        raise QueryError(f"no query is answered by one of the {len(twins)} adapters that both backbones have")
    sides = Side(first, twins), Side(second, twins)
    sections = (_retrieval(sides, asked), _agreement(sides), _one_ranking(sides, asked), _thresholds(sides))
    about = f"{len(twins)} adapters of the same name on two base models: {one} and {two}. {len(asked)} queries."
    return Findings("Do signatures carry over between base models?", about, sections)


def _retrieval(sides: tuple[Side, Side], queries: Sequence[JudgedQuery]) -> Section:
    clusters = Clusters([query.cluster for query in queries])
    texts = [query.text for query in queries]
    figures = {side.name: Qrels(side.corpus, queries).main(side.scores(texts)) for side in sides}
    rows: list[tuple[Value, ...]] = [(name, clusters.interval(values)) for name, values in figures.items()]
    one, two = figures
    (found,) = compare(clusters, figures, [(two, one)])
    rows.append(("difference", found.difference))
    text = f"Queries in words over the {len(sides[0].corpus)} adapters of each. Difference: p = {found.p:.3f}."
    return Section("Words find adapters on either backbone", text, FindingsTable(("backbone", MAIN), tuple(rows)))


def _agreement(sides: tuple[Side, Side]) -> Section:
    cosines = unit_rows(sides[0].directions) @ unit_rows(sides[1].directions).T
    count = len(cosines)
    own = np.eye(count, dtype=bool)

    def correlation(name: str) -> Callable[[np.ndarray], float]:
        one, two = (getattr(side, name) for side in sides)
        return lambda rows: spearman(one[rows], two[rows])

    best = cosines.argmax(1) == np.arange(count)
    back = cosines.argmax(0) == np.arange(count)
    measured: dict[str, Callable[[np.ndarray], float]] = {
        "cosine of Directions, same effect": lambda rows: float(cosines[own][rows].mean()),
        "cosine of Directions, other effects": lambda rows: float(
            np.mean([cosines[row][np.arange(count) != row].mean() for row in rows])
        ),
        f"{sides[1].name} twin is the nearest": lambda rows: float(best[rows].mean()),
        f"{sides[0].name} twin is the nearest": lambda rows: float(back[rows].mean()),
        "rank correlation of Strength": correlation("strength"),
        "rank correlation of Consistency": correlation("consistency"),
    }
    rows = tuple((name, resampled(figure, count)) for name, figure in measured.items())
    text = f"By adapter, with intervals over adapters. By chance a twin is the nearest once in {count}."
    return Section("The two backbones agree", text, FindingsTable(("figure", "value"), rows))


def _one_ranking(sides: tuple[Side, Side], queries: Sequence[JudgedQuery]) -> Section:
    """All adapters in one list, both twins being right answers, against a list of each backbone's own."""
    clusters, texts = Clusters([query.cluster for query in queries]), [query.text for query in queries]
    one, two = sides
    joint = replace(
        one.corpus,
        keys=one.corpus.keys + two.corpus.keys,
        names=one.corpus.keys + two.corpus.keys,
        words=one.corpus.words + two.corpus.words,
        downloads=one.corpus.downloads + two.corpus.downloads,
    )
    both = [
        replace(query, grades={f"{side.name}/{name}": grade for side in sides for name, grade in query.grades.items()})
        for query in queries
    ]
    scores = [side.scores(texts) for side in sides]
    merged = np.concatenate(scores, axis=1)
    separate = np.mean([Qrels(s.corpus, queries).main(own) for s, own in zip(sides, scores, strict=True)], axis=0)
    together = Qrels(joint, both).main(merged)
    top = np.argsort(-merged, axis=1)[:, : len(one.corpus)] >= len(one.corpus)
    rows: tuple[tuple[Value, ...], ...] = (
        ("a list for each backbone", clusters.interval(separate)),
        ("one list of both", clusters.interval(together)),
        ("difference", clusters.interval(together - separate)),
        (f"share of {two.name} in the upper half", clusters.interval(top.mean(1))),
    )
    text = (
        "Signatures of different Protocols are never ranked together in a search; here they are, to see what is lost."
    )
    return Section("One list of both", text, FindingsTable(("ranking", MAIN), rows))


def _thresholds(sides: tuple[Side, Side]) -> Section:
    limits = {side.name: by_quantile(side.strength, side.consistency) for side in sides}
    rows: list[tuple[Value, ...]] = []
    for own, other in (sides, sides[::-1]):
        hidden = {
            name: (own.strength > strongest) | (own.consistency < least) for name, (strongest, least) in limits.items()
        }
        ours, theirs = hidden[own.name], hidden[other.name]
        medians = (average(values, np.nanmedian) for values in (own.strength, own.consistency))
        shares = (average(values) for values in (ours, theirs, ours != theirs))
        rows.append((own.name, *medians, *limits[own.name], *shares))
    columns = ("backbone", "median Strength", "median Consistency", "S_max", "C_min", "hidden by its own",
               "by the other's", "by one of them only")  # fmt: skip
    text = "Thresholds by the paper's quantiles, and the share of the adapters that they hide."
    return Section("Thresholds on either backbone", text, FindingsTable(columns, tuple(rows)))


def average(values: np.ndarray, mean: Callable[[np.ndarray], Any] = np.mean) -> Interval:
    """The mean of a value of each adapter, or another figure of them, with an interval."""
    return resampled(lambda rows: float(mean(values[rows])), len(values))
