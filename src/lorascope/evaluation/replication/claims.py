"""What the paper and lorascope say, each with whether it holds for what was measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from lorascope.evaluation.findings import FindingsTable, Section, Value
from lorascope.evaluation.lineup import OURS, pairs
from lorascope.evaluation.replication.comparison import Twin, median, rank_correlation, share, shown, within
from lorascope.evaluation.run import Evaluation
from lorascope.evaluation.statistics import FEWEST, SPANS, Comparison, Interval, compare, diversity
from lorascope.evaluation.verdicts import TOP, Judged
from lorascope.precision import PRECISIONS
from lorascope.protocol import Thresholds

Verdict = Literal["holds", "does not hold", "cannot be told"]
ABLATIONS: Final = {
    "Both thresholds are better than none": "behaviour filter=none",
    "The threshold of Strength helps": "behaviour filter=consistency",
    "The threshold of Consistency helps": "behaviour filter=strength",
    "The query after the prompt is better than before it": "behaviour encoding=prefix",
    "The query after the prompt is better than on both sides": "behaviour encoding=both",
    "The query after the prompt is better than the query alone": "behaviour encoding=query",
}
"""What the paper says of its parts, and the retriever that each is compared with."""
_SUMMED: Final[dict[Verdict, str]] = {
    "holds": "claims hold", "does not hold": "do not hold", "cannot be told": "cannot be told",
}  # fmt: skip
_ALPHA = 0.05
_CONFIDENCE = 0.95
_UNTESTED = (
    ("People prefer what it finds to what text search finds", "a study with people: docs/study.md"),
    ("Strength and Consistency inform what copyright law asks", "no measurement: it is an argument"),
)


def at_least(figure: Interval, limit: float) -> Verdict:
    """Whether a figure reaches a limit, by its interval."""
    if not figure.known:
        return "cannot be told"
    return "holds" if figure.lower >= limit else "does not hold" if figure.upper < limit else "cannot be told"


def positive(difference: Interval) -> Verdict:
    """Whether a difference is above 0, by its interval."""
    if not difference.known or difference.lower <= 0 <= difference.upper:
        return "cannot be told"
    return "holds" if difference.value > 0 else "does not hold"


def covers(figure: Interval) -> Verdict:
    """Whether a share may be the 95% that is promised."""
    if not figure.known:
        return "cannot be told"
    return "holds" if figure.upper >= _CONFIDENCE else "does not hold"


def better(found: Sequence[Comparison]) -> Verdict:
    """Whether something is better by every judge; it is not if one of them finds it worse."""
    if any(one.difference.known and one.p < _ALPHA and one.difference.value < 0 for one in found):
        return "does not hold"
    certain = [one.difference.known and one.p < _ALPHA for one in found]
    return "holds" if certain and all(certain) else "cannot be told"


def summary(sections: Sequence[Section]) -> str:
    """How many claims of some sections hold, do not hold, and cannot be told."""
    counts = Counter(row[1] for section in sections if section.table for row in section.table.rows)
    return ", ".join(f"{counts[verdict]} {words}" for verdict, words in _SUMMED.items()) + "."


def signature_claims(twins: Sequence[Twin], thresholds: Thresholds, same_first: Interval) -> Section:
    """What the paper says of signatures.

    Args:
        twins: the adapters.
        thresholds: the paper's.
        same_first: the share of first hits for queries in words that published and measured Directions agree on.
    """
    fine = [twin for twin in twins if twin.ended]
    strength = rank_correlation([t.ours.strength for t in fine], [t.theirs.strength for t in fine])
    consistency = rank_correlation(*(_consistencies(fine, side) for side in ("ours", "theirs")))
    together = rank_correlation([t.ours.strength for t in fine], _consistencies(fine, "ours"))
    same = share([shown(t.ours, thresholds) == shown(t.theirs, thresholds) for t in twins])
    limits: tuple[tuple[str, Interval, float, str], ...] = (
        ("The Direction is the adapter's, whoever measures it", median([t.cosine for t in fine]), 0.9, "median cosine"),
        ("Strength orders adapters alike, whoever measures it", strength, 0.9, "rank correlation"),
        ("Consistency orders adapters alike, whoever measures it", consistency, 0.9, "rank correlation"),
        ("Strength and Consistency rise together", together, 0.6, "rank correlation"),
        ("The thresholds hide the same adapters", same, 0.9, "share of adapters"),
        ("Words find the same adapters first", same_first, 2 / 3, f"share of the first {TOP}"),
    )
    rows = tuple(
        (text, at_least(figure, limit), figure, f"{what}, {limit:.2g} or more") for text, figure, limit, what in limits
    )
    text = (
        f"Of {len(twins)} adapters, {len(fine)} were measured to the end and take part in cosine and correlations; the"
        " others were certain to be hidden before. The draw spreads adapters over Strength and Consistency, so"
        " correlations are higher than over a random sample."
    )
    return Section(
        "What the paper says of signatures", text, FindingsTable(("claim", "verdict", "figure", "holds with"), rows)
    )


def _consistencies(twins: Sequence[Twin], side: Literal["ours", "theirs"]) -> list[float]:
    return [getattr(twin, side).consistency or 0.0 for twin in twins]


def promises(twins: Sequence[Twin], grid: int, stopped: Sequence[float]) -> Section:
    """What lorascope says of its own measurements.

    Args:
        twins: the adapters.
        grid: how many cells the whole grid has.
        stopped: for each adapter whose whole grid was measured: the cosine of its Direction where ``standard`` would
            have stopped with that of the whole grid.
    """
    wanted = PRECISIONS["standard"].agreement
    standard = [twin for twin in twins if twin.precision == "standard"]
    cells = median([twin.ours.cells / grid for twin in standard])
    held = (
        ("The published Strength is in our 95% interval",
         share([within(t.limits.strength, t.theirs.strength) for t in twins])),
        ("The published Consistency is in our 95% interval",
         share([within(t.limits.consistency, t.theirs.consistency or 0.0) for t in twins])),
        ("The published Direction is as near as our 95% limit says",
         share([_near(t) for t in twins])),
        (f"Where standard stops, the Direction agrees with the whole grid's to {wanted}",
         share([cosine >= wanted for cosine in stopped])),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = [(text, covers(figure), figure, "share, 95%") for text, figure in held]
    rows.append(
        ("standard needs less than half of the grid", _at_most(cells, 0.5), cells, "median share of cells, 0.5")
    )
    text = (
        f"{len(stopped)} adapters were measured on the whole grid. Where the grid is whole, no interval has any width."
    )
    return Section(
        "What lorascope says", text, FindingsTable(("claim", "verdict", "figure", "holds with"), tuple(rows))
    )


def _near(twin: Twin) -> bool | None:
    limit = twin.limits.agreement
    return None if limit is None or limit.lower == 1 else twin.cosine >= limit.lower


def _at_most(figure: Interval, limit: float) -> Verdict:
    return at_least(Interval(-figure.value, -figure.upper, -figure.lower), -limit)


def retrieval_claims(evaluation: Evaluation, judged: Sequence[Judged], texts: Sequence[str]) -> Section:
    """What the paper says of searches, by what judges see."""
    found = [
        {one.second: one for one in compare(evaluation.clusters, judge.normalised, pairs(evaluation.retrievers))}
        for judge in judged
    ]
    asked = {f"It finds what suits a query better than {name} does": name for name in texts} | ABLATIONS
    rows: list[tuple[Value, ...]] = []
    for text, other in asked.items():
        comparisons = [by_retriever[other] for by_retriever in found]
        rows.append((text, better(comparisons), *(one.difference for one in comparisons)))
    text = (
        "The difference of normalised scores by each judge. A claim holds if every judge finds so (p < .05, all"
        " comparisons of that judge allowed for), and does not hold if one finds the contrary."
    )
    columns = ("claim", "verdict", *(judge.judge for judge in judged))
    return Section("What the paper says of searches", text, FindingsTable(columns, tuple(rows)))


def diversity_claims(evaluation: Evaluation, texts: Sequence[str]) -> Section:
    """That more adapters get used, at all spans of rankings."""
    rows: list[tuple[Value, ...]] = []
    for name in texts:
        spans = [_more_diverse(evaluation, name, span) for span in SPANS]
        least = min(spans, key=lambda one: one.value)
        verdicts = {positive(one) for one in spans}
        verdict = next((v for v in ("does not hold", "cannot be told") if v in verdicts), "holds")
        rows.append((f"It uses more of the library than {name}", verdict, least))
    text = (
        f"Normalised Entropy over the first {', '.join(map(str, SPANS))} hits; the smallest difference of all spans."
        " The Effective LoRA Count is its exponential, so the same holds for that. Thresholds are applied."
    )
    return Section(
        "What the paper says of diversity", text, FindingsTable(("claim", "verdict", "difference"), tuple(rows))
    )


def _more_diverse(evaluation: Evaluation, other: str, span: int) -> Interval:
    """The difference of Normalised Entropy, with a bootstrap over queries."""
    size = len(evaluation.corpus)
    rankings = [evaluation.rankings[name] for name in (OURS, other)]
    ours, theirs = (diversity(one, size, span).entropy for one in rankings)
    if evaluation.clusters.count < FEWEST:
        return Interval(ours - theirs, math.nan, math.nan)
    first, second = (_entropies(evaluation, one, span) for one in rankings)
    low, high = np.quantile(first - second, (0.025, 0.975))
    return Interval(ours - theirs, float(low), float(high))


def _entropies(evaluation: Evaluation, rankings: Sequence[Sequence[int]], span: int) -> Float[np.ndarray, " draws"]:
    used = np.zeros((len(rankings), len(evaluation.corpus)))
    for row, ranking in zip(used, rankings, strict=True):
        row[list(ranking[:span])] = 1
    counts = evaluation.clusters.samples(used)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    return -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1) / math.log(max(2, len(evaluation.corpus)))


def untested() -> Section:
    """What the paper says and no experiment here can tell."""
    rows = tuple((text, "cannot be told", what) for text, what in _UNTESTED)
    return Section("What is not tested here", "", FindingsTable(("claim", "verdict", "what would tell"), rows))
