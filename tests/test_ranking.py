"""Ranking: what is found by whatever way is what all cosines say, and what is kept on the disk is never stale."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import searcher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_search import known_signature

from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.grid import PromptSet
from lorascope.library import AdapterFacts, Library, Matrix, StoredAdapter
from lorascope.models import cache_dir
from lorascope.protocol import Preset, Thresholds
from lorascope.search import Example, Filters, Request, Searcher, approximate
from lorascope.search.vectors import QueryVectors

DIM = 16
OPEN = Filters(Thresholds())


def put(library: Library, preset: Preset, found: dict[str, np.ndarray], *, folder: str = "/loras") -> str:
    """Store adapters by name, each lying in a folder; the digest of their Protocol."""
    protocol = preset.protocol(base_digest="b", encoder="fake", encoder_digest=FakeEncoder.digest)
    library.protocols.add(protocol, preset)
    adapters = [StoredAdapter(f"sha256:{n}", n, "fake", (f"{folder}/{n}.safetensors",), AdapterFacts()) for n in found]
    library.adapters.add(adapters, {})
    strength = {name: 1 + 9 * abs(float(row[0])) / np.linalg.norm(row) for name, row in found.items()}
    signatures = {f"sha256:{name}": known_signature(row, strength[name]) for name, row in found.items()}
    library.signatures.put(protocol.digest, "full", signatures)
    return protocol.digest


def drawn(count: int, *, seed: int = 0, prefix: str = "a") -> dict[str, np.ndarray]:
    """Directions in groups that resemble each other, as real ones do."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(8, DIM))
    rows = centres[draw.integers(8, size=count)] + draw.normal(size=(count, DIM)) * 0.5
    return {f"{prefix}{place:04}": row for place, row in enumerate(rows)}


def by_brute_force(rows: dict[str, np.ndarray], vector: np.ndarray, top: int, among: Iterable[str]) -> list[str]:
    """Names by the cosine with a vector, best first."""
    cosines = {n: rows[n] @ vector / (np.linalg.norm(rows[n]) * np.linalg.norm(vector)) for n in among}
    return sorted(cosines, key=lambda name: -cosines[name])[:top]


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large begins at fifty adapters, so that tests need not have a million."""
    monkeypatch.setattr("lorascope.library.matrix.IN_MEMORY", 50)
    monkeypatch.setattr("lorascope.search.ranker.EXACT", 100)
    monkeypatch.setattr("lorascope.search.ranker.EXACT_HIDDEN", 10)


# --- the contract of every way of ranking -------------------------------------------------------------------------


@pytest.fixture(params=["in memory", "mapped", "mapped and recent", "index", "index and recent"])
def ranked(
    request: pytest.FixtureRequest, library: Library, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> tuple[Searcher, dict[str, np.ndarray]]:
    """A searcher over 600 adapters, a tenth of them in another folder, and their Directions by name."""
    if request.param != "in memory":
        request.getfixturevalue("small_limits")
    rows = drawn(600)
    elsewhere = {name: row for name, row in rows.items() if name.endswith("7")}
    put(library, preset, {name: row for name, row in rows.items() if name not in elsewhere})
    put(library, preset, elsewhere, folder="/else/where")
    look = searcher(library)
    if "index" in request.param:
        approximate.build_index(look.matrix.folder, look.matrix.directions.mapped)
        look = searcher(library)
    if "recent" in request.param:
        fresh = drawn(30, seed=1, prefix="b") | dict(list(drawn(600, seed=2).items())[:6])
        put(library, preset, fresh)
        rows |= fresh
        library.remove("sha256:a0333")
        del rows["a0333"]
        look = searcher(library)
    assert (look.matrix.folder is None) == (request.param == "in memory")
    assert (look.ranker.index is not None) == ("index" in request.param)
    assert (len(look.matrix.directions.recent) > 0) == (request.param == "in memory" or "recent" in request.param)
    assert sorted(look.matrix.names) == sorted(rows)
    return look, rows


class TestEveryRanking:
    """In memory or mapped, with or without what came since, by all products or by an index."""

    def test_the_best_are_those_of_all_cosines(self, ranked: tuple[Searcher, dict[str, np.ndarray]]) -> None:
        """With filters too, which leave a tenth, most, or all of the adapters."""
        look, rows = ranked
        weak = {name for name, row in rows.items() if 1 + 9 * abs(row[0]) / np.linalg.norm(row) <= 5}
        elsewhere = {name for name in rows if name[0] == "a" and name.endswith("7")}
        insides = {"": set(rows), "/loras": rows.keys() - elsewhere, "/else/where": elsewhere}
        queries = np.random.default_rng(5).normal(size=(3, DIM))
        for query, (folder, inside), top in itertools.product(queries, insides.items(), (1, 10, 50)):
            found = look.select(query, Filters(Thresholds(strength_max=5.0), folder=folder), top)
            for chosen, among in ((found.shown, inside & weak), (found.hidden, inside - weak)):
                assert [look.matrix.names[row] for row in chosen] == by_brute_force(rows, query, top, among)
                for row, score in chosen.items():
                    direction = rows[look.matrix.names[row]]
                    cosine = direction @ query / np.linalg.norm(direction) / np.linalg.norm(query)
                    assert score == pytest.approx(cosine, abs=1e-6)
            assert found.considered == len(inside)
            assert found.too_strong == len(inside - weak)

    def test_scores_of_many_queries_are_those_of_each(self, ranked: tuple[Searcher, dict[str, np.ndarray]]) -> None:
        """One matrix product for all of them."""
        look, rows = ranked
        queries = np.random.default_rng(6).normal(size=(4, DIM))
        together = look.scores(queries)
        assert together.shape == (4, len(rows))
        for query, scores in zip(queries, together, strict=True):
            np.testing.assert_allclose(look.scores(query), scores, atol=1e-6)
            expected = [rows[name] @ query / np.linalg.norm(rows[name]) for name in look.matrix.names]
            np.testing.assert_allclose(scores * np.linalg.norm(query), expected, atol=1e-5)

    def test_an_adapter_is_not_like_itself(self, ranked: tuple[Searcher, dict[str, np.ndarray]]) -> None:
        """It is found by its key, and left out."""
        look, rows = ranked
        answer = look.search(Request(adapters=(Example("sha256:a0200"),), everything=True))
        expected = by_brute_force(rows, rows["a0200"], 10, rows.keys() - {"a0200"})
        assert [hit.adapter.name for hit in answer.hits] == expected

    def test_the_strongest_come_by_strength(self, ranked: tuple[Searcher, dict[str, np.ndarray]]) -> None:
        """Whatever they do; the first hits can be passed over."""
        look, rows = ranked
        strengths = {name: 1 + 9 * abs(row[0]) / np.linalg.norm(row) for name, row in rows.items()}
        expected = sorted(strengths, key=lambda name: -strengths[name])
        answer = look.search(Request(limit=5, offset=3, everything=True))
        assert [(hit.rank, hit.adapter.name) for hit in answer.hits] == list(enumerate(expected[3:8], 4))

    def test_equal_ones_come_in_the_order_in_which_they_came_in(
        self, ranked: tuple[Searcher, dict[str, np.ndarray]], preset: Preset
    ) -> None:
        """However many there are, and wherever they lie."""
        look, rows = ranked
        put(look.library, preset, {f"twin{place}": rows["a0100"] for place in range(20)})
        answer = searcher(look.library).search(Request(adapters=(Example("sha256:a0100"),), limit=7, everything=True))
        assert [hit.adapter.name for hit in answer.hits] == [f"twin{place}" for place in range(7)]


def test_an_adapter_that_was_removed_since_is_no_hit(library: Library, preset: Preset) -> None:
    put(library, preset, drawn(20))
    look = searcher(library)
    before = look.search(Request(adapters=(Example("sha256:a0003"),), everything=True)).hits
    library.remove(before[0].adapter.key)
    after = look.search(Request(adapters=(Example("sha256:a0003"),), everything=True)).hits
    assert [hit.adapter.key for hit in after] == [hit.adapter.key for hit in before[1:]]


# --- what is kept on the disk -------------------------------------------------------------------------------------


def contents(matrix: Matrix) -> dict[int, tuple[bytes, float]]:
    """Every row by its adapter."""
    rows = np.array(matrix.directions)
    return {int(i): (r.tobytes(), float(s)) for i, r, s in zip(matrix.ids, rows, matrix.strength, strict=True)}


def read_anew(library: Library, digest: str) -> dict[int, tuple[bytes, float]]:
    """The matrix as SQLite alone has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lorascope.library.matrix.IN_MEMORY", 10**9)
        matrix = library.signatures.matrix(digest)
    assert matrix.folder is None
    return contents(matrix)


@pytest.mark.usefixtures("small_limits")
class TestTheMappedMatrix:
    """It holds what SQLite holds, whatever happened since it was written."""

    def test_few_changes_leave_the_folder_and_many_make_a_new_one(self, library: Library, preset: Preset) -> None:
        """New adapters, other signatures and removed adapters alike."""
        digest = put(library, preset, drawn(100))
        first = library.signatures.matrix(digest).folder
        put(library, preset, drawn(40, seed=1, prefix="b"))
        library.remove("sha256:a0002")
        assert library.signatures.matrix(digest).folder == first
        assert contents(library.signatures.matrix(digest)) == read_anew(library, digest)
        put(library, preset, drawn(30, seed=2, prefix="c"))
        matrix = library.signatures.matrix(digest)
        assert matrix.folder != first
        assert len(matrix.directions.recent) == 0
        assert [path for path in matrix.folder.parent.iterdir() if path.is_dir()] == [matrix.folder]
        assert contents(matrix) == read_anew(library, digest)

    @pytest.mark.parametrize("name", ["rows.npy", "directions.npy"])
    @pytest.mark.parametrize("harm", ["truncated", "flipped", "empty", "missing", "header"])
    def test_a_damaged_folder_is_written_again(self, library: Library, preset: Preset, name: str, harm: str) -> None:
        """A single bit is enough."""
        digest = put(library, preset, drawn(100))
        path = library.signatures.matrix(digest).folder / name
        data = bytearray(path.read_bytes())
        if harm == "missing":
            path.unlink()
        elif harm == "flipped":
            data[-9] ^= 4
            path.write_bytes(data)
        else:
            path.write_bytes({"truncated": data[:-9], "empty": b"", "header": b"\x93NUMPY\x01" + data[7:9]}[harm])
        assert contents(library.signatures.matrix(digest)) == read_anew(library, digest)
        assert path.exists()

    def test_another_library_in_the_same_place_has_rows_of_its_own(
        self, library: Library, preset: Preset, tmp_path: Path
    ) -> None:
        """An older copy that was put back once had as many rows under the same numbers."""
        digest = put(library, preset, drawn(100))
        library._db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(library.path, tmp_path / "copy.db")
        put(library, preset, drawn(100, seed=3))
        library.signatures.matrix(digest)
        library.close()
        shutil.copy(tmp_path / "copy.db", library.path)
        with Library(library.path) as former:
            assert contents(former.signatures.matrix(digest)) == read_anew(former, digest)

    def test_what_was_kept_of_a_library_that_is_gone_is_removed(
        self, library: Library, preset: Preset, tmp_path: Path
    ) -> None:
        """Two gigabytes for a million adapters."""
        with Library(tmp_path / "other.db", create=True) as other:
            gone = other.signatures.matrix(put(other, preset, drawn(60))).folder
        (tmp_path / "other.db").unlink()
        library.signatures.matrix(put(library, preset, drawn(60)))
        assert not gone.exists()

    def test_what_was_kept_of_a_library_that_cannot_be_asked_for_stays(
        self, library: Library, preset: Preset, tmp_path: Path
    ) -> None:
        """Such a note once kept every other library out of its cache."""
        other = tmp_path / "cache" / "matrices" / "other"
        other.mkdir(parents=True)
        (other / "library.txt").write_text("/" + "long" * 100, "utf-8")
        assert library.signatures.matrix(put(library, preset, drawn(60))).folder is not None
        assert other.exists()

    def test_a_cache_that_cannot_be_written_costs_memory_only(
        self, library: Library, preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All is read from SQLite."""
        (tmp_path / "file").write_text("in the way", "utf-8")
        monkeypatch.setenv("LORASCOPE_CACHE", str(tmp_path / "file"))
        digest = put(library, preset, drawn(150))
        look = searcher(library)
        assert look.matrix.folder is None
        assert not look.ranker.wants_index
        assert contents(look.matrix) == read_anew(library, digest)
        assert look.select(np.ones(DIM), OPEN, 10).shown

    def test_a_full_disk_leaves_nothing_behind(
        self, library: Library, preset: Preset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was begun is removed, and the search continues."""

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("lorascope.library.matrix._write", full)
        digest = put(library, preset, drawn(100))
        assert library.signatures.matrix(digest).folder is None
        assert not list((cache_dir() / "matrices").glob("*/*"))

    def test_building_is_told(self, library: Library, preset: Preset) -> None:
        """With how much of it is done."""
        told: list[tuple[str, int, int]] = []
        digest = put(library, preset, drawn(100))
        library.signatures.matrix(digest, lambda *note: told.append(note))
        assert told == [("arranging the signatures of this library", 0, 100)]
        library.signatures.matrix(digest, lambda *note: pytest.fail("built again"))

    def test_two_processes_may_build_at_once(self, library: Library, preset: Preset) -> None:
        """Both see all rows, and one whole folder is left."""
        digest = put(library, preset, drawn(100))
        script = (
            "import sys; from lorascope.library import Library, matrix; matrix.IN_MEMORY = 50\n"
            "print(len(Library(sys.argv[1]).signatures.matrix(sys.argv[2]).ids))"
        )
        command = [sys.executable, "-W", "ignore", "-c", script, str(library.path), digest]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) for _ in range(2)]
        assert [process.communicate()[0].strip() for process in running] == [b"100", b"100"]
        library.signatures.matrix(digest, lambda *note: pytest.fail("there was none"))


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty"])
def test_a_damaged_index_is_not_used(library: Library, preset: Preset, harm: str) -> None:
    put(library, preset, drawn(200))
    look = searcher(library)
    build = lambda: approximate.build_index(look.matrix.folder, look.matrix.directions.mapped)  # noqa: E731
    build()
    assert searcher(library).ranker.index is not None
    (path,) = look.matrix.folder.glob("*.faiss")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"truncated": data[:-5], "flipped": data, "empty": b""}[harm])
    again = searcher(library)
    assert again.ranker.index is None
    assert again.select(np.ones(DIM), OPEN, 10) == look.select(np.ones(DIM), OPEN, 10)
    build()
    assert searcher(library).ranker.index is not None
    assert len(list(look.matrix.folder.glob("*.faiss"))) == 1


@pytest.mark.usefixtures("small_limits")
def test_a_large_library_is_prepared_once(library: Library, preset: Preset) -> None:
    put(library, preset, drawn(200))
    told: list[str] = []
    encoder = QueryEncoder(FakeEncoder(), PromptSet.load("query"))
    look = Searcher(library, query_encoder=lambda _: encoder, note=lambda what, *_: told.append(what))
    assert not look.ready
    look.prepare()
    assert look.ready
    assert list(dict.fromkeys(told)) == [
        "arranging the signatures of this library", "dividing the signatures into lists",
        "building the index of this library", "encoding phrases",
    ]  # fmt: skip
    assert searcher(library).ready


@pytest.mark.usefixtures("small_limits")
def test_without_the_extra_all_products_are_computed(
    library: Library, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    rows = drawn(200)
    put(library, preset, rows)
    look = searcher(library)
    assert not look.ranker.wants_index
    query = np.ones(DIM)
    found = look.select(query, OPEN, 10)
    assert [look.matrix.names[row] for row in found.shown] == by_brute_force(rows, query, 10, rows)


Steps = list[tuple[str, int, int]]


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "again", "remove", "read"]), st.integers(0, 30), st.integers(1, 12)),
        max_size=12,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_adapters_that_come_one_by_one_are_those_that_come_at_once(
    tmp_path: Path, preset: Preset, steps: Steps
) -> None:
    """Whatever came, changed and went in between, and whenever the matrix was read."""
    draw = np.random.default_rng(len(steps))
    place = tmp_path / f"{draw.integers(2**60)}-{os.urandom(4).hex()}.db"
    rows: dict[str, np.ndarray] = {}
    with pytest.MonkeyPatch.context() as patch, Library(place, create=True) as library:
        patch.setattr("lorascope.library.matrix.IN_MEMORY", 5)
        digest = put(library, preset, {})
        for step, first, count in steps:
            names = [f"n{number}" for number in range(first, first + count)]
            if step in ("put", "again"):
                fresh = {name: draw.normal(size=DIM) for name in names if step == "again" or name not in rows}
                rows |= fresh
                put(library, preset, fresh)
            elif step == "remove":
                for name in rows.keys() & set(names):
                    library.remove(f"sha256:{name}")
                    del rows[name]
            else:
                library.signatures.matrix(digest)
        matrix = library.signatures.matrix(digest)
        found = dict(zip(matrix.names, np.array(matrix.directions), strict=True))
        assert found.keys() == rows.keys()
        for name, row in rows.items():
            np.testing.assert_allclose(found[name], row / np.linalg.norm(row), atol=1e-6)


# --- query vectors ------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> QueryVectors:
    return QueryVectors(tmp_path / "deep" / "vectors.db", bound=3)


def vector(value: float) -> tuple[np.ndarray, float | None]:
    return np.full(4, value, np.float32), float(value)


def known(kept: QueryVectors, queries: Sequence[str]) -> list[str]:
    return sorted(kept.get("e", "suffix", queries))


class TestQueryVectors:
    """They are kept for all libraries, as long as there is room."""

    def test_they_belong_to_encoder_and_encoding(self, kept: QueryVectors) -> None:
        """And come back as they were."""
        kept.put("e", "suffix", {"ink": vector(0.5), "wash": (np.arange(4, dtype=np.float32), None)})
        found = kept.get("e", "suffix", ["ink", "wash", "unknown"])
        assert {query: (list(v), c) for query, (v, c) in found.items()} == {
            "ink": ([0.5] * 4, 0.5), "wash": ([0, 1, 2, 3], None),
        }  # fmt: skip
        assert kept.get("e", "prefix", ["ink"]) == kept.get("other", "suffix", ["ink"]) == {}

    def test_the_least_recently_used_are_forgotten(self, kept: QueryVectors, monkeypatch: pytest.MonkeyPatch) -> None:
        """To have been read is to have been used."""
        for hour, query in enumerate("abc"):
            monkeypatch.setattr("lorascope.search.vectors.time.time", lambda hour=hour: 1e9 + 7200 * hour)
            kept.put("e", "suffix", {query: vector(hour)})
        monkeypatch.setattr("lorascope.search.vectors.time.time", lambda: 1e9 + 7200 * 9)
        assert known(kept, "a") == ["a"]
        kept.put("e", "suffix", {"d": vector(3)})
        assert known(kept, "abcd") == ["a", "c", "d"]

    @pytest.mark.parametrize("harm", ["truncated", "overwritten", "text"])
    def test_a_damaged_file_is_begun_again(self, kept: QueryVectors, harm: str) -> None:
        """Its vectors are computed again."""
        kept.put("e", "suffix", {"ink": vector(1)})
        data = kept.path.read_bytes()
        kept.path.write_bytes({"truncated": data[:5000], "overwritten": b"\xff" * 9000, "text": b"no data"}[harm])
        assert known(kept, ["ink"]) == []
        kept.put("e", "suffix", {"ink": vector(2)})
        assert known(kept, ["ink"]) == ["ink"]

    def test_a_damaged_file_that_cannot_be_removed_is_passed_over(
        self, kept: QueryVectors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in a cache that is shared to be read."""

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError("not yours")

        kept.put("e", "suffix", {"ink": vector(1)})
        kept.path.write_bytes(b"no data")
        monkeypatch.setattr(Path, "unlink", refuse)
        assert known(kept, ["ink"]) == []

    def test_a_place_that_cannot_be_written_keeps_nothing(self, tmp_path: Path) -> None:
        """And nothing fails."""
        (tmp_path / "file").write_text("in the way", "utf-8")
        nowhere = QueryVectors(tmp_path / "file" / "vectors.db")
        nowhere.put("e", "suffix", {"ink": vector(1)})
        assert known(nowhere, ["ink"]) == []


def test_libraries_share_query_vectors(
    library: Library, preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(library, preset, drawn(5))
    searcher(library).prepare()
    with Library(tmp_path / "other.db", create=True) as other:
        put(other, preset, drawn(5, seed=1))
        assert Searcher(other, query_encoder=lambda _: pytest.fail("the encoder was loaded")).ready
