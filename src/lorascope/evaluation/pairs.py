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
from reprlib import repr as shown
from typing import Any, cast

from lorascope.caches import write_whole
from lorascope.errors import OutputError, QueryError
from lorascope.evaluation.queries import readable

_BEST = 3
"""How many adapters a side shows, as in the paper's study."""


@dataclass(frozen=True)
class StudyPair:
    """What two retrievers answer to one query: adapter keys, best first."""

    query: str
    ours: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """Two retrievers by name, and what they answer."""

    ours: str
    other: str
    pairs: tuple[StudyPair, ...]

    @property
    def digest(self) -> str:
        """Of all that is asked: answers belong to these pairs and no others."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]

    def write(self, path: Path) -> None:
        """Write the file that :func:`read_study` reads, in place of an older study if there is one.

        Raises:
            OutputError: it cannot be written, or a file of another kind is there, such as the rankings themselves.
        """
        if path.is_file() and path.stat().st_size and not _is_study(path):
            raise OutputError(f"{path} holds something else than a study and stays as it is: choose another place")
        write_whole(path, json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n")


def draw_up(rankings: Path, ours: str, other: str) -> Study:
    """Set two retrievers against each other, as ``lorascope evaluate --rankings`` wrote down what they found.

    Queries that both answer alike, or that one does not answer, make no pair.

    Raises:
        QueryError: the file cannot be read, does not have both retrievers, or no query makes a pair.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for place, line in enumerate(_text(rankings).split("\n"), 1):
        if not line.strip():
            continue
        query, retriever, keys = _ranking(f"{rankings}, line {place}", line)
        found.setdefault(retriever, {}).setdefault(query, keys[:_BEST])
    for name in (ours, other):
        if name not in found:
            raise QueryError(f"{rankings} holds no rankings of {name!r}, but of {', '.join(found) or 'none'}")
    both = [(query, keys, found[other].get(query, ())) for query, keys in found[ours].items()]
    pairs = tuple(StudyPair(query, one, another) for query, one, another in both if one and another and one != another)
    if not pairs:
        raise QueryError(f"{ours} and {other} answer all of {len(both)} queries alike: give more or other queries")
    return Study(ours, other, pairs)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"{path} cannot be read ({error}): write it with `lorascope evaluate --rankings`") from error


def _ranking(place: str, line: str) -> tuple[str, str, tuple[str, ...]]:
    try:
        entry = json.loads(line)
        query, retriever, keys = entry["query"], entry["retriever"], entry["adapters"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise QueryError(
            f"{place}, is no ranking ({error}): write the file with `lorascope evaluate --rankings`"
        ) from error
    return readable(place, "the query", query), readable(place, "the retriever", retriever), _keys(place, keys)


def read_study(path: Path) -> Study:
    """Read the pairs of a study.

    Raises:
        QueryError: the file cannot be read or is not of that form; the message names the pair.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise QueryError(f"{path} cannot be read as JSON ({error}): make one with `lorascope study`") from error
    fields: dict[str, Any] = data if isinstance(data, dict) else {}
    entries = fields.get("pairs")
    if not isinstance(entries, list) or not entries:
        raise QueryError(f"{path} holds no pairs: make one with `lorascope study`")
    pairs = tuple(_pair(f"{path}, pair {place}", entry) for place, entry in enumerate(cast("list[object]", entries)))
    ours, other = (readable(str(path), f"the name of {side}", fields.get(side, side)) for side in ("ours", "other"))
    return Study(ours, other, pairs)


def _is_study(path: Path) -> bool:
    try:
        read_study(path)
    except QueryError:
        return False
    return True


def _pair(place: str, entry: object) -> StudyPair:
    fields = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    query, ours, other = (fields.get(name) for name in ("query", "ours", "other"))
    asked = readable(place, "the query", query)
    if not asked.strip() or not ours or not other:
        raise QueryError(f"{place}: {shown(entry)} lacks a query or a list of adapter keys on both sides")
    return StudyPair(asked, _keys(place, ours), _keys(place, other))


def _keys(place: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise QueryError(f"{place}: {shown(value)} is no list of adapter keys: write [key, ...], best first")
    return tuple(readable(place, "an adapter key", key) for key in cast("list[object]", value))
