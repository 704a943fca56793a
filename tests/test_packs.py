"""Packs: what is shared and what is not, and what a stranger's pack may do here."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.response import addinfourl

import minisign
import numpy as np
import pyarrow.parquet as pq
import pytest
from fakes import searcher, three, tint
from typer.testing import CliRunner

from lorascope.adapters.claims import Claim
from lorascope.cli.app import app
from lorascope.errors import LibraryError, LorascopeError, OutputError, UsageError
from lorascope.library import BARE, Library
from lorascope.library.codec import columns
from lorascope.measure import Worker, index
from lorascope.miniature import pack_path
from lorascope.packs import Manifest, disagreement, draft, intake, open_pack, pull
from lorascope.packs.directory import LARGEST, Directory, Entry, ListedPack, write_directory
from lorascope.packs.intake import files_here
from lorascope.packs.writer import CONTENTS
from lorascope.search import Request

HOME = "https://packs.example/world"
ALL = frozenset(CONTENTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three adapters."""
    return three(tmp_path_factory.mktemp("adapters") / "my secret loras")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """A library of the three, measured by somebody."""
    from lorascope.measure import load_worker
    from lorascope.protocol import Preset

    place = tmp_path_factory.mktemp("theirs") / "library.db"
    with Library(place, create=True) as library:
        index([folder], load_worker(Preset.load(Path(__file__).parent / "fake.toml")), library, precision="quick")
    return place


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory, theirs: Path) -> Path:
    """Their pack, with all that can be shared."""
    place = tmp_path_factory.mktemp("packs") / "pack"
    with Library(theirs) as library:
        digest = library.protocols.find().protocol.digest
        vector = np.ones(library.signatures.width(digest) or 0, np.float32)
        library.phrases.put(digest, {"red": (vector, 0.5)})
        draft(library, contents=ALL).write(place)
    return place


def figures(library: Library) -> dict[str, Any]:
    digest = library.protocols.find().protocol.digest
    found = library.signatures.get(digest, library.adapters.all())
    return {key: (columns(one.signature), one.precision) for key, one in found.items()}


def taken(source: Path | str, library: Library, *folders: Path, everything: bool = False) -> intake.Intake:
    with open_pack(str(source)) as opened:
        return pull(opened, library, files_here(folders, library), everything=everything)


# --- what is shared ------------------------------------------------------------------------------------------------


def test_a_pulled_signature_is_what_was_measured(theirs: Path, pack: Path, library: Library) -> None:
    found = taken(pack, library, everything=True)
    assert (found.read, found.here, found.elsewhere, found.disagreements) == (3, 0, 3, [])
    with Library(theirs) as original:
        assert figures(library) == figures(original)
        digest = library.protocols.find().protocol.digest
        assert library.protocols.find().protocol == original.protocols.find().protocol
        assert library.protocols.baseline_mean(digest) is not None
        (phrase, (vector, share)) = next(iter(library.phrases.all(digest).items()))
        assert (phrase, vector.sum(), share) == ("red", len(vector), 0.5)
        key = next(iter(library.adapters.all()))
        scene = library.protocols.find().protocol.scene
        for one in (key, BARE):
            assert library.previews.all(scene, one) == original.previews.all(scene, one) != []


def test_what_is_not_on_this_disk_says_where_to_get_it(pack: Path, library: Library) -> None:
    taken(pack, library, everything=True)
    adapter = next(iter(library.adapters.all().values()))
    claims = {"civitai_model": Claim(7, "import"), "civitai_version": Claim(9, "import")}
    known = dataclasses.replace(adapter, facts=dataclasses.replace(adapter.facts, claims=claims))
    assert (adapter.was_here, adapter.address) == (False, "")
    assert known.address == "https://civitai.com/models/7?modelVersionId=9"
    library.adapters.add([known], {})
    shown = CliRunner().invoke(app, ["show", known.key, "--library", str(library.path)]).stdout
    assert "not on this disk: https://civitai.com/models/7?modelVersionId=9" in shown
    assert "gone" not in shown


def test_a_pulled_library_can_be_searched(pack: Path, library: Library) -> None:
    taken(pack, library, everything=True)
    answer = searcher(library).search(Request("red", limit=1, everything=True))
    assert len(answer.hits) == 1


def test_files_that_are_here_are_recognised_by_their_bytes(
    pack: Path, library: Library, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "redder.safetensors", tmp_path / "renamed.safetensors")
    tint(tmp_path / "bluer.safetensors", blue=0.7)  # another file of the same name
    found = taken(pack, library, tmp_path)
    assert (found.here, found.elsewhere) == (1, 0)
    (adapter,) = library.adapters.all().values()
    assert adapter.name == "renamed"
    assert adapter.paths == (str(tmp_path / "renamed.safetensors"),)


def test_what_was_pulled_is_not_measured_again(pack: Path, library: Library, folder: Path, worker: Worker) -> None:
    taken(pack, library, folder)
    outcome = index([folder], worker, library, precision="quick")
    assert outcome.measured == []
    assert len(outcome.unchanged) == 3


def test_pulling_twice_changes_nothing(pack: Path, library: Library) -> None:
    taken(pack, library, everything=True)
    before = figures(library)
    again = taken(pack, library, everything=True)
    assert (again.same, again.elsewhere) == (3, 0)
    assert figures(library) == before


def test_provenance_is_kept(pack: Path, library: Library) -> None:
    taken(pack, library, everything=True)
    stored = library.protocols.find()
    for one in library.signatures.get(stored.protocol.digest, library.adapters.all()).values():
        assert one.claimed
        assert one.origin.startswith("pack 'fake' ")
        assert str(pack) in one.origin
        assert "Execution " in one.origin


def everything_in(place: Path) -> str:
    """All text of a pack, decoded."""
    tables = [str(pq.read_table(path).to_pylist()) for path in place.glob("*.parquet")]
    tables += [str(pq.read_schema(path).metadata) for path in place.glob("*.parquet")]
    return "\n".join([*tables, *(path.read_text("utf-8") for path in place.glob("*.[jm]*"))])


def test_names_and_folders_stay_at_home(theirs: Path, tmp_path: Path) -> None:
    with Library(theirs) as library:
        chosen = draft(library)
        chosen.write(tmp_path / "pack")
        assert "the names of files" in chosen.summary()[-1]
    text = everything_in(tmp_path / "pack")
    for secret in ("my secret loras", "redder", str(theirs.parent)):
        assert secret not in text


def test_places_and_own_prompts_stay_at_home(tmp_path: Path, theirs: Path) -> None:
    with Library(theirs) as library:
        stored = library.protocols.find()
        places = {"prompts": "/home/me/secret.txt", "base": "/home/me/secret/model", "encoders": ("/home/me/secret/x",)}
        preset = dataclasses.replace(stored.preset, **places)
        shared = draft(library, contents={"previews"})
        chosen = dataclasses.replace(shared, stored=dataclasses.replace(stored, preset=preset))
        assert "your own prompts" in chosen.summary()[-1]
        chosen.write(tmp_path / "pack")
    assert "secret" not in everything_in(tmp_path / "pack")
    assert {row["prompt"] for row in pq.read_table(tmp_path / "pack" / "previews.parquet").to_pylist()} == {""}


def test_names_are_shared_where_asked(pack: Path) -> None:
    assert "redder" in everything_in(pack)


def test_rows_name_files_as_other_tools_do(pack: Path) -> None:
    for row in pq.read_table(pack / "signatures.parquet").to_pylist():
        assert row["autov2"] == row["key"].removeprefix("sha256:")[:10].upper()
        assert row["executions"]


def test_only_what_is_named_is_shared(theirs: Path, tmp_path: Path) -> None:
    with Library(theirs) as library:
        draft(library, only=["redder"]).write(tmp_path / "pack")
        with pytest.raises(LibraryError, match="has no adapter 'purple'"):
            draft(library, only=["purple"])
        with pytest.raises(
            UsageError, match="--with all: use previews, calibration, baseline, vectors, names, prompts, words, weight"
        ):
            draft(library, contents={"all"})
    assert pq.read_metadata(tmp_path / "pack" / "signatures.parquet").num_rows == 1


def test_vectors_are_shared_where_there_are_some(theirs: Path, tmp_path: Path) -> None:
    shutil.copy(theirs, tmp_path / "bare.db")
    with Library(tmp_path / "bare.db") as library:
        library.databases[0].write("DELETE FROM phrases WHERE protocol <> ?", [("",)])
        with pytest.raises(LibraryError, match="no vectors of phrases under .*: run `lorascope describe`"):
            draft(library, contents={"vectors"})


def test_a_pack_never_replaces_another_folder(theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    with Library(theirs) as library, pytest.raises(OutputError, match="photos holds something else than a pack"):
        draft(library).write(tmp_path / "photos")
    assert (tmp_path / "photos" / "one.jpg").exists()


# --- contradictions ------------------------------------------------------------------------------------------------


def changed(library: Library, **changes: Any) -> None:
    """Have a library claim something else of its first adapter."""
    stored = library.protocols.find()
    key = min(library.adapters.all())
    one = library.signatures.get(stored.protocol.digest, [key])[key]
    other = dataclasses.replace(one.signature, **changes)
    library.remove(key)
    adapter = intake.StoredAdapter(key, "mine", "fake", (), intake.AdapterFacts())
    library.adapters.add([adapter], {})
    library.signatures.put(stored.protocol.digest, one.precision, {key: other}, origin="another pack", claimed=True)


def test_a_contradiction_is_told_and_neither_is_preferred(pack: Path, library: Library) -> None:
    taken(pack, library, everything=True)
    digest, key = library.protocols.find().protocol.digest, min(library.adapters.all())
    changed(library, direction=-library.signatures.get(digest, [key])[key].signature.direction)
    before = figures(library)
    for _ in range(2):
        (found,) = taken(pack, library, everything=True).disagreements
        assert (found.key, found.name, found.ours) == (key, "mine", "another pack")
        assert "cosine of the Directions -1.000" in str(found)
    assert figures(library) == before
    (note,) = library.adapters.get([key])[key].facts.notes
    assert note.startswith("measured otherwise elsewhere: cosine")


def test_measurements_within_their_intervals_agree(theirs: Path) -> None:
    with Library(theirs) as library:
        digest = library.protocols.find().protocol.digest
        for one in library.signatures.get(digest, library.adapters.all()).values():
            assert disagreement(one.signature, one.signature) == ()
            beyond = dataclasses.replace(one.signature.grid.strength, lower=90.0, upper=91.0, value=90.0)  # type: ignore[type-var]
            far = dataclasses.replace(
                one.signature, strength=90.0, grid=dataclasses.replace(one.signature.grid, strength=beyond)
            )
            assert disagreement(one.signature, far) == (f"Strength {one.signature.strength:.2f} / 90.00",)


def test_measurements_with_other_words_are_left_as_they_are(pack: Path, library: Library) -> None:
    taken(pack, library, everything=True)
    key = min(library.adapters.all())
    adapter, scene = library.adapters.all()[key], library.protocols.find().protocol.scene
    facts = dataclasses.replace(adapter.facts, measured_words={scene: ", other"})
    library.adapters.add([dataclasses.replace(adapter, facts=facts)], {})
    assert taken(pack, library, everything=True).reworded == 1


# --- strangers -----------------------------------------------------------------------------------------------------


def fields_of(pack: Path) -> dict[str, Any]:
    return json.loads((pack / "manifest.json").read_text("utf-8"))


WRONG: list[tuple[str, Any]] = [
    ("format", "lorascope-pack-9"), ("title", 7), ("title", "x" * 2000), ("made_by", None), ("made", "x" * 30),
    ("adapters", -1), ("adapters", "3"), ("protocol", {}), ("protocol", []), ("preset", {"name": "x"}),
    ("executions", {}), ("executions", [{"device": "cpu"}]), ("executions", [7]), ("baseline", {"cells": 1}),
    ("baseline", {"cells": 1, "mean": "*"}), ("baseline", {"cells": 1, "mean": "AADAfw=="}),
    ("baseline", {"cells": -1, "mean": "AACAPw=="}), ("files", {}), ("files", [{}]), ("files", []),
    ("files", [{"name": "../x", "size": 1, "sha256": "0" * 64, "chunks": []}]),
    ("files", [{"name": "/etc/passwd", "size": 1, "sha256": "0" * 64, "chunks": []}]),
    ("files", [{"name": "x", "size": 0, "sha256": "0" * 64, "chunks": []}]),
    ("files", [{"name": "x", "size": 1, "sha256": "0" * 63, "chunks": []}]),
    ("files", [{"name": "x", "size": 2, "sha256": "0" * 64, "chunks": [[1, "0" * 64]]}]),
    ("files", [{"name": "x", "size": 1, "sha256": "0" * 64, "chunks": [[1]]}]),
    ("files", [{"name": "x", "size": 1, "sha256": "0" * 64, "chunks": []}] * 2), ("added", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_every_field_of_a_manifest_is_checked(
    name: str, value: Any, pack: Path, tmp_path: Path, library: Library
) -> None:
    shutil.copytree(pack, tmp_path / "pack")
    (tmp_path / "pack" / "manifest.json").write_text(json.dumps(fields_of(pack) | {name: value}), "utf-8")
    with pytest.raises(LibraryError, match="nothing was taken over"):
        taken(tmp_path / "pack", library, everything=True)
    assert library.protocols.all() == []


@pytest.mark.parametrize("name", ["title", "format", "files", "baseline", "executions"])
def test_a_manifest_that_lacks_a_field_is_refused(name: str, pack: Path) -> None:
    fields = fields_of(pack)
    del fields[name]
    with pytest.raises(LibraryError, match=name if name != "format" else "its format is 'None'"):
        Manifest.from_json(json.dumps(fields), "pack")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "[" * 100_000])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(LibraryError, match="pack: the manifest cannot be used"):
        Manifest.from_json(text, "pack")


def forged(pack: Path, target: Path, name: str, change: Callable[[list[dict[str, Any]]], None], text: str = "") -> Path:
    """A copy of a pack with other rows, under the digests that these have; a column may be text that is no base64."""
    import pyarrow as pa

    shutil.copytree(pack, target)
    table = pq.read_table(target / name)
    if text:
        table = table.set_column(table.schema.get_field_index(text), text, pa.array(["a"] * len(table)))
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), target / name)
    fields = fields_of(pack)
    for one in fields["files"]:
        data = (target / one["name"]).read_bytes()
        one |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "chunks": []}
    (target / "manifest.json").write_text(json.dumps(fields), "utf-8")
    return target


ROWS: list[tuple[str, str, Any]] = [
    ("signatures.parquet", "key", "sha256:zz"), ("signatures.parquet", "direction", [float("nan")] * 12),
    ("signatures.parquet", "direction", None), ("signatures.parquet", "figures", "{}"),
    ("signatures.parquet", "precision", "perfect"), ("signatures.parquet", "family", "x" * 2000),
    ("signatures.parquet", "measured_words", "x\0"), ("signatures.parquet", "executions", ["ten"]),
    ("signatures.parquet", "model_name", None), ("previews.parquet", "webp", b"<html>"),
    ("previews.parquet", "place", 99), ("previews.parquet", "scene", "0000000000"), ("previews.parquet", "key", "x"),
    ("previews.parquet", "prompt", None), ("previews.parquet", "seed", None), ("vectors.parquet", "vector", b"abc"),
    ("vectors.parquet", "phrase", None), ("vectors.parquet", "consistency", 7.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "column", "value"), ROWS)
def test_every_row_of_a_pack_is_checked(
    name: str, column: str, value: Any, pack: Path, tmp_path: Path, library: Library
) -> None:
    place = forged(pack, tmp_path / "pack", name, lambda rows: rows[0].__setitem__(column, value))
    with pytest.raises(LibraryError, match=r"pack: (row 0|a preview of|the phrase)"):
        taken(place, library, everything=True)
    assert library.adapters.all() == {}


@pytest.mark.parametrize(("name", "column"), [("previews.parquet", "webp"), ("vectors.parquet", "vector")])
def test_text_in_place_of_bytes_is_refused(
    name: str, column: str, pack: Path, tmp_path: Path, library: Library
) -> None:
    place = forged(pack, tmp_path / "pack", name, lambda rows: None, text=column)
    with pytest.raises(LibraryError, match=r"pack: (a preview of|the phrase)"):
        taken(place, library, everything=True)


@pytest.mark.parametrize("name", ["signatures.parquet", "previews.parquet"])
def test_a_byte_that_changed_is_noticed(name: str, pack: Path, tmp_path: Path, library: Library) -> None:
    shutil.copytree(pack, tmp_path / "pack")
    data = bytearray((pack / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "pack" / name).write_bytes(data)
    with pytest.raises(LibraryError, match=f"{name} is not what the manifest says"):
        taken(tmp_path / "pack", library, everything=True)
    assert library.adapters.all() == {}


def test_signatures_of_another_protocol_than_the_manifests_are_refused(
    pack: Path, tmp_path: Path, library: Library
) -> None:
    fields = fields_of(pack)
    fields["protocol"]["steps"] = 99
    shutil.copytree(pack, tmp_path / "pack")
    (tmp_path / "pack" / "manifest.json").write_text(json.dumps(fields), "utf-8")
    with pytest.raises(LibraryError, match="was measured under another Protocol than the manifest says"):
        taken(tmp_path / "pack", library, everything=True)


# --- signatures of their makers ------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, str]:
    """A secret key in a file, and its public key."""
    pair = minisign.KeyPair.generate()
    (tmp_path / "secret.key").write_bytes(bytes(pair.secret_key))
    return tmp_path / "secret.key", pair.public_key.to_base64().decode()


def test_a_signed_pack_is_verified(keys: tuple[Path, str], theirs: Path, tmp_path: Path, library: Library) -> None:
    secret, public = keys
    with Library(theirs) as original:
        draft(original).write(tmp_path / "pack", secret)
    with open_pack(str(tmp_path / "pack"), signed_by=public) as opened:
        assert pull(opened, library, {}, everything=True).signed_by == public
    (one, *_) = library.signatures.get(library.protocols.find().protocol.digest, library.adapters.all()).values()
    assert f"signed by {public}" in one.origin
    other = minisign.KeyPair.generate().public_key.to_base64().decode()
    with pytest.raises(LibraryError, match="is not signed by that key, or was changed since"):
        open_pack(str(tmp_path / "pack"), signed_by=other).__enter__()
    text = (tmp_path / "pack" / "manifest.json").read_text("utf-8")
    (tmp_path / "pack" / "manifest.json").write_text(text.replace('"fake"', '"real"', 1), "utf-8")
    with pytest.raises(LibraryError, match="is not signed by that key, or was changed since"):
        open_pack(str(tmp_path / "pack"), signed_by=public).__enter__()


def test_an_unsigned_pack_is_refused_where_a_key_is_given(keys: tuple[Path, str], pack: Path) -> None:
    with pytest.raises(LibraryError, match="is not signed: ask its maker"):
        open_pack(str(pack), signed_by=keys[1]).__enter__()
    with pytest.raises(LibraryError, match="is no public key of minisign"):
        open_pack(str(pack), signed_by="RWnonsense").__enter__()


# --- hosts ---------------------------------------------------------------------------------------------------------


class Answer(addinfourl):
    """What a web server answers."""

    msg = "as it was asked"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, pack: Path) -> list[tuple[str, str]]:
    """Serves the pack at HOME; lists what was asked for: names and ranges."""
    found: list[tuple[str, str]] = []

    def answer(_: object, request: urllib.request.Request) -> Answer:
        name, wanted = request.full_url.removeprefix(f"{HOME}/"), request.get_header("Range", "")
        found.append((name, wanted))
        data, status = b"", 404
        if (pack / name).is_file():
            data, status = (pack / name).read_bytes(), 200
            if wanted:
                first, last = map(int, wanted.removeprefix("bytes=").split("-"))
                data, status = data[first : last + 1], 206
        return Answer(io.BytesIO(data), HTTPMessage(), request.full_url, status)

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", answer)
    return found


def test_a_small_pack_is_fetched_whole(asked: list[tuple[str, str]], library: Library, folder: Path) -> None:
    assert taken(HOME, library, folder / "redder.safetensors").here == 1
    assert [name for name, wanted in asked if wanted] == []


def test_of_a_large_pack_only_parts_are_fetched(
    asked: list[tuple[str, str]], library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_WHOLE", 0)
    assert taken(HOME, library, folder / "redder.safetensors").here == 1
    assert ("signatures.parquet", "") not in asked
    assert [name for name, wanted in asked if wanted] == ["signatures.parquet"]  # one row group and the footer


def test_a_directory_of_packs_finds_files_in_them(
    asked: list[tuple[str, str]], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, listed = CliRunner(), tmp_path / "directory.parquet"
    joined = runner.invoke(app, ["share", "--join", HOME, "--out", str(listed), "--json"])
    assert json.loads(joined.stdout) == {"packs": 1, "adapters": 3, "path": str(listed)}
    signed = runner.invoke(app, ["share", "--join", HOME, "--out", str(listed), "--sign", "key"])
    assert "leave out the library and what a new pack would hold" in str(signed.exception)
    asked.clear()
    library = str(tmp_path / "new.db")
    pulled = runner.invoke(app, ["pull", str(listed), str(folder), "--library", library, "--json"])
    assert [one["here"] for one in json.loads(pulled.stdout)["packs"]] == [3]
    assert "directory.parquet" not in [name for name, _ in asked]


def test_looking_files_up_costs_little(tmp_path: Path) -> None:
    """Of a directory of 100,000 files, three bytes a file are fetched."""
    prefixes = [int(hashlib.sha256(str(n).encode()).hexdigest()[:8], 16) for n in range(100_000)]
    place = tmp_path / "directory.parquet"
    write_directory(place, [ListedPack("", "")], [Entry(one, 0, number // 64) for number, one in enumerate(prefixes)])
    assert place.stat().st_size < 5 * len(prefixes) < LARGEST
    own = [f"sha256:{hashlib.sha256(str(n).encode()).hexdigest()}" for n in range(99_990, 100_010)]
    assert Directory(place, "directory", tmp_path).look_up(own) == {0: [1562]}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("", "the list of packs"), ("[]", "it must list a pack"), ('[{"address": 7}]', "must have an address"),
        ('[{"address": "", "manifest": 7}]', "the digest of a manifest"),
    ],
)  # fmt: skip
def test_a_directory_is_checked(metadata: str, message: str, tmp_path: Path) -> None:
    place = tmp_path / "directory.parquet"
    write_directory(place, [ListedPack("", "")], [Entry(1, 0, 0)])
    table = pq.read_table(place)
    pq.write_table(table.replace_schema_metadata({"lorascope_packs": metadata}), place)
    with pytest.raises(LibraryError, match=message):
        Directory(place, "directory", tmp_path)


# --- what ships ----------------------------------------------------------------------------------------------------


def test_the_shipped_world_is_searched_with_nothing_measured(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "demo"), "--ready", "--no-serve", "--json"])
    found = json.loads(result.stdout)["packs"][0]
    assert (found["here"], found["read"]) == (81, 81)
    size = sum(path.stat().st_size for path in pack_path().iterdir())
    assert size < 6_000_000
    with Library(tmp_path / "demo" / "library.db") as library:
        assert all(adapter.paths for adapter in library.adapters.all().values())
        assert not library.has_evidence


def test_a_pack_that_is_not_there_is_told(library: Library, tmp_path: Path) -> None:
    with pytest.raises(LorascopeError, match="cannot be read .*: give the folder of a pack"):
        taken(tmp_path / "nothing", library, everything=True)
