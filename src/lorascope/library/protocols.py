"""Protocols and Executions of a library, with what was measured once per Protocol."""

from __future__ import annotations

import dataclasses
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
from lorascope.signature import Calibration


@final
class Protocols:
    """The Protocols that a library was measured under. The active one is the one used last."""

    def __init__(self, db: Database) -> None:
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
        columns = "fields, preset, origin, (SELECT count(*) FROM signatures WHERE protocol = digest)"
        rows = self._db.intact_rows("protocols", columns, "ORDER BY added DESC", [])
        with self._db.decoding("protocols"):
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

    def continued(self, preset: Preset) -> Preset:
        """A preset with the block size of what was measured under its name here: blocks are known by their number."""
        known = [stored.preset.block_size for stored in self.all() if stored.preset.name == preset.name]
        return dataclasses.replace(preset, block_size=known[0]) if known else preset

    def put_baseline_mean(self, protocol: str, mean: Float32[np.ndarray, " d"], cells: int) -> None:
        """Keep the mean bare embedding, which image queries are compared with, unless one of more cells is kept.

        Args:
            protocol: the digest of its Protocol.
            mean: (d,).
            cells: how many cells it is the mean of; 0 where that is not known.

        Raises:
            LibraryError: the Protocol is not in the library.
        """
        with self._db.transaction() as db:
            changed = db.execute(
                "UPDATE protocols SET baseline_mean = ?, baseline_cells = ? WHERE digest = ? AND baseline_cells <= ?",
                (mean.tobytes(), cells, protocol, cells),
            )
            if changed.rowcount:
                db.execute(REVISE)
            elif db.execute("SELECT 1 FROM protocols WHERE digest = ?", (protocol,)).fetchone() is None:
                raise LibraryError(f"{self._db.path} has no Protocol {protocol} any more: run index again")

    def baseline_mean(self, protocol: str) -> Float32[np.ndarray, " d"] | None:
        """The mean bare embedding, or None for a library measured elsewhere."""
        rows = self._db.intact_rows("protocols", "baseline_mean", "WHERE digest = ?", [protocol])
        with self._db.decoding("protocols"):
            return np.frombuffer(rows[0][0], np.float32) if rows and rows[0][0] is not None else None

    def put_plane(self, protocol: str, basis: Float32[np.ndarray, "2 d"]) -> None:
        """Keep the plane in which a Protocol's Directions are drawn. The first one stays: maps do not change."""
        self._db.write_if_possible(
            "INSERT INTO planes (protocol, basis) VALUES (?, ?) ON CONFLICT DO NOTHING", [(protocol, basis.tobytes())]
        )

    def plane(self, protocol: str) -> Float32[np.ndarray, "2 d"] | None:
        """The plane in which a Protocol's Directions are drawn, if one was kept."""
        rows = self._db.intact_rows("planes", "basis", "WHERE protocol = ?", [protocol])
        with self._db.decoding("planes"):
            return np.frombuffer(rows[0][0], np.float32).reshape(2, -1) if rows else None

    def add_execution(self, execution: Execution) -> None:
        """Record how a run computes: hardware, software and batch."""
        sql = "INSERT INTO executions (digest, fields) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._db.write(sql, [(execution.digest, execution.to_json())])

    def execution(self, digest: str) -> Execution:
        """A recorded Execution.

        Raises:
            LibraryError: it is not recorded here.
        """
        rows = self._db.intact_rows("executions", "fields", "WHERE digest = ?", [digest])
        if not rows:
            path = self._db.path
            raise LibraryError(f"{path} knows no execution {digest!r}: merge the library it was measured in")
        with self._db.decoding("executions"):
            return Execution(**json.loads(rows[0][0]))

    def put_calibration(self, calibration: Calibration, *, origin: str = "") -> None:
        """Keep a Calibration for good: signatures name it. The last one kept here is used for new measurements.

        Args:
            calibration: the Calibration.
            origin: where it came from; "" if it was fitted here, or given by the person.
        """
        insert = "INSERT OR IGNORE" if origin else "INSERT OR REPLACE"
        self._db.write(
            f"{insert} INTO calibrations (digest, protocol, data, origin, added) VALUES (?, ?, ?, ?, ?)",
            [(calibration.digest, calibration.protocol, calibration.to_bytes(), origin, time.time())],
        )

    def calibration(self, digest: str) -> Calibration | None:
        """The Calibration of that digest, or None.

        Raises:
            LibraryError: its row is damaged.
            CalibrationError: it cannot be read.
        """
        rows = self._db.intact_rows("calibrations", "data", "WHERE digest = ?", (digest,))
        return Calibration.from_bytes(rows[0][0]) if rows else None

    def calibrations(self, protocol: str) -> list[str]:
        """The digests of the Calibrations by which a Protocol's adapters may be measured here, the last one first."""
        sql = "SELECT digest FROM calibrations WHERE protocol = ? AND origin = '' ORDER BY rowid DESC"
        return [digest for (digest,) in self._db.rows(sql, [protocol])]
