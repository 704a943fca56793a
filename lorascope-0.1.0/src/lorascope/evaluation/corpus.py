"""What is searched: the adapters of one Protocol, each with the words that people wrote about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Float, Int

from lorascope.adapters.claims import plain_text
from lorascope.errors import QueryError
from lorascope.evaluation.queries import JudgedQuery
from lorascope.library import StoredAdapter
from lorascope.search import Searcher


@dataclass(frozen=True)
class Words:
    """What is written about one adapter, free of HTML.

    ``name`` is its title, or else its file name; ``names`` are all names, tags and trigger words it goes by.
    """

    name: str
    description: str
    names: tuple[str, ...]

    @property
    def document(self) -> str:
        """Name and description, concatenated, as the paper's text retrievers see an adapter."""
        return f"{self.name}. {self.description}".strip() if self.description else self.name


@final
@dataclass(frozen=True)
class Corpus:
    """Adapters in a fixed order, that of the library's matrix. Every score of a retriever is a column of it."""

    keys: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[Words, ...]
    downloads: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, searcher: Searcher) -> Corpus:
        """The adapters that a searcher ranks."""
        keys = searcher.matrix.keys
        adapters = searcher.library.adapters.get(keys)
        return cls(
            keys,
            searcher.matrix.names,
            tuple(_words(adapters[key]) for key in keys),
            tuple(adapters[key].facts.downloads for key in keys),
        )

    def described(self, words: Sequence[Words]) -> Corpus:
        """The same adapters with other words about them."""
        return replace(self, words=tuple(words))

    def find(self, name: str) -> str | None:
        """The key of an adapter by its name or key, or None.

        Raises:
            QueryError: several adapters go by that name.
        """
        if name in self._keys:
            return name
        found = self._by_name.get(name, [])
        if len(found) > 1:
            raise QueryError(f"{len(found)} adapters are called {name!r}: grade them by key ({', '.join(found)})")
        return found[0] if found else None

    def unknown(self, queries: Sequence[JudgedQuery]) -> list[str]:
        """Names that queries grade and that are not here, each with the nearest that is."""
        names = dict.fromkeys(name for query in queries for name in query.grades)
        missing = [name for name in names if self.find(name) is None]
        near = {name: get_close_matches(name, self.names, 1) for name in missing}
        return [f"{name} (did you mean {near[name][0]}?)" if near[name] else name for name in missing]

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(self.keys)

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for key, name in zip(self.keys, self.names, strict=True):
            found.setdefault(name, []).append(key)
        return found

    @cached_property
    def shuffled(self) -> Int[np.ndarray, " adapters"]:
        """A fixed order that has nothing to do with names, by which ties are broken."""
        return np.argsort([hashlib.sha256(key.encode()).digest() for key in self.keys]).argsort()

    def ranked(self, scores: Float[np.ndarray, " adapters"]) -> list[int]:
        """Rows by score, best first; rows of -inf were left out by the retriever."""
        order = np.lexsort((self.shuffled, -scores))
        return [int(row) for row in order if scores[row] > -np.inf]


def _words(adapter: StoredAdapter) -> Words:
    title = plain_text(adapter.claimed("title") or "") or adapter.name
    names = (title, adapter.name, *(adapter.claimed("tags") or ()), *(adapter.claimed("triggers") or ()))
    return Words(title, plain_text(adapter.claimed("description") or ""), tuple(dict.fromkeys(names)))
