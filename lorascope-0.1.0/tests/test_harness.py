"""The benchmarks' own measuring: turns, ratios, memory, and what is kept of a part that fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from benchmarks import __main__ as bench
from benchmarks import harness, page
from benchmarks.harness import Figure, Measurement, Side, at_least, peak_memory, take_turns


def _idle() -> Callable[[], object]:
    return lambda: None


def _writing(path: Path, letter: str) -> Callable[[], object]:
    """Tells of its turns in a file."""

    def work() -> None:
        with path.open("a") as file:
            file.write(letter)

    return work


def _ticking(seconds: float) -> Callable[[], object]:
    """Moves clocks of its own, in the process of its side."""
    now = [0.0]
    clocks = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: 2 * now[0])
    mock.patch.object(harness, "time", clocks).start()

    def work() -> None:
        now[0] += seconds

    return work


def _failing() -> Callable[[], object]:
    raise ValueError("no such model")


def test_memory_of_a_side_is_its_own_and_not_that_of_the_process_that_started_it() -> None:
    held = np.ones(300 * 2**20, np.uint8)
    turns = take_turns({"one": Side(_idle), "other": Side(_idle)}, rounds=1)
    assert peak_memory() > held.nbytes / 2**20
    for costs in turns.costs.values():
        assert 1 < costs[0].memory < 200


def test_sides_take_turns_in_changing_order_after_a_round_that_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "turns"
    sides = {letter: Side(_writing, (path, letter)) for letter in "ab"}
    turns = take_turns(sides, rounds=3, repeats={"b": 2})
    assert path.read_text() == "bba" + "abb" + "bba" + "abb"
    assert {name: len(costs) for name, costs in turns.costs.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_how_many_times_less_it_takes_whatever_repeats_and_units_are() -> None:
    sides = {"reference": Side(_ticking, (12.0,)), "ours": Side(_ticking, (4.0,))}
    turns = take_turns(sides, rounds=2, units=2, unit="image", repeats={"ours": 5})
    row = turns.compare("reference", "ours", "it", target=at_least(3.5))
    assert (row.reference.wall, row.reference.cpu) == pytest.approx((6, 12))
    assert (row.ours.wall, row.ours.cpu) == pytest.approx((2, 4))
    assert (row.wall.p5, row.wall.median, row.wall.p95) == pytest.approx((3, 3, 3))
    assert row.cpu.median == pytest.approx(3)
    assert (row.rounds, row.unit, row.met) == (2, "image", False)


def test_a_side_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no such model"):
        take_turns({"broken": Side(_failing)}, rounds=1)


@pytest.mark.parametrize("name", [*bench.PARTS, *bench.PAGES])
def test_every_part_that_the_command_names_can_be_loaded(name: str) -> None:
    part = import_module(f"benchmarks.{name}")
    assert callable(part.report if name in bench.PAGES else part.measure)


def _part(rows: Callable[[], Iterator[Measurement]], **more: object) -> SimpleNamespace:
    return SimpleNamespace(TITLE="A part", NOTE="What it is.", measure=rows, **more)


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which there are no pages yet."""
    monkeypatch.setattr(page, "DATA", tmp_path / "performance.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(bench, "PAGES", {"world": tmp_path / "world.md"})
    return tmp_path


def test_what_was_measured_before_an_error_is_kept_and_the_page_says_so(pages: Path) -> None:
    def rows() -> Iterator[Measurement]:
        yield Figure(name="the first", value=3, unit="s")
        raise MemoryError("24 GB are not enough")

    with pytest.raises(MemoryError):
        bench.run("gpu", _part(rows))
    text = (pages / "performance.md").read_text("utf-8")
    assert "| the first | 3 s |" in text
    assert "| all that follows | outstanding; ended by MemoryError |" in text


def test_an_error_before_any_row_leaves_the_page_as_it_is(pages: Path) -> None:
    def rows(divisor: float) -> Iterator[Measurement]:
        yield from (Figure(name="it", value=value / divisor, unit="s") for value in (3, 4))

    bench.run("gpu", _part(lambda: rows(1)))
    before = (pages / "performance.json").read_text("utf-8")
    with pytest.raises(ZeroDivisionError):
        bench.run("gpu", _part(lambda: rows(0)))
    assert (pages / "performance.json").read_text("utf-8") == before
    assert [row["value"] for row in json.loads(before)["parts"]["gpu"]["figures"]] == [3, 4]


def test_a_page_whose_source_is_missing_stays(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pages / "world.md").write_text("measured elsewhere", "utf-8")
    bench.run("world", SimpleNamespace(report=lambda: "new", missing=lambda: "no such file"))
    assert (pages / "world.md").read_text("utf-8") == "measured elsewhere"
    assert capsys.readouterr().out == "no such file: what was measured elsewhere stays\n"
    bench.run("world", SimpleNamespace(report=lambda: "new"))
    assert (pages / "world.md").read_text("utf-8") == "new"


def test_rows_that_print_alike_are_one_row() -> None:
    from benchmarks.world import _folded

    rows = [("a", "1.0", "2"), ("a x=1", "1.0", "2"), ("c", "1.0", "3"), ("a x=2", "1.0", "2")]
    assert _folded(("who", "x", "y"), rows).splitlines()[2:] == ["| a (also x=1, x=2) | 1.0 | 2 |", "| c | 1.0 | 3 |"]
