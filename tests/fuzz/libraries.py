"""Libraries that are fuzzed: measured with the fakes, then read as a stranger's and as one's own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fakes import tint

from lorascope.errors import LorascopeError
from lorascope.library import BARE, Library, merge, verify
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset

_EVIDENCE = "library.evidence.db"


def write_library(path: Path, *, name: str = "red") -> None:
    """Write a library of two adapters, one of which has a name of choice, and its evidence."""
    for file, data in _files(name).items():
        (path if file == "library.db" else path.with_name(f"{path.stem}.evidence{path.suffix}")).write_bytes(data)


def write_evidence(path: Path) -> None:
    """Write the evidence alone."""
    path.write_bytes(_files("red")[_EVIDENCE])


def import_library(path: Path) -> None:
    """Import a stranger's library whose evidence is whole; mine has all of it or nothing."""
    path.with_name(f"{path.stem}.evidence{path.suffix}").write_bytes(_files("red")[_EVIDENCE])
    _import(path)


def import_evidence(path: Path) -> None:
    """Import a stranger's library of which the evidence was changed."""
    source = path.with_name("source.db")
    source.write_bytes(_files("red")["library.db"])
    path.rename(source.with_name("source.evidence.db"))
    _import(source)


def open_library(path: Path) -> None:
    """Read one's own library after rot: everything that commands and pages read."""
    path.with_name(f"{path.stem}.evidence{path.suffix}").write_bytes(_files("red")[_EVIDENCE])
    _open(path)


def open_evidence(path: Path) -> None:
    """Read the evidence of one's own library after rot."""
    library = path.with_name("library.db")
    library.write_bytes(_files("red")["library.db"])
    path.rename(library.with_name(_EVIDENCE))
    _open(library)


def _import(source: Path) -> None:
    before = {path: path.read_bytes() for path in source.parent.glob("*.db")}
    with Library(source.with_name("mine.db"), create=True) as mine:
        try:
            merge(source, mine)
        except LorascopeError:
            assert not mine.adapters.all(), "half of a source was taken"
            raise
        finally:
            assert {path: path.read_bytes() for path in before} == before, "the source was written to"
        assert not [one for one in verify(mine) if not one.repair], "what was imported is no whole library"
        _read(mine)


def _open(path: Path) -> None:
    with Library(path) as library:
        for repair in (False, True):
            verify(library, repair=repair)
        _read(library)


def _read(library: Library) -> None:
    """Read what a search, a list and the pages read; each part by itself, since one may be damaged and not another."""
    parts = [library.refusals.all, library.runs.all, library.adapters.stamps, library.version]
    adapters = _or_none(library.adapters.all) or {}
    for stored in _or_none(library.protocols.all) or []:
        digest = stored.protocol.digest
        parts += [
            lambda digest=digest: library.signatures.matrix(digest).names,
            lambda digest=digest: library.signatures.get(digest, adapters),
            lambda digest=digest: library.signatures.precisions(digest),
            lambda digest=digest: library.protocols.baseline_mean(digest),
            lambda digest=digest: library.protocols.plane(digest),
            lambda digest=digest: library.evidence.distances(digest),
            lambda protocol=stored.protocol: library.previews.pins(protocol, adapters),
        ]
        for key in (BARE, *adapters):
            parts.append(lambda key=key, scene=stored.protocol.scene: library.previews.all(scene, key))
            parts.append(lambda key=key, digest=digest: library.evidence.blocks(key, digest))
    for part in parts:
        _or_none(part)


def _or_none(read: Callable[[], Any]) -> Any:
    with contextlib.suppress(LorascopeError):
        return read()
    return None


@cache
def _files(name: str) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        place = Path(folder) / "library.db"
        with Library(place, create=True) as library:
            worker = load_worker(Preset.load(Path(__file__).parents[1] / "fake.toml"))
            adapters = {name: {"red": 0.2}, "blue": {"blue": 0.3}}
            files = [tint(place.parent / f"{stem}.safetensors", **colours) for stem, colours in adapters.items()]
            index(files, worker, library, precision="glance")
        for file in place.parent.glob("*.db"):
            with contextlib.closing(sqlite3.connect(file)) as database:
                database.execute("PRAGMA journal_mode = DELETE")
        return {file.name: file.read_bytes() for file in place.parent.glob("*.db")}
