"""Fit: an adapter's effect on another base model beside the one on its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fakes import three
from typer.testing import CliRunner

from lorascope.analysis import BaseFit, base_fit
from lorascope.analysis.cells import Cells
from lorascope.cli.app import app
from lorascope.library import Library
from lorascope.measure import Worker, index

PROMPTS, DIM = 48, 32


def cells(direction: np.ndarray, seed: int, noise: float = 1.0) -> Cells:
    """Cells whose effects are a direction and noise."""
    draw = np.random.default_rng(seed)
    bare = draw.normal(size=(PROMPTS, DIM))
    return Cells(np.arange(PROMPTS), bare + direction + noise * draw.normal(size=bare.shape), bare, 0.0)


def fit(share: float, other: float = 0.0) -> BaseFit:
    """On a base where so much of the effect is left, and something else besides."""
    one, two = 3 * np.eye(DIM)[0], 3 * np.eye(DIM)[1]
    return base_fit("other", cells(share * one + other * two, 1), cells(one, 0), 10, 12)


def test_the_same_effect_is_kept() -> None:
    found = fit(1.0)
    assert (found.verdict, found.sentence) == ("keeps", "does the same")
    assert found.cosine is not None
    assert found.cosine.lower > 0.8
    assert (found.matched, found.modules) == (10, 12)


def test_half_the_effect_is_weaker() -> None:
    found = fit(0.5)
    assert found.verdict == "weakens"
    assert found.kept is not None
    assert found.kept.lower < 0.5 < found.kept.upper
    assert found.sentence == f"does the same, at {found.kept.value:.0%} of the strength"


def test_an_effect_that_is_gone_is_lost() -> None:
    assert fit(0.05).verdict == "loses"
    assert "hardly does it any more" in fit(0.05).sentence


def test_another_effect_is_not_called_a_weaker_one() -> None:
    assert fit(0.6, other=2.0).verdict == "changes"


def test_without_an_effect_at_home_nothing_is_said() -> None:
    found = base_fit("other", cells(3 * np.eye(DIM)[0], 1), cells(np.zeros(DIM), 0), 10, 10)
    assert (found.kept, found.verdict) == (None, "unknown")


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_the_interval_of_the_effect_kept_holds_the_truth(share: float) -> None:
    one = 3 * np.eye(DIM)[0]
    found = [base_fit("b", cells(share * one, 2 * n + 1), cells(one, 2 * n), 1, 1).kept for n in range(60)]
    held = sum(one is not None and one.lower <= share <= one.upper for one in found)
    assert held >= 51  # of 60 at 95%, fewer in one case of a thousand


def test_the_command_measures_on_each_base(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    with Library(path, create=True) as library:
        index([three(tmp_path / "loras")], worker, library, precision="glance")
    first = CliRunner().invoke(app, ["fit", "redder", "--on", "fake", "-l", str(path), "--json"])
    home, other = json.loads(first.stdout)["bases"]
    assert (other["verdict"], other["cells"]) == ("keeps", 64)
    assert home["kept"]["value"] == pytest.approx(1.0)
    again = CliRunner().invoke(app, ["fit", "redder", "--on", "fake", "-l", str(path)])
    assert "to measure" in first.stderr
    assert "to measure" not in again.stderr
    assert "does the same" in again.stdout
