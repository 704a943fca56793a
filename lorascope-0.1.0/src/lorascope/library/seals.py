"""Seals: a digest in every row over all its other columns, by which rot is noticed.

Rows are sealed by temporary triggers of the connection, so that no statement that writes has to think of it, and the
file itself holds no trigger. A row without a seal was written by an earlier version. A seal is no signature: it finds
what a disk or a cable did, not what a person did.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import blake2b

COLUMN = "seal"


def seal(*row: int | float | str | bytes | None) -> bytes:
    """The digest of a row: the name of each column, followed by its value.

    Columns without a value leave no trace, so that a column which a later version adds breaks no seal.

    >>> seal("a", 1, "b", 0.5) == seal("a", 1, "b", 0.5, "later", None)
    True
    """
    values = {str(name): value for name, value in zip(row[::2], row[1::2], strict=True) if value is not None}
    # SQLite stores -0.0 as 0
    plain = {k: len(v) if isinstance(v, bytes) else v + 0.0 if isinstance(v, float) else v for k, v in values.items()}
    digest = blake2b(repr(plain).encode("utf-8", "backslashreplace"), digest_size=8)
    for value in values.values():
        if isinstance(value, bytes):
            digest.update(value)
    return digest.digest()


def seal_rows(connection: sqlite3.Connection) -> None:
    """Have a connection seal every row that it writes, of every table that has a column for it."""
    connection.create_function(COLUMN, -1, seal, deterministic=True)
    for table, columns in sealed_tables(connection):
        update = f"UPDATE {table} SET seal = seal({_pairs(columns, 'NEW.')}) WHERE rowid = NEW.rowid"
        for event, name in (("INSERT", "inserted"), (f"UPDATE OF {', '.join(columns)}", "updated")):
            connection.execute(
                f"CREATE TEMP TRIGGER IF NOT EXISTS seal_{name}_{table} AFTER {event} ON main.{table}"
                f" BEGIN {update}; END"
            )


def sealed_tables(connection: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
    """Tables whose rows have seals, each with the columns that these are over."""
    tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    for (table,) in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
        if COLUMN in columns:
            yield table, [column for column in columns if column != COLUMN]


def intact(columns: Sequence[str], table: str) -> str:
    """SQL: whether a row is as it was written. A row that has no seal counts as intact."""
    return f"({table}.seal IS NULL OR {table}.seal = seal({_pairs(columns, table + '.')}))"


def _pairs(columns: Sequence[str], prefix: str) -> str:
    """SQL: the name and the value of each column."""
    return ", ".join(f"'{column}', {prefix}{column}" for column in columns)
