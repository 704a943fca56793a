"""What is asked: words with signs and weights, in one canonical spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from lorascope.errors import HALF, QueryError

_SIGN = re.compile(r"(?:^|\s)([+-])(?=\S)")
_WEIGHT = re.compile(r":(\d+(?:\.\d+)?)\s*$")
_NO_WEIGHT = re.compile(r":([^\s:]+)\s*$")
_LONGEST = 2000
LIGHTEST, HEAVIEST = 1e-6, 1e6
"""What a part of a query may weigh: beyond that, sums of parts lose digits, and then all of them."""


@dataclass(frozen=True)
class Term:
    """One phrase and its weight; a negative weight asks for the opposite."""

    text: str
    weight: float = 1.0

    def __str__(self) -> str:
        size = abs(self.weight)
        plain = size == 1 and not _NO_WEIGHT.search(self.text)  # "16:9" of weight 1 is "16:9:1"
        return f"{'-' if self.weight < 0 else '+'}{self.text}" + ("" if plain else f":{spelt(size)}")


def spelt(size: float) -> str:
    """All digits and no exponent, so that the same number is read back."""
    return format(Decimal(repr(size)), "f").removesuffix(".0")


@dataclass(frozen=True)
class Query:
    """A sum of weighted phrases. ``str`` gives the canonical spelling, which :meth:`parse` reads back.

    Examples:
        >>> str(Query.parse("watercolor   -people:0.50"))
        'watercolor -people:0.5'
    """

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        spelling = " ".join(map(str, self.terms))
        return spelling if spelling[1:2] in ("+", "-") else spelling.removeprefix("+")

    @classmethod
    def parse(cls, text: str) -> Query:
        """Read a query as people type it.

        ``pencil drawing`` is one phrase. A ``-`` or ``+`` after a space begins another, to be subtracted or added:
        ``watercolor -people``. A phrase may end in a weight: ``watercolor -people:0.5 +snow:2``.

        Raises:
            QueryError: nothing is asked, a weight is no number from 1e-6 to 1e6, a phrase is empty or begins with a
                sign without a word, or the query is longer than 2000 characters or holds bytes that are no UTF-8.
        """
        if len(text) > _LONGEST:
            raise QueryError(f"the query has {len(text)} characters: use at most {_LONGEST}")
        if half := HALF.search(text):
            raise QueryError(f"the query holds {half[0]!r}, a byte or half a character that is no text: use UTF-8")
        text = "".join(" " if ord(c) < 32 or c == "\x7f" else c for c in text).strip()
        if not text:
            raise QueryError("the query is empty: describe an effect, a style or a subject, such as 'pencil drawing'")
        parts = _SIGN.split(text)
        pairs = ([("", parts[0])] if parts[0].strip() else []) + list(zip(parts[1::2], parts[2::2], strict=True))
        return cls(tuple(_term(sign, phrase, text) for sign, phrase in pairs))


def _term(sign: str, phrase: str, query: str) -> Term:
    weight = 1.0
    if number := _WEIGHT.search(phrase):
        weight = float(number[1])
        phrase = phrase[: number.start()]
    elif sign and (other := _NO_WEIGHT.search(phrase)):  # a title such as "re:zero" may begin a query
        spelling = f"{sign}{' '.join(phrase.split())}"
        raise QueryError(
            f"{other[1]!r} in {spelling!r} is no weight: give a number, as in '-people:0.5'; if the colon belongs to"
            f" the words, add a weight, as in '{spelling}:1'"
        )
    phrase = " ".join(phrase.split())
    if not phrase or weight == 0:
        raise QueryError(f"{query!r} has a phrase without words or of weight 0: write it like 'watercolor -people:0.5'")
    first, *others = phrase.split()
    if others and not first.strip("+-"):  # taken as a word, "- people" would add what it seems to subtract
        raise QueryError(f"{query!r} has a sign without a word: write it without a space, like '-people'")
    if not LIGHTEST <= weight <= HEAVIEST:
        raise QueryError(f"{phrase!r} has the weight {weight:g}: give one from a millionth to a million")
    return Term(phrase, -weight if sign == "-" else weight)
