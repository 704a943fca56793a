"""The published CARLoS layout (parquet), in and out."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

import numpy as np
from jaxtyping import Float64

from lorascope.adapters.claims import Claim
from lorascope.caches import whole
from lorascope.errors import LibraryError
from lorascope.extras import require
from lorascope.library import validation
from lorascope.library.codec import columns
from lorascope.library.decoded import DecodedParquet
from lorascope.library.download import fetch
from lorascope.library.facts import AdapterFacts
from lorascope.library.records import StoredAdapter, StoredSignature
from lorascope.library.store import Library
from lorascope.protocol import Preset, Protocol
from lorascope.signature import Accuracy, Estimate, Signature

CARLOS = "carlos-2025"
"""The Protocol under which the published library is imported: measured elsewhere, models known by name only."""
_REQUIRED = ("version_id", "model_name", "folder_name", "direction", "strength", "consistency")
_OPTIONAL = ("model_id", "model_description", "model_nsfw_level", "model_download_count", "mean")
_OURS = ("key", "family", "triggers", "precision", "figures")
"""Columns of an export of lorascope, with which it can be imported under its own Protocol."""
_PACKED = ("measured_words", "executions")
"""Columns of a pack."""
_DIM = 512
"""Width of the embeddings of the published library: CLIP ViT-B/32."""
_INT64 = 2**63
_MOST_EXECUTIONS = 1000


@dataclass(frozen=True)
class PublishedRow:
    """An adapter, its signature, the Precision that it was measured to, and the digests of how it was rendered."""

    adapter: StoredAdapter
    signature: Signature
    precision: str
    executions: tuple[str, ...] = ()


@final
class Published:
    """A parquet file in the layout that the authors of CARLoS publish, of which every row was checked.

    The file may be theirs, or an export of lorascope, whose metadata holds the Protocol it was measured under.
    """

    def __init__(self, path: Path, source: str, folder: Path, groups: Sequence[int] | None = None) -> None:
        """Read and check a parquet file.

        Raises:
            MissingExtra: pyarrow is not installed.
            LibraryError: the file cannot be read, lacks a column, or holds a row that is no signature.
        """
        self._source = source
        names = _REQUIRED + _OPTIONAL + _OURS + _PACKED
        self._decoded = DecodedParquet(path, source, folder / "rows", names, groups=groups)
        self.preset, self.protocol = _measured_under(self._decoded.metadata, source)
        self.own = self.protocol != _carlos()[1]
        missing = [name for name in _REQUIRED + _OURS * self.own if name not in self._decoded.columns]
        if missing:
            raise LibraryError(
                f"{source} lacks the columns {', '.join(missing)}: give a file in the layout of the published library"
            )
        for _ in self.rows():
            pass

    def rows(self) -> Iterator[PublishedRow]:
        """Every adapter with its signature."""
        for place, row in enumerate(self._decoded.rows()):
            yield self._checked(row, place)

    def _checked(self, row: dict[str, Any], place: int) -> PublishedRow:
        direction = row["direction"]
        numbers = None if direction is None else np.frombuffer(base64.b64decode(direction), np.float64)
        try:
            if self.own:
                return _own_row(row, numbers, self.protocol.scene)
            return PublishedRow(*_published_row(row, numbers), "full")
        except LibraryError as error:
            raise LibraryError(f"{self._source}: row {place} ({str(row['model_name'])!r:.80}) {error}") from error

    def into(self, library: Library) -> int:
        """Take all of it over into a library, as claims; returns how many adapters there are. Idempotent.

        Raises:
            LibraryError: the library cannot be written, or has Directions of another width under this Protocol.
        """
        count, digest = 0, self.protocol.digest
        origin = f"{self._source} ({time.strftime('%Y-%m-%d')})"
        with library.transaction():
            if digest not in {stored.protocol.digest for stored in library.protocols.all()}:
                library.protocols.add(self.protocol, self.preset, origin=self._source, active=not self.own)
            for row in self.rows():
                adapter, signature = row.adapter, row.signature
                width = library.signatures.width(digest) or len(signature.direction)
                if len(signature.direction) != width:
                    raise LibraryError(
                        f"{self._source}: the Direction of {adapter.name!r:.80} has {len(signature.direction)}"
                        f" dimensions, others under its Protocol have {width}: nothing was imported"
                    )
                if not self.own or not library.adapters.get([adapter.key]):
                    library.adapters.add([adapter], {})
                library.signatures.put(digest, row.precision, {adapter.key: signature}, origin=origin, claimed=True)
                count += 1
        return count


@contextmanager
def published(source: str | Path, *, insecure: bool = False) -> Generator[Published]:
    """Fetch a library in the authors' layout, if it is an address, and check it before anything is taken over.

    Raises:
        MissingExtra: pyarrow is not installed.
        LibraryError: the file cannot be read, lacks a column, or holds a row that is no signature.
    """
    with TemporaryDirectory() as folder:
        path = Path(source)
        if str(source).startswith(("https://", "http://")):
            path = Path(folder) / "library.parquet"
            fetch(str(source), path, insecure=insecure)
        yield Published(path, str(source), Path(folder))


def _carlos() -> tuple[Preset, Protocol]:
    preset = Preset.load(CARLOS)
    protocol = preset.protocol(base_digest="", encoder=preset.encoders[0], encoder_digest="")
    return preset, dataclasses.replace(protocol, prompts="")  # the authors' prompts, not those of the preset


def _measured_under(metadata: dict[str, str], source: str) -> tuple[Preset, Protocol]:
    """The Protocol of an export, as its metadata holds it; the authors' own where there is none."""
    written = metadata.get("lorascope_protocol")
    preset, protocol = _carlos()
    if written is None:
        return preset, protocol
    try:
        found = validation.protocol(written)
        if found.digest == protocol.digest:
            return preset, protocol
        return validation.preset(metadata.get("lorascope_preset")), found
    except LibraryError as error:
        raise LibraryError(
            f"{source}: the Protocol among its metadata cannot be read ({error!s:.200}): export it again, or import the"
            " .db that it was exported from"
        ) from error


def _own_row(row: dict[str, Any], direction: Float64[np.ndarray, " d"] | None, scene: str) -> PublishedRow:
    """A row of our own export, or of a pack."""
    if direction is None:
        raise LibraryError("has no Direction; take that row out")
    with np.errstate(over="ignore"):
        stored = direction.astype(np.float32).tobytes()
        mean = None if row.get("mean") is None else np.array(row["mean"], np.float32).tobytes()
    signature = validation.signature(stored, mean, row["figures"])
    key, name = validation.key(row["key"]), validation.text(row["model_name"], "the name")
    facts = _facts(row)
    if isinstance(row["triggers"], list) and row["triggers"]:
        words = tuple(validation.text(word, "a trigger word") for word in row["triggers"])
        claims = {**facts.claims, "triggers": Claim(words, "import")}
        facts = dataclasses.replace(facts, claims=claims)
    if row.get("measured_words") is not None:
        words = validation.text(row["measured_words"], "the trigger words", validation.TEXT)
        facts = dataclasses.replace(facts, measured_words={scene: words})
    family = validation.text(row["family"], "the family")
    adapter = StoredAdapter(key, name, family, (), facts)
    return PublishedRow(adapter, signature, validation.precision(row["precision"]), _executions(row))


def _executions(row: dict[str, Any]) -> tuple[str, ...]:
    digests = row.get("executions") or []
    if not isinstance(digests, list) or len(digests) > _MOST_EXECUTIONS:
        raise LibraryError("has executions that are no list of digests")
    return tuple(validation.digest(one, "an Execution") for one in digests)


def _figures(
    row: dict[str, Any], direction: Float64[np.ndarray, " d"] | None
) -> Float64[np.ndarray, " figures"] | None:
    """Direction, Strength and Consistency as one vector, or None if they are not what they should be."""
    try:
        figures = np.array([*([] if direction is None else direction), row["strength"], row["consistency"]], np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if figures.shape != (_DIM + 2,) or not (np.abs(figures) <= np.finfo(np.float32).max).all():
        return None  # a Direction is stored in float32
    return figures if figures[-2] >= 0 and abs(figures[-1]) <= 1 else None


def _published_row(row: dict[str, Any], direction: Float64[np.ndarray, " d"] | None) -> tuple[StoredAdapter, Signature]:
    figures, version, model = _figures(row, direction), _number(row["version_id"]), _number(row.get("model_id")) or 0
    if figures is None:
        raise LibraryError(
            f"is no signature: its figures must be {_DIM} + 2 finite numbers, Strength 0 or more and Consistency from"
            " -1 to 1; take that row out"
        )
    if not version or version < 0:
        raise LibraryError(
            f"has the version_id {row['version_id']!r}, but that tells adapters apart: give Civitai's number of the"
            " version, or take that row out"
        )
    key = f"civitai:{model}@{version}"
    name = _text(row["model_name"]) or _text(row["folder_name"]) or key
    adapter = StoredAdapter(key, validation.text(name, "the name"), "sdxl", (), _facts(row))
    return adapter, _published(figures[:-2], float(figures[-2]), float(figures[-1]))


def _facts(row: dict[str, Any]) -> AdapterFacts:
    """What a row says of an adapter besides its signature."""
    claims = {
        name: Claim(value, "import")
        for name, value in (
            ("title", _text(row["model_name"])),
            ("description", _text(row.get("model_description"))),
            ("nsfw_level", _number(row.get("model_nsfw_level"))),
            ("civitai_model", _number(row.get("model_id"))),
            ("civitai_version", _number(row["version_id"])),
        )
        if value
    }
    validation.plain({name: claim.value for name, claim in claims.items()}, "what is claimed")
    folder, downloads = _text(row["folder_name"]), _number(row.get("model_download_count"))
    return AdapterFacts(claims=claims, folder_name=folder, downloads=downloads)


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
        mean=direction,
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
    require("parquet")
    import pyarrow
    from pyarrow import parquet

    stored = library.protocols.find(protocol)
    adapters = library.adapters.all()
    signatures = library.signatures.get(stored.protocol.digest, adapters)
    rows = [export_row(adapters[key], signatures[key]) for key in signatures]
    table = pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(list(export_schema().items())))
    table = table.replace_schema_metadata(measured_under(stored.protocol, stored.preset))
    with whole(path) as partial:
        parquet.write_table(table, partial)
    return len(rows)


def measured_under(protocol: Protocol, preset: Preset) -> dict[str, str]:
    """The metadata of an export: under what its rows were measured."""
    return {"lorascope_protocol": protocol.to_json(), "lorascope_preset": preset.to_json()}


def export_schema() -> dict[str, Any]:
    """The columns of an export by name, with pyarrow's types."""
    import pyarrow

    text, whole, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    return {
        "version_id": whole, "model_id": whole, "model_name": text, "model_description": text,
        "model_nsfw_level": whole, "folder_name": text, "direction": pyarrow.list_(pyarrow.float32()),
        "strength": real, "consistency": real, "model_download_count": whole,
        "key": text, "cells": whole, "strength_lower": real, "strength_upper": real,
        "consistency_lower": real, "consistency_upper": real, "agreement_lower": real,
        "family": text, "triggers": pyarrow.list_(text), "precision": text, "figures": text,
        "mean": pyarrow.list_(pyarrow.float32()),
    }  # fmt: skip


def export_row(adapter: StoredAdapter, stored: StoredSignature) -> dict[str, Any]:
    """What an export says of an adapter, by the names of columns."""
    signature = stored.signature
    grid = signature.grid
    return {
        "version_id": _number(adapter.claimed("civitai_version")) or 0,
        "model_id": _number(adapter.claimed("civitai_model")),
        "model_name": adapter.name,
        "model_description": _text(adapter.claimed("description")),
        "model_nsfw_level": _number(adapter.claimed("nsfw_level")),
        "folder_name": _text(adapter.facts.folder_name) or adapter.name,
        "direction": signature.direction.astype(np.float32).tolist(),
        "strength": signature.strength,
        "consistency": signature.consistency,
        "model_download_count": _number(adapter.facts.downloads),
        "key": adapter.key,
        "cells": signature.cells,
        "strength_lower": grid.strength and grid.strength.lower,
        "strength_upper": grid.strength and grid.strength.upper,
        "consistency_lower": grid.consistency and grid.consistency.lower,
        "consistency_upper": grid.consistency and grid.consistency.upper,
        "agreement_lower": grid.agreement and grid.agreement.lower,
        "family": adapter.family,
        "triggers": adapter.claimed("triggers") or [],
        "precision": stored.precision,
        "figures": columns(signature)[-1],
        "mean": signature.mean.astype(np.float32) if signature.calibration else None,
    }
