"""truth.json: what each adapter does, and which adapters a query should find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from miniature.captions import WORDS
from miniature.catalogue import ENTRIES, Entry
from miniature.effects import near

CATS = ("a cat", "kitten", "cats everywhere")


def grade(entry: Entry, effect: str) -> int:
    """2 for the effect itself, 1 for a near one, a mixture that holds it or an under-trained file, else 0."""
    if effect in entry.effects:
        return 1 if entry.kind in ("mixture", "undertrained") else 2
    close = len(entry.effects) == 1 and entry.effects[0] in near(effect) and entry.kind != "undertrained"
    return 1 if close else 0


def queries() -> list[dict[str, Any]]:
    """Plain words and paraphrases of every effect that some adapter has."""
    present = {effect for entry in ENTRIES for effect in entry.effects}
    phrases = {**WORDS, "cats": CATS}
    found = []
    for effect, texts in phrases.items():
        if effect not in present:
            continue
        relevant = {entry.stem: grade(entry, effect) for entry in ENTRIES if grade(entry, effect)}
        for turn, text in enumerate(texts):
            found.append({"text": text, "kind": "paraphrase" if turn else "word", "relevant": relevant})
    return found


def unanswered() -> list[str]:
    """Words and paraphrases of effects that no adapter has."""
    present = {effect for entry in ENTRIES for effect in entry.effects}
    return [text for effect, texts in WORDS.items() if effect not in present for text in texts]


def build() -> dict[str, Any]:
    """The whole table."""
    adapters = {
        entry.stem: {
            "file": f"{entry.stem}.safetensors",
            "effects": list(entry.effects),
            "kind": entry.kind,
            "twin": entry.twin or next((other.stem for other in ENTRIES if other.twin == entry.stem), None),
            "trigger": entry.trigger or None,
        }
        for entry in ENTRIES
    }
    return {"adapters": adapters, "queries": queries(), "unanswered": unanswered()}


def write(path: Path) -> None:
    """Write the table as JSON."""
    path.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")
