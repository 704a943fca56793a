"""The store: what goes in comes out, and every way in which a file can be wrong has its own sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import searcher, three, tint

from lorascope.errors import LibraryError
from lorascope.library import (
    BARE,
    AdapterFacts,
    Library,
    Mark,
    Preview,
    Refusal,
    StoredAdapter,
    database,
    default_path,
    merge,
)
from lorascope.library.codec import columns, restore
from lorascope.measure import Worker, index, load_worker
from lorascope.moments import Moments
from lorascope.protocol import Execution, Preset, Protocol
from lorascope.search import Example, Request
from lorascope.signature import Signature

ADAPTER = StoredAdapter(
    "sha256:" + "a" * 64, "ink", "sdxl", ("/loras/ink.safetensors",), AdapterFacts(ranks=(4,), unknown={"of": "ünï"})
)
OTHER = StoredAdapter("sha256:" + "b" * 64, "ink wash", "sdxl", (), AdapterFacts())


def make_signature(cells: int = 40, seed: int = 0) -> Signature:
    """A signature of random effects: some prompts of twenty, four seeds."""
    rng = np.random.default_rng(seed)
    moments = Moments.empty(20, 4, 16)
    moments.add(np.arange(cells) % 20, rng.normal(size=(cells, 16)) + 0.3, noise_floor=0.01)
    return Signature.from_moments(moments, ["a"] * 10 + ["b"] * 10, looks=3)


def bits(value: Any) -> Any:
    """Figures as the bits they are, so that nearly equal is not equal."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.fixture
def protocol(preset: Preset) -> Protocol:
    return preset.protocol(base_digest="b", encoder="fake", encoder_digest="e")


@pytest.fixture
def filled(library: Library, preset: Preset, protocol: Protocol) -> Library:
    """A library of two adapters, one of them with a signature."""
    library.protocols.add(protocol, preset)
    library.adapters.add([ADAPTER, OTHER], {"/loras/ink.safetensors": (10, 20)})
    library.signatures.put(protocol.digest, "quick", {ADAPTER.key: make_signature()})
    return library


# --- what goes in comes out ---------------------------------------------------------------------------------------


def test_adapters_come_back_as_they_were(filled: Library) -> None:
    assert filled.adapters.all() == {ADAPTER.key: ADAPTER, OTHER.key: OTHER}
    assert filled.adapters.get([OTHER.key]) == {OTHER.key: OTHER}
    assert filled.adapters.stamps() == {"/loras/ink.safetensors": (ADAPTER.key, 10, 20)}


def test_a_known_adapter_is_brought_up_to_date(filled: Library) -> None:
    filled.adapters.add([dataclasses.replace(ADAPTER, name="brush", paths=("/b.safetensors",))], {})
    found = filled.adapters.all()[ADAPTER.key]
    assert found.name == "brush"
    assert found.paths == ("/b.safetensors", "/loras/ink.safetensors")


def test_signatures_come_back_to_the_bit(filled: Library, protocol: Protocol) -> None:
    signature = make_signature()
    stored = filled.signatures.get(protocol.digest, [ADAPTER.key, OTHER.key])
    assert list(stored) == [ADAPTER.key]
    found = stored[ADAPTER.key].signature
    direction = signature.direction.astype(np.float32).astype(float)
    expected = dataclasses.asdict(signature) | {"direction": direction, "mean": direction}
    assert bits(dataclasses.asdict(found)) == bits(expected)
    assert stored[ADAPTER.key].precision == "quick"


@pytest.mark.parametrize("cells", [1, 2, 40, 80])
def test_columns_and_restore_are_inverses(cells: int) -> None:
    once = columns(make_signature(cells))
    assert columns(restore(*once[-3:])) == once


def test_the_matrix_holds_unit_directions_and_figures(filled: Library, protocol: Protocol) -> None:
    filled.signatures.put(protocol.digest, "full", {OTHER.key: make_signature(80, seed=1)})
    matrix = filled.signatures.matrix(protocol.digest)
    assert matrix.keys == (ADAPTER.key, OTHER.key)
    for row, signature in enumerate((make_signature(), make_signature(80, seed=1))):
        unit = signature.direction / np.linalg.norm(signature.direction)
        np.testing.assert_allclose(matrix.directions[row], unit, atol=1e-6)
        assert matrix.strength[row] == signature.strength
        assert matrix.consistency[row] == signature.consistency


def test_a_signature_of_fewer_cells_never_replaces_one_of_more(filled: Library, protocol: Protocol) -> None:
    def known() -> tuple[int, str]:
        found = filled.signatures.get(protocol.digest, [ADAPTER.key])[ADAPTER.key]
        return found.signature.cells, found.precision

    filled.signatures.put(protocol.digest, "glance", {ADAPTER.key: make_signature(20)})
    assert known() == (40, "quick")
    filled.signatures.put(protocol.digest, "full", {ADAPTER.key: make_signature(80)})
    assert known() == (80, "full")


def test_a_glance_at_what_is_known_well_leaves_it_so(filled: Library, protocol: Protocol) -> None:
    """A second run's first look once turned "full" into "glance", with intervals too narrow for the looks taken."""
    for precision, expected in (("glance", "quick"), ("standard", "standard"), ("quick", "standard")):
        filled.signatures.put(protocol.digest, precision, {ADAPTER.key: make_signature(40)})
        assert filled.signatures.precisions(protocol.digest) == {ADAPTER.key: expected}


def test_previews_keep_their_first_picture(filled: Library) -> None:
    first = [Preview(0, "a cat", 7, b"RIFF0"), Preview(1, "a dog", 8, b"RIFF1")]
    filled.previews.put("scene", BARE, reversed(first))
    filled.previews.put("scene", BARE, [Preview(0, "a cat", 7, b"another")])
    assert filled.previews.all("scene", BARE) == first
    assert filled.previews.all("scene", ADAPTER.key) == filled.previews.all("other", BARE) == []


def test_refusals_hold_the_last_reason_until_the_file_is_good(filled: Library) -> None:
    refusal = Refusal("/x", "pickle", "it is a pickle", "Convert it")
    filled.refusals.add(Refusal("/x", "truncated", "it ends early", "Download it again"))
    filled.refusals.add(refusal)
    assert filled.refusals.all() == [refusal]
    filled.refusals.remove("/x")
    assert filled.refusals.all() == []


def test_runs_are_listed_last_first_and_a_killed_one_has_no_end(filled: Library) -> None:
    first = filled.runs.start({"paths": ["a"], "precision": "full"})
    filled.runs.start({"paths": ["b"], "precision": "full"})
    filled.runs.finish(first, {"measured": 3})
    killed, finished = filled.runs.all()
    assert (killed["finished"], killed["outcome"]) == (None, None)
    assert finished["outcome"] == {"measured": 3}
    assert finished["finished"] >= finished["started"]


def test_a_claim_is_for_one_owner_until_it_is_released(filled: Library) -> None:
    assert filled.leases.acquire("key", "scene", "one")
    assert filled.leases.acquire("key", "scene", "one")
    assert not filled.leases.acquire("key", "scene", "two")
    assert filled.leases.acquire("key", "another scene", "two")
    filled.leases.release("one")
    assert filled.leases.acquire("key", "scene", "two")


def test_a_lease_runs_out(filled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filled.leases.acquire("key", "scene", "one")
    monkeypatch.setattr("lorascope.library.leases.time", SimpleNamespace(time=lambda: 4e9))
    assert filled.leases.acquire("key", "scene", "two")


def test_protocols_executions_and_means_come_back(filled: Library, preset: Preset, protocol: Protocol) -> None:
    execution = Execution(
        device="cpu", dtype="float32", batch=4, block_size=16, threads=1, compiled=False, versions="1"
    )
    filled.protocols.add_execution(execution)
    assert filled.protocols.execution(execution.digest) == execution
    assert filled.protocols.find().protocol == protocol
    assert filled.protocols.find().preset == preset
    assert filled.protocols.baseline_mean(protocol.digest) is None
    filled.protocols.put_baseline_mean(protocol.digest, np.ones(16, np.float32), 32)
    filled.protocols.put_baseline_mean(protocol.digest, np.zeros(16, np.float32), 16)  # of fewer cells: not kept
    np.testing.assert_array_equal(filled.protocols.baseline_mean(protocol.digest), np.ones(16))
    with pytest.raises(LibraryError, match="knows no execution 'nothing'"):
        filled.protocols.execution("nothing")


def test_the_last_used_protocol_is_the_active_one(filled: Library, preset: Preset, protocol: Protocol) -> None:
    other = dataclasses.replace(protocol, steps=9)
    filled.protocols.add(other, preset)
    assert filled.protocols.find().protocol == protocol  # the other one has no signature yet
    filled.signatures.put(other.digest, "full", {ADAPTER.key: make_signature()})
    assert filled.protocols.find().protocol == other
    assert filled.protocols.find(protocol.digest).protocol == filled.protocols.find(str(protocol)).protocol == protocol
    with pytest.raises(LibraryError, match=f"several Protocols are called 'fake': choose one of {other}, {protocol}"):
        filled.protocols.find("fake")
    with pytest.raises(LibraryError, match="no Protocol is called 'sdxl': choose one of fake-"):
        filled.protocols.find("sdxl")


# --- finding an adapter -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [ADAPTER.key, "ink", "sha256:aaaa", "aaaaaa", "/loras/ink.safetensors"])
def test_an_adapter_is_found_by_key_name_or_path(filled: Library, text: str) -> None:
    assert filled.adapters.find(text) == ADAPTER


def test_a_relative_path_is_a_path(filled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: "/loras/more")
    assert filled.adapters.find("../ink.safetensors") == ADAPTER


def test_one_name_for_two_adapters_asks_for_a_key(filled: Library) -> None:
    filled.adapters.add([dataclasses.replace(OTHER, name="ink", paths=("/more/ink.safetensors",))], {})
    message = r"2 adapters are called 'ink': give more of a key \(sha256:aaaaaaaaaaaa, sha256:bbbbbbbbbbbb\)"
    with pytest.raises(LibraryError, match=message):
        filled.adapters.find("ink")


def test_of_one_name_the_adapter_that_has_a_file_is_meant(filled: Library) -> None:
    """A file that was replaced in its place once left a ghost, for which its name meant two adapters."""
    filled.adapters.add([dataclasses.replace(OTHER, name="ink")], {})
    assert filled.adapters.find("ink") == ADAPTER
    assert filled.adapters.find(OTHER.key).key == OTHER.key


def test_a_copy_is_found_by_its_own_name_if_nothing_else_is_called_so(filled: Library) -> None:
    filled.adapters.add([dataclasses.replace(ADAPTER, paths=("/copies/tusche.safetensors",))], {})
    assert filled.adapters.find("tusche").key == ADAPTER.key
    filled.adapters.add([dataclasses.replace(OTHER, name="tusche")], {})
    assert filled.adapters.find("tusche").key == OTHER.key


def test_a_text_that_is_no_utf_8_is_a_clear_error(filled: Library) -> None:
    """It once was the traceback of a UnicodeEncodeError."""
    with pytest.raises(LibraryError, match=r"\\udcff is not UTF-8, so no library holds it: give another name or a key"):
        filled.adapters.find("\udcff")
    assert list(filled.adapters.members(folder=Path("\udcff"))) == []


def test_a_folder_is_meant_however_it_is_spelt(filled: Library) -> None:
    """``..`` once stayed in a path, and nothing was found under it."""
    assert len(filled.adapters.members(folder=Path("/loras/more/.."))) == 1


def test_an_unknown_adapter_is_told_with_names_that_are_near(filled: Library) -> None:
    with pytest.raises(LibraryError, match="has no adapter 'wash': .* shows all. Did you mean ink wash?"):
        filled.adapters.find("wash")
    with pytest.raises(LibraryError, match="`lorascope list --library .*` shows all.$"):
        filled.adapters.find("100%")


# --- files that are not what they should be -----------------------------------------------------------------------


def test_the_default_place_is_the_user_s_data_folder(tmp_path: Path) -> None:
    assert default_path() == tmp_path / "data" / "library.db"
    with Library(create=True) as library:
        assert library.path == default_path()
    assert default_path().exists()


def test_a_missing_library_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(LibraryError, match=f"no library at {path}: make one with `lorascope index FOLDER --library"):
        Library(path)
    assert not path.exists()


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "photo.db"
    path.write_bytes(b"\x89PNG" * 100)
    with pytest.raises(LibraryError, match=r"photo.db: this is no lorascope library. Give the path of one"):
        Library(path, create=create)
    assert path.read_bytes() == b"\x89PNG" * 100


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE mine (x)")
    database.close()
    with pytest.raises(LibraryError, match="has layout 0, this lorascope reads layout 3: it is not a lorascope lib"):
        Library(path, create=True)
    database = sqlite3.connect(path)
    assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    database.close()


def test_an_index_that_an_older_library_lacks_is_made_when_it_is_opened(filled: Library) -> None:
    """Without it, who is in a folder takes twice as long to find."""
    filled._db.rows("DROP INDEX files_by_folder")
    before = filled.adapters.all()
    filled.close()
    with Library(filled.path) as again:
        (plan,) = again._db.rows("EXPLAIN QUERY PLAN SELECT adapter FROM files WHERE path >= '/a' AND path < '/b'")
        assert "COVERING INDEX files_by_folder" in plan[3]
        assert again.adapters.all() == before


def test_a_newer_layout_asks_for_a_newer_lorascope(filled: Library) -> None:
    filled._db.rows("PRAGMA user_version = 4")
    filled.close()
    with pytest.raises(LibraryError, match="layout 4, this lorascope reads layout 3: use the lorascope that made it"):
        Library(filled.path)


def test_a_damaged_note_is_not_taken_for_none(filled: Library) -> None:
    key = next(iter(filled.adapters.all()))
    filled.marks.put(key, Mark(favourite=True, note="warm"))
    with contextlib.closing(sqlite3.connect(filled.path)) as db, db:
        db.execute("UPDATE marks SET note = 'cold'")
    for read in (lambda: filled.marks.get([key]), filled.marks.favourites):
        with pytest.raises(LibraryError, match="the favourite or note of .* is damaged"):
            read()


def test_a_damaged_library_says_so(filled: Library, protocol: Protocol) -> None:
    filled.close()
    data = bytearray(filled.path.read_bytes())
    data[database._PAGE_SIZE :] = b"\xff" * (len(data) - database._PAGE_SIZE)
    filled.path.write_bytes(data)
    with Library(filled.path) as library, pytest.raises(LibraryError, match="the library is damaged. Restore it from"):
        library.signatures.matrix(protocol.digest)


def test_a_companion_is_not_taken_for_the_library(tmp_path: Path, filled: Library) -> None:
    """Once it was filled with the tables of one, even by an import."""
    assert filled.evidence.floor("p", "e") is None
    filled.close()
    before = filled.evidence_path.read_bytes()
    message = "holds baselines, blocks, floors instead of protocols: .* Give the library itself, .*/library.db"
    for create in (True, False):
        with pytest.raises(LibraryError, match=message):
            Library(filled.evidence_path, create=create)
    assert filled.evidence_path.read_bytes() == before


def test_looking_into_an_empty_file_makes_no_library_of_it(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    with pytest.raises(LibraryError, match="empty.db is empty: make a library of it with `lorascope index FOLDER"):
        Library(path)
    assert path.read_bytes() == b""
    Library(path, create=True).close()
    Library(path).close()


def test_a_library_has_one_set_of_companions_by_whatever_name_it_is_opened(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    """Opened through a link, it once got a second file of evidence beside the link, and all was measured again."""
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(library.path)
    with Library(link) as again:
        assert again.evidence_path == library.evidence_path
        again.remove(again.adapters.find("redder").key)
    assert len(library.evidence.distances(worker.protocols[0].digest)) == 2
    assert [path.name for path in link.parent.iterdir()] == ["link.db"]


def test_a_circle_of_links_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.db").symlink_to(tmp_path / "b.db")
    (tmp_path / "b.db").symlink_to(tmp_path / "a.db")
    with pytest.raises(LibraryError, match="a.db: .*: choose another --library"):
        Library(tmp_path / "a.db", create=True)


def test_text_that_a_flipped_bit_has_spoilt_is_damage(filled: Library) -> None:
    with contextlib.closing(sqlite3.connect(filled.path)) as database, database:
        database.execute("UPDATE adapters SET name = CAST(x'ff41' AS TEXT)")
    with pytest.raises(LibraryError, match="the library is damaged. Restore it from a copy"):
        filled.adapters.all()


def test_a_folder_is_no_library(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="is a folder: name a library file, such as "):
        Library(tmp_path, create=True)


# --- libraries that cannot be written -----------------------------------------------------------------------------


@pytest.fixture(params=["the file", "the folder"])
def locked(request: pytest.FixtureRequest, tmp_path: Path, preset: Preset) -> Iterator[Path]:
    """A measured library that cannot be written. Permission bits do not bind every user: SQLite is told, too."""
    place = tmp_path / "locked" / "library.db"
    with Library(place, create=True) as library:
        index([three(tmp_path / "loras")], load_worker(preset), library, precision="quick")
        assert searcher(library).search(Request("red")).hits
    with pytest.MonkeyPatch.context() as patch:
        locked = place if request.param == "the file" else place.parent
        access = os.access
        patch.setattr(
            os, "access", lambda path, mode: not (mode & os.W_OK and Path(path) == locked) and access(path, mode)
        )
        yield place


def test_a_locked_library_is_searched(locked: Path) -> None:
    before = locked.read_bytes()
    with Library(locked) as library:
        look = searcher(library)
        assert look.search(Request("red")).hits[0].adapter.name == "redder"
        assert look.search(Request("deep green")).hits[0].adapter.name == "greender"  # a vector that cannot be kept
        assert look.search(Request(adapters=(Example(library.adapters.find("redder").key),))).hits
        assert library.runs.all()
        assert library.previews.all(library.protocols.find().protocol.scene, BARE)
    assert locked.read_bytes() == before


def test_writing_into_a_locked_library_is_refused_with_the_remedy(
    locked: Path, elsewhere: Path, tmp_path: Path, preset: Preset
) -> None:
    before = locked.read_bytes()
    message = "the library is read-only. Give a --library that can be written, or change its permissions"
    with Library(locked) as library:
        key = library.adapters.find("redder").key
        with pytest.raises(LibraryError, match=message):
            index([tmp_path], load_worker(preset), library)
        with pytest.raises(LibraryError, match=message):
            library.remove(key)
        with pytest.raises(LibraryError, match=message):
            merge(elsewhere, library)
    assert locked.read_bytes() == before


def test_a_locked_library_can_be_merged_into_another(locked: Path, library: Library) -> None:
    assert merge(locked, library).adapters == 3
    assert len(library.signatures.matrix(library.protocols.find().protocol.digest)) == 3


def test_a_library_in_a_folder_that_cannot_be_written_is_read_without_a_log(locked: Path) -> None:
    """Reading it by the plain URI failed once, and the error blamed the library that it was merged into."""
    in_folder = not os.access(locked.parent, os.W_OK)
    assert database.reading(locked) == f"{locked.as_uri()}?mode=ro{'&immutable=1' * in_folder}"


def test_what_its_owner_has_just_written_is_read_without_rights_to_the_folder(
    tmp_path: Path, filled: Library, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stood in the log only was once passed over: stale figures, or "layout 0" of a library all in its log."""
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not (mode & os.W_OK and Path(path) == tmp_path) and access(path, mode)
    )
    with Library(filled.path) as read:
        assert list(read.signatures.get(protocol.digest, read.adapters.all())) == [ADAPTER.key]
        filled.signatures.put(protocol.digest, "quick", {OTHER.key: make_signature()})
        assert len(read.signatures.get(protocol.digest, read.adapters.all())) == 2
    copy = tmp_path / "copies" / "library.db"
    copy.parent.mkdir()
    for ending in ("", "-wal"):
        copy.with_name(f"library.db{ending}").write_bytes(Path(f"{filled.path}{ending}").read_bytes())
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    with pytest.raises(LibraryError, match=r"its last changes lie in library.db-wal, which cannot be read in a folder"):
        Library(copy)


def test_two_that_make_a_library_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite tells at once that it is locked when two begin its log together: one in two hundred openings failed."""

    class Busy(sqlite3.Connection):
        times = 2

        def execute(self, *asked: Any) -> sqlite3.Cursor:
            if self.times:
                self.times -= 1
                raise sqlite3.OperationalError("database is locked")
            return super().execute(*asked)

    connection = sqlite3.connect(tmp_path / "new.db", factory=Busy)
    database._write_ahead(connection)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_path_that_cannot_even_be_looked_up_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="name too long: choose another --library"):
        Library(tmp_path / f"{'long' * 100}.db")


# --- a full disk --------------------------------------------------------------------------------------------------


FULL = "the disk is full. Free some space and run again: what was stored is intact"


def test_a_run_that_fills_the_disk_goes_on_when_there_is_room(
    tmp_path: Path, preset: Preset, worker: Worker, library: Library
) -> None:
    folder = three(tmp_path / "loras")
    index([folder / "redder.safetensors"], worker, library, precision="glance")
    library, evidence = library, library.evidence._db
    (pages,) = evidence.row("PRAGMA page_count")
    evidence.rows(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(LibraryError, match=FULL):
        index([folder], worker, library, precision="full")
    assert evidence.row("PRAGMA integrity_check") == ("ok",)
    assert library.signatures.precisions(worker.protocols[0].digest)[library.adapters.find("redder").key] == "glance"
    evidence.rows("PRAGMA max_page_count = 1000000")
    assert index([folder], worker, library, precision="full").finished
    with Library(tmp_path / "other.db", create=True) as other:
        index([folder], load_worker(preset), other, precision="full")
        assert measured(other) == measured(library)


def test_a_write_that_finds_no_room_leaves_all_as_it_was(filled: Library) -> None:
    many = [Preview(number, "a cat", 7, bytes(16000)) for number in range(20)]
    before = measured(filled)
    filled._db.rows("PRAGMA max_page_count = 20")
    with pytest.raises(LibraryError, match=FULL):
        filled.previews.put("scene", BARE, many)
    assert filled.previews.all("scene", BARE) == []  # all or nothing
    assert measured(filled) == before
    filled._db.rows("PRAGMA max_page_count = 1000000")
    filled.previews.put("scene", BARE, many)
    assert filled.previews.all("scene", BARE) == many


def measured(library: Library) -> dict[str, Any]:
    """Every signature of the active Protocol, as bits."""
    digest = library.protocols.find().protocol.digest
    found = library.signatures.get(digest, library.adapters.all())
    return {key: (bits(dataclasses.asdict(stored.signature)), stored.precision) for key, stored in found.items()}


# --- merging ------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, preset: Preset) -> Path:
    """Another library: red measured in full, green at a glance, a broken file."""
    folder = tmp_path / "theirs"
    place = tmp_path / "elsewhere.db"
    with Library(place, create=True) as other:
        worker = load_worker(preset)
        index([tint(folder / "red.safetensors", red=0.2)], worker, other, precision="full")
        index([tint(folder / "green.safetensors", green=0.2)], worker, other, precision="glance")
        (folder / "bad.safetensors").write_bytes(b"")
        index([folder / "bad.safetensors"], worker, other, precision="glance")
    return place


def test_merging_brings_all_that_another_library_knows(elsewhere: Path, library: Library) -> None:
    with Library(elsewhere) as other:
        digest = other.protocols.find().protocol.digest
        other.phrases.put(digest, {"red": (np.ones(other.signatures.width(digest) or 0, np.float32), None)})
    assert merge(elsewhere, library).adapters == 2
    assert set(library.phrases.all(digest)) == {"red"}
    with Library(elsewhere) as other:
        assert measured(library) == measured(other)
        known = {
            key: dataclasses.replace(one, facts=dataclasses.replace(one.facts, tensors="", autov3=""))
            for key, one in other.adapters.all().items()
        }
        assert library.adapters.all() == known  # by its tensors, a file here would be taken for an adapter from there
        # sizes and times are not taken over: a file is known when it was read here
        assert {path: key for path, (key, *_) in library.adapters.stamps().items()} == {
            path: key for path, (key, *_) in other.adapters.stamps().items()
        }
        assert library.refusals.all() == other.refusals.all()
        digest, scene = other.protocols.find().protocol.digest, other.protocols.find().protocol.scene
        np.testing.assert_array_equal(library.protocols.baseline_mean(digest), other.protocols.baseline_mean(digest))
        for key in (BARE, *other.adapters.all()):
            assert library.previews.all(scene, key) == other.previews.all(scene, key)
            assert len(library.evidence.blocks(key, digest)) == len(other.evidence.blocks(key, digest))


def test_merging_twice_changes_nothing(elsewhere: Path, library: Library) -> None:
    merge(elsewhere, library)
    before = contents(library)
    merge(elsewhere, library)
    assert contents(library) == before


def contents(library: Library) -> dict[str, Any]:
    """Every row of a library but when it was written."""
    tables = {
        "adapters": "key, name, family, facts", "files": "*", "executions": "*", "previews": "*", "refusals": "*",
        "signatures": "adapter, protocol, cells, direction, figures, precision", "protocols": "digest, preset, origin",
    }  # fmt: skip
    found = {name: library._db.rows(f"SELECT {columns} FROM {name} ORDER BY 1, 2") for name, columns in tables.items()}
    for name in ("blocks", "baselines", "thumbnails", "floors"):
        found[name] = library.evidence._db.rows(f"SELECT * FROM {name} ORDER BY 1, 2, 3")
    return found


def test_of_two_signatures_that_of_more_cells_wins(
    elsewhere: Path, tmp_path: Path, worker: Worker, library: Library
) -> None:
    theirs = tmp_path / "theirs"
    index([theirs / "red.safetensors"], worker, library, precision="glance")
    index([theirs / "green.safetensors"], worker, library, precision="full")
    merge(elsewhere, library)
    keys = {key: adapter.name for key, adapter in library.adapters.all().items()}
    precisions = library.signatures.precisions(worker.protocols[0].digest)
    assert {keys[key]: precision for key, precision in precisions.items()} == {"red": "full", "green": "full"}


def test_a_merged_library_is_refined_from_where_the_other_one_was(
    elsewhere: Path, tmp_path: Path, worker: Worker, library: Library, preset: Preset
) -> None:
    merge(elsewhere, library)
    outcome = index([tmp_path / "theirs" / "green.safetensors"], worker, library, precision="full")
    assert outcome.cells == len(worker.preset.grid()) - worker.preset.grid().block_size
    with Library(tmp_path / "whole.db", create=True) as whole:
        index([tmp_path / "theirs"], load_worker(preset), whole, precision="full")
        assert measured(library) == measured(whole)


def test_merging_leaves_thresholds_and_what_is_active_as_they_were(
    elsewhere: Path, library: Library, preset: Preset
) -> None:
    """Another library's thresholds once took the place of one's own, without a word."""
    mine = dataclasses.replace(preset, strength_max=1.0)
    with Library(elsewhere) as other:
        library.protocols.add(other.protocols.find().protocol, mine)
    library.protocols.add(preset.protocol(base_digest="b", encoder="fake", encoder_digest="e"), preset)
    active = library.protocols.all()[0].protocol
    merge(elsewhere, library)
    assert library.protocols.all()[0].protocol == active
    assert library.protocols.all()[1].preset == mine


def test_merging_never_mixes_trigger_words_within_a_signature(
    tmp_path: Path, worker: Worker, library: Library, preset: Preset
) -> None:
    """The other library's words and blocks once came beside one's own, so that refining would have mixed both."""
    path = tint(tmp_path / "loras" / "red.safetensors", red=0.2)
    sidecar = path.with_suffix(".json")
    sidecar.write_text('{"activation text": "ink"}', "utf-8")
    index([path], worker, library, precision="glance")
    sidecar.write_text('{"activation text": "oil"}', "utf-8")
    with Library(tmp_path / "theirs.db", create=True) as theirs:
        index([path], load_worker(preset), theirs, precision="full")
        before = measured(library)
        assert merge(theirs.path, library).reworded == 1
        assert measured(library) == before
    (key,) = library.adapters.all()
    assert library.adapters.all()[key].facts.measured_words == {worker.protocols[0].scene: ", ink"}
    assert len(library.evidence.blocks(key, worker.protocols[0].digest)) == 1


def test_what_lies_at_a_path_is_known_better_here_than_in_an_older_library(
    elsewhere: Path, tmp_path: Path, worker: Worker, library: Library
) -> None:
    """A merge once moved a path back to the adapter that had lain there before, and would have refused a good file."""
    theirs = tmp_path / "theirs"
    tint(theirs / "red.safetensors", red=0.4)
    tint(theirs / "bad.safetensors", blue=0.4)
    (theirs / "green.safetensors").write_bytes(b"")
    index([theirs], worker, library, precision="glance")
    before, refused = library.adapters.stamps(), library.refusals.all()
    merge(elsewhere, library)
    assert (library.adapters.stamps(), library.refusals.all()) == (before, refused)
    assert len(library.adapters.all()) == 4


def test_merging_a_library_that_is_not_there_is_a_clear_error(tmp_path: Path, library: Library) -> None:
    with pytest.raises(LibraryError, match="no library at"):
        merge(tmp_path / "none.db", library)
    (tmp_path / "photo.db").write_bytes(b"\x89PNG" * 100)
    with pytest.raises(LibraryError, match="this is no lorascope library"):
        merge(tmp_path / "photo.db", library)


# --- removal ------------------------------------------------------------------------------------------------------


def test_where_the_evidence_is_damaged_nothing_is_removed(tmp_path: Path, worker: Worker, library: Library) -> None:
    """The adapter was once forgotten, its blocks were not, and a failure was reported."""
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    library = library
    key, before = library.adapters.find("redder").key, measured(library)
    library.close()
    data = bytearray(library.evidence_path.read_bytes())
    data[database._PAGE_SIZE :] = b"\xff" * (len(data) - database._PAGE_SIZE)
    library.evidence_path.write_bytes(data)
    with Library(library.path) as again:
        with pytest.raises(LibraryError, match="evidence.db: the library is damaged"):
            again.remove(key)
        assert measured(again) == before
        assert again.previews.all(worker.protocols[0].scene, key)


def test_a_removed_adapter_leaves_nothing_but_its_file(tmp_path: Path, worker: Worker, library: Library) -> None:
    folder = three(tmp_path / "loras")
    index([folder], worker, library, precision="glance")
    library = library
    gone = library.adapters.find("redder")
    library.remove(gone.key)
    assert gone.key not in library.adapters.all()
    assert gone.key not in library.signatures.matrix(worker.protocols[0].digest).keys
    assert library.previews.all(worker.protocols[0].scene, gone.key) == []
    assert library.evidence.blocks(gone.key, worker.protocols[0].digest) == []
    assert str(folder / "redder.safetensors") not in library.adapters.stamps()
    assert (folder / "redder.safetensors").exists()
    assert len(library.adapters.all()) == 2
    assert library.previews.all(worker.protocols[0].scene, BARE)
    again = index([folder], worker, library, precision="glance")
    assert again.measured == [gone.key]
