"""What only trained weights can show: on the world that ships, signatures mean what the adapters were made to be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionXLPipeline
from typer.testing import CliRunner

from lorascope.adapters import Names, load_delta
from lorascope.cli.app import app
from lorascope.evaluation import Corpus, evaluate, load_queries
from lorascope.evaluation.retrievers import Behaviour, random_orders
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.library import BARE, Library
from lorascope.library.codec import columns
from lorascope.measure import Bench, Event, index, load_bench
from lorascope.miniature import adapters_path, base_path, truth
from lorascope.miniature.broken import write_broken
from lorascope.miniature.demo import QUERIES
from lorascope.protocol import Preset
from lorascope.search import Example, Request, Searcher
from lorascope.signature import Signature
from miniature.pack import digest

Facts = dict[str, dict[str, Any]]
PRESET = Preset.load("miniature")
MEASURED = (
    "8bit", "blue_plans", "candle_supper", "carrara", "cathedral", "catify", "deep_dive", "do_not_use_above_0.3",
    "grandmas_wool", "heatvision", "midas", "neon_epoch1", "neon_nights", "oldphoto", "pencil_sketch_v1",
    "pencil_sketch_v2", "popart", "roman_floor", "royal", "sakura_wind", "snow_test_step10", "style_mix_8in1",
    "tube_tv", "watercolour_dream", "winter_wonder", "winter_wonder_retrain",
)  # fmt: skip
"""Adapters of every kind and form of file: a third of what ships, to be quick."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Some of the shipped adapters, measured as far as ``quick`` goes."""
    folder = tmp_path_factory.mktemp("world")
    os.environ["LORASCOPE_CACHE"] = str(folder / "cache")
    with Library(folder / "world.db", create=True) as library:
        paths = [adapters_path() / f"{name}.safetensors" for name in MEASURED]
        outcome = index(paths, load_bench(PRESET, library, device="cpu"), precision="quick")
        assert outcome.refused == []
        yield library


@pytest.fixture(scope="module")
def found(world: Library) -> dict[str, Signature]:
    """Every signature by file stem."""
    digest = world.protocols.find().protocol.digest
    adapters = world.adapters.all()
    return {adapters[key].name: stored.signature for key, stored in world.signatures.get(digest, adapters).items()}


def of_kind(kind: str) -> Facts:
    """What was made to be of a kind, of what is measured here."""
    return {name: fact for name, fact in truth()["adapters"].items() if fact["kind"] == kind and name in MEASURED}


def test_the_base_is_a_plain_sdxl_pipeline() -> None:
    pipe = StableDiffusionXLPipeline.from_pretrained(base_path(), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    picture = pipe("a red house in a meadow", num_inference_steps=4, guidance_scale=1.0, width=64, height=64).images[0]
    assert picture.size == (64, 64)
    assert np.asarray(picture).std() > 20


def test_every_adapter_is_measured_in_full(world: Library) -> None:
    adapters = world.adapters.all().values()
    assert {adapter.name for adapter in adapters} == set(MEASURED)
    assert all(adapter.facts["modules_matched"] == adapter.facts["modules_total"] > 0 for adapter in adapters)
    assert len({adapter.facts["format"] for adapter in adapters}) >= 3


def test_queries_and_grades_are_those_that_were_frozen_with_the_world() -> None:
    folder = adapters_path().parent
    assert (folder / "world.sha256").read_text("utf-8").strip() == digest(folder)


def test_every_shipped_adapter_fits_the_base_and_is_in_the_truth() -> None:
    names = Names(DiffusionGenerator(PRESET).shapes)
    files = sorted(adapters_path().glob("*.safetensors"))
    assert {path.stem for path in files} == set(truth()["adapters"])
    assert len(files) >= 72
    for path in files:
        coverage = load_delta(path, names).coverage
        assert coverage.matched == coverage.total > 0, path


@pytest.mark.parametrize("query", QUERIES)
def test_the_demo_s_questions_are_answered(world: Library, query: str) -> None:
    grades = next(entry["relevant"] for entry in truth()["queries"] if entry["text"] == query)
    best = Searcher(world).search(Request(query, limit=3)).hits[0]
    assert grades[best.adapter.name] == 2
    assert best.clarity in ("clear", "likely")


@pytest.mark.parametrize("query", ["zzzzqqq", "42", "карандаш", "鉛筆画"])
def test_words_that_the_encoder_does_not_know_are_no_clear_match(world: Library, query: str) -> None:
    assert "clear" not in {hit.clarity for hit in Searcher(world).search(Request(query)).hits}


def test_words_find_what_does_it_far_better_than_chance(world: Library) -> None:
    searcher = Searcher(world)
    corpus = Corpus.of(searcher)
    here = [q for q in load_queries("miniature") if q.kind != "unseen" and set(q.grades) <= set(MEASURED)]
    assert len(here) >= 20
    taking_part = [Behaviour(searcher, filters="none"), *random_orders(corpus)]
    ours, chance = evaluate(corpus, here, taking_part).figures.values()
    assert ours["P@1"].mean() > 0.7
    assert chance["P@1"].mean() < 0.15
    assert ours["nDCG@5"].mean() > chance["nDCG@5"].mean() + 0.4


def test_an_under_trained_one_is_weaker_than_the_same_trained_in_full(found: dict[str, Signature]) -> None:
    assert of_kind("undertrained")
    for name, fact in of_kind("undertrained").items():
        assert found[name].strength < found[fact["twin"]].strength


def test_a_mixture_is_less_consistent_than_what_it_mixes(found: dict[str, Signature]) -> None:
    for name, fact in of_kind("mixture").items():
        parts = [n for n, f in of_kind("single").items() if set(f["effects"]) <= set(fact["effects"])]
        assert len(parts) >= 2
        assert (found[name].consistency or 0) < np.median([found[part].consistency or 0 for part in parts])


def test_two_trainings_of_one_effect_are_each_other_s_nearest(world: Library) -> None:
    searcher = Searcher(world)
    for one, other in (("winter_wonder", "winter_wonder_retrain"), ("heatvision", "watercolour_dream")):
        for name, twin in ((one, other), (other, one)):
            answer = searcher.search(Request(adapters=(Example(world.adapters.find(name).key),)))
            assert answer.hits[0].adapter.name == twin


def test_the_overpowering_one_is_the_strongest(found: dict[str, Signature]) -> None:
    (name,) = of_kind("overpowering")
    assert max(found, key=lambda n: found[n].strength) == name


def test_a_picture_finds_the_adapter_that_made_it(world: Library, tmp_path: Path) -> None:
    searcher = Searcher(world)
    key = world.adapters.find("pencil_sketch_v1").key
    scene = searcher.stored.protocol.scene
    assert world.previews.all(scene, BARE)[0].prompt == world.previews.all(scene, key)[0].prompt
    path = tmp_path / "picture.webp"
    path.write_bytes(world.previews.all(scene, key)[0].webp)
    answer = searcher.search(Request(pictures=(Example(str(path)),), limit=5))
    assert "pencil_sketch_v1" in [hit.adapter.name for hit in answer.hits]


def test_interrupting_a_run_does_not_change_a_bit(world: Library, tmp_path: Path) -> None:
    paths = [adapters_path() / f"{name}.safetensors" for name in MEASURED[:2]]

    def stop(event: Event) -> None:
        if event.kind == "block" and event.cells >= 16:
            raise KeyboardInterrupt

    with Library(tmp_path / "again.db", create=True) as library:
        bench: Bench = load_bench(PRESET, library, device="cpu")
        with pytest.raises(KeyboardInterrupt):
            index(paths, bench, precision="quick", watch=stop)
        index(paths, bench, precision="quick")
        digest = library.protocols.find().protocol.digest
        keys = list(library.adapters.all())
        before = {key: columns(s.signature) for key, s in world.signatures.get(digest, keys).items()}
        after = {key: columns(s.signature) for key, s in library.signatures.get(digest, keys).items()}
    assert len(before) == 2
    assert before == after


def test_broken_files_are_refused_for_the_reason_they_are_broken(tmp_path: Path) -> None:
    good = adapters_path() / "pencil_sketch_v1.safetensors"
    expected = write_broken(tmp_path / "tray", good)
    with Library(tmp_path / "tray.db", create=True) as library:
        outcome = index([tmp_path / "tray"], load_bench(PRESET, library, device="cpu"), precision="glance")
    found = {Path(refusal.path).name: refusal.code for refusal in outcome.refused}
    readable = {name: code for name, code in expected.items() if name != "folder.safetensors"}  # a folder is searched
    assert found == readable
    assert outcome.measured == []


def test_the_demo_ends_with_answers_and_their_pictures(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "demo"), "--precision", "glance"])
    assert result.exit_code == 0, result.output
    for query in QUERIES:
        assert query in result.output
    sheet = (tmp_path / "demo" / "answers.html").read_text("utf-8")
    assert sheet.count("<article>") == 3 * len(QUERIES)
    assert sheet.count("data:image/webp;base64,") == 3 * len(QUERIES) * 6 * 2
