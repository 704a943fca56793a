"""A library that a stranger made: whatever is in it, mine stays whole, and its own file is not written to."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import tint

from lorascope.errors import LibraryError
from lorascope.library import Library, merge, verify
from lorascope.library.codec import columns
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stranger's library: red measured in full, green at a glance."""
    place = tmp_path_factory.mktemp("made")
    with Library(place / "source.db", create=True) as library:
        worker = load_worker(Preset.load(Path(__file__).parent / "fake.toml"))
        index([tint(place / "theirs" / "red.safetensors", red=0.2)], worker, library, precision="full")
        index([tint(place / "theirs" / "green.safetensors", green=0.2)], worker, library, precision="glance")
    return place


@pytest.fixture
def source(made: Path, tmp_path: Path) -> Path:
    """A copy of it to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "stranger")) / "source.db"


def evidence(source: Path) -> Path:
    return source.with_name("source.evidence.db")


def change(path: Path, *statements: str, values: tuple[Any, ...] = ()) -> None:
    """Do to a file what its own program never would."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        for statement in statements:
            database.execute(statement, values)
        database.commit()


def answers(library: Library) -> dict[str, Any]:
    """What a library says of every adapter."""
    found: dict[str, Any] = {"adapters": library.adapters.all()}
    for stored in library.protocols.all():
        digest = stored.protocol.digest
        signatures = library.signatures.get(digest, found["adapters"])
        found[digest] = {key: (columns(one.signature), one.precision) for key, one in signatures.items()}
        found[digest, "matrix"] = sorted(library.signatures.matrix(digest).keys)
    return found


def measured(library: Library) -> dict[str, Any]:
    """Every signature of the active Protocol."""
    return answers(library)[library.protocols.find().protocol.digest]


def facts(**changes: Any) -> tuple[str]:
    return (json.dumps({"claims": {}, **changes}),)


FIGURES = "UPDATE signatures SET figures = json_set(figures, ?, ?)"
ATTACKS: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "a Direction of another width": ("UPDATE signatures SET direction = ?", (bytes(8),), "dimensions"),
    "a Direction that is no vector": ("UPDATE signatures SET direction = ?", (bytes(7),), "it must be float32 numbers"),
    "a Direction of NaN": ("UPDATE signatures SET direction = ?", (np.full(12, np.nan, "f4").tobytes(),), "NaN or inf"),
    "figures that are no JSON": ("UPDATE signatures SET figures = '{'", (), "the figures is no JSON"),
    "figures that lack one": ("UPDATE signatures SET figures = '{}'", (), "the figures lack or add"),
    "more cells than any grid has": (FIGURES, ("$.cells", 99_999_999), "cells is 99999999: it must be a whole number"),
    "a Strength below 0": (FIGURES, ("$.strength", -1), "strength is -1: it must be from 0"),
    "a Consistency above 1": (FIGURES, ("$.consistency", 7), "consistency is 7: it must be from -1 to 1"),
    "an interval upside down": (FIGURES, ("$.grid", '{"strength": 1}'), "grid is"),
    "a precision of its own": ("UPDATE signatures SET precision = 'best'", (), "the precision is 'best'"),
    "a Protocol of another digest": ("UPDATE protocols SET fields = json_set(fields, '$.steps', 9)", (), "Protocol is"),
    "a Protocol that is no JSON": ("UPDATE protocols SET fields = 'x'", (), "a Protocol is no JSON"),
    "a preset that cannot be": ("UPDATE protocols SET preset = json_set(preset, '$.steps', -1)", (), "a preset cannot"),
    "a time that is none": ("UPDATE protocols SET added = 9e999", (), "its time is inf: it must be a finite number"),
    "an Execution of another digest": ("UPDATE executions SET digest = '0123456789'", (), "an Execution is stored as"),
    "facts that are no JSON": ("UPDATE adapters SET facts = '['", (), "the facts of an adapter is no JSON"),
    "facts that are a list": ("UPDATE adapters SET facts = '[]'", (), "the facts of an adapter is \\[\\]"),
    "claims of another shape": ("UPDATE adapters SET facts = ?", facts(claims=[1]), "the fact claims is"),
    "words of another shape": ("UPDATE adapters SET facts = ?", facts(worn=3), "the fact worn is 3"),
    "facts without end": ("UPDATE adapters SET facts = ?", facts(format="x" * 2_000_000), "text of at most 1000000"),
    "facts nested without end": ("UPDATE adapters SET facts = ?", ("[" * 100_000,), "is no JSON"),
    "a key that is none": ("UPDATE adapters SET key = 'sha256:' || key", (), "the key is 'sha256:sha256:"),
    "a name without end": ("UPDATE adapters SET name = ?", ("x" * 10_000,), "the name is str of 10000"),
    "a name that is no text": ("UPDATE adapters SET name = CAST(x'ff41' AS TEXT)", (), "the library is damaged"),
    "a picture that is none": ("UPDATE previews SET webp = '<script>'", (), "its picture is none"),
    "a place that is none": ("UPDATE previews SET place = place + 1000", (), "its place is 1000"),
    "a signature of nothing": ("DELETE FROM protocols", (), "a signature is of the unknown Protocol"),
    "a value without end": ("UPDATE previews SET webp = zeroblob(20000000)", (), "too big"),
    "a view": ("CREATE VIEW extra AS SELECT 1", (), "holds the view extra, which no library has"),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM files; END", (), "holds the trigger t"),
    "a virtual table": ("CREATE VIRTUAL TABLE extra USING fts5(x)", (), "holds the table extra"),
    "a column that is computed": ("ALTER TABLE adapters ADD COLUMN x AS (1)", (), "has other columns than a library's"),
    "an index of its own": ("CREATE INDEX mine ON adapters (name || name)", (), "holds the index mine"),
    "another layout": ("PRAGMA user_version = 77", (), "is no library of a layout that can be imported"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_a_source_with_one_wrong_value_is_taken(attack: str, source: Path, library: Library) -> None:
    """Nine kinds of these once made the library that imported them unreadable for good."""
    statement, values, message = ATTACKS[attack]
    change(source, statement, values=values)
    before = source.read_bytes()
    with pytest.raises(LibraryError, match=message):
        merge(source, library)
    assert answers(library) == {"adapters": {}}
    assert library.protocols.all() == []
    assert source.read_bytes() == before


def test_a_recursive_view_in_the_place_of_a_table_is_refused(source: Path, library: Library) -> None:
    """It once held the library's write lock for as long as it liked."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT '/x' || i, 1, 0, 0 FROM n"
    change(source, "DROP TABLE files", f"CREATE VIEW files (path, adapter, size, mtime_ns) AS {endless}")
    with pytest.raises(LibraryError, match="holds the view files, which no library has"):
        merge(source, library)


def test_a_source_is_never_written_to(source: Path, library: Library) -> None:
    for path in (source, evidence(source)):
        change(path)
    before = {path: path.read_bytes() for path in source.parent.glob("source*")}
    merge(source, library)
    assert {path: path.read_bytes() for path in source.parent.glob("source*")} == before


def test_what_is_in_a_log_still_is_imported_too(source: Path, library: Library, preset: Preset) -> None:
    with Library(source) as theirs:
        before = {path.name for path in source.parent.glob("source*")}
        theirs.adapters.add([next(iter(theirs.adapters.all().values()))], {})
        assert merge(source, library).adapters == 2
        assert {path.name for path in source.parent.glob("source*")} <= before | {"source.db-wal", "source.db-shm"}


def test_figures_are_computed_from_the_evidence_whatever_is_claimed(source: Path, library: Library) -> None:
    with Library(source) as theirs:
        honest = answers(theirs)
    change(source, FIGURES, values=("$.strength", 0.001))
    assert merge(source, library).recomputed == 2
    digest = library.protocols.find().protocol.digest
    found = library.signatures.get(digest, honest["adapters"])
    for key, one in found.items():
        (cells, strength, *_, direction, _), _ = honest[digest][key]
        assert (one.signature.cells, one.signature.strength) == (cells, strength)
        assert columns(one.signature)[-2] == direction
    assert {one.precision for one in found.values()} == {"glance"}  # a label that the figures do not bear out


def test_a_claim_never_replaces_what_was_measured(source: Path, library: Library, preset: Preset) -> None:
    """``cells=999999`` once did."""
    worker = load_worker(preset)
    index([source.parent / "theirs"], worker, library, precision="quick")
    before = measured(library)
    evidence(source).unlink()
    merged = merge(source, library)
    assert merged.recomputed == 0
    assert measured(library) == before
    change(source, FIGURES, values=("$.cells", 100_000))
    merge(source, library)
    assert measured(library) == before
    with Library(source.parent / "new.db", create=True) as new:
        with pytest.raises(LibraryError, match="says that it is '.*' of 100000 cells, but the grid has 1120"):
            merge(source, new)
        assert new.protocols.all() == []


def test_every_signature_says_where_it_came_from(source: Path, library: Library, preset: Preset) -> None:
    digest = Preset.protocol(preset, base_digest="fake-generator", encoder="fake", encoder_digest="fake-encoder").digest
    index(
        [tint(source.parent / "mine" / "blue.safetensors", blue=0.2)], load_worker(preset), library, precision="glance"
    )
    merge(source, library)
    names = {key: one.name for key, one in library.adapters.all().items()}
    origins = {names[k]: (v.origin, v.claimed) for k, v in library.signatures.get(digest, names).items()}
    assert origins["blue"] == ("", False)
    assert origins["red"][0].startswith(f"{source} (20")
    assert origins["red"][1] is False
    evidence(source).unlink()
    with Library(source.parent / "bare.db", create=True) as bare:
        merge(source, bare)
        assert {one.claimed for one in bare.signatures.get(digest, names).values()} == {True}


def test_a_forged_baseline_meets_nothing_that_is_measured_here(
    source: Path, library: Library, preset: Preset, tmp_path: Path
) -> None:
    """It once falsified every later measurement, silently."""
    with closing(sqlite3.connect(evidence(source))) as database:
        ((size,),) = database.execute("SELECT length(embeddings) FROM baselines LIMIT 1").fetchall()
    forged = np.linspace(-9, 9, size // 2).astype(np.float16).tobytes()
    change(evidence(source), "UPDATE baselines SET embeddings = ?", values=(forged,))
    merge(source, library)
    mine = tint(tmp_path / "mine" / "blue.safetensors", blue=0.2)
    index([mine], load_worker(preset), library, precision="full")
    with Library(tmp_path / "clean.db", create=True) as clean:
        index([mine], load_worker(preset), clean, precision="full")
        key = clean.adapters.find("blue").key
        digest = clean.protocols.find().protocol.digest
        signatures = [columns(one.signatures.get(digest, [key])[key].signature) for one in (library, clean)]
        assert signatures[0] == signatures[1]


def test_a_forged_path_does_not_pass_for_a_file_that_was_read(
    source: Path, library: Library, preset: Preset, tmp_path: Path
) -> None:
    """By path, size and time a file of mine could be given a stranger's signature."""
    mine = tint(tmp_path / "mine" / "blue.safetensors", blue=0.2)
    seen = mine.stat()
    change(
        source, "UPDATE files SET path = ?, size = ?, mtime_ns = ? WHERE adapter = 1",
        values=(str(mine), seen.st_size, seen.st_mtime_ns),
    )  # fmt: skip
    merge(source, library)
    assert len(index([mine], load_worker(preset), library, precision="glance").measured) == 1
    assert library.adapters.find(str(mine)).key not in [key for key, *_ in theirs_keys(source)]


def theirs_keys(source: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(source)) as database:
        return database.execute("SELECT key FROM adapters").fetchall()


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE blocks SET embeddings = x'0102'",
        "UPDATE blocks SET moved = x'0000c07f'",
        "UPDATE floors SET floor = -1",
        "UPDATE blocks SET execution = '../../etc'",
        "UPDATE baselines SET embeddings = zeroblob(2)",
    ],
)
def test_evidence_is_checked_as_strictly(spoil: str, source: Path, library: Library) -> None:
    change(evidence(source), spoil)
    with pytest.raises(LibraryError, match=r"block 0 of sha256:.*: nothing was imported"):
        merge(source, library)
    assert answers(library) == {"adapters": {}}


def test_a_library_of_an_earlier_version_is_imported(tmp_path: Path, library: Library) -> None:
    for name in ("library-0.1.0.db", "library-0.1.0.evidence.db"):
        shutil.copy(Path(__file__).parent / "data" / name, tmp_path / name)
    merged = merge(tmp_path / "library-0.1.0.db", library)
    assert merged.adapters == len(library.adapters.all()) > 0
    assert merged.recomputed > 0
    assert verify(library) == []


def test_what_is_no_file_is_refused(tmp_path: Path, library: Library) -> None:
    (tmp_path / "link.db").symlink_to("/dev/zero")
    with pytest.raises(LibraryError, match="link.db is no file: give the path of a library"):
        merge(tmp_path / "link.db", library)


def test_a_library_is_not_merged_into_itself(library: Library) -> None:
    with pytest.raises(LibraryError, match="is the library itself: give another one"):
        merge(library.path, library)


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_source_leaves_my_library_readable(seed: int, source: Path, library: Library) -> None:
    """Bytes at random, structure and all."""
    draw = np.random.default_rng(seed)
    for path in (source, evidence(source)):
        change(path)
        data = bytearray(path.read_bytes())
        for place in draw.integers(100, len(data), 20):
            data[place] ^= int(draw.integers(1, 256))
        path.write_bytes(data)
    try:
        merge(source, library)
    except LibraryError:
        assert answers(library) == {"adapters": {}}
    for key, value in answers(library).items():
        assert not isinstance(key, str) or isinstance(value, dict)
    assert not any(
        math.isnan(x) for s in library.protocols.all() for x in library.signatures.strengths(s.protocol.digest).values()
    )
