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

__all__ = ["ARCHITECTURES", "Architecture", "Lineage", "Mark", "architecture", "named", "title_of"]


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

    The longest spelling with which the text begins counts; names of lineages count anywhere in it.

    Examples:
        >>> [row.name for row in named("Illustrious")]
        ['sdxl', 'illustrious']
        >>> named("Unknown") is None
        True
    """
    plain = re.sub(r"[^0-9a-z]", "", text.lower())
    for spelling, row, lineage in _SPELLINGS:
        if plain.startswith(spelling):
            return row, lineage or _mentioned(plain, row)
    for row in ARCHITECTURES:
        if lineage := _mentioned(plain, row):
            return row, lineage
    return None


_LONG_ENOUGH: Final = 5
"""Letters of a spelling that is recognised in the middle of a name, such as "waiNSFWIllustrious_v140"."""


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
