"""How a good file is changed at random: bytes of any file, or values in the rows of a database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

WORDS = (
    b"999999999999999999999", b"-1", b"null", b"[]", b"{}", b'"\\ud800"', b"NaN", b"1e999", b"\0", b"true",
    b"[" * 100_000, b'"' + b"x" * 100_000 + b'"', b"0.1" * 3, b"\xef\xbb\xbf", b"\xff\xfe",
)  # fmt: skip

"""What is put into a file."""
VALUES: tuple[Any, ...] = (
    None, "", "x", -1, 0, 2**63 - 1, 1e308, float("inf"), b"", b"\0" * 7, b"\xff" * 2048, "{}", "[]", "null", "1e999",
    '{"claims": 1}', '{"measured_words": {"a": 1}}', "x" * 100_000, "[" * 10_000, "\u202e\n\x1b[31m", "../../etc",
)  # fmt: skip
"""What is put into a row."""


def changed(data: bytes, draw: np.random.Generator, pieces: Sequence[bytes] = WORDS) -> bytes:
    """A file with a few bytes changed, cut or repeated, or pieces put between or in the place of others."""
    found = bytearray(data)
    for _ in range(int(draw.integers(1, 6))):
        if not found:
            break
        place, size = int(draw.integers(len(found))), int(draw.integers(1, 40))
        kind, piece = int(draw.integers(7)), pieces[int(draw.integers(len(pieces)))]
        if kind == 0:
            found[place] ^= int(draw.integers(1, 256))
        elif kind == 1:
            del found[place : place + size]
        elif kind == 2:
            found[place:place] = found[place : place + size]
        elif kind == 3:
            found[place : place + size] = draw.integers(0, 256, size, np.uint8).tobytes()
        elif kind == 4:
            found[place : place + size] = piece
        elif kind == 5:
            found[place:place] = piece
        else:
            del found[place:]
    return bytes(found)


def changed_rows(data: bytes, draw: np.random.Generator) -> bytes:
    """A database in whose rows some values were replaced, by a statement as anyone may run it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "changed.db"
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as database, database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for _ in range(int(draw.integers(1, 4))):
                table = tables[int(draw.integers(len(tables)))]
                columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
                column, value = columns[int(draw.integers(len(columns)))], VALUES[int(draw.integers(len(VALUES)))]
                with suppress(sqlite3.Error):  # a constraint that forbids it
                    database.execute(f"UPDATE OR REPLACE {table} SET {column} = ? WHERE rowid % 2", (value,))
        return path.read_bytes()
