"""How often the words that ``lorascope describe`` finds are right, on the shipped world.

    python -m benchmarks.description LIBRARY

A word is right if it names an effect that the adapter was trained on (``truth.json``); a word for another effect of the
same family counts as wrong.

Adapters whose Directions have nothing to do with any phrase are made in two ways: the same Directions under random
rotations, and the same with their components permuted; half of a library is replaced by them. The rate of false
discoveries is the share of them among the adapters that have a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np

from benchmarks.machine import describe as machine
from benchmarks.markdown import print_report
from lorascope import Library, PromptSet, Searcher
from lorascope.analysis import describe
from lorascope.analysis.description import Scale
from lorascope.evaluation import load_queries

DRAWS = 50


def report(library: Path) -> str:
    """A table in Markdown."""
    truth = json.loads((files("lorascope.miniature") / "truth.json").read_text("utf-8"))["adapters"]
    effects = {prompt.text: prompt.group for prompt in PromptSet.load("miniature-vocabulary").prompts}
    with Library(library) as opened:
        searcher = Searcher(opened)
        described = describe(searcher)
        cells = sum(
            one.signature.cells
            for one in opened.signatures.get(searcher.matrix.protocol, searcher.matrix.keys).values()
        )
        rates = [
            (name, *false_discoveries(searcher, noise))
            for name, noise in (("rotated", rotated), ("permuted", permuted))
        ]
    words = [(truth[one.name]["effects"], [effects[word.phrase] for word in one.words]) for one in described]
    known = [(true, said) for true, said in words if true]
    said = [(name in true) for true, names in words for name in names]
    first = [(names[0] in true) for true, names in words if names]
    rows = [
        ("words that name an effect of their adapter", sum(said), len(said)),
        ("first words that do", sum(first), len(first)),
        ("adapters with an effect that have a word", sum(bool(names) for _, names in known), len(known)),
        (
            "effects that are named",
            sum(len(set(true) & set(names)) for true, names in known),
            sum(len(true) for true, _ in known),
        ),
        (
            "adapters without an effect that have a word",
            sum(bool(names) for true, names in words if not true),
            sum(not true for true, _ in words),
        ),
    ]
    lines = [f"{len(described)} adapters, {cells} cells; {machine()}.", "", "| | share | of |", "|---|---|---|"]
    test = {query.group for query in load_queries("miniature", split="test")}
    of_test = [(set(true) & test, set(names) & test) for true, names in words]
    hits = sum(len(true & names) for true, names in of_test)
    rows += [
        ("words of the test split's effects that are right", hits, sum(len(names) for _, names in of_test)),
        ("effects of the test split that are named", hits, sum(len(true) for true, _ in of_test)),
    ]
    rows += [(f"adapters with a word that are {name} ones", *counts) for name, *counts in rates]
    lines += [f"| {name} | {count / total:.2f} | {total} |" for name, count, total in rows]
    return "\n".join(lines)


def rotated(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Directions under a random rotation."""
    return rows @ np.linalg.qr(rng.normal(size=(rows.shape[1], rows.shape[1])))[0]


def permuted(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Directions with their components permuted, each in another way."""
    return rng.permuted(rows, axis=1)


def false_discoveries(
    searcher: Searcher, noise: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> tuple[int, int]:
    """In libraries of which half is noise: noise that has a word, and all that have one."""
    vectors = searcher.vectors(PromptSet.load(searcher.stored.preset.vocabulary).texts)
    rows = np.asarray(searcher.matrix.directions[np.arange(len(searcher.matrix))])
    wrong = found = 0
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        false = rng.permutation(len(rows)) < len(rows) // 2
        mixed = np.where(false[:, None], noise(rows, rng), rows).astype(np.float32)
        scale = Scale.of(mixed, vectors)
        told = np.array([bool(one) for one in scale.telling(mixed)])
        wrong, found = wrong + int((told & false).sum()), found + int(told.sum())
    return wrong, found


if __name__ == "__main__":
    print_report(__doc__, report, "the shipped world, indexed with its preset")
