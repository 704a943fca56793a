"""What a search asks for, and what it finds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lorascope.library import StoredProtocol
from lorascope.protocol import Thresholds
from lorascope.search import Answer, Filters, Query, Searcher
from lorascope.search.query import HEAVIEST, LIGHTEST, spelt
from lorascope.search.searcher import added, unit
from lorascope.server.problems import Problem

_MOST_PHRASES = 16
_WEIGHED = re.compile(r"(.+:.+):(\d+(?:\.\d+)?)")
_STEPS = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Example:
    """An adapter to be like or unlike, and how much it counts; a phrase without a weight counts 1."""

    key: str
    weight: float = 1.0

    @classmethod
    def read(cls, text: str) -> Example:
        """``KEY`` or ``KEY:0.5``; a key has one colon of its own."""
        found = _WEIGHED.fullmatch(text)
        return cls(found[1], float(found[2])) if found else cls(text)

    def __str__(self) -> str:
        """As :meth:`read` takes it."""
        return self.key if self.weight == 1 else f"{self.key}:{spelt(self.weight)}"

    @property
    def lighter(self) -> Example | None:
        """The same with the next smaller weight of those that a page offers."""
        return next((Example(self.key, step) for step in reversed(_STEPS) if step < self.weight), None)

    @property
    def heavier(self) -> Example | None:
        """The same with the next larger one."""
        return next((Example(self.key, step) for step in _STEPS if step > self.weight), None)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A search: words, adapters to be like or unlike, a picture, filters, and which part of the answer is wanted.

    ``more`` and ``less`` spell an :class:`Example` each.
    Without words, adapters and picture it asks for everything, the strongest first. Thresholds that are None are the
    Protocol's.
    """

    text: str = ""
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    image: str = ""
    protocol: str = ""
    family: str = ""
    folder: str = ""
    max_strength: float | None = None
    min_consistency: float | None = None
    everything: bool = False
    hidden: bool = False
    hidden_offset: int = 0
    offset: int = 0
    limit: int = 48

    @property
    def browsing(self) -> bool:
        """Whether nothing in particular is asked for."""
        return not (self.text or self.more or self.less or self.image)


@dataclass(frozen=True)
class Found:
    """An answer with what it was asked, and under which Protocol and thresholds.

    It is kept and given again until the library changes; ``kept`` holds what was made of it to be sent, by its kind.
    """

    ask: Ask
    answer: Answer
    stored: StoredProtocol
    thresholds: Thresholds
    kept: dict[str, bytes] = field(default_factory=dict[str, bytes], repr=False, compare=False)

    @property
    def vector(self) -> np.ndarray | None:
        """What Directions were compared with (d,); None where nothing was asked."""
        return self.answer.vector

    @property
    def hits(self) -> int:
        """How many hits it holds."""
        return len(self.answer.hits) + len(self.answer.hidden)

    @property
    def total(self) -> int:
        """How many adapters the whole answer has, over all pages."""
        return self.answer.considered - self.answer.too_strong - self.answer.too_unstable


def answered(ask: Ask, searcher: Searcher, picture: np.ndarray | None) -> Found:
    """Ask a searcher; ``picture`` is the embedding of the ask's image, if it names one.

    Raises:
        Problem: an adapter or a picture that it names is not there.
        LorascopeError: the query cannot be read, or its encoder is not on this disk.
    """
    thresholds = _thresholds(ask, searcher.thresholds)
    filters = Filters(thresholds, ask.family, ask.folder)
    return Found(ask, _answer(ask, searcher, filters, picture), searcher.stored, thresholds)


def _answer(ask: Ask, searcher: Searcher, filters: Filters, picture: np.ndarray | None) -> Answer:
    _check_length(ask.text)
    top, skip, skip_hidden = ask.limit, ask.offset, ask.hidden_offset
    if ask.browsing:
        return searcher.strongest(top=top, skip=skip, skip_hidden=skip_hidden, filters=filters)
    if not (ask.more or ask.less or ask.image):
        return searcher.text(ask.text, top=top, skip=skip, skip_hidden=skip_hidden, filters=filters)
    rows = _rows(ask, searcher)
    return searcher.rank(
        _name(ask, searcher, rows), _vector(ask, searcher, rows, picture), None,
        top=top, skip=skip, skip_hidden=skip_hidden, filters=filters, leave_out=[row for row, _ in rows],
    )  # fmt: skip


def _check_length(text: str) -> None:
    """Each phrase costs time to encode, and others are waiting."""
    phrases = len(Query.parse(text).terms) if text else 0
    if phrases > _MOST_PHRASES:
        raise Problem(422, "bad-value", f"the query has {phrases} phrases", f"use at most {_MOST_PHRASES}", "q")


def _thresholds(ask: Ask, preset: Thresholds) -> Thresholds:
    return (Thresholds() if ask.everything else preset).but(ask.max_strength, ask.min_consistency)


def _rows(ask: Ask, searcher: Searcher) -> list[tuple[int, float]]:
    """The rows of all examples, each with its weight; a negative one asks for the opposite."""
    lists = (("more", 1, ask.more), ("less", -1, ask.less))
    examples = [(field, sign, Example.read(text)) for field, sign, texts in lists for text in texts]
    return [(_row(searcher, example, field), sign * example.weight) for field, sign, example in examples]


def _row(searcher: Searcher, example: Example, field: str) -> int:
    if not LIGHTEST <= example.weight <= HEAVIEST:
        problem = f"{example.key[:80]!r} has the weight {example.weight:g}"
        raise Problem(422, "bad-value", problem, "give one from a millionth to a million", field)
    row = searcher.matrix.places.get(example.key)
    if row is None:
        name = f"{example.key[:80]!r} has no signature under {searcher.stored.protocol}"
        raise Problem(404, "unknown-adapter", name, "take a key from /api/v1/adapters, or index it first", field)
    return row


def _vector(ask: Ask, searcher: Searcher, rows: Sequence[tuple[int, float]], picture: np.ndarray | None) -> np.ndarray:
    """Phrases, adapters and a picture, each of length 1 times its weight, added up."""
    parts = [term.weight * unit(searcher.vector(term.text)) for term in Query.parse(ask.text).terms] if ask.text else []
    parts += [weight * searcher.matrix.directions[row] for row, weight in rows]
    parts += [] if picture is None else [unit(searcher.shift(picture))]
    return added(parts)


def _name(ask: Ask, searcher: Searcher, rows: Sequence[tuple[int, float]]) -> str:
    parts = [str(Query.parse(ask.text))] if ask.text else []
    parts += ["this picture"] if ask.image else []
    for row, weight in rows:
        name = f"{'like' if weight > 0 else 'unlike'} {searcher.matrix.names[row]}"
        parts.append(name if abs(weight) == 1 else f"{name}:{spelt(abs(weight))}")
    return ", ".join(parts)
