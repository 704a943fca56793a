"""How often `lorascope duplicates` and `lorascope health` are right, on the shipped world.

    python -m benchmarks.duplicates LIBRARY

Two adapters are the same if they were trained on the same effects, in the same way and to the same degree
(``truth.json``). A second table asks what the rule of the same behaviour does at its limits: effects of an adapter are
mixed with those of another one until the cosine of their Directions over all cells is a given number; then samples of
cells are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe as machine
from benchmarks.markdown import print_report
from lorascope import Library
from lorascope.analysis import compare, duplicates, health
from lorascope.library.recomputation import grid_of
from lorascope.miniature import truth as world

CELLS = (32, 48, 64, 96)
COSINES = (0.90, 0.95, 0.98, 0.99)
_POPULATION = 160
"""Cells from which an adapter's evidence stands for all its cells, to be sampled from."""
_OTHERS, _SAMPLES = 4, 15


def report(path: Path) -> str:
    """Tables in Markdown."""
    truth = world()["adapters"]
    with Library(path) as library:
        effects = dict(_effects(library))
        copies = duplicates(library)
        findings = health(library)
    lines = [f"{len(effects)} adapters; {machine()}.", ""]
    found = {frozenset((group.name, copy.name)) for group in copies.groups for copy in group.copies}
    trained = [name for name in effects if truth[name]["effects"]]
    same = {frozenset(pair) for pair in combinations(trained, 2) if _recipe(truth[pair[0]]) == _recipe(truth[pair[1]])}
    pairs = len(effects) * (len(effects) - 1) // 2
    lines += ["| pairs | found | of |", "|---|---|---|"]
    lines += [f"| of the same recipe | {len(found & same)} | {len(same)} |"]
    lines += [f"| of others | {len(found - same)} | {pairs - len(same)} |", ""]
    changes = [copy.pair.change for group in copies.groups for copy in group.copies if copy.pair]
    known = ", ".join(f"{change:.2f}" for change in changes if change is not None) or "none"
    lines += [f"Cosines of the changes of those that were found, where known: {known}.", ""]
    lines += ["| cells of each | same recipe: found | undecided | others: found | undecided |", "|---|---|---|---|---|"]
    lines += [_row(effects, same, cells) for cells in CELLS]
    lines += ["", "| cosine | " + " | ".join(f"{cells} cells" for cells in CELLS[:3]) + " |", "|---|---|---|---|"]
    lines += [
        f"| {cosine:.2f} | " + " | ".join(_limit(effects, cosine, cells) for cells in CELLS[:3]) + " |"
        for cosine in COSINES
    ]
    return "\n".join([*lines, "", *_health(truth, {(one.name, one.flag) for one in findings})])


def _effects(library: Library) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """The prompt of each cell and its effect, by name of the adapter."""
    stored = library.protocols.find("")
    grid = grid_of(stored)
    assert grid is not None
    for key, adapter in library.adapters.all().items():
        if blocks := library.evidence.blocks(key, stored.protocol.digest):
            prompts = [cell.prompt for block in blocks for cell in grid.block(block.index)]
            yield adapter.name, (np.array(prompts), np.concatenate([block.effects for block in blocks]))


def _recipe(adapter: dict[str, Any]) -> Any:
    return [adapter[name] for name in ("effects", "kind", "degree", "where", "only", "trigger")]


def _row(effects: dict[str, tuple[np.ndarray, np.ndarray]], same: set[frozenset[str]], cells: int) -> str:
    """What is said about all pairs whose adapters both have so many cells, from the first of these."""
    said: dict[bool, list[tuple[bool, bool]]] = {True: [], False: []}
    for one, two in combinations([name for name, (prompts, _) in effects.items() if len(prompts) >= cells], 2):
        found = compare(effects[one][0][:cells], effects[one][1][:cells], effects[two][1][:cells])
        verdict = (False, False) if found is None else (found.same, not found.same and not found.different)
        said[frozenset((one, two)) in same].append(verdict)
    columns = [
        f"{sum(v[place] for v in said[kind])} of {len(said[kind])}" for kind in (True, False) for place in (0, 1)
    ]
    return f"| {cells} | " + " | ".join(columns) + " |"


def _limit(effects: dict[str, tuple[np.ndarray, np.ndarray]], cosine: float, cells: int) -> str:
    """The share of samples in which adapters of a known cosine are said to do the same."""
    draw = np.random.default_rng(0)
    large = [name for name, (prompts, _) in effects.items() if len(prompts) >= _POPULATION]
    said: list[bool] = []
    for name in large:
        for other in draw.choice([one for one in large if one != name], _OTHERS, replace=False):
            shared = min(len(effects[name][0]), len(effects[other][0]))
            prompts, one, two = effects[name][0][:shared], effects[name][1][:shared], effects[other][1][:shared]
            mixed = one + _share(prompts, one, two, cosine) * (two - one)
            for _ in range(_SAMPLES):
                rows = draw.choice(shared, cells, replace=False)
                found = compare(prompts[rows], one[rows], mixed[rows])
                said.append(found is not None and found.agreement.lower >= 0.95)
    return f"{np.mean(said):.3f} of {len(said)}"


def _share(prompts: np.ndarray, one: np.ndarray, two: np.ndarray, cosine: float) -> float:
    """How much of another's effects makes the cosine what it is asked to be, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        found = compare(prompts, one, one + middle * (two - one))
        low, high = (middle, high) if found is not None and found.agreement.value > cosine else (low, middle)
    return (low + high) / 2


def _health(truth: dict[str, Any], found: set[tuple[str, str]]) -> list[str]:
    """How often each flag whose truth is known is right, missed and wrong."""
    known = {
        "content-bound": {name for name, one in truth.items() if one.get("only")},
        "overpowering": {name for name, one in truth.items() if one["kind"] == "overpowering"},
        "no-effect": {name for name, one in truth.items() if not one["effects"]},
    }
    lines = ["| flag | right | missed | wrong |", "|---|---|---|---|"]
    for flag, true in known.items():
        said = {name for name, of in found if of == flag}
        lines.append(f"| `{flag}` | {len(said & true)} | {len(true - said)} | {len(said - true)} |")
    others = sorted({flag for _, flag in found} - known.keys())
    return [*lines, "", "Other flags: " + (", ".join(others) or "none") + "."]


if __name__ == "__main__":
    print_report(__doc__, report, "the shipped world, indexed with its preset")
