"""A library of somebody else as checked records: Protocols, adapters, signatures, previews and evidence."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, final

import numpy as np
from jaxtyping import Float32

from lorascope.errors import LibraryError
from lorascope.grid import PREVIEWS, Grid
from lorascope.library import validation
from lorascope.library.database import resolved
from lorascope.library.evidence import Block
from lorascope.library.objects import is_reference
from lorascope.library.quarantine import Quarantine
from lorascope.library.records import Preview, Refusal, StoredAdapter, StoredProtocol
from lorascope.library.schema import EVIDENCE, LIBRARY
from lorascope.library.vectors import PhraseVector
from lorascope.protocol import Execution
from lorascope.signature import Calibration, Signature

_LARGEST_PREVIEW = 2**20
_EXECUTION = re.compile("[0-9a-f]{10}(~[0-9a-f]{16})?")
_PATH = 4096
_WORDS = 20_000


@dataclass(frozen=True)
class ForeignSignature:
    """What another library says of one adapter under one Protocol."""

    protocol: str
    key: str
    signature: Signature
    precision: str


@dataclass(frozen=True)
class ForeignBlock:
    """A block of another library's evidence, and the trigger words that its bare side was extended by."""

    block: Block
    words: str


@final
class ForeignLibrary:
    """Another library. It is never written to, and whatever it holds is checked before it is returned.

    Every method raises :class:`LibraryError` at the first value that no library would hold.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise LibraryError(f"no library at {path}: check the path")
        place = resolved(path)
        evidence = place.with_name(f"{place.stem}.evidence{place.suffix}")
        self.path = path
        with ExitStack() as files:
            self._library = files.enter_context(Quarantine(path, LIBRARY))
            self._evidence = files.enter_context(Quarantine(evidence, EVIDENCE)) if evidence.exists() else None
            self._files = files.pop_all()

    def __enter__(self) -> ForeignLibrary:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def check(self) -> None:
        """Read everything but the evidence, which checks it."""
        for read in (
            self.protocols,
            self.calibrations,
            self.executions,
            self.adapters,
            self.refusals,
            self.signatures,
            self.previews,
        ):
            for _ in read():
                pass

    def check_unchanged(self) -> None:
        """Refuse what was read if another process changed one of the files meanwhile."""
        for file in (self._library, self._evidence):
            if file is not None:
                file.check_unchanged()

    def protocols(self) -> list[StoredProtocol]:
        """All Protocols, the last used first."""
        found: list[tuple[float, StoredProtocol]] = []
        for digest, fields, preset, origin, added in self._rows("protocols", "digest, fields, preset, origin, added"):
            with self._row(f"the Protocol {digest!s:.20}"):
                protocol, used = validation.protocol(fields, digest), validation.real(added, "its time")
                source = validation.text(origin, "its origin", _PATH)
                found.append((used, StoredProtocol(protocol, validation.preset(preset), source, 0)))
        return [stored for _, stored in sorted(found, key=lambda one: -one[0])]

    def baseline_mean(self, protocol: str, dims: int) -> Float32[np.ndarray, " d"] | None:
        """The mean bare embedding of a Protocol, or None."""
        for (mean,) in self._rows("protocols", "baseline_mean", "WHERE digest = ?", [protocol]):
            if mean is not None:
                with self._row(f"the mean of {protocol}"):
                    return _of_length(validation.vector(mean, "it"), dims)
        return None

    def calibrations(self) -> list[Calibration]:
        """All Calibrations, each under the digest of what it says."""
        found: list[Calibration] = []
        for digest, data in self._rows("calibrations", "digest, data"):
            with self._row(f"the Calibration {digest!s:.20}"):
                found.append(validation.calibration(data, digest))
        return found

    def executions(self) -> list[Execution]:
        """All Executions."""
        found: list[Execution] = []
        for digest, fields in self._rows("executions", "digest, fields"):
            with self._row(f"the Execution {digest!s:.20}"):
                found.append(validation.execution(fields, digest))
        return found

    def adapters(self) -> dict[str, StoredAdapter]:
        """All adapters by key, each with its paths."""
        paths: dict[int, list[str]] = {}
        for path, adapter in self._rows("files", "path, adapter"):
            with self._row("a file"):
                paths.setdefault(validation.whole(adapter, "its adapter"), []).append(_path(path))
        found: dict[str, StoredAdapter] = {}
        for number, key, name, family, facts in self._rows("adapters", "id, key, name, family, facts"):
            with self._row(f"the adapter {name!s:.80}"):
                adapter = StoredAdapter(
                    validation.key(key),
                    validation.text(name, "the name"),
                    validation.text(family, "the family"),
                    tuple(sorted(paths.pop(validation.whole(number, "the number"), ()))),
                    validation.facts(facts),
                )
                if key in found:
                    raise LibraryError("is there twice")
                found[key] = adapter
        return found

    def signatures(self) -> Iterator[ForeignSignature]:
        """Every signature, of adapters and Protocols that need not be there."""
        keys = {number: key for number, key in self._rows("adapters", "id, key")}
        for adapter, protocol, direction, mean, figures, precision in self._rows(
            "signatures", "adapter, protocol, direction, mean, figures, precision"
        ):
            with self._row(f"the signature of {keys.get(adapter)!s:.20}"):
                yield ForeignSignature(
                    validation.digest(protocol, "the Protocol"),
                    validation.key(keys.get(adapter)),
                    validation.signature(direction, mean, figures),
                    validation.precision(precision),
                )

    def previews(self) -> Iterator[tuple[str, str, Preview]]:
        """Every kept picture, with its scene and the key of its adapter ("" for the bare base model)."""
        for scene, adapter, place, prompt, seed, webp in self._rows(
            "previews", "scene, adapter, place, prompt, seed, webp"
        ):
            with self._row(f"a preview of {adapter!s:.20}"):
                yield (
                    validation.digest(scene, "the scene"),
                    validation.key(adapter) if adapter else "",
                    Preview(
                        validation.whole(place, "its place", 0, PREVIEWS - 1),
                        validation.text(prompt, "its prompt", _WORDS),
                        validation.whole(seed, "its seed", -(2**63)),
                        check_webp(webp),
                    ),
                )

    def phrases(self, protocol: str, dims: int) -> dict[str, PhraseVector]:
        """The vectors of common phrases under a Protocol."""
        found: dict[str, PhraseVector] = {}
        rows = self._rows("phrases", "phrase, vector, consistency", "WHERE protocol = ?", [protocol])
        for phrase, vector, share in rows:
            with self._row(f"the vector of {phrase!s:.40}"):
                found[validation.text(phrase, "its phrase", _WORDS)] = (
                    _of_length(validation.vector(vector, "it"), dims),
                    None if share is None else validation.real(share, "its Consistency", -1.0, 1.0),
                )
        return found

    def refusals(self) -> list[Refusal]:
        """Every file that was left out."""
        found: list[Refusal] = []
        for path, code, reason, remedy in self._rows("refusals", "path, code, reason, remedy"):
            with self._row("a refusal"):
                texts = (validation.text(text, "its text", _WORDS) for text in (reason, remedy))
                found.append(Refusal(_path(path), validation.text(code, "its code", 40), *texts))
        return found

    def block(self, key: str, protocol: str, index: int, grid: Grid) -> ForeignBlock | None:
        """A block of an adapter with the baseline of its own Execution; None if it, or a part of it, is not there.

        A block of another size than the grid's is none of its blocks.
        """
        rows = self._evidence_rows(
            "blocks", "execution, words, embeddings, moved", "WHERE (adapter, protocol, block) = (?, ?, ?)",
            [key, protocol, index],
        )  # fmt: skip
        for execution, words, embeddings, moved in rows:
            if isinstance(embeddings, bytes) and is_reference(embeddings):
                return None  # in a bucket of theirs: nothing is fetched because a stranger's file says so
            with self._row(f"block {index} of {key[:19]}"):
                _check_execution(execution)
                words = validation.text(words, "its trigger words", _WORDS)
                distances = validation.vector(moved, "the distances")
                adapted = validation.vector(embeddings, "the embeddings", np.float16)
                bare = self._baseline(protocol, execution, words, index)
                floor = self._floor(protocol, execution)
                cells = len(grid.block(index))
                if bare is None or floor is None or len(distances) != cells:
                    return None
                if len(bare) != len(adapted) or len(bare) % cells or len(bare) // cells > validation.WIDEST:
                    raise LibraryError(f"has {len(adapted)} and {len(bare)} numbers for {cells} cells")
                shape = (cells, -1)
                block = Block(index, adapted.reshape(shape), bare.reshape(shape), distances, floor, execution)
                return ForeignBlock(block, words)
        return None

    def _baseline(self, protocol: str, execution: str, words: str, index: int) -> np.ndarray | None:
        where = "WHERE (protocol, execution, words, block) = (?, ?, ?, ?)"
        for (embeddings,) in self._evidence_rows("baselines", "embeddings", where, [protocol, execution, words, index]):
            return validation.vector(embeddings, "the baseline", np.float16)
        return None

    def _floor(self, protocol: str, execution: str) -> float | None:
        for (floor,) in self._evidence_rows(
            "floors", "floor", "WHERE (protocol, execution) = (?, ?)", [protocol, execution]
        ):
            return validation.real(floor, "the noise floor", 0.0)
        return None

    def _rows(self, table: str, columns: str, where: str = "", values: list[Any] | None = None) -> Iterator[Any]:
        return self._library.rows(table, columns, where, values or [])

    def _evidence_rows(self, table: str, columns: str, where: str, values: list[Any]) -> Iterator[Any]:
        return iter(()) if self._evidence is None else self._evidence.rows(table, columns, where, values)

    @contextmanager
    def _row(self, what: str) -> Generator[None]:
        """Say of which row an error is."""
        try:
            yield
        except LibraryError as error:
            raise LibraryError(f"{self.path}: {what}: {error}: nothing was imported") from error


def _check_execution(value: object) -> None:
    if not isinstance(value, str) or not _EXECUTION.fullmatch(value):
        raise LibraryError("its Execution is no digest")


def _of_length(vector: np.ndarray, dims: int) -> np.ndarray:
    if len(vector) != dims:
        raise LibraryError(f"it has {len(vector)} dimensions, the Directions have {dims}")
    return vector


def _path(value: object) -> str:
    path = validation.text(value, "its path", _PATH)
    if not (PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()):
        raise LibraryError(f"its path is {path!r:.80}: it must be absolute")
    return path


def check_webp(value: object) -> bytes:
    """A picture: WebP by its first bytes, of bounded size."""
    if not isinstance(value, bytes) or len(value) > _LARGEST_PREVIEW:
        raise LibraryError("its picture is none, or too large")
    if value[:4] != b"RIFF" or value[8:12] != b"WEBP" or int.from_bytes(value[4:8], "little") + 8 != len(value):
        raise LibraryError("its picture is no WebP")
    return value
