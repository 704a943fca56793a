"""Cards: an adapter's pictures, words and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from jaxtyping import Float

from lorascope.analysis import advise, known_curves
from lorascope.library import BARE, Library, Mark, Pin, StoredAdapter, StoredProtocol, StoredSignature
from lorascope.library.webp import LARGE, MEDIUM, SMALL
from lorascope.library.words import measured_words
from lorascope.report.words import CLARITY, does_nothing, effect_words, has_direction, is_mature
from lorascope.search import Hit
from lorascope.server.analyses import Words
from lorascope.server.views import large_pictures, picture_address
from lorascope.signature import Estimate

_ROOTS = ("loras", "lora", "lycoris")
"""Names of the folders that image tools keep LoRAs in."""
_WITNESSES = 12
"""How many of the first hits decide which cells are shown."""


@dataclass(frozen=True)
class Picture:
    """A stored picture: its address, and its width and height in pixels as it is sent without further ado.

    ``widths`` are those of the other sizes that there are, by their names in an address.
    """

    address: str
    width: int
    height: int
    widths: tuple[tuple[str, int], ...] = ()

    @property
    def srcset(self) -> str:
        """All sizes, as an image element chooses from them; "" where there is one."""
        sizes = [*((f"{self.address}&size={name}", width) for name, width in self.widths), (self.address, self.width)]
        ordered = sorted(sizes, key=lambda one: one[1])
        return ", ".join(f"{address} {width}w" for address, width in ordered) if self.widths else ""

    @property
    def small(self) -> str:
        """The address of its smallest size."""
        return f"{self.address}&size=small" if self.widths else self.address


@dataclass(frozen=True)
class PicturePair:
    """One pinned cell: its picture without an adapter, None where it is not kept, and with it."""

    place: int
    prompt: str
    without: Picture | None
    with_: Picture


@dataclass(frozen=True)
class Card:
    """One adapter on a page. ``match`` is "" where nothing was asked; ``path`` and ``civitai`` where unknown.

    ``directed`` says whether its effects have a common direction, so that others can be like or unlike it. ``words``
    say what it does. ``triggers`` is what is appended to a prompt to call it up, as ", word, word". ``mark`` is what a
    person keeps about it.
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
    words: tuple[str, ...] = ()
    triggers: str = ""
    mark: Mark = Mark()

    @property
    def emphasis(self) -> str:
        """The element around ``match``: a weak match is not as loud as a clear one."""
        return "span" if self.match == CLARITY["weak"] else "b"

    @property
    def file(self) -> str:
        """Its file as image tools name it: without extension, below the folder of LoRAs; "" without a file."""
        if not self.path:
            return ""
        parts = PurePath(self.path).with_suffix("").parts
        roots = [place for place, part in enumerate(parts[:-1]) if part.casefold() in _ROOTS]
        return "/".join(parts[roots[-1] + 1 :] if roots else parts[-1:])

    @property
    def stem(self) -> str:
        """The name in its tag: that of its file, for tools know no titles."""
        return PurePath(self.path).stem if self.path else self.name

    @property
    def strength(self) -> str:
        """Its Strength, with the interval."""
        return dict(self.figures)["Strength"]

    @property
    def consistency(self) -> str:
        """Its Consistency, with the interval."""
        return dict(self.figures)["Consistency"]

    @property
    def tag(self) -> str:
        """The tag to paste into a prompt."""
        return f"<lora:{self.stem}:{self.weight}>"


@dataclass(frozen=True)
class Cells:
    """The pinned cells of some adapters and of the bare model under one Protocol, and how large their pictures are.

    ``weights`` are the advised ones, of adapters that were measured at several; ``marks`` are favourites and notes.
    ``large`` are adapter and place of the pictures that are kept large.
    """

    protocol: StoredProtocol
    pins: Mapping[str, Mapping[int, Pin]]
    weights: Mapping[str, float]
    marks: Mapping[str, Mark]
    large: Set[tuple[str, int]]

    @classmethod
    def of(cls, library: Library, protocol: StoredProtocol, keys: Iterable[str]) -> Cells:
        """Look up which pictures there are."""
        wanted = list(keys)
        curves = known_curves(library, protocol.protocol.digest, wanted)
        weights = {key: weight for key, curve in curves.items() if (weight := advise(curve).weight) is not None}
        pins = library.previews.pins(protocol.protocol, [BARE, *wanted])
        large = large_pictures(library, protocol.protocol, wanted)
        return cls(protocol, pins, weights, library.marks.get(wanted), large)

    @property
    def tiny(self) -> bool:
        """Whether pictures are so small that the browser must enlarge them; it should not smear them."""
        return self.protocol.protocol.width <= 128

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures in pixels, as they were made."""
        return self.protocol.protocol.width, self.protocol.protocol.height

    def scenes(self) -> list[tuple[str, str]]:
        """Place and prompt of each pinned cell of the bare model."""
        return [(str(place), pin.prompt) for place, pin in sorted(self.pins.get(BARE, {}).items())]

    def pair(self, key: str, place: int | None) -> tuple[PicturePair, ...]:
        """The pictures of one cell, or of an adapter's first one where it lacks that; none if it has none."""
        found = self.pairs(key)
        return tuple(pair for pair in found if pair.place == place) or found[:1]

    def pairs(self, key: str) -> tuple[PicturePair, ...]:
        """Pictures without and with an adapter, of all cells."""
        own, bare = self.pins.get(key, {}), self.pins.get(BARE, {})
        return tuple(
            PicturePair(
                place,
                own[place].prompt,
                self._picture(BARE, place) if place in bare else None,
                self._picture(key, place),
            )
            for place in sorted(own)
        )

    def _picture(self, key: str, place: int) -> Picture:
        longest = max(self.size)
        names = [("small", SMALL), *([("large", LARGE)] if (key, place) in self.large else [])]
        width, height = (side * min(MEDIUM, longest) // longest for side in self.size)
        widths = tuple((name, self.size[0] * min(most, longest) // longest) for name, most in names if longest > SMALL)
        return Picture(picture_address(key, place, self.protocol.protocol.digest), width, height, widths)


def telling_cell(
    library: Library, keys: Sequence[str], vector: Float[np.ndarray, " d"] | None, cells: Cells
) -> int | None:
    """The pinned cell that matters most for a query, the same for every card of its answer; None if there is none.

    The effect of each of the first hits on each cell is projected on the query's vector. The cell is the one where
    these projections spread most over the hits. Where nothing was asked, or no evidence is kept, it is the first.
    """
    places = sorted(set(cells.pins.get(BARE, {})).union(*(cells.pins.get(key, {}) for key in keys)))
    if vector is None or len(places) < 2 or not library.has_evidence:
        return next(iter(places), None)
    rows = [
        blocks[0].adapted.astype(np.float32) - blocks[0].bare.astype(np.float32)
        for key in keys[:_WITNESSES]
        if (blocks := library.evidence.blocks(key, cells.protocol.protocol.digest, end=1))
    ]
    known = min((len(row) for row in rows), default=0)
    within = [place for place in places if place < known]
    if not within:
        return places[0]
    along = np.stack([row[within] @ vector for row in rows])
    spread = along.std(axis=0) if len(rows) > 1 else np.abs(along[0])
    return within[int(spread.argmax())]


def card_of_hit(hit: Hit, cells: Cells, place: int | None, *, asked: bool, words: Words | None = None) -> Card:
    """A hit as a card; ``asked`` says whether its score means anything."""
    asked = asked and not does_nothing(hit.signature.signature)
    figures = [("Score", f"{hit.score:.3f}")] if asked else []
    doubts = f"{' and '.join(hit.undecided)} near the threshold: more images would tell" if hit.undecided else ""
    return card(
        hit.adapter,
        hit.signature,
        cells,
        cells.pair(hit.adapter.key, place),
        words=words,
        match=CLARITY[hit.clarity] if asked else "",
        doubts=doubts,
        hidden=hit.hidden or "",
        first=figures,
    )


def card(
    adapter: StoredAdapter,
    stored: StoredSignature,
    cells: Cells,
    pairs: tuple[PicturePair, ...],
    *,
    words: Words | None = None,
    match: str = "",
    doubts: str = "",
    hidden: str = "",
    first: Sequence[tuple[str, str]] = (),
) -> Card:
    """An adapter as a card."""
    signature, protocol = stored.signature, cells.protocol
    figures = [
        *first,
        ("Strength", ranged(signature.strength, signature.grid.strength, 2)),
        ("Consistency", ranged(signature.consistency, signature.grid.consistency, 3)),
        ("Measured", f"on {signature.cells} pictures, {stored.precision}"),
    ]
    return Card(
        key=adapter.key,
        name=adapter.name,
        match=match,
        manner="; ".join(filter(None, (adapter.facts.other_kind, effect_words(signature, protocol.preset.thresholds)))),
        directed=has_direction(signature),
        doubts=doubts,
        hidden=hidden,
        pairs=pairs,
        mature=is_mature(adapter),
        weight=f"{cells.weights.get(adapter.key, tag_weight(adapter)):g}",
        path=adapter.paths[0] if adapter.paths else "",
        civitai=civitai_address(adapter),
        figures=tuple(figures),
        words=words.of.get(adapter.key, ()) if words else (),
        triggers=measured_words(adapter, protocol.protocol),
        mark=cells.marks.get(adapter.key, Mark()),
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
