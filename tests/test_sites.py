"""What sites say of adapters, and adapters from there, against servers on this machine."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fakes import three, tint
from typer.testing import CliRunner

from lorascope.adapters import read_adapter
from lorascope.cli.app import app
from lorascope.errors import LorascopeError, SiteError, UsageError
from lorascope.installations import UserConfig
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.library.facts import AdapterFacts as Facts
from lorascope.measure import Worker, index
from lorascope.models import config_file
from lorascope.sites import CivArchive, Civitai, Hub, download, look_up
from lorascope.sites.record import Remote
from lorascope.sites.web import Web, token_of

TODAY = date(2026, 11, 28)
HASHES = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def site(answer: Callable[[str, bytes, dict[str, str]], Answer | None]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers as told; None cuts the connection. Gives its address and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(self.path)
            found = answer(self.path, body, dict(self.headers))
            if found is None:
                self.close_connection = True
                return
            status, headers, content = found
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def plain(content: Any, status: int = 200, **headers: str) -> Answer:
    return status, {"Content-Type": "application/json"} | headers, json.dumps(content).encode()


def version(digest: str, **fields: Any) -> dict[str, Any]:
    """A version of a model, as Civitai documents it."""
    return {
        "id": 6, "modelId": 5, "baseModel": "Illustrious", "trainedWords": ["zxq"], "nsfwLevel": 1,
        "model": {"name": "Ink", "type": "LORA", "nsfw": False},
        "files": [{"name": "ink.safetensors", "primary": True, "type": "Model", "hashes": {"SHA256": digest.upper()}}],
    } | fields  # fmt: skip


def waits() -> tuple[list[float], Callable[[float], None]]:
    slept: list[float] = []
    return slept, slept.append


def civitai(address: str, sleep: Callable[[float], None] = lambda _: None, **how: Any) -> Civitai:
    return Civitai(web=Web("civitai", address, token="secret-token", sleep=sleep), **how)


@pytest.fixture
def adapters(library: Library) -> list[StoredAdapter]:
    library.adapters.add([StoredAdapter(f"sha256:{one}", one[:5], "sdxl", (), AdapterFacts()) for one in HASHES], {})
    return list(library.adapters.all().values())


def test_what_a_site_says_is_kept_as_claims_of_its_and_the_day(library: Library, adapters: list[StoredAdapter]) -> None:
    with site(lambda path, body, _: plain([version(HASHES[0])])) as (address, asked):
        (last,) = look_up(library, adapters, civitai(address), today=TODAY)
    assert (last.asked, last.found, asked) == (3, 1, ["/model-versions/by-hash"])
    found = library.adapters.get([f"sha256:{HASHES[0]}"])[f"sha256:{HASHES[0]}"]
    assert found.facts.sites["civitai"]["date"] == "2026-11-28"
    assert [found.claimed(name) for name in ("title", "base_model", "triggers", "civitai_version")] == [
        "Ink", "Illustrious", ["zxq"], 6,
    ]  # fmt: skip
    assert Facts.from_json(found.facts.to_json()) == found.facts


def test_hashes_are_sent_in_batches_and_nothing_else(library: Library) -> None:
    keys = [f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(150)]
    library.adapters.add([StoredAdapter(key, "secret name", "sdxl", (), AdapterFacts()) for key in keys], {})
    bodies: list[list[str]] = []

    def answer(path: str, body: bytes, _: Any) -> Answer:
        bodies.append(json.loads(body))
        return plain([])

    with site(answer) as (address, _):
        list(look_up(library, list(library.adapters.all().values()), civitai(address), today=TODAY))
    assert [len(body) for body in bodies] == [100, 50]
    assert {f"sha256:{one}" for body in bodies for one in body} == set(keys)


def test_what_was_asked_lately_is_not_asked_again(library: Library, adapters: list[StoredAdapter]) -> None:
    with site(lambda *_: plain([version(HASHES[0])])) as (address, asked):
        for day in (TODAY, TODAY.replace(day=29), date(2027, 1, 5)):
            list(look_up(library, list(library.adapters.all().values()), civitai(address), today=day))
    assert len(asked) == 2


def test_what_was_found_before_a_failure_is_kept(library: Library, adapters: list[StoredAdapter]) -> None:
    def answer(path: str, *_: Any) -> Answer:
        return plain({"name": "Ink"}) if path.endswith(HASHES[0]) else plain({}, 500)

    with site(answer) as (address, _):
        archive = CivArchive(web=Web("civarchive", address, sleep=lambda _: None))
        archive.batch = 1  # type: ignore[misc]
        ordered = sorted(adapters, key=lambda one: HASHES.index(one.key[7:]))
        with pytest.raises(SiteError, match="civarchive answered 500"):
            list(look_up(library, ordered, archive, today=TODAY))
    kept = library.adapters.all()
    assert [bool(kept[f"sha256:{one}"].facts.sites) for one in HASHES] == [True, False, False]


def test_updates_say_what_is_newer_deleted_and_allowed(library: Library, adapters: list[StoredAdapter]) -> None:
    def answer(path: str, *_: Any) -> Answer:
        if path == "/models/5":
            return plain({"modelVersions": [{"id": 9}, {"id": 6}], "allowCommercialUse": ["Image"], "tags": ["ink"]})
        if path == "/models/7":
            return plain({}, 404)
        return plain([version(HASHES[0]), version(HASHES[1], modelId=7)])

    with site(answer) as (address, _):
        claims = civitai(address, updates=True).claims(adapters)
    assert claims[f"sha256:{HASHES[0]}"]["newest_version"] == 9
    assert claims[f"sha256:{HASHES[0]}"]["licence"] == "commercial use: Image"
    assert claims[f"sha256:{HASHES[1]}"]["deleted"] is True


def test_a_later_run_keeps_what_sites_said(library: Library, worker: Worker, tmp_path: Path) -> None:
    three(tmp_path / "loras")
    index([tmp_path / "loras"], worker, library, precision="glance")
    (one, *_) = library.adapters.all().values()
    with site(lambda *_: plain([version(one.key[7:])])) as (address, _):
        list(look_up(library, [one], civitai(address), today=TODAY))
    index([tmp_path / "loras"], worker, library, precision="quick")
    found = library.adapters.get([one.key])[one.key]
    assert found.claimed("title") == "Ink"
    assert found.paths == one.paths


# --- sites that do not answer as documented ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (plain({}, 401), r"civitai refuses \(401\): set CIVITAI_TOKEN to a token of your account"),
        (plain({}, 500), "civitai answered 500"),
        (plain({}, 429), "it answered 429, 4 times: try again later, what was found is kept"),
        (plain({}, 429, **{"Retry-After": "4000"}), "civitai asks to wait 4000 s"),
        ((200, {"Content-Type": "text/html"}, b"<html>maintenance"), "answered with text/html instead of JSON"),
        (plain({"error": "changed"}), "something else than a list"),
        ((302, {"Location": "http://evil.example/"}, b""), "http://evil.example/ is not encrypted"),
        ((200, {"Content-Type": "application/json", "Content-Length": "99"}, b"[1,"), "it cannot be reached"),
        (None, "it cannot be reached"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_site_is_said_without_the_token(
    answer: Answer | None, problem: str, adapters: list[StoredAdapter], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with site(lambda *_: answer) as (address, _), pytest.raises(SiteError, match=problem) as error:
        civitai(address).claims(adapters)
    assert "secret-token" not in str(error.value)
    assert "secret-token" not in caplog.text


def test_a_site_that_asks_to_wait_is_waited_for(adapters: list[StoredAdapter]) -> None:
    answers = [plain({}, 429, **{"Retry-After": "7"}), plain({}, 503), plain([version(HASHES[0])])]
    slept, sleep = waits()
    with site(lambda *_: answers.pop(0)) as (address, _):
        assert len(civitai(address, sleep).claims(adapters)) == 1
    assert 7.0 in slept


def test_a_moved_api_is_followed_and_the_token_goes_nowhere_else(adapters: list[StoredAdapter]) -> None:
    seen: list[str | None] = []

    def elsewhere(path: str, body: bytes, headers: dict[str, str]) -> Answer:
        seen.append(headers.get("Authorization"))
        return plain([version(HASHES[0])])

    with site(elsewhere) as (target, _), site(lambda *_: (307, {"Location": f"{target}/new"}, b"")) as (address, _):
        assert len(civitai(address).claims(adapters)) == 1
    assert seen == [None]


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIVITAI_TOKEN", " abc ")
    assert token_of("civitai") == "abc"
    monkeypatch.delenv("CIVITAI_TOKEN")
    assert token_of("civitai") == ""


# --- downloads --------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> bytes:
    return tint(tmp_path / "source.safetensors", red=0.3).read_bytes()


def remote(address: str, data: bytes, name: str = "ink.safetensors") -> Remote:
    return Remote("civitai", f"{address}/file", name, hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize(
    "reference",
    ["urn:air:sdxl:lora:civitai:5@6", "urn:air:sdxl:lora:civitai:5", "https://civitai.com/models/5?modelVersionId=6",
     "https://civitai.com/models/5/ink", HASHES[0], HASHES[0][:10].upper()],
)  # fmt: skip
def test_an_adapter_is_found_by_air_address_and_hash(reference: str) -> None:
    found = version(HASHES[0])
    found["files"][0]["downloadUrl"] = "https://civitai.com/api/download/models/6"
    model = {"modelVersions": [found]}
    with site(lambda path, *_: plain(model if path.startswith("/models/") else found)) as (address, _):
        assert Civitai.reads(reference)
        assert civitai(address).find(reference).sha256 == HASHES[0]


def test_what_civitai_does_not_know_is_said() -> None:
    with site(lambda *_: plain({}, 404)) as (address, _), pytest.raises(SiteError, match="knows nothing of"):
        civitai(address).find("urn:air:sdxl:lora:civitai:5@6")


def test_a_file_arrives_whole_and_is_not_fetched_twice(file: bytes, tmp_path: Path) -> None:
    with site(lambda *_: (200, {}, file)) as (address, asked):
        for _ in range(2):
            path = download(remote(address, file, "../in k?.safetensors"), tmp_path / "loras")
    assert path == tmp_path / "loras" / "in k_.safetensors"
    assert path.read_bytes() == file
    assert read_adapter(path)
    assert len(asked) == 1
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_an_interrupted_download_goes_on_where_it_ended(file: bytes, tmp_path: Path) -> None:
    ranges: list[str | None] = []

    def answer(path: str, body: bytes, headers: dict[str, str]) -> Answer:
        ranges.append(headers.get("Range"))
        if len(ranges) == 1:
            return 200, {"Content-Length": str(len(file))}, file[:100]
        start = int((ranges[-1] or "bytes=0-")[6:-1])
        return 206, {}, file[start:]

    with site(answer) as (address, _):
        assert download(remote(address, file), tmp_path).read_bytes() == file
    assert ranges == [None, "bytes=100-"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((401, {}, b""), r"civitai wants a token \(401\): set CIVITAI_TOKEN"),
        ((404, {}, b""), "the site answered 404"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "sent a page instead of the file"),
        ((200, {}, b"something else"), "does not have the SHA-256 that was announced"),
    ],
)  # fmt: skip
def test_what_is_not_the_file_that_was_announced_is_thrown_away(
    answer: Answer, problem: str, file: bytes, tmp_path: Path
) -> None:
    with site(lambda *_: answer) as (address, _), pytest.raises(SiteError, match=problem):
        download(remote(address, file), tmp_path / "loras")
    assert list((tmp_path / "loras").glob("*")) == []


def test_another_file_of_the_name_stays(file: bytes, tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").write_bytes(b"mine")
    with pytest.raises(SiteError, match=r"ink.safetensors is another file: move it"):
        download(remote("http://127.0.0.1:9", file), tmp_path)
    assert (tmp_path / "ink.safetensors").read_bytes() == b"mine"


def test_a_file_that_is_no_adapter_is_not_kept(tmp_path: Path) -> None:
    with site(lambda *_: (200, {}, b"no adapter")) as (address, _), pytest.raises(SiteError, match="is no adapter"):
        download(remote(address, b"no adapter"), tmp_path / "loras")
    assert list((tmp_path / "loras").glob("*")) == []


@pytest.mark.parametrize(
    ("reference", "read"),
    [
        ("owner/name/ink.safetensors", True), ("https://huggingface.co/owner/name/resolve/main/a/i.safetensors", True),
        ("owner/name", True), ("https://huggingface.co/owner/name/tree/main", True),
        ("urn:air:sdxl:lora:civitai:5", False),
        ("https://evil.example/o/n/x.safetensors", False), ("loras/ink.safetensors", False), ("../loras", False),
        ("loras", False),
    ],
)  # fmt: skip
def test_files_of_the_hub_are_told_from_others(reference: str, read: bool) -> None:
    assert Hub.reads(reference) is read


# --- the commands -----------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that `setup` found."""
    folder = tmp_path / "loras"
    folder.mkdir()
    UserConfig((folder,)).save(config_file())
    return folder


@contextmanager
def sites(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer | None]) -> Iterator[list[str]]:
    """Civitai and the hub are one server, which answers as told; nobody waits."""
    with site(answer) as (address, asked):
        monkeypatch.setattr("lorascope.sites.civitai.BASE", address)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("lorascope.sites.web.time.sleep", lambda _: None)
        yield asked


def served(file: bytes, **fields: Any) -> Callable[..., Answer]:
    """Both sites with one adapter, 5 at Civitai and owner/ink at the hub; `fields` are Civitai's of its file."""
    digest = hashlib.sha256(file).hexdigest()

    def answer(path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if path.endswith("/download") or "/resolve/" in path:
            return 200, {}, file
        if path.startswith("/api/models/"):
            names = {"one": ["ink.safetensors"], "two": ["a.safetensors", "b.safetensors"], "bare": ["x.txt"]}
            files = names.get(path.split("?")[0].split("/")[4])
            if files is None:
                return plain({}, 404, **{"X-Error-Code": "RepoNotFound"})
            lfs = {"sha256": digest, "size": len(file), "pointerSize": 1}
            siblings = [{"rfilename": name, "size": len(file), "lfs": lfs} for name in files]
            return plain({"id": "owner/one", "sha": "a" * 40, "siblings": siblings})
        found = version(digest)
        host = headers.get("Host") or headers["host"]
        found["files"][0] |= {"downloadUrl": f"http://{host}/download", "sizeKB": len(file) / 1024} | fields
        return plain({"modelVersions": [found]} if path.startswith("/models/") else found)

    return answer


def test_a_repository_that_is_gated_is_not_called_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = StoredAdapter("k", "ink", "sdxl", ("models--owner--one/snapshots/a/ink.safetensors",), AdapterFacts())
    with sites(monkeypatch, lambda *_: plain({}, 403, **{"X-Error-Code": "GatedRepo"})):
        assert Hub().claims([adapter]) == {}
    with sites(monkeypatch, lambda *_: plain({}, 404, **{"X-Error-Code": "RepoNotFound"})):
        assert Hub().claims([adapter])["k"] == {"deleted": True}


def run(*argv: str | Path, status: int = 0) -> Any:
    ended = CliRunner().invoke(app, list(map(str, argv)))
    if isinstance(ended.exception, LorascopeError):
        raise ended.exception
    assert ended.exit_code == status, ended.output
    return ended


@pytest.mark.parametrize("reference", ["urn:air:sdxl:lora:civitai:5@6", "owner/one", "owner/one/ink.safetensors"])
def test_get_says_the_size_and_downloads_into_the_folder_of_setup(
    reference: str, place: Path, file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sites(monkeypatch, served(file)):
        ended = run("get", reference, "--json")
    path = Path(json.loads(ended.stdout)["path"])
    assert (path, path.read_bytes()) == (place / "ink.safetensors", file)
    assert f"ink.safetensors: {len(file)} bytes from" in ended.stderr
    words = read_adapter(path).claims.triggers
    assert (words.value if words else None) == (("zxq",) if reference.startswith("urn") else None)


def test_index_measures_what_references_mean(place: Path, file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Path(__file__).parent / "fake.toml"
    arguments = ["index", "urn:air:sdxl:lora:civitai:5@6", "owner/one", "--preset", fake, "--precision", "glance"]
    with sites(monkeypatch, served(file)) as asked:
        with pytest.raises(UsageError, match="civitai:5@6 is not on this disk: .* or give --download to fetch it"):
            run(*arguments)
        with pytest.raises(UsageError, match="--dry-run fetches nothing: run `lorascope get` first"):
            run(*arguments, "--download", "--dry-run")
        assert asked == []
        told = json.loads(run(*arguments, "--download", "--json").stdout)
        assert (told["measured"], told["refused"]) == (1, 0)
        assert sum(path == "/download" for path in asked) == 1  # the second reference is the same file
    assert sorted(one.name for one in place.iterdir()) == ["ink.civitai.info", "ink.safetensors"]


def test_a_file_that_exists_is_no_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tint(tmp_path / "owner" / "one" / "ink.safetensors", red=0.3)
    fake = Path(__file__).parent / "fake.toml"
    assert json.loads(run("index", "owner/one", "--preset", fake, "--dry-run", "--json").stdout)[0]["adapters"] == 1
    with pytest.raises(UsageError, match="owner/two does not exist: check its spelling"):
        run("index", "owner/two", "--preset", fake, "--download")


@pytest.mark.parametrize(
    ("reference", "changed", "problem"),
    [
        ("urn:air:sdxl:lora:civitai:5", plain({}, 401), r"civitai refuses \(401\): set CIVITAI_TOKEN to a token"),
        ("urn:air:sdxl:lora:civitai:5", plain({}, 404), "civitai knows nothing of .*: it may be deleted, or need a"),
        ("urn:air:sdxl:lora:civitai:5", plain({}, 429, **{"Retry-After": "900"}), "civitai asks to wait 900 s: run"),
        ("urn:air:sdxl:lora:civitai:5", (200, {"Content-Type": "text/html"}, b"<html>"), "text/html instead of JSON"),
        ("urn:air:sdxl:lora:civitai:5", None, "civitai: it cannot be reached .*: try again later"),
        ("owner/none", "", "owner/none is not on the hub, or is private: check its name, or log in with"),
        ("owner/two", "", "owner/two holds 2 safetensors files: name one, such as owner/two/a.safetensors"),
        ("owner/bare", "", "owner/bare holds no safetensors file: check its name on its page"),
        ("owner/one/x.safetensors", "", "owner/one holds no file x.safetensors with a SHA-256"),
        ("owner/one", plain({}, 403, **{"X-Error-Code": "GatedRepo"}), "owner/one is gated: accept its terms on its"),
        ("owner/one", (200, {"Content-Type": "text/html"}, b"<html>"), "owner/one could not be asked for"),
        ("nothing at all", "", "'nothing at all' is no reference to an adapter: give an AIR"),
    ],
)  # fmt: skip
def test_get_says_what_is_wrong_and_leaves_nothing(
    reference: str, changed: Any, problem: str, place: Path, file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = served(file)
    with (
        sites(monkeypatch, lambda *asked: usual(*asked) if changed == "" else changed),
        pytest.raises((SiteError, UsageError), match=problem),
    ):
        run("get", reference)
    assert list(place.iterdir()) == []


def test_get_resumes_a_download_that_was_cut_off(place: Path, file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, ranges = served(file), []

    def cut(path: str, body: bytes, headers: dict[str, str]) -> Answer | None:
        if path != "/download":
            return usual(path, body, headers)
        ranges.append(headers.get("Range"))
        return 200, {"Content-Length": str(len(file))}, file[:50]

    def rest(path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if path != "/download":
            return usual(path, body, headers)
        return 206, {}, file[int(headers["Range"][6:-1]) :]

    with sites(monkeypatch, cut), pytest.raises(SiteError, match="the same command resumes from here"):
        run("get", "urn:air:sdxl:lora:civitai:5")
    assert (ranges[0], [one.suffix for one in place.iterdir()]) == (None, [".part"])
    with sites(monkeypatch, rest):
        run("get", "urn:air:sdxl:lora:civitai:5")
    assert (place / "ink.safetensors").read_bytes() == file


def test_get_needs_a_folder() -> None:
    with pytest.raises(UsageError, match="give `lorascope get` one with --folder, or run `lorascope setup` once"):
        run("get", "urn:air:sdxl:lora:civitai:5")


def test_lookup_keeps_claims_and_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "library.db"
    with Library(place, create=True) as library:
        library.adapters.add([StoredAdapter(f"sha256:{HASHES[0]}", "ink", "sdxl", (), AdapterFacts())], {})
    with pytest.raises(UsageError, match="name a site to ask: --civitai, --civarchive or --huggingface"):
        run("lookup", "--library", place)
    with sites(monkeypatch, lambda *_: plain([version(HASHES[0])])):
        told = json.loads(run("lookup", "--civitai", "--library", place, "--json").stdout)
        assert told["sites"] == [{"site": "civitai", "asked": 1, "found": 1, "total": 1}]
        assert "civitai: 0 adapters asked for, 0 known there" in run("lookup", "--civitai", "--library", place).stdout
    with Library(place) as library:
        (kept,) = library.adapters.all().values()
    assert kept.claimed("title") == "Ink"
