"""Indexing, with the fakes: the whole path in milliseconds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import COLOURS, MODULE, searcher, three, tint
from safetensors.torch import save_file

from lorascope.adapters import sha256
from lorascope.encoders.fake import FakeEncoder
from lorascope.errors import LibraryError, ModelError, PromptSetError, ProtocolError
from lorascope.generators.fake import FakeGenerator
from lorascope.library import BARE, Library
from lorascope.library.codec import columns
from lorascope.library.words import arms
from lorascope.measure import Event, StopRun, Worker, index, load_worker
from lorascope.measure.estimate import estimate
from lorascope.measure.local import LocalWorker
from lorascope.protocol import Preset
from lorascope.search import Request
from lorascope.signature import Signature


def signatures(library: Library) -> dict[str, Signature]:
    """Every signature of the active Protocol by adapter name."""
    digest = library.protocols.find().protocol.digest
    adapters = library.adapters.all()
    return {adapters[key].name: stored.signature for key, stored in library.signatures.get(digest, adapters).items()}


def same(one: dict[str, Signature], other: dict[str, Signature]) -> bool:
    """Whether two sets of signatures are the same to the bit."""
    return {name: columns(found) for name, found in one.items()} == {
        name: columns(found) for name, found in other.items()
    }


def test_a_folder_becomes_signatures_that_say_what_each_adapter_does(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    outcome = index([three(tmp_path / "loras")], worker, library, precision="full")
    assert outcome.finished
    assert len(outcome.measured) == 3
    found = signatures(library)
    for place, colour in enumerate(COLOURS):
        signature = found[f"{colour}der"]
        assert signature.cells == 280 * 4
        assert int(np.argmax(signature.direction[:3])) == place
        # a channel of mean .5, x .3, times the encoder's 4
        assert signature.direction[place] == pytest.approx(0.5 * 0.3 * 4, rel=0.02)
        assert signature.grid.strength is not None
        assert signature.grid.strength.lower == signature.grid.strength.upper == signature.strength


def test_a_signature_equals_the_formulas_of_the_paper(tmp_path: Path, worker: Worker, library: Library) -> None:
    index([tint(tmp_path / "loras" / "red.safetensors", red=0.2)], worker, library, precision="full")
    (key,) = library.adapters.all()
    blocks = library.evidence.blocks(key, worker.protocols[0].digest)
    effects = np.concatenate([block.effects for block in blocks])
    units = effects / np.linalg.norm(effects, axis=1, keepdims=True)
    cosines = units @ units.T
    pairs = ~np.eye(len(effects), dtype=bool)
    signature = signatures(library)["red"]
    np.testing.assert_allclose(signature.direction, effects.mean(0), atol=1e-6)
    assert signature.strength == pytest.approx(np.linalg.norm(effects, axis=1).mean())
    assert signature.consistency == pytest.approx(cosines[pairs].mean())


def test_the_first_look_comes_first_for_every_adapter(tmp_path: Path, worker: Worker, library: Library) -> None:
    events: list[Event] = []
    index([three(tmp_path / "loras")], worker, library, precision="full", watch=events.append)
    stages = [place for place, event in enumerate(events) if event.kind == "stage"]
    first = {event.text for event in events[stages[0] : stages[1]] if event.kind == "block"}
    assert first == {f"{colour}der" for colour in COLOURS}


def test_a_first_look_tells_how_much_comes_after_it(tmp_path: Path, worker: Worker, library: Library) -> None:
    events: list[Event] = []
    index([three(tmp_path / "loras")], worker, library, precision="full", watch=events.append)
    first, refining = (event for event in events if event.kind == "stage")
    assert first.later == refining.total == 3 * (len(worker.preset.grid()) - worker.preset.grid().block_size)
    assert {event.later for event in events[events.index(refining) :]} == {0}
    events.clear()
    tint(tmp_path / "loras" / "late.safetensors", red=0.1)
    index([tmp_path / "loras"], worker, library, precision="glance", watch=events.append)
    assert {event.later for event in events} == {0}


def test_a_finished_folder_is_not_measured_again(tmp_path: Path, worker: Worker, library: Library) -> None:
    folder = three(tmp_path / "loras")
    index([folder], worker, library, precision="quick")
    again = index([folder], worker, library, precision="quick")
    assert again.cells == 0
    assert len(again.unchanged) == 3


def test_a_finer_precision_goes_on_from_a_coarser_one(
    tmp_path: Path, worker: Worker, library: Library, preset: Preset
) -> None:
    folder = three(tmp_path / "loras")
    glance = index([folder], worker, library, precision="glance")
    full = index([folder], worker, library, precision="full")
    assert glance.cells + full.cells == 3 * 280 * 4
    with Library(tmp_path / "other.db", create=True) as other:
        index([folder], load_worker(preset), other, precision="full")
        assert same(signatures(other), signatures(library))


def test_an_interrupted_run_loses_nothing(tmp_path: Path, worker: Worker, library: Library, preset: Preset) -> None:
    folder = three(tmp_path / "loras")
    count = 0

    def interrupt(event: Event) -> None:
        nonlocal count
        count += event.kind == "block"
        if count == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index([folder], worker, library, precision="full", watch=interrupt)
    assert library.runs.all()[0]["outcome"]["finished"] is False
    index([folder], worker, library, precision="full")
    with Library(tmp_path / "other.db", create=True) as other:
        index([folder], load_worker(preset), other, precision="full")
        assert same(signatures(other), signatures(library))


def test_the_order_of_files_does_not_change_a_bit(
    tmp_path: Path, worker: Worker, library: Library, preset: Preset
) -> None:
    folder = three(tmp_path / "loras")
    index([folder], worker, library, precision="standard")
    with Library(tmp_path / "other.db", create=True) as other:
        backwards = load_worker(preset)
        for path in sorted(folder.iterdir(), reverse=True):
            index([path], backwards, other, precision="standard")
        assert same(signatures(other), signatures(library))


def test_a_moved_file_keeps_its_signature(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "loras" / "before.safetensors", red=0.2)
    index([path.parent], worker, library, precision="glance")
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.move(path, tmp_path / "elsewhere" / "after.safetensors"))
    outcome = index([moved], worker, library, precision="glance")
    assert outcome.cells == 0
    (adapter,) = library.adapters.all().values()
    assert adapter.key == f"sha256:{sha256(moved)}"
    assert str(moved) in adapter.paths


def test_the_same_file_twice_is_one_adapter_in_two_places(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "loras" / "one.safetensors", red=0.2)
    shutil.copy(path, path.with_name("two.safetensors"))
    outcome = index([path.parent], worker, library, precision="glance")
    assert outcome.cells == worker.preset.grid().block_size
    (adapter,) = library.adapters.all().values()
    assert len(adapter.paths) == 2


def test_the_name_is_that_of_the_copy_whose_words_were_worn(tmp_path: Path, worker: Worker, library: Library) -> None:
    """Measured with one copy's trigger, an adapter once stood there under the other's name and claims."""
    path = tint(tmp_path / "loras" / "one.safetensors", red=0.2)
    path.with_suffix(".json").write_text('{"activation text": "r3d"}', "utf-8")
    shutil.copy(path, path.with_name("two.safetensors"))
    index([path.parent], worker, library, precision="glance")
    shutil.copy(path, path.with_name("three.safetensors"))
    index([path.parent], worker, library, precision="quick")
    (adapter,) = library.adapters.all().values()
    assert len(adapter.paths) == 3
    assert (adapter.name, adapter.claimed("triggers"), adapter.facts.measured_words[worker.protocols[0].scene]) == (
        "one",
        ["r3d"],
        ", r3d",
    )
    assert library.adapters.find("three") == adapter
    path.unlink()
    index([path.parent], worker, library, precision="full")
    (adapter,) = library.adapters.all().values()
    assert adapter.name in ("two", "three")  # of what is there now


def test_a_file_that_is_junk_now_is_not_where_its_adapter_lies(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    """The path once went on showing the adapter that had lain there."""
    path = tint(tmp_path / "loras" / "one.safetensors", red=0.2)
    index([path.parent], worker, library, precision="glance")
    (adapter,) = library.adapters.all().values()
    version = library.version()
    path.write_bytes(b"")
    index([path.parent], worker, library, precision="glance")
    assert library.adapters.all()[adapter.key].paths == ()
    assert library.version() != version
    with pytest.raises(LibraryError, match="has no adapter"):
        library.adapters.find(str(path))


def test_a_file_that_is_refused_for_another_reason_still_lies_there(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    path = tmp_path / "part.safetensors"
    tensors = {f"{MODULE}.lora_A.weight": torch.ones(1, 3), f"{MODULE}.lora_B.weight": torch.full((3, 1), 0.1)}
    other = MODULE.replace("proj_in", "proj_out")
    save_file(tensors | {k.replace(MODULE, other): v.clone() for k, v in tensors.items()}, path)
    index([path], worker, library, precision="glance", partial=True)
    assert [refused.code for refused in index([path], worker, library, precision="full").refused] == ["partial-match"]
    assert list(library.adapters.stamps()) == [str(path)]


def test_what_was_left_out_and_is_gone_is_no_longer_listed(tmp_path: Path, worker: Worker, library: Library) -> None:
    """It was once listed for ever, in the manifest too."""
    for place in ("here/a", "here/deep/b", "hereafter/c"):
        path = tmp_path / f"{place}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    index([tmp_path], worker, library, precision="glance")
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()
    index([tmp_path / "here"], worker, library, precision="glance")
    assert [refused.path for refused in library.refusals.all()] == [str(tmp_path / "hereafter/c.safetensors")]
    (tmp_path / "hereafter").rename(tmp_path / "unplugged")
    index(
        [tmp_path / "hereafter"], worker, library, precision="glance"
    )  # a drive that is not there says nothing of its files
    assert len(library.refusals.all()) == 2


def test_one_file_has_one_path_however_it_is_spelt(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``..`` once stayed in paths: the same file lay in two places."""
    path = tint(tmp_path / "loras" / "one.safetensors", red=0.2)
    (tmp_path / "other").mkdir()
    index([path.parent], worker, library, precision="glance")
    monkeypatch.chdir(tmp_path / "other")
    again = index([Path("../loras")], worker, library, precision="glance")
    assert len(again.unchanged) == 1
    assert list(library.adapters.stamps()) == [str(path)]
    assert library.runs.all()[0]["request"]["paths"] == [str(path.parent)]


@pytest.mark.parametrize("field", ["prompts", "query_prompts", "reference", "judged_prompts"])
def test_a_prompt_set_that_is_not_there_is_told_before_anything_is_measured(
    field: str, library: Library, preset: Preset
) -> None:
    """Those of queries were once missed after the hours of measuring."""
    with pytest.raises(PromptSetError, match="cannot read the prompt set 'gone.txt'"):
        load_worker(dataclasses.replace(preset, **{field: "gone.txt"}))


def test_a_file_that_changes_during_a_run_is_left_out_and_said_so(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    folder = three(tmp_path / "loras")

    def change(event: Event) -> None:
        if event.kind == "stage" and event.text == "refining":
            tint(folder / "redder.safetensors", red=0.05)

    outcome = index([folder], worker, library, precision="full", watch=change)
    assert [(Path(one.path).name, one.code) for one in outcome.refused] == [("redder.safetensors", "changed")]
    assert "Run index again" in outcome.refused[0].remedy
    assert index([folder], worker, library, precision="full").refused == []


def test_one_adapter_that_makes_unusable_images_does_not_stop_the_others(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = three(tmp_path / "loras")
    render = FakeGenerator.render

    def broken(self: FakeGenerator, prompts: list[str], seeds: list[int]) -> torch.Tensor:
        images = render(self, prompts, seeds)
        return images * torch.nan if float(self._layer.weight.detach()[0].sum()) > 0 else images

    monkeypatch.setattr(FakeGenerator, "render", broken)
    outcome = index([folder], worker, library, precision="glance")
    assert [(Path(one.path).stem, one.code) for one in outcome.refused] == [("redder", "not-finite")]
    assert len(outcome.measured) == 2


def test_restored_weights_are_the_same_bits(tmp_path: Path, worker: Worker, library: Library) -> None:
    generator = worker._generator
    assert isinstance(generator, FakeGenerator)
    before = generator._layer.weight.detach().clone()
    index([three(tmp_path / "loras")], worker, library, precision="quick")
    assert torch.equal(generator._layer.weight, before)


def test_running_out_of_memory_halves_the_batch_and_measures_both_arms_anew(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = FakeGenerator.render

    def small(self: FakeGenerator, prompts: list[str], seeds: list[int]) -> torch.Tensor:
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return render(self, prompts, seeds)

    monkeypatch.setattr(FakeGenerator, "render", small)
    path = tint(tmp_path / "red.safetensors", red=0.2)
    assert index([path], worker, library, precision="glance").finished
    key = f"sha256:{sha256(path)}"
    (block,) = library.evidence.blocks(key, worker.protocols[0].digest)
    assert library.protocols.execution(block.execution).batch == 2


def test_not_even_one_image_in_memory_is_a_clear_error(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: FakeGenerator, prompts: list[str], seeds: list[int]) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    path = tint(tmp_path / "red.safetensors", red=0.2)
    monkeypatch.setattr(FakeGenerator, "render", never)
    with pytest.raises(ModelError, match="does not hold even one image"):
        index([path], worker, library, precision="glance")


def test_a_picture_too_large_for_memory_says_its_size_and_measuring_keeps_its_batch(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = FakeGenerator.render

    def only_small(self: FakeGenerator, prompts: list[str], seeds: list[int]) -> torch.Tensor:
        if self._size != (8, 8):
            raise torch.OutOfMemoryError("out of memory")
        return render(self, prompts, seeds)

    monkeypatch.setattr(FakeGenerator, "render", only_small)
    before = worker.execution
    large = dataclasses.replace(worker.preset, width=2048, height=1024)
    with pytest.raises(ModelError, match="even one image of 2048 x 1024 pixels: use a smaller size"):
        worker.images(["a fox"], [1], preset=large)
    assert worker.images(["a fox"], [1]).shape == (1, 8, 8, 3)
    assert worker.execution == before


def test_triggers_go_to_the_adapter_s_side_by_default(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "red.safetensors", red=0.2, **{"modelspec.trigger_phrase": "r3d"})
    assert arms(worker.preset, ", r3d") == (", r3d", "")
    index([path], worker, library, precision="glance")
    (adapter,) = library.adapters.all().values()
    assert adapter.facts.claims["triggers"].value == ["r3d"]


@pytest.mark.parametrize(("policy", "expected"), [("both", (", r", ", r")), ("none", ("", ""))])
def test_trigger_policies_say_which_arm_gets_the_words(preset: Preset, policy: str, expected: tuple[str, str]) -> None:
    assert arms(Preset.from_json(preset.to_json().replace('"adapter"', f'"{policy}"')), ", r") == expected


def test_previews_are_the_first_twelve_cells_without_and_with(tmp_path: Path, worker: Worker, library: Library) -> None:
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    texts = worker.preset.grid().prompts.texts
    expected = [(texts[cell.prompt], cell.seed) for cell in worker.preset.grid().cells[:12]]
    for key in (BARE, *library.adapters.all()):
        found = library.previews.all(worker.protocols[0].scene, key)
        assert [(preview.prompt, preview.seed) for preview in found] == expected
        assert all(preview.webp[8:12] == b"WEBP" for preview in found)


def test_how_far_pictures_moved_is_kept_with_each_cell(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "red.safetensors", red=0.2)
    index([path], worker, library, precision="glance")
    (block,) = library.evidence.blocks(f"sha256:{sha256(path)}", worker.protocols[0].digest)
    assert block.moved.shape == (16,)
    # the red channel of mean .5 gains a fifth: .1 in one of three channels
    assert float(block.moved.mean()) == pytest.approx(0.1 / 3**0.5, rel=0.05)


def test_an_adapter_that_matches_in_part_is_refused_unless_asked_for(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    path = tint(tmp_path / "part.safetensors", red=0.2)
    tensors = {f"{MODULE}.lora_A.weight": torch.ones(1, 3), f"{MODULE}.lora_B.weight": torch.full((3, 1), 0.1)}
    other = MODULE.replace("proj_in", "proj_out")
    save_file(tensors | {k.replace(MODULE, other): v.clone() for k, v in tensors.items()}, path)
    refused = index([path], worker, library, precision="glance").refused
    assert refused[0].code == "partial-match"
    assert "proj_out" in refused[0].reason
    assert index([path], worker, library, precision="glance", partial=True).refused == []
    (adapter,) = library.adapters.all().values()
    assert (adapter.facts.modules_matched, adapter.facts.modules_total) == (1, 2)


def test_the_estimate_counts_what_is_still_to_do(tmp_path: Path, worker: Worker, library: Library) -> None:
    folder = three(tmp_path / "loras")
    rows = {row.precision: row for row in estimate(worker, library, [folder])}
    assert rows["full"].cells == 4 * 280 * 4  # three adapters and the bare model
    assert rows["glance"].cells == 4 * 16
    index([folder], worker, library, precision="glance")
    rows = {row.precision: row for row in estimate(worker, library, [folder])}
    assert rows["glance"].adapters == 0
    assert rows["full"].adapters == 3


def test_an_unknown_precision_names_the_known_ones(tmp_path: Path, worker: Worker, library: Library) -> None:
    with pytest.raises(ProtocolError, match="glance, quick, standard, full"):
        index([tmp_path], worker, library, precision="best")


def test_a_claimed_adapter_is_left_to_the_process_that_has_it(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "red.safetensors", red=0.2)
    library.leases.acquire(f"sha256:{sha256(path)}", worker.protocols[0].scene, "another process")
    outcome = index([path], worker, library, precision="glance")
    assert outcome.elsewhere == [f"sha256:{sha256(path)}"]
    assert outcome.cells == 0


def test_words_find_the_adapter_that_does_it(tmp_path: Path, worker: Worker, library: Library) -> None:
    index([three(tmp_path / "loras")], worker, library, precision="quick")
    look = searcher(library)
    for colour in COLOURS:
        answer = look.search(Request(colour))
        assert answer.hits[0].adapter.name == f"{colour}der"
        assert answer.hits[0].clarity == "clear"
    assert look.search(Request("-red")).hits[-1].adapter.name == "redder"


def test_an_empty_library_says_what_to_do(library: Library) -> None:
    with pytest.raises(LibraryError, match="lorascope index FOLDER"):
        searcher(library)


def test_several_encoders_are_measured_in_one_pass(tmp_path: Path, library: Library, preset: Preset) -> None:
    other = FakeEncoder()
    other.digest = "another-encoder"
    both = LocalWorker(preset, FakeGenerator(preset), [FakeEncoder(), other])
    outcome = index([three(tmp_path / "loras")], both, library, precision="glance")
    assert outcome.cells == 3 * 16  # rendered once
    assert len(both.protocols) == 2
    assert [stored.adapters for stored in library.protocols.all()] == [3, 3]


def test_blocks_of_another_size_are_not_mixed_up(
    tmp_path: Path, worker: Worker, library: Library, preset: Preset
) -> None:
    path = tint(tmp_path / "red.safetensors", red=0.2)
    index([path], worker, library, precision="glance")
    other = load_worker(dataclasses.replace(preset, block_size=8))
    with pytest.raises(LibraryError, match="blocks of 16 cells, not 8: set block_size"):
        index([path], other, library, precision="full")


def test_a_run_that_ends_early_leaves_what_it_knows_to_be_searched(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    """Only the first block was once found before an adapter had reached its goal."""

    def stop(event: Event) -> None:
        if event.kind == "block" and event.cells >= 200:
            raise StopRun

    path = tint(tmp_path / "red.safetensors", red=0.3)
    index([path], worker, library, precision="glance")
    outcome = index([path], worker, library, precision="full", watch=stop)
    assert not outcome.finished
    (stored,) = library.signatures.get(worker.protocols[0].digest, library.adapters.all()).values()
    assert stored.precision == "glance"
    assert stored.signature.cells > 100
    index([path], worker, library, precision="full")
    (stored,) = library.signatures.get(worker.protocols[0].digest, library.adapters.all()).values()
    assert (stored.precision, stored.signature.cells) == ("full", len(worker.preset.grid()))


def test_one_signature_is_measured_with_one_wording(tmp_path: Path, worker: Worker, library: Library) -> None:
    """Trigger words that came between two runs once went into the later blocks only."""
    path = tint(tmp_path / "red.safetensors", red=0.3)
    index([path], worker, library, precision="glance")
    path.with_suffix(".civitai.info").write_text(json.dumps({"trainedWords": ["zzred"]}), "utf-8")
    prompts: list[str] = []
    render = FakeGenerator.render
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            FakeGenerator, "render", lambda self, texts, seeds: prompts.extend(texts) or render(self, texts, seeds)
        )
        index([path], worker, library, precision="full")
        assert prompts
        assert not any("zzred" in prompt for prompt in prompts)
        library.remove(next(iter(library.adapters.all())))
        index([path], worker, library, precision="glance")
    assert any("zzred" in prompt for prompt in prompts)


def test_looking_at_what_a_run_would_take_writes_nothing(
    tmp_path: Path, worker: Worker, library: Library, preset: Preset
) -> None:
    folder = three(tmp_path / "loras")
    index([folder], worker, library, precision="glance")
    before = library.protocols.all()
    estimate(load_worker(dataclasses.replace(preset, strength_max=0.123, steps=7)), library, [folder])
    estimate(load_worker(dataclasses.replace(preset, strength_max=0.123)), library, [folder])
    assert library.protocols.all() == before


def test_an_estimate_counts_the_bare_images_that_are_still_to_be_made(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    index([tint(tmp_path / "loras" / "red.safetensors", red=0.3)], worker, library, precision="full")
    tint(tmp_path / "loras" / "blue.safetensors", blue=0.3)
    told = {row.precision: row.cells for row in estimate(worker, library, [tmp_path / "loras"])}["full"]
    assert told == len(worker.preset.grid()) == index([tmp_path / "loras"], worker, library, precision="full").cells


def test_memory_that_is_full_while_files_are_weighed_ends_the_run_and_blames_no_file(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(FakeGenerator, "untouched", full)
    with pytest.raises(ModelError, match="another program may use it"):
        index([three(tmp_path / "loras")], worker, library, precision="glance")
    assert library.refusals.all() == []
