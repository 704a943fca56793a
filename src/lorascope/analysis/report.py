"""A library as a whole: what its adapters do in groups, which are copies, which need a look, and what nobody needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from lorascope.analysis.description import Description, describe
from lorascope.analysis.duplicates import Duplicates, duplicates
from lorascope.analysis.finding import Finding
from lorascope.analysis.findings import audited
from lorascope.analysis.health import health
from lorascope.errors import LibraryError
from lorascope.library import StoredAdapter
from lorascope.search import Searcher
from lorascope.search.vectors import principal_axes


@final
@dataclass(frozen=True)
class WordGroup:
    """The adapters whose first word is the same."""

    phrase: str
    facet: str
    adapters: tuple[Description, ...]


@final
@dataclass(frozen=True)
class Unneeded:
    """A file that nobody needs, why, and its bytes."""

    name: str
    path: str
    reason: str
    size: int


@final
@dataclass(frozen=True, eq=False)
class LibraryReport:
    """What the analyses say of a library under one Protocol.

    Attributes:
        adapters: every adapter that was measured, by key, in order of name.
        strengths: Strength by key.
        places: where each one is on the map, (x, y) by key: principal axes of the Directions.
        groups: adapters by their first word, the largest groups of a facet first.
        wordless: those in which nothing stands out.
        duplicates: which are copies.
        findings: by flag, the most frequent first; copies and notes of reading are left out.
        unneeded: files that may go: copies, and adapters that do nothing.
        refused: how many files could not be measured.
    """

    adapters: dict[str, StoredAdapter]
    strengths: dict[str, float]
    places: dict[str, tuple[float, float]]
    groups: tuple[WordGroup, ...]
    wordless: tuple[Description, ...]
    duplicates: Duplicates
    findings: dict[str, list[Finding]]
    unneeded: tuple[Unneeded, ...]
    refused: int

    @property
    def facets(self) -> tuple[str, ...]:
        """The facets of the groups, the most frequent first."""
        counts = Counter({group.facet: 0 for group in self.groups})
        for group in self.groups:
            counts[group.facet] += len(group.adapters)
        return tuple(facet for facet, _ in counts.most_common())


def report(searcher: Searcher) -> LibraryReport:
    """Ask every analysis about a library. No image is made; the vocabulary is encoded once.

    Args:
        searcher: over the library.

    Raises:
        LibraryError: what is stored is damaged, or the prompts of its evidence are not on this disk.
        ModelError: the encoder is not on this disk, and the vocabulary was never encoded.

    >>> len(report(searcher).adapters)  # doctest: +SKIP
    81
    """
    library, protocol = searcher.library, searcher.stored.protocol.digest
    adapters = library.adapters.get(searcher.matrix.keys)
    described = _described(searcher)
    copies, needing = duplicates(library, protocol), health(library, protocol)
    needing += [finding for finding in audited(searcher) if finding.flag != "mute"]
    by_flag: dict[str, list[Finding]] = {}
    for finding in needing:
        if finding.flag != "note":
            by_flag.setdefault(finding.flag, []).append(finding)
    return LibraryReport(
        adapters,
        library.signatures.strengths(protocol),
        _places(searcher),
        _groups(described),
        tuple(one for one in described if not one.words),
        copies,
        dict(sorted(by_flag.items(), key=lambda pair: -len(pair[1]))),
        _unneeded(adapters, copies, needing),
        len(library.refusals.all()),
    )


def _described(searcher: Searcher) -> list[Description]:
    """In words; without any in a library that is too small to tell words from chance."""
    try:
        return describe(searcher)
    except LibraryError:
        matrix = searcher.matrix
        return [Description(key, name, ()) for key, name in zip(matrix.keys, matrix.names, strict=True)]


def _groups(described: list[Description]) -> tuple[WordGroup, ...]:
    found: dict[tuple[str, str], list[Description]] = {}
    for one in described:
        if one.words:
            found.setdefault((one.words[0].facet, one.words[0].phrase), []).append(one)
    groups = (WordGroup(phrase, facet, tuple(members)) for (facet, phrase), members in found.items())
    return tuple(sorted(groups, key=lambda group: (group.facet, -len(group.adapters), group.phrase)))


def _places(searcher: Searcher) -> dict[str, tuple[float, float]]:
    matrix = searcher.matrix
    basis = searcher.library.protocols.plane(searcher.stored.protocol.digest)
    rows = np.asarray(matrix.directions[np.arange(len(matrix))])
    if basis is None:
        basis = principal_axes(rows) if min(rows.shape) > 1 else np.zeros((2, rows.shape[1]), np.float32)
    places: Float64[np.ndarray, "n 2"] = (rows @ basis.T).astype(np.float64)
    return {key: (float(x), float(y)) for key, (x, y) in zip(matrix.keys, places, strict=True)}


def _unneeded(adapters: dict[str, StoredAdapter], copies: Duplicates, needing: list[Finding]) -> tuple[Unneeded, ...]:
    found = [
        Unneeded(copy.name, copy.path, f"copy of {group.name}", adapters[copy.key].facts.size)
        for group in copies.groups
        for copy in group.copies
        if copy.key in adapters
    ]
    found += [
        Unneeded(one.name, next(iter(adapters[one.key].paths), ""), "no effect", adapters[one.key].facts.size)
        for one in needing
        if one.flag == "no-effect" and one.key in adapters
    ]
    return tuple(sorted(found, key=lambda one: -one.size))
