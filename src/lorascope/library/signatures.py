"""The signatures of a library, by Protocol and adapter."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import final

from lorascope.caches import Note, quiet
from lorascope.errors import LibraryError
from lorascope.library.codec import FINER, columns, restore
from lorascope.library.database import Database
from lorascope.library.matrix import LookUp, Matrix, read_matrix, stamp
from lorascope.library.records import StoredSignature
from lorascope.library.row_cache import RowCache
from lorascope.library.schema import REVISE
from lorascope.signature import Signature

_CACHE = RowCache[StoredSignature](2000)
"""About 10 KB each."""


@final
class Signatures:
    """What was measured of each adapter under each Protocol."""

    def __init__(self, db: Database, look_up: LookUp) -> None:
        """Read and write through a library's connection; ``look_up`` tells key, name and family of adapters."""
        self._db = db
        self._look_up = look_up

    def put(
        self,
        protocol: str,
        precision: str,
        signatures: Mapping[str, Signature],
        *,
        origin: str = "",
        claimed: bool = False,
    ) -> None:
        """Keep signatures by adapter key. One of fewer cells, or a coarser one of as many, never replaces another.

        A claim never replaces what is backed by evidence here, which replaces any claim. Where a signature that came
        from elsewhere with its evidence is refined here, its origin stays.

        Args:
            protocol: the digest of their Protocol.
            precision: the Precision they were measured to, or ``screened`` and the threshold that ended it.
            signatures: the signatures.
            origin: where they came from; "" if they were measured here.
            claimed: they are what another library says, without evidence.

        Raises:
            LibraryError: one of the adapters is not in the library any more; none of them is kept.
        """
        with self._db.transaction() as db:
            now = time.time()  # while no other process writes, so that what is written later has a later time
            known = db.execute(
                "SELECT key FROM adapters WHERE key IN (SELECT value FROM json_each(?))", [json.dumps(list(signatures))]
            )
            if removed := signatures.keys() - {key for (key,) in known}:
                raise LibraryError(
                    f"{self._db.path}: {min(removed)} was removed while it was being measured. Run index again"
                )
            db.executemany(
                "INSERT INTO signatures (adapter, protocol, cells, strength, strength_low, strength_high, consistency,"
                " consistency_low, consistency_high, direction, mean, figures, precision, measured, origin, claimed,"
                " stamp)"
                " SELECT id, ?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,? FROM adapters WHERE key = ?"
                " ON CONFLICT (adapter, protocol) DO UPDATE SET cells = excluded.cells, strength = excluded.strength,"
                " strength_low = excluded.strength_low, strength_high = excluded.strength_high,"
                " consistency = excluded.consistency, consistency_low = excluded.consistency_low,"
                " consistency_high = excluded.consistency_high, direction = excluded.direction, mean = excluded.mean,"
                " figures = excluded.figures, precision = excluded.precision, measured = excluded.measured,"
                " origin = CASE WHEN excluded.origin = '' AND NOT claimed THEN origin ELSE excluded.origin END,"
                " claimed = excluded.claimed, stamp = excluded.stamp"
                " WHERE excluded.claimed < claimed OR (excluded.claimed = claimed"
                f" AND (excluded.cells > cells OR (excluded.cells = cells AND {FINER})))",
                [
                    (protocol, *row, precision, now, origin, claimed, stamp(row[1:8]), key)
                    for key, row in ((key, columns(signature)) for key, signature in signatures.items())
                ],
            )
            db.execute(REVISE)

    def get(self, protocol: str, keys: Iterable[str]) -> dict[str, StoredSignature]:
        """Whole signatures by adapter key, of those that have one.

        Raises:
            LibraryError: one of them is damaged.
        """
        joined = "FROM signatures JOIN adapters ON adapter = id WHERE protocol = ? AND key IN"
        values = [protocol, json.dumps(list(keys))]
        seal = self._db.seal("signatures")
        seals = self._db.rows(f"SELECT key, {seal} {joined} (SELECT value FROM json_each(?))", values)
        found = {key: known for key, seal in seals if (known := _CACHE.get(seal)) is not None}
        if len(found) < len(seals):
            values[1] = json.dumps([key for key, _ in seals if key not in found])
            columns = "key, direction, mean, figures, precision, measured, origin, claimed"
            intact = self._db.intact("signatures")
            rows = self._db.rows(
                f"SELECT {columns}, {intact}, {seal} {joined} (SELECT value FROM json_each(?))", values
            )
            with self._db.decoding("signatures"):
                for key, direction, mean, figures, precision, measured, origin, claimed, intact, seal in rows:
                    self._db.check(intact, f"the signature of {key[:19]}")
                    signature = restore(direction, mean, figures)
                    found[key] = StoredSignature(signature, precision, measured, origin, bool(claimed))
                    _CACHE.put(seal, found[key])
        return found

    def width(self, protocol: str) -> int | None:
        """How many dimensions the Directions of a Protocol have; None if there are none."""
        row = self._db.row("SELECT length(direction) / 4 FROM signatures WHERE protocol = ? LIMIT 1", [protocol])
        return row[0] if row else None

    def any_measured_here(self) -> bool:
        """Whether a signature was measured here, so that there should be evidence of it."""
        return self._db.row("SELECT 1 FROM signatures WHERE origin = '' AND NOT claimed LIMIT 1") is not None

    def precisions(self, protocol: str) -> dict[str, str]:
        """To which Precision each adapter key was measured, or by which threshold it was screened."""
        sql = "SELECT key, precision FROM signatures JOIN adapters ON adapter = id WHERE protocol = ?"
        return dict(self._db.rows(sql, [protocol]))

    def since(self, protocol: str, time: float) -> list[tuple[float, str, str, str, int]]:
        """Signatures that were measured after a time: when, key and name, Precision, cells; the earliest first."""
        sql = (
            "SELECT measured, key, name, precision, cells FROM signatures JOIN adapters ON adapter = id"
            " WHERE protocol = ? AND measured > ? ORDER BY measured"
        )
        return self._db.rows(sql, [protocol, time])

    def strengths(self, protocol: str) -> dict[str, float]:
        """The Strength of each adapter key."""
        sql = "SELECT key, strength FROM signatures JOIN adapters ON adapter = id WHERE protocol = ?"
        return dict(self._db.rows(sql, [protocol]))

    def matrix(self, protocol: str, note: Note = quiet) -> Matrix:
        """Every signature of one Protocol, ready to be ranked; ``note`` is called with progress of a large one."""
        with self._db.snapshot(), self._db.decoding("signatures"):
            return read_matrix(self._db, protocol, self._look_up, note)
