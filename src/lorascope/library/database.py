"""A SQLite file: how it is opened and written, and how SQLite's errors become messages with a remedy."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from lorascope.errors import LibraryError, printable
from lorascope.library.schema import VERSION

_PAGE_SIZE = 16384  # suits 2 KB directions and 32 KB blocks
_BUSY_SECONDS = 60


@final
class Database:
    """One open SQLite file. Its errors are raised as :class:`LibraryError`, which names the file and the remedy."""

    def __init__(self, path: Path, schema: str, *, create: bool) -> None:
        """Open a file, and make the tables and indexes that it lacks. One that cannot be written opens read-only.

        Args:
            path: the file.
            schema: SQL that makes the tables. Every statement says IF NOT EXISTS: all are run at every opening.
            create: make the file if it does not exist.

        Raises:
            LibraryError: it is missing or empty (without ``create``), another kind of file, or of a newer layout.
        """
        self.path = path
        self._connection = _connect(path, schema, create=create)

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

    def write(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row of values, in one transaction."""
        with self.transaction() as connection:
            connection.executemany(sql, rows)

    def write_if_possible(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Like :meth:`write`, of what is good to have: a read-only file goes without."""
        try:
            self.write(sql, rows)
        except LibraryError as error:
            if "read-only" not in str(error):
                raise

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """All of it or nothing: commits at the end, rolls back on any error."""
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Several reads that see the file at one moment."""
        with explained(self.path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    @contextmanager
    def attached(self, other: Path) -> Generator[sqlite3.Connection]:
        """A transaction in which the tables of another file can be read, as ``other.TABLE``."""
        with explained(other):
            self._connection.execute("ATTACH DATABASE ? AS other", [reading(other)])
        try:
            with self.transaction() as connection:
                yield connection
        finally:
            self._connection.execute("DETACH DATABASE other")


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
            connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
            _write_ahead(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            _prepare(connection, path, schema)
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
        else:
            connection.execute(f"PRAGMA user_version = {VERSION}")
        for statement in filter(str.strip, schema.split(";")):  # an older lorascope may not have made every index
            connection.execute(statement)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


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
    if found != VERSION:
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
    except sqlite3.Error as error:
        text = str(error)
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
    "database is locked": "another process holds the library for over a minute. Wait for it, or stop it",
    "unable to open": "the library cannot be opened. Check the path and its permissions",
}
