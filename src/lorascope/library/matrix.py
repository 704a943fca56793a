"""Every signature of one Protocol, ready to be ranked: read from SQLite, and for large libraries kept on the disk.

A large matrix is written once into a folder among the caches, whole or not at all, and mapped from there. It is never
changed. Every signature in the library has a stamp, a checksum of what a search reads of it, so a comparison of stamps
tells which rows of the folder still hold, which have changed, and which are new: those few are read from SQLite at
every opening. When they become many, a new folder takes the place of the old one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from lorascope.caches import Note, fingerprint, unfinished
from lorascope.library.database import Database
from lorascope.library.directions import Directions
from lorascope.models import cache_dir
from lorascope.moments import unit_rows

IN_MEMORY = 20_000
"""So many rows are read from SQLite in a tenth of a second. A matrix of more is kept on the disk."""
_CHUNK = 4096
_LAYOUT = "1"
_OWNER = "library.txt"
_FIGURES = ("strength", "strength_low", "strength_high", "consistency", "consistency_low", "consistency_high")
ROW = np.dtype([("id", "<i8"), ("stamp", "<i8"), *((name, "<f8") for name in _FIGURES)])

LookUp = Callable[[Iterable[int]], dict[int, tuple[str, str, str]]]
"""Key, name and base family of adapters by the library's numbers of them, of those that are still there."""


@dataclass(frozen=True)
class Matrix:
    """All signatures of one Protocol. The order of the rows means nothing, and another reading may have another one.

    ``ids`` (n,) are the library's numbers of the adapters. ``directions`` (n, d) are unit vectors, a Direction of
    length 0 stays 0. ``strength`` and ``consistency`` are (n,), NaN where undefined; the intervals (n, 2), infinite
    where unknown. ``folder`` is where the mapped part is, None if all is in memory.

    ``keys``, ``names`` and ``families`` are read from the library when they are first asked for. A search asks for
    those of its hits only: a million of each take half a gigabyte.
    """

    protocol: str
    ids: Int64[np.ndarray, " n"]
    directions: Directions
    strength: Float64[np.ndarray, " n"]
    consistency: Float64[np.ndarray, " n"]
    strength_interval: Float64[np.ndarray, "n 2"]
    consistency_interval: Float64[np.ndarray, "n 2"]
    look_up: LookUp
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of each row."""
        return self._labels[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each row."""
        return self._labels[1]

    @property
    def families(self) -> tuple[str, ...]:
        """The base family of each row."""
        return self._labels[2]

    @cached_property
    def places(self) -> dict[str, int]:
        """The row of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def _labels(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        known = self.look_up(self.ids.tolist())
        rows = [known.get(number, ("", "", "")) for number in self.ids.tolist()]
        return tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows)

    @classmethod
    def build(
        cls,
        protocol: str,
        rows: np.ndarray,
        directions: Directions,
        look_up: LookUp,
        folder: Path | None = None,
    ) -> Matrix:
        """Assemble from records (:data:`ROW`), their Directions, and what tells keys, names and families of ids."""
        limits = {name: rows[name] for name in _FIGURES}
        return cls(
            protocol,
            np.ascontiguousarray(rows["id"]),
            directions,
            np.ascontiguousarray(limits["strength"]),
            np.ascontiguousarray(limits["consistency"]),
            np.stack([limits["strength_low"], limits["strength_high"]], 1),
            np.stack([limits["consistency_low"], limits["consistency_high"]], 1),
            look_up,
            folder,
        )


@dataclass(frozen=True)
class _Kept:
    """A matrix on the disk."""

    folder: Path
    rows: np.ndarray
    directions: Float32[np.ndarray, "m d"]


def read_matrix(db: Database, protocol: str, look_up: LookUp, note: Note) -> Matrix:
    """Every signature of one Protocol of a library; ``note`` is called with progress while a large one is built."""
    ids, stamps = _stamps(db, protocol)
    name = hashlib.sha256(f"{_LAYOUT} {db.path.resolve()} {protocol}".encode("utf-8", "surrogateescape")).hexdigest()[
        :32
    ]
    home = cache_dir() / "matrices" / name
    kept = _open(home) if len(ids) > IN_MEMORY else None
    places = _places(kept, ids, stamps)
    if len(ids) > IN_MEMORY and _outdated(kept, places):
        kept = _build(db, home, protocol, ids, note) or kept
        places = _places(kept, ids, stamps)
    recent, directions = _read(db, protocol, ids[places < 0])
    if kept is None:
        return Matrix.build(protocol, recent, Directions(directions[:0], directions), look_up)
    places = places[places >= 0]
    rows = np.concatenate([kept.rows[places], recent])
    whole = len(places) == len(kept.rows)
    order = None if whole else np.concatenate([places, np.arange(len(recent)) + len(kept.rows)])
    return Matrix.build(protocol, rows, Directions(kept.directions, directions, order), look_up, kept.folder)


def _stamps(db: Database, protocol: str) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Adapters and stamps of all signatures, by adapter."""
    sql = (
        "SELECT group_concat(adapter), group_concat(stamp) FROM"
        " (SELECT adapter, stamp FROM signatures WHERE protocol = ? ORDER BY adapter)"
    )
    ids, stamps = db.row(sql, [protocol])
    return numbers(ids), numbers(stamps)


def numbers(text: str | None) -> Int64[np.ndarray, " n"]:
    """What SQLite's group_concat gives: the quickest way of a million whole numbers into an array."""
    return np.fromstring(text or "", np.int64, sep=",")


def _places(
    kept: _Kept | None, ids: Int64[np.ndarray, " n"], stamps: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Where each signature is in what is kept; -1 if it is new there, or has been written again since."""
    if kept is None or not len(kept.rows):
        return np.full(len(ids), -1)
    found = np.minimum(np.searchsorted(kept.rows["id"], ids), len(kept.rows) - 1)
    same = (kept.rows["id"][found] == ids) & (kept.rows["stamp"][found] == stamps)
    return np.where(same, found, -1)


def _outdated(kept: _Kept | None, places: Int64[np.ndarray, " n"]) -> bool:
    """Whether so much has changed that a new folder is worth its while."""
    if kept is None:
        return True
    held = int((places >= 0).sum())
    return max(len(places) - held, len(kept.rows) - held) > IN_MEMORY


def _open(home: Path) -> _Kept | None:
    """What is kept on the disk, if it is whole; None if there is nothing, or only what is damaged."""
    for folder in home.glob("[0-9a-f]*[0-9a-f]"):
        with contextlib.suppress(Exception):  # NumPy raises whatever a damaged header leads to
            rows = np.load(folder / "rows.npy", mmap_mode="r")
            directions = np.load(folder / "directions.npy", mmap_mode="r")
            if rows.dtype == ROW and fingerprint(rows, directions) == folder.name:
                return _Kept(folder, rows.view(np.ndarray), directions.view(np.ndarray))
    return None


def _build(db: Database, home: Path, protocol: str, ids: Int64[np.ndarray, " n"], note: Note) -> _Kept | None:
    """Put a new folder in the place of what is there; None if the disk does not take it."""
    try:
        with unfinished(home) as partial:
            partial.mkdir()
            _write(db, partial, protocol, ids, note)
            digest = fingerprint(*(np.load(partial / f"{name}.npy", mmap_mode="r") for name in ("rows", "directions")))
            for old in home.glob("[0-9a-f]*[0-9a-f]"):
                shutil.rmtree(old, ignore_errors=True)
            partial.rename(home / digest)
            (home / _OWNER).write_text(str(db.path.resolve()), "utf-8", "surrogateescape")
    except OSError:
        return None
    _sweep(home.parent)
    return _open(home)


def _sweep(matrices: Path) -> None:
    """Remove what was kept of libraries that are gone. Where one cannot be asked for, it may still be there."""
    for owner in matrices.glob(f"*/{_OWNER}"):
        with contextlib.suppress(OSError):
            if not Path(owner.read_text("utf-8", "surrogateescape")).exists():
                shutil.rmtree(owner.parent, ignore_errors=True)


def _write(db: Database, folder: Path, protocol: str, ids: Int64[np.ndarray, " n"], note: Note) -> None:
    """Stream all rows into two files, without ever holding them."""
    make = np.lib.format.open_memmap
    dim = _dim(db, protocol)
    rows = make(folder / "rows.npy", "w+", ROW, (len(ids),))
    directions = make(folder / "directions.npy", "w+", np.float32, (len(ids), dim))
    for start, records, units in _chunks(db, protocol, ids):
        note("arranging the signatures of this library", start, len(ids))
        rows[start : start + len(records)] = records
        directions[start : start + len(records)] = units
    rows.flush()  # a full disk raises here
    directions.flush()


def _read(db: Database, protocol: str, ids: Int64[np.ndarray, " n"]) -> tuple[np.ndarray, Float32[np.ndarray, "n d"]]:
    """Records and unit Directions of some adapters, in memory."""
    found = [(records, units) for _, records, units in _chunks(db, protocol, ids)]
    if not found:
        return np.empty(0, ROW), np.empty((0, _dim(db, protocol)), np.float32)
    return np.concatenate([records for records, _ in found]), np.concatenate([units for _, units in found])


def _dim(db: Database, protocol: str) -> int:
    row = db.row("SELECT length(direction) / 4 FROM signatures WHERE protocol = ? LIMIT 1", [protocol])
    return row[0] if row else 1


def _chunks(
    db: Database, protocol: str, ids: Int64[np.ndarray, " n"]
) -> Iterator[tuple[int, np.ndarray, Float32[np.ndarray, "k d"]]]:
    """Where each chunk begins, its records, its unit Directions."""
    sql = (
        f"SELECT adapter, stamp, {', '.join(_FIGURES)}, direction FROM signatures"
        " WHERE protocol = ? AND adapter IN (SELECT value FROM json_each(?)) ORDER BY adapter"
    )
    for start in range(0, len(ids), _CHUNK):
        rows = db.rows(sql, [protocol, json.dumps(ids[start : start + _CHUNK].tolist())])
        if rows:
            records, directions = _records(rows), _directions(rows)
            _check(db, protocol, records, directions)
            yield start, records, unit_rows(directions)


def _check(db: Database, protocol: str, records: np.ndarray, directions: Float32[np.ndarray, "k d"]) -> None:
    """Refuse rows that are not as they were written.

    Their stamps tell. Where one does not fit, the seal decides: an earlier version drew stamps at random. To compare
    every seal would take many times as long as to read.
    """
    doubtful = records["id"][records["stamp"] != _stamps_of(records, directions)]
    rows = db.rows(
        f"SELECT key, {db.intact('signatures')} FROM signatures LEFT JOIN adapters ON adapter = id"
        " WHERE protocol = ? AND adapter IN (SELECT value FROM json_each(?))",
        [protocol, json.dumps(doubtful.tolist())],
    )
    for key, intact in rows:
        db.check(intact, f"the signature of {key!s:.19}")


def stamp(row: Sequence[Any]) -> int:
    """The stamp of a signature: a checksum of what a search reads of it.

    Args:
        row: Strength and its interval, Consistency and its interval, None where unknown, and the Direction (float32).
    """
    rows = [(0, 0, *row)]
    return int(_stamps_of(_records(rows), _directions(rows))[0])


def _stamps_of(records: np.ndarray, directions: Float32[np.ndarray, "k d"]) -> Int64[np.ndarray, " k"]:
    """The stamp of each row: the sum of its 64-bit words, each times an odd number, so that a change of one is seen."""
    figures = np.stack([records[name] for name in _FIGURES], 1) + 0.0  # SQLite stores -0.0 as 0
    padded = np.pad(directions, ((0, 0), (0, 1))) if directions.shape[1] % 2 else directions
    parts = figures.view(np.uint64), padded.view(np.uint64)
    factors = np.random.PCG64(0).random_raw(sum(part.shape[1] for part in parts)) | np.uint64(1)
    first = np.einsum("kw,w->k", parts[0], factors[: len(_FIGURES)])
    return (first + np.einsum("kw,w->k", parts[1], factors[len(_FIGURES) :])).view(np.int64)


def _records(rows: Sequence[tuple[Any, ...]]) -> np.ndarray:
    unknown = {"strength_low": -np.inf, "strength_high": np.inf, "consistency_low": -np.inf, "consistency_high": np.inf}
    found = np.empty(len(rows), ROW)
    for place, name in enumerate(ROW.names or ()):
        column = [row[place] for row in rows]
        found[name] = column if place < 2 else [unknown.get(name, np.nan) if x is None else x for x in column]
    return found


def _directions(rows: Sequence[tuple[Any, ...]]) -> Float32[np.ndarray, "k d"]:
    return np.frombuffer(b"".join(row[-1] for row in rows), np.float32).reshape(len(rows), -1)
