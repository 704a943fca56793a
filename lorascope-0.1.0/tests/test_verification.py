"""Rot: every change of an answer is noticed, by the read or by verify, and what is whole is never measured twice."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import tint
from typer.testing import CliRunner

from lorascope.cli.app import app
from lorascope.errors import LibraryError
from lorascope.library import BARE, Library, Preview, verify
from lorascope.library.codec import columns
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset

FLIPS = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two adapters, one measured in full, one at a glance."""
    place = tmp_path_factory.mktemp("made")
    with Library(place / "library.db", create=True) as library:
        worker = load_worker(Preset.load(Path(__file__).parent / "fake.toml"))
        index([tint(place / "loras" / "red.safetensors", red=0.2)], worker, library, precision="full")
        index([tint(place / "loras" / "redder.safetensors", red=0.3)], worker, library, precision="glance")
    for path in place.glob("*.db"):
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return place


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "copy")) / "library.db"


def answers(path: Path) -> Any:
    """What a library says, as bytes and texts."""
    with Library(path) as library:
        adapters = library.adapters.all()
        said: list[Any] = [adapters, library.refusals.all(), library.adapters.stamps()]
        for stored in library.protocols.all():
            digest, scene = stored.protocol.digest, stored.protocol.scene
            matrix = library.signatures.matrix(digest)
            order = np.argsort(matrix.ids)
            said += [stored, np.asarray(matrix.directions)[order].tobytes(), matrix.strength[order].tobytes()]
            said += [
                (k, columns(s.signature), s.precision) for k, s in library.signatures.get(digest, adapters).items()
            ]
            mean = library.protocols.baseline_mean(digest)
            said.append(None if mean is None else mean.tobytes())
            for key in (BARE, *adapters):
                said.append(library.previews.all(scene, key))
                blocks = library.evidence.blocks(key, digest)
                said.append([(b.adapted.tobytes(), b.bare.tobytes(), b.moved.tobytes(), b.noise_floor) for b in blocks])
    return said


def signatures(said: Any) -> dict[str, Any]:
    """Columns and Precision by adapter."""
    return {one[0]: one[1:] for one in said if isinstance(one, tuple)}


def pictures(said: Any) -> list[Any]:
    """The pictures of each adapter and of the bare model."""
    return [one for one in said if isinstance(one, list) and one and isinstance(one[0], Preview)]


def damage(path: Path, *statements: str) -> None:
    """Change rows as a disk would, without their seals."""
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            assert database.execute(statement).rowcount


@pytest.mark.parametrize("name", ["library.db", "library.evidence.db"])
def test_every_flipped_byte_that_changes_an_answer_is_noticed(name: str, copy: Path) -> None:
    """92 of 400 in the one file and 105 of 200 in the other once changed answers silently."""
    honest, path = answers(copy), copy.with_name(name)
    whole = path.read_bytes()
    draw = np.random.default_rng(16)
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for place in draw.choice(used, FLIPS):
        spoilt = bytearray(whole)
        spoilt[place] ^= int(draw.integers(1, 256))
        path.write_bytes(spoilt)
        try:
            noticed = answers(copy) == honest
        except Exception:  # whatever a read of rot ends in, it is no answer
            noticed = True
        if not noticed:
            with Library(copy) as library:
                assert verify(library), f"byte {place}"
        for file in copy.parent.glob(f"{name}-*"):
            file.unlink()


def test_a_whole_library_is_found_to_be_whole(copy: Path) -> None:
    with Library(copy) as library:
        assert verify(library) == []
        assert verify(library, repair=True) == []


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE blocks SET embeddings = zeroblob(length(embeddings)) WHERE block = 1", "of blocks"),
        ("UPDATE baselines SET embeddings = zeroblob(length(embeddings)) WHERE block = 1", "of baselines"),
        ("UPDATE floors SET floor = floor + 1", "of floors"),
    ],
)
def test_after_a_repair_only_what_was_damaged_is_measured_again(
    statement: str, row: str, copy: Path, preset: Preset
) -> None:
    before = answers(copy)
    damage(copy.with_name("library.evidence.db"), statement)
    with Library(copy) as library:
        key, digest = library.adapters.find("red").key, library.protocols.find().protocol.digest
        with pytest.raises(LibraryError, match="is damaged: `lorascope verify` names all that is"):
            library.evidence.blocks(key, digest)
        named = verify(library, repair=True)
        assert any(row in one.what and one.repair == "dropped" for one in named)
        outcome = index([copy.parent / "loras" / "red.safetensors"], load_worker(preset), library, precision="full")
        assert outcome.cells == preset.block_size
        assert verify(library) == []
    assert signatures(answers(copy)) == signatures(before)


def test_a_damaged_signature_is_computed_anew_from_its_evidence(copy: Path) -> None:
    before = answers(copy)
    damage(copy, "UPDATE signatures SET direction = zeroblob(length(direction))")
    with Library(copy) as library:
        assert {one.repair for one in verify(library, repair=True)} == {"dropped", "computed anew from its evidence"}
        assert verify(library) == []
    for key, (figures, _) in signatures(before).items():
        again, _ = signatures(answers(copy))[key]
        assert (again[0], again[1], again[-2]) == (figures[0], figures[1], figures[-2])  # cells, Strength, Direction


def test_what_only_the_other_file_kept_over_a_power_cut_is_named_and_fetched_back(copy: Path, preset: Preset) -> None:
    before = answers(copy)
    damage(copy.with_name("library.evidence.db"), "DELETE FROM blocks WHERE block = 2")
    with Library(copy) as library:
        (one, *_) = verify(library, repair=True)
        assert "is of 1120 cells, of which the evidence holds 32" in one.what
        red = copy.parent / "loras" / "red.safetensors"
        assert index([red], load_worker(preset), library, precision="full").cells == preset.block_size
        assert verify(library) == []
    damage(copy, "DELETE FROM signatures")
    with Library(copy) as library:
        assert all(one.what.endswith("is lost, its evidence is not") for one in verify(library, repair=True))
        assert verify(library) == []
        assert len(library.signatures.matrix(library.protocols.find().protocol.digest)) == len(before[0])


def test_the_verb_names_what_rotted_and_fails(copy: Path) -> None:
    assert CliRunner().invoke(app, ["verify", str(copy)]).exit_code == 0
    damage(copy, "UPDATE previews SET webp = x'00' WHERE place = 3")
    result = CliRunner().invoke(app, ["verify", str(copy), "--json"])
    assert result.exit_code == 1
    assert "of previews" in result.stdout
    assert "of previews" in CliRunner().invoke(app, ["verify", str(copy), "--repair", "--json"]).stdout
    left = json.loads(CliRunner().invoke(app, ["verify", str(copy), "--json"]).stdout)
    assert {one["repair"] for one in left} == {"the next index renders them"}


LOSSES = {
    "pictures were damaged": ["UPDATE previews SET webp = x'00' WHERE place IN (3, 4, 11)"],
    "pictures were lost": ["DELETE FROM previews WHERE place = 5"],
    "an adapter's pictures were lost": ["DELETE FROM previews WHERE adapter <> ''"],
    "all pictures were lost": ["DELETE FROM previews"],
    "the bare model's pictures were lost": ["DELETE FROM previews WHERE adapter = ''"],
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("precision", ["glance", "quick", "full"])
def test_lost_pictures_are_rendered_again_and_nothing_is_measured(
    loss: str, precision: str, copy: Path, preset: Preset
) -> None:
    with Library(copy) as library:  # what the goal does not ask for is measured before
        index([copy.parent / "loras"], load_worker(preset), library, precision=precision)
    before = answers(copy)
    damage(copy, *LOSSES[loss])
    with Library(copy) as library:
        assert verify(library, repair=True)
        outcome = index([copy.parent / "loras"], load_worker(preset), library, precision=precision)
        assert outcome.cells == 0
        assert verify(library) == []
    assert pictures(answers(copy)) == pictures(before)
    assert signatures(answers(copy)) == signatures(before)


@pytest.mark.parametrize("survivor", ["library.db", "library.evidence.db"])
def test_one_file_of_the_pair_is_enough_to_go_on_without_measuring_twice(
    survivor: str, copy: Path, preset: Preset
) -> None:
    with Library(copy) as library:
        index([copy.parent / "loras"], load_worker(preset), library, precision="full")
    before = answers(copy)
    for path in copy.parent.glob("*.db"):
        if path.name != survivor:
            path.unlink()
    with Library(copy, create=True) as library:
        if survivor == "library.db":
            (lost,) = verify(library)
            assert "library.evidence.db" in lost.file
            assert "it is not there, so no signature can be checked" in lost.what
        assert index([copy.parent / "loras"], load_worker(preset), library, precision="full").cells == 0
    after = answers(copy)
    assert pictures(after) == pictures(before)
    assert {key: one[0] for key, one in signatures(after).items()} == {
        key: one[0] for key, one in signatures(before).items()
    }


def test_a_library_of_an_earlier_version_has_no_seals_and_is_no_damage(copy: Path) -> None:
    damage(copy, "UPDATE signatures SET seal = NULL", "UPDATE adapters SET seal = NULL")
    with Library(copy) as library:
        assert verify(library) == []


def test_a_column_that_a_later_version_adds_breaks_no_seal(copy: Path) -> None:
    damage(copy, "ALTER TABLE adapters ADD COLUMN later TEXT")
    damage(copy.with_name("library.evidence.db"), "ALTER TABLE blocks ADD COLUMN later TEXT")
    with Library(copy) as library:
        assert verify(library) == []
