"""Cards: an adapter's pictures, words and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from lorascope.library import BARE, Library, Pin, StoredAdapter, StoredProtocol, StoredSignature
from lorascope.protocol import Thresholds
from lorascope.report.words import CLARITY, does_nothing, effect_words, has_direction
from lorascope.search import Hit
from lorascope.server.views import is_mature, picture_address
from lorascope.signature import Estimate

_WITNESSES = 12
"""How many of the first hits decide which cells are shown."""


@dataclass(frozen=True)
class PicturePair:
    """One pinned cell: the addresses of its picture without and with an adapter. ``without`` is "" where unknown."""

    place: int
    prompt: str
    without: str
    with_: str


@dataclass(frozen=True)
class Card:
    """One adapter on a page. ``match`` is "" where nothing was asked; ``path`` and ``civitai`` where unknown.

    ``directed`` says whether its effects have a common direction, so that others can be like or unlike it.
    """

    key: str
    name: str
    match: str
    manner: str
    directed: bool
    doubts: str
    hidden: str
    pairs: tuple[PicturePair, ...]
    mature: bool
    weight: str
    path: str
    civitai: str
    figures: tuple[tuple[str, str], ...]

    @property
    def emphasis(self) -> str:
        """The element around ``match``: a weak match is not as loud as a clear one."""
        return "span" if self.match == CLARITY["weak"] else "b"

    @property
    def tag(self) -> str:
        """The tag to paste into a prompt."""
        return f"<lora:{self.name}:{self.weight}>"


@dataclass(frozen=True)
class Cells:
    """The pinned cells of some adapters and of the bare model under one Protocol, and how large their pictures are."""

    protocol: StoredProtocol
    pins: Mapping[str, Mapping[int, Pin]]

    @classmethod
    def of(cls, library: Library, protocol: StoredProtocol, keys: Iterable[str]) -> Cells:
        """Look up which pictures there are."""
        return cls(protocol, library.previews.pins(protocol.protocol, [BARE, *keys]))

    @property
    def tiny(self) -> bool:
        """Whether pictures are so small that the browser must enlarge them; it should not smear them."""
        return self.protocol.protocol.width <= 128

    def pairs(self, key: str, places: Sequence[int] | None = None) -> tuple[PicturePair, ...]:
        """Pictures without and with an adapter, of the given cells or of all."""
        digest, bare = self.protocol.protocol.digest, self.pins.get(BARE, {})
        own = self.pins.get(key, {})
        return tuple(
            PicturePair(
                place,
                own[place].prompt,
                picture_address(BARE, place, digest) if place in bare else "",
                picture_address(key, place, digest),
            )
            for place in sorted(own)
            if places is None or place in places
        )


def telling_cells(
    library: Library, keys: Sequence[str], vector: Float[np.ndarray, " d"] | None, cells: Cells
) -> tuple[int, ...]:
    """The two pinned cells that matter most for a query, the same for every card of its answer.

    The effect of each of the first hits on each cell is projected on the query's vector. The first cell is the one
    where these projections spread most over the hits. The second is the one of whose spread the first explains least:
    two cells that tell the same would waste a picture. Where nothing was asked, or no evidence is kept, the first two.
    """
    places = sorted(set(cells.pins.get(BARE, {})).union(*(cells.pins.get(key, {}) for key in keys)))
    if vector is None or len(places) < 3 or not library.has_evidence:
        return tuple(places[:2])
    rows = [
        blocks[0].adapted.astype(np.float32) - blocks[0].bare.astype(np.float32)
        for key in keys[:_WITNESSES]
        if (blocks := library.evidence.blocks(key, cells.protocol.protocol.digest, end=1))
    ]
    known = min((len(row) for row in rows), default=0)
    within = [place for place in places if place < known]
    if len(within) < 3:
        return tuple(places[:2])
    along = np.stack([row[within] @ vector for row in rows])
    shared = np.atleast_2d(np.cov(along, rowvar=False) if len(rows) > 1 else np.outer(along, along))
    first = int(np.argmax(np.diag(shared)))
    rest = np.diag(shared) - shared[first] ** 2 / max(float(shared[first, first]), 1e-12)
    rest[first] = -np.inf
    return tuple(sorted((within[first], within[int(np.argmax(rest))])))


def card_of_hit(hit: Hit, pairs: tuple[PicturePair, ...], thresholds: Thresholds, *, asked: bool) -> Card:
    """A hit as a card; ``asked`` says whether its score means anything."""
    asked = asked and not does_nothing(hit.signature.signature)
    figures = [("Score", f"{hit.score:.3f}")] if asked else []
    doubts = f"{' and '.join(hit.undecided)} near the threshold: more images would tell" if hit.undecided else ""
    return card(
        hit.adapter,
        hit.signature,
        pairs,
        thresholds,
        match=CLARITY[hit.clarity] if asked else "",
        doubts=doubts,
        hidden=hit.hidden or "",
        first=figures,
    )


def card(
    adapter: StoredAdapter,
    stored: StoredSignature,
    pairs: tuple[PicturePair, ...],
    thresholds: Thresholds,
    *,
    match: str = "",
    doubts: str = "",
    hidden: str = "",
    first: Sequence[tuple[str, str]] = (),
) -> Card:
    """An adapter as a card."""
    signature = stored.signature
    figures = [
        *first,
        ("Strength", ranged(signature.strength, signature.grid.strength, 2)),
        ("Consistency", ranged(signature.consistency, signature.grid.consistency, 3)),
        ("Measured", f"{signature.cells} cells, {stored.precision}"),
    ]
    return Card(
        key=adapter.key,
        name=adapter.name,
        match=match,
        manner=effect_words(signature, thresholds),
        directed=has_direction(signature),
        doubts=doubts,
        hidden=hidden,
        pairs=pairs,
        mature=is_mature(adapter),
        weight=f"{tag_weight(adapter):g}",
        path=adapter.paths[0] if adapter.paths else "",
        civitai=civitai_address(adapter),
        figures=tuple(figures),
    )


def ranged(value: float | None, estimate: Estimate | None, digits: int) -> str:
    """``5.81 (5.60 to 6.02)``, the interval where there is one."""
    if value is None:
        return "unknown"
    text = f"{value:.{digits}f}"
    if estimate is None or estimate.lower == estimate.upper:
        return text
    return f"{text} ({estimate.lower:.{digits}f} to {estimate.upper:.{digits}f})"


def tag_weight(adapter: StoredAdapter) -> float:
    """The weight that its author or owner prefers, or 1."""
    weight = adapter.claimed("weight")
    return weight if isinstance(weight, int | float) else 1.0


def civitai_address(adapter: StoredAdapter) -> str:
    """The page of an adapter at Civitai, if its number is known, or ""."""
    model, version = adapter.claimed("civitai_model"), adapter.claimed("civitai_version")
    if adapter.key.startswith("civitai:"):
        model, _, version = adapter.key.removeprefix("civitai:").partition("@")
    if not str(model).isdigit():
        return ""
    address = f"https://civitai.com/models/{model}"
    return f"{address}?modelVersionId={version}" if str(version).isdigit() else address
