"""What judges say, and whether they can be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lorascope.evaluation.findings import FindingsTable, Section, Value
from lorascope.evaluation.lineup import pairs
from lorascope.evaluation.measures import MAIN
from lorascope.evaluation.run import Evaluation
from lorascope.evaluation.statistics import Interval, compare
from lorascope.evaluation.verdicts import NOBODY, TOP, Judged, right_over_wrong
from lorascope.extras import optional

_QRELS = f"qrels ({MAIN})"


def judge_sections(evaluation: Evaluation, verdicts: Sequence[Judged]) -> list[Section]:
    """Scores by judge, differences, and agreement; nothing without judges."""
    if not verdicts:
        return []
    return [_scores(evaluation, verdicts), *(_differences(evaluation, one) for one in verdicts),
            _agreement(evaluation, verdicts)]  # fmt: skip


def blind(evaluation: Evaluation, verdicts: Sequence[Judged]) -> list[str]:
    """Judges that may as well throw a coin between adapters that answer a query and those that do not."""
    shares = {one.judge: right_over_wrong(one, evaluation) for one in verdicts}
    return [name for name, share in shares.items() if share is not None and not _above_a_coin(share)]


def _above_a_coin(share: Interval) -> bool:
    """By the interval, or by the share alone where there are too few groups of queries for one."""
    return (share.lower if share.known else share.value) > 0.5


def _scores(evaluation: Evaluation, verdicts: Sequence[Judged]) -> Section:
    clusters = evaluation.clusters
    normalised = [one.normalised for one in verdicts]
    rows: list[tuple[Value, ...]] = []
    for name in (*evaluation.retrievers, NOBODY):
        cells = [clusters.interval(scores[name]) for scores in normalised]
        raw = [float(one.raw[name].mean()) for one in verdicts]
        rows.append((name, *cells, *raw))
    columns = ("retriever", *(one.judge for one in verdicts), *(f"{one.judge}, raw" for one in verdicts))
    text = (
        f"The mean score of images made with the first {TOP} hits, on prompts that neither signatures nor queries were"
        " made with. Scores are brought to 0..1 by each judge's lowest and highest over all queries and retrievers, so"
        " they hold for this line-up only: another retriever can change those of all. The raw means do not depend on"
        " who takes part. A"
        f" hit that is missing counts as the bare model's image, which is also the row {NOBODY!r}."
    )
    return Section("What judges see", text, FindingsTable(columns, tuple(rows)))


def _differences(evaluation: Evaluation, judged: Judged) -> Section:
    found = compare(evaluation.clusters, judged.normalised, pairs(evaluation.retrievers))
    rows = tuple((f"{one.first} − {one.second}", one.difference, one.p, one.detectable) for one in found)
    text = f"Paired differences of normalised scores, as judged by {judged.judge}. They depend on who takes part."
    return Section(
        f"Differences, by {judged.judge}", text, FindingsTable(("comparison", "difference", "p", "detectable"), rows)
    )


def _agreement(evaluation: Evaluation, verdicts: Sequence[Judged]) -> Section:
    """Rank correlation over retrievers, and how often each judge scores a right adapter above a wrong one."""
    means = {one.judge: [float(one.raw[name].mean()) for name in evaluation.retrievers] for one in verdicts}
    if evaluation.figures:
        means[_QRELS] = [float(evaluation.figures[name][MAIN].mean()) for name in evaluation.retrievers]
    rows: list[tuple[Value, ...]] = []
    for one in verdicts:
        share = right_over_wrong(one, evaluation)
        rhos = [_rho(means[one.judge], means[other]) for other in means]
        rows.append((one.judge, *rhos, share))
    text = (
        "Spearman's rank correlation over the retrievers: do two judges order them alike? The last column is how often"
        " a judge scores an adapter that answers a query above one that does not; a coin has .5."
    )
    columns = ("judge", *means, "right over wrong")
    return Section("Do the judges agree?", text, FindingsTable(columns, tuple(rows)))


def _rho(first: Sequence[float], second: Sequence[float]) -> float | None:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(optional("scipy.stats").spearmanr(first, second).statistic)
