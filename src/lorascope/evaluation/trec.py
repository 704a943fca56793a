"""Run files in TREC's format, so that other systems can be compared.

One hit a line: ``query Q0 adapter rank score tag``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float

from lorascope.caches import write_whole
from lorascope.errors import QueryError
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.retrievers import Scores

_FIELDS = 6
DEPTH = 20
"""How many hits of each ranking are written."""


def trec_id(text: str) -> str:
    """The id of a query, or the name of a retriever, without white space, which TREC's format does not allow.

    Examples:
        >>> trec_id("pencil drawing")
        'pencil-drawing'
    """
    return "-".join(text.split())


def write_run(
    path: Path, corpus: Corpus, queries: Sequence[JudgedQuery], rankings: Mapping[str, Sequence[Sequence[int]]]
) -> None:
    """Write the first hits of some retrievers; the tag says whose they are.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = [
        f"{trec_id(query.id)} Q0 {corpus.keys[row]} {rank} {DEPTH - rank + 1} {trec_id(name)}\n"
        for name, ranked in rankings.items()
        for query, rows in zip(queries, ranked, strict=True)
        for rank, row in enumerate(rows[:DEPTH], 1)
    ]
    write_whole(path, "".join(lines))


@final
class TrecRun:
    """What another system found, as a retriever. Its rankings are by score, as trec_eval reads a run."""

    def __init__(self, name: str, rows: Mapping[str, Float[np.ndarray, " adapters"]], size: int) -> None:
        self.name = name
        self._rows, self._nothing = rows, np.full(size, -np.inf)

    def scores(self, texts: Sequence[str]) -> Scores:
        """Its scores; adapters that it does not list are left out, and so are all for a query that it does not have."""
        return np.stack([self._rows.get(text, self._nothing) for text in texts])


def read_runs(path: Path, corpus: Corpus, queries: Sequence[JudgedQuery]) -> list[TrecRun]:
    """The runs of a file, one for each tag; adapters go by name or key. Queries that are not asked are passed over.

    Raises:
        QueryError: the file cannot be read, a line of it is wrong, or it answers no query; the message names the line.
    """
    asked = {trec_id(query.id): query.text for query in queries}
    place_of = {key: place for place, key in enumerate(corpus.keys)}
    found: dict[str, dict[str, Float[np.ndarray, " adapters"]]] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        query, name, score, tag = _hit(f"{path}, line {number}", line)
        key = corpus.find(name)
        if key is None:
            raise QueryError(f"{path}, line {number}: there is no adapter {name!r} in the library: name it by its key")
        if query in asked:
            row = found.setdefault(tag, {}).setdefault(asked[query], np.full(len(corpus), -np.inf))
            row[place_of[key]] = score
    if not found:
        raise QueryError(
            f"{path} answers none of the {len(queries)} queries: their ids are such as {next(iter(asked))!r}"
        )
    return [TrecRun(tag, rows, len(corpus)) for tag, rows in found.items()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"the run {path} cannot be read ({error}): give a file in TREC's format") from error


def _hit(place: str, line: str) -> tuple[str, str, float, str]:
    """Query, adapter, score and tag of a line."""
    fields = line.split()
    try:
        if len(fields) != _FIELDS:
            raise ValueError(f"it has {len(fields)} fields")
        score = float(fields[4])
        if not math.isfinite(score):
            raise ValueError(f"the score is {score}")
    except ValueError as error:
        raise QueryError(f"{place} is no hit ({error}): write `query Q0 adapter rank score tag`") from error
    return fields[0], fields[2], score, fields[5]
