"""The sums that are published of the shipped world's truth give its figures back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import sums
from benchmarks.truth import World, sample, truth_of
from lorascope.grid import Grid, PromptSet
from lorascope.miniature import truth
from lorascope.protocol import Thresholds

ROOT = Path(__file__).parents[1]


def test_sums_in_eight_bits_give_a_signature_back(tmp_path: Path) -> None:
    """Cells that the noise floor holds for nothing count for Strength, and not for Consistency."""
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(3, 280, 4, 32)) + rng.normal(size=(3, 1, 1, 32))
    effects[1] *= (rng.random((280, 4, 1)) < 0.5) + 1e-3
    effects[2, :100] = 0
    floors = (0.0, 0.1, 0.1)
    made = tuple(
        truth_of(f"{place}", one, floor) for place, (one, floor) in enumerate(zip(effects, floors, strict=True))
    )
    world = World(
        "some", Grid(PromptSet.load("index"), (0, 1, 2, 3), 16), Thresholds(), made, np.zeros_like(made[0].effects)
    )
    sums.write(sums.Sums.of(world), tmp_path / "sums.npz")
    found = sums.read(tmp_path / "sums.npz")
    assert found.adapters == ("0", "1", "2")
    assert found.active[0] == 1120 > found.active[1] > 500
    assert found.active[2] == 720
    for place, one in enumerate(made):
        assert found.strengths[place] == pytest.approx(one.signature.strength, rel=1e-6)
        assert found.consistencies[place] == pytest.approx(one.signature.consistency, abs=3e-4)
        np.testing.assert_allclose(found.directions[place], one.signature.direction, atol=1e-3)


def test_published_sums_are_those_that_the_page_on_stopping_was_made_with() -> None:
    """Every second of its adapters, so that the file stays below a megabyte."""
    page = (ROOT / "docs" / "stopping.md").read_text("utf-8")
    listed = re.search(r"^The adapters: ([^;]+);", page, re.MULTILINE)[1].split(", ")
    found = sums.read(ROOT / "benchmarks" / "data" / "sums.npz")
    assert len(found.adapters) == -(-len(listed) // 2)
    assert set(found.adapters) < set(listed)
    assert (ROOT / "benchmarks" / "data" / "sums.npz").stat().st_size < 2**20


def test_the_sample_for_stopping_holds_every_content_bound_adapter() -> None:
    bound = {name for name, fact in truth()["adapters"].items() if fact["kind"] == "bound"}
    assert len(bound) == 6
    assert bound < set(sample())
    assert len(sample()) == 6 + 19
