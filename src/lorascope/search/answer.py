"""What a search gives back, and what may narrow it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from lorascope.library import StoredAdapter, StoredSignature
from lorascope.protocol import Thresholds
from lorascope.search.clarity import Clarity
from lorascope.search.ranking import Ranked

Hidden = Literal["too strong", "too unstable"]


@dataclass(frozen=True)
class Hit:
    """One adapter of an answer.

    ``score`` is the cosine of the query vector and the Direction; ``clarity`` says whether it stands out from what
    unrelated queries score; ``undecided`` names thresholds that lie inside the adapter's intervals, so that more
    cells may yet hide it; ``hidden`` says which threshold keeps it out of the ranking.
    """

    rank: int
    score: float
    clarity: Clarity | None
    adapter: StoredAdapter
    signature: StoredSignature
    undecided: tuple[str, ...] = ()
    hidden: Hidden | None = None


@dataclass(frozen=True)
class Answer:
    """Hits, best first, and what was left out.

    ``hidden`` holds the best of the adapters that the thresholds leave out; ``too_strong`` and ``too_unstable`` count
    all of them among the ``considered``. ``consistency`` is that of the query's own shifts over the prompts of P': a
    low one means that the words mean different things in different prompts. None for queries that are no words.
    ``vector`` is what Directions were compared with; None where nothing was asked.
    """

    query: str
    protocol: str
    hits: tuple[Hit, ...]
    hidden: tuple[Hit, ...]
    consistency: float | None
    considered: int
    too_strong: int
    too_unstable: int
    vector: Float[np.ndarray, " d"] | None = field(default=None, repr=False, compare=False)

    @property
    def found(self) -> bool:
        """Whether any adapter here does this, as far as can be told."""
        return any(hit.clarity in ("clear", "likely", None) for hit in self.hits)


@dataclass(frozen=True)
class Selection:
    """Rows of a matrix and their scores, best first: those to show and those that thresholds hide; and counts.

    ``skipped`` tells how many better ones were passed over, of both kinds.
    """

    shown: Ranked
    hidden: Ranked
    considered: int
    too_strong: int
    too_unstable: int
    skipped: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Filters:
    """Which adapters may appear: thresholds on S and C, a base family, folders."""

    thresholds: Thresholds
    family: str = ""
    folder: str = ""
