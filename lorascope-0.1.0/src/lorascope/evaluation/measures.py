"""Measures on known answers, by ir-measures: nDCG@5, P@1, RR, R@10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from jaxtyping import Float

from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.queries import HIGHEST_GRADE, JudgedQuery
from lorascope.evaluation.retrievers import Scores
from lorascope.extras import optional

MEASURES = ("nDCG@5", "P@1", "P@3", "RR", "R@10")
"""As the field writes them."""
MAIN = "nDCG@5"
"""The measure that comparisons are made by."""
KEPT = "nDCG@5 kept"
"""The same, with each grade times how much of the scene that was asked for is still there."""
_GAINS = {grade: 2**grade - 1 for grade in range(1, HIGHEST_GRADE + 1)}
_HALF_GAINS = {doubled: round(1000 * (2 ** (doubled / 2) - 1)) for doubled in range(1, 2 * HIGHEST_GRADE + 1)}
"""By relevance times kept (0 to 2), which is twice the grade; in thousandths, for trec_eval wants whole numbers."""


@final
class Qrels:
    """Known answers of some queries, and the figures of rankings over them.

    nDCG@5 has gain 2^grade - 1 and discount log2(rank + 1) (Burges et al. 2005), R@10 counts every grade above 0. P@k
    and RR ask for the best answer: they count adapters of the highest grade that any adapter has for the query. A
    graded adapter that is not in the library stays in the ideal ranking, and a query whose answers are all missing, or
    that nobody answers, counts as zero: failures cannot vanish from a mean.

    Where queries say of adapters whether they keep the scene, nDCG@5 is computed once more with the grade times
    kept / 2: an adapter that draws snow and forgets the dog is not what was asked for.
    """

    def __init__(self, corpus: Corpus, queries: Sequence[JudgedQuery]) -> None:
        """Bind the queries; their grades are by name or key of adapters."""
        self._corpus = corpus
        # trec_eval's C code breaks on texts that C cannot hold, so what people named goes by its number there
        graded = {str(place): self._graded(query) for place, query in enumerate(queries)}
        self._ids = list(graded)
        best = {
            id_: {key: int(grade == max(grades.values())) for key, grade in grades.items()}
            for id_, grades in graded.items()
        }
        ir = optional("ir_measures")
        gains = ir.nDCG(gains=_GAINS) @ 5
        self._names = {str(gains): MAIN}
        self._main = ir.evaluator([gains], graded)
        self._others = [ir.evaluator([ir.R @ 10], graded), ir.evaluator([ir.P @ 1, ir.P @ 3, ir.RR], best)]
        if any(query.kept for query in queries):
            halves = ir.nDCG(gains=_HALF_GAINS) @ 5
            self._names[str(halves)] = KEPT
            kept = {str(place): self._graded_and_kept(query) for place, query in enumerate(queries)}
            self._others.append(ir.evaluator([halves], kept))

    def _graded(self, query: JudgedQuery) -> dict[str, int]:
        grades = {
            self._corpus.find(name) or f"missing {place}": grade
            for place, (name, grade) in enumerate(query.grades.items())
        }
        return {key: grade for key, grade in grades.items() if grade} or {"nobody": 1}

    def _graded_and_kept(self, query: JudgedQuery) -> dict[str, int]:
        kept = {self._corpus.find(name): grade for name, grade in query.kept.items()}
        found = {key: grade * kept.get(key, 0) for key, grade in self._graded(query).items()}
        return {key: grade for key, grade in found.items() if grade} or {"nobody": 1}

    def figures(self, scores: Scores) -> dict[str, Float[np.ndarray, " queries"]]:
        """Each measure for each query."""
        return self._calculated((self._main, *self._others), scores, len(self._corpus))

    def main(self, scores: Scores) -> Float[np.ndarray, " queries"]:
        """nDCG@5 alone, for experiments that need it many times."""
        return self._calculated((self._main,), scores, 5)[MAIN]

    def _calculated(
        self, evaluators: Sequence[Any], scores: Scores, depth: int
    ) -> dict[str, Float[np.ndarray, " queries"]]:
        run = {id_: self._run(row, depth) for id_, row in zip(self._ids, scores, strict=True)}
        found: dict[str, Float[np.ndarray, " queries"]] = {}
        for result in (result for evaluator in evaluators for result in evaluator.iter_calc(run)):
            name = self._names.get(str(result.measure), str(result.measure))
            found.setdefault(name, np.zeros(len(self._ids)))[int(result.query_id)] = result.value
        return found

    def _run(self, row: Float[np.ndarray, " adapters"], depth: int) -> Mapping[str, float]:
        """A ranking as trec_eval reads one: it knows scores only, and would break ties by name."""
        return {self._corpus.keys[place]: -float(rank) for rank, place in enumerate(self._corpus.ranked(row)[:depth])}
