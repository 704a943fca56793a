"""Prompts, seeds and their order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lorascope.errors import PromptSetError
from lorascope.grid import Grid, Prompt, PromptSet

SEEDS = tuple(range(16))


@pytest.fixture
def grid() -> Grid:
    return Grid(PromptSet.load("index"), SEEDS, 32)


def test_every_cell_comes_once(grid: Grid) -> None:
    assert len(set(grid.cells)) == len(grid) == 280 * 16
    assert [cell for block in range(grid.blocks) for cell in grid.block(block)] == list(grid.cells)


def test_the_first_block_touches_every_category_and_many_seeds(grid: Grid) -> None:
    categories = Counter(grid.prompts.categories[cell.prompt] for cell in grid.block(0))
    assert len(categories) == 10
    assert max(categories.values()) - min(categories.values()) <= 1
    assert {cell.seed for cell in grid.block(0)} == set(SEEDS)


def test_every_round_visits_every_prompt_once(grid: Grid) -> None:
    for turn in range(len(SEEDS)):
        cells = grid.cells[turn * 280 : (turn + 1) * 280]
        assert sorted(cell.prompt for cell in cells) == list(range(280))


def test_the_order_is_that_of_the_set_and_not_of_the_moment(grid: Grid) -> None:
    again = Grid(PromptSet.load("index"), SEEDS, 32)
    assert again.cells == grid.cells
    assert Grid(PromptSet.load("query"), SEEDS, 32).cells != grid.cells


def test_a_last_block_may_be_shorter() -> None:
    prompts = PromptSet("three", tuple(Prompt(text, "all", "all") for text in "abc"))
    grid = Grid(prompts, (7,), 2)
    assert [len(grid.block(index)) for index in range(grid.blocks)] == [2, 1]
    assert grid.blocks_for(3) == 2
    assert grid.blocks_for(99) == 2


def test_a_text_file_is_a_prompt_set(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("a red cat\n\n a blue dog \n", "utf-8")
    assert PromptSet.load(path).texts == ("a red cat", "a blue dog")
    assert PromptSet.load(path).name == "mine"


def test_the_digest_follows_the_words_and_not_the_name() -> None:
    one = PromptSet("one", (Prompt("a", "x", "y"),))
    assert PromptSet("two", (Prompt("a", "x", "z"),)).digest == one.digest
    assert PromptSet("one", (Prompt("b", "x", "y"),)).digest != one.digest


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "holds no prompt"),
        ('[a]\nb = ["cat", "cat"]', "repeats 'cat'"),
        ("[a]\nb = 3", r"\[a\] b is 3: it must be a list of prompts"),
        ("[a", "not valid TOML"),
    ],
)
def test_a_bad_prompt_set_is_refused_with_the_reason(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(PromptSetError, match=complaint):
        PromptSet.load(path)


def test_a_missing_prompt_set_is_named() -> None:
    with pytest.raises(PromptSetError, match="cannot read the prompt set 'nowhere'"):
        PromptSet.load("nowhere")


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_must_be_there_and_differ(seeds: tuple[int, ...]) -> None:
    with pytest.raises(PromptSetError, match="give at least one, each once"):
        Grid(PromptSet.load("index"), seeds, 32)
