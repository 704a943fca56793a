"""The published CARLoS layout (parquet), in and out."""

from __future__ import annotations

import dataclasses
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lorascope.caches import whole
from lorascope.errors import LibraryError, MissingExtra
from lorascope.library.records import StoredAdapter
from lorascope.library.store import Library
from lorascope.protocol import Preset, Protocol
from lorascope.signature import Accuracy, Estimate, Signature

CARLOS = "carlos-2025"
"""The Protocol under which the published library is imported: measured elsewhere, models known by name only."""
_COLUMNS = ("version_id", "model_name", "folder_name", "direction", "strength", "consistency")
_BATCH = 500
_DIM = 512
"""Width of the embeddings of the published library: CLIP ViT-B/32."""
_INT64 = 2**63


@final
class Published:
    """A library in the layout that the authors of CARLoS publish, of which every row was checked."""

    def __init__(self, path: Path, source: str) -> None:
        """Check a parquet file; ``source`` is what it is called.

        Raises:
            MissingExtra: pyarrow is not installed.
            LibraryError: the file cannot be read, lacks a column, or holds a row that is no signature.
        """
        self._path, self._source = path, source
        self._preset = Preset.load(CARLOS)
        known = self._preset.protocol(base_digest="", encoder=self._preset.encoders[0], encoder_digest="")
        self._protocol = dataclasses.replace(known, prompts="")  # the authors' prompts, not those of the preset
        for _ in self._batches():
            pass

    def into(self, library: Library) -> int:
        """Take all of it over into a library; returns how many adapters there are. Twice changes nothing.

        Raises:
            LibraryError: the library cannot be written.
        """
        count = 0
        library.add_protocol(self._protocol, self._preset, origin=self._source)
        for found in self._batches():
            library.add_adapters([adapter for adapter, _ in found], {})
            library.put_signatures(self._protocol.digest, "full", {a.key: signature for a, signature in found})
            count += len(found)
        return count

    def _batches(self) -> Iterator[list[tuple[StoredAdapter, Signature]]]:
        count = 0
        for rows in _rows(self._path, self._protocol):
            yield [_from_row(row, place) for place, row in enumerate(rows, count)]
            count += len(rows)


@contextmanager
def published(source: str | Path) -> Generator[Published]:
    """Fetch a library in the authors' layout, if it is an address, and check it before anything is taken over.

    Args:
        source: a parquet file or its https address.

    Raises:
        MissingExtra: pyarrow is not installed.
        LibraryError: the file cannot be read, lacks a column, or holds a row that is no signature.
    """
    with TemporaryDirectory() as folder:
        yield Published(_fetched(str(source), Path(folder)), str(source))


def import_carlos(source: str | Path, library: Library) -> int:
    """Import a library in the layout that the authors of CARLoS publish: all of it, or nothing where a row is wrong.

    Args:
        source: a parquet file or its https address.
        library: where it goes.

    Returns:
        How many adapters were read. Importing twice changes nothing.

    Raises:
        MissingExtra: pyarrow is not installed.
        LibraryError: the file cannot be read, lacks a column, or holds a row that is no signature.
    """
    with published(source) as theirs:
        return theirs.into(library)


def _fetched(source: str, folder: Path) -> Path:
    if not source.startswith(("https://", "http://")):
        return Path(source)
    target = folder / "library.parquet"
    try:
        urllib.request.urlretrieve(source, target)
    except (OSError, ValueError) as error:
        raise LibraryError(f"{source} could not be fetched ({error}): check the address and the connection") from error
    return target


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("parquet files need pyarrow: run `pip install 'lorascope[parquet]'`") from error
    return pyarrow.parquet


def _rows(path: Path, expected: Protocol) -> Iterator[list[dict[str, Any]]]:
    parquet = _parquet()
    import pyarrow

    try:
        file = parquet.ParquetFile(path)
        missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise LibraryError(
                f"{path} lacks the columns {', '.join(missing)}: give a file in the layout of the published library"
            )
        _check_protocol(path, file.schema_arrow.metadata or {}, expected)
        for batch in file.iter_batches(_BATCH):
            yield batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise LibraryError(
            f"{path} cannot be read as parquet ({error}): give the published library or an export"
        ) from error


def _check_protocol(path: Path, metadata: dict[bytes, bytes], expected: Protocol) -> None:
    """An export of ours says what it was measured under, which may be something else."""
    written = metadata.get(b"lorascope_protocol")
    if written is None:
        return
    try:
        found = Protocol.from_json(written.decode())
        name, same = str(found), found.digest == expected.digest
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LibraryError(
            f"{path}: the Protocol among its metadata cannot be read ({error!r:.120}): export it again, or import the"
            " .db that it was exported from"
        ) from error
    if not same:
        raise LibraryError(
            f"{path} holds signatures of {name}, which are not to be mixed with {expected}:"
            " import the .db that it was exported from"
        )


def _figures(row: dict[str, Any]) -> Float64[np.ndarray, " figures"] | None:
    """Direction, Strength and Consistency as one vector, or None if they are not what they should be."""
    try:
        figures = np.array([*row["direction"], row["strength"], row["consistency"]], np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if figures.shape != (_DIM + 2,) or not (np.abs(figures) <= np.finfo(np.float32).max).all():
        return None  # a Direction is stored in float32
    return figures if figures[-2] >= 0 and abs(figures[-1]) <= 1 else None


def _from_row(row: dict[str, Any], place: int) -> tuple[StoredAdapter, Signature]:
    figures, version, model = _figures(row), _number(row["version_id"]), _number(row.get("model_id")) or 0
    if figures is None:
        raise LibraryError(
            f"row {place} ({row['model_name']!r}) is no signature: its figures must be {_DIM} + 2 finite numbers,"
            " Strength 0 or more and Consistency from -1 to 1; take that row out"
        )
    if not version or version < 0:
        raise LibraryError(
            f"row {place} ({row['model_name']!r}): version_id is {row['version_id']!r}, but tells adapters apart: give"
            " Civitai's number of the version, or take that row out"
        )
    key, folder = f"civitai:{model}@{version}", _text(row["folder_name"])
    claims = {
        name: {"value": value, "source": "import"}
        for name, value in (
            ("title", _text(row["model_name"])),
            ("description", _text(row.get("model_description"))),
            ("nsfw_level", _number(row.get("model_nsfw_level"))),
            ("civitai_model", model),
            ("civitai_version", version),
        )
        if value
    }
    facts = {"claims": claims, "folder_name": folder, "downloads": _number(row.get("model_download_count"))}
    name = _text(row["model_name"]) or folder or key
    return StoredAdapter(key, name, "sdxl", (), facts), _published(figures[:-2], float(figures[-2]), float(figures[-1]))


def _text(value: object) -> str | None:
    """What is claimed in words, as with sidecars: what is something else is no claim."""
    return value if isinstance(value, str) and value.strip() else None


def _number(value: object) -> int | None:
    """A whole number that a column of the layout holds; a column in which some are missing has them as floats."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _INT64 else None


def _published(direction: Float64[np.ndarray, " d"], strength: float, consistency: float) -> Signature:
    """A signature of the three published figures. They are of the full grid, so they are exact for that grid."""
    exact = Accuracy(*(Estimate(value, value, value) for value in (strength, consistency, 1.0)))
    return Signature(
        direction=direction,
        strength=strength,
        consistency=consistency,
        active_consistency=None,
        active_share=1.0,
        magnitude=float(np.linalg.norm(direction)),
        cells=4480,
        prompts=280,
        grid=exact,
        new_prompts=Accuracy(None, None, None),
        categories=(),
    )


def export_carlos(library: Library, path: Path, protocol: str = "") -> int:
    """Write the signatures of one Protocol as parquet in the authors' layout, with our own columns after theirs.

    Returns:
        How many adapters were written.

    Raises:
        MissingExtra: pyarrow is not installed.
        OutputError: the file cannot be written.
    """
    parquet = _parquet()
    import pyarrow

    stored = library.protocol(protocol)
    adapters = library.adapters()
    signatures = library.signatures(stored.protocol.digest, adapters)
    rows = [_to_row(adapters[key], signatures[key].signature) for key in signatures]
    table = pyarrow.Table.from_pylist(rows, schema=_schema(pyarrow))
    table = table.replace_schema_metadata({"lorascope_protocol": stored.protocol.to_json()})
    with whole(path) as partial:
        parquet.write_table(table, partial)
    return len(rows)


def _schema(pyarrow: Any) -> Any:
    text, whole, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    fields = {
        "version_id": whole, "model_id": whole, "model_name": text, "model_description": text,
        "model_nsfw_level": whole, "folder_name": text, "direction": pyarrow.list_(pyarrow.float32()),
        "strength": real, "consistency": real, "model_download_count": whole,
        "key": text, "cells": whole, "strength_lower": real, "strength_upper": real,
        "consistency_lower": real, "consistency_upper": real, "agreement_lower": real,
    }  # fmt: skip
    return pyarrow.schema(list(fields.items()))


def _to_row(adapter: StoredAdapter, signature: Signature) -> dict[str, Any]:
    grid = signature.grid
    return {
        "version_id": _number(adapter.claimed("civitai_version")) or 0,
        "model_id": _number(adapter.claimed("civitai_model")),
        "model_name": adapter.name,
        "model_description": _text(adapter.claimed("description")),
        "model_nsfw_level": _number(adapter.claimed("nsfw_level")),
        "folder_name": _text(adapter.facts.get("folder_name")) or adapter.name,
        "direction": signature.direction.astype(np.float32).tolist(),
        "strength": signature.strength,
        "consistency": signature.consistency,
        "model_download_count": _number(adapter.facts.get("downloads")),
        "key": adapter.key,
        "cells": signature.cells,
        "strength_lower": grid.strength and grid.strength.lower,
        "strength_upper": grid.strength and grid.strength.upper,
        "consistency_lower": grid.consistency and grid.consistency.lower,
        "consistency_upper": grid.consistency and grid.consistency.upper,
        "agreement_lower": grid.agreement and grid.agreement.lower,
    }
