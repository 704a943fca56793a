"""Nothing that was stored is ever lost: kills, two processes at once, a full disk, broken files."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import MODULE, searcher, three, tint
from safetensors.torch import save_file

from lorascope.adapters import read_adapter
from lorascope.errors import LibraryError, UnreadableAdapter
from lorascope.library import AdapterFacts, Library, StoredAdapter, database, write_manifest
from lorascope.library.leases import ended, this_process
from lorascope.measure import Worker, index, load_worker
from lorascope.miniature.broken import write_broken
from lorascope.protocol import Preset
from lorascope.search import Example, Request

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="these tests fork and kill processes, as POSIX can")

SIGNATURES = (
    "SELECT key, name, family, facts, protocol, cells, strength, strength_low, strength_high, consistency,"
    " consistency_low, consistency_high, direction, figures, precision FROM signatures JOIN adapters ON adapter = id"
    " ORDER BY key, protocol"
)
TABLES = {
    "library.db": ("executions", "previews"),
    "library.evidence.db": ("blocks", "baselines", "thumbnails", "floors"),
}


class Commands:
    """Commands in processes of their own, forked from one that has everything loaded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ticks, theirs = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "commands.py"), "--ticks", str(theirs)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[theirs],
        )  # fmt: skip
        os.close(theirs)
        self._count = 0

    def close(self) -> None:
        """End all of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        os.close(self._ticks)

    def start(self, *argv: str, limit: int = 0) -> int:
        """Begin a command; returns its process id."""
        self._count += 1
        return self._ask(argv=argv, limit=limit, output=str(self._folder / f"out{self._count}.txt"))

    def end(self, pid: int, signal_number: int = 0) -> int:
        """Wait for a command, after a signal if one is given; returns its exit status."""
        status = self._ask(pid=pid, signal=signal_number)
        self.forget_batches()
        return status

    def run(self, *argv: str, limit: int = 0) -> tuple[int, str]:
        """Run a command to its end; returns exit status and output."""
        return self.end(self.start(*argv, limit=limit)), self.output

    @property
    def output(self) -> str:
        """What the last command has printed so far."""
        return (self._folder / f"out{self._count}.txt").read_text("utf-8")

    def forget_batches(self) -> None:
        """Count batches from here on."""
        while select.select([self._ticks], [], [], 0)[0]:
            os.read(self._ticks, 65536)

    def wait_for_batches(self, count: int) -> None:
        """Wait until a running command has rendered some batches."""
        while count > 0:
            assert select.select([self._ticks], [], [], 20)[0], self.output
            count -= len(os.read(self._ticks, count))

    def _ask(self, **request: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    found = Commands(tmp_path_factory.mktemp("commands"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three adapters."""
    return three(tmp_path_factory.mktemp("three") / "loras")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, commands: Commands, folder: Path) -> Path:
    """A library that was measured in one go, and where it is."""
    place = tmp_path_factory.mktemp("undisturbed") / "library.db"
    status, output = commands.run(*verb(folder, place))
    assert status == 0, output
    return place


def verb(folder: Path, place: Path, precision: str = "full") -> list[str]:
    preset = str(HERE / "fake.toml")
    return ["index", str(folder), "--library", str(place), "--preset", preset, "--precision", precision]


def rows(path: Path, sql: str) -> list[Any]:
    database = sqlite3.connect(path)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def kept(place: Path) -> dict[str, list[Any]]:
    """Everything measured that a library holds, to the bit; only times and places of files are left out."""
    found = {"signatures": rows(place, SIGNATURES), "means": rows(place, "SELECT digest, baseline_mean FROM protocols")}
    for name, tables in TABLES.items():
        for table in tables:
            found[table] = sorted(rows(place.with_name(name), f"SELECT * FROM {table}"))
    return found


def assert_sound(place: Path) -> None:
    for name in TABLES:
        if place.with_name(name).exists():
            assert rows(place.with_name(name), "PRAGMA integrity_check") == [("ok",)]
            assert rows(place.with_name(name), "PRAGMA foreign_key_check") == []


def test_twenty_kills_at_any_moment_leave_what_no_kill_leaves(
    tmp_path: Path, commands: Commands, folder: Path, undisturbed: Path
) -> None:
    """It once took the next run a quarter of an hour to continue: the dead process still held its leases."""
    rng = random.Random(20)
    place = tmp_path / "library.db"
    for _ in range(20):
        pid = commands.start(*verb(folder, place))
        commands.wait_for_batches(rng.randrange(1, 60))
        time.sleep(rng.uniform(0, 0.01))  # anywhere within a block: rendering, embedding, committing
        assert commands.end(pid, signal.SIGKILL) == -signal.SIGKILL
        assert_sound(place)
    half = rows(place.with_name("library.evidence.db"), "SELECT count(*) FROM blocks")[0][0]
    assert 10 < half < 210
    status, output = commands.run(*verb(folder, place))
    assert status == 0, output
    assert_sound(place)
    assert kept(place) == kept(undisturbed)


def test_a_kill_while_a_library_is_being_made_harms_nothing(
    tmp_path: Path, commands: Commands, folder: Path, undisturbed: Path
) -> None:
    rng = random.Random(5)
    place = tmp_path / "library.db"
    for _ in range(8):
        pid = commands.start(*verb(folder, place, "glance"))
        time.sleep(rng.uniform(0, 0.12))
        commands.end(pid, signal.SIGKILL)
    status, output = commands.run(*verb(folder, place, "glance"))
    assert status == 0, output
    assert_sound(place)
    first = [row for row in kept(undisturbed)["blocks"] if row[2] == 0]
    assert kept(place)["blocks"] == first


def test_two_processes_share_one_library(tmp_path: Path, commands: Commands, folder: Path, undisturbed: Path) -> None:
    place = tmp_path / "library.db"
    first, second = (commands.start(*verb(folder, place)) for _ in range(2))
    statuses = {commands.end(first), commands.end(second)}
    assert statuses <= {0, 1}  # 1 where the other process still had an adapter
    with Library(place) as library:
        digest = library.protocols.find().protocol.digest
        assert list(library.signatures.precisions(digest).values()) == ["full"] * 3
    status, output = commands.run(*verb(folder, place))
    assert status == 0, output
    assert_sound(place)
    assert kept(place) == kept(undisturbed)


def test_a_disk_that_is_full_ends_a_run_with_a_clear_word_and_harms_nothing(
    tmp_path: Path, commands: Commands, folder: Path, undisturbed: Path
) -> None:
    place = tmp_path / "library.db"
    # for each file: a write-ahead log takes every page of 16 KiB that a commit touches, .59 MB for making the tables,
    # .12 for each adapter that is recorded, so that about 1.3 MB of it come before the first block
    limit = 1_600_000
    status, output = commands.run(*verb(folder, place), limit=limit)
    assert status == 2
    assert "what was stored is intact" in output
    assert "Traceback" not in output
    assert_sound(place)
    before = kept(place)
    assert before["blocks"]
    assert set(before["blocks"]) <= set(kept(undisturbed)["blocks"])
    status, output = commands.run(*verb(folder, place))
    assert status == 0, output
    assert kept(place) == kept(undisturbed)


def test_ctrl_c_says_that_the_same_command_goes_on(
    tmp_path: Path, commands: Commands, folder: Path, undisturbed: Path
) -> None:
    """Typer turns the signal into an exit status, and once nobody said what became of the work."""
    place = tmp_path / "library.db"
    pid = commands.start(*verb(folder, place))
    commands.wait_for_batches(5)
    assert commands.end(pid, signal.SIGINT) == 130
    assert "stopped; what was measured is kept" in commands.output
    assert commands.run(*verb(folder, place))[0] == 0
    assert kept(place) == kept(undisturbed)


def test_broken_files_are_listed_and_the_good_ones_measured(tmp_path: Path, commands: Commands) -> None:
    folder = three(tmp_path / "loras")
    tray = write_broken(folder / "tray", folder / "redder.safetensors")
    place = tmp_path / "library.db"
    status, output = commands.run(*verb(folder, place, "glance"), "--json")
    assert status == 1
    told = json.loads(output[output.index("{") :])
    assert told["measured"] == 3
    del tray["folder.safetensors"]  # a folder is searched, not read
    assert told["refused"] == len(tray) == 28
    with Library(place) as library:
        refusals = {Path(refusal.path).name: refusal for refusal in library.refusals.all()}
        measured = library.signatures.precisions(library.protocols.find().protocol.digest)
        assert {library.adapters.all()[key].name for key in measured} == {"redder", "greender", "blueder"}
    assert {name: refusals[name].code for name in tray} == tray
    assert all(refusal.reason and refusal.remedy for refusal in refusals.values())


def test_a_name_in_an_older_encoding_is_one_file_that_is_left_out(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    """It can be read but not stored: it once ended the run with the traceback of a UnicodeEncodeError."""
    folder = three(tmp_path / "loras")
    try:
        (folder / "redder.safetensors").rename(folder / os.fsdecode(b"caf\xe9.safetensors"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    outcome = index([folder], worker, library, precision="glance")
    assert outcome.finished
    assert len(outcome.measured) == 2
    (refused,) = library.refusals.all()
    assert (refused.path, refused.code) == (str(folder / "caf\\udce9.safetensors"), "unreadable")
    assert (refused.reason, refused.remedy) == ("its name, or that of its folder, is not UTF-8", "Rename it")
    (odd,) = folder.glob("caf*")
    with pytest.raises(UnreadableAdapter) as told:
        read_adapter(odd)
    assert str(told.value).encode("utf-8")


def test_a_header_that_holds_what_is_no_text_is_one_file_that_is_left_out(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    """JSON may spell half of a character: as the name of a module it once ended the run, since no library holds it."""
    folder = three(tmp_path / "loras")
    path = folder / "odd.safetensors"
    tensors = {f"{MODULE}.lora_A.weight": torch.ones(1, 3), f"{MODULE}.lora_B.weight": torch.ones(3, 1)}
    save_file(tensors | {key.replace("proj_in", "odd"): value.clone() for key, value in tensors.items()}, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    text = json.dumps({name.replace("odd", "\ud800"): entry for name, entry in header.items()}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    outcome = index([folder], worker, library, precision="glance")
    assert outcome.finished
    assert len(outcome.measured) == 3
    (refused,) = library.refusals.all()
    assert refused == outcome.refused[0]
    assert "\\ud800" in refused.reason


def test_trigger_words_that_are_no_text_are_spelt_out(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "loras" / "red.safetensors", red=0.2)
    path.with_suffix(".json").write_text('{"activation text": "r\\ud8003d"}', "utf-8")
    both = load_worker(dataclasses.replace(worker.preset, triggers="both"))
    assert len(index([path], both, library, precision="glance").measured) == 1


def test_a_manifest_is_written_whatever_was_asked(tmp_path: Path, worker: Worker, library: Library) -> None:
    """A path that is no UTF-8 once stayed among the runs, and no manifest could be written any more."""
    odd = tmp_path / "N\udcff"
    index([odd], worker, library, precision="glance")
    assert library.runs.all()[0]["request"]["paths"] == [f"{tmp_path}/N\\udcff"]
    library.runs.start({"paths": [str(odd)]})  # as an earlier version noted it
    write_manifest(library, tmp_path / "manifest.json")
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    assert manifest["runs"][0]["request"]["paths"] == [str(odd)]


def test_a_good_file_of_that_name_is_no_longer_listed(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tmp_path / "loras" / "red.safetensors"
    tint(path)  # all zero
    assert [refusal.code for refusal in index([path.parent], worker, library, precision="glance").refused] == [
        "no-effect"
    ]
    tint(path, red=0.3)
    assert index([path.parent], worker, library, precision="glance").refused == []
    assert library.refusals.all() == []


def test_a_lease_ends_with_its_process() -> None:
    host = this_process().split(":")[0]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert ended(f"{host}:{gone.pid}:1")
    assert ended(f"{host}:{os.getpid()}:1")  # the same number, given out again
    assert not ended(this_process())
    assert not ended(f"{host}:{os.getppid()}:1")
    assert not ended(f"another-{host}:{gone.pid}:1")
    assert not ended("somebody")


# --- the library's own file -------------------------------------------------------------------------------------------


@pytest.fixture
def foreign_writer(tmp_path: Path, worker: Worker, library: Library) -> Iterator[subprocess.Popen[str]]:
    """A process, not of ours, that holds the write lock of a library of three adapters."""
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(library.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.communicate()


def test_lists_and_searches_go_on_while_another_process_writes(
    foreign_writer: subprocess.Popen[str], worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening took the write lock once: `list` and `search` failed after a minute."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0)
    with Library(library.path) as library:
        assert len(library.adapters.all()) == 3
        assert searcher(library).search(Request("red")).hits
        library.pictures.put("encoder", "a picture", np.ones(4, np.float32))  # only good to have: skipped
        assert library.pictures.get("encoder", "a picture") is None


def test_a_writer_that_waits_in_vain_names_the_process_it_waited_for(
    foreign_writer: subprocess.Popen[str], worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0)
    named = f"process {foreign_writer.pid} \\(.*, since .*\\)" if sys.platform == "linux" else "another process"
    with (
        Library(library.path) as library,
        pytest.raises(LibraryError, match=f"{named} is writing the library. Wait for it, or stop it"),
    ):
        library.refusals.remove("/somewhere")


@pytest.mark.parametrize("happening", ["deleted", "moved", "replaced"])
def test_a_library_that_went_away_during_a_run_ends_it(
    tmp_path: Path, worker: Worker, library: Library, happening: str
) -> None:
    """The run went on into a file that nobody could find again, and reported success."""
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    place = library.path
    if happening == "deleted":
        place.unlink()
    else:
        place.rename(tmp_path / "elsewhere.db")
    if happening == "replaced":
        Library(place, create=True).close()
    with pytest.raises(LibraryError, match="was deleted, moved or replaced while it was open: nothing more is written"):
        index([tmp_path / "loras"], worker, library, precision="quick")


def test_an_adapter_that_is_being_measured_cannot_be_removed(tmp_path: Path, worker: Worker, library: Library) -> None:
    index([tint(tmp_path / "red.safetensors", red=0.3)], worker, library, precision="glance")
    (key,) = library.adapters.all()
    assert library.leases.acquire(key, worker.protocols[0].scene, "elsewhere:77:1")
    with pytest.raises(LibraryError, match=f"process 77 on elsewhere is measuring {key}. Wait for it, or stop it"):
        library.remove(key)
    library.leases.release("elsewhere:77:1")
    library.remove(key)
    assert library.adapters.all() == {}


def test_a_signature_of_a_removed_adapter_is_an_error(tmp_path: Path, worker: Worker, library: Library) -> None:
    """It vanished without a word."""
    index([tint(tmp_path / "red.safetensors", red=0.3)], worker, library, precision="glance")
    (key,) = library.adapters.all()
    (stored,) = library.signatures.get(worker.protocols[0].digest, [key]).values()
    library.remove(key)
    with pytest.raises(LibraryError, match=f"{key} was removed while it was being measured. Run index again"):
        library.signatures.put(worker.protocols[0].digest, "full", {key: stored.signature})


def test_a_clock_that_steps_back_hides_no_change(
    tmp_path: Path, worker: Worker, library: Library, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    version = library.version()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    library.adapters.add([StoredAdapter("sha256:new", "new", "", (), AdapterFacts())], {})
    assert library.version() > version
    changed = dataclasses.replace(preset, steps=7)
    protocol = changed.protocol(base_digest="b", encoder="fake", encoder_digest="e")
    library.protocols.add(protocol, changed)
    assert library.protocols.all()[0].protocol.digest == protocol.digest


@pytest.mark.parametrize("name", ["a?b#c%41.db", "two\nlines.db", os.fsdecode(b"caf\xe9.db")])
def test_a_library_at_any_path_is_written_and_read(tmp_path: Path, preset: Preset, name: str) -> None:
    place = tmp_path / name
    with Library(place, create=True) as library:
        index([three(tmp_path / "loras")], load_worker(preset), library, precision="glance")
    with Library(place) as library:
        assert len(library.signatures.matrix(library.protocols.find().protocol.digest)) == 3
        assert searcher(library).search(Request("red")).hits
    assert place.exists()


# --- a library of an earlier version ----------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A library of three adapters, made by lorascope 0.1.0: a glance at each in the fake world."""
    for kind in ("", ".evidence"):
        shutil.copy(HERE / "data" / f"library-0.1.0{kind}.db", tmp_path / f"old{kind}.db")
    return tmp_path / "old.db"


def test_a_library_of_0_1_0_is_listed_and_searched(old: Path) -> None:
    with Library(old) as library:
        assert sorted(adapter.name for adapter in library.adapters.all().values()) == ["blueder", "greender", "redder"]
        redder = library.adapters.find("redder")
        assert redder.claimed("triggers") == ["zzred"]
        assert list(redder.facts.measured_words.values()) == [", zzred"]
        assert list(redder.facts.spectra) == ["fake-generator x 1"]
        assert redder.facts.unknown == {}
        assert searcher(library).search(Request(adapters=(Example(library.adapters.find("redder").key),))).hits
        (refused,) = library.refusals.all()
        assert refused.code == "truncated"


def test_a_library_of_0_1_0_is_read_where_it_cannot_be_written(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Library(old) as library:
        assert library.version() == 0
        assert searcher(library).search(Request(adapters=(Example(library.adapters.find("redder").key),))).hits
    assert old.read_bytes() == before


def test_a_library_of_0_1_0_goes_on_being_measured(tmp_path: Path, old: Path, preset: Preset) -> None:
    """Blocks that were measured then count: only what is missing is made."""
    with Library(old) as library:
        worker = load_worker(preset)
        outcome = index([three(tmp_path / "loras")], worker, library, precision="quick")
        keys = library.adapters.all()
        signatures = library.signatures.get(worker.protocols[0].digest, keys)
        assert len(keys) == len(signatures) == 3
        assert sum(stored.signature.cells for stored in signatures.values()) == outcome.cells + 3 * 16
