"""Adapters whose pictures change more than their embeddings tell: what the encoder may not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lorascope.library import Library

_LIMIT = 2.5
"""Robust standard deviations above the median; about one in 160 of a normal distribution lies beyond."""
_FEWEST = 8
"""With fewer adapters there is no telling what is usual."""


@dataclass(frozen=True)
class Unseen:
    """How an adapter's pictures and its embeddings move.

    Attributes:
        moved: mean distance of 64-pixel thumbnails with and without the adapter, root mean square, 0 to 1.
        strength: S, how far the embeddings move, CLIP units.
        standing: by how many robust standard deviations log(moved / strength) exceeds the median of the library.
        flag: whether that is unusual, so that the encoder may not see all of what the adapter does.
    """

    moved: float
    strength: float
    standing: float
    flag: bool


def unseen(library: Library, protocol: str) -> Mapping[str, Unseen]:
    """Every adapter of a Protocol that has evidence, by key; nothing where there are too few to compare.

    The median and the median absolute deviation (times 1.4826) stand for mean and standard deviation, so that the
    adapters that are looked for do not hide themselves.
    """
    if not library.has_evidence:
        return {}
    distances = library.evidence.distances(protocol)
    known = {
        key: (distances[key], strength)
        for key, strength in library.signatures.strengths(protocol).items()
        if distances.get(key, 0.0) > 0 and strength > 0
    }
    if len(known) < _FEWEST:
        return {}
    ratios = np.log([moved / strength for moved, strength in known.values()])
    middle = np.median(ratios)
    spread = max(1.4826 * float(np.median(np.abs(ratios - middle))), 1e-6)
    return {
        key: Unseen(moved, strength, float(standing), bool(standing > _LIMIT))
        for (key, (moved, strength)), standing in zip(known.items(), (ratios - middle) / spread, strict=True)
    }
