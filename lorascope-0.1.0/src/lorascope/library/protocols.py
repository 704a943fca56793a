"""Protocols and Executions of a library, with what was measured once per Protocol."""

from __future__ import annotations

import json
import time
from typing import final

import numpy as np
from jaxtyping import Float32

from lorascope.errors import LibraryError
from lorascope.library.database import Database
from lorascope.library.records import StoredProtocol
from lorascope.library.schema import REVISE
from lorascope.protocol import Execution, Preset, Protocol


@final
class Protocols:
    """The Protocols that a library was measured under. The active one is the one used last."""

    def __init__(self, db: Database) -> None:
        """Read and write through a library's connection."""
        self._db = db

    def add(self, protocol: Protocol, preset: Preset, *, origin: str = "", active: bool = True) -> None:
        """Record a Protocol and make it the active one, also where the clock has stepped back.

        Without ``active`` it becomes the one that was used longest ago, if there are others.
        """
        used = "max(?, (SELECT coalesce(max(added), 0) + 0.001 FROM protocols))"
        if not active:
            used = "coalesce((SELECT min(added) - 0.001 FROM protocols), ?)"
        with self._db.transaction() as db:
            db.execute(
                f"INSERT INTO protocols (digest, fields, preset, origin, added) VALUES (?, ?, ?, ?, {used})"
                " ON CONFLICT (digest)"
                " DO UPDATE SET fields = excluded.fields, preset = excluded.preset, added = excluded.added",
                (protocol.digest, protocol.to_json(), preset.to_json(), origin, time.time()),
            )
            db.execute(REVISE)

    def all(self) -> list[StoredProtocol]:
        """All Protocols, the active one first."""
        rows = self._db.rows(
            "SELECT fields, preset, origin, (SELECT count(*) FROM signatures WHERE protocol = digest)"
            " FROM protocols ORDER BY added DESC"
        )
        return [StoredProtocol(Protocol.from_json(f), Preset.from_json(p), origin, n) for f, p, origin, n in rows]

    def find(self, name: str = "") -> StoredProtocol:
        """One Protocol by name, digest or both; without a name the active one.

        Raises:
            LibraryError: there is none, or several go by that name.
        """
        path, everything = self._db.path, self.all()
        known = [stored for stored in everything if stored.adapters] or everything
        if not known:
            raise LibraryError(f"{path} is empty: run `lorascope index FOLDER --library {path}` first")
        if not name:
            return known[0]
        matches = [stored for stored in known if stored.goes_by(name)]
        if len(matches) == 1:
            return matches[0]
        names = ", ".join(str(stored.protocol) for stored in matches or known)
        problem = "several Protocols are called" if matches else "no Protocol is called"
        raise LibraryError(f"{path}: {problem} {name!r}: choose one of {names}")

    def put_baseline_mean(self, protocol: str, mean: Float32[np.ndarray, " d"], cells: int) -> None:
        """Keep the mean bare embedding, which image queries are compared with, unless one of more cells is kept.

        Args:
            protocol: the digest of its Protocol.
            mean: (d,).
            cells: how many cells it is the mean of; 0 where that is not known.
        """
        with self._db.transaction() as db:
            changed = db.execute(
                "UPDATE protocols SET baseline_mean = ?, baseline_cells = ? WHERE digest = ? AND baseline_cells <= ?",
                (mean.tobytes(), cells, protocol, cells),
            )
            if changed.rowcount:
                db.execute(REVISE)

    def baseline_mean(self, protocol: str) -> Float32[np.ndarray, " d"] | None:
        """The mean bare embedding, or None for a library measured elsewhere."""
        row = self._db.row("SELECT baseline_mean FROM protocols WHERE digest = ?", [protocol])
        return np.frombuffer(row[0], np.float32) if row and row[0] is not None else None

    def put_plane(self, protocol: str, basis: Float32[np.ndarray, "2 d"]) -> None:
        """Keep the plane in which a Protocol's Directions are drawn. The first one stays: maps do not change."""
        self._db.write_if_possible(
            "INSERT INTO planes (protocol, basis) VALUES (?, ?) ON CONFLICT DO NOTHING", [(protocol, basis.tobytes())]
        )

    def plane(self, protocol: str) -> Float32[np.ndarray, "2 d"] | None:
        """The plane in which a Protocol's Directions are drawn, if one was kept."""
        row = self._db.row("SELECT basis FROM planes WHERE protocol = ?", [protocol])
        return np.frombuffer(row[0], np.float32).reshape(2, -1) if row else None

    def add_execution(self, execution: Execution) -> None:
        """Record how a run computes: hardware, software and batch."""
        sql = "INSERT INTO executions (digest, fields) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._db.write(sql, [(execution.digest, execution.to_json())])

    def execution(self, digest: str) -> Execution:
        """A recorded Execution.

        Raises:
            LibraryError: it is not recorded here.
        """
        row = self._db.row("SELECT fields FROM executions WHERE digest = ?", [digest])
        if row is None:
            path = self._db.path
            raise LibraryError(f"{path} knows no execution {digest!r}: merge the library it was measured in")
        return Execution(**json.loads(row[0]))
