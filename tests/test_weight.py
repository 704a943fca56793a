"""Weights: a Curve says what an adapter does at each scale, is measured once, and its advice follows from it."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import three, tint
from typer.testing import CliRunner, Result

from lorascope.analysis import Curve, CurvePoint, advise, known_curves
from lorascope.analysis.cells import Cells, PromptTexts, effect_share, known_grid, prompt_kept
from lorascope.analysis.scales import CurveMeasurement
from lorascope.analysis.weight import SCALES, SLIDER_SCALES, next_scale, pictures
from lorascope.cli.app import app
from lorascope.encoders.fake import FakeEncoder
from lorascope.errors import LibraryError, UsageError
from lorascope.library import Library, StoredAdapter
from lorascope.measure import Worker, index
from lorascope.report.curve import curve_svg
from lorascope.signature import Estimate

PROMPTS = 40


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def exact(value: float) -> Estimate:
    return Estimate(value, value, value)


def curve(effect: Sequence[float], kept: Sequence[float], scales: Sequence[float] = (0.4, 0.8, 1.2, 1.6)) -> Curve:
    points = zip(scales, effect, kept, strict=True)
    return Curve(tuple(CurvePoint(s, 32, exact(e), exact(0.3), exact(1.0), exact(e), exact(k)) for s, e, k in points))


def scene(seed: int = 0, noise: float = 0.2) -> tuple[Cells, np.ndarray]:
    """Bare images that follow their prompts, and as adapted ones the same."""
    draw = np.random.default_rng(seed)
    texts = unit(draw.normal(size=(PROMPTS, 64)))
    bare = texts + noise * draw.normal(size=texts.shape)
    return Cells(np.arange(PROMPTS), bare, bare, 0.0), texts


# --- prompt kept ------------------------------------------------------------------------------------------------------


def test_a_style_that_all_images_share_keeps_the_prompt() -> None:
    cells, texts = scene()
    style = unit(np.random.default_rng(1).normal(size=64))
    styled = dataclasses.replace(cells, adapted=cells.bare + style)
    kept = prompt_kept(styled, texts)
    assert kept is not None
    longer = np.linalg.norm(styled.adapted, axis=1).mean() / np.linalg.norm(cells.bare, axis=1).mean()
    assert kept.value * longer == pytest.approx(1.0, abs=0.1)  # only the images' length tells of the style


def test_one_image_for_every_prompt_keeps_nothing() -> None:
    cells, texts = scene()
    kept = prompt_kept(dataclasses.replace(cells, adapted=np.tile(cells.bare[0], (PROMPTS, 1))), texts)
    assert kept is not None
    assert kept.lower <= 0.0 <= kept.upper
    assert abs(kept.value) < 0.1


def test_the_interval_of_prompt_kept_holds_the_truth() -> None:
    """Half of each image is something else: over many draws the intervals hold the share of all draws together."""
    found: list[Estimate] = []
    for seed in range(60):
        cells, texts = scene(seed, noise=0.5)
        other = 0.5 * np.random.default_rng(seed + 1000).normal(size=cells.bare.shape)
        kept = prompt_kept(dataclasses.replace(cells, adapted=0.5 * cells.bare + other), texts)
        assert kept is not None
        found.append(kept)
    truth = np.mean([one.value for one in found])
    held = sum(one.lower <= truth <= one.upper for one in found)
    assert held >= 51  # of 60 at 95%, fewer in one case of a thousand


def test_images_that_do_not_follow_prompts_tell_nothing() -> None:
    cells, texts = scene()
    assert (
        prompt_kept(dataclasses.replace(cells, bare=np.random.default_rng(2).normal(size=(PROMPTS, 64))), texts) is None
    )
    few = cells.first(20)
    assert prompt_kept(few, texts[:20]) is None


def test_half_the_effect_is_a_share_of_a_half() -> None:
    draw = np.random.default_rng(0)
    effects = 1.0 + draw.normal(size=(PROMPTS, 64))
    share = effect_share(np.arange(PROMPTS), 0.5 * effects, effects)
    assert share is not None
    assert share.cosine is not None
    assert (share.share.value, share.cosine.value) == (pytest.approx(0.5), pytest.approx(1.0))
    assert effect_share(np.arange(PROMPTS), effects, draw.normal(size=effects.shape)) is None


# --- advice -----------------------------------------------------------------------------------------------------------


def test_an_adapter_that_breaks_the_scene_is_turned_down() -> None:
    advice = advise(curve(effect=(0.6, 1.0, 1.1, 1.2), kept=(0.95, 0.9, 0.4, 0.1)))
    assert advice.weight is not None
    assert advice.breaks is not None
    assert 0.6 <= advice.weight <= 0.9
    assert 0.8 < advice.breaks < 1.2
    assert "breaks the scene from" in advice.reason


def test_an_adapter_that_sets_in_late_is_turned_up() -> None:
    advice = advise(curve(effect=(0.05, 0.2, 0.9, 1.6), kept=(1.0, 1.0, 1.0, 0.95)))
    assert advice.weight is not None
    assert advice.sets_in is not None
    assert advice.weight > 1.1
    assert 0.8 < advice.sets_in < 1.0
    assert "sets in at" in advice.reason


def test_saturation_is_said() -> None:
    advice = advise(curve(effect=(0.4, 0.95, 1.0, 1.0), kept=(1.0, 1.0, 1.0, 1.0)))
    assert advice.saturates is not None
    assert "does hardly more from" in advice.reason
    assert advise(curve(effect=(0.4, 0.8, 1.2, 1.6), kept=(1.0, 1.0, 1.0, 1.0))).saturates is None


def test_no_effect_gets_no_weight() -> None:
    nothing = CurvePoint(1.0, 32, exact(0.1), exact(0.0), None, None, exact(1.0))
    advice = advise(Curve((nothing,)))
    assert (advice.weight, advice.range) == (None, "")
    assert "no effect that differs from chance" in advice.reason


def test_the_next_scale_is_where_most_changes_unexpectedly() -> None:
    assert next_scale(curve(effect=(0.4, 0.8, 1.0, 1.1), kept=(1.0, 1.0, 0.2, 0.1))) == 1.0
    assert next_scale(curve(effect=(0.4, 0.8, 1.2, 1.6), kept=(1.0, 1.0, 1.0, 1.0))) is None


# --- measuring --------------------------------------------------------------------------------------------------------


def measured(worker: Worker, library: Library, folder: Path) -> CurveMeasurement:
    if not library.protocols.all():
        index([folder], worker, library, precision="glance")
    stored = library.protocols.find()
    return CurveMeasurement(worker, library, stored, PromptTexts(FakeEncoder(), known_grid(stored)))


def ignored(adapter: StoredAdapter, images: int) -> None:
    """No progress is shown."""


def test_an_effect_grows_with_the_weight(worker: Worker, library: Library, tmp_path: Path) -> None:
    measurement = measured(worker, library, three(tmp_path / "loras"))
    adapters = list(library.adapters.all().values())
    results = {one.adapter.name: one.found for one in measurement.measure(adapters, ignored)}
    for found in results.values():
        assert found is not None
        effects = dict(found.series("effect"))
        assert effects[1.0].value == pytest.approx(1.0)
        assert 0.1 < effects[0.2].value < 0.4
        assert effects[1.6].value > 1.3
    assert known_curves(library, library.protocols.find().protocol.digest, [adapters[0].key]) == {
        adapters[0].key: results[adapters[0].name]
    }


def test_what_an_index_measured_is_not_measured_again(worker: Worker, library: Library, tmp_path: Path) -> None:
    measurement = measured(worker, library, three(tmp_path / "loras"))
    adapters = list(library.adapters.all().values())
    images: list[int] = []
    cost = measurement.cost(adapters)
    list(measurement.measure(adapters[:1], lambda _, count: images.append(count)))
    assert sum(images) % worker.preset.block_size == 0
    assert len(images) < 2 * len(SCALES) + 2 * 4  # the first block at 1.0 was there
    assert measurement.cost(adapters[:1]).images < cost.images / 2


def test_an_interrupted_curve_goes_on_where_it_was(worker: Worker, library: Library, tmp_path: Path) -> None:
    measurement = measured(worker, library, tint(tmp_path / "redder.safetensors", red=0.3))
    adapters = list(library.adapters.all().values())
    blocks: list[int] = []

    def stop(_: StoredAdapter, count: int) -> None:
        blocks.append(count)
        if len(blocks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(measurement.measure(adapters, stop))
    assert not library.leases.holder(adapters[0].key)
    again: list[int] = []
    list(measurement.measure(adapters, lambda _, count: again.append(count)))
    list(measurement.measure(adapters, lambda _, count: again.append(0)))  # all is known
    assert 0 not in again
    assert len(blocks) + len(again) == 2 * len(known_points(library, adapters[0])) - 1


def known_points(library: Library, adapter: StoredAdapter) -> tuple[CurvePoint, ...]:
    digest = library.protocols.find().protocol.digest
    return known_curves(library, digest, [adapter.key])[adapter.key].points


def test_a_slider_is_turned_the_other_way_too(worker: Worker, library: Library, tmp_path: Path) -> None:
    measurement = measured(worker, library, tint(tmp_path / "red_slider.safetensors", red=0.3))
    (adapter,) = library.adapters.all().values()
    list(measurement.measure([adapter], ignored))
    effects = {point.scale: point.effect for point in known_points(library, adapter)}
    opposite = effects[SLIDER_SCALES[0]]
    assert opposite is not None
    assert opposite.upper < 0


def test_a_file_that_is_gone_does_not_stop_the_others(worker: Worker, library: Library, tmp_path: Path) -> None:
    folder = three(tmp_path / "loras")
    measurement = measured(worker, library, folder)
    (folder / "greender.safetensors").unlink()
    results = list(measurement.measure(list(library.adapters.all().values()), ignored))
    assert [bool(one.found) for one in results] == [True, False, True]
    assert "its file is gone" in results[1].problem


def test_another_base_model_is_refused(worker: Worker, library: Library, tmp_path: Path) -> None:
    measured(worker, library, three(tmp_path / "loras"))
    stored = library.protocols.find()
    other = dataclasses.replace(stored, protocol=dataclasses.replace(stored.protocol, base_digest="other"))
    with pytest.raises(LibraryError, match="measured with another base model or encoder"):
        CurveMeasurement(worker, library, other, PromptTexts(FakeEncoder(), known_grid(stored)))


def test_a_removed_adapter_takes_its_curve_along(worker: Worker, library: Library, tmp_path: Path) -> None:
    measurement = measured(worker, library, tint(tmp_path / "redder.safetensors", red=0.3))
    (adapter,) = library.adapters.all().values()
    list(measurement.measure([adapter], ignored))
    library.remove(adapter.key)
    assert known_curves(library, library.protocols.all()[0].protocol.digest, [adapter.key]) == {}


# --- to be seen -------------------------------------------------------------------------------------------------------


def test_a_curve_is_drawn_with_its_advice(worker: Worker, library: Library, tmp_path: Path) -> None:
    measurement = measured(worker, library, tint(tmp_path / "redder.safetensors", red=0.3))
    (adapter,) = library.adapters.all().values()
    (result,) = measurement.measure([adapter], ignored)
    assert result.found is not None
    advice = advise(result.found)
    drawn = ET.fromstring(curve_svg(result.found, advice))
    assert advice.reason in (drawn.findtext("{http://www.w3.org/2000/svg}title") or "")
    shown = pictures(library, library.protocols.find().protocol, adapter.key, result.found)
    assert [one.scale for one in shown] == sorted({0.0, *(point.scale for point in result.found.points)})


def call(*argv: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(part) for part in argv])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def test_the_command_measures_once_and_says_why(worker: Worker, tmp_path: Path) -> None:
    path, folder = tmp_path / "library.db", three(tmp_path / "loras")
    with Library(path, create=True) as library:
        index([folder], worker, library, precision="glance")
    planned = call("weight", "redder", "--dry-run", "--json", "-l", path)
    assert "1 curve to measure" in planned.stderr
    assert json.loads(planned.stdout)["adapters"] == 1
    with Library(path) as library:
        assert known_curves(library, library.protocols.find().protocol.digest, library.adapters.all()) == {}
    page = tmp_path / "weights.html"
    first = call("weight", "redder", "-l", path, "--sheet", page)
    assert "seen at every weight" in first.stdout or "sets in at" in first.stdout
    assert page.read_text("utf-8").count("<img") > len(SCALES)
    again = call("weight", "redder", "-l", path, "--json")
    assert "to measure" not in again.stderr
    assert json.loads(again.stdout)["weights"][0]["name"] == "redder"
    assert json.loads(call("weight", "redder", "--dry-run", "--json", "-l", path).stdout)["images"] == 0
    assert "weight " in call("show", "redder", "-l", path).stdout
    (shown,) = json.loads(call("show", "redder", "-l", path, "--json").stdout)["weights"].values()
    assert shown == {name: json.loads(again.stdout)["weights"][0][name] for name in ("advice", "curve")}
    assert isinstance(call_unchecked("weight", "-l", path).exception, UsageError)


def call_unchecked(*argv: str | Path) -> Result:
    return CliRunner().invoke(app, [str(part) for part in argv])
