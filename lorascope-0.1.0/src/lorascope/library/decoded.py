"""A parquet file that a stranger may have made, decoded in a process with limits of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from lorascope.errors import LibraryError
from lorascope.extras import require
from lorascope.library import parquet_reader

_LONGEST_LINE = 2**22
SIGNATURE_BYTES = 256
"""Bytes of a row with a Direction, as stored: noise to a compressor, 512 numbers take a kilobyte at least."""


@final
class DecodedParquet:
    """Rows of a parquet file as plain data. Nothing of it but their JSON was decoded in this process."""

    def __init__(
        self,
        path: Path,
        source: str,
        rows: Path,
        columns: Sequence[str],
        *,
        smallest: int = SIGNATURE_BYTES,
        groups: Sequence[int] | None = None,
    ) -> None:
        """Decode a file.

        Args:
            path: the file.
            source: what it is called in messages.
            rows: a file to be made, which the decoded rows are kept in.
            columns: the columns to read, of those that it has.
            smallest: bytes that a row takes at least, as stored.
            groups: the row groups to read; all by default.

        Raises:
            MissingExtra: pyarrow is not installed.
            LibraryError: the file cannot be read.
        """
        self._rows = rows
        how = {"columns": list(columns), "smallest": smallest, "groups": None if groups is None else list(groups)}
        _decode(path, rows, source, json.dumps(how))
        with rows.open(encoding="ascii") as lines:
            header = json.loads(lines.readline())
        self.columns: list[str] = header["columns"]
        self.metadata: dict[str, str] = header["metadata"]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row, by the names of columns; values are of any type that JSON has."""
        with self._rows.open(encoding="ascii") as lines:
            lines.readline()
            for line in lines:
                row = json.loads(line)
                if "rows" not in row:
                    yield row


def _decode(path: Path, decoded: Path, source: str, how: str) -> None:
    require("parquet")
    command = [sys.executable, "-P", parquet_reader.__file__, str(path.absolute()), how]
    try:
        with decoded.open("wb") as output:
            subprocess.run(
                command,
                env=os.environ | parquet_reader.ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                timeout=parquet_reader.SECONDS,
                check=True,
            )
    except subprocess.TimeoutExpired as error:
        raise _unreadable(source, f"that takes over {parquet_reader.SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        raise _unreadable(source, f"it is damaged, or needs over {parquet_reader.MEMORY} bytes of memory") from error
    last = _last_line(decoded)
    if "rows" not in last:
        raise _unreadable(source, last.get("error", "it ends early"))


def _last_line(decoded: Path) -> dict[str, Any]:
    with decoded.open("rb") as lines:
        lines.seek(max(0, lines.seek(0, 2) - _LONGEST_LINE))
        ending = lines.read().splitlines()
    return json.loads(ending[-1]) if ending else {}


def _unreadable(source: str, reason: str) -> LibraryError:
    return LibraryError(
        f"{source} cannot be read as parquet ({reason}): give the published library, an export or a pack"
    )
