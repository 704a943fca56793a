"""Whether a library is what was measured: structure, the seal of every row, and signatures against their evidence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from lorascope.errors import LibraryError
from lorascope.grid import Grid
from lorascope.library.database import Database
from lorascope.library.objects import is_whole
from lorascope.library.recomputation import add_block, agree, grid_of, lost_previews, recomputed
from lorascope.library.records import StoredSignature
from lorascope.library.schema import REVISE
from lorascope.library.store import Library
from lorascope.precision import PRECISIONS
from lorascope.signature import Effects, Signature

_COARSEST = next(iter(PRECISIONS))
_UNREADABLE = (LibraryError, ValueError, TypeError, KeyError)
"""What reading a damaged row may raise."""


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written.

    Attributes:
        file: which file.
        what: what is damaged, in words.
        repair: what was done about it; "" if nothing was.
    """

    file: str
    what: str
    repair: str = ""


def verify(library: Library, *, repair: bool = False) -> list[Damage]:
    """Check everything that a library holds.

    Args:
        library: which one.
        repair: drop what is damaged, so that the next index measures it again, and compute signatures anew from whole
            evidence. Nothing whole is dropped.

    Returns:
        Everything that is damaged; nothing if all is as it was measured.

    Raises:
        LibraryError: a file cannot be opened or written.
    """
    found: list[Damage] = []
    for database in library.databases:
        found += _structure(database, repair)
        found += _rows(database, repair)
    found += _objects(library, repair)
    found += _signatures(library, repair)
    found += _previews(library)
    return found


def _structure(database: Database, repair: bool) -> Iterator[Damage]:
    """What SQLite's own check finds: pages that are lost or used twice, indexes that do not fit their tables."""
    problems = _problems(database)
    if problems and repair:
        with contextlib.suppress(LibraryError), database.transaction() as db:
            db.execute("REINDEX")
        if not _problems(database):
            yield Damage(str(database.path), problems[0], "its indexes were made anew")
            return
    for problem in problems:
        yield Damage(str(database.path), problem)


def _problems(database: Database) -> list[str]:
    try:
        lines = [line for (line,) in database.rows("PRAGMA integrity_check(20)")]
        broken = database.rows("PRAGMA foreign_key_check")
    except LibraryError as error:
        return [str(error)]
    lines = [] if lines == ["ok"] else lines
    return lines + [f"row {row[1]} of {row[0]} belongs to a row of {row[2]} that is not there" for row in broken]


def _rows(database: Database, repair: bool) -> Iterator[Damage]:
    """Every row whose seal does not fit."""
    for table in database.sealed:
        try:
            numbers = [number for (number,) in database.rows(f"SELECT rowid FROM main.{table} NOT INDEXED")]
        except LibraryError as error:
            yield Damage(str(database.path), f"{table} cannot be read: {error}")
            continue
        for number in numbers:
            if not _intact(database, table, number):
                done = _repair_row(database, table, number) if repair else ""
                yield Damage(str(database.path), f"row {number} of {table}{_named(database, table, number)}", done)


def _intact(database: Database, table: str, number: int) -> bool:
    try:
        row = database.row(f"SELECT {database.intact(table)} FROM {table} WHERE rowid = ?", [number])
    except LibraryError:
        return False
    return row is not None and bool(row[0])


def _named(database: Database, table: str, number: int) -> str:
    """The first column of a row in brackets, if it can be read still."""
    try:
        row = database.row(f"SELECT * FROM {table} WHERE rowid = ?", [number])
    except LibraryError:
        return ""
    return "" if row is None or isinstance(row[0], bytes) else f" ({row[0]!s:.80})"


def _repair_row(database: Database, table: str, number: int) -> str:
    if table == "protocols":
        return ""  # the next index with its preset writes it anew
    try:
        with database.transaction() as db:
            if table == "adapters":
                # read anew by the next index: its name and facts come from its file
                db.execute("UPDATE adapters SET name = 'unknown', facts = '{}' WHERE id = ?", (number,))
                db.execute("UPDATE files SET size = 0, mtime_ns = 0 WHERE adapter = ?", (number,))
                return "its name and facts were dropped: the next index reads them from its file"
            db.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))
    except LibraryError:
        return ""
    return "dropped"


def _objects(library: Library, repair: bool) -> Iterator[Damage]:
    """Blocks whose embeddings were kept in a bucket, and are not there any more or are not what they were."""
    if not library.has_evidence:
        return
    database = library.databases[-1]
    kept = "substr(embeddings, 1, 7) = CAST('object:' AS BLOB)"
    rows = database.rows(f"SELECT rowid, adapter, block, embeddings FROM blocks WHERE {kept}")
    try:
        lost = [(number, f"block {block} of {key[:19]}") for number, key, block, data in rows if not is_whole(data)]
    except LibraryError as error:
        yield Damage(str(database.path), f"the embeddings of blocks: {error}")
        return
    if 1 < len(rows) == len(lost):
        yield Damage(str(database.path), f"none of the {len(rows)} objects of its blocks is there: check their address")
        return
    for number, block in lost:
        done = _repair_row(database, "blocks", number) if repair else ""
        yield Damage(str(database.path), f"{block}: its object is lost or damaged", done)


def _signatures(library: Library, repair: bool) -> Iterator[Damage]:
    """Signatures that are not what their evidence says, or that have none although they were measured here."""
    try:
        protocols, keys = library.protocols.all(), list(library.adapters.all())
    except _UNREADABLE as error:
        yield Damage(str(library.path), f"Protocols or adapters cannot be read ({error!s:.200})")
        return
    if not library.has_evidence:
        if library.signatures.any_measured_here():
            lost = "it is not there, so no signature can be checked: restore it from a copy if there is one"
            yield Damage(str(library.evidence_path), lost)
        return
    for stored in protocols:
        grid, digest = grid_of(stored), stored.protocol.digest
        if grid is None:
            continue
        for key in keys:
            what, signature = _compared(library, key, digest, grid)
            if what:
                done = _repair_signature(library, key, digest, signature) if repair else ""
                yield Damage(str(library.path), f"the signature of {key[:19]} under {stored.protocol} {what}", done)


def _previews(library: Library) -> Iterator[Damage]:
    """Pictures that were lost: no seal tells of a row that is gone."""
    with contextlib.suppress(*_UNREADABLE):  # Protocols that cannot be read are named above
        for stored in library.protocols.all():
            grid = grid_of(stored)
            lost = {} if grid is None else lost_previews(library, stored.protocol, grid)
            for key, number in lost.items():
                whose = f"of {key[:19]}" if key else "of the bare base model"
                what = f"{number} of the pictures {whose} under {stored.protocol} are lost"
                yield Damage(str(library.path), what, "the next index renders them")


def _compared(library: Library, key: str, protocol: str, grid: Grid) -> tuple[str, Signature | None]:
    """What is wrong with a signature, "" if nothing is; and what it should be, as far as there is evidence."""
    try:
        known = library.signatures.get(protocol, [key]).get(key)
    except _UNREADABLE:
        return "cannot be read", _from_evidence(library, key, protocol, grid, None)
    again = _from_evidence(library, key, protocol, grid, known)
    if known is None:
        return ("is lost, its evidence is not" if again is not None else ""), again
    if known.claimed or (known.origin and again is None):
        return "", None
    cells = 0 if again is None else again.cells
    if cells < known.signature.cells:
        return f"is of {known.signature.cells} cells, of which the evidence holds {cells}", None
    return ("" if again is None or agree(again, known.signature) else "differs from its evidence"), again


def _from_evidence(
    library: Library, key: str, protocol: str, grid: Grid, known: StoredSignature | None
) -> Signature | None:
    """The signature of as many cells as are known, from the unbroken run of whole blocks."""
    effects: Effects | None = None
    for index in range(grid.blocks):
        if known is not None and effects is not None and effects.moments.cells >= known.signature.cells:
            break
        try:
            blocks = library.evidence.blocks(key, protocol, index, index + 1)
        except LibraryError:
            break  # it is named by its row
        if not blocks or len(blocks[0].moved) != len(grid.block(index)):
            break
        effects = add_block(effects, blocks[0], grid)
    if effects is None:
        return None
    if known is None:
        return recomputed(effects, grid, None)
    return recomputed(effects, grid, known.signature, library.protocols.calibration(known.signature.calibration))


def _repair_signature(library: Library, key: str, protocol: str, signature: Signature | None) -> str:
    """Put what the evidence says in its place, or have the next index measure the blocks that are missing."""
    where = "protocol = ? AND adapter = (SELECT id FROM adapters WHERE key = ?)"
    with library.databases[0].transaction() as db:
        if signature is None:
            db.execute(f"UPDATE signatures SET precision = '{_COARSEST}' WHERE {where}", (protocol, key))
            db.execute(REVISE)
            return "the next index measures what is missing"
        db.execute(f"DELETE FROM signatures WHERE {where}", (protocol, key))
        library.signatures.put(protocol, _COARSEST, {key: signature})
        return "computed anew from its evidence"
