"""Adapters of a library: what is known about each, the files it is in, and how one is found by name."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Int64

from lorascope.adapters.folder import SAFETENSORS
from lorascope.errors import LibraryError, place_of
from lorascope.library.database import Database
from lorascope.library.facts import AdapterFacts
from lorascope.library.matrix import numbers
from lorascope.library.records import StoredAdapter
from lorascope.library.references import look_up
from lorascope.library.row_cache import RowCache
from lorascope.library.schema import REVISE

_BY_NAME = (
    "SELECT key, max(name = ?1), count(path) FROM adapters LEFT JOIN files ON adapter = id"
    " WHERE key = ?1 OR name = ?1 OR path = ?2"
    " OR (length(?1) >= 6 AND (substr(key, 1, length(?1)) = ?1 OR substr(key, 8, length(?1)) = ?1)) GROUP BY key"
)
_WORDS = "replace(replace({0}, '_', ' '), '-', ' ') LIKE ?1 ESCAPE '!'"
_FILE = "substr(path, length(rtrim(path, replace(path, '/', ''))) + 1)"
_TITLE = "json_extract(facts, '$.claims.title.value')"
_CALLED = (
    f"SELECT key FROM adapters LEFT JOIN files ON adapter = id WHERE {_WORDS.format('name')} OR {_WORDS.format(_FILE)}"
    f" OR {_WORDS.format(_TITLE)}"
    " OR (instr(?2, '/') AND instr(path, ?2)) GROUP BY id"
    f" ORDER BY name <> ?2, NOT {_WORDS.format('name')}, length(name), name LIMIT ?3"
)
_BY_FILE = "SELECT DISTINCT key FROM adapters JOIN files ON adapter = id WHERE substr(path, -length(?1)) = ?1"

_CACHE = RowCache[StoredAdapter](2000)


@final
class Adapters:
    """The adapters of a library by key, and the files that hold them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, adapters: Iterable[StoredAdapter], stamps: Mapping[str, tuple[int, int]]) -> None:
        """Record adapters and their files.

        Args:
            adapters: what is known about each; name and facts of a known key are updated.
            stamps: size and mtime_ns of each path, by which a file is recognised without reading it.
        """
        with self._db.transaction() as db:
            for adapter in adapters:
                db.execute(
                    "INSERT INTO adapters (key, name, family, facts, added) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key)"
                    " DO UPDATE SET name = excluded.name, family = excluded.family, facts = excluded.facts,"
                    " added = excluded.added",
                    (adapter.key, adapter.name, adapter.family, adapter.facts.to_json(), time.time()),
                )
                (row,) = db.execute("SELECT id FROM adapters WHERE key = ?", (adapter.key,)).fetchone()
                db.executemany(
                    "INSERT INTO files (path, adapter, size, mtime_ns) VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE"
                    " SET adapter = excluded.adapter, size = excluded.size, mtime_ns = excluded.mtime_ns",
                    [(path, row, *stamps.get(path, (0, 0))) for path in adapter.paths],
                )
            db.execute(REVISE)

    def all(self) -> dict[str, StoredAdapter]:
        """All adapters by key, in order of name."""
        return {adapter.key: adapter for _, adapter, _ in self._read("", [])}

    def get(self, keys: Iterable[str]) -> dict[str, StoredAdapter]:
        """Some adapters by key, in order of name; keys that are not here are left out."""
        return {one.key: one for one in self._some("key", list(keys)).values()}

    def numbered(self, ids: Iterable[int]) -> dict[int, StoredAdapter]:
        """Some adapters by the library's numbers of them, of those that are still there."""
        return self._some("id", list(ids))

    def _some(self, column: str, values: list[Any]) -> dict[int, StoredAdapter]:
        """Adapters by number, in order of name; those that are decoded already are not read."""
        where = f"WHERE {column} IN (SELECT value FROM json_each(?)) ORDER BY name, key"
        rows = self._db.rows(f"SELECT id, {self._seal} FROM adapters {where}", [json.dumps(values)])
        known = {number: _CACHE.get(seal) for number, seal in rows}
        new = [number for number, adapter in known.items() if adapter is None]
        for number, adapter, seal in self._read("WHERE id IN (SELECT value FROM json_each(?))", [json.dumps(new)]):
            known[number] = adapter
            _CACHE.put(seal, adapter)
        return {number: adapter for number, adapter in known.items() if adapter is not None}

    @property
    def _seal(self) -> str:
        """SQL: the seals of an adapter and of its files; NULL where one is lacking."""
        seal = self._db.seal("files")
        whole = f"CASE WHEN count({seal}) = count(*) THEN coalesce(group_concat(hex({seal})), '') END"
        return f"nullif(hex({self._db.seal('adapters')}), '') || (SELECT {whole} FROM files WHERE adapter = id)"

    def _read(self, where: str, values: list[str]) -> Iterator[tuple[int, StoredAdapter, str | None]]:
        """Adapters with their numbers and seals, in order of name."""
        whole = f"json_array(json_group_array(path), min({self._db.intact('files')}))"
        columns = f"id, key, name, family, facts, (SELECT {whole} FROM files WHERE adapter = id), {self._seal}"
        rows = self._db.intact_rows("adapters", columns, f"{where} ORDER BY name, key", values)
        with self._db.decoding("adapters"):
            for number, key, name, family, facts, files, seal in rows:
                paths, intact = json.loads(files)
                self._db.check(intact is None or intact, f"a path of {name}")
                facts = AdapterFacts.from_json(facts)
                yield number, StoredAdapter(key, name, family, tuple(sorted(paths)), facts), seal

    def find(self, text: str) -> StoredAdapter:
        """One adapter by key, start of its key, name, or path; or by the name of another file that holds it.

        Of several adapters of one name, those that have a file are meant: an adapter whose file was replaced has none.
        A copy whose adapter goes by another file's name is found by its own, if nothing else is called so.

        Raises:
            LibraryError: none or several match.
        """
        matches = self._db.rows(_BY_NAME, [text, place_of(text)])
        if any(named and files for _, named, files in matches):
            matches = [match for match in matches if match[2] or not match[1]]
        keys = [key for key, *_ in matches or self._db.rows(_BY_FILE, [f"{os.sep}{text}{SAFETENSORS}"])]
        if len(keys) == 1:
            return next(iter(self.get(keys).values()))
        if keys:
            shown = ", ".join([key if "@" in key else key[:19] for key in keys[:5]] + ["..."] * (len(keys) > 5))
            raise LibraryError(f"{len(keys)} adapters are called {text!r}: give more of a key ({shown})")
        names = [name for (name,) in self._db.rows("SELECT DISTINCT name FROM adapters ORDER BY name")]
        near = [name for name in names if text.lower() in name.lower()][:5] or get_close_matches(text, names, 5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise LibraryError(
            f"{self._db.path} has no adapter {text!r}: `lorascope list --library {self._db.path}` shows all.{hint}"
        )

    def called(self, text: str, limit: int) -> list[str]:
        """Keys of adapters whose name, file name or title contains a text, or whose path does if the text has a slash.

        Underscores and hyphens count as spaces, and case does not matter. Exact and short names come first.
        """
        words = text.replace("_", " ").replace("-", " ")
        escaped = "".join(f"!{letter}" if letter in "!%" else letter for letter in words)
        return [key for (key,) in self._db.rows(_CALLED, [f"%{escaped}%", text, limit])]

    def look_up(self, references: Iterable[str]) -> dict[str, list[str]]:
        """Keys of the adapters that other programs' references mean, such as ``autov2:1A2B3C4D5E``.

        The kinds are those of :data:`lorascope.library.references.REFERENCES`. Several adapters may share a name.
        """
        return look_up(self._db, references)

    def number(self, key: str) -> int | None:
        """The library's number of an adapter, which its row of a matrix names."""
        row = self._db.row("SELECT id FROM adapters WHERE key = ?", [key])
        return row[0] if row else None

    def labels(self, ids: Iterable[int]) -> dict[int, tuple[str, str, str]]:
        """Key, name and base family of adapters by the library's numbers of them, of those that are still there."""
        where = "WHERE id IN (SELECT value FROM json_each(?))"
        rows = self._db.intact_rows("adapters", "id, key, name, family", where, [json.dumps(list(ids))])
        return {number: tuple(labels) for number, *labels in rows}

    def members(self, family: str = "", folder: Path | None = None) -> Int64[np.ndarray, " n"]:
        """Numbers of the adapters of a base family, under a folder, or both; in ascending order."""
        where, values = ["family = ?"] if family else [], [family] if family else []
        if folder is not None:
            inside = place_of(folder).rstrip(os.sep) + os.sep
            where.append("id IN (SELECT adapter FROM files WHERE path >= ? AND path < ?)")
            values += [inside, inside[:-1] + chr(ord(os.sep) + 1)]
        sql = f"SELECT group_concat(id) FROM (SELECT id FROM adapters WHERE {' AND '.join(where or ['1'])} ORDER BY id)"
        with self._db.decoding("adapters"):
            return numbers(self._db.row(sql, values)[0])

    def inside(self, folder: Path | None) -> dict[int, StoredAdapter]:
        """The adapters that have a file in a folder, by number; all without one.

        Raises:
            LibraryError: none has.
        """
        found = self.numbered(self.members(folder=folder).tolist())
        if folder is not None and not found:
            raise LibraryError(
                f"no adapter of {self._db.path} is in {folder}: `lorascope index {folder}` measures those there"
            )
        return found

    def added(self) -> dict[int, float]:
        """When each adapter was recorded, as a time stamp, by the library's number of it."""
        return dict(self._db.rows("SELECT id, added FROM adapters"))

    def stamps(self) -> dict[str, tuple[str, int, int]]:
        """Key, size and mtime_ns of every known path."""
        rows = self._db.intact_rows("files", "path, key, size, mtime_ns", "JOIN adapters ON adapter = id", [])
        return {path: (key, size, mtime_ns) for path, key, size, mtime_ns in rows}

    def kinds(self) -> dict[str, str]:
        """For each key ``family/lineage``, or the family alone where no lineage is claimed."""
        columns = "key, family, json_extract(facts, '$.claims.lineage.value')"
        rows = self._db.intact_rows("adapters", columns, "", [])
        return {key: f"{family}/{lineage}" if lineage else family for key, family, lineage in rows}

    def claimed(self, claim: str) -> dict[str, Any]:
        """What is claimed of each adapter under one name, such as ``nsfw_level``, where anything is."""
        rows = self._db.intact_rows("adapters", "key, json_extract(facts, ?)", "", [f"$.claims.{claim}.value"])
        return {key: value for key, value in rows if value is not None}
