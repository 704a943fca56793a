"""How often clear and likely are said where nothing answers, and where something does.

    python -m benchmarks.clarity LIBRARY

LIBRARY holds the shipped world, as `lorascope demo` leaves it. The queries without an answer lie in
data/null_queries.toml; none of them is among the phrases that clarity is calibrated on.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lorascope import Library, PromptSet, Request, Searcher
from lorascope.evaluation.queries import load_queries
from lorascope.evaluation.statistics import wilson
from lorascope.miniature import truth
from miniature.backgrounds import BACKGROUNDS
from miniature.objects import CATEGORIES
from miniature.scenes import COLOURS
from miniature.vocabulary import WHERE

_NULL = Path(__file__).parent / "data" / "null_queries.toml"
_SCENES = 150
_SEED = 11


def section(searcher: Searcher) -> str:
    """The rates of each word as a Markdown table, with 95% intervals (Wilson) over the queries."""
    size = len(searcher.matrix)
    precisions = Counter(searcher.library.signatures.precisions(searcher.stored.protocol.digest).values())
    measured = ", ".join(f"{count} at {precision}" for precision, count in precisions.most_common())
    text = (
        f"What the best of {size} adapters ({measured}) is called, over all queries and without thresholds. All of"
        " these queries were in view when the method was chosen, on this one world; no rate is known for other"
        " libraries.\n\n"
    )
    lines = ["| queries | n | clear | clear or likely |", "|---|---|---|---|"]
    nulls = null_queries()
    everything = [query for queries in nulls.values() for query in queries]
    for name, queries in {**nulls, "**all without an answer**": everything, **answered()}.items():
        words = called(searcher, queries)
        clear, likely = words.count("clear"), words.count("clear") + words.count("likely")
        lines.append(f"| {name} | {len(words)} | {_share(clear, len(words))} | {_share(likely, len(words))} |")
    return text + "\n".join(lines) + "\n"


def null_queries() -> Mapping[str, Sequence[str]]:
    """Queries that no adapter of the shipped world answers, by group."""
    reference = set(PromptSet.load("miniature-reference").texts)
    kinds = [kind for trio in CATEGORIES.values() for kind in trio]
    scenes = [f"{colour} {kind} {WHERE[place]}" for colour in COLOURS for kind in kinds for place in BACKGROUNDS]
    scenes = [scene for scene in scenes if scene not in reference]
    drawn = np.random.default_rng(_SEED).choice(len(scenes), _SCENES, replace=False)
    return {
        "scenes in the encoder's words": [scenes[place] for place in drawn],
        **tomllib.loads(_NULL.read_text("utf-8")),
        "effects that no adapter has": truth()["unanswered"],
    }


def answered() -> Mapping[str, Sequence[str]]:
    """Queries that some adapter answers, by split; those in words that the encoder never saw apart."""
    groups: dict[str, list[str]] = {}
    for split in ("dev", "test"):
        for query in load_queries("miniature", split=split):
            name = f"answered, {split}" + (", in words that the encoder never saw" if query.kind == "unseen" else "")
            groups.setdefault(name, []).append(query.text)
    return groups


def called(searcher: Searcher, queries: Iterable[str]) -> list[str | None]:
    """What the best hit of each query is called."""
    return [searcher.search(Request(query, limit=1, everything=True)).hits[0].clarity for query in queries]


def _share(count: int, total: int) -> str:
    low, high = wilson(count, total)
    return f"{count / total:.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    with Library(sys.argv[1]) as library:
        print(section(Searcher(library)))
