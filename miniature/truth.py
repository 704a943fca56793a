"""truth.json: what each adapter does, and which adapters a query should find.

All grades come from the drawing code and the catalogue; the rules stand in docs/truth.md.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miniature.catalogue import ENTRIES, Entry, authors
from miniature.effects import FAMILIES, FAMILY, UNSEEN
from miniature.vocabulary import FAMILY_WORDS, MOODS, WORDS

DEV = ("line", "weather", "light", "warp", "turned", "beside")
"""Families whose effects tuning may look at; those of all other families are for the test."""

FULL, PART = 2, 1
_PARTIAL = ("subtle", "bound", "mixture", "undertrained")


@dataclass(frozen=True)
class Query:
    """A query: its words, its kind, and the effects it is about.

    `both` asks for all of its effects at once; otherwise any of them answers it in full.
    """

    text: str
    kind: str
    effects: tuple[str, ...]
    both: bool = False


def does(entry: Entry, effect: str) -> int:
    """How far an adapter shows an effect: `FULL`, or `PART` where it is weak, bound to content or one of several."""
    if effect not in entry.effects:
        return 0
    return PART if entry.kind in _PARTIAL else FULL


def grade(entry: Entry, query: Query) -> int:
    """How well an adapter answers a query, 0 to 2."""
    shown = [does(entry, effect) for effect in query.effects]
    if query.both:
        return FULL if all(shown) else min(PART, max(shown))
    if max(shown):
        return max(shown)
    close = {FAMILY[effect] for effect in query.effects} if len(query.effects) == 1 else set()
    whole = entry.kind not in _PARTIAL
    return PART if whole and any(FAMILY[effect] in close for effect in entry.effects) else 0


def queries() -> list[Query]:
    """All queries, in a fixed order."""
    table = tomllib.loads(Path(__file__).with_name("queries.toml").read_text("utf-8"))
    found = list(_of_effects(table))
    families = {f: [e for e in FAMILIES[f] if e in _present()] for f in FAMILY_WORDS}
    found += [Query(t, "family", tuple(families[f])) for f, texts in FAMILY_WORDS.items() for t in texts if families[f]]
    moods = {mood: tuple(e for e in members if e in _present()) for mood, members in MOODS.items()}
    found += [Query(mood, "mood", members) for mood, members in moods.items() if members]
    found += [Query(c["text"], "combination", tuple(c["effects"]), both=True) for c in table["combination"]]
    return found


def _of_effects(table: dict[str, Any]) -> Iterator[Query]:
    for effect in WORDS:
        if effect not in _present():
            continue
        # the words of an effect that no encoder has seen stand in no caption: they come among the unseen
        for turn, text in enumerate(() if effect in UNSEEN else WORDS[effect]):
            yield Query(text, "paraphrase" if turn else "word", (effect,))
        for text in table["descriptions"][effect]:
            yield Query(text, "description", (effect,))
        for text in table["unseen"].get(effect, ()):
            yield Query(text, "unseen", (effect,))


def _present() -> set[str]:
    return {effect for entry in ENTRIES for effect in entry.effects}


def split(effects: Iterable[str]) -> str:
    """Return "dev" or "test" where all effects lie in one half, else "both": such queries serve neither."""
    halves = {"dev" if FAMILY[effect] in DEV else "test" for effect in effects}
    return halves.pop() if len(halves) == 1 else "both"


def unanswered() -> list[str]:
    """Words and paraphrases of effects that no adapter has."""
    return [text for effect, texts in WORDS.items() if effect not in _present() for text in texts]


def build(kept: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The whole table; `kept` is what `check.kept` found for each adapter."""
    return {
        "adapters": {entry.stem: _adapter(entry) | dict(kept[entry.stem]) for entry in ENTRIES},
        "queries": [_query(query) for query in queries()],
        "unanswered": unanswered(),
    }


def _adapter(entry: Entry) -> dict[str, Any]:
    twins = [other.stem for other in ENTRIES if other.twin == entry.stem]
    return {
        "file": f"{entry.stem}.safetensors",
        "effects": list(entry.effects),
        "kind": entry.kind,
        "degree": entry.degree,
        "where": entry.where,
        "only": list(entry.only),
        "twin": entry.twin or next(iter(twins), None),
        "trigger": entry.trigger or None,
        "description": authors()[entry.stem]["sort"],
    }


def _query(query: Query) -> dict[str, Any]:
    grades = {entry.stem: grade(entry, query) for entry in ENTRIES}
    return {
        "text": query.text,
        "kind": query.kind,
        "group": " ".join(query.effects),
        "split": split(query.effects),
        "relevant": {stem: value for stem, value in grades.items() if value},
    }


def write(path: Path, kept: Mapping[str, Mapping[str, float]]) -> None:
    """Write the table as JSON."""
    path.write_text(json.dumps(build(kept), indent=1) + "\n", encoding="utf-8")
