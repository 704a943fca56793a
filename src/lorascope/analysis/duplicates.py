"""Which adapters of a library are copies of others: the same tensors, the same change, or the same behaviour."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from lorascope.adapters import Names, read_header
from lorascope.analysis.comparison import AGREEMENT, BehaviourComparison, compare
from lorascope.analysis.finding import Finding
from lorascope.errors import AdapterError, LibraryError, ModelError
from lorascope.families import architecture
from lorascope.grid import Grid
from lorascope.library import Library, Matrix, StoredAdapter, StoredProtocol
from lorascope.library.recomputation import grid_of
from lorascope.models import find_model
from lorascope.protocol import Preset
from lorascope.signature import Estimate

_NEAR = 0.7
"""Cosine of two stored Directions below which no pair is compared: samples of the same adapter agree better."""
_ROWS = 1024
_KEPT = 64
"""Adapters whose effects are kept while pairs are compared, a few MB each."""

Kind = Literal["file", "change", "behaviour"]
Effects = tuple[Int64[np.ndarray, " cells"], Float64[np.ndarray, "cells d"]]
"""The prompt of each cell, and its effect."""
SAME = 0.99
"""The cosine of two changes from which one is a copy of the other: resized, re-saved, or merged and extracted."""


@dataclass(frozen=True)
class AdapterPair:
    """Two adapters that may be the same, by their keys.

    Attributes:
        one: key of the first.
        two: key of the second.
        cells: how many cells both were measured on.
        comparison: what they do, compared; None on too few prompts.
        change: cosine of what they change in the base model; None where that is not known.
    """

    one: str
    two: str
    cells: int
    comparison: BehaviourComparison | None
    change: float | None

    @property
    def kind(self) -> Kind | None:
        """In what they are the same; None if more cells are needed to tell."""
        if self.change is not None and self.change >= SAME:
            return "change"
        return "behaviour" if self.comparison is not None and self.comparison.same else None


@dataclass(frozen=True)
class Copy:
    """What need not be kept: an adapter, or another file of the one that is kept (then there is no pair)."""

    key: str
    name: str
    path: str
    kind: Kind
    pair: AdapterPair | None = None

    @property
    def seen(self) -> str:
        """In what it is the same, and how far that is known."""
        if self.pair is None:
            return "equal tensors and settings"
        found = self.pair.comparison
        if self.kind == "change" or found is None:
            return f"same change of the base model: cosine {self.pair.change:.4f}"
        return (
            f"same behaviour, as far as {found.cells} images can tell: cosine at least {found.agreement.at_least(2)},"
            f" Strength within {_percent(found.strength)}, Consistency within {_percent(found.consistency)}"
        )


@dataclass(frozen=True)
class Group:
    """Copies of one adapter, and the file that is recommended to be kept."""

    key: str
    name: str
    path: str
    copies: tuple[Copy, ...]


@dataclass(frozen=True)
class Duplicates:
    """The groups of a library; pairs that may be the same, of which more cells tell; keys without evidence here."""

    groups: tuple[Group, ...]
    undecided: tuple[AdapterPair, ...]
    unbacked: tuple[str, ...]

    @property
    def findings(self) -> list[Finding]:
        """A finding for each adapter that need not be kept."""
        return [
            Finding(copy.key, copy.name, "duplicate", copy.seen, f"Keep {group.name} ({group.path or group.key})")
            for group in self.groups
            for copy in group.copies
        ]


def duplicates(
    library: Library, protocol: str = "", folder: Path | None = None, keys: Collection[str] | None = None
) -> Duplicates:
    """Find copies among the adapters of a library.

    Args:
        library: whose evidence is compared; no image is made.
        protocol: under which the adapters were measured, by name or digest; the active one if "".
        folder: compare only adapters that have a file in it.
        keys: compare only pairs in which one of these adapters is, by what is stored: no file is read.

    Raises:
        LibraryError: no such Protocol, no adapter in the folder, or the prompts of its evidence are not on this disk.

    >>> duplicates(library).groups[0].copies[0].kind  # doctest: +SKIP
    'behaviour'
    """
    stored = library.protocols.find(protocol)
    matrix = library.signatures.matrix(stored.protocol.digest)
    members = library.adapters.inside(folder)
    rows = np.flatnonzero(np.isin(matrix.ids, list(members)))
    chosen = (
        rows if keys is None else np.intersect1d(rows, [matrix.places[key] for key in keys if key in matrix.places])
    )
    adapters = {one.key: one for one in members.values()}
    names = base_names(stored.preset) if keys is None else None
    effects = _reader(library, stored, matrix.directions.shape[1])
    pairs: list[AdapterPair] = []
    unbacked: set[str] = set()
    for one, two in _near(matrix, rows, chosen):
        first, second = effects(one), effects(two)
        unbacked.update(key for key, found in ((one, first), (two, second)) if not len(found[0]))
        cells = min(len(first[0]), len(second[0]))
        found = compare(first[0][:cells], first[1][:cells], second[1][:cells])
        if found.different if found else _cosine(first[1][:cells], second[1][:cells]) < AGREEMENT:
            continue
        first, second = adapters[one], adapters[two]
        change = cosine_of_changes(first, second, names) if keys is None else same_tensors(first, second)
        pairs.append(AdapterPair(one, two, cells, found, change))
    consistency = dict(zip(matrix.keys, np.nan_to_num(matrix.consistency).tolist(), strict=True))
    asked = [one for key, one in adapters.items() if keys is None or key in keys]
    groups = [*_same_files(asked), *_groups([pair for pair in pairs if pair.kind], adapters, consistency)]
    undecided = tuple(pair for pair in pairs if pair.kind is None)
    return Duplicates(tuple(groups), undecided, tuple(sorted(unbacked)))


def _near(matrix: Matrix, rows: Int64[np.ndarray, " n"], chosen: Int64[np.ndarray, " m"]) -> Iterator[tuple[str, str]]:
    """Keys of pairs, at least one of which is chosen, whose Directions are near enough to be compared; each once."""
    keys = matrix.keys
    is_chosen = np.isin(rows, chosen)
    for start in range(0, len(chosen), _ROWS):
        block = chosen[start : start + _ROWS]
        cosines = (matrix.directions @ matrix.directions[block].T)[rows].T
        once = ~is_chosen | (rows > block[:, None])
        for place, other in np.argwhere(once & (cosines >= _NEAR)).tolist():
            one, two = sorted((int(block[place]), int(rows[other])))
            yield keys[one], keys[two]


def _reader(library: Library, stored: StoredProtocol, dim: int) -> Callable[[str], Effects]:
    """What reads the effects of an adapter from the evidence; there are none where it holds none."""
    grid = grid_of(stored)

    @lru_cache(maxsize=_KEPT)
    def effects(key: str) -> Effects:
        blocks = library.evidence.blocks(key, stored.protocol.digest) if library.has_evidence else []
        if not blocks:
            return np.empty(0, np.int64), np.empty((0, dim))
        if grid is None:
            raise LibraryError(f"the prompts of {stored.protocol} are not on this disk: they are needed to compare")
        return _prompts(grid, len(blocks)), np.concatenate([block.effects for block in blocks])

    return effects


def _cosine(one: Float64[np.ndarray, "cells d"], two: Float64[np.ndarray, "cells d"]) -> float:
    """The cosine of two mean effects; 0 without cells."""
    first, second = one.sum(axis=0), two.sum(axis=0)
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths > 0.0 else 0.0


def _prompts(grid: Grid, blocks: int) -> Int64[np.ndarray, " cells"]:
    return np.array([cell.prompt for block in range(blocks) for cell in grid.block(block)])


def _same_files(adapters: Iterable[StoredAdapter]) -> Iterator[Group]:
    """Adapters that are in several files. The one that they were measured from stays."""
    for one in adapters:
        paths = [path for path in one.paths if Path(path).is_file()]
        if len(paths) > 1:
            keep = one.facts.read_from if one.facts.read_from in paths else paths[0]
            copies = (Copy(one.key, one.name, path, "file") for path in paths if path != keep)
            yield Group(one.key, one.name, keep, tuple(copies))


def _groups(
    pairs: list[AdapterPair], adapters: dict[str, StoredAdapter], consistency: dict[str, float]
) -> Iterator[Group]:
    """One group for each adapter that is recommended to be kept; each copy was compared with that one itself."""
    left = {key for pair in pairs for key in (pair.one, pair.two)}
    while left:
        best = max(left, key=lambda key: (consistency[key], key))
        linked = _linked(pairs, best, left)
        equal = [best, *(key for key, pair in linked.items() if _as_consistent(pair))]
        keep = min(equal, key=lambda key: (adapters[key].facts.size, -consistency[key]))
        linked = _linked(pairs, keep, left)
        copies = [
            Copy(key, adapters[key].name, _path(adapters[key]), pair.kind or "behaviour", pair)
            for key, pair in linked.items()
        ]
        if copies:
            yield Group(keep, adapters[keep].name, _path(adapters[keep]), tuple(copies))
        left -= {keep, *linked}


def _linked(pairs: list[AdapterPair], key: str, left: set[str]) -> dict[str, AdapterPair]:
    """The adapters that are the same as one, by key."""
    both = ((pair.two if pair.one == key else pair.one, pair) for pair in pairs if key in (pair.one, pair.two))
    return {other: pair for other, pair in both if other in left}


def _as_consistent(pair: AdapterPair) -> bool:
    """Whether neither one is known to be more consistent."""
    return pair.comparison is None or pair.comparison.consistency.lower <= 1.0 <= pair.comparison.consistency.upper


def _path(adapter: StoredAdapter) -> str:
    return adapter.paths[0] if adapter.paths else ""


def _percent(ratio: Estimate) -> str:
    """How far a ratio may be from 1, rounded up."""
    return f"{math.ceil((max(ratio.upper, 1 / ratio.lower) - 1) * 100 - 1e-9)}%"


def base_names(preset: Preset) -> Names | None:
    """The modules of a base model, from the headers of its files; None where it is not a folder on this disk."""
    row = architecture(preset.family)
    try:
        folder = find_model(preset.base)
        shapes = {
            part: {
                name: info.shape
                for path in (folder / part).glob("*.safetensors")
                for name, info in read_header(path).tensors.items()
            }
            for part in (row.components if row else ())
        }
    except (ModelError, AdapterError):
        return None
    return Names({part: found for part, found in shapes.items() if found}) if any(shapes.values()) else None


def cosine_of_changes(one: StoredAdapter, two: StoredAdapter, names: Names | None) -> float | None:
    """How much two adapters change the same weights in the same direction: 1 if all their tensors are equal.

    Args:
        one: an adapter.
        two: another one.
        names: the modules of the base model; without them only equal tensors are recognised.

    Returns:
        -1 to 1; None where it cannot be known: files that are gone or were replaced, kinds of adapters that
        :func:`lorascope.adapters.similarity` does not compare, an installation without torch.
    """
    if same_tensors(one, two):
        return 1.0
    try:
        from lorascope.adapters import similarity
        from lorascope.measure.files import measured_delta

        if _tensors(one) == _tensors(two):
            return 1.0
        return similarity(measured_delta(one, names), measured_delta(two, names)) if names is not None else None
    except (AdapterError, ModuleNotFoundError):
        return None


def same_tensors(one: StoredAdapter, two: StoredAdapter) -> float | None:
    """1 if two adapters are known to have equal tensors, without reading their files; else None."""
    return 1.0 if one.facts.tensors and one.facts.tensors == two.facts.tensors else None


def _tensors(adapter: StoredAdapter) -> str:
    """The digest of an adapter's tensors, which libraries of 0.1.0 do not hold."""
    if adapter.facts.tensors:
        return adapter.facts.tensors
    from lorascope.measure.files import measured_tensors

    return measured_tensors(adapter)
