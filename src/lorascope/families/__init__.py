"""The architectures of image and video models, one row each: all that has to be known to tell one from another.

A file of adapters is recognised by the names of the modules that it changes, together with the shapes of their weights;
what a trainer, a site or a folder says is checked against that. A new architecture is a row of `table`.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from lorascope.families.marks import Mark
from lorascope.families.table import ARCHITECTURES, Architecture, Lineage

__all__ = ["ARCHITECTURES", "Architecture", "Lineage", "Mark", "architecture", "lineage_in", "named", "title_of"]


def architecture(name: str) -> Architecture | None:
    """Return a row by its name.

    Examples:
        >>> architecture("sdxl").title
        'SDXL'
    """
    return _BY_NAME.get(name)


def title_of(name: str) -> str:
    """Return how people write an architecture's name; a name that is not in the table is returned as it is."""
    row = _BY_NAME.get(name)
    return row.title if row else name


@lru_cache(maxsize=4096)
def named(text: str) -> tuple[Architecture, Lineage | None] | None:
    """Return the architecture, and the lineage if one is named, that a text of a header, a site or a person means.

    The longest spelling with which the text begins counts, unless it is only the beginning of a word, as "pony" is of
    "ponytail". Names of lineages count anywhere in the text.

    Examples:
        >>> [row.name for row in named("Illustrious")]
        ['sdxl', 'illustrious']
        >>> named("Unknown") is None
        True
    """
    places = [place for place, letter in enumerate(text) if letter.isascii() and letter.isalnum()]
    plain = "".join(text[place] for place in places).lower()
    for spelling, row, lineage in _SPELLINGS:
        if plain.startswith(spelling) and not _goes_on(text, plain, places, len(spelling)):
            return row, lineage or _mentioned(plain, row)
    for row in ARCHITECTURES:
        if lineage := _mentioned(plain, row):
            return row, lineage
    return None


def lineage_in(text: str, family: str = "") -> str:
    """Return the lineage that the name of a model means, from any of its words on; empty if it means none.

    Args:
        text: Such as the name of a checkpoint's file.
        family: Only lineages of this architecture count; of any, if it is empty.

    Examples:
        >>> lineage_in("cyberrealisticPony_v8.safetensors")
        'pony'
    """
    for start in (0, *(word.start() for word in _WORD.finditer(text))):
        found = named(text[start:])
        if found and found[1] and family in ("", found[0].name):
            return found[1].name
    return ""


_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LONG_ENOUGH: Final = 5
"""Letters of a spelling that is recognised in the middle of a name, such as "waiNSFWIllustrious_v140"."""
_UNMISTAKABLE: Final = 8
"""Letters of a spelling that no other word begins with."""


def _goes_on(text: str, plain: str, places: list[int], length: int) -> bool:
    """Tell whether the word in which the first letters of a text end goes on after them."""
    if length == len(places) or length >= _UNMISTAKABLE or plain.startswith("xl", length):
        return False
    last, following = places[length - 1], places[length]
    return following == last + 1 and text[last].isalpha() and text[following].islower()


def _mentioned(plain: str, row: Architecture) -> Lineage | None:
    for lineage in row.lineages:
        if any(len(spelling) >= _LONG_ENOUGH and spelling in plain for spelling in lineage.spellings):
            return lineage
    return None


_BY_NAME: Final = {row.name: row for row in ARCHITECTURES}


def _all_spellings() -> Iterator[tuple[str, Architecture, Lineage | None]]:
    for row in ARCHITECTURES:
        yield from ((spelling, row, None) for spelling in row.spellings)
        for lineage in row.lineages:
            yield from ((spelling, row, lineage) for spelling in lineage.spellings)


_SPELLINGS: Final = sorted(_all_spellings(), key=lambda entry: (-len(entry[0]), entry[2] is None))
