"""What adapters do, in words: the phrases of a vocabulary that stand out against chance.

A vocabulary is a prompt set: its categories are facets such as medium or light, its groups hold near-synonyms.

Cosines of phrases with Directions differ in level from adapter to adapter and from phrase to phrase, so both medians
are taken out, and each phrase's spread. What is left is noise around zero, except for phrases that say what an adapter
does: these lie above. The noise below zero mirrors the noise above, so each adapter's largest value after a change of
sign tells how large the largest of so many phrases gets by chance. Adapters whose best phrase exceeds that are
separated from the others at a false discovery rate of 5% (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float32, Float64

from lorascope.errors import LibraryError
from lorascope.grid import PromptSet
from lorascope.search import Searcher

FALSE_DISCOVERIES = 0.05
FEWEST = 40
"""Adapters that a library has to hold: with fewer, a rate of 5% cannot be tested."""
MOST_WORDS = 4
_LARGEST_SAMPLE = 10_000
"""Adapters from which medians, spreads and chance are estimated; of a larger library, evenly spaced ones."""
_AT_ONCE = 256
"""Adapters that are described by one product of matrices."""
_DIGITS = 6
"""Of a standing: the last ones of a product of matrices depend on what else it holds."""
_SYNONYMS = 0.5
"""The cosine from which two phrases say the same."""
_TWO = 2**0.5
"""By this factor the difference of two standings varies more than one of them."""
_TELLING = 0.75
"""A further phrase has to stand out by this share of what the first one does: the rest is mostly its echo."""


@dataclass(frozen=True)
class Word:
    """A phrase that says what an adapter does, its facet, and how many spreads it stands above the usual.

    The phrase is the first one of its group: whichever near-synonym stood out.
    """

    phrase: str
    facet: str
    standing: float


@dataclass(frozen=True)
class Description:
    """What an adapter does in words, the most telling first; none where nothing stands out against chance."""

    key: str
    name: str
    words: tuple[Word, ...]

    def __str__(self) -> str:
        return "; ".join(word.phrase for word in self.words)


def describe(searcher: Searcher, keys: Iterable[str] | None = None) -> list[Description]:
    """Describe adapters in the words of their Protocol's vocabulary.

    Args:
        searcher: over the library; phrases that were encoded before are not encoded again.
        keys: of the adapters to be described; all by default.

    Returns:
        A description of each adapter that has a signature under the Protocol, in the library's order.

    Raises:
        LibraryError: the library holds too few adapters to tell words from chance, or one that is named is unknown.
        ModelError: the encoder is not on this disk.

    >>> describe(searcher)[0].words  # doctest: +SKIP
    (Word(phrase='pencil drawing', facet='medium', standing=9.5),)
    """
    describer = Describer(searcher)
    rows = _rows(searcher, keys)
    labels = searcher.library.adapters.labels(searcher.matrix.ids[rows].tolist())
    described: list[Description] = []
    for row, words in zip(rows, describer.words(rows), strict=True):
        key, name, _ = labels[int(searcher.matrix.ids[row])]
        described.append(Description(key, name, words))
    return described


@final
class Describer:
    """The words for a library's adapters under one Protocol, and the scale on which they stand out."""

    def __init__(self, searcher: Searcher) -> None:
        """Encode the vocabulary, and learn how its phrases usually score.

        Raises:
            LibraryError: the library holds too few adapters to tell words from chance.
            ModelError: the encoder is not on this disk.
        """
        self._matrix = searcher.matrix
        acting = np.flatnonzero(self._matrix.strength > 0)
        if len(acting) < FEWEST:
            raise LibraryError(
                f"{searcher.library.path} has {len(acting)} adapters that do anything: words can be tested against"
                f" chance with {FEWEST} or more. `lorascope search` works with any number"
            )
        vocabulary = PromptSet.load(searcher.stored.preset.vocabulary)
        vectors = searcher.vectors(vocabulary.texts)
        searcher.carry(vocabulary.texts)
        sample = acting[:: -(-len(acting) // _LARGEST_SAMPLE)]
        self._scale = Scale.of(self._matrix.directions[sample], vectors)
        self._names = _group_names(vocabulary)

    def words(self, rows: Sequence[int]) -> Iterator[tuple[Word, ...]]:
        """What the adapters in some rows of the matrix do."""
        for first in range(0, len(rows), _AT_ONCE):
            part = rows[first : first + _AT_ONCE]
            for row, found in zip(part, self._scale.telling(self._matrix.directions[list(part)]), strict=True):
                yield self._named(found) if self._does_something(row) else ()

    def contrast(self, one: int, two: int) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
        """What the first of two adapters does more than the second, and what the second does more, by their rows.

        A standing is here the difference of both: it varies by chance as the square root of two standings, so it has to
        exceed chance by that factor.
        """
        if not (self._does_something(one) and self._does_something(two)):
            return (), ()
        found = self._scale.contrast(*self._matrix.directions[[one, two]])
        return self._named(found[0]), self._named(found[1])

    def _does_something(self, row: int) -> bool:
        """Whether its effects have a common direction; else its Direction may be any."""
        return bool(self._matrix.consistency_interval[row, 0] > 0)

    def _named(self, telling: list[tuple[int, float]]) -> tuple[Word, ...]:
        return tuple(Word(*self._names[place], standing) for place, standing in telling)


def _group_names(vocabulary: PromptSet) -> list[tuple[str, str]]:
    """For each phrase, the first one of its group, and its facet."""
    first: dict[tuple[str, str], str] = {}
    return [
        (first.setdefault((prompt.category, prompt.group), prompt.text), prompt.category)
        for prompt in vocabulary.prompts
    ]


@final
class Scale:
    """How the phrases of a vocabulary usually score in a library, and how high chance reaches."""

    def __init__(
        self,
        vectors: Float32[np.ndarray, "phrases d"],
        medians: Float64[np.ndarray, " phrases"],
        spreads: Float64[np.ndarray, " phrases"],
        least: float,
    ) -> None:
        """Take the phrases' vectors, the medians and spreads of their scores, and the least standing above chance."""
        self._vectors, self._medians, self._spreads, self.least = vectors, medians, spreads, least
        self._alike = vectors @ vectors.T > _SYNONYMS

    @classmethod
    def of(cls, directions: Float32[np.ndarray, "n d"], vectors: Float32[np.ndarray, "phrases d"]) -> Scale:
        """Estimate it from a library's Directions; both are rows of length 1."""
        found = levels(directions, vectors, vectors)
        medians, spreads = robust_spread(found)
        standings = (found - medians) / spreads
        return cls(vectors, medians, spreads, _least(standings.max(1), (-standings).max(1)))

    def telling(self, directions: Float32[np.ndarray, "n d"]) -> list[list[tuple[int, float]]]:
        """Places and standings of the phrases that tell what each adapter does, without synonyms of better ones."""
        return [self._chosen(standings, self.least) for standings in self._standings(directions)]

    def contrast(
        self, one: Float32[np.ndarray, " d"], two: Float32[np.ndarray, " d"]
    ) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """Places of the phrases that stand out more in one direction than in another, and the other way round."""
        first, second = self._standings(np.stack([one, two]))
        apart = first - second
        return self._chosen(apart, _TWO * self.least), self._chosen(-apart, _TWO * self.least)

    def _standings(self, directions: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, "n phrases"]:
        return (levels(directions, self._vectors, self._vectors) - self._medians) / self._spreads

    def _chosen(self, standings: Float64[np.ndarray, " phrases"], least: float) -> list[tuple[int, float]]:
        """The highest standings that exceed chance, without near-synonyms of better ones."""
        best = float(standings.max())
        if best < least:
            return []
        least = max(least, _TELLING * best)
        chosen: list[int] = []
        for place in np.argsort(-standings).tolist():
            if standings[place] < least or len(chosen) == MOST_WORDS:
                break
            if not self._alike[place, chosen].any():
                chosen.append(place)
        return [(place, round(float(standings[place]), _DIGITS)) for place in chosen]


def levels(
    directions: Float32[np.ndarray, "n d"],
    phrases: Float32[np.ndarray, "q d"],
    vocabulary: Float32[np.ndarray, "phrases d"],
) -> Float64[np.ndarray, "n q"]:
    """Cosines with phrases as Fisher's z, in which equal steps mean equal differences.

    Each adapter's median over the vocabulary is taken out. All vectors are of length 1.
    """

    def fisher(vectors: Float32[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
        return np.arctanh(np.clip(directions.astype(np.float64) @ vectors.T, -0.999999, 0.999999))

    found = fisher(phrases)
    usual = found if phrases is vocabulary else fisher(vocabulary)
    return found - np.median(usual, axis=1, keepdims=True)


def robust_spread(
    values: Float64[np.ndarray, "n q"],
) -> tuple[Float64[np.ndarray, " q"], Float64[np.ndarray, " q"]]:
    """The median of each column, and the median absolute deviation times 1.4826, a normal's standard deviation."""
    medians = np.median(values, axis=0)
    return medians, np.maximum(1.4826 * np.median(np.abs(values - medians), axis=0), 1e-6)


def _least(best: Float64[np.ndarray, " n"], chance: Float64[np.ndarray, " n"]) -> float:
    """The least of the best standings that Benjamini and Hochberg's rule accepts; infinite where it accepts none."""
    count = len(best)
    exceeding = count - np.searchsorted(np.sort(chance), best, side="left")
    values = (1 + exceeding) / (1 + count)
    order = np.argsort(values)
    passing = np.flatnonzero(values[order] <= FALSE_DISCOVERIES * np.arange(1, count + 1) / count)
    if not len(passing):
        return float("inf")
    return float(best[order[: passing[-1] + 1]].min()) * (1 - 1e-9)  # a row alone differs in its last digits


def _rows(searcher: Searcher, keys: Iterable[str] | None) -> list[int]:
    if keys is None:
        return list(range(len(searcher.matrix)))
    rows: list[int] = []
    for key in keys:
        row = searcher.row(key)
        if row is None:
            raise LibraryError(f"{key} has no signature under {searcher.stored.protocol}: index it first")
        rows.append(row)
    return rows
