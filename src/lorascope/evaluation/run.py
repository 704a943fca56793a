"""Retrievers over queries: every ranking, and every figure for every query."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float

from lorascope.caches import Note, quiet, write_whole
from lorascope.errors import QueryError
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.measures import Qrels
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.retrievers import Retriever, Scores
from lorascope.evaluation.statistics import Clusters
from lorascope.evaluation.trec import DEPTH, write_run


@final
class Remembered:
    """A retriever that is asked each query once, whoever asks: the table, a hybrid, another experiment."""

    def __init__(self, retriever: Retriever) -> None:
        self.name = retriever.name
        self._retriever = retriever
        self._known: dict[str, Float[np.ndarray, " adapters"]] = {}

    def scores(self, texts: Sequence[str]) -> Scores:
        """Scores from memory where they are known."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if fresh:
            self._known |= dict(zip(fresh, self._retriever.scores(fresh), strict=True))
        return np.stack([self._known[text] for text in texts])


@final
@dataclass(frozen=True)
class Evaluation:
    """What some retrievers did with some queries.

    Attributes:
        corpus: what was searched.
        queries: what was asked.
        rankings: rows of the corpus for each query, best first, by retriever; of several draws the first.
        figures: each measure for each query, by retriever; of several draws the mean. Empty without known answers.
        notes: what a reader should know of what was left out.
    """

    corpus: Corpus
    queries: tuple[JudgedQuery, ...]
    rankings: Mapping[str, list[list[int]]]
    figures: Mapping[str, Mapping[str, Float[np.ndarray, " queries"]]]
    notes: tuple[str, ...]

    @property
    def retrievers(self) -> list[str]:
        """Their names, in the order in which they were given."""
        return list(self.rankings)

    @property
    def clusters(self) -> Clusters:
        """Which queries belong together."""
        return Clusters([query.cluster for query in self.queries])

    def measure(self, name: str) -> dict[str, Float[np.ndarray, " queries"]]:
        """One measure by retriever."""
        return {retriever: figures[name] for retriever, figures in self.figures.items()}

    def write_rankings(self, path: Path) -> None:
        """Write the top of every ranking.

        A file called ``.run`` gets TREC's format (:mod:`lorascope.evaluation.trec`), any other one JSON object a line:
        ``{"query", "retriever", "adapters": [keys]}``.

        Raises:
            OutputError: the file cannot be written.
        """
        if path.suffix == ".run":
            write_run(path, self.corpus, self.queries, self.rankings)
            return
        keys = self.corpus.keys
        lines = [
            json.dumps({"query": query.text, "retriever": name, "adapters": [keys[row] for row in ranking[:DEPTH]]})
            for name, rankings in self.rankings.items()
            for query, ranking in zip(self.queries, rankings, strict=True)
        ]
        write_whole(path, "\n".join(lines) + "\n")


def evaluate(
    corpus: Corpus,
    queries: Sequence[JudgedQuery],
    retrievers: Sequence[Retriever],
    note: Note = quiet,
) -> Evaluation:
    """Let every retriever rank all adapters for every query.

    Raises:
        QueryError: answers are known, but no adapter that the queries grade is in the library.
    """
    notes = _checked(corpus, queries)
    graded = any(query.grades for query in queries)
    qrels = Qrels(corpus, queries) if graded else None
    texts = [query.text for query in queries]
    rankings: dict[str, list[list[int]]] = {}
    figures: dict[str, list[dict[str, Float[np.ndarray, " queries"]]]] = {}
    for done, retriever in enumerate(retrievers):
        note(f"asking {retriever.name}", done, len(retrievers))
        scores = retriever.scores(texts)
        rankings.setdefault(retriever.name, [corpus.ranked(row) for row in scores])
        if qrels is not None:
            figures.setdefault(retriever.name, []).append(qrels.figures(scores))
    note("", len(retrievers), len(retrievers))
    means = {
        name: {measure: np.mean([draw[measure] for draw in draws], axis=0) for measure in draws[0]}
        for name, draws in figures.items()
    }
    return Evaluation(corpus, tuple(queries), rankings, means, notes)


def require_answers(corpus: Corpus, queries: Sequence[JudgedQuery]) -> None:
    """Check that there are answers to measure by.

    Raises:
        QueryError: no query has known answers, or none of those is in the library.
    """
    if not any(query.grades for query in queries):
        raise QueryError(
            f"none of the {len(queries)} queries has known answers: write them down, as 'relevant' or, in CSV, as"
            " adapter and grade"
        )
    _checked(corpus, queries)


def _checked(corpus: Corpus, queries: Sequence[JudgedQuery]) -> tuple[str, ...]:
    unknown = corpus.unknown(queries)
    graded = {name for query in queries for name in query.grades}
    if graded and len(unknown) == len(graded):
        raise QueryError(
            f"none of the {len(graded)} adapters that the queries grade is in the library, such as {unknown[0]}:"
            " use the names that `lorascope list` shows"
        )
    if not unknown:
        return ()
    shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
    return (f"{len(unknown)} of {len(graded)} graded adapters are not in the library and count as missed: {shown}",)
