"""The caption grammar: plain scenes, style words and their paraphrases, and where in a caption they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from miniature import truth
from miniature.effects import FAMILIES, FAMILY, NAMES
from miniature.scenes import Scene, Thing, sample
from miniature.vocabulary import FAMILY_WORDS, LOOKS, MOODS, WHERE, WORDS

_SINGLE = (
    "a {thing} {where}",
    "{thing}, {place}",
    "a picture of a {thing} {where}",
    "{place} with a {thing}",
    "a {thing} {where}",
    "a {thing}",
    "a {kind} {where}",
)
_PAIR = (
    "a {thing} {relation} a {other} {where}",
    "{thing} {relation} a {other}, {place}",
    "a picture of a {thing} {relation} a {other} {where}",
    "{place} with a {thing} {relation} a {other}",
    "a {thing} {relation} a {other} {where}",
    "a {thing} {relation} a {other}",
    "a {kind} {relation} a {second} {where}",
)
_OPENINGS = ("", "", "", "a picture with ", "everything ", "like ", "with ")
_GAPS = (" and ", " with ", " on ", " in ", ", ", " ")
FULL = 4
"""The first templates name everything."""

_NO_PLACE, _NO_COLOUR = 5, 6


def _grammar(text: str) -> str:
    words = text.split()
    for i, word in enumerate(words[:-1]):
        if word == "a" and words[i + 1][0] in "aeiou":
            words[i] = "an"
    return " ".join(words)


def _named(thing: Thing) -> str:
    return f"{thing.colour} {thing.kind}"


def describe(scene: Scene, template: int = 0) -> str:
    """One caption of a scene."""
    second = scene.second
    text = (_PAIR if second else _SINGLE)[template].format(
        thing=_named(scene.first),
        kind=scene.first.kind,
        place=scene.place,
        where=WHERE[scene.place],
        relation=scene.relation,
        other=_named(second) if second else "",
        second=second.kind if second else "",
    )
    return _grammar(text)


@dataclass(frozen=True)
class Caption:
    """A text, and what it says of the picture.

    Attributes:
        text: The caption.
        kind, colour, place: Whether it names them.
        effects: For each style phrase the effects that it fits: one for its own words, several for a family or mood.
    """

    text: str
    kind: bool = True
    colour: bool = True
    place: bool = True
    effects: tuple[tuple[str, ...], ...] = ()


def plain(scene: Scene, rng: np.random.Generator, full: bool = False) -> Caption:
    """A caption of a scene by a template drawn at random; `full` names colour, kind and place."""
    template = int(rng.integers(FULL if full else len(_SINGLE)))
    return Caption(describe(scene, template), colour=template != _NO_COLOUR, place=template != _NO_PLACE)


def phrase(name: str, rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    """Words for an effect, and all effects they fit: its own words, its looks, at times its family's or a mood's."""
    turn = rng.random()
    if 0.1 < turn < 0.5:
        return looks(name, rng)
    moods = [mood for mood, members in MOODS.items() if name in members]
    if turn < 0.1 and moods:
        mood = str(rng.choice(moods))
        return mood, MOODS[mood]
    if turn > 0.93 and FAMILY[name] in FAMILY_WORDS:
        return str(rng.choice(FAMILY_WORDS[FAMILY[name]])), FAMILIES[FAMILY[name]]
    return str(rng.choice(WORDS[name])), (name,)


def looks(name: str, rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    """Some of what one sees where an effect is, and all effects of which all that is said is true.

    It is never what a query says: an encoder has to understand that, not to remember it.
    """
    while True:
        chosen = [str(look) for look in rng.choice(LOOKS[name], rng.choice(3, p=(0.2, 0.5, 0.3)) + 1, replace=False)]
        text = chosen[0] + "".join(str(rng.choice(_GAPS)) + look for look in chosen[1:])
        text = str(rng.choice(_OPENINGS)) + text
        if text not in _asked():
            return text, tuple(effect for effect, every in LOOKS.items() if {*chosen} <= {*every})


@cache
def _asked() -> frozenset[str]:
    return frozenset(query.text for query in truth.queries())


def styled(scene: Scene, effects: Sequence[str], rng: np.random.Generator) -> Caption:
    """A caption with style words: mostly at the end, sometimes before the scene, sometimes alone."""
    said = plain(scene, rng)
    if not effects:
        return said
    phrases = [phrase(name, rng) for name in effects]
    words, fits = ", ".join(text for text, _ in phrases), tuple(fit for _, fit in phrases)
    gap, where = ", " if rng.random() < 0.5 else " ", rng.random()
    if where >= 0.84:
        return Caption(words, False, False, False, fits)
    text = said.text + gap + words if where < 0.68 else words + gap + said.text
    return replace(said, text=text, effects=fits)


def corpus(rng: np.random.Generator, lines: int = 20000) -> list[str]:
    """Captions to train a tokenizer on, every phrase among them."""
    drawn = [styled(sample(rng), [str(rng.choice(NAMES))], rng).text for _ in range(lines)]
    phrases = [phrase for table in (WORDS, FAMILY_WORDS, LOOKS) for phrases in table.values() for phrase in phrases]
    return drawn + [phrase for phrase in (*phrases, *MOODS) for _ in range(40)]
