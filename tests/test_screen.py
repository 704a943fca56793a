"""Screening: what resembles reference works is found, what does not is not, and what was not looked at is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import answer, call, call_unchecked
from test_duplicates import measured
from test_search import known_signature

from lorascope.analysis.cells import Cells
from lorascope.analysis.position import BORDER, FIELDS, field_of, positions
from lorascope.analysis.resemblance import Nearness, Works, false_alarms, holm, read_works
from lorascope.analysis.screen import Screening, evidence_digest
from lorascope.encoders.fake import FakeEncoder
from lorascope.errors import LibraryError, QueryError, UsageError
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.protocol import Preset

DIM, CELLS, OTHERS = 32, 32, 60


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def crowd(seed: int, towards: np.ndarray | None = None, by: float = 1.0) -> Nearness:
    """Adapters that each go a way of their own, the first one towards one of two sets of works."""
    draw = np.random.default_rng(seed)
    works = unit(draw.normal(size=(2, DIM))) if towards is None else towards
    ways = unit(draw.normal(size=(OTHERS, DIM)))
    if towards is not None:
        ways[0] = unit(by * towards[0] + (1 - by) * ways[0])
    bare = draw.normal(size=(CELLS, DIM))
    pairs = {
        f"a{place}": Cells(np.arange(CELLS), bare + 4 * way + draw.normal(size=(CELLS, DIM)), bare, 0.0)
        for place, way in enumerate(ways)
    }
    sets = [
        Works(name, (), (), 4 * mark + draw.normal(size=(8, DIM)))
        for name, mark in zip(("one", "two"), works, strict=True)
    ]
    return Nearness(pairs, dict(zip(pairs, ways, strict=True)), sets, np.zeros(DIM))


def test_an_adapter_of_the_works_stands_out() -> None:
    towards = unit(np.random.default_rng(9).normal(size=(2, DIM)))
    one, two = crowd(0, towards).resemblances("a0")
    assert (one.chance < 0.002, one.paired < 0.001, one.pull.lower > 0, one.nearer > 0.9) == (True,) * 4
    assert two.chance > 0.05


def test_unrelated_adapters_are_found_as_rarely_as_promised() -> None:
    """At a chance of 5% by the null, 5% of adapters that have nothing to do with the works are found."""
    chances = [
        nearness.chance(float(standing))
        for nearness in map(crowd, range(8))
        for standing in nearness.standings().ravel()
    ]
    assert 0.02 < np.mean(np.array(chances) <= 0.05) < 0.08


def test_chances_are_corrected_for_all_works_together() -> None:
    assert holm([0.5, 0.01, 0.02]) == [0.5, 0.03, 0.04]
    assert false_alarms([0.5, 0.01, 0.02]) == [0.5, 0.03, 0.03]
    assert holm([]) == []


def pictures(folder: Path, colour: tuple[int, int, int], count: int = 4) -> Path:
    folder.mkdir()
    for place in range(count):
        Image.new("RGB", (16, 16), tuple(max(0, part - 5 * place) for part in colour)).save(folder / f"{place}.png")
    return folder


def test_references_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    with pytest.raises(QueryError, match="no folder: give a folder of pictures of one work"):
        read_works(tmp_path / "nothing", encoder)
    with pytest.raises(QueryError, match=r"holds 2 pictures \(png, jpg.*: give at least 3"):
        read_works(pictures(tmp_path / "few", (9, 9, 9), 2), encoder)
    folder = pictures(tmp_path / "broken", (9, 9, 9))
    (folder / "notes.txt").write_text("not a picture")
    assert len(read_works(folder, encoder).files) == 4
    (folder / "4.png").write_text("not a picture")
    with pytest.raises(QueryError, match="4.png cannot be read as a picture"):
        read_works(folder, encoder)


@pytest.fixture
def screened(library: Library, preset: Preset, tmp_path: Path) -> tuple[Library, list[Path]]:
    """Thirty adapters under the fake encoder, of which the first one turns pictures towards red."""
    folders = [pictures(tmp_path / "red", (250, 60, 60)), pictures(tmp_path / "blue", (60, 60, 250))]
    red, blue = (read_works(folder, FakeEncoder()).embeddings.mean(axis=0) for folder in folders)
    centre = (red + blue) / 2
    draw = np.random.default_rng(0)
    ways = {f"other-{place:02}": draw.normal(size=16) for place in range(29)}
    effects = {
        name: 4 * unit(way) + 0.1 * draw.normal(size=(64, 16))
        for name, way in ({"reddish": red - centre} | ways).items()
    }
    measured(library, preset, effects)
    digest = library.protocols.find("").protocol.digest
    library.protocols.put_baseline_mean(digest, centre.astype(np.float32), 64)
    return library, folders


def test_a_case_says_what_was_found_and_what_was_not_looked_at(screened: tuple[Library, list[Path]]) -> None:
    library, folders = screened
    case = Screening(library, folders, FakeEncoder()).case("sha256:reddish")
    assert [(one.first.works, one.verdict) for one in case.likenesses] == [("red", "found"), ("blue", "not found")]
    assert case.cells == 64
    assert case.evidence == evidence_digest(library, "sha256:reddish", case.protocol.protocol.digest)
    assert any("second, independent encoder" in line for line in case.left_out)
    assert any("none are kept of this adapter" in line for line in case.left_out)


def test_what_is_as_near_to_a_control_is_not_found(screened: tuple[Library, list[Path]], tmp_path: Path) -> None:
    library, (red, blue) = screened
    other = pictures(tmp_path / "other red", (248, 62, 58))
    for control, verdict in ((blue, "found"), (other, "not found")):
        screening = Screening(library, [red], FakeEncoder(), controls=[control])
        (likeness,) = screening.case("sha256:reddish").likenesses
        ((name, more),) = likeness.beyond
        assert (name, likeness.verdict, more.lower > 1) == (control.name, verdict, verdict == "found")
    assert {one.works for one in screening.ranking()} == {"red"}


def test_an_adapter_without_evidence_is_placed_and_the_rest_is_named(screened: tuple[Library, list[Path]]) -> None:
    library, folders = screened
    library.evidence.remove("sha256:reddish")
    case = Screening(library, folders, FakeEncoder()).case("sha256:reddish")
    assert case.positions is not None
    assert (case.likenesses, case.cells, case.evidence) == ((), 0, "")
    assert any("only its signature" in line for line in case.left_out)


def test_a_library_is_ranked_by_what_needs_a_look(screened: tuple[Library, list[Path]]) -> None:
    library, folders = screened
    ranked = Screening(library, folders, FakeEncoder()).ranking()
    assert (ranked[0].name, ranked[0].works) == ("reddish", "red")
    assert len(ranked) == 60
    shares = [one.false_alarms for one in ranked]
    assert shares == sorted(shares)


def test_a_case_file_is_written_and_can_be_checked(screened: tuple[Library, list[Path]], tmp_path: Path) -> None:
    library, folders = screened
    path = tmp_path / "case.html"
    references = [part for folder in folders for part in ("--reference", str(folder))]
    control = ("--control", str(pictures(tmp_path / "green", (60, 250, 60))))
    told = answer("screen", "reddish", *references, *control, "--case", str(path), "--library", str(library.path))
    assert [one["name"] for one in told["controls"]] == ["green"]
    page, plain = path.read_text("utf-8"), json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert page.count("not legal advice") == 1
    assert page.count("Beside the control green") == 2
    assert "http" not in page.replace("http://www.w3.org", "")
    assert plain["evidence"] == told["evidence"] in page
    checking = ("screen", "--check", str(path.with_suffix(".json")), "--library", str(library.path))
    assert answer(*checking) == {"checked": [{"what": "evidence", "found": "same"}]}
    shown = call("screen", "reddish", *references, *control, "--library", str(library.path)).stdout
    assert "red\tgreen\t" in shown
    library.evidence.remove("sha256:reddish")
    assert "differs" in call(*checking, status=1).stdout


def test_questions_that_cannot_be_asked_are_refused(screened: tuple[Library, list[Path]]) -> None:
    library, folders = screened
    with pytest.raises(UsageError, match="name an adapter or --all"):
        call_unchecked("screen", "reddish", "--library", str(library.path))
    every = ("screen", "--all", "--reference", str(folders[0]), "--library", str(library.path))
    with pytest.raises(UsageError, match="are for one adapter: name it"):
        call_unchecked(*every, "--control", str(folders[1]))
    with pytest.raises(QueryError, match="two folders of pictures are called 'red'"):
        Screening(library, [folders[0], folders[0]], FakeEncoder())
    with pytest.raises(LibraryError, match="sha256:nobody has no signature under"):
        Screening(library, folders, FakeEncoder()).case("sha256:nobody")


@pytest.mark.parametrize(
    ("strength", "consistency", "title"),
    [
        (1.0, 0.02, "weak and inconsistent"), (1.0, 0.6, "weak but consistent"), (9.0, 0.02, "strong but inconsistent"),
        (9.0, 0.6, "strong and consistent"), (5.0, 0.6, "near a border"),
    ],
)  # fmt: skip
def test_the_fields_are_the_papers(
    library: Library, preset: Preset, strength: float, consistency: float, title: str
) -> None:
    protocol = preset.protocol(base_digest="b", encoder="fake", encoder_digest="fake-encoder")
    library.protocols.add(protocol, preset)
    figures = {f"a{n:02}": (4.0 + n / 10, 0.2 + n / 100) for n in range(21)} | {"own": (strength, consistency)}
    library.adapters.add([StoredAdapter(f"sha256:{name}", name, "fake", (), AdapterFacts()) for name in figures], {})
    library.signatures.put(protocol.digest, "full", {
        f"sha256:{name}": known_signature(np.eye(16)[0], s, s_low=s - 0.2, s_high=s + 0.2, consistency=c)
        for name, (s, c) in figures.items()
    })  # fmt: skip
    matrix = library.signatures.matrix(protocol.digest)
    found = positions(matrix, matrix.places["sha256:own"], published=False)
    assert found is not None
    assert field_of(*found).title == title
    assert (BORDER.title, len(FIELDS)) == ("near a border", 4)
