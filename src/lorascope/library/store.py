"""The Library: signatures, adapters, previews, refusals and runs in one SQLite file, the evidence in a second."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import Any, final

import numpy as np
from jaxtyping import Float32, Int64

from lorascope.caches import Note
from lorascope.errors import LibraryError, place_of
from lorascope.library.codec import FINER, columns, restore
from lorascope.library.evidence import Evidence
from lorascope.library.finding import another_lies_at, find
from lorascope.library.leases import SECONDS, ended
from lorascope.library.matrix import Matrix, numbers, read_matrix
from lorascope.library.records import (
    Preview,
    Refusal,
    StoredAdapter,
    StoredProtocol,
    StoredSignature,
)
from lorascope.library.schema import LIBRARY, attached, connect, explained, resolved, snapshot, transaction
from lorascope.library.showcase import Showcase
from lorascope.models import data_dir
from lorascope.protocol import Execution, Preset, Protocol
from lorascope.signature import Signature

BARE = ""
"""The adapter key under which pictures of the bare base model are kept."""


def default_path() -> Path:
    """Where the library lies when nobody says otherwise."""
    return data_dir() / "library.db"


@final
class Library:
    """The durable store. One per file and thread; several processes may use one file at once."""

    def __init__(self, path: str | Path | None = None, *, create: bool = False) -> None:
        """Open a library.

        Args:
            path: its file; the default place if None.
            create: make it if it does not exist.

        Raises:
            LibraryError: it does not exist, cannot be opened, or is something else.
        """
        self.path = Path(path) if path is not None else default_path()
        self._db: sqlite3.Connection = connect(self.path, LIBRARY, create=create)
        self._evidence: Evidence | None = None

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close both files."""
        if self._evidence is not None:
            self._evidence.close()
        self._db.close()

    def companion(self, kind: str) -> Path:
        """Where the companion of a kind lies: beside the file itself, by whatever links that is opened."""
        place = resolved(self.path)
        return place.with_name(f"{place.stem}.{kind}{place.suffix}")

    @property
    def evidence_path(self) -> Path:
        """Where the companion with the evidence lies."""
        return self.companion("evidence")

    @property
    def evidence(self) -> Evidence:
        """The companion, opened at first use."""
        if self._evidence is None:
            self._evidence = Evidence(self.evidence_path, create=True)
        return self._evidence

    @property
    def has_evidence(self) -> bool:
        """Whether a companion exists; a library without one can be searched, not refined."""
        return self.evidence_path.exists()

    @property
    def showcase(self) -> Showcase:
        """What a server needs to show it."""
        return Showcase(self._db, self.path)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with explained(self.path):
            return self._db.execute(sql, values).fetchall()

    def _write(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with transaction(self._db, self.path) as db:
            db.executemany(sql, rows)

    # --- Protocols ------------------------------------------------------------------------------------------------

    def add_protocol(self, protocol: Protocol, preset: Preset, *, origin: str = "") -> None:
        """Make a Protocol known; the newest use of it makes it the active one."""
        self._write(
            "INSERT INTO protocols VALUES (?, ?, ?, ?, NULL, ?) ON CONFLICT (digest)"
            " DO UPDATE SET preset = excluded.preset, added = excluded.added",
            [(protocol.digest, protocol.to_json(), preset.to_json(), origin, time.time())],
        )

    def protocols(self) -> list[StoredProtocol]:
        """All Protocols, the active one (last used) first."""
        rows = self._rows(
            "SELECT fields, preset, origin, (SELECT count(*) FROM signatures WHERE protocol = digest)"
            " FROM protocols ORDER BY added DESC"
        )
        return [StoredProtocol(Protocol.from_json(f), Preset.from_json(p), origin, n) for f, p, origin, n in rows]

    def protocol(self, name: str = "") -> StoredProtocol:
        """One Protocol by name, digest or both; without a name the active one.

        Raises:
            LibraryError: there is none, or several go by that name.
        """
        known = [stored for stored in self.protocols() if stored.adapters] or self.protocols()
        if not known:
            raise LibraryError(f"{self.path} is empty: run `lorascope index FOLDER --library {self.path}` first")
        if not name:
            return known[0]
        found = [stored for stored in known if stored.goes_by(name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(str(stored.protocol) for stored in found or known)
        problem = "several Protocols are called" if found else "no Protocol is called"
        raise LibraryError(f"{self.path}: {problem} {name!r}: choose one of {names}")

    def put_baseline_mean(self, protocol: str, mean: Float32[np.ndarray, " d"]) -> None:
        """Keep the mean bare embedding, which image queries are compared with."""
        self._write("UPDATE protocols SET baseline_mean = ? WHERE digest = ?", [(mean.tobytes(), protocol)])

    def baseline_mean(self, protocol: str) -> Float32[np.ndarray, " d"] | None:
        """The mean bare embedding, or None for a library measured elsewhere."""
        rows = self._rows("SELECT baseline_mean FROM protocols WHERE digest = ?", [protocol])
        return np.frombuffer(rows[0][0], np.float32) if rows and rows[0][0] is not None else None

    def add_execution(self, execution: Execution) -> None:
        """Record how a run works."""
        sql = "INSERT INTO executions VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._write(sql, [(execution.digest, execution.to_json())])

    def execution(self, digest: str) -> Execution:
        """A recorded Execution."""
        rows = self._rows("SELECT fields FROM executions WHERE digest = ?", [digest])
        if not rows:
            raise LibraryError(f"{self.path} knows no execution {digest!r}: merge the library it was measured in")
        return Execution(**json.loads(rows[0][0]))

    # --- Adapters -------------------------------------------------------------------------------------------------

    def add_adapters(self, adapters: Iterable[StoredAdapter], stamps: Mapping[str, tuple[int, int]]) -> None:
        """Record adapters and where they lie.

        Args:
            adapters: what is known of each; a known key has its name and facts brought up to date.
            stamps: size and mtime_ns of each path, by which a file is recognised without reading it.
        """
        with transaction(self._db, self.path) as db:
            for adapter in adapters:
                db.execute(
                    "INSERT INTO adapters (key, name, family, facts, added) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key)"
                    " DO UPDATE SET name = excluded.name, family = excluded.family, facts = excluded.facts,"
                    " added = excluded.added",
                    (adapter.key, adapter.name, adapter.family, json.dumps(adapter.facts), time.time()),
                )
                (row,) = db.execute("SELECT id FROM adapters WHERE key = ?", (adapter.key,)).fetchone()
                db.executemany(
                    "INSERT INTO files VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE"
                    " SET adapter = excluded.adapter, size = excluded.size, mtime_ns = excluded.mtime_ns",
                    [(path, row, *stamps.get(path, (0, 0))) for path in adapter.paths],
                )

    def adapters(self, keys: Iterable[str] | None = None) -> dict[str, StoredAdapter]:
        """Adapters by key, in order of name; all of them if no keys are given."""
        where, values = "", []
        if keys is not None:
            values = [json.dumps(list(keys))]
            where = "WHERE key IN (SELECT value FROM json_each(?))"
        rows = self._rows(
            "SELECT key, name, family, facts, (SELECT json_group_array(path) FROM files WHERE adapter = id)"
            f" FROM adapters {where} ORDER BY name, key",
            values,
        )
        return {
            key: StoredAdapter(key, name, family, tuple(sorted(json.loads(paths))), json.loads(facts))
            for key, name, family, facts, paths in rows
        }

    def labels(self, ids: Iterable[int]) -> dict[int, tuple[str, str, str]]:
        """Key, name and base family of adapters by the library's numbers of them, of those that are still there."""
        sql = "SELECT id, key, name, family FROM adapters WHERE id IN (SELECT value FROM json_each(?))"
        return {number: tuple(labels) for number, *labels in self._rows(sql, [json.dumps(list(ids))])}

    def number(self, key: str) -> int | None:
        """The library's number of an adapter, which its row of a matrix names."""
        rows = self._rows("SELECT id FROM adapters WHERE key = ?", [key])
        return rows[0][0] if rows else None

    def members(self, family: str = "", folder: Path | None = None) -> Int64[np.ndarray, " n"]:
        """Numbers of the adapters of a base family, under a folder, or both; in ascending order."""
        where, values = ["family = ?"] if family else [], [family] if family else []
        if folder is not None:
            inside = place_of(folder).rstrip(os.sep) + os.sep
            where.append("id IN (SELECT adapter FROM files WHERE path >= ? AND path < ?)")
            values += [inside, inside[:-1] + chr(ord(os.sep) + 1)]
        sql = f"SELECT group_concat(id) FROM (SELECT id FROM adapters WHERE {' AND '.join(where or ['1'])} ORDER BY id)"
        return numbers(self._rows(sql, values)[0][0])

    def find(self, text: str) -> StoredAdapter:
        """One adapter by key, start of its key, name, or path; or by the name of another file that holds it.

        Raises:
            LibraryError: none or several match.
        """
        return next(iter(self.adapters([find(self._rows, self.path, text)]).values()))

    def stamps(self) -> dict[str, tuple[str, int, int]]:
        """Key, size and mtime_ns of every known path."""
        rows = self._rows("SELECT path, key, size, mtime_ns FROM files JOIN adapters ON adapter = id")
        return {path: (key, size, mtime_ns) for path, key, size, mtime_ns in rows}

    def remove(self, key: str) -> None:
        """Forget an adapter: its signatures, previews and evidence. The file on disk is not touched."""
        with transaction(self._db, self.path) as db:
            db.execute("DELETE FROM previews WHERE adapter = ?", (key,))
            db.execute("DELETE FROM adapters WHERE key = ?", (key,))
            if self.has_evidence:  # within the transaction: where one of the files refuses, neither is changed
                self.evidence.remove(key)

    # --- Signatures -----------------------------------------------------------------------------------------------

    def put_signatures(self, protocol: str, precision: str, found: Mapping[str, Signature]) -> None:
        """Keep signatures by adapter key. One of fewer cells, or a coarser one of as many, never replaces another.

        Args:
            protocol: the digest of their Protocol.
            precision: the Precision they were measured to, or ``screened`` and the threshold that ended it.
            found: the signatures.
        """
        now = time.time()
        self._write(
            "INSERT INTO signatures SELECT id, ?,?,?,?,?,?,?,?,?,?,?,?, random() FROM adapters WHERE key = ?"
            " ON CONFLICT (adapter, protocol) DO UPDATE SET cells = excluded.cells, strength = excluded.strength,"
            " strength_low = excluded.strength_low, strength_high = excluded.strength_high,"
            " consistency = excluded.consistency, consistency_low = excluded.consistency_low,"
            " consistency_high = excluded.consistency_high, direction = excluded.direction,"
            " figures = excluded.figures, precision = excluded.precision, measured = excluded.measured,"
            " stamp = excluded.stamp"
            f" WHERE excluded.cells > cells OR (excluded.cells = cells AND {FINER})",
            [(protocol, *columns(signature), precision, now, key) for key, signature in found.items()],
        )

    def signatures(self, protocol: str, keys: Iterable[str]) -> dict[str, StoredSignature]:
        """Whole signatures by adapter key, of those that have one."""
        rows = self._rows(
            "SELECT key, direction, figures, precision, measured FROM signatures JOIN adapters ON adapter = id"
            " WHERE protocol = ? AND key IN (SELECT value FROM json_each(?))",
            [protocol, json.dumps(list(keys))],
        )
        return {
            key: StoredSignature(restore(direction, figures), precision, measured)
            for key, direction, figures, precision, measured in rows
        }

    def precisions(self, protocol: str) -> dict[str, str]:
        """To which Precision each adapter key was measured, or by which threshold it was screened."""
        sql = "SELECT key, precision FROM signatures JOIN adapters ON adapter = id WHERE protocol = ?"
        return dict(self._rows(sql, [protocol]))

    def strengths(self, protocol: str) -> dict[str, float]:
        """The Strength of each adapter key."""
        sql = "SELECT key, strength FROM signatures JOIN adapters ON adapter = id WHERE protocol = ?"
        return dict(self._rows(sql, [protocol]))

    def matrix(self, protocol: str, note: Note | None = None) -> Matrix:
        """Every signature of one Protocol, ready to be ranked; ``note`` hears of the arranging of a large library."""
        with explained(self.path), snapshot(self._db):
            return read_matrix(self._db, self.path, protocol, self.labels, note)

    # --- Previews -------------------------------------------------------------------------------------------------

    def put_previews(self, scene: str, adapter: str, previews: Iterable[Preview]) -> None:
        """Keep the pictures of the pinned cells of an adapter, or of the bare model (``BARE``)."""
        self._write(
            "INSERT INTO previews VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [(scene, adapter, p.place, p.prompt, p.seed, p.webp) for p in previews],
        )

    def previews(self, scene: str, adapter: str) -> list[Preview]:
        """The pictures of the pinned cells, in order."""
        rows = self._rows(
            "SELECT place, prompt, seed, webp FROM previews WHERE scene = ? AND adapter = ? ORDER BY place",
            [scene, adapter],
        )
        return [Preview(*row) for row in rows]

    # --- Runs, refusals, claims -----------------------------------------------------------------------------------

    def start_run(self, request: dict[str, Any], number: int | None = None) -> int:
        """Note that a run begins, or that the one of a number goes on; returns its number."""
        with transaction(self._db, self.path) as db:
            sql = (
                "INSERT INTO runs (id, started, request) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET request = excluded.request, finished = NULL, outcome = NULL RETURNING id"
            )
            (found,) = db.execute(sql, (number, time.time(), json.dumps(request))).fetchone()
        return found

    def finish_run(self, number: int, outcome: dict[str, Any]) -> None:
        """Note how a run ended."""
        self._write(
            "UPDATE runs SET finished = ?, outcome = ? WHERE id = ?",
            [(time.time(), json.dumps(outcome), number)],
        )

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the last first; ``finished`` is None for one that was killed."""
        rows = self._rows("SELECT id, started, finished, request, outcome FROM runs ORDER BY id DESC")
        return [
            {"id": i, "started": s, "finished": f, "request": json.loads(r), "outcome": json.loads(o) if o else None}
            for i, s, f, r, o in rows
        ]

    def refuse(self, refusal: Refusal) -> None:
        """Note that a file was left out and why. An adapter that lay in its place before lies there no more."""
        with transaction(self._db, self.path) as db:
            db.execute("INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?)", (*astuple(refusal), time.time()))
            known = db.execute("SELECT adapter, size, mtime_ns FROM files WHERE path = ?", (refusal.path,)).fetchone()
            if known is not None and another_lies_at(refusal.path, *known[1:]):
                db.execute("DELETE FROM files WHERE path = ?", (refusal.path,))
                db.execute("UPDATE adapters SET added = ? WHERE id = ?", (time.time(), known[0]))

    def accept(self, *paths: str) -> None:
        """Forget earlier refusals of files that are good now, or gone."""
        self._write("DELETE FROM refusals WHERE path = ?", [(path,) for path in paths])

    def refusals(self) -> list[Refusal]:
        """Every file that is left out, by path."""
        return [Refusal(*row) for row in self._rows("SELECT path, code, reason, remedy FROM refusals ORDER BY path")]

    def claim(self, adapter: str, scene: str, owner: str) -> bool:
        """Take an adapter for measuring, unless another process has it. A lease runs out with its process."""
        now = time.time()
        with transaction(self._db, self.path) as db:
            sql = "SELECT owner FROM claims WHERE adapter = ? AND scene = ? AND owner <> ? AND until >= ?"
            held = db.execute(sql, (adapter, scene, owner, now)).fetchone()
            if held is not None and not ended(held[0]):
                return False
            values = (adapter, scene, owner, now + SECONDS)
            db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", values)
            return True

    def release(self, owner: str) -> None:
        """Give back everything one process has claimed."""
        self._write("DELETE FROM claims WHERE owner = ?", [(owner,)])

    def absorb(self, other: Library, but: Iterable[str] = ()) -> None:
        """Take over another library's executions, previews and evidence, where this one has none.

        The evidence of some adapters may stay where it is: ``but``.
        """
        with attached(self._db, self.path, other.path) as db:
            for table in ("executions", "previews"):
                db.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM other.{table}")
            unknown = "SELECT * FROM other.refusals WHERE path NOT IN (SELECT path FROM main.files)"
            db.execute(f"INSERT OR IGNORE INTO refusals {unknown}")
        if other.has_evidence:
            self.evidence.absorb(other.evidence_path, but)
