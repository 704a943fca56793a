"""Directories: which files are in which packs, by the beginnings of their SHA-256.

A directory is fetched whole, so that its host does not learn what it was asked for. It has four bytes of each SHA-256,
sorted and stored as differences: about two bytes a file. What they find is fetched from the pack in groups of 64
adapters, so that a pack's host learns that one of these 64 is wanted, and not which.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Int64

from lorascope.caches import whole
from lorascope.errors import LibraryError
from lorascope.extras import require
from lorascope.library import validation
from lorascope.library.decoded import DecodedParquet

NAME = "directory.parquet"
LARGEST = 2**26
"""Bytes of a directory. One of ten million adapters has half as many."""
_COLUMNS = ("prefix", "pack", "group")
_MOST_PACKS = 10_000
_METADATA = "lorascope_packs"


@dataclass(frozen=True)
class ListedPack:
    """A pack of a directory: where it is ("" for the directory's own pack), and the SHA-256 of its manifest."""

    address: str
    manifest: str


@dataclass(frozen=True)
class Entry:
    """A file that a pack holds: the beginning of its SHA-256, the pack's number, and the group of rows it is in."""

    prefix: int
    pack: int
    group: int


def prefix(key: str) -> int | None:
    """The first four bytes of a file's SHA-256, or None for an adapter that is not known by one."""
    return int(key[7:15], 16) if key.startswith("sha256:") else None


def write_directory(path: Path, listings: Sequence[ListedPack], entries: Iterable[Entry]) -> None:
    """Write a directory.

    Raises:
        MissingExtra: pyarrow is not installed.
        OutputError: the file cannot be written.
    """
    require("parquet")
    import pyarrow
    from pyarrow import parquet

    rows = sorted(entries, key=lambda one: (one.prefix, one.pack, one.group))
    columns: dict[str, Any] = {
        name: pyarrow.array([getattr(one, name) for one in rows], pyarrow.int64()) for name in _COLUMNS
    }
    table = pyarrow.table(columns).replace_schema_metadata({_METADATA: json.dumps([asdict(one) for one in listings])})
    encodings = dict.fromkeys(_COLUMNS, "DELTA_BINARY_PACKED")
    with whole(path) as partial:
        parquet.write_table(table, partial, use_dictionary=False, column_encoding=encodings, compression="zstd",
                            write_statistics=False)  # fmt: skip


@final
class Directory:
    """A directory that a stranger may have made, of which every row was checked."""

    def __init__(self, path: Path, source: str, folder: Path) -> None:
        """Read and check it.

        Raises:
            MissingExtra: pyarrow is not installed.
            LibraryError: it is no directory.
        """
        decoded = DecodedParquet(path, source, folder / "directory", _COLUMNS, smallest=1)
        try:
            self.listings = _listings(decoded.metadata.get(_METADATA))
            if missing := [name for name in _COLUMNS if name not in decoded.columns]:
                raise LibraryError(f"it lacks the columns {', '.join(missing)}")
            limits = {"prefix": 2**32 - 1, "pack": len(self.listings) - 1, "group": 2**31}
            rows = [
                [validation.whole(row[name], name, 0, most) for name, most in limits.items()] for row in decoded.rows()
            ]
        except LibraryError as error:
            raise LibraryError(
                f"{source} is no directory of packs ({error}): take a single table of signatures over with --all"
            ) from error
        self._rows: Int64[np.ndarray, "n 3"] = np.array(sorted(rows), np.int64).reshape(-1, len(_COLUMNS))

    def entries(self) -> list[Entry]:
        """All that it holds."""
        return [Entry(*map(int, row)) for row in self._rows]

    def look_up(self, keys: Iterable[str]) -> dict[int, list[int]]:
        """Which groups of which packs may hold some adapters: numbers of groups, ascending, by number of a pack."""
        wanted = np.array(sorted({found for key in keys if (found := prefix(key)) is not None}), np.int64)
        rows = self._rows[np.isin(self._rows[:, 0], wanted)]
        return {int(pack): sorted({int(row[2]) for row in rows if row[1] == pack}) for pack in np.unique(rows[:, 1])}


def _listings(text: object) -> list[ListedPack]:
    try:
        fields = json.loads(validation.text(text, "the list of packs", validation.JSON_TEXT * 4))
    except ValueError as error:
        raise LibraryError(f"the list of packs is no JSON ({error!s:.80})") from error
    if not isinstance(fields, list) or not 1 <= len(fields) <= _MOST_PACKS:
        raise LibraryError("it must list a pack at least")
    return [_listing(one) for one in fields]


def _listing(value: object) -> ListedPack:
    if not isinstance(value, dict) or value.keys() != {"address", "manifest"}:
        raise LibraryError("a pack must have an address and the digest of its manifest")
    digest = validation.text(value["manifest"], "the digest of a manifest", 64)
    return ListedPack(validation.text(value["address"], "the address of a pack", 4096), digest)
