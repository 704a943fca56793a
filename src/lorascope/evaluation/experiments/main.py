"""The main table: who finds what is asked, by kind of query, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lorascope.evaluation.experiments.judges import blind, judge_sections
from lorascope.evaluation.findings import Chart, Findings, FindingsTable, Section, Series, Value
from lorascope.evaluation.lineup import OURS, pairs
from lorascope.evaluation.measures import KEPT, MAIN, MEASURES
from lorascope.evaluation.queries import kinds
from lorascope.evaluation.run import Evaluation
from lorascope.evaluation.statistics import FEWEST, SPANS, Clusters, Interval, compare, diversity
from lorascope.evaluation.verdicts import Judged, Verdicts


def main_findings(
    evaluation: Evaluation,
    consistencies: Sequence[float | None],
    dense_note: str,
    verdicts: Verdicts | None = None,
) -> Findings:
    """All sections of the main table."""
    judged = verdicts.judged if verdicts else ()
    graded = bool(evaluation.figures)
    sections = [_figures(evaluation), _comparisons(evaluation), *_by_kind(evaluation)] if graded else []
    sections += judge_sections(evaluation, judged)
    sections.append(_diversity(evaluation))
    if graded:
        sections.append(_ambiguous(evaluation, consistencies))
    about = (
        f"{len(evaluation.queries)} queries in {evaluation.clusters.count} groups, {len(evaluation.corpus)} adapters."
        f" {dense_note} Intervals: 95%, bootstrap over groups of queries that ask for the same thing."
    )
    return Findings(
        "Does behaviour beat descriptions?", about, tuple(sections), _warnings(evaluation, judged) + _unseen(verdicts)
    )


def _warnings(evaluation: Evaluation, verdicts: Sequence[Judged]) -> tuple[str, ...]:
    found = list(evaluation.notes)
    silent = sum(not words.description for words in evaluation.corpus.words)
    if silent:
        found.append(f"{silent} of {len(evaluation.corpus)} adapters have no description: text has their names only")
    if evaluation.figures and evaluation.clusters.count < FEWEST:
        found.append(
            f"{evaluation.clusters.count} groups of queries are too few for intervals: ask for {FEWEST} things or more"
        )
    if not evaluation.figures and not verdicts:
        found.append("no answers are known for these queries: relevance needs grades or a judge (--judge)")
    found += [
        f"the judge {one.judge} is the encoder that measured this library: it is not independent"
        for one in verdicts
        if not one.independent
    ]
    found += [f"the judge {name} does not tell right from wrong answers here" for name in blind(evaluation, verdicts)]
    return tuple(found)


def _unseen(verdicts: Verdicts | None) -> tuple[str, ...]:
    return tuple(f"no images to judge of {reason}" for reason in verdicts.unseen) if verdicts else ()


def _figures(evaluation: Evaluation) -> Section:
    clusters = evaluation.clusters
    rows: list[tuple[Value, ...]] = []
    known = next(iter(evaluation.figures.values()))
    measures = [measure for measure in (*MEASURES, KEPT) if measure in known]
    for name, figures in evaluation.figures.items():
        columns = np.stack([figures[measure] for measure in measures], axis=1)
        rows.append((name, *clusters.intervals(columns)))
    rows.sort(key=lambda row: -_value(row[1]))
    text = (
        "nDCG@5 weighs all grades; P@k and RR ask for the best answer; R@10 is the share of all graded adapters among"
        " the first ten. A query that nobody answers counts as zero."
    )
    ranges = tuple(
        Series.of(str(row[0]), (float(place),), [row[1]])
        for place, row in enumerate(reversed(rows))
        if isinstance(row[1], Interval)
    )
    chart = Chart("ranges", f"{MAIN}, with its 95% interval", MAIN, "", ranges)
    return Section("Who finds what is asked", text, FindingsTable(("retriever", *measures), tuple(rows)), (chart,))


def _value(cell: Value) -> float:
    return cell.value if isinstance(cell, Interval) else 0.0


def _comparisons(evaluation: Evaluation) -> Section:
    found = compare(evaluation.clusters, evaluation.measure(MAIN), pairs(evaluation.retrievers))
    rows = tuple((f"{one.first} − {one.second}", one.difference, one.p, one.detectable) for one in found)
    text = (
        f"Paired differences in {MAIN}. p is of a randomisation test over groups of queries and allows for all of these"
        " comparisons together (max-T). The last column is the smallest true difference that such a set of queries"
        " would show, four times out of five."
    )
    return Section("Differences", text, FindingsTable(("comparison", "difference", "p", "detectable"), rows))


def _by_kind(evaluation: Evaluation) -> list[Section]:
    groups = kinds(evaluation.queries)
    if len(groups) < 2:
        return []
    rows: list[tuple[Value, ...]] = []
    places = {kind: [q.kind == kind for q in evaluation.queries] for kind in groups}
    for name, figures in evaluation.measure(MAIN).items():
        cells = [_mean(evaluation, figures, np.array(places[kind])) for kind in groups]
        rows.append((name, *cells))
    counts = ", ".join(f"{sum(places[kind])} {kind}" for kind in groups)
    few = [kind for kind in groups if len({q.cluster for q in evaluation.queries if q.kind == kind}) < FEWEST]
    note = f" Too few groups for an interval (fewer than {FEWEST}): {', '.join(few)}." if few else ""
    table = FindingsTable(("retriever", *groups), tuple(rows))
    return [Section("By kind of query", f"{MAIN}. Queries: {counts}.{note}", table)]


def _mean(evaluation: Evaluation, figures: Float[np.ndarray, " queries"], chosen: np.ndarray) -> Interval:
    labels = [query.cluster for query, kept in zip(evaluation.queries, chosen, strict=True) if kept]
    return Clusters(labels).interval(figures[chosen])


def _diversity(evaluation: Evaluation) -> Section:
    """Over spans, beside relevance: random order is the most diverse and finds nothing."""
    size = len(evaluation.corpus)
    rows: list[tuple[Value, ...]] = []
    series: list[Series] = []
    spans: list[Series] = []
    for name, rankings in evaluation.rankings.items():
        found = [diversity(rankings, size, span) for span in SPANS]
        three = found[SPANS.index(3)]
        relevance = float(evaluation.figures[name][MAIN].mean()) if evaluation.figures else None
        rows.append((name, relevance, *(one.entropy for one in found), three.effective, three.coverage, three.gini))
        spans.append(Series(name, tuple(map(float, SPANS)), tuple(one.entropy for one in found)))
        if relevance is not None:
            series.append(Series(name, (three.entropy,), (relevance,)))
    columns = ("retriever", MAIN, *(f"NE@{span}" for span in SPANS), "ELC@3", "coverage@3", "Gini@3")
    charts = [Chart("points", "Diversity against relevance", "NE@3", MAIN, tuple(series))] if series else []
    charts.append(Chart("lines", "Normalised Entropy over ranking spans", "span", "NE", tuple(spans)))
    text = (
        "How evenly the lists of all queries use the library: NE is the entropy of the adapters' shares over ln N, ELC"
        " the number of adapters that, equally used, would have the same entropy; N counts filtered adapters, too."
    )
    return Section("Diversity", text, FindingsTable(columns, tuple(rows)), tuple(charts))


def _ambiguous(evaluation: Evaluation, consistencies: Sequence[float | None]) -> Section:
    """Whether queries whose words mean different things in different prompts are the bad ones."""
    known = [place for place, value in enumerate(consistencies) if value is not None]
    x = np.array([consistencies[place] for place in known], float)
    y = evaluation.figures[OURS][MAIN][known]
    unknown = Interval(math.nan, math.nan, math.nan)
    rho = Clusters([evaluation.queries[place].cluster for place in known]).rank_correlation(x, y) if known else unknown
    said = "cannot be told" if math.isnan(rho.value) else f"{rho.value:.2f}"
    said += f" ({rho.lower:.2f} to {rho.upper:.2f})" if rho.known else ""
    chart = Chart(
        "points",
        f"Each query: its own Consistency, and {MAIN} of {OURS}",
        "Consistency of the query's shifts",
        MAIN,
        (Series("queries", tuple(map(float, x)), tuple(map(float, y))),),
    )
    text = (
        f"Rank correlation (Spearman) of the query's own Consistency with {MAIN}: {said}. Only one clearly above"
        " 0 would make a low Consistency a warning."
    )
    return Section("Are ambiguous queries the bad ones?", text, None, (chart,))
