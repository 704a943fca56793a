"""What only trained weights can show: on the world that ships, signatures mean what the adapters were made to be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionXLPipeline
from PIL import Image, ImageDraw
from typer.testing import CliRunner
from worlds import WORLD

from lorascope.adapters import Names, load_delta
from lorascope.adapters.items import Conditions
from lorascope.analysis import duplicates
from lorascope.analysis.versions import parted
from lorascope.cli.app import app
from lorascope.errors import WrongBase
from lorascope.evaluation import Corpus, evaluate, load_queries
from lorascope.evaluation.retrievers import Behaviour, random_orders
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.library import BARE, Library
from lorascope.library.codec import columns
from lorascope.measure import Event, index, load_worker
from lorascope.miniature import adapters_path, base_path, truth
from lorascope.miniature.broken import write_broken
from lorascope.miniature.demo import QUERIES
from lorascope.protocol import Preset
from lorascope.search import Example, Request, Searcher
from lorascope.signature import Signature
from miniature.pack import digest

Facts = dict[str, dict[str, Any]]
PRESET = Preset.load("miniature")
pytestmark = pytest.mark.xdist_group("world")


@pytest.fixture(autouse=True)
def _one_cache(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference phrases are encoded once for all these tests."""
    monkeypatch.setenv("LORASCOPE_CACHE", str(world.parent / "cache"))


@pytest.fixture(scope="module")
def library(world: Path) -> Iterator[Library]:
    """The library of the shipped adapters that are measured."""
    with Library(world) as opened:
        yield opened


@pytest.fixture(scope="module")
def signatures(library: Library) -> dict[str, Signature]:
    """Every signature by file stem."""
    digest = library.protocols.find().protocol.digest
    adapters = library.adapters.all()
    return {adapters[key].name: stored.signature for key, stored in library.signatures.get(digest, adapters).items()}


def of_kind(kind: str) -> Facts:
    """What was made to be of a kind, of what is measured here."""
    return {name: fact for name, fact in truth()["adapters"].items() if fact["kind"] == kind and name in WORLD}


def test_the_base_is_a_plain_sdxl_pipeline() -> None:
    pipe = StableDiffusionXLPipeline.from_pretrained(base_path(), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    picture = pipe("a red house in a meadow", num_inference_steps=4, guidance_scale=1.0, width=64, height=64).images[0]
    assert picture.size == (64, 64)
    assert np.asarray(picture).std() > 20


def test_every_adapter_is_measured_in_full(library: Library) -> None:
    adapters = library.adapters.all().values()
    assert {adapter.name for adapter in adapters} == set(WORLD)
    assert all(adapter.facts.modules_matched == adapter.facts.modules_total > 0 for adapter in adapters)
    assert len({adapter.facts.format for adapter in adapters}) >= 3


def test_a_control_net_does_more_with_edges_of_other_scenes(tmp_path: Path) -> None:
    edges = Image.new("RGB", (64, 64))
    ImageDraw.Draw(edges).ellipse((12, 12, 52, 52), outline="white")
    (tmp_path / "edges").mkdir()
    edges.save(tmp_path / "edges" / "ball.png")
    conditions = Conditions.parse(["own:edges", str(tmp_path / "edges")])
    control = adapters_path().with_name("components") / "control"
    with Library(tmp_path / "library.db", create=True) as opened:
        index([control], load_worker(PRESET), opened, precision="glance", conditions=conditions)
        names = {key: one.name for key, one in opened.adapters.all().items()}
        found = opened.signatures.get(opened.protocols.find().protocol.digest, names)
        strengths = {names[key]: one.signature.strength for key, one in found.items()}
    assert strengths["control own edges"] < 0.7 * strengths["control given edges"]


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


def test_adapters_fit_the_other_bases_as_well() -> None:
    folder = adapters_path().parent / "bases"
    places = ["package:miniature/base", *(f"package:miniature/bases/{path.name}" for path in sorted(folder.iterdir()))]
    bases = [DiffusionGenerator(replace(PRESET, base=place)) for place in places]
    assert len({base.digest for base in bases}) == len(bases) == 3
    assert all(base.shapes == bases[0].shapes and base.execution.dtype == "float32" for base in bases)
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 12_000_000


def test_adapters_of_the_second_world_are_measured_with_its_preset(tmp_path: Path) -> None:
    worker = load_worker(Preset.load("miniature-flux"), device="cpu")
    files = sorted((adapters_path().parent / "flux" / "adapters").glob("*.safetensors"))
    names = Names(worker.shapes)
    coverages = [load_delta(path, names).coverage for path in files]
    assert len(files) >= 30
    assert {path.stem for path in files} <= set(truth()["adapters"])
    assert all(coverage.matched == coverage.total > 0 for coverage in coverages)
    for path, shapes in (
        (adapters_path() / files[0].name, worker.shapes),
        (files[0], DiffusionGenerator(PRESET).shapes),
    ):
        with pytest.raises(WrongBase, match="none of its [0-9]+ modules is part of it"):
            load_delta(path, Names(shapes))
    with Library(tmp_path / "two.db", create=True) as library:
        assert len(index(files[:1], worker, library, precision="glance").measured) == 1


def test_six_epochs_of_one_training_ship_in_order() -> None:
    stems = sorted(path.stem for path in (adapters_path().parent / "series").glob("*.safetensors"))
    assert [parted(stem) for stem in stems] == [
        ("oil_village", None, ()), *(("oil_village", "epoch", (epoch,)) for epoch in range(1, 6)),
    ]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_the_demo_s_questions_are_answered(library: Library, query: str) -> None:
    grades = next(entry["relevant"] for entry in truth()["queries"] if entry["text"] == query)
    best = Searcher(library).search(Request(query, limit=3)).hits[0]
    assert grades[best.adapter.name] == 2
    assert best.clarity in ("clear", "likely")


@pytest.mark.parametrize("query", ["zzzzqqq", "42", "карандаш", "鉛筆画"])
def test_words_that_the_encoder_does_not_know_are_no_clear_match(library: Library, query: str) -> None:
    assert "clear" not in {hit.clarity for hit in Searcher(library).search(Request(query)).hits}


def test_only_adapters_of_one_recipe_may_be_duplicates(library: Library) -> None:
    """After a glance nothing is called a copy, but what was trained twice is a likely pair."""
    found = duplicates(library)
    names = {key: adapter.name for key, adapter in library.adapters.all().items()}
    likely = {frozenset((names[pair.one], names[pair.two])) for pair in found.undecided}
    snow, heat = {"winter_wonder", "winter_wonder_retrain"}, {"heatvision", "watercolour_dream"}
    assert found.groups == ()
    assert {frozenset(snow), frozenset(heat)} <= likely
    assert likely <= {frozenset(snow), frozenset(heat), frozenset({"pencil_sketch_v1", "pencil_sketch_v2"})}


def test_words_find_what_does_it_far_better_than_chance(library: Library) -> None:
    searcher = Searcher(library)
    corpus = Corpus.of(searcher)
    asked = [
        replace(query, grades={name: grade for name, grade in query.grades.items() if name in WORLD})
        for query in load_queries("miniature")
        if query.kind in ("word", "paraphrase", "description")
    ]
    here = [query for query in asked if 2 in query.grades.values()]
    assert len(here) >= 40
    taking_part = [Behaviour(searcher, filters="none"), *random_orders(corpus)]
    ours, chance = evaluate(corpus, here, taking_part).figures.values()
    assert ours["P@1"].mean() > 0.7
    assert chance["P@1"].mean() < 0.15
    assert ours["nDCG@5"].mean() > chance["nDCG@5"].mean() + 0.4


def test_an_under_trained_one_is_weaker_than_the_same_trained_in_full(signatures: dict[str, Signature]) -> None:
    assert of_kind("undertrained")
    for name, fact in of_kind("undertrained").items():
        assert signatures[name].strength < signatures[fact["twin"]].strength


def test_a_mixture_is_less_consistent_than_what_it_mixes(signatures: dict[str, Signature]) -> None:
    for name, fact in of_kind("mixture").items():
        parts = [n for n, f in of_kind("single").items() if set(f["effects"]) <= set(fact["effects"])]
        assert len(parts) >= 2
        assert (signatures[name].consistency or 0) < np.median([signatures[part].consistency or 0 for part in parts])


def test_two_trainings_of_one_effect_are_each_other_s_nearest(library: Library) -> None:
    searcher = Searcher(library)
    for one, other in (("winter_wonder", "winter_wonder_retrain"), ("heatvision", "watercolour_dream")):
        for name, twin in ((one, other), (other, one)):
            answer = searcher.search(Request(adapters=(Example(library.adapters.find(name).key),)))
            assert answer.hits[0].adapter.name == twin


def test_the_overpowering_one_is_the_strongest(signatures: dict[str, Signature]) -> None:
    (name,) = of_kind("overpowering")
    assert max(signatures, key=lambda n: signatures[n].strength) == name


def test_a_picture_finds_the_adapter_that_made_it(library: Library, tmp_path: Path) -> None:
    searcher = Searcher(library)
    key = library.adapters.find("pencil_sketch_v1").key
    scene = searcher.stored.protocol.scene
    assert library.previews.all(scene, BARE)[0].prompt == library.previews.all(scene, key)[0].prompt
    path = tmp_path / "picture.webp"
    path.write_bytes(library.previews.all(scene, key)[0].webp)
    answer = searcher.search(Request(pictures=(Example(str(path)),), limit=5))
    assert "pencil_sketch_v1" in [hit.adapter.name for hit in answer.hits]


def test_interrupting_a_run_does_not_change_a_bit(tmp_path: Path) -> None:
    paths = [adapters_path() / "winter_wonder.safetensors"]

    def stop(event: Event) -> None:
        if event.kind == "block" and event.cells >= 16:
            raise KeyboardInterrupt

    results: list[list[tuple[Any, ...]]] = []
    for name, interrupted in (("once", False), ("again", True)):
        with Library(tmp_path / f"{name}.db", create=True) as library:
            worker = load_worker(PRESET, device="cpu")
            if interrupted:
                with pytest.raises(KeyboardInterrupt):
                    index(paths, worker, library, precision="quick", watch=stop)
            index(paths, worker, library, precision="quick")
            digest = library.protocols.find().protocol.digest
            stored = library.signatures.get(digest, library.adapters.all())
            results.append([columns(one.signature) for one in stored.values()])
    assert len(results[0]) == 1
    assert results[0] == results[1]


def test_broken_files_are_refused_for_the_reason_they_are_broken(tmp_path: Path) -> None:
    good = adapters_path() / "pencil_sketch_v1.safetensors"
    expected = write_broken(tmp_path / "tray", good)
    with Library(tmp_path / "tray.db", create=True) as library:
        outcome = index([tmp_path / "tray"], load_worker(PRESET, device="cpu"), library, precision="glance")
    found = {Path(refusal.path).name: refusal.code for refusal in outcome.refused}
    readable = {name: code for name, code in expected.items() if name != "folder.safetensors"}  # a folder is searched
    assert found == readable
    assert outcome.measured == []


def test_the_demo_ends_with_answers_and_their_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for name in ("pencil_sketch_v1", "winter_wonder", "royal", "neon_nights"):
        for file in adapters_path().glob(f"{name}.*"):
            shutil.copy(file, few)
    monkeypatch.setattr("lorascope.miniature.demo.adapters_path", lambda: few)
    result = CliRunner().invoke(app, ["demo", str(tmp_path / "demo"), "--precision", "glance"])
    assert result.exit_code == 0, result.output
    for query in QUERIES:
        assert query in result.output
    sheet = (tmp_path / "demo" / "answers.html").read_text("utf-8")
    assert sheet.count("<article>") == 3 * len(QUERIES)
    assert sheet.count("data:image/webp;base64,") == 3 * len(QUERIES) * 6 * 2
