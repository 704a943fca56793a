"""The manifest of a pack: what it holds, how that was measured, and the digest of every byte."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from lorascope.errors import LibraryError
from lorascope.library import validation
from lorascope.protocol import Execution, Preset, Protocol

NAME = "manifest.json"
FORMAT = "lorascope-pack-1"
LARGEST = 2**25
"""Bytes of a manifest. One of a million adapters has four million."""
_FIELDS = frozenset(
    {"format", "made_by", "made", "title", "adapters", "protocol", "preset", "executions", "baseline", "files"}
)
_SHA256 = re.compile("[0-9a-f]{64}")
_FILE = re.compile("[a-z0-9][a-z0-9._-]{0,79}")
_MOST_CHUNKS = 2**20
_MOST_FILES = 16
_MOST_EXECUTIONS = 10_000


@dataclass(frozen=True)
class Chunk:
    """A part of a file that is fetched by itself: how many bytes it has, and their SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class PackFile:
    """A file of a pack. Its chunks follow each other; of a parquet file, they are its row groups and its footer."""

    name: str
    size: int
    sha256: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, eq=False)
class Baseline:
    """The mean bare embedding of a Protocol, which pictures are compared with, and of how many cells it is the mean."""

    cells: int
    mean: Float32[np.ndarray, " d"]


@dataclass(frozen=True, eq=False)
class Manifest:
    """What a pack holds.

    Attributes:
        title: What its maker calls it.
        made_by: The version of lorascope that wrote it.
        made: The day, as 2026-11-28.
        adapters: How many signatures it holds.
        protocol: What was measured.
        preset: Where that started from, with its thresholds.
        executions: How it was measured.
        files: Its parts.
        baseline: The mean bare embedding, if it is shared.
    """

    title: str
    made_by: str
    made: str
    adapters: int
    protocol: Protocol
    preset: Preset
    executions: tuple[Execution, ...]
    files: tuple[PackFile, ...]
    baseline: Baseline | None = None

    def file(self, name: str) -> PackFile | None:
        """One of its parts, or None."""
        return next((one for one in self.files if one.name == name), None)

    def to_json(self) -> str:
        """All of it as JSON, the inverse of :meth:`from_json`."""
        mean = None if self.baseline is None else base64.b64encode(self.baseline.mean.tobytes()).decode("ascii")
        fields: dict[str, Any] = {
            "format": FORMAT,
            "made_by": self.made_by,
            "made": self.made,
            "title": self.title,
            "adapters": self.adapters,
            "protocol": json.loads(self.protocol.to_json()),
            "preset": json.loads(self.preset.to_json()),
            "executions": [dataclasses.asdict(one) for one in self.executions],
            "baseline": None if self.baseline is None else {"cells": self.baseline.cells, "mean": mean},
            "files": [
                {"name": one.name, "size": one.size, "sha256": one.sha256,
                 "chunks": [[chunk.size, chunk.sha256] for chunk in one.chunks]}
                for one in self.files
            ],
        }  # fmt: skip
        return json.dumps(fields, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str) -> Manifest:
        """A manifest that a stranger may have made, every field of which is checked.

        Raises:
            LibraryError: a field is missing, added, or not what it must be.
        """
        try:
            fields = validation.json_object(text, "the manifest", LARGEST)
            if fields.get("format") != FORMAT:
                raise LibraryError(f"its format is {str(fields.get('format'))!r:.80}, not {FORMAT}: update lorascope")
            if odd := fields.keys() ^ _FIELDS:
                raise LibraryError(f"it lacks or adds {', '.join(sorted(map(str, odd)))[:80]}")
            return cls(
                title=validation.text(fields["title"], "its title"),
                made_by=validation.text(fields["made_by"], "its maker"),
                made=validation.text(fields["made"], "its day", 20),
                adapters=validation.whole(fields["adapters"], "its number of adapters"),
                protocol=validation.protocol(json.dumps(fields["protocol"])),
                preset=validation.preset(json.dumps(fields["preset"])),
                executions=tuple(
                    _execution(one) for one in _list(fields["executions"], "executions", _MOST_EXECUTIONS)
                ),
                files=_files(fields["files"]),
                baseline=_baseline(fields["baseline"]),
            )
        except LibraryError as error:
            raise LibraryError(f"{source}: the manifest cannot be used: {error}: nothing was taken over") from error


def _list(value: object, what: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise LibraryError(f"its {what} must be a list of at most {most}")
    return value


def _execution(value: object) -> Execution:
    fields = json.dumps(value)
    try:
        digest = Execution(**json.loads(fields)).digest
    except TypeError as error:
        raise LibraryError(f"an Execution lacks or adds a field ({error!s:.80})") from error
    return validation.execution(fields, digest)


def _files(value: object) -> tuple[PackFile, ...]:
    files = tuple(_file(one) for one in _list(value, "files", _MOST_FILES))
    if len({one.name for one in files}) != len(files):
        raise LibraryError("a file is there twice")
    return files


def _file(value: object) -> PackFile:
    if not isinstance(value, dict) or value.keys() != {"name", "size", "sha256", "chunks"}:
        raise LibraryError("a file must hold name, size, sha256 and chunks")
    name = value["name"]
    if not isinstance(name, str) or not _FILE.fullmatch(name):
        raise LibraryError(f"a file is called {str(name)!r:.80}: it must be a plain name within the pack")
    chunks = tuple(_chunk(one, name) for one in _list(value["chunks"], f"chunks of {name}", _MOST_CHUNKS))
    size = validation.whole(value["size"], f"the size of {name}", 1)
    if chunks and sum(chunk.size for chunk in chunks) != size:
        raise LibraryError(f"the chunks of {name} are not all of its {size} bytes")
    return PackFile(name, size, _sha256(value["sha256"], name), chunks)


def _chunk(value: object, name: str) -> Chunk:
    if not isinstance(value, list) or len(value) != 2:
        raise LibraryError(f"a chunk of {name} must be a size and a digest")
    return Chunk(validation.whole(value[0], f"a chunk of {name}", 1), _sha256(value[1], name))


def _sha256(value: object, name: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise LibraryError(f"a digest of {name} is {str(value)!r:.80}: it must be 64 hex digits")
    return value


def _baseline(value: object) -> Baseline | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {"cells", "mean"} or not isinstance(value["mean"], str):
        raise LibraryError("its baseline must hold cells and mean")
    try:
        mean = base64.b64decode(validation.text(value["mean"], "the baseline", 2**20), validate=True)
    except ValueError as error:
        raise LibraryError("its baseline is not base64") from error
    numbers = validation.vector(mean, "the baseline")
    if len(numbers) > validation.WIDEST:
        raise LibraryError(f"its baseline has {len(numbers)} dimensions: no encoder has more than {validation.WIDEST}")
    return Baseline(validation.whole(value["cells"], "the baseline's cells"), numbers)
