"""Search by behaviour, by words and by weights on the shipped world: the leaderboard of docs/benchmark.md.

    python -m benchmarks.leaderboard LIBRARY

*minilm, all words* is a text retriever that reads all that is written about an adapter: title, description, tags and
trigger words, as Stylus does (Luo et al. 2024), but without its rewriting of descriptions by a vision model. *guess
from weights* ranks by a Direction that nobody measured: that of `benchmarks.trials`, from the adapter's change of the
weights and the measured Directions of the others. LIBRARY holds the shipped adapters, measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np

from benchmarks.machine import describe as machine
from benchmarks.markdown import table
from benchmarks.trials import guessed_directions
from lorascope import Library
from lorascope.evaluation import load_queries
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.lineup import lineup, text_retrievers
from lorascope.evaluation.measures import MAIN
from lorascope.evaluation.retrievers import Scores
from lorascope.evaluation.run import evaluate
from lorascope.evaluation.statistics import Interval
from lorascope.evaluation.store import LabStore
from lorascope.evaluation.text import STANDING_IN, Dense, TextModel
from lorascope.search import Searcher

_SPLITS = ("fresh", "test")


@final
class Guess:
    """Cosines of queries with Directions that are guessed from weights."""

    name = "guess from weights"

    def __init__(self, searcher: Searcher) -> None:
        """Guess the Direction of every adapter, itself left out."""
        self._searcher = searcher
        guessed = guessed_directions(searcher.library)
        self._directions = np.stack([guessed[name] for name in searcher.matrix.names])

    def scores(self, texts: Sequence[str]) -> Scores:
        """Cosines, -1 to 1."""
        return np.stack([self._searcher.vector(text) for text in texts]).astype(float) @ self._directions.T


def report(path: Path) -> str:
    """The table in Markdown."""
    with Library(path) as library, LabStore(library) as store:
        searcher = Searcher(library)
        corpus = Corpus.of(searcher)
        words = [replace(one, description=" ".join([one.description, *one.names])) for one in corpus.words]
        every = Dense(corpus.described(words), replace(TextModel.load(STANDING_IN), name="minilm, all words"), store)
        asked = [*lineup(searcher, corpus, text_retrievers(corpus, store)), every, Guess(searcher)]
        found = {split: evaluate(corpus, load_queries("miniature", split=split), asked) for split in _SPLITS}
    figures = [
        {name: one.clusters.interval(values) for name, values in one.measure(MAIN).items()} for one in found.values()
    ]
    best = sorted(figures[0], key=lambda name: -figures[0][name].value)
    counts = [f"{split}: {len(one.queries)} queries in {one.clusters.count} groups" for split, one in found.items()]
    rows = [(name, *(_shown(one[name]) for one in figures)) for name in best]
    columns = ("system", *(f"{MAIN}, {split}" for split in _SPLITS))
    return f"{table(columns, rows)}\n{'; '.join(counts)}; {len(corpus)} adapters; {machine()}."


def _shown(value: Interval) -> str:
    return f"{value.value:.3f} ({value.lower:.3f} to {value.upper:.3f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    print(report(parser.parse_args().library))


if __name__ == "__main__":
    main()
