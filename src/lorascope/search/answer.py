"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from lorascope.library import StoredAdapter, StoredProtocol, StoredSignature
from lorascope.search.clarity import Clarity
from lorascope.search.request import Filters, Request

Hidden = Literal["too strong", "too inconsistent"]


@dataclass(frozen=True)
class Hit:
    """One adapter of an answer.

    ``score`` is the cosine of the query vector and the Direction; ``clarity`` says whether it stands out from what
    unrelated queries score; ``undecided`` names thresholds that lie inside the adapter's intervals, so that more
    cells may yet hide it; ``hidden`` says which threshold keeps it out of the ranking.

    Examples:
        >>> from lorascope import Request, Searcher
        >>> hit = Searcher(library).search(Request("red")).hits[0]
        >>> hit.rank, hit.adapter.name
        (1, 'redder')
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

    ``query`` spells what was asked. ``hidden`` holds the best of the adapters that the thresholds leave out, if they
    were asked for; ``too_strong`` and ``too_inconsistent`` count all of them among the ``considered``. ``vector`` is
    what Directions were compared with; None where nothing was asked.

    Examples:
        >>> from lorascope import Request, Searcher
        >>> answer = Searcher(library).search(Request("red -blue:0.5"))
        >>> answer.query, answer.considered
        ('red -blue:0.5', 3)
    """

    request: Request
    query: str
    stored: StoredProtocol
    filters: Filters
    hits: tuple[Hit, ...]
    hidden: tuple[Hit, ...]
    considered: int
    too_strong: int
    too_inconsistent: int
    vector: Float[np.ndarray, " d"] | None = field(default=None, repr=False, compare=False)

    @property
    def protocol(self) -> str:
        """Name and digest of the Protocol."""
        return str(self.stored.protocol)

    @property
    def total(self) -> int:
        """How many adapters the whole ranking has, on all pages."""
        return self.considered - self.left_out

    @property
    def left_out(self) -> int:
        """How many adapters the thresholds hide."""
        return self.too_strong + self.too_inconsistent

    @property
    def matched(self) -> bool:
        """Whether any of the hits does what was asked, as far as is known."""
        return any(hit.clarity in ("clear", "likely", None) for hit in self.hits)
