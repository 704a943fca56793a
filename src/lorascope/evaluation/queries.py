"""Queries, with or without known answers, from files: JSON, JSON lines or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from reprlib import repr as shown
from typing import Any, cast

from lorascope.errors import QueryError
from lorascope.search import Query

HIGHEST_GRADE = 4
"""Grades are whole numbers from 0, "does not answer", to this."""
SHIPPED = ("miniature", "sdxl")
"""Query sets that come with lorascope: the graded ones of the shipped world, and ungraded ones for SDXL libraries."""

_GRADED = (("relevant", HIGHEST_GRADE), ("kept", 2))
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and what stands for half of a character."""

Entry = tuple[str, Mapping[str, Any]]
"""A place in a file, in words, and the fields there."""


@dataclass(frozen=True)
class JudgedQuery:
    """A query and the grade of each adapter that answers it.

    Attributes:
        id: its name, unique in its set.
        text: what is asked, as a person would type it.
        kind: what kind of query it is, such as ``style`` or ``paraphrase``; tables are split by it.
        grades: by adapter name or key; adapters that are not named have grade 0. Empty if nothing is known.
        split: which part of a divided set it belongs to, such as ``dev`` or ``test``, else "".
        group: queries of one group ask for the same thing, so they are resampled together.
        kept: a second grade by adapter, 0 to 2: whether the scene that was asked for is still there. Empty if unknown.
    """

    id: str
    text: str
    kind: str = "query"
    grades: Mapping[str, int] = field(default_factory=dict[str, int])
    split: str = ""
    group: str = ""
    kept: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def cluster(self) -> str:
        """The group, or else the adapters that answer best: queries with the same answer stand or fall together."""
        best = max(self.grades.values(), default=0)
        return self.group or " ".join(sorted(n for n, g in self.grades.items() if g == best)) or self.id


def load_queries(source: str | Path, *, split: str = "") -> list[JudgedQuery]:
    """Read queries.

    Args:
        source: ``miniature`` or ``sdxl`` for a set that ships; or a file. ``.jsonl`` holds one object a line, ``.json``
            a list of them (or an object with the list as "queries"): ``{"text": ..., "id": ..., "kind": ...,
            "split": ..., "group": ..., "relevant": {adapter: grade}, "kept": {adapter: grade}}``, of which only the
            text is required. ``.csv`` has the columns ``query`` and, if there are grades, ``adapter`` and ``grade``,
            one line for each graded adapter; ``id``, ``kind``, ``split`` and ``group`` as above.
        split: only the queries of this part; all of them if "".

    Raises:
        QueryError: the file cannot be read, or a line of it is wrong; the message names the line.
    """
    found = _merged(source, _csv(source)) if str(source).endswith(".csv") else _unique(source, _entries(source))
    chosen = [query for query in found if split in ("", query.split)]
    if not found:
        raise QueryError(f"{source} holds no queries: write one object a line, such as {{'text': 'pencil drawing'}}")
    if not chosen:
        parts = ", ".join(sorted({query.split for query in found if query.split}))
        remedy = f"use one of {parts}" if parts else "leave --split out, as none of its queries names a part"
        raise QueryError(f"{source} holds no queries of the part {split!r}: {remedy}")
    return chosen


def _entries(source: str | Path) -> Iterator[Entry]:
    if source in SHIPPED:
        yield from _shipped(str(source))
    elif str(source).endswith(".jsonl"):
        # split at line feeds alone: JSON allows other ends of lines, such as U+2028, within a text
        for number, line in enumerate(_text(source).split("\n"), 1):
            if line.strip():
                yield f"{source}, line {number}", _object(f"{source}, line {number}", _json(source, line, number))
    else:
        data = _json(source, _text(source))
        entries = cast("Any", data).get("queries") if isinstance(data, dict) else data
        if not isinstance(entries, list):
            raise QueryError(f"{source} holds no list of queries: write [{{'text': ..., 'relevant': {{name: grade}}}}]")
        for place, entry in enumerate(cast("list[object]", entries), 1):
            yield f"{source}, entry {place}", _object(f"{source}, entry {place}", entry)


def _shipped(name: str) -> Iterator[Entry]:
    if name == "miniature":
        from lorascope.miniature import truth

        world = truth()
        kept = {name: facts["kept"] for name, facts in world["adapters"].items() if "kept" in facts}
        for entry in world["queries"]:
            yield name, entry | {"kept": kept}
        answers = {entry["group"]: entry["relevant"] for entry in world["queries"]}
        for kind, groups in _data("miniature-fresh").items():
            for group, texts in groups.items():
                facts = {"kind": kind, "split": "fresh", "group": group, "relevant": answers[group], "kept": kept}
                yield from ((name, {"text": text} | facts) for text in texts)
        return
    for kind, texts in _data(name).items():
        yield from ((name, {"text": text, "kind": kind}) for text in texts)


def _data(name: str) -> dict[str, Any]:
    return tomllib.loads((files("lorascope") / "evaluation" / "data" / f"{name}.toml").read_text("utf-8"))


def _text(source: str | Path) -> str:
    try:
        return Path(source).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(
            f"the queries {str(source)!r} cannot be read ({error}): give a .jsonl, .json or .csv file, or one of"
            f" {', '.join(SHIPPED)}"
        ) from error


def _json(source: str | Path, text: str, line: int = 0) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f"{source}, line {line}," if line else f"{source}"
        raise QueryError(f"{place} cannot be read as JSON ({error}): mend it, or use CSV") from error


def _object(place: str, entry: object) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise QueryError(f"{place}: {shown(entry)} is no object: write {{'text': ..., 'relevant': {{name: grade}}}}")
    return cast("dict[str, Any]", entry)


def _unique(source: str | Path, entries: Iterator[Entry]) -> list[JudgedQuery]:
    found: dict[str, tuple[str, JudgedQuery]] = {}
    for place, entry in entries:
        query = _query(place, entry)
        if query.id in found:
            raise QueryError(f"{place}: the id {query.id!r} is that of {found[query.id][0]}, too: give each its own")
        found[query.id] = (place.removeprefix(f"{source}, "), query)
    return [query for _, query in found.values()]


def _query(place: str, entry: Mapping[str, Any]) -> JudgedQuery:
    text: object = entry.get("text")
    if not isinstance(text, str) or not text.strip():
        raise QueryError(f"{place}: the text is {shown(text)}: write what is asked, such as 'pencil drawing'")
    _check_phrase(place, readable(place, "the text", text))
    relevant, kept = (_grades(f"{place} ({text!r})", entry, *kind) for kind in _GRADED)
    id_, kind, split, group = (_label(place, entry, name) for name in ("id", "kind", "split", "group"))
    return JudgedQuery(id_ or text, text, kind or "query", relevant, split, group, kept)


def readable(place: str, what: str, value: object) -> str:
    """Return a text as it is, if measures in C, databases and terminals can all take it.

    Raises:
        QueryError: it is no text, or holds a control character or half of a character.
    """
    if not isinstance(value, str):
        raise QueryError(f"{place}: {what} is {shown(value)}: write a text")
    if found := _UNFIT.search(value):
        raise QueryError(f"{place}: {what} {shown(value)} holds {found[0]!r}, which cannot be read: leave it out")
    return value


def _label(place: str, entry: Mapping[str, Any], name: str) -> str:
    value: object = entry.get(name)
    return "" if value is None else readable(place, f"the {name}", str(value) if type(value) is int else value)


def _grades(place: str, entry: Mapping[str, Any], name: str, highest: int) -> dict[str, int]:
    found: Any = entry.get(name, {})
    if not isinstance(found, dict):
        raise QueryError(f"{place}: {name} is {shown(found)}: write {{adapter name: grade}}")
    grades = cast("dict[str, Any]", found)
    return {readable(place, "the adapter", one): _grade(place, grade, highest) for one, grade in grades.items()}


def _check_phrase(place: str, text: str) -> None:
    """One phrase, so that every retriever is asked the same: text retrievers know no signs and weights."""
    try:
        terms = Query.parse(text).terms
    except QueryError as error:
        raise QueryError(f"{place}: {error}") from error
    if [term.weight for term in terms] != [1]:
        raise QueryError(f"{place}: {text!r} adds or weighs phrases, which text retrievers cannot: ask for one thing")


def _grade(place: str, grade: object, highest: int) -> int:
    if isinstance(grade, bool) or not isinstance(grade, int) or not 0 <= grade <= highest:
        raise QueryError(f"{place}: grades must be 0 to {highest}, not {shown(grade)}")
    return grade


def _csv(source: str | Path) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(_text(source)))
    try:
        if "query" not in (reader.fieldnames or ()):
            columns = ", ".join(reader.fieldnames or ()) or "none"
            raise QueryError(f"{source} has no column 'query' (its columns: {columns}): begin with query,adapter,grade")
        for row in reader:
            place = f"{source}, line {reader.line_num}"
            if None in row or None in row.values():
                raise QueryError(f"{place} has more or fewer fields than the first line: mend it")
            yield place, {name: value.strip() for name, value in row.items()}
    except csv.Error as error:
        place = f"{source}, line {reader.line_num},"
        raise QueryError(f"{place} cannot be read as CSV ({error}): mend its quotes") from error


def _merged(source: str | Path, rows: Iterator[tuple[str, dict[str, str]]]) -> list[JudgedQuery]:
    """Lines of one query, each with a graded adapter, become one query."""
    found: dict[str, JudgedQuery] = {}
    for place, row in rows:
        query = _query(place, {"text": row["query"], "relevant": _graded(place, row)} | _named(row))
        known = found.get(query.id)
        if known is None:
            found[query.id] = query
            continue
        repeated = not query.grades or set(known.grades) & set(query.grades)
        if known.text != query.text or repeated:
            raise QueryError(
                f"{place}: the id {query.id!r} is there twice: give each query its own, and each adapter once"
            )
        found[query.id] = replace(known, grades={**known.grades, **query.grades})
    return list(found.values())


def _named(row: dict[str, str]) -> dict[str, str]:
    return {name: row[name] for name in ("id", "kind", "split", "group") if row.get(name)}


def _graded(place: str, row: dict[str, str]) -> dict[str, int]:
    if not row.get("adapter"):
        return {}
    try:
        return {row["adapter"]: int(row.get("grade", ""))}
    except ValueError:
        raise QueryError(f"{place}: the grade is {shown(row.get('grade'))}: write 0 to {HIGHEST_GRADE}") from None


def kinds(queries: Sequence[JudgedQuery]) -> list[str]:
    """The kinds of some queries, in the order in which they come up."""
    return list(dict.fromkeys(query.kind for query in queries))
