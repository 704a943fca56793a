"""A SQLite file: how it is opened and written, and how SQLite's errors become messages with a remedy."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from lorascope.errors import LibraryError, ProtocolError, printable
from lorascope.library.locks import lock_holder
from lorascope.library.schema import EARLIER, VERSION, VERSIONS
from lorascope.library.seals import intact, seal, seal_rows, sealed_tables

_PAGE_SIZE = 16384  # suits 2 KB directions and 32 KB blocks
_BUSY_SECONDS = 60
_BRIEFLY = 100
"""Milliseconds to wait for another process before something is not kept that is only good to have."""
_UNWRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY)


@final
class Database:
    """One open SQLite file. Its errors are raised as :class:`LibraryError`, which names the file and the remedy."""

    def __init__(self, path: Path, schema: str, *, create: bool) -> None:
        """Open a file, and make the tables and indexes that it lacks. One that cannot be written opens read-only.

        Raises:
            LibraryError: it is missing or empty (without ``create``), another kind of file, or of a newer layout.
        """
        self.path = path
        self._place = path.absolute()
        self._connection = _connect(path, schema, create=create)
        self._identity = self._current_identity()
        self._sealed = dict(sealed_tables(self._connection))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows that a query gives."""
        with explained(self.path):
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first row that a query gives, or None."""
        with explained(self.path):
            return self._connection.execute(sql, values).fetchone()

    @property
    def sealed(self) -> list[str]:
        """The tables whose rows have seals."""
        return list(self._sealed)

    def intact_rows(self, table: str, columns: str, where: str, values: Sequence[Any]) -> list[Any]:
        """Rows of one table.

        Raises:
            LibraryError: one of them is damaged.
        """
        rows = self.rows(f"SELECT {self.intact(table)}, {columns} FROM {table} {where}", values)
        self.check(all(intact for intact, *_ in rows), f"a row of {table}")
        return [row[1:] for row in rows]

    @contextmanager
    def decoding(self, table: str) -> Generator[None]:
        """Make something of rows that have no seal, or of which not every column was read.

        Raises:
            LibraryError: a value is none that lorascope writes.
        """
        try:
            yield
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ProtocolError) as error:
            raise self._damaged(f"a row of {table}") from error

    def intact(self, table: str, alias: str = "") -> str:
        """SQL: whether a row of a table is as it was written. One without a seal, of an earlier version, counts as."""
        return intact(self._sealed[table], alias or table) if table in self._sealed else "1"

    def seal(self, table: str) -> str:
        """SQL: the seal of a row of a table; NULL where it has none."""
        return f"{table}.seal" if table in self._sealed else "NULL"

    def check(self, intact: bool | int, what: str) -> None:
        """Refuse a row that is not as it was written.

        Raises:
            LibraryError: it is damaged.
        """
        if not intact:
            raise self._damaged(what)

    def _damaged(self, what: str) -> LibraryError:
        return LibraryError(
            f"{self.path}: {what} is damaged: `lorascope verify` names all that is, and with --repair drops it; the"
            " next index measures again what was measured"
        )

    def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row of values, in one transaction."""
        with self.transaction() as connection:
            connection.executemany(sql, rows)

    def write_if_possible(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Like :meth:`write`, but does nothing where the file is read-only, or another process is writing it."""
        self.rows(f"PRAGMA busy_timeout = {_BRIEFLY}")
        try:
            self.write(sql, rows)
        except LibraryError as error:
            cause = error.__cause__
            if not isinstance(cause, sqlite3.Error) or cause.sqlite_errorcode & 0xFF not in _UNWRITABLE:
                raise
        finally:
            self.rows(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """All of it or nothing: commits at the end, rolls back on any error. Within another one, it is part of that."""
        if self._connection.in_transaction:
            yield self._connection
            return
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_place()
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _check_place(self) -> None:
        """Refuse to write into a file that nobody will find again.

        Raises:
            LibraryError: it was deleted, moved or replaced since it was opened.
        """
        if self._current_identity() != self._identity:
            raise LibraryError(
                f"{self.path} was deleted, moved or replaced while it was open: nothing more is written."
                " Put it back and run again, or run again to begin a new one"
            )

    def _current_identity(self) -> tuple[int, int] | None:
        """Device and inode of what is at the path now; None if there is nothing."""
        try:
            status = self._place.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Several reads that see the file at one moment."""
        with explained(self.path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")


def _connect(path: Path, schema: str, *, create: bool) -> sqlite3.Connection:
    with explained(path):
        if not path.exists() and not create:
            raise LibraryError(f"no library at {path}: make one with `lorascope index FOLDER --library {path}`")
        if path.is_dir():
            raise LibraryError(f"{path} is a folder: name a library file, such as {path / 'library.db'}")
        real = resolved(path)
        if real.exists() and not (os.access(real, os.W_OK) and os.access(real.parent, os.W_OK)):
            return _read_only(path, schema)
        real.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            real.as_uri(),
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        with _closed_on_error(connection):
            if _tables(connection) or not create:
                _check(connection, path, schema)  # another program's database is not to be touched
            if not _complete(connection, schema):
                connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
                _write_ahead(connection)
                _prepare(connection, path, schema)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            seal_rows(connection)
        return connection


def resolved(path: Path) -> Path:
    """A path with its links followed: where SQLite lays its log, and we lay the companions of a library.

    Raises:
        LibraryError: its links lead round in a circle, or it cannot be looked up.
    """
    with explained(path):
        try:
            return path.resolve()
        except RuntimeError as error:  # Python 3.12 and older, of a circle
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error


def _read_only(path: Path, schema: str) -> sqlite3.Connection:
    connection = sqlite3.connect(reading(path), uri=True, isolation_level=None, check_same_thread=False)
    with _closed_on_error(connection):
        _check(connection, path, schema)
        connection.create_function("seal", -1, seal, deterministic=True)
        lacking: dict[str, list[str]] = {}
        for statement in _missing(connection, schema):  # an older file is read as if it had them, empty
            if "CREATE TABLE" in statement:
                connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE"))
            elif added := _ADDS.search(statement):
                value = EARLIER.get((added[1], added[2]), added[3])
                lacking.setdefault(added[1], []).append(f"{value} AS {added[2]}")
        for table, columns in lacking.items():
            if table in _tables(connection):
                connection.execute(f"CREATE TEMP VIEW {table} AS SELECT *, {', '.join(columns)} FROM main.{table}")
    return connection


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Generator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def reading(path: Path) -> str:
    """The URI by which SQLite reads a file and never writes into it.

    Where the folder cannot be written, "immutable" lets the file be read although its write-ahead log cannot be made.
    It passes over a log that is there, so it is for a library without one: its owner is indexing, or was killed.

    Raises:
        LibraryError: there is a log, but not the index of it, which cannot be made here.
    """
    path = resolved(path)
    log, index = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    if os.access(path.parent, os.W_OK):
        return f"{path.as_uri()}?mode=ro"
    if not log.exists() or log.stat().st_size == 0:
        return f"{path.as_uri()}?mode=ro&immutable=1"
    if not index.exists():
        raise LibraryError(
            f"{path}: its last changes lie in {log.name}, which cannot be read in a folder that cannot be written:"
            " copy both files to one that can, or open the library once as its owner (`lorascope list`)"
        )
    return f"{path.as_uri()}?mode=ro"


_MAKES = re.compile(r"CREATE (?:TABLE|INDEX) IF NOT EXISTS (\w+)")
_ADDS = re.compile(r"ALTER TABLE (\w+) ADD COLUMN (\w+) .*DEFAULT (.*)")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Keep a write-ahead log. SQLite does not wait here for another process that is about to do the same: we do."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.01)


def _prepare(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    connection.execute("BEGIN IMMEDIATE")  # two processes that open a new library at once make one set of tables
    try:
        if _tables(connection):
            _check(connection, path, schema)
        missing = _missing(connection, schema)
        for statement in missing:  # an older lorascope may not have made all of them
            connection.execute(statement)
        for table, column, value in _known_columns(missing):
            connection.execute(f"UPDATE {table} SET {column} = {value}")
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _known_columns(statements: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Table, name and value of the columns that statements add, where an earlier version said the same otherwise."""
    for statement in statements:
        if (added := _ADDS.search(statement)) and (value := EARLIER.get((added[1], added[2]))):
            yield added[1], added[2], value


def _complete(connection: sqlite3.Connection, schema: str) -> bool:
    """Whether a file needs no change to be used, so that it can be opened while another process writes it."""
    (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    return journal == "wal" and not _missing(connection, schema)


def _missing(connection: sqlite3.Connection, schema: str) -> list[str]:
    """The statements of a schema that make a table, an index or a column which a file lacks."""
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    missing: list[str] = []
    for sql in schema.split(";"):
        if made := _MAKES.search(sql):
            lacking = made[1] not in present
        else:
            added = _ADDS.search(sql)
            lacking = added is not None and added[2] not in _columns(connection, added[1])
        if lacking:
            missing.append(sql)
    return missing


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")}


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _check(connection: sqlite3.Connection, path: Path, schema: str) -> None:
    """Refuse a database that is of another program or version, or another of the files of a library.

    What tells them apart is the first table of a schema; any other one may be younger than the file.
    """
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = _tables(connection)
    if not tables and not found:
        raise LibraryError(f"{path} is empty: make a library of it with `lorascope index FOLDER --library {path}`")
    if found not in VERSIONS:
        raise LibraryError(
            f"{path} has layout {found}, this lorascope reads layout {VERSION}: "
            + ("it is not a lorascope library" if found == 0 else "use the lorascope that made it, or a newer one")
        )
    first = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", schema)[0]
    if tables and first not in tables:
        whole = re.sub(r"\.(evidence|lab)$", "", path.stem) + path.suffix
        raise LibraryError(
            f"{path} holds {', '.join(sorted(tables)[:3])} instead of {first}: it is another of a library's files."
            f" Give the library itself{f', {path.with_name(whole)}' if whole != path.name else ''}"
        )


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Turn SQLite's errors into a LibraryError that says what happened to which file and what to do."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise LibraryError(
            f"{path}: {printable(error.object)} is not UTF-8, so no library holds it: give another name or a key"
        ) from error
    except UnicodeDecodeError as error:
        raise LibraryError(f"{path}: {_DAMAGED}") from error
    except sqlite3.Error as error:
        text = str(error)
        if "database is locked" in text:
            holder = lock_holder(resolved(path))
            raise LibraryError(f"{path}: {holder} is writing the library. Wait for it, or stop it") from error
        for sign, meaning in _MEANINGS.items():
            if sign in text:
                raise LibraryError(f"{path}: {meaning}") from error
        raise LibraryError(f"{path}: {text}. Check the file, or choose another --library") from error
    except OSError as error:
        raise LibraryError(f"{path}: {error.strerror or error}: choose another --library") from error


_DAMAGED = "the library is damaged. Restore it from a copy, or merge what is readable into a new one"
_MEANINGS = {
    "disk is full": "the disk is full. Free some space and run again: what was stored is intact",
    "disk I/O error": "the disk refused to write. Check its space and its health: what was stored is intact",
    "readonly database": "the library is read-only. Give a --library that can be written, or change its permissions",
    "not a database": "this is no lorascope library. Give the path of one, or of a file that does not exist yet",
    "malformed": _DAMAGED,
    "Could not decode": _DAMAGED,
    "user-defined function raised": _DAMAGED,  # text that is no UTF-8 on its way to a seal
    "unable to open": "the library cannot be opened. Check the path and its permissions",
}
