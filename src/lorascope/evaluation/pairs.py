"""Pairs for a blind study: for each query, the first adapters of two retrievers.

The file is JSON::

    {"ours": "behaviour", "other": "minilm",
     "pairs": [{"query": "pencil drawing", "ours": ["sha256:...", ...], "other": ["sha256:...", ...]}, ...]}

``ours`` and ``other`` name the retrievers, and in each pair hold adapter keys, best first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from lorascope.caches import whole
from lorascope.errors import QueryError

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

    @property
    def digest(self) -> str:
        """Of all that is asked: answers belong to these pairs and no others."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]

    def write(self, path: Path) -> None:
        """Write the file that :func:`read_study` reads.

        Raises:
            OutputError: it cannot be written.
        """
        with whole(path) as partial:
            partial.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n", "utf-8")


def draw_up(rankings: Path, ours: str, other: str) -> Study:
    """Set two retrievers against each other, as ``lorascope evaluate --rankings`` wrote down what they found.

    Queries that both answer alike, or that one does not answer, make no pair.

    Raises:
        QueryError: the file cannot be read, does not have both retrievers, or no query makes a pair.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for place, line in enumerate(_text(rankings).splitlines(), 1):
        query, retriever, keys = _ranking(rankings, place, line)
        found.setdefault(retriever, {}).setdefault(query, keys[:_BEST])
    for name in (ours, other):
        if name not in found:
            raise QueryError(f"{rankings} holds no rankings of {name!r}, but of {', '.join(found) or 'nobody'}")
    both = [(query, keys, found[other].get(query, ())) for query, keys in found[ours].items()]
    pairs = tuple(Pair(query, one, another) for query, one, another in both if one and another and one != another)
    if not pairs:
        raise QueryError(f"{ours} and {other} answer all of {len(both)} queries alike: give more or other queries")
    return Study(ours, other, pairs)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"{path} cannot be read ({error}): write it with `lorascope evaluate --rankings`") from error


def _ranking(path: Path, place: int, line: str) -> tuple[str, str, tuple[str, ...]]:
    try:
        entry = json.loads(line)
        query, retriever, keys = entry["query"], entry["retriever"], entry["adapters"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise QueryError(
            f"{path}, line {place}, is no ranking ({error}): write the file with `lorascope evaluate --rankings`"
        ) from error
    return str(query), str(retriever), _keys(keys)


def read_study(path: Path) -> Study:
    """Read the pairs of a study.

    Raises:
        QueryError: the file cannot be read or is not of that form; the message names the entry.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
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
