"""Queries with known answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorascope.errors import QueryError


@dataclass(frozen=True)
class Judgement:
    """A query and the grade (0, 1 or 2) of each adapter that answers it, by adapter name; others have grade 0."""

    text: str
    kind: str
    relevant: Mapping[str, int]


def read_judgements(path: Path) -> list[Judgement]:
    """Read a JSON file: a list of ``{"text", "kind", "relevant": {name: grade}}``, or an object with it as "queries".

    Raises:
        QueryError: the file cannot be read, or an entry is not of that form; the message names the entry.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise QueryError(f"{path} cannot be read as JSON ({error}): give a file with a list of queries") from error
    entries = data.get("queries") if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries:
        raise QueryError(f"{path} holds no list of queries: write [{{'text': ..., 'relevant': {{name: grade}}}}, ...]")
    return [_judgement(path, place, entry) for place, entry in enumerate(entries)]


def _judgement(path: Path, place: int, entry: Any) -> Judgement:
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    text, relevant = fields.get("text"), fields.get("relevant")
    if not isinstance(text, str) or not text.strip() or not isinstance(relevant, dict):
        raise QueryError(f"{path}, entry {place}: {entry!r} lacks a text or relevant adapters: give both")
    wrong = {name: grade for name, grade in relevant.items() if grade not in (0, 1, 2)}
    if wrong:
        raise QueryError(f"{path}, entry {place} ({text!r}): grades must be 0, 1 or 2, not {wrong}")
    return Judgement(text, str(fields.get("kind", "query")), relevant)
