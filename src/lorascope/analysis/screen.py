"""Screening adapters against reference works: substantiality, volition, resemblance, and what each figure rests on."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, final

import numpy as np
from jaxtyping import Float64

from lorascope.analysis.cells import Cells, cells_of, known_grid
from lorascope.analysis.position import Field, Position, field_of, positions
from lorascope.analysis.resemblance import Nearness, Resemblance, false_alarms, holm, read_works
from lorascope.caches import Note, quiet
from lorascope.encoders.base import PictureEncoder
from lorascope.encoders.pictures import embed_picture
from lorascope.errors import LibraryError, QueryError
from lorascope.library import BARE, Library, Preview, StoredAdapter, StoredProtocol
from lorascope.protocol import borrowed_thresholds
from lorascope.signature import CategoryProfile, Estimate

CELLS = 48
"""Cells of each of the other adapters that the null is made of; of the adapter itself, all there are."""
_OTHERS = 400
_OTHERS_SECOND = 60
"""Adapters of the null, at most: by the encoder that measured, and by a second one, which has to embed pictures."""
ALPHA = 0.05
_BEYOND = 1.0
"""So many robust standard deviations a pull has to stand higher than that towards a control, for certain."""

Verdict = Literal["found", "found by the first encoder only", "not found"]


@final
@dataclass(frozen=True)
class Prompts:
    """The cells of some prompts: how many, the mean gain less the usual, and the share that came nearer."""

    name: str
    cells: int
    gain: float
    nearer: float


@final
@dataclass(frozen=True, eq=False)
class Likeness:
    """What both encoders say of an adapter and one set of works.

    Attributes:
        first: by the encoder that measured, on all cells.
        adjusted: its chance, corrected over all works of the question (Holm), the larger of both tests.
        second: by another encoder, on the kept pictures; None if none was asked.
        prompts: the categories of prompts, those that came nearest first.
        best: the prompts of the grid that came nearest, with their gains.
        beyond: for each control, how much higher the pull stands than that towards it, with an interval over prompts.
    """

    first: Resemblance
    adjusted: float
    second: Resemblance | None
    prompts: tuple[Prompts, ...]
    best: tuple[tuple[str, float], ...]
    beyond: tuple[tuple[str, Estimate], ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Whether it resembles the works beyond chance, and more than each control; a second encoder has to agree."""
        more = all(one.lower >= _BEYOND for _, one in self.beyond)
        if self.adjusted > ALPHA or self.first.pull.lower <= 0 or not more:
            return "not found"
        agrees = self.second is None or self.second.chance <= ALPHA
        return "found" if agrees else "found by the first encoder only"


@final
@dataclass(frozen=True, eq=False)
class Case:
    """All that a screening says of one adapter.

    Attributes:
        adapter: what is known about it.
        protocol: under which it was measured.
        cells: how many pictures with the adapter, and as many without, the figures rest on; 0 without evidence.
        trigger_words: what was appended to the prompts of the adapter's pictures, "" if nothing.
        positions: substantiality and volition; None where there is nothing to compare with.
        field: the paper's field, where the positions are known.
        categories: Strength and Consistency by kind of prompt.
        likenesses: to each set of works; none without evidence.
        pairs: kept pictures without and with the adapter, with the cell's place.
        evidence: digest of what was measured, see :func:`evidence_digest`; "" without evidence.
        left_out: what was not looked at, and why.
    """

    adapter: StoredAdapter
    protocol: StoredProtocol
    cells: int
    trigger_words: str
    positions: tuple[Position, Position] | None
    field: Field | None
    categories: tuple[CategoryProfile, ...]
    likenesses: tuple[Likeness, ...]
    pairs: tuple[tuple[Preview, Preview], ...]
    evidence: str
    left_out: tuple[str, ...]


@final
@dataclass(frozen=True)
class Ranked:
    """An adapter that resembles some works: its standing, chance, and the share of false alarms down to it."""

    key: str
    name: str
    works: str
    standing: float
    chance: float
    false_alarms: float


@final
class Screening:
    """A library compared with sets of works. Works are embedded once, for any number of adapters."""

    def __init__(
        self,
        library: Library,
        folders: Sequence[Path],
        encoder: PictureEncoder,
        *,
        controls: Sequence[Path] = (),
        protocol: str = "",
        second: PictureEncoder | None = None,
        note: Note = quiet,
    ) -> None:
        """Read the works and what was measured of the library's adapters; no picture is made.

        Args:
            library: with evidence of at least the adapters in question.
            folders: of pictures, one for each protected work, character or style.
            encoder: the one of the Protocol.
            controls: folders of pictures that no adapter is suspected of: works like those in question, by others.
            protocol: by name or digest; the active one if "".
            second: an independent encoder, which looks at the kept pictures.
            note: is called with progress.

        Raises:
            QueryError: a folder is none, or its pictures cannot be read, or two have one name.
            LibraryError: no such Protocol, its prompts are not on this disk, or it knows no bare images.
        """
        self._library, self._second = library, second
        self._note = note
        self.stored = library.protocols.find(protocol)
        self._grid = known_grid(self.stored)
        self._matrix = library.signatures.matrix(self.stored.protocol.digest)
        centre = library.protocols.baseline_mean(self.stored.protocol.digest)
        if centre is None:
            raise LibraryError(
                f"{self.stored.protocol} came without bare images, so pictures have nothing to be compared with:"
                " index the files in question here"
            )
        self._centre = centre.astype(np.float64)
        self.works = tuple(read_works(folder, encoder) for folder in folders)
        self.controls = tuple(read_works(folder, encoder) for folder in controls)
        names = [works.name for works in (*self.works, *self.controls)]
        if len(set(names)) < len(names):
            raise QueryError(f"two folders of pictures are called {max(names, key=names.count)!r}: rename one of them")
        self._folders = tuple(folders)

    def case(self, key: str) -> Case:
        """Screen one adapter.

        Raises:
            LibraryError: it has no signature under the Protocol.
        """
        library, digest = self._library, self.stored.protocol.digest
        adapter = library.adapters.get([key]).get(key)
        signature = library.signatures.get(digest, [key]).get(key)
        if adapter is None or signature is None:
            raise LibraryError(f"{key} has no signature under {self.stored.protocol}: index it first")
        placed = positions(self._matrix, self._matrix.places[key], published=not self._borrowed)
        cells = cells_of(library, self._grid, digest, key)
        pairs = self._pictures(key)
        likenesses: tuple[Likeness, ...] = ()
        if cells is not None:
            nearness = self._nearness([key], _OTHERS)
            second = self._looked_at_again(key) if self._second is not None and pairs else [None] * len(self.works)
            found = nearness.resemblances(key)[: len(self.works)]
            adjusted = holm([max(one.chance, one.paired) for one in found])
            beyond = [
                tuple((control.name, nearness.beyond(key, one.name, control.name)) for control in self.controls)
                for one in self.works
            ]
            likenesses = tuple(
                self._likeness(*one, cells.prompts) for one in zip(found, adjusted, second, beyond, strict=True)
            )
        return Case(
            adapter, self.stored, 0 if cells is None else len(cells), self._words(adapter), placed,
            None if placed is None else field_of(*placed), signature.signature.categories, likenesses, pairs,
            evidence_digest(library, key, digest), self._left_out(adapter, cells is not None, bool(pairs), placed),
        )  # fmt: skip

    def ranking(self) -> list[Ranked]:
        """Every adapter with evidence and every set of works, what resembles most first."""
        nearness = self._nearness(self._matrix.keys, len(self._matrix))
        standings = nearness.standings()[:, : len(self.works)]
        chances = [nearness.chance(float(standing)) for standing in standings.ravel()]
        names = dict(zip(self._matrix.keys, self._matrix.names, strict=True))
        ranked = [
            Ranked(key, names[key], works.name, float(standing), chance, alarms)
            for (key, works), standing, chance, alarms in zip(
                ((key, works) for key in nearness.keys for works in self.works),
                standings.ravel(), chances, false_alarms(chances), strict=True,
            )
        ]  # fmt: skip
        return sorted(ranked, key=lambda one: (one.chance, -one.standing))

    @property
    def _borrowed(self) -> bool:
        """Whether the published library's figures say nothing about this base model and encoder."""
        return bool(borrowed_thresholds(self.stored.protocol, self.stored.preset.thresholds)) or (
            self.stored.protocol.family != "sdxl"
        )

    def _others(self, keys: Iterable[str], most: int) -> list[str]:
        """Some adapters, and evenly spaced others, which the null is made of."""
        wanted, every = set(keys), self._matrix.keys
        step = -(-len(every) // most)
        return [key for place, key in enumerate(every) if key in wanted or place % step == 0]

    def _nearness(self, keys: Iterable[str], most: int) -> Nearness:
        asked, pairs = set(keys), dict[str, Cells]()
        chosen = self._others(asked, most)
        for place, key in enumerate(chosen):
            self._note("reading what was measured", place, len(chosen))
            cells = cells_of(self._library, self._grid, self.stored.protocol.digest, key)
            if cells is not None:
                pairs[key] = cells if asked == {key} else cells.first(CELLS)
        return Nearness(pairs, self._directions(pairs), (*self.works, *self.controls), self._centre)

    def _directions(self, keys: Iterable[str]) -> dict[str, Float64[np.ndarray, " d"]]:
        matrix = self._matrix
        return {key: np.asarray(matrix.directions[[matrix.places[key]]])[0].astype(np.float64) for key in keys}

    def _looked_at_again(self, key: str) -> list[Resemblance]:
        """One adapter's kept pictures compared with the works, by the second encoder."""
        assert self._second is not None
        works = [read_works(folder, self._second) for folder in self._folders]
        bare = embedded_pictures(self._library, self.stored, BARE, self._second)
        centre = np.mean(list(bare.values()), axis=0)
        pairs: dict[str, Cells] = {}
        chosen = self._others([key], _OTHERS_SECOND)
        for place, other in enumerate(chosen):
            self._note("pictures for the second encoder", place, len(chosen))
            adapted = embedded_pictures(self._library, self.stored, other, self._second)
            if found := pictures_beside(adapted, bare):
                pairs[other] = found
        return Nearness(pairs, self._directions(pairs), works, centre).resemblances(key)

    def _likeness(
        self,
        first: Resemblance,
        adjusted: float,
        second: Resemblance | None,
        beyond: tuple[tuple[str, Estimate], ...],
        prompts: np.ndarray,
    ) -> Likeness:
        texts, categories = self._grid.prompts.texts, np.array(self._grid.prompts.categories)[prompts]
        kinds = [
            Prompts(str(name), int(own.sum()), float(first.gains[own].mean()), float((first.gains[own] > 0).mean()))
            for name in dict.fromkeys(categories.tolist())
            for own in [categories == name]
        ]
        means = {prompt: float(first.gains[prompts == prompt].mean()) for prompt in np.unique(prompts).tolist()}
        best = sorted(means, key=lambda prompt: -means[prompt])[:5]
        order = tuple(sorted(kinds, key=lambda one: -one.gain))
        nearest = tuple((texts[prompt], means[prompt]) for prompt in best)
        return Likeness(first, adjusted, second, order, nearest, beyond)

    def _pictures(self, key: str) -> tuple[tuple[Preview, Preview], ...]:
        previews, protocol = self._library.previews, self.stored.protocol
        bare = {one.place: one for one in previews.all(previews.scene(protocol, BARE), BARE)}
        return tuple((bare[one.place], one) for one in previews.all(protocol.scene, key) if one.place in bare)

    def _words(self, adapter: StoredAdapter) -> str:
        return adapter.facts.measured_words.get(self.stored.protocol.scene, "").removeprefix(", ")

    def _left_out(
        self, adapter: StoredAdapter, evidence: bool, pictures: bool, placed: tuple[Position, Position] | None
    ) -> tuple[str, ...]:
        words = self._words(adapter)
        lines = [
            "" if evidence else "Resemblance to works: what was measured of this adapter is not here, only its"
            " signature. Index its file here.",
            "" if pictures else "Pictures: none are kept of this adapter here.",
            "" if self._second is not None else "A second, independent encoder: none was named (--encoder).",
            "" if placed else "Substantiality and volition: there are too few adapters here to stand among.",
            f"Prompts without the trigger words {words!r}: all pictures with the adapter were made with them, so what"
            " appears is asked for by name." if words else "",
            f"Other weights than {self.stored.protocol.scale:g}, other base models, other prompts than the Protocol's.",
            "The pictures that the adapter was trained on, and how they were obtained.",
            "Single pictures as copies: nearness is a mean over the works of a folder.",
        ]  # fmt: skip
        return tuple(filter(None, lines))


def embedded_pictures(
    library: Library, stored: StoredProtocol, key: str, encoder: PictureEncoder
) -> dict[int, Float64[np.ndarray, " d"]]:
    """The kept pictures of an adapter, or of the bare model (``BARE``), by place, as another encoder sees them."""
    previews = library.previews
    pictures = previews.all(previews.scene(stored.protocol, key), key)
    return {one.place: embed_picture(io.BytesIO(one.webp), encoder).astype(np.float64) for one in pictures}


def pictures_beside(
    adapted: Mapping[int, Float64[np.ndarray, " d"]], bare: Mapping[int, Float64[np.ndarray, " d"]]
) -> Cells | None:
    """Pairs of the places that both have; None if there is none. No two kept pictures are of one prompt."""
    places = [place for place in adapted if place in bare]
    if not places:
        return None
    return Cells(np.array(places), *(np.stack([arm[place] for place in places]) for arm in (adapted, bare)), floor=0.0)


def evidence_digest(library: Library, key: str, protocol: str) -> str:
    """SHA-256 over what was measured of an adapter: every block's number, Execution, noise floor and embeddings.

    The same evidence gives the same digest on any machine, so that a case can be checked later; "" without evidence.
    """
    blocks = library.evidence.blocks(key, protocol) if library.has_evidence else []
    whole = sha256()
    for block in blocks:
        whole.update(f"{block.index} {block.execution} {block.noise_floor!r} {block.adapted.shape}\n".encode())
        whole.update(block.adapted.tobytes())
        whole.update(block.bare.tobytes())
    return whole.hexdigest() if blocks else ""
