"""What judges say of the images that rankings call for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from lorascope.evaluation.run import Evaluation
from lorascope.evaluation.statistics import Clusters, Interval

TOP = 3
"""How many hits of a ranking are judged, as in the paper."""
NOBODY = "no adapter"
"""The row of the bare model."""


@final
@dataclass(frozen=True)
class Judged:
    """What one judge says.

    Attributes:
        judge: its name.
        raw: the mean score of the top hits' images for each query, by retriever. ``no adapter`` is the bare model.
        pairs: the score of each judged adapter for each query, over its images: (query, row of the corpus).
        independent: whether it is another model than the encoder that measured the library.
    """

    judge: str
    raw: Mapping[str, Float[np.ndarray, " queries"]]
    pairs: Mapping[tuple[int, int], float]
    independent: bool

    @property
    def normalised(self) -> dict[str, Float[np.ndarray, " queries"]]:
        """Scores brought to 0..1 by the judge's lowest and highest over all queries and retrievers, as in the paper.

        So they depend on which retrievers take part, and compare with those of another line-up by ``raw`` only.
        """
        all_scores = np.stack(list(self.raw.values()))
        low, high = all_scores.min(), all_scores.max()
        return {name: (row - low) / (high - low if high > low else 1.0) for name, row in self.raw.items()}


@final
@dataclass(frozen=True)
class Verdicts:
    """What all judges say.

    Attributes:
        judged: one for each judge.
        unseen: the reasons for adapters that have no images.
    """

    judged: tuple[Judged, ...]
    unseen: tuple[str, ...] = ()


def called_for(evaluation: Evaluation) -> list[str]:
    """The keys of adapters that are among the first hits of any ranking."""
    rows = {row for rankings in evaluation.rankings.values() for ranking in rankings for row in ranking[:TOP]}
    return [evaluation.corpus.keys[row] for row in sorted(rows)]


def right_over_wrong(judged: Judged, evaluation: Evaluation) -> Interval | None:
    """How often a judge scores an adapter that answers a query above one that does not, for the same query.

    The area under the ROC curve within each query, averaged over queries that have judged adapters of both sorts; 0.5
    is a coin. None if there are no such queries.
    """
    shares: list[float] = []
    labels: list[str] = []
    for place, query in enumerate(evaluation.queries):
        grades = {evaluation.corpus.find(name): grade for name, grade in query.grades.items()}
        rows = {row: score for (at, row), score in judged.pairs.items() if at == place}
        right = [score for row, score in rows.items() if grades.get(evaluation.corpus.keys[row], 0) > 0]
        wrong = [score for row, score in rows.items() if grades.get(evaluation.corpus.keys[row], 0) == 0]
        if right and wrong:
            above = np.array(right)[:, None] - np.array(wrong)
            shares.append(float((above > 0).mean() + (above == 0).mean() / 2))
            labels.append(query.cluster)
    return Clusters(labels).interval(np.array(shares)) if shares else None
