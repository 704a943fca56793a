"""Pairs for a blind study: for each query, the first adapters of two retrievers.

The file is JSON::

    {"ours": "suffix", "other": "query",
     "pairs": [{"query": "pencil drawing", "ours": ["sha256:...", ...], "other": ["sha256:...", ...]}, ...]}

``ours`` and ``other`` name the retrievers, and in each pair hold adapter keys, best first. Any retriever's rankings can
be written in this form.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from lorascope.encoders.encoding import Encoding
from lorascope.errors import QueryError
from lorascope.search import Filters, Searcher

_BEST = 3
"""How many adapters a side shows, as in the paper's study."""


@dataclass(frozen=True)
class Pair:
    """What two retrievers answer to one query: adapter keys, best first."""

    query: str
    ours: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """Two retrievers by name, and what they answer."""

    ours: str
    other: str
    pairs: tuple[Pair, ...]

    def write(self, path: Path) -> None:
        """Write the file that :func:`read_study` reads.

        Raises:
            QueryError: it cannot be written.
        """
        try:
            path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n", "utf-8")
        except OSError as error:
            raise QueryError(f"{path} cannot be written ({error.strerror}): choose another place") from error


def draw_up(searcher: Searcher, queries: Iterable[str], other: Encoding) -> Study:
    """Let the usual query encoding and another one answer; queries that they answer alike make no pair.

    Raises:
        QueryError: they answer every query alike.
    """
    found = [
        Pair(text, _best(searcher, text, "suffix"), _best(searcher, text, other)) for text in dict.fromkeys(queries)
    ]
    different = tuple(pair for pair in found if pair.ours != pair.other)
    if not different:
        raise QueryError(f"suffix and {other} answer all of {len(found)} queries alike: give more or other queries")
    return Study("suffix", other, different)


def _best(searcher: Searcher, text: str, encoding: Encoding) -> tuple[str, ...]:
    vector = np.asarray(searcher.vector(text, encoding))
    found = searcher.select(vector, Filters(searcher.thresholds), _BEST)
    return tuple(searcher.matrix.keys[row] for row in found.shown)


def read_study(path: Path) -> Study:
    """Read the pairs of a study.

    Raises:
        QueryError: the file cannot be read or is not of that form; the message names the entry.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise QueryError(f"{path} cannot be read as JSON ({error}): make one with `lorascope study`") from error
    fields: dict[str, Any] = data if isinstance(data, dict) else {}
    entries = fields.get("pairs")
    if not isinstance(entries, list) or not entries:
        raise QueryError(f"{path} holds no pairs: make one with `lorascope study`")
    pairs = tuple(_pair(path, place, entry) for place, entry in enumerate(entries))
    return Study(str(fields.get("ours", "ours")), str(fields.get("other", "other")), pairs)


def _pair(path: Path, place: int, entry: Any) -> Pair:
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    query, ours, other = fields.get("query"), _keys(fields.get("ours")), _keys(fields.get("other"))
    if not isinstance(query, str) or not query.strip() or not ours or not other:
        raise QueryError(f"{path}, pair {place}: {entry!r} lacks a query or a list of adapter keys on both sides")
    return Pair(query, ours, other)


def _keys(value: Any) -> tuple[str, ...]:
    """The keys, or none if it is no list of them."""
    keys = cast("list[Any]", value) if isinstance(value, list) else []
    return tuple(keys) if all(isinstance(key, str) for key in keys) else ()
