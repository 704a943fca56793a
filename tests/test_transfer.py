"""Libraries of others: the published CARLoS layout in and out."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import three

from lorascope.adapters.claims import Claim
from lorascope.errors import LibraryError, MissingExtra, OutputError
from lorascope.library import Library, export_carlos, parquet_reader
from lorascope.library import published as read_published
from lorascope.library.codec import columns
from lorascope.library.facts import AdapterFacts
from lorascope.library.published import CARLOS
from lorascope.measure import Worker, index
from lorascope.search import Example, Request, Searcher

SAMPLE = Path(__file__).parents[1].parent / "shared" / "data" / "official-signatures-sample.parquet"
needs_sample = pytest.mark.skipif(not SAMPLE.exists(), reason="the sample of published signatures is not here")


def rows_of(count: int = 3, **changes: Any) -> list[dict[str, Any]]:
    """Rows in the authors' layout."""
    draw = np.random.default_rng(0)
    return [
        {
            "version_id": 100 + place, "model_id": 10 + place, "model_name": f"LoRA {place}", "model_description": "x",
            "model_nsfw_level": 1, "folder_name": f"lora_{place}", "direction": draw.normal(size=512).tolist(),
            "strength": 5.0 + place, "consistency": 0.1 * (place + 1), "model_download_count": 1000,
        } | changes
        for place in range(count)
    ]  # fmt: skip


def import_carlos(source: Path | str, library: Library) -> int:
    with read_published(source) as theirs:
        return theirs.into(library)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_published_signatures_are_kept_as_they_are(tmp_path: Path, library: Library) -> None:
    rows = rows_of()
    assert import_carlos(write(tmp_path / "theirs.parquet", rows), library) == 3
    stored = library.protocols.find()
    assert (stored.protocol.name, stored.adapters) == (CARLOS, 3)
    assert stored.origin.endswith("theirs.parquet")
    assert stored.protocol.prompts == ""  # theirs are not known here, so ours never meet them in one ranking
    adapters = library.adapters.all()
    for row in rows:
        key = f"civitai:{row['model_id']}@{row['version_id']}"
        signature = library.signatures.get(stored.protocol.digest, [key])[key].signature
        np.testing.assert_array_equal(signature.direction, np.array(row["direction"], np.float32))
        assert (signature.strength, signature.consistency) == (row["strength"], row["consistency"])
        assert (signature.cells, signature.prompts) == (4480, 280)
        assert adapters[key].name == row["model_name"]
        assert adapters[key].facts.claims["civitai_version"] == Claim(row["version_id"], "import")
        assert adapters[key].facts.downloads == 1000


def test_importing_twice_changes_nothing(tmp_path: Path, library: Library) -> None:
    path = write(tmp_path / "theirs.parquet", rows_of())
    contents = []
    for _ in range(2):
        assert import_carlos(path, library) == 3
        digest = library.protocols.find().protocol.digest
        found = library.signatures.get(digest, library.adapters.all())
        contents.append(
            (library.adapters.all(), np.array(library.signatures.matrix(digest).directions).tobytes(), sorted(found))
        )
    assert contents[0] == contents[1]


def test_an_export_of_an_import_is_the_same_file_again(tmp_path: Path, library: Library) -> None:
    path = write(tmp_path / "theirs.parquet", rows_of())
    import_carlos(path, library)
    assert export_carlos(library, tmp_path / "ours.parquet") == 3
    ours = {row["version_id"]: row for row in pq.read_table(tmp_path / "ours.parquet").to_pylist()}
    for row in rows_of():
        again = ours[row["version_id"]]
        assert {key: again[key] for key in row if key != "direction"} == {k: row[k] for k in row if k != "direction"}
        np.testing.assert_array_equal(again["direction"], np.array(row["direction"], np.float32))
    with Library(tmp_path / "again.db", create=True) as other:
        assert import_carlos(tmp_path / "ours.parquet", other) == 3
        assert other.adapters.all() == library.adapters.all()
        digest = library.protocols.find().protocol.digest
        assert other.protocols.find().protocol.digest == digest
        np.testing.assert_array_equal(
            other.signatures.matrix(digest).directions, library.signatures.matrix(digest).directions
        )


def test_our_own_measurements_are_exported_with_intervals(tmp_path: Path, worker: Worker, library: Library) -> None:
    index([three(tmp_path / "loras")], worker, library, precision="quick")
    assert export_carlos(library, tmp_path / "ours.parquet") == 3
    table = pq.read_table(tmp_path / "ours.parquet")
    signatures = library.signatures.get(worker.protocols[0].digest, library.adapters.all())
    for row in table.to_pylist():
        signature = signatures[row["key"]].signature
        assert row["cells"] == signature.cells
        assert row["strength_lower"] <= row["strength"] <= row["strength_upper"]
        assert row["consistency_lower"] <= row["consistency"] <= row["consistency_upper"]
        assert signature.agreement is not None
        assert row["agreement_lower"] == signature.agreement.lower
    assert str(library.protocols.find().protocol.base_digest) in table.schema.metadata[b"lorascope_protocol"].decode()


def test_an_export_of_our_own_measurements_imports_as_it_was(tmp_path: Path, worker: Worker, library: Library) -> None:
    """It was once refused: only the authors' Protocol could be imported."""
    index([three(tmp_path / "loras")], worker, library, precision="quick")
    export_carlos(library, tmp_path / "ours.parquet")
    with Library(tmp_path / "other.db", create=True) as other:
        assert import_carlos(tmp_path / "ours.parquet", other) == 3
        digest, here = worker.protocols[0].digest, library
        assert other.protocols.find().protocol == here.protocols.find().protocol
        assert other.protocols.find().preset == here.protocols.find().preset
        ours, theirs = (one.signatures.get(digest, here.adapters.all()) for one in (here, other))
        assert {k: (columns(v.signature), v.precision) for k, v in ours.items()} == {
            k: (columns(v.signature), v.precision) for k, v in theirs.items()
        }
        assert {k: a.name for k, a in other.adapters.all().items()} == {
            k: a.name for k, a in here.adapters.all().items()
        }


def test_an_older_export_of_our_own_asks_for_a_new_one(tmp_path: Path, worker: Worker, library: Library) -> None:
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    export_carlos(library, tmp_path / "ours.parquet")
    table = pq.read_table(tmp_path / "ours.parquet")
    metadata = {k: v for k, v in table.schema.metadata.items() if k != b"lorascope_preset"}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "old.parquet")
    with Library(tmp_path / "other.db", create=True) as other:
        with pytest.raises(LibraryError, match="export it again, or import the .db that it was exported from"):
            import_carlos(tmp_path / "old.parquet", other)
        assert other.protocols.all() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": math.nan}, r"row 0 \('LoRA 0'\) is no signature"),
        ({"strength": None}, r"row 0 \('LoRA 0'\) is no signature"),
        ({"consistency": math.inf}, r"row 0 \('LoRA 0'\) is no signature"),
        ({"direction": [1.0, 2.0]}, r"must be 512 \+ 2 finite numbers, Strength 0 or more and .*; take that row out"),
        ({"direction": [1e300] * 512}, "is no signature"),  # no float32 holds it
        ({"strength": -5.0}, "is no signature"),
        ({"consistency": 7.0}, "is no signature"),
        (
            {"version_id": None},
            r"row 0 \('LoRA 0'\) has the version_id None, but that tells adapters apart: give",
        ),
        ({"version_id": "ten"}, "the version_id 'ten'"),
        ({"direction": None}, "is no signature"),
        ({"direction": ["a"] * 512}, "is no signature"),
    ],
)
def test_a_row_that_is_no_signature_is_named(
    tmp_path: Path, library: Library, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(LibraryError, match=message):
        import_carlos(write(tmp_path / "bad.parquet", rows_of(**change)), library)
    assert library.adapters.all() == {}
    assert library.protocols.all() == []


def test_a_wrong_row_far_down_leaves_the_library_as_it_was(tmp_path: Path, library: Library) -> None:
    """The 500 adapters of the first batch once stayed."""
    rows = rows_of(600, consistency=0.1)
    rows[-1]["strength"] = math.nan
    with pytest.raises(LibraryError, match=r"row 599 \('LoRA 599'\) is no signature"):
        import_carlos(write(tmp_path / "bad.parquet", rows), library)
    assert library.adapters.all() == {}
    assert library.protocols.all() == []


def test_what_is_odd_beside_the_figures_is_no_claim_and_can_be_exported(tmp_path: Path, library: Library) -> None:
    """It was once imported as it was, and ended every export with a traceback; a row without names blamed SQLite."""
    odd: dict[str, Any] = {"model_nsfw_level": "Mature", "model_download_count": "many", "model_description": 7}
    nameless: dict[str, Any] = {"model_name": None, "folder_name": None}
    assert import_carlos(write(tmp_path / "odd.parquet", rows_of(1, **odd)), library) == 1
    assert import_carlos(write(tmp_path / "nameless.parquet", rows_of(1, version_id=7, **nameless)), library) == 1
    first, second = (library.adapters.all()[key] for key in ("civitai:10@100", "civitai:10@7"))
    assert first.facts.claims.keys() == {"title", "civitai_model", "civitai_version"}
    assert second.name == second.key
    assert export_carlos(library, tmp_path / "again.parquet") == 2
    claims = {"nsfw_level": Claim("Mature", "import")}  # as an earlier version kept it
    library.adapters.add([dataclasses.replace(first, facts=AdapterFacts(claims=claims, downloads="many"))], {})
    assert export_carlos(library, tmp_path / "again.parquet") == 2


@pytest.mark.parametrize("written", ["{", "[]", "{}", '{"seeds": 1}', "\udcff"])
def test_metadata_of_no_protocol_is_told(written: str, tmp_path: Path, library: Library) -> None:
    """It once ended in the traceback of a JSONDecodeError or a KeyError."""
    table = pa.Table.from_pylist(rows_of())
    metadata = {"lorascope_protocol": written.encode("utf-8", "surrogateescape")}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "x.parquet")
    with pytest.raises(LibraryError, match=r"the Protocol among its metadata cannot be read \(.*\): export it again"):
        import_carlos(tmp_path / "x.parquet", library)


def test_files_that_are_not_in_the_layout_are_told_apart(tmp_path: Path, library: Library) -> None:
    rows = [{k: v for k, v in row.items() if k not in ("direction", "strength")} for row in rows_of()]
    with pytest.raises(LibraryError, match="lacks the columns direction, strength: give a file in the layout of the"):
        import_carlos(write(tmp_path / "lacking.parquet", rows), library)
    (tmp_path / "text.parquet").write_text("no parquet", "utf-8")
    whole = write(tmp_path / "whole.parquet", rows_of()).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "cut", "missing"):
        with pytest.raises(LibraryError, match=rf"{name}.parquet cannot be read as parquet \(.*\): give the published"):
            import_carlos(tmp_path / f"{name}.parquet", library)
    assert library.protocols.all() == []


# --- files that are made to take more than they should -------------------------------------------------------------


def bomb(path: Path, rows: int, column: str, value: Any) -> Path:
    """A small file in the layout whose rows all hold one value, which is stored once."""
    table = {name: pa.array([one] * rows) for name, one in rows_of(1)[0].items()}
    table["version_id"] = pa.array(range(1, rows + 1))
    table[column] = pa.array([value] * rows)
    pq.write_table(pa.table(table), path, compression="zstd")
    return path


@pytest.mark.parametrize(
    ("rows", "column", "value", "message"),
    [
        (100_000, "strength", 1.0, "it says that it has 100000 rows in [0-9]+ bytes, fewer than 256 for each"),
        (8, "model_description", "x" * 2**22, "its 8 rows take [0-9]+ bytes when decoded, more than 262144 for each"),
        (8, "direction", [0.0] * 2**20, "its 8 rows have 8388608 numbers in a column, more than 16384 for each"),
    ],
)
def test_a_small_file_that_decodes_to_a_large_one_is_refused(
    tmp_path: Path, library: Library, rows: int, column: str, value: Any, message: str
) -> None:
    """60 KB once became 4.7 GB."""
    path = bomb(tmp_path / "bomb.parquet", rows, column, value)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(LibraryError, match=message):
        import_carlos(path, library)
    assert library.protocols.all() == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux holds a process to a limit on memory")
def test_decoding_ends_where_its_memory_ends(tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(parquet_reader.__file__).read_text("utf-8").replace("MEMORY = 2**30", "MEMORY = 2**12")
    (tmp_path / "reader.py").write_text(script, "utf-8")
    monkeypatch.setattr(parquet_reader, "__file__", str(tmp_path / "reader.py"))
    with pytest.raises(LibraryError, match="cannot be read as parquet"):
        import_carlos(write(tmp_path / "theirs.parquet", rows_of(300, consistency=0.1)), library)


def test_decoding_ends_when_its_time_is_over(tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reader.py").write_text("import time; time.sleep(60)", "utf-8")
    monkeypatch.setattr(parquet_reader, "__file__", str(tmp_path / "reader.py"))
    monkeypatch.setattr(parquet_reader, "SECONDS", 0.1)
    with pytest.raises(LibraryError, match=r"that takes over 0.1 seconds"):
        import_carlos(write(tmp_path / "theirs.parquet", rows_of()), library)


def test_an_export_that_cannot_be_written_is_told(tmp_path: Path, library: Library) -> None:
    import_carlos(write(tmp_path / "theirs.parquet", rows_of()), library)
    with pytest.raises(OutputError, match=r"out.parquet cannot be written \(.*\): choose another place"):
        export_carlos(library, tmp_path / "nowhere" / "out.parquet")
    with pytest.raises(LibraryError, match="no Protocol is called 'sdxl'"):
        export_carlos(library, tmp_path / "out.parquet", "sdxl")
    assert not (tmp_path / "out.parquet").exists()


def test_without_pyarrow_the_command_that_installs_it_is_given(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "theirs.parquet", rows_of())
    import_carlos(path, library)
    monkeypatch.setattr("lorascope.extras.find_spec", lambda name: None)
    for work in (lambda: import_carlos(path, library), lambda: export_carlos(library, tmp_path / "out.parquet")):
        with pytest.raises(
            MissingExtra, match=r"needs pyarrow, which is not installed: run `pip install 'lorascope\[parquet\]'`"
        ):
            work()


# --- the sample of the published library --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library(tmp_path_factory.mktemp("published") / "library.db", create=True)
    assert import_carlos(SAMPLE, library) == 200
    return library


@needs_sample
def test_real_signatures_import(published: Library) -> None:
    stored = published.protocols.find()
    assert (stored.protocol.name, stored.adapters) == ("carlos-2025", 200)
    matrix = published.signatures.matrix(stored.protocol.digest)
    assert matrix.directions.shape == (200, 512)
    np.testing.assert_allclose(np.linalg.norm(matrix.directions, axis=1), 1.0, atol=1e-5)
    assert import_carlos(SAMPLE, published) == 200
    assert len(published.adapters.all()) == 200


@needs_sample
def test_the_paper_s_thresholds_hide_the_right_ones(published: Library) -> None:
    rows = pq.read_table(SAMPLE).to_pylist()
    strong = {row["version_id"] for row in rows if row["strength"] > 9.8}
    unstable = {row["version_id"] for row in rows if row["consistency"] < 0.041} - strong
    assert strong
    assert unstable
    answer = Searcher(published).search(Request(adapters=(Example(next(iter(published.adapters.all()))),), limit=1000))
    hidden: dict[str | None, set[int]] = {"too strong": set(), "too inconsistent": set()}
    for hit in answer.hidden:
        hidden[hit.hidden].add(int(hit.adapter.key.split("@")[1]))
    own = {int(next(iter(published.adapters.all())).split("@")[1])}
    assert hidden == {"too strong": strong - own, "too inconsistent": unstable - own}
    assert {hit.undecided for hit in answer.hits} == {()}
    assert len(answer.hits) + len(answer.hidden) == 199


@needs_sample
def test_an_oil_painting_lora_finds_others(published: Library) -> None:
    oil = published.adapters.find("OilPaint SDXL")
    answer = Searcher(published).search(Request(adapters=(Example(oil.key),)))
    nearest = [hit.adapter.name.lower() for hit in answer.hits]
    assert sum("oil" in name or "paint" in name for name in nearest) >= 3, nearest
