"""Libraries in and out: the published CARLoS layout (parquet), other libraries, a manifest of the corpus."""

from __future__ import annotations

import dataclasses
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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


def import_carlos(source: str | Path, library: Library) -> int:
    """Import a library in the layout that the authors of CARLoS publish.

    Args:
        source: a parquet file or its https address.
        library: where it goes.

    Returns:
        How many adapters were read. Importing twice changes nothing.

    Raises:
        MissingExtra: pyarrow is not installed.
        LibraryError: the file cannot be read, lacks a column, or holds a row that is no signature.
    """
    preset = Preset.load(CARLOS)
    known = preset.protocol(base_digest="", encoder=preset.encoders[0], encoder_digest="")
    protocol = dataclasses.replace(known, prompts="")  # the authors' prompts, which are not those of the preset
    count = 0
    with TemporaryDirectory() as folder:
        for rows in _batches(_fetched(str(source), Path(folder)), protocol):
            found = [_from_row(row, place) for place, row in enumerate(rows, count)]
            library.add_protocol(protocol, preset, origin=str(source))
            library.add_adapters([adapter for adapter, _ in found], {})
            library.put_signatures(protocol.digest, "full", {a.key: signature for a, signature in found})
            count += len(found)
    return count


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


def _batches(path: Path, expected: Protocol) -> Iterator[list[dict[str, Any]]]:
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
    if written is not None and (found := Protocol.from_json(written.decode())).digest != expected.digest:
        raise LibraryError(
            f"{path} holds signatures of {found}, which are not to be mixed with {expected}:"
            " import the .db that it was exported from"
        )


def _figures(row: dict[str, Any]) -> np.ndarray | None:
    """Direction, Strength and Consistency as one vector, or None if they are not what they should be."""
    try:
        figures = np.array([*row["direction"], row["strength"], row["consistency"]], np.float64)
    except (TypeError, ValueError):
        return None
    return figures if figures.shape == (_DIM + 2,) and np.isfinite(figures).all() else None


def _from_row(row: dict[str, Any], place: int) -> tuple[StoredAdapter, Signature]:
    figures = _figures(row)
    if figures is None:
        raise LibraryError(
            f"row {place} ({row['model_name']!r}) is no signature: its figures must be {_DIM} + 2 finite numbers;"
            " take that row out"
        )
    key = f"civitai:{row.get('model_id') or 0}@{row['version_id']}"
    claims = {
        name: {"value": value, "source": "import"}
        for name, value in (
            ("title", row["model_name"]),
            ("description", row.get("model_description")),
            ("nsfw_level", row.get("model_nsfw_level")),
            ("civitai_model", row.get("model_id")),
            ("civitai_version", row["version_id"]),
        )
        if value
    }
    facts = {
        "claims": claims,
        "folder_name": row["folder_name"],
        "downloads": row.get("model_download_count"),
    }
    name = row["model_name"] or row["folder_name"]
    return StoredAdapter(key, name, "sdxl", (), facts), _published(figures[:-2], float(figures[-2]), float(figures[-1]))


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
        "version_id": adapter.claimed("civitai_version") or 0,
        "model_id": adapter.claimed("civitai_model"),
        "model_name": adapter.name,
        "model_description": adapter.claimed("description"),
        "model_nsfw_level": adapter.claimed("nsfw_level"),
        "folder_name": adapter.facts.get("folder_name") or adapter.name,
        "direction": signature.direction.astype(np.float32).tolist(),
        "strength": signature.strength,
        "consistency": signature.consistency,
        "model_download_count": adapter.facts.get("downloads"),
        "key": adapter.key,
        "cells": signature.cells,
        "strength_lower": grid.strength and grid.strength.lower,
        "strength_upper": grid.strength and grid.strength.upper,
        "consistency_lower": grid.consistency and grid.consistency.lower,
        "consistency_upper": grid.consistency and grid.consistency.upper,
        "agreement_lower": grid.agreement and grid.agreement.lower,
    }


def merge(source: Path, library: Library) -> int:
    """Take over what another library knows and this one does not.

    Of two signatures of one adapter the one of more cells stays. Where both measured it with other trigger words, the
    other's blocks are not taken: a signature has one wording.

    Returns:
        How many adapters the other library has. Merging twice changes nothing.

    Raises:
        LibraryError: the other one cannot be read.
    """
    with Library(source) as other:
        known = {stored.protocol.digest for stored in library.protocols()}
        for stored in reversed(other.protocols()):
            if stored.protocol.digest not in known:
                library.add_protocol(stored.protocol, stored.preset, origin=stored.origin)
            mean = other.baseline_mean(stored.protocol.digest)
            if mean is not None and library.baseline_mean(stored.protocol.digest) is None:
                library.put_baseline_mean(stored.protocol.digest, mean)
        adapters = other.adapters()
        here = library.adapters(adapters)
        stamps = {path: (size, mtime_ns) for path, (_, size, mtime_ns) in other.stamps().items()}
        library.add_adapters([_joined(here.get(key), theirs) for key, theirs in adapters.items()], stamps)
        for stored in other.protocols():
            digest = stored.protocol.digest
            for key, found in other.signatures(digest, adapters).items():
                library.put_signatures(digest, found.precision, {key: found.signature})
        library.absorb(other, [key for key, mine in here.items() if _reworded(mine, adapters[key])])
        return len(adapters)


def _worn(adapter: StoredAdapter) -> dict[str, str]:
    """The trigger words that an adapter was measured with, by scene."""
    return adapter.facts.get("worn", {})


def _joined(mine: StoredAdapter | None, theirs: StoredAdapter) -> StoredAdapter:
    """What is known here, with the other library's paths, and with its words for scenes that were not measured here."""
    if mine is None:
        return theirs
    facts = mine.facts | ({"worn": _worn(theirs) | _worn(mine)} if _worn(theirs) else {})
    return dataclasses.replace(mine, paths=theirs.paths, facts=facts)


def _reworded(mine: StoredAdapter, theirs: StoredAdapter) -> bool:
    return any(_worn(mine).get(scene, words) != words for scene, words in _worn(theirs).items())


def write_manifest(library: Library, path: Path) -> int:
    """Write what was let in by which rule, and why each other file was left out, as JSON.

    Returns:
        How many adapters it lists.

    Raises:
        OutputError: the file cannot be written.
    """
    adapters = library.adapters()
    manifest = {
        "rule": "every file that matches the base model of its Protocol and passes every check of the adapter reader",
        "protocols": [json.loads(stored.protocol.to_json()) for stored in library.protocols()],
        "runs": [run | {"request": _without_owner(run["request"])} for run in library.runs()],
        "adapters": [
            {"key": a.key, "name": a.name, "family": a.family, "paths": a.paths} | _coverage(a)
            for a in adapters.values()
        ],
        "left_out": [vars(refusal) for refusal in library.refusals()],
    }
    with whole(path) as partial:
        partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8")
    return len(adapters)


def _without_owner(request: dict[str, Any]) -> dict[str, Any]:
    """Which process did it is nobody else's business."""
    return {name: value for name, value in request.items() if name != "owner"}


def _coverage(adapter: StoredAdapter) -> dict[str, Any]:
    return {name: adapter.facts[name] for name in ("modules_matched", "modules_total") if name in adapter.facts}
