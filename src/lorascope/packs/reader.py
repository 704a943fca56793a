"""Reading a pack: its manifest first, then no more of it than is wanted, all of it checked."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

from lorascope.errors import LibraryError
from lorascope.grid import PREVIEWS as MOST_PREVIEWS
from lorascope.library import validation
from lorascope.library.decoded import DecodedParquet
from lorascope.library.foreign import check_webp
from lorascope.library.published import Published
from lorascope.library.records import Preview
from lorascope.library.vectors import PhraseVector
from lorascope.packs import directory, manifest, minisig
from lorascope.packs.directory import Directory
from lorascope.packs.manifest import Manifest, PackFile
from lorascope.packs.places import Place, place_of_pack, runs
from lorascope.signature import Calibration

SIGNATURES = "signatures.parquet"
PREVIEWS = "previews.parquet"
VECTORS = "vectors.parquet"
PREVIEW_COLUMNS = ("key", "scene", "place", "prompt", "seed", "webp")
_CALIBRATION = re.compile(r"calibration-([0-9a-f]{10})\.npz")
_LARGEST_CALIBRATION = 2**24
_LARGEST = 2**34
_SMALLEST_PREVIEW = 40
"""Bytes of a row with a picture, as stored: a WebP of one colour has so many."""
_SMALLEST_VECTOR = 16
_WORDS = 20_000


def calibration_name(digest: str) -> str:
    """The file of a Calibration."""
    return f"calibration-{digest}.npz"


@final
class PackReader:
    """A pack that a stranger may have made."""

    def __init__(self, place: Place, source: str, folder: Path, signed_by: str = "") -> None:
        """Read and check its manifest.

        Raises:
            MissingExtra: a package that is needed is not installed.
            LibraryError: it is no pack, or not signed by that key.
        """
        self._place, self._folder, self.source = place, folder, source
        place.copy(manifest.NAME, folder / manifest.NAME, manifest.LARGEST)
        written = (folder / manifest.NAME).read_bytes()
        self.signed_by = ""
        if signed_by:
            signature = folder / minisig.NAME
            with suppress(LibraryError):
                place.copy(minisig.NAME, signature, minisig.LARGEST)
            found = signature.read_bytes() if signature.is_file() else None
            self.signed_by = minisig.verify(written, found, signed_by, source)
        self.digest = hashlib.sha256(written).hexdigest()
        self.manifest = Manifest.from_json(written.decode("utf-8", "replace"), source)
        if self.manifest.file(SIGNATURES) is None:
            raise LibraryError(f"{source}: the manifest names no {SIGNATURES}: nothing was taken over")

    def has(self, name: str) -> bool:
        """Whether it has a part."""
        return self.manifest.file(name) is not None

    def size(self, name: str) -> int:
        """Bytes of a part; 0 where it has none."""
        part = self.manifest.file(name)
        return 0 if part is None else part.size

    def signatures(self, groups: Sequence[int] | None = None) -> Published:
        """Its signatures: all, or those of some groups of rows, of which no more than these is fetched."""
        path = self._fetched(SIGNATURES, groups)
        found = Published(path, self.source, self._folder, groups)
        if not found.own or found.protocol != self.manifest.protocol or found.preset != self.manifest.preset:
            raise LibraryError(
                f"{self.source}: {SIGNATURES} was measured under another Protocol than the manifest says"
            )
        return found

    def directory(self) -> Directory:
        """Which of its groups of rows may hold which file."""
        return Directory(self._fetched(directory.NAME), self.source, self._folder)

    def previews(self) -> Iterator[tuple[str, str, Preview]]:
        """Every picture, with its scene and the key of its adapter ("" for the bare base model)."""
        if not self.has(PREVIEWS):
            return
        decoded = DecodedParquet(
            self._fetched(PREVIEWS), self.source, self._folder / "pictures", PREVIEW_COLUMNS, smallest=_SMALLEST_PREVIEW
        )
        for row in decoded.rows():
            try:
                yield self._preview({name: row.get(name) for name in PREVIEW_COLUMNS})
            except LibraryError as error:
                raise LibraryError(f"{self.source}: a preview of {row.get('key')!s:.20}: {error}") from error

    def phrases(self) -> dict[str, PhraseVector]:
        """Vectors of common phrases; none where they are not shared."""
        if not self.has(VECTORS):
            return {}
        columns = ("phrase", "vector", "consistency")
        decoded = DecodedParquet(
            self._fetched(VECTORS), self.source, self._folder / "phrases", columns, smallest=_SMALLEST_VECTOR
        )
        found: dict[str, PhraseVector] = {}
        for row in decoded.rows():
            share = row.get("consistency")
            try:
                vector = validation.vector(_bytes(row.get("vector")), "its vector")
                phrase = validation.text(row.get("phrase"), "its text", _WORDS)
                found[phrase] = vector, None if share is None else validation.real(share, "its Consistency", -1.0, 1.0)
            except LibraryError as error:
                raise LibraryError(f"{self.source}: the phrase {row.get('phrase')!s:.40}: {error}") from error
        return found

    def calibrations(self) -> list[Calibration]:
        """The Calibrations that its Directions were estimated by, where they are shared."""
        found: list[Calibration] = []
        for part in self.manifest.files:
            name = _CALIBRATION.fullmatch(part.name)
            if name is None:
                continue
            if part.size > _LARGEST_CALIBRATION:
                raise LibraryError(f"{self.source}: {part.name} has {part.size} bytes: no calibration is so large")
            calibration = validation.calibration(self._fetched(part.name).read_bytes(), name[1])
            if calibration.protocol != self.manifest.protocol.digest:
                raise LibraryError(f"{self.source}: {part.name} is of another Protocol than the manifest says")
            found.append(calibration)
        return found

    def _preview(self, row: dict[str, object]) -> tuple[str, str, Preview]:
        scenes = (self.manifest.protocol.scene, self.manifest.protocol.bare_scene)
        scene = validation.digest(row["scene"], "the scene")
        if scene not in scenes:
            raise LibraryError(f"its scene {scene} is not of the pack's Protocol")
        return (
            scene,
            validation.key(row["key"]) if row["key"] else "",
            Preview(
                validation.whole(row["place"], "its place", 0, MOST_PREVIEWS - 1),
                validation.text(row["prompt"], "its prompt", _WORDS),
                validation.whole(row["seed"], "its seed", -(2**63)),
                check_webp(_bytes(row["webp"])),
            ),
        )

    def _fetched(self, name: str, groups: Sequence[int] | None = None) -> Path:
        """A part on this disk, whole or of some groups and the footer, with its digest checked."""
        part, target = self.manifest.file(name), self._folder / name
        if part is None:
            raise LibraryError(f"{self.source} has no {name}: pull it with --all")
        if groups is not None and part.chunks:
            self._fetch_chunks(part, target, groups)
        elif not target.is_file():
            self._place.copy(name, target, min(part.size, _LARGEST))
            with target.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != part.sha256:
                raise _damaged(self.source, name)
        return target

    def _fetch_chunks(self, part: PackFile, target: Path, groups: Sequence[int]) -> None:
        last = len(part.chunks) - 1
        if groups and groups[-1] >= last:
            raise LibraryError(
                f"{self.source}: {part.name} has no group {groups[-1]}: its directory is of another pack"
            )
        offsets = [0]
        for chunk in part.chunks:
            offsets.append(offsets[-1] + chunk.size)
        with target.open("wb") as file:
            file.truncate(part.size)
            for first, end in runs([*groups, last]):
                data = self._place.part(part.name, offsets[first], offsets[end + 1] - offsets[first])
                for number in range(first, end + 1):
                    chunk, at = part.chunks[number], offsets[number] - offsets[first]
                    if hashlib.sha256(data[at : at + chunk.size]).hexdigest() != chunk.sha256:
                        raise _damaged(self.source, part.name)
                file.seek(offsets[first])
                file.write(data)


def _damaged(source: str, name: str) -> LibraryError:
    return LibraryError(f"{source}: {name} is not what the manifest says: fetch the pack again, or tell its maker")


def _bytes(value: object) -> bytes | None:
    """Bytes as they were decoded; None if a column holds something else."""
    try:
        return base64.b64decode(value) if isinstance(value, str) else None
    except ValueError:
        return None


@contextmanager
def open_pack(source: str, *, insecure: bool = False, signed_by: str = "") -> Generator[PackReader]:
    """Open a pack: a folder, or an address that a static host serves it at.

    Args:
        source: the path or https address of the pack, or of its manifest.
        insecure: allow an http address.
        signed_by: the public key that has to have signed it, or the path of its file; "" for any.

    Raises:
        MissingExtra: a package that is needed is not installed.
        LibraryError: it is no pack, or not signed by that key.
    """
    with TemporaryDirectory() as folder:
        yield PackReader(place_of_pack(source, insecure=insecure), source, Path(folder), signed_by)
