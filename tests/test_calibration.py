"""Directions estimated by what effects have in common with the bare images."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from fakes import tint

from lorascope.errors import CalibrationError, LibraryError
from lorascope.library import Library, verify
from lorascope.library.transfer import merge
from lorascope.measure import Event, StopRun, Worker, index, load_worker
from lorascope.measure.estimate import estimate
from lorascope.models import find_file
from lorascope.moments import Moments
from lorascope.protocol import Preset
from lorascope.signature import Calibration, Effects, Signature
from lorascope.signature.calibration import FEWEST_ADAPTERS

PROMPTS, SEEDS, DIM = 60, 4, 8


def cells() -> np.ndarray:
    """The prompt of each cell, round by round."""
    return np.tile(np.arange(PROMPTS), SEEDS)


def population(rng: np.random.Generator, slope: np.ndarray, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Bare embeddings of a grid, and the effects of some adapters that fall as these grow."""
    bare = rng.normal(size=(PROMPTS * SEEDS, DIM))
    effects = [
        0.5 * rng.normal(size=DIM) - bare @ slope + 0.2 * rng.normal(size=(PROMPTS * SEEDS, DIM)) for _ in range(count)
    ]
    return bare, effects


def fitted(bare: np.ndarray, effects: list[np.ndarray], first: int = PROMPTS) -> Calibration:
    """A Calibration from 32 cells of each."""
    samples = [(one[:32], bare[:32]) for one in effects]
    return Calibration.fit("0123456789", samples, bare[:first], cells()[:first], (PROMPTS, SEEDS))


def seen(effects: np.ndarray, bare: np.ndarray, count: int, calibration: Calibration | None) -> Signature:
    """What is known after some cells."""
    found = Effects(PROMPTS, SEEDS, DIM)
    found.add(cells()[:count], effects[:count], bare[:count], noise_floor=0.0)
    return found.signature(calibration=calibration)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_what_bare_images_explain_makes_directions_better() -> None:
    rng = np.random.default_rng(1)
    bare, effects = population(rng, 0.8 * np.eye(DIM), FEWEST_ADAPTERS + 20)
    calibration = fitted(bare, effects[20:])
    mean, regression = [], []
    for one in effects[:20]:
        true = one.mean(axis=0)
        mean.append(cosine(seen(one, bare, 8, None).direction, true))
        regression.append(cosine(seen(one, bare, 8, calibration).direction, true))
    assert np.mean(regression) > np.mean(mean) + 0.02


def test_the_interval_of_a_regression_holds_the_truth() -> None:
    rng = np.random.default_rng(2)
    held = narrower = 0
    for _ in range(40):
        bare, effects = population(rng, 0.8 * np.eye(DIM), FEWEST_ADAPTERS + 1)
        found = seen(effects[0], bare, 24, fitted(bare, effects[1:]))
        plain = seen(effects[0], bare, 24, None)
        assert found.agreement is not None
        assert plain.agreement is not None
        held += cosine(found.direction, effects[0].mean(axis=0)) >= found.agreement.lower
        narrower += found.agreement.lower > plain.agreement.lower
    # 33 of 40 or fewer are less likely than 1 in 100 if each holds with 95%
    assert held > 33
    assert narrower > 30


def test_a_misleading_calibration_is_not_used() -> None:
    rng = np.random.default_rng(3)
    bare, effects = population(rng, 0.8 * np.eye(DIM), FEWEST_ADAPTERS + 1)
    good = fitted(bare, effects[1:])
    wrong = dataclasses.replace(good, slope=-good.slope)
    found, plain = seen(effects[0], bare, 16, wrong), seen(effects[0], bare, 16, None)
    assert np.array_equal(found.direction, plain.direction)
    assert found.calibration == ""


def test_the_plain_mean_stays_beside_the_estimate() -> None:
    rng = np.random.default_rng(4)
    bare, effects = population(rng, 0.8 * np.eye(DIM), FEWEST_ADAPTERS + 1)
    calibration = fitted(bare, effects[1:])
    found = seen(effects[0], bare, 16, calibration)
    assert found.calibration == calibration.digest
    assert np.array_equal(found.mean, seen(effects[0], bare, 16, None).direction)
    assert not np.array_equal(found.mean, found.direction)


def test_the_whole_grid_has_its_plain_mean() -> None:
    rng = np.random.default_rng(5)
    bare, effects = population(rng, 0.8 * np.eye(DIM), FEWEST_ADAPTERS + 1)
    calibration = fitted(bare, effects[1:], first=len(bare))
    found = seen(effects[0], bare, len(bare), calibration)
    assert found.calibration == ""
    assert np.array_equal(found.direction, seen(effects[0], bare, len(bare), None).direction)


def test_three_adapters_calibrate_nothing() -> None:
    bare, effects = population(np.random.default_rng(6), np.eye(DIM), 3)
    with pytest.raises(CalibrationError, match="only 3 adapters have an effect: it takes 20"):
        fitted(bare, effects)


def test_calibrations_survive_being_stored() -> None:
    bare, effects = population(np.random.default_rng(7), np.eye(DIM), FEWEST_ADAPTERS)
    calibration = fitted(bare, effects)
    assert Calibration.from_bytes(calibration.to_bytes()).digest == calibration.digest


def test_a_compressed_calibration_is_refused_unread() -> None:
    """A few kilobytes of it could fill the memory."""
    file = io.BytesIO()
    np.savez_compressed(file, slope=np.zeros((4000, 4000)))
    with pytest.raises(CalibrationError, match="it is compressed"):
        Calibration.from_bytes(file.getvalue())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, one: data[: len(data) // 2],
        lambda data, one: b"",
        lambda data, one: dataclasses.replace(one, slope=one.slope * np.inf).to_bytes(),
        lambda data, one: dataclasses.replace(one, mean=one.mean * np.nan).to_bytes(),
        lambda data, one: dataclasses.replace(one, adapters=3).to_bytes(),
        lambda data, one: dataclasses.replace(one, error=(-1.0, 0.0)).to_bytes(),
    ],
)
def test_damaged_calibrations_are_refused(damage) -> None:  # noqa: ANN001
    bare, effects = population(np.random.default_rng(8), np.eye(DIM), FEWEST_ADAPTERS)
    calibration = fitted(bare, effects)
    with pytest.raises(CalibrationError):
        Calibration.from_bytes(damage(calibration.to_bytes(), calibration))


def test_a_calibration_of_another_width_is_refused() -> None:
    rng = np.random.default_rng(9)
    bare, effects = population(rng, np.eye(DIM), FEWEST_ADAPTERS)
    calibration = fitted(bare, effects)
    narrow = Moments.empty(PROMPTS, SEEDS, 3)
    with pytest.raises(CalibrationError, match="for embeddings of 8 dimensions, not 3"):
        calibration.residuals(narrow, cells()[:4], effects[0][:4, :3], bare[:4, :3])


# --- in a run ----------------------------------------------------------------------------------------------------


def tints(folder: Path, count: int) -> Path:
    """Adapters of different colours."""
    rng = np.random.default_rng(0)
    for number in range(count):
        tint(folder / f"{number:02}.safetensors", *rng.uniform(-0.5, 0.5, 3))
    return folder


def signatures(library: Library) -> dict[str, Signature]:
    digest = library.protocols.find().protocol.digest
    found = library.signatures.get(digest, library.adapters.all())
    return {key: one.signature for key, one in found.items()}


def test_a_run_of_enough_adapters_calibrates_itself(worker: Worker, library: Library, tmp_path: Path) -> None:
    index([tints(tmp_path / "few", FEWEST_ADAPTERS - 1)], worker, library, precision="glance")
    assert library.protocols.calibrations(worker.protocols[0].digest) == []
    assert {one.calibration for one in signatures(library).values()} == {""}
    index([tints(tmp_path / "few", FEWEST_ADAPTERS)], worker, library, precision="glance")
    (digest,) = library.protocols.calibrations(worker.protocols[0].digest)
    assert digest in {one.calibration for one in signatures(library).values()} <= {digest, ""}
    assert verify(library) == []


def test_estimates_depend_on_nothing_but_file_and_calibration(worker: Worker, library: Library, tmp_path: Path) -> None:
    folder = tints(tmp_path / "loras", FEWEST_ADAPTERS)
    index([folder], worker, library, precision="quick")
    (digest,) = library.protocols.calibrations(worker.protocols[0].digest)
    calibration = library.protocols.calibration(digest)
    assert calibration is not None
    with Library(tmp_path / "other.db", create=True) as other:
        other.protocols.put_calibration(calibration)
        index([folder / "03.safetensors"], worker, other, precision="quick")
        for key, alone in signatures(other).items():
            assert np.array_equal(alone.direction, signatures(library)[key].direction)


def test_calibrating_again_renders_nothing(worker: Worker, library: Library, tmp_path: Path) -> None:
    folder = tints(tmp_path / "loras", FEWEST_ADAPTERS)
    index([folder], worker, library, precision="glance")
    before = library.protocols.calibrations(worker.protocols[0].digest)
    tints(folder, FEWEST_ADAPTERS + 2)
    assert index([folder], worker, library, precision="glance").cells == 2 * worker.preset.block_size
    assert library.protocols.calibrations(worker.protocols[0].digest) == before
    assert index([folder], worker, library, precision="glance", recalibrate=True).cells == 0
    now = library.protocols.calibrations(worker.protocols[0].digest)[0]
    assert [now] != before
    assert now in {one.calibration for one in signatures(library).values()} <= {now, ""}


def test_a_library_that_doubles_calibrates_again(worker: Worker, library: Library, tmp_path: Path) -> None:
    folder = tints(tmp_path / "loras", FEWEST_ADAPTERS)
    index([folder], worker, library, precision="glance")
    index([tints(folder, 2 * FEWEST_ADAPTERS)], worker, library, precision="glance")
    assert len(library.protocols.calibrations(worker.protocols[0].digest)) == 2


def test_calibrating_is_told_and_may_be_ended(worker: Worker, library: Library, tmp_path: Path) -> None:
    folder, told = tints(tmp_path / "loras", FEWEST_ADAPTERS), []

    def end(event: Event) -> None:
        if event.kind == "calibrate":
            told.append(event.text)
            raise StopRun

    assert not index([folder], worker, library, precision="glance", watch=end).finished
    assert told == ["bare images for the calibration: block 1 of 18"]
    assert library.protocols.calibrations(worker.protocols[0].digest) == []
    assert index([folder], worker, library, precision="glance").cells == 0
    assert len(library.protocols.calibrations(worker.protocols[0].digest)) == 1


def test_a_dry_run_counts_the_images_that_calibrate(worker: Worker, library: Library, tmp_path: Path) -> None:
    folder, block = tints(tmp_path / "loras", FEWEST_ADAPTERS), worker.preset.block_size
    glance, *_ = estimate(worker, library, [folder])
    assert glance.cells == FEWEST_ADAPTERS * block + 18 * block
    (folder / "00.safetensors").unlink()
    glance, *_ = estimate(worker, library, [folder])
    assert glance.cells == (FEWEST_ADAPTERS - 1) * block + block


def test_presets_that_report_the_mean_calibrate_nothing(worker: Worker, library: Library, tmp_path: Path) -> None:
    plain = load_worker(dataclasses.replace(worker.preset, estimator="mean"))
    index([tints(tmp_path / "loras", FEWEST_ADAPTERS)], plain, library, precision="glance")
    assert library.protocols.calibrations(worker.protocols[0].digest) == []
    assert Preset.load("carlos-2025").estimator == "mean"


def test_merged_signatures_keep_their_estimate(worker: Worker, library: Library, tmp_path: Path) -> None:
    folder = tints(tmp_path / "loras", FEWEST_ADAPTERS)
    with Library(tmp_path / "other.db", create=True) as other:
        index([folder], worker, other, precision="quick")
        theirs = signatures(other)
    assert any(one.calibration for one in theirs.values())
    merge(tmp_path / "other.db", library)
    for key, one in signatures(library).items():
        assert one.calibration == theirs[key].calibration
        assert np.array_equal(one.direction, theirs[key].direction)
    assert library.protocols.calibrations(worker.protocols[0].digest) == []  # it serves nothing that is measured here
    assert verify(library) == []


def test_a_calibration_of_another_protocol_is_refused(worker: Worker, library: Library, tmp_path: Path) -> None:
    bare, effects = population(np.random.default_rng(10), np.eye(DIM), FEWEST_ADAPTERS)
    path = tmp_path / "calibration.npz"
    path.write_bytes(fitted(bare, effects).to_bytes())
    other = load_worker(dataclasses.replace(worker.preset, calibration=str(path)))
    with pytest.raises(CalibrationError, match="is a calibration of Protocol 0123456789, not of fake"):
        index([tints(tmp_path / "loras", 1)], other, library, precision="glance")


def test_a_library_keeps_the_size_of_its_blocks(worker: Worker, library: Library, tmp_path: Path) -> None:
    index([tints(tmp_path / "loras", 1)], worker, library, precision="glance")
    shipped = dataclasses.replace(worker.preset, block_size=8)
    assert library.protocols.continued(shipped).block_size == worker.preset.block_size
    assert library.protocols.continued(dataclasses.replace(shipped, name="another")).block_size == 8


def test_a_library_may_begin_with_the_calibration_of_another(worker: Worker, library: Library, tmp_path: Path) -> None:
    folder = tints(tmp_path / "loras", FEWEST_ADAPTERS)
    with Library(tmp_path / "other.db", create=True) as other:
        index([folder], worker, other, precision="glance")
        theirs = other.protocols.calibrations(worker.protocols[0].digest)
    begun = load_worker(dataclasses.replace(worker.preset, calibration=str(tmp_path / "other.db")))
    index([folder / "00.safetensors"], begun, library, precision="glance")
    assert library.protocols.calibrations(worker.protocols[0].digest) == theirs
    wrong = load_worker(dataclasses.replace(worker.preset, calibration=str(folder / "00.safetensors")))
    with pytest.raises(LibraryError, match="no lorascope library"):
        index([folder / "00.safetensors"], wrong, library, precision="glance")
    with Library(tmp_path / "empty.db", create=True):
        pass
    nothing = load_worker(dataclasses.replace(worker.preset, calibration=str(tmp_path / "empty.db"), scale=0.5))
    with pytest.raises(CalibrationError, match="has no calibration of fake"):
        index([folder / "00.safetensors"], nothing, library, precision="glance")


def test_the_shipped_world_brings_its_calibration() -> None:
    preset = Preset.load("miniature")
    shipped = Calibration.from_bytes(find_file(preset.calibration).read_bytes())
    assert shipped.protocol == load_worker(preset, device="cpu").protocols[0].digest
    assert shipped.adapters >= FEWEST_ADAPTERS
