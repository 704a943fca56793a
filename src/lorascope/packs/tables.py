"""Tables of a pack as parquet files, with the digests by which a part of one can be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lorascope.packs.manifest import Chunk, PackFile


def write_table(
    path: Path, columns: Mapping[str, Any], rows: Iterable[dict[str, Any]], group: int, metadata: Mapping[str, str]
) -> None:
    """Write rows in groups of one size, without loading all of them."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema(list(columns.items())).with_metadata(dict(metadata))
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[dict[str, Any]] = []
        for row in rows:
            waiting.append(row)
            if len(waiting) == group:
                writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))
                waiting = []
        if waiting:
            writer.write_table(pyarrow.Table.from_pylist(waiting, schema=schema))


def described(path: Path, *, parts: bool) -> PackFile:
    """A file with its digest and, if asked for, those of each row group and of what follows them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        chunks: list[Chunk] = []
        if parts:
            file.seek(0)
            for length in _chunk_sizes(path, size):
                chunks.append(Chunk(length, hashlib.sha256(file.read(length)).hexdigest()))
    return PackFile(path.name, size, digest, tuple(chunks))


def _chunk_sizes(path: Path, size: int) -> list[int]:
    from pyarrow import parquet

    metadata = parquet.read_metadata(path)
    ends: list[int] = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(place) for place in range(group.num_columns)]
        starts = (one.dictionary_page_offset or one.data_page_offset for one in columns)
        ends.append(max(start + one.total_compressed_size for start, one in zip(starts, columns, strict=True)))
    limits = [0, *ends, size]
    return [end - start for start, end in zip(limits, limits[1:], strict=False)]
