"""Reads a parquet file that a stranger may have made, and prints its rows as lines of JSON.

It is run as a script in a process of its own, which has limits on memory, time and output, so that no file can take
more than these. It imports pyarrow and the standard library only.

The first line holds the names of the columns and the metadata, each further line a row, the last one how many there
were. A Direction is printed as float64 in base64, or null where it is not a list of numbers; bytes are base64, too.
"""

from __future__ import annotations

import base64
import json
import sys
from array import array
from pathlib import Path
from typing import Any

MEMORY = 2**30
"""Bytes above what pyarrow itself takes."""
SECONDS = 600
"""Of processor time."""
ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
"""By default Arrow and glibc reserve gigabytes of addresses, which the limit on memory would count."""
_FOOTER = 2**24
_ROW = 2**18
"""Bytes of one row, decoded, on average; a published one has 4 KB."""
_VALUES = 2**14
"""Numbers in one row, on average; the widest embedding has a tenth of them."""
_BATCH = 100
_BATCH_BYTES = 2**28
_OUTPUT = 2**34


def limit() -> None:
    """Take no more memory, time and disk than these, where the system can hold a process to it (not on Windows)."""
    try:
        import resource
    except ImportError:
        return
    statm = Path("/proc/self/statm")
    if statm.exists():  # elsewhere the address space is no measure of memory
        used = int(statm.read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT, _OUTPUT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def read(path: Path, columns: list[str], smallest: int, groups: list[int] | None) -> None:
    """Print what is in some columns of a file.

    Args:
        path: the file.
        columns: their names; those that the file lacks are left out.
        smallest: bytes that a row takes at least, as stored: a file of more rows is refused.
        groups: the row groups to read; all by default. Of a file of which only a part is here, others are not there.
    """
    import pyarrow
    from pyarrow import parquet

    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    limit()
    _check_footer(path)
    file = parquet.ParquetFile(path, thrift_string_size_limit=_FOOTER, thrift_container_size_limit=_FOOTER)
    names = [name for name in columns if name in file.schema_arrow.names]
    batch = _rows_at_once(path, file.metadata, smallest)
    metadata = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in _metadata(file).items()}
    _print({"columns": file.schema_arrow.names, "metadata": metadata})
    count = 0
    for found in file.iter_batches(batch, columns=names, row_groups=groups, use_threads=False):
        for row in found.to_pylist():
            _print({name: _plain(row.get(name), name) for name in names})
            count += 1
    _print({"rows": count})


def _metadata(file: Any) -> dict[bytes, bytes]:
    return {key: value for key, value in (file.schema_arrow.metadata or {}).items() if key.startswith(b"lorascope_")}


def _check_footer(path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if length > _FOOTER:
        raise ValueError(f"its footer says that it has {length} bytes, more than {_FOOTER}")


def _rows_at_once(path: Path, metadata: Any, smallest: int) -> int:
    """How many rows fit into memory; refuses what grows out of proportion when decoded, by what the footer says."""
    rows, size = metadata.num_rows, path.stat().st_size
    if rows * smallest > size:
        raise ValueError(f"it says that it has {rows} rows in {size} bytes, fewer than {smallest} for each")
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    decoded = sum(group.total_byte_size for group in groups)
    if decoded > rows * _ROW + 2**20:
        raise ValueError(f"its {rows} rows take {decoded} bytes when decoded, more than {_ROW} for each")
    columns = [group.column(place) for group in groups for place in range(group.num_columns)]
    values = max((column.num_values for column in columns), default=0)
    if values > rows * _VALUES:
        raise ValueError(f"its {rows} rows have {values} numbers in a column, more than {_VALUES} for each")
    # every row may hold the longest text again, which is stored once
    longest = max((column.total_uncompressed_size for column in columns), default=1)
    return max(1, min(_BATCH, _BATCH_BYTES // max(1, longest)))


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if name != "direction":
        return value if isinstance(value, str | int | float | list | None) else str(value)[:80]
    try:
        return base64.b64encode(array("d", value)).decode("ascii")
    except (TypeError, ValueError, OverflowError):
        return None


def _print(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data) + "\n")


if __name__ == "__main__":
    try:
        read(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    except Exception as error:
        _print({"error": f"{error}"[:500] or type(error).__name__})
