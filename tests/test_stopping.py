"""When measuring stops: known well enough for what it decides, or certain to be hidden."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import searcher, three, tint

from lorascope.generators.fake import FakeGenerator
from lorascope.grid import Grid, PromptSet
from lorascope.library import Library, StoredSignature
from lorascope.library.transfer import merge
from lorascope.measure import Worker, index, load_worker
from lorascope.measure.stopping import StoppingRule, crossed, expected_cells
from lorascope.moments import Moments
from lorascope.precision import PRECISIONS
from lorascope.protocol import Preset, Thresholds
from lorascope.report.words import summary
from lorascope.search import Request
from lorascope.signature import Accuracy, Estimate, Signature

GRID = Grid(PromptSet.load("index"), (1, 2, 3, 4), 16)
NO_THRESHOLDS = Thresholds()
PAPER = Thresholds(strength_max=9.8, consistency_min=0.041)


def signature(
    strength: tuple[float, float] = (5.0, 6.0),
    consistency: tuple[float, float] = (0.1, 0.2),
    agreement: float = 0.99,
    active_share: float = 1.0,
    cells: int = 128,
) -> Signature:
    """A signature with these limits."""
    moments = Moments.empty(280, 4, 4)
    moments.add(np.arange(cells) % 280, np.ones((cells, 4)))
    between = [Estimate(sum(limits) / 2, *limits) for limits in (strength, consistency, (agreement, 1.0))]
    return dataclasses.replace(
        Signature.from_moments(moments), grid=Accuracy(*between), active_share=active_share, cells=cells
    )


def rule(precision: str = "standard", thresholds: Thresholds = NO_THRESHOLDS) -> StoppingRule:
    return StoppingRule(PRECISIONS[precision], thresholds, GRID)


def stops(goal: StoppingRule, *found: Signature, blocks: int = 8) -> bool:
    return goal.enough(lambda: found, blocks)


@pytest.fixture
def strong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Adapters with one among them that is beyond the fake preset's Strength of 1.5, and brightens or darkens."""
    folder, render = three(tmp_path / "loras"), FakeGenerator.render

    def erratic(self: FakeGenerator, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        images = render(self, prompts, seeds)
        darker = torch.tensor([zlib.crc32(f"{cell}".encode()) % 3 == 0 for cell in zip(prompts, seeds, strict=True)])
        return torch.where(darker[:, None, None, None], images / 3, images) if self._layer.weight.sum() > 1 else images

    monkeypatch.setattr(FakeGenerator, "render", erratic)
    tint(folder / "stronger.safetensors", 0.5, 0.5, 0.5)
    return folder


def stored(library: Library, name: str) -> StoredSignature:
    key = library.adapters.find(name).key
    return library.signatures.get(library.protocols.find().protocol.digest, [key])[key]


# --- the rule ----------------------------------------------------------------------------------------------------


def test_looks_are_four_for_each_doubling_and_one_at_the_whole_grid() -> None:
    assert GRID.looks == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 70]
    assert rule("standard").looks == 20  # the whole grid has no error to allow for
    assert rule("glance").looks == rule("full").looks == 1


def test_measuring_goes_on_until_the_direction_agrees() -> None:
    assert stops(rule("standard"), signature(agreement=0.981))
    assert not stops(rule("standard"), signature(agreement=0.979))
    assert stops(rule("quick"), signature(agreement=0.951))


def test_nothing_stops_before_enough_prompts_were_seen() -> None:
    """An effect on one prompt in thirty is likely to be seen on none of the first 64."""
    for precision in ("quick", "standard"):
        prompts = PRECISIONS[precision].prompts
        assert not stops(rule(precision), signature(), blocks=prompts // GRID.block_size - 1)
        assert stops(rule(precision), signature(), blocks=prompts // GRID.block_size)


def test_between_looks_nothing_is_computed() -> None:
    def never() -> list[Signature]:
        raise AssertionError("looked at")

    assert not rule("standard").enough(never, 9)
    assert not rule("full").enough(never, 8)
    assert rule("glance").enough(never, 1)
    assert rule("standard").enough(never, 70)


def test_a_figure_is_known_if_it_lies_on_one_side_of_its_threshold_or_is_narrow_beside_it() -> None:
    goal = rule("standard", PAPER)  # allows .199 of 9.8 and of .041
    assert stops(goal, signature(strength=(2.0, 9.7), consistency=(0.042, 0.4)))
    assert not stops(goal, signature(strength=(7.0, 11.5)))
    assert stops(goal, signature(strength=(8.5, 11.5)))
    assert not stops(goal, signature(consistency=(0.03, 0.05)))
    assert stops(goal, signature(consistency=(0.035, 0.05)))
    assert stops(rule("quick", PAPER), signature(consistency=(0.03, 0.05)))  # allows .312


def test_without_thresholds_wide_intervals_decide_nothing() -> None:
    assert stops(rule("standard"), signature(strength=(0.0, 99.0), consistency=(-1.0, 1.0)))


def test_an_adapter_that_is_certain_to_be_hidden_stops_early() -> None:
    goal, poor = rule("standard", PAPER), {"agreement": 0.5}
    too_strong, unstable = signature((9.9, 14.0), **poor), signature(consistency=(0.0, 0.04), **poor)
    assert stops(goal, too_strong)
    assert goal.label(too_strong) == "screened strength>9.8"
    assert stops(goal, unstable)
    assert goal.label(unstable) == "screened consistency<0.041"
    assert not stops(goal, signature((9.7, 14.0), **poor))


def test_a_hidden_adapter_that_is_known_well_anyway_is_not_screened() -> None:
    assert rule("standard", PAPER).label(signature((9.9, 14.0))) == "standard"


def test_all_protocols_have_to_be_known() -> None:
    assert not stops(rule("quick"), signature(agreement=0.99), signature(agreement=0.5))


def test_an_adapter_that_does_nothing_is_settled_when_every_prompt_was_seen() -> None:
    assert not stops(rule("standard"), signature(active_share=0.0, cells=272), blocks=4)
    assert stops(rule("standard"), signature(active_share=0.0, cells=280), blocks=20)


def test_a_screened_adapter_is_spared_as_long_as_the_thresholds_hide_it() -> None:
    found = signature((12.0, 14.0))
    for precision, thresholds, expected in (
        ("standard", PAPER, True),
        ("quick", Thresholds(strength_max=11.0), True),
        ("quick", Thresholds(strength_max=13.0), False),
    ):
        assert rule(precision, thresholds).spares(found, "screened strength>9.8") is expected
    assert crossed(found, Thresholds(strength_max=11.0)) == "strength>11"


def test_a_precision_counts_only_beside_the_thresholds_as_they_are_now() -> None:
    found = signature((1.0, 10.0))
    for goal, label, strength_max, expected in (
        ("quick", "quick", 20.0, True),
        ("quick", "standard", 20.0, True),
        ("standard", "quick", 20.0, False),
        ("quick", "quick", 5.5, False),
        ("quick", "quick", 0.5, True),
    ):
        assert rule(goal, Thresholds(strength_max=strength_max)).spares(found, label) is expected


def test_cells_that_are_expected_fall_with_consistency() -> None:
    standard = PRECISIONS["standard"]
    many, some, few = (expected_cells(standard, GRID, c) for c in (0.0, 0.1, 0.6))
    assert len(GRID) == many > some > few >= 16
    assert expected_cells(standard, GRID) == some


@pytest.mark.parametrize(("precision", "spread"), [("quick", "even"), ("standard", "uneven")])
def test_looking_often_keeps_the_promise(precision: str, spread: str) -> None:
    """Of adapters whose truth is known, 19 in 20 have the Direction that is promised where the rule stops."""
    rng = np.random.default_rng(5)
    texts = PromptSet("some", GRID.prompts.prompts[:80])
    goal = StoppingRule(PRECISIONS[precision], NO_THRESHOLDS, Grid(texts, (0, 1, 2, 3), 8))
    prompt, seed = np.array(goal.grid.cells).T
    kept, cells, repeats = 0, 0, 30
    for _ in range(repeats):
        effects = 0.3 + rng.normal(size=(80, 1, 16)) / 2 + rng.normal(size=(80, 4, 16)) / 2
        effects *= np.exp(rng.normal(size=(80, 4, 1)) * (0.5 if spread == "uneven" else 0.0))
        true = effects.mean((0, 1))
        found = _measured(goal, effects, prompt, seed)
        cosine = found.direction @ true / np.linalg.norm(found.direction) / np.linalg.norm(true)
        kept += bool(cosine >= goal.precision.agreement)
        cells += found.cells
    assert cells < repeats * len(goal.grid)
    # 25 of 30 or fewer are less likely than 1 in 100 if each is kept with 95%
    assert kept > 25


def _measured(goal: StoppingRule, effects: np.ndarray, prompt: np.ndarray, seed: np.ndarray) -> Signature:
    moments, done = Moments.empty(*effects.shape), 0
    for blocks in goal.grid.looks:
        chosen = slice(done, blocks * goal.grid.block_size)
        moments.add(prompt[chosen], effects[prompt[chosen], seed[chosen]])
        done, found = chosen.stop, Signature.from_moments(moments, looks=goal.looks)
        if stops(goal, found, blocks=blocks):
            break
    return found


# --- the whole path ----------------------------------------------------------------------------------------------


def test_a_screened_adapter_takes_few_cells_and_says_why(strong: Path, worker: Worker, library: Library) -> None:
    index([strong], worker, library, precision="standard")
    found = stored(library, "stronger")
    assert found.screened == "strength>1.5"
    assert found.signature.cells == PRECISIONS["standard"].prompts
    assert found.signature.agreement is not None
    assert (
        found.signature.agreement.lower < PRECISIONS["standard"].agreement
    )  # its Direction alone would have taken much longer
    assert stored(library, "redder").screened == ""
    answer = searcher(library).search(Request("red"))
    assert [hit.adapter.name for hit in answer.hidden] == ["stronger"]


def test_looser_thresholds_show_a_screened_adapter_as_provisional(
    strong: Path, worker: Worker, library: Library
) -> None:
    index([strong], worker, library, precision="standard")
    loose = Thresholds(strength_max=5.0)
    hits = {
        hit.adapter.name: hit
        for hit in searcher(library).search(Request("red", everything=True, max_strength=5.0)).hits
    }
    assert "provisional: measured until strength>1.5 was certain" in summary(hits["stronger"], loose)
    assert "provisional" not in summary(hits["redder"], loose)


def test_looser_thresholds_bring_a_screened_adapter_back_into_the_queue(
    strong: Path, worker: Worker, library: Library, preset: Preset, tmp_path: Path
) -> None:
    index([strong], worker, library, precision="standard")
    assert index([strong], worker, library, precision="standard").cells == 0
    before = stored(library, "stronger").signature.cells
    looser = load_worker(dataclasses.replace(preset, strength_max=5.0))
    outcome = index([strong], looser, library, precision="standard")
    found = stored(library, "stronger")
    assert found.precision == "standard"
    assert outcome.cells == found.signature.cells - before  # what was measured before is not measured again
    with Library(tmp_path / "other.db", create=True) as other:
        index([strong], load_worker(looser.preset), other, precision="standard")
        again = stored(other, "stronger").signature
        assert np.array_equal(again.direction, found.signature.direction)


def test_what_is_known_to_quick_and_certain_to_be_hidden_is_left_as_it_is(
    strong: Path, worker: Worker, library: Library
) -> None:
    path = strong / "redder.safetensors"
    index([path], worker, library, precision="quick")
    strict = load_worker(dataclasses.replace(worker.preset, strength_max=0.1))
    outcome = index([path], strict, library, precision="standard")
    assert (outcome.measured, len(outcome.unchanged)) == ([], 1)
    assert stored(library, "redder").precision == "quick"


def test_a_threshold_that_is_moved_close_sends_an_adapter_back(
    worker: Worker, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was known well enough beside the former threshold was once never looked at again."""
    render = FakeGenerator.render

    def fitful(self: FakeGenerator, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        """Always the same change, but mostly a faint one."""
        images = render(self, prompts, seeds)
        if not self._layer.weight.any():
            return images
        faint = torch.tensor([zlib.crc32(f"{cell}".encode()) % 3 > 0 for cell in zip(prompts, seeds, strict=True)])
        less = torch.tensor([1.03 / 1.3, 1.0, 1.0])[:, None, None]
        return torch.where(faint[:, None, None, None], images * less, images)

    monkeypatch.setattr(FakeGenerator, "render", fitful)
    path = tint(tmp_path / "fitful.safetensors", red=0.3)
    index([path], load_worker(dataclasses.replace(worker.preset, strength_max=50.0)), library, precision="quick")
    before = stored(library, "fitful").signature
    close = dataclasses.replace(worker.preset, strength_max=before.strength * 1.02)
    assert before.cells == PRECISIONS["quick"].prompts  # one direction, so little was needed
    assert index([path], load_worker(close), library, precision="quick").cells > 0
    with Library(tmp_path / "other.db", create=True) as other:
        index([path], load_worker(close), other, precision="quick")
        assert stored(other, "fitful").signature.cells == stored(library, "fitful").signature.cells


def test_full_means_the_whole_grid_for_screened_adapters_too(strong: Path, worker: Worker, library: Library) -> None:
    path = strong / "stronger.safetensors"
    index([path], worker, library, precision="quick")
    index([path], worker, library, precision="full")
    found = stored(library, "stronger")
    assert (found.precision, found.signature.cells) == ("full", len(worker.preset.grid()))


def test_a_glance_at_a_screened_adapter_leaves_it_screened(strong: Path, worker: Worker, library: Library) -> None:
    index([strong], worker, library, precision="standard")
    assert index([strong], worker, library, precision="glance").cells == 0
    assert stored(library, "stronger").screened


def test_merging_keeps_why_an_adapter_was_screened(
    strong: Path, worker: Worker, library: Library, tmp_path: Path
) -> None:
    index([strong], worker, library, precision="standard")
    with Library(tmp_path / "other.db", create=True) as other:
        merge(library.path, other)
        assert stored(other, "stronger").screened == "strength>1.5"
