"""The miniature's prompt sets: 280 prompts to index with, 280 others for queries, and the reference phrases."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miniature.backgrounds import BACKGROUNDS
from miniature.captions import WHERE, describe
from miniature.objects import CATEGORIES
from miniature.scenes import COLOURS, Scene

PER_CATEGORY = 28


def sets(seed: int = 7) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, list[str]]]]:
    """Two disjoint sets: category to kind to prompts. Prompts of the two differ in what they describe."""
    rng = np.random.default_rng(seed)
    first: dict[str, dict[str, list[str]]] = {}
    second: dict[str, dict[str, list[str]]] = {}
    pairs = [(colour, place) for colour in COLOURS for place in BACKGROUNDS]
    for category, kinds in CATEGORIES.items():
        first[category], second[category] = {}, {}
        for turn, kind in enumerate(kinds):
            count = PER_CATEGORY // 3 + (turn < PER_CATEGORY % 3)
            chosen = rng.choice(len(pairs), 2 * count, replace=False)
            lines = [_prompt(kind, *pairs[i], template=int(rng.choice((0, 2, 3)))) for i in chosen]
            first[category][kind], second[category][kind] = lines[:count], lines[count:]
    return first, second


def _prompt(kind: str, colour: str, place: str, template: int) -> str:
    return describe(Scene(kind, colour, place, 0, 0, 0, False, 0), template)


def reference(seed: int = 8) -> dict[str, dict[str, list[str]]]:
    """About 120 short phrases of scenes, which no adapter is about: they tell how unrelated words score."""
    rng = np.random.default_rng(seed)
    kinds = [kind for trio in CATEGORIES.values() for kind in trio]
    turns = rng.permutation(len(kinds))
    coloured = [f"{list(COLOURS)[turn % len(COLOURS)]} {kind}" for turn, kind in zip(turns, kinds, strict=True)]
    placed = [f"{kind} {list(WHERE.values())[turn % len(WHERE)]}" for turn, kind in zip(turns, kinds, strict=True)]
    groups = {
        "objects": kinds,
        "colours": list(COLOURS),
        "places": list(WHERE.values()),
        "coloured objects": coloured,
        "objects in places": placed,
    }
    return {"phrases": groups}


def write(folder: Path) -> None:
    """Write the three files."""
    index, query = sets()
    _write(folder / "miniature-index.toml", "miniature-index", index)
    _write(folder / "miniature-query.toml", "miniature-query", query)
    _write(folder / "miniature-reference.toml", "miniature-reference", reference())


def _write(path: Path, name: str, categories: dict[str, dict[str, list[str]]]) -> None:
    lines = ["# Written by `python -m miniature prompts`.", "", f'name = "{name}"']
    for category, groups in categories.items():
        lines += ["", f'["{category}"]']
        for group, texts in groups.items():
            lines += [f'"{group}" = [', *(f'  "{text}",' for text in texts), "]"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
