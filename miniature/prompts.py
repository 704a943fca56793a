"""The miniature's prompt sets: 280 prompts to index with, 280 others for queries, 10 for judges, reference phrases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from miniature.backgrounds import BACKGROUNDS
from miniature.captions import describe
from miniature.effects import FAMILIES
from miniature.objects import CATEGORIES, KINDS
from miniature.scenes import COLOURS, RELATIONS, Scene, Thing
from miniature.vocabulary import WHERE, WORDS

PER_CATEGORY = 28


PAIRED = 7
"""Every so manieth prompt has a second object."""

Prompts = dict[str, dict[str, list[str]]]


def sets(seed: int = 7) -> tuple[Prompts, Prompts, list[Scene]]:
    """Two disjoint sets, category to kind to prompts, and 60 more scenes, in neither, for the judge."""
    rng = np.random.default_rng(seed)
    first: Prompts = {}
    second: Prompts = {}
    spare: list[Scene] = []
    pairs = [(colour, place) for colour in COLOURS for place in BACKGROUNDS]
    for category, kinds in CATEGORIES.items():
        first[category], second[category] = {}, {}
        for turn, kind in enumerate(kinds):
            count = PER_CATEGORY // 3 + (turn < PER_CATEGORY % 3)
            chosen = rng.choice(len(pairs), 2 * count + 2, replace=False)
            scenes = [Scene(Thing(kind, pairs[i][0]), pairs[i][1]) for i in chosen]
            lines = [describe(_joined(s, i, rng), int(rng.choice((0, 2, 3)))) for i, s in enumerate(scenes[:-2])]
            first[category][kind], second[category][kind] = lines[:count], lines[count:]
            spare += scenes[-2:]
    return first, second, spare


def _joined(scene: Scene, turn: int, rng: np.random.Generator) -> Scene:
    """The scene, every now and then with a second object of another kind."""
    if turn % PAIRED != PAIRED - 1:
        return scene
    other = str(rng.choice([kind for kind in KINDS if kind != scene.first.kind]))
    relation = str(rng.choice(RELATIONS))
    return replace(scene, second=Thing(other, str(rng.choice(list(COLOURS)))), relation=relation)


def reference(seed: int = 8) -> dict[str, dict[str, list[str]]]:
    """Short phrases of scenes, which no adapter is about: they tell how unrelated words score."""
    rng = np.random.default_rng(seed)
    kinds = [kind for trio in CATEGORIES.values() for kind in trio]
    colours, places = list(COLOURS), list(WHERE.values())
    first, *others = (rng.permutation(len(kinds)) for _ in range(4))  # the first turn gives the first phrases of each

    def coloured(turns: Iterable[int]) -> list[str]:
        return [f"{colours[turn % len(colours)]} {kind}" for turn, kind in zip(turns, kinds, strict=True)]

    def placed(things: list[str], turns: Iterable[int]) -> list[str]:
        return [f"{thing} {places[turn % len(places)]}" for turn, thing in zip(turns, things, strict=True)]

    groups = {
        "objects": kinds,
        "colours": colours,
        "places": places,
        "coloured objects": [*coloured(first), *coloured(others[0])],
        "objects in places": [*placed(kinds, first), *placed(kinds, others[0])],
        "coloured objects in places": [
            *placed(coloured(others[1]), others[2]), *placed(coloured(others[2]), others[1])
        ],
    }  # fmt: skip
    return {"phrases": {name: list(dict.fromkeys(texts)) for name, texts in groups.items()}}


def judged() -> Prompts:
    """Of the scenes in neither set, one of each category: judges are shown pictures of these."""
    category = {kind: name for name, kinds in CATEGORIES.items() for kind in kinds}
    first = {category[scene.first.kind]: scene for scene in reversed(sets()[2])}
    return {name: {first[name].first.kind: [describe(first[name])]} for name in CATEGORIES}


def vocabulary() -> Prompts:
    """The words for effects, by family: what adapters are described in."""
    return {family: {name: list(WORDS[name]) for name in names if name in WORDS} for family, names in FAMILIES.items()}


def write(folder: Path) -> None:
    """Write the five files."""
    index, query, _ = sets()
    _write(folder / "miniature-index.toml", "miniature-index", index)
    _write(folder / "miniature-query.toml", "miniature-query", query)
    _write(folder / "miniature-judged.toml", "miniature-judged", judged())
    _write(folder / "miniature-reference.toml", "miniature-reference", reference())
    _write(folder / "miniature-vocabulary.toml", "miniature-vocabulary", vocabulary())


def _write(path: Path, name: str, categories: dict[str, dict[str, list[str]]]) -> None:
    lines = ["# Written by `python -m miniature prompts`.", "", f'name = "{name}"']
    for category, groups in categories.items():
        lines += ["", f'["{category}"]']
        for group, texts in groups.items():
            lines += [f'"{group}" = [', *(f'  "{text}",' for text in texts), "]"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
