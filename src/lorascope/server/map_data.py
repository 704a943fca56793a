"""The map: every adapter of a Protocol as one compact table of columns."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from lorascope.errors import LorascopeError
from lorascope.grid import PromptSet
from lorascope.library import Library, Matrix
from lorascope.report.words import MATURE
from lorascope.search import Searcher
from lorascope.search.vectors import principal_axes, unit
from lorascope.server.views import plain_thresholds

_DIGITS = 4
ENOUGH = 12
"""So many Directions decide the plane that all are drawn in."""
_MOST = 4000
"""More Directions than this decide nothing else."""


@dataclass(frozen=True)
class MapData:
    """The map as JSON, as it is sent, with its ETag."""

    json: bytes
    zipped: bytes
    etag: str


@dataclass(frozen=True)
class Plane:
    """Two directions (2, d) that are kept; for each the phrases that lie farthest to its low and its high end."""

    basis: Float32[np.ndarray, "2 d"]
    ends: tuple[tuple[str, str], tuple[str, str]] | None


def plane_of(library: Library, searcher: Searcher) -> Plane | None:
    """The plane that Directions are drawn in, which no new adapter ever moves; None while there is none.

    It is decided once, by the first two principal axes of the Directions, as soon as there are enough of them, and kept
    in the library. Axes of fewer would say little of those to come, and another plane for the time being would have
    every adapter leave its place.
    """
    digest = searcher.stored.protocol.digest
    basis = library.protocols.plane(digest)
    if basis is None and len(searcher.matrix) >= ENOUGH:
        rows = np.arange(min(len(searcher.matrix), _MOST))
        found = principal_axes(searcher.matrix.directions[rows])
        library.protocols.put_plane(digest, found)
        basis = library.protocols.plane(digest)  # another process may have been first
        basis = found if basis is None else basis  # a read-only library keeps none
    return None if basis is None else Plane(basis, _ends(basis, searcher))


def _ends(basis: Float32[np.ndarray, "2 d"], searcher: Searcher) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Of the Protocol's reference phrases, those that lie farthest out; None if the encoder is not on this disk."""
    phrases = PromptSet.load(searcher.stored.preset.reference).texts
    try:
        vectors = np.stack([unit(searcher.vector(phrase)) for phrase in phrases])
    except LorascopeError:
        return None
    order = (vectors @ basis.T).argsort(axis=0)
    low, high = ([phrases[int(row)] for row in order[end]] for end in (0, -1))
    return (low[0], high[0]), (low[1], high[1])


def draw_map(library: Library, searcher: Searcher) -> MapData:
    """Put the whole matrix into columns."""
    matrix, stored = searcher.matrix, searcher.stored
    plane = plane_of(library, searcher)
    families = sorted(set(matrix.families))
    levels = library.adapters.claimed("nsfw_level")
    places = None if plane is None else matrix.directions @ plane.basis.T
    content: dict[str, Any] = {
        "protocol": str(stored.protocol),
        "digest": stored.protocol.digest,
        "thresholds": plain_thresholds(searcher.thresholds),
        "axes": None if plane is None or plane.ends is None else dict(zip("xy", plane.ends, strict=True)),
        "families": families,
        "keys": matrix.keys,
        "names": matrix.names,
        "family": [families.index(family) for family in matrix.families],
        **_figures(matrix),
        "x": None if places is None else _column(places[:, 0]),
        "y": None if places is None else _column(places[:, 1]),
        "mature": [int((levels.get(key) or 0) >= MATURE) for key in matrix.keys],
    }
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return MapData(data, gzip.compress(data, 6, mtime=0), f'"{hashlib.sha256(data).hexdigest()[:32]}"')


def _figures(matrix: Matrix) -> dict[str, list[float | None]]:
    columns = {
        "strength": matrix.strength,
        "strength_low": matrix.strength_interval[:, 0],
        "strength_high": matrix.strength_interval[:, 1],
        "consistency": matrix.consistency,
        "consistency_low": matrix.consistency_interval[:, 0],
        "consistency_high": matrix.consistency_interval[:, 1],
    }
    return {name: _column(values) for name, values in columns.items()}


def _column(values: Float[np.ndarray, " n"]) -> list[float | None]:
    """Rounded; None where unknown."""
    return [round(float(value), _DIGITS) if np.isfinite(value) else None for value in values]
