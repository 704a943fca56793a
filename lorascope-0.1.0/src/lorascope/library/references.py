"""How other programs name an adapter: by a hash, a site's numbers, a file's name or its path."""

from __future__ import annotations

import json
from collections.abc import Iterable

from lorascope.adapters.folder import SAFETENSORS
from lorascope.errors import place_of
from lorascope.library.database import Database

_AMONG = "IN (SELECT value FROM json_each(?))"
_CIVITAI = " || '@' || ".join(f"json_extract(facts, '$.claims.civitai_{part}.value')" for part in ("model", "version"))
_PATH = "replace(path, char(92), '/')"
_FILE = f"substr({_PATH}, length(rtrim({_PATH}, replace({_PATH}, '/', ''))) + 1)"
_HASH = "key LIKE 'sha256:%' AND"
_QUERIES = {
    "sha256": (f"SELECT substr(key, 8), key, '' FROM adapters WHERE {_HASH} substr(key, 8) {_AMONG}",),
    "autov2": (f"SELECT substr(key, 8, 10), key, '' FROM adapters WHERE {_HASH} substr(key, 8, 10) {_AMONG}",),
    "autov3": (f"SELECT json_extract(facts, '$.autov3') AS hash, key, '' FROM adapters WHERE hash {_AMONG}",),
    "name": (
        f"SELECT name, key, '' FROM adapters WHERE name {_AMONG}",
        f"SELECT {_FILE} AS file, key, {_PATH} FROM adapters JOIN files ON adapter = id WHERE file {_AMONG}",
    ),
    "path": (f"SELECT path, key, '' FROM adapters JOIN files ON adapter = id WHERE path {_AMONG}",),
    "civitai": (
        f"SELECT substr(key, 9), key, '' FROM adapters WHERE key LIKE 'civitai:%' AND substr(key, 9) {_AMONG}",
        f"SELECT {_CIVITAI} AS number, key, '' FROM adapters WHERE number {_AMONG}",
    ),
}  # fmt: skip
"""For each kind, what finds the values, the adapters that have them, and the paths of those."""
REFERENCES = tuple(_QUERIES)
"""``sha256``; ``autov2`` and ``autov3``, Civitai's short hashes (10 digits of the file's SHA-256, 12 of that of the
tensors); ``name``, of the adapter or a file, also with the last folders before it; ``path``; ``civitai``, a model's and
a version's number as ``MODEL@VERSION``."""


def look_up(db: Database, references: Iterable[str]) -> dict[str, list[str]]:
    """The keys of the adapters that each reference means, such as ``autov2:1A2B3C4D5E``; several share a name."""
    asked = dict.fromkeys(references)
    found: dict[str, list[str]] = {reference: [] for reference in asked}
    by_kind: dict[str, list[str]] = {}
    for reference in asked:
        by_kind.setdefault(reference.partition(":")[0], []).append(reference)
    for kind, ones in by_kind.items():
        spelt = {reference: _spellings(kind, reference.partition(":")[2]) for reference in ones}
        values = json.dumps([value for spellings in spelt.values() for value in spellings])
        rows = [row for query in _QUERIES.get(kind, ()) for row in db.rows(query, [values])]
        for reference, spellings in spelt.items():
            tail = "/" + spellings[-1] if kind == "name" else ""
            keys = (key for value, key, path in rows if value in spellings and (not path or f"/{path}".endswith(tail)))
            found[reference] = list(dict.fromkeys(keys))
    return found


def _spellings(kind: str, value: str) -> list[str]:
    """A value as it is stored; a file's name with its ending, and at last with the folders that were given."""
    if kind in ("sha256", "autov2", "autov3"):
        return [value.lower()[:12] if kind == "autov3" else value.lower()]
    if kind == "path":
        return [place_of(value)]
    if kind == "name":
        whole = value.replace("\\", "/")
        whole = whole if whole.endswith(SAFETENSORS) else whole + SAFETENSORS
        return [value, whole.rpartition("/")[2], whole]
    return [value]
