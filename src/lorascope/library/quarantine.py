"""A SQLite file that a stranger may have made: read without being written to, and never trusted.

The file is opened immutable, or a copy of it where it has a log; nothing of it is attached to a library of ours. Its
schema must be one of ours, of plain tables. An authorizer allows SQLite to read these tables and nothing else. Limits
on steps, on the length of a value and on all that is read hold whatever the file says. What is in the rows is checked
in :mod:`lorascope.library.foreign`.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

from lorascope.errors import LibraryError
from lorascope.library.database import explained, resolved
from lorascope.library.schema import VERSIONS

_LONGEST = 2**24
"""Bytes of one value. A block of 4,096 cells by the widest encoder has eight times less."""
_STEPS = 10_000
"""SQLite's own instructions between two looks at the budget."""
_OURS = ("sqlite_sequence", "sqlite_stat1", "sqlite_stat4", "claims")
"""Tables that are never read: SQLite's own, and the leases of layout 2."""
_PRAGMAS = {"user_version", "table_xinfo", "trusted_schema", "cell_size_check", "query_only", "mmap_size"}
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _LONGEST,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 10_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 64,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 32,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 2,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


@final
class Quarantine:
    """One foreign SQLite file, whose tables are those of a schema of ours."""

    def __init__(self, path: Path, schema: str) -> None:
        """Open a file and check its schema.

        Raises:
            LibraryError: it cannot be read, or is anything but a file of this schema.
        """
        self.path = path
        self._folder = TemporaryDirectory()
        try:
            with explained(path):
                self._source = resolved(path)
                self._before = _state(path, self._source)
                self._connection = _open(path, self._source, Path(self._folder.name))
                size = sum(size for size, _ in self._before)
                self._bytes = 64 * size + 2**24
                self._ticks = 16 * size // _STEPS + 10_000
                self._guard()
                self._tables = _checked_tables(self._connection, path, schema)
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._folder.cleanup()

    def rows(self, table: str, columns: str, where: str = "", values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of one table, one after the other; none if an older library lacks the table, None for a lacking column.

        Raises:
            LibraryError: the file is damaged, or there is more in it than a file of its size holds.
        """
        if table not in self._tables:
            return
        with explained(self.path):
            present = {row[1] for row in self._connection.execute(f"PRAGMA table_xinfo({table})")}
            columns = ", ".join(name if name in present else f"NULL AS {name}" for name in columns.split(", "))
            for row in self._connection.execute(f"SELECT {columns} FROM {table} {where}", values):
                self._bytes -= sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
                if self._bytes < 0:
                    raise LibraryError(f"{self.path} holds more than a file of its size can: it is damaged or forged")
                yield row

    def check_unchanged(self) -> None:
        """Refuse what was read of a file that another process changed meanwhile.

        Raises:
            LibraryError: it was changed.
        """
        if _state(self.path, self._source) != self._before:
            raise LibraryError(f"{self.path} was changed while it was read: import it when nothing writes to it")

    def _guard(self) -> None:
        connection = self._connection
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
            connection.execute(f"PRAGMA {pragma}")
        connection.set_authorizer(_allowed)
        connection.set_progress_handler(self._tick, _STEPS)

    def _tick(self) -> int:
        self._ticks -= 1
        return self._ticks < 0  # anything but 0 makes SQLite stop


def _state(path: Path, source: Path) -> list[tuple[int, int]]:
    """Size and time of a file and of its log."""
    found = source.stat()
    if not stat.S_ISREG(found.st_mode):
        raise LibraryError(f"{path} is no file: give the path of a library")
    log = source.with_name(source.name + "-wal")
    logged = log.stat() if log.is_file() else None
    states = [found] if logged is None else [found, logged]
    return [(one.st_size, one.st_mtime_ns) for one in states]


def _open(path: Path, source: Path, folder: Path) -> sqlite3.Connection:
    """Open the file itself where it is whole; a copy of both where a part of it is in a log still."""
    log, journal = (source.with_name(source.name + ending) for ending in ("-wal", "-journal"))
    if journal.exists() and journal.stat().st_size:
        raise LibraryError(f"{path} was not closed: open it once where it was made (`lorascope list`)")
    if not log.is_file() or not log.stat().st_size:
        return sqlite3.connect(f"{source.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    copy = folder / "copy.db"
    shutil.copyfile(source, copy)
    shutil.copyfile(log, copy.with_name("copy.db-wal"))
    return sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True, isolation_level=None)


def _allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Reading of tables, and asking what they look like."""
    allowed = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    if action == sqlite3.SQLITE_PRAGMA:
        allowed = first in _PRAGMAS
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _checked_tables(connection: sqlite3.Connection, path: Path, schema: str) -> set[str]:
    """The tables of a file, every one of which must be one of ours, and nothing else be there."""
    if connection.execute("PRAGMA user_version").fetchone()[0] not in VERSIONS:
        raise LibraryError(
            f"{path} is no library of a layout that can be imported: open it with the lorascope that made it"
        )
    ours = sqlite3.connect(":memory:")
    try:
        ours.executescript(schema)
        indexes = {_plain(sql) for (sql,) in ours.execute("SELECT sql FROM sqlite_master WHERE type = 'index'") if sql}
        tables = {name for (name,) in ours.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        found: set[str] = set()
        for kind, name, table, sql in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
            if kind == "table" and table == name and (name in tables or name in _OURS):
                _check_columns(connection, ours, path, name, sql)
                found.add(name)
            elif (
                kind != "index" or table not in tables.union(_OURS) or (sql is not None and _plain(sql) not in indexes)
            ):
                raise LibraryError(
                    f"{path} holds the {kind!s:.20} {name!s:.80}, which no library has: it is not imported"
                )
    finally:
        ours.close()
    first = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", schema)[0]
    if first not in found:
        raise LibraryError(f"{path} holds no table {first}: give the library itself")
    return found


def _check_columns(connection: sqlite3.Connection, ours: sqlite3.Connection, path: Path, name: str, sql: str) -> None:
    if name in _OURS:
        return
    expected, theirs = (_columns(one, name) for one in (ours, connection))
    needed = {column for column in expected if column[3] is None}  # later ones have a default
    if not sql.lstrip().upper().startswith("CREATE TABLE") or not needed <= theirs <= expected:
        raise LibraryError(f"{path}: the table {name} has other columns than a library's: it is not imported")


def _columns(connection: sqlite3.Connection, table: str) -> set[tuple[Any, ...]]:
    """Name, type, whether it may be NULL, default, place in the primary key, whether it is generated."""
    return {tuple(row[1:]) for row in connection.execute(f"PRAGMA table_xinfo({table})")}


def _plain(sql: str) -> str:
    return " ".join(sql.replace("IF NOT EXISTS ", "").split())
