"""Retrievers by behaviour, by nothing at all, and combined. Those that read descriptions are in ``text.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, final, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float

from lorascope.encoders.encoding import ENCODINGS, Encoding
from lorascope.errors import QueryError
from lorascope.evaluation.corpus import Corpus
from lorascope.protocol import Thresholds
from lorascope.search import Filters, Searcher

Scores = Float[np.ndarray, "queries adapters"]
"""Higher is better; -inf leaves an adapter out of the ranking."""
Filter = Literal["both", "strength", "consistency", "none"]
FILTERS: tuple[Filter, ...] = get_args(Filter)
RANDOM = "random"
_RANDOM_ORDERS = 20
_RRF = 60


@runtime_checkable
class Retriever(Protocol):
    """Ranks adapters for queries. Retrievers of one name are draws of the same thing: their figures are averaged."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def scores(self, texts: Sequence[str]) -> Scores:
        """A row for each query, a column for each adapter of the corpus."""
        ...


@final
class Behaviour:
    """The search of lorascope itself. Its name says what differs from the default search."""

    def __init__(self, searcher: Searcher, encoding: Encoding = "suffix", filters: Filter = "both") -> None:
        """Choose a query encoding, and which of the Protocol's thresholds apply."""
        changed = [f"encoding={encoding}"] * (encoding != "suffix") + [f"filter={filters}"] * (filters != "both")
        self.name = " ".join(["behaviour", *changed])
        self._searcher = searcher
        self._encoding: Encoding = encoding
        preset, free = searcher.thresholds, Thresholds()
        self._filters = Filters(
            Thresholds(
                strength_max=(preset if filters in ("both", "strength") else free).strength_max,
                consistency_min=(preset if filters in ("both", "consistency") else free).consistency_min,
            )
        )

    def scores(self, texts: Sequence[str]) -> Scores:
        """Cosines with the Directions; adapters that the thresholds hide are left out."""
        return np.stack([self._row(text) for text in texts])

    def _row(self, text: str) -> Float[np.ndarray, " adapters"]:
        found = self._searcher.select(
            self._searcher.vector(text, self._encoding), self._filters, len(self._searcher.matrix)
        )
        row = np.full(len(self._searcher.matrix), -np.inf)
        row[list(found.shown)] = list(found.shown.values())
        return row


def every_behaviour(searcher: Searcher) -> list[Behaviour]:
    """Every query encoding under every filter setting."""
    return [Behaviour(searcher, encoding, filters) for encoding in ENCODINGS for filters in FILTERS]


@final
class Random:
    """A random order, another one for each query. It finds nothing and uses every adapter alike."""

    name = RANDOM

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self._size, self._seed = len(corpus), seed

    def scores(self, texts: Sequence[str]) -> Scores:
        """Uniform numbers."""
        return np.random.default_rng(self._seed).random((len(texts), self._size))


def random_orders(corpus: Corpus) -> list[Random]:
    """As many draws as make the mean steady."""
    return [Random(corpus, seed) for seed in range(_RANDOM_ORDERS)]


@final
class Popularity:
    """The most downloaded adapters, whatever is asked."""

    name = "popularity"

    def __init__(self, corpus: Corpus) -> None:
        """Bind the corpus.

        Raises:
            QueryError: no adapter's downloads are known.
        """
        if not any(corpus.downloads):
            raise QueryError("no adapter here has a download count: popularity ranks imported libraries only")
        self._row = np.array([float(count or 0) for count in corpus.downloads])

    def scores(self, texts: Sequence[str]) -> Scores:
        """The same row for every query."""
        return np.tile(self._row, (len(texts), 1))


@final
@dataclass(frozen=True)
class Hybrid:
    """Two or more retrievers as one.

    ``rrf`` adds 1 / (60 + rank) (Cormack, Clarke and Buettcher 2009); ``sum`` adds scores that were brought to 0..1 for
    each query (CombSUM with min-max normalisation, Fox and Shaw 1994). What a retriever leaves out gets nothing of it.
    """

    rule: Literal["rrf", "sum"]
    parts: tuple[Retriever, ...]
    corpus: Corpus

    @property
    def name(self) -> str:
        """``rrf(behaviour, minilm)``."""
        return f"{self.rule}({', '.join(part.name for part in self.parts)})"

    def scores(self, texts: Sequence[str]) -> Scores:
        """Fused scores."""
        return self.fused([part.scores(texts) for part in self.parts])

    def fused(self, parts: Sequence[Scores]) -> Scores:
        """Scores of the parts as one; what every part leaves out stays out."""
        fuse = self._reciprocal if self.rule == "rrf" else self._scaled
        total = np.sum([[fuse(row) for row in scores] for scores in parts], axis=0)
        return np.where(np.all(np.isneginf(np.stack(parts)), axis=0), -np.inf, total)

    def _reciprocal(self, row: Float[np.ndarray, " adapters"]) -> Float[np.ndarray, " adapters"]:
        fused = np.zeros(len(row))
        for rank, place in enumerate(self.corpus.ranked(row), 1):
            fused[place] = 1 / (_RRF + rank)
        return fused

    @staticmethod
    def _scaled(row: Float[np.ndarray, " adapters"]) -> Float[np.ndarray, " adapters"]:
        known = row > -np.inf
        if not known.any():
            return np.zeros(len(row))
        low, high = row[known].min(), row[known].max()
        return np.where(known, (np.where(known, row, low) - low) / (high - low if high > low else 1.0), 0.0)
