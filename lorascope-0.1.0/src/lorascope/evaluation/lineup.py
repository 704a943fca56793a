"""Who takes part: the retrievers of the main table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.retrievers import Behaviour, Hybrid, Popularity, Retriever, random_orders
from lorascope.evaluation.run import Remembered
from lorascope.evaluation.store import LabStore
from lorascope.evaluation.text import BM25, STANDING_IN, Dense, Fuzzy, Keyword, TextModel
from lorascope.search import Searcher

OURS = "behaviour"


def text_retrievers(
    corpus: Corpus,
    store: LabStore,
    models: Sequence[str] = (STANDING_IN,),
    *,
    presets: Path | None = None,
    device: str = "",
    download: bool = False,
) -> list[Retriever]:
    """Dense models by name, BM25, and what LoRA managers do.

    Raises:
        QueryError: no such model.
        MissingExtra: a package of the extra ``lab`` is not installed.
    """
    dense = [Dense(corpus, TextModel.load(name, presets), store, device=device, download=download) for name in models]
    return [*dense, BM25(corpus), Keyword(corpus), Fuzzy(corpus)]


def lineup(searcher: Searcher, corpus: Corpus, texts: Sequence[Retriever], *, dense: int = 1) -> list[Retriever]:
    """Ours with and without its thresholds, the text retrievers, hybrids, popularity where it is known, and random.

    Args:
        searcher: ours.
        corpus: what is searched.
        texts: text retrievers, the dense ones first.
        dense: how many of these become half of a hybrid.
    """
    ours = Remembered(Behaviour(searcher))
    others = [Remembered(text) for text in texts]
    hybrids: list[Retriever] = [
        Hybrid(rule, (ours, other), corpus) for other in others[:dense] for rule in ("rrf", "sum")
    ]
    popular = [Popularity(corpus)] if any(corpus.downloads) else []
    unfiltered = Behaviour(searcher, filters="none")
    return [ours, unfiltered, *others, *hybrids, *popular, *random_orders(corpus)]


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared with what: ours with every other, and every hybrid with its parts."""
    parts = {name: name[name.index("(") + 1 : -1].split(", ") for name in names if "(" in name}
    hybrids = {name: halves for name, halves in parts.items() if set(halves) <= set(names)}
    others = [name for name in names if name != OURS and name not in hybrids]
    return [(OURS, name) for name in others] + [(name, part) for name, halves in hybrids.items() for part in halves]
