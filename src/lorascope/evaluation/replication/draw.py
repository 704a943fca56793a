"""Which adapters of a published library are measured again: the same for everyone, in whatever order its rows are."""

from __future__ import annotations

import hashlib
import tomllib
from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from itertools import chain, zip_longest
from typing import Final

from lorascope.library.published import PublishedRow
from lorascope.signature import Signature

STRENGTHS: Final = (4.0, 6.0, 9.8)
CONSISTENCIES: Final = (0.041, 0.1, 0.2)
"""Between these lie the strata. 9.8 and 0.041 are the paper's thresholds."""
_SEED: Final = 20251209


def listed() -> tuple[int, ...]:
    """Versions of the published library that are drawn before all others, by Civitai's numbers."""
    path = files("lorascope") / "evaluation" / "data" / "replication.toml"
    return tuple(tomllib.loads(path.read_text("utf-8"))["versions"])


def stratum(signature: Signature) -> tuple[int, int]:
    """The band of Strength and that of Consistency in which an adapter is."""
    return bisect(STRENGTHS, signature.strength), bisect(CONSISTENCIES, signature.consistency or 0.0)


def draw(rows: Mapping[int, PublishedRow], first: Collection[int]) -> list[list[int]]:
    """Every version by stratum, each stratum in a random order that depends on the versions alone.

    So the draw is the same for everyone, a longer one only adds to it, and one that cannot be had is replaced by the
    next of its stratum.

    Args:
        rows: the published library by version.
        first: versions that go before all others.
    """
    strata: dict[tuple[int, int], list[int]] = {}
    for version in sorted(rows, key=lambda one: (one not in first, _lot(one))):
        strata.setdefault(stratum(rows[version].signature), []).append(version)
    return [strata[key] for key in sorted(strata)]


def in_turn(strata: Sequence[Sequence[int]]) -> list[int]:
    """One version of each stratum after another: however many are taken, rare strata are as full as they can be."""
    return [version for version in chain.from_iterable(zip_longest(*strata)) if version is not None]


def _lot(version: int) -> str:
    return hashlib.sha256(f"{_SEED} {version}".encode()).hexdigest()
