"""Adapters that serve as examples in a search, as requests spell them."""

from __future__ import annotations

from collections.abc import Iterable

from lorascope.errors import QueryError, code_of
from lorascope.search import Example
from lorascope.server.problems import Problem


def examples(more: Iterable[str], less: Iterable[str]) -> tuple[Example, ...]:
    """Adapters to be like and to be unlike, each spelt ``KEY`` or ``KEY:0.5``.

    Raises:
        Problem: a weight is out of range.
    """
    return (*_read(more, "more"), *(-example for example in _read(less, "less")))


def _read(texts: Iterable[str], field: str) -> list[Example]:
    try:
        return [Example.parse(text) for text in texts]
    except QueryError as error:
        raise Problem(422, code_of(error), str(error), field=field) from error
