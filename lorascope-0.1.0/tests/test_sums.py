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
    world = World("some", Grid(PromptSet.load("index"), (0, 1, 2, 3), 16), Thresholds(), made)
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
    """Its stricter thresholds are the quartiles of its adapters."""
    page = (ROOT / "docs" / "stopping.md").read_text("utf-8")
    count = int(re.search(r"^(\d+) adapters of", page, re.MULTILINE)[1])
    said = re.search(r"## Stricter thresholds\n\nStrength up to ([\d.]+), Consistency from ([\d.]+\d)", page)
    found = sums.read(ROOT / "benchmarks" / "data" / "sums.npz")
    assert len(found.adapters) == count
    assert np.quantile(found.strengths, 0.75) == pytest.approx(float(said[1]), rel=1e-3)
    assert np.quantile(found.consistencies, 0.25) == pytest.approx(float(said[2]), abs=6e-4)
    assert (ROOT / "benchmarks" / "data" / "sums.npz").stat().st_size < 2**20


def test_the_sample_for_stopping_holds_every_content_bound_adapter() -> None:
    bound = {name for name, fact in truth()["adapters"].items() if fact["kind"] == "bound"}
    assert len(bound) == 6
    assert bound < set(sample())
    assert len(sample()) == 6 + 19
