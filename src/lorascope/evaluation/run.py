"""Every query encoding over a set of judged queries, and random order to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from lorascope.encoders.encoding import Encoding
from lorascope.errors import QueryError
from lorascope.evaluation.judgements import Judgement
from lorascope.evaluation.measures import ndcg, precision_at_1, reciprocal_rank
from lorascope.search import Searcher

COMPARED: tuple[Encoding, ...] = ("suffix", "prefix", "both", "query")
RANDOM = "random"
_RANDOM_ORDERS = 100


@dataclass(frozen=True)
class Row:
    """Means over the queries. ``lead`` is how far the best right adapter's cosine exceeds the best wrong one's."""

    encoding: str
    queries: int
    p1: float
    mrr: float
    ndcg5: float
    lead: float


def evaluate(searcher: Searcher, judgements: Sequence[Judgement]) -> list[Row]:
    """Rank all adapters, no thresholds, for every query by every encoding, and in random order.

    Queries none of whose relevant adapters is in the library count as zero, so failures cannot vanish from a mean.

    Raises:
        QueryError: no relevant adapter of any query is in the library.
    """
    names = searcher.matrix.names
    if not any(name in judgement.relevant for judgement in judgements for name in names):
        raise QueryError(
            "no adapter that the queries call relevant is in the library: use the names that `lorascope list` shows"
        )
    rows: list[Row] = []
    for encoding in COMPARED:
        scores = [searcher.scores(searcher.vector(judgement.text, encoding)) for judgement in judgements]
        rows.append(_row(encoding, names, judgements, scores))
    return [*rows, _random(names, judgements)]


def _random(names: Sequence[str], judgements: Sequence[Judgement]) -> Row:
    rng = np.random.default_rng(0)
    rows = [
        _row(RANDOM, names, judgements, list(rng.random((len(judgements), len(names))).astype(np.float32)))
        for _ in range(_RANDOM_ORDERS)
    ]
    means = {field: float(np.mean([getattr(row, field) for row in rows])) for field in ("p1", "mrr", "ndcg5")}
    return Row(RANDOM, len(judgements), **means, lead=0.0)


def _row(
    encoding: str,
    names: Sequence[str],
    judgements: Sequence[Judgement],
    scores: Sequence[Float32[np.ndarray, " n"]],
) -> Row:
    figures = np.array([_figures(names, j, row) for j, row in zip(judgements, scores, strict=True)])
    return Row(encoding, len(judgements), *(float(value) for value in figures.mean(0)))


def _figures(
    names: Sequence[str], judgement: Judgement, scores: Float32[np.ndarray, " n"]
) -> tuple[float, float, float, float]:
    grades = np.array([judgement.relevant.get(name, 0) for name in names])
    ranked = [int(grade) for grade in grades[np.argsort(-scores, kind="stable")]]
    best = max(judgement.relevant.values(), default=0)
    right, wrong = scores[grades > 0], scores[grades == 0]
    lead = float(right.max() - wrong.max()) if len(right) and len(wrong) else 0.0
    relevant = list(judgement.relevant.values())
    return precision_at_1(ranked, best), reciprocal_rank(ranked, best), ndcg(ranked, relevant, 5), lead
