"""Queries in, ranked adapters out, with the reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Bool, Float, Float32

from lorascope.encoders.encoding import Encoding, Shifts
from lorascope.errors import LibraryError, QueryError
from lorascope.grid import PromptSet
from lorascope.library import Library, Matrix, StoredAdapter, StoredProtocol, StoredSignature
from lorascope.protocol import Thresholds
from lorascope.search.clarity import Clarity, Unrelated
from lorascope.search.query import Query

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
    """Rows of a matrix by score: those to show, those that thresholds hide (``strong`` says which one), and counts."""

    scores: Float32[np.ndarray, " n"]
    shown: list[int]
    hidden: list[int]
    strong: Bool[np.ndarray, " n"]
    considered: int
    too_strong: int
    too_unstable: int


@dataclass(frozen=True)
class Filters:
    """Which adapters may appear: thresholds on S and C, a base family, folders."""

    thresholds: Thresholds
    family: str = ""
    folder: str = ""


@final
class Searcher:
    """Everything a search needs, kept between queries: the matrix, the query encoder, the reference scores."""

    def __init__(
        self,
        library: Library,
        *,
        protocol: str = "",
        query_encoder: Callable[[StoredProtocol], Shifts] | None = None,
    ) -> None:
        """Load all signatures of one Protocol.

        Args:
            library: where they are.
            protocol: its name or digest; the active one if "".
            query_encoder: how to make the encoder of a Protocol's queries; by default from its preset.

        Raises:
            LibraryError: no such Protocol, or it has no signatures yet.
        """
        self.library = library
        self.stored = library.protocol(protocol)
        self.matrix: Matrix = library.matrix(self.stored.protocol.digest)
        if not len(self.matrix):
            raise LibraryError(f"{library.path} holds no signatures yet: run `lorascope index FOLDER` first")
        self._make_encoder = query_encoder or load_query_encoder

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of the Protocol's preset."""
        return self.stored.preset.thresholds

    def text(
        self,
        query: str,
        *,
        top: int = 10,
        skip: int = 0,
        filters: Filters | None = None,
        encoding: Encoding = "suffix",
    ) -> Answer:
        """Adapters that do what some words say. Phrases may be added and subtracted (see :meth:`Query.parse`).

        Raises:
            QueryError: the query is empty or malformed.
            ModelError: the encoder is not on this disk.
        """
        parsed = Query.parse(query)
        found = self._vectors([term.text for term in parsed.terms], encoding)
        vector = np.sum([term.weight * unit(found[term.text][0]) for term in parsed.terms], axis=0)
        consistency = found[parsed.terms[0].text][1] if len(parsed.terms) == 1 else None
        return self.rank(str(parsed), vector, consistency, top=top, skip=skip, filters=filters)

    def vector(self, phrase: str, encoding: Encoding = "suffix") -> Float32[np.ndarray, " d"]:
        """The vector q' of one phrase."""
        return self._vectors([phrase], encoding)[phrase][0]

    def similar(self, key: str, *, top: int = 10, filters: Filters | None = None) -> Answer:
        """Adapters that do what another one does.

        Raises:
            LibraryError: the adapter has no signature under this Protocol.
        """
        row = self.matrix.places.get(key)
        if row is None:
            raise LibraryError(f"{key} has no signature under {self.stored.protocol}: index it first")
        name = f"like {self.matrix.names[row]}"
        return self.rank(name, self.matrix.directions[row], None, top=top, filters=filters, leave_out=[row])

    def image(self, embedding: Float32[np.ndarray, " d"], *, top: int = 10, filters: Filters | None = None) -> Answer:
        """Adapters that would turn the base model's pictures into ones like this.

        Args:
            embedding: the picture's embedding by the Protocol's encoder.
            top: how many hits.
            filters: which adapters may appear.

        Raises:
            LibraryError: the library was measured elsewhere and knows no mean of bare images.
        """
        return self.rank("image", self.shift(embedding), None, top=top, filters=filters)

    def shift(self, embedding: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
        """What a picture asks for: its embedding minus the mean of bare images.

        Raises:
            LibraryError: the library was measured elsewhere and knows no mean of bare images.
        """
        mean = self.library.baseline_mean(self.stored.protocol.digest)
        if mean is None:
            raise LibraryError(
                f"{self.stored.protocol} came without bare images, so a picture has nothing to be compared with:"
                " search by text or by adapter"
            )
        return embedding - mean

    def rank(
        self,
        name: str,
        vector: Float[np.ndarray, " d"],
        consistency: float | None,
        *,
        top: int = 10,
        skip: int = 0,
        filters: Filters | None = None,
        leave_out: Sequence[int] = (),
    ) -> Answer:
        """Rank by cosine with a vector, after the filters; the first ``skip`` hits are passed over."""
        filters = filters or Filters(self.thresholds)
        found = self.select(vector, filters, top, skip, leave_out)
        return self._answer(name, found, vector, consistency, skip, filters)

    def strongest(self, *, top: int = 10, skip: int = 0, filters: Filters | None = None) -> Answer:
        """Every adapter, whatever it does, by Strength; a hit's score is its Strength here."""
        filters = filters or Filters(self.thresholds)
        found = self._choose(self.matrix.strength.astype(np.float32), filters, top, skip, ())
        return self._answer("", found, None, None, skip, filters)

    def _answer(
        self,
        name: str,
        found: Selection,
        vector: Float[np.ndarray, " d"] | None,
        consistency: float | None,
        skip: int,
        filters: Filters,
    ) -> Answer:
        clarity = self._unrelated if consistency is not None else None
        return Answer(
            name,
            str(self.stored.protocol),
            self._hits(found.shown, found, clarity, skip, filters.thresholds),
            self._hits(found.hidden, found, clarity, skip, None),
            consistency,
            found.considered,
            found.too_strong,
            found.too_unstable,
            vector,
        )

    def select(
        self,
        vector: Float[np.ndarray, " d"],
        filters: Filters,
        top: int,
        skip: int = 0,
        leave_out: Sequence[int] = (),
    ) -> Selection:
        """The rows of the matrix that answer a vector, best first, and the best of those that are hidden."""
        return self._choose(self.scores(vector), filters, top, skip, leave_out)

    def _choose(
        self, scores: Float32[np.ndarray, " n"], filters: Filters, top: int, skip: int, leave_out: Sequence[int]
    ) -> Selection:
        allowed = self._allowed(filters)
        allowed[list(leave_out)] = False
        strong, unstable = self._outside(filters.thresholds)
        strong &= allowed
        unstable &= allowed & ~strong
        return Selection(
            scores,
            _best(scores, allowed & ~strong & ~unstable, skip + top)[skip:],
            _best(scores, strong | unstable, skip + top)[skip:],
            strong,
            int(allowed.sum()),
            int(strong.sum()),
            int(unstable.sum()),
        )

    def scores(self, vector: Float[np.ndarray, " d"]) -> Float32[np.ndarray, " n"]:
        """Cosine of a vector with every Direction."""
        if vector.shape != (self.matrix.directions.shape[1],):
            raise QueryError(
                f"the query vector has shape {vector.shape}, Directions have {self.matrix.directions.shape[1]}"
                " components: use the encoder of the Protocol"
            )
        return self.matrix.directions @ unit(vector)

    def _outside(self, thresholds: Thresholds) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Which adapters are beyond a threshold for certain: too strong, too unstable.

        An adapter whose interval straddles a threshold is not.
        """
        strong = self.matrix.strength_interval[:, 0] > thresholds.strength_max
        high = self.matrix.consistency_interval[:, 1]
        unstable = (high < thresholds.consistency_min) | np.isnan(self.matrix.consistency)
        return strong, unstable & ~np.isneginf(thresholds.consistency_min)

    def _undecided(self, row: int, thresholds: Thresholds) -> tuple[str, ...]:
        low, high = self.matrix.strength_interval[row]
        bottom, ceiling = self.matrix.consistency_interval[row]
        found = []
        if low <= thresholds.strength_max < high:
            found.append("strength")
        if bottom < thresholds.consistency_min <= ceiling:
            found.append("consistency")
        return tuple(found)

    def _allowed(self, filters: Filters) -> Bool[np.ndarray, " n"]:
        allowed = np.ones(len(self.matrix), bool)
        if filters.family:
            allowed &= np.array(self.matrix.families) == filters.family
        if filters.folder:
            folder = Path(filters.folder).absolute()
            inside = {key for path, (key, _, _) in self.library.stamps().items() if folder in Path(path).parents}
            allowed &= np.array([key in inside for key in self.matrix.keys])
        return allowed

    def _hits(
        self,
        rows: Sequence[int],
        found: Selection,
        unrelated: Unrelated | None,
        skip: int,
        thresholds: Thresholds | None,
    ) -> tuple[Hit, ...]:
        """Make hits of rows; those without thresholds are hidden ones."""
        keys = [self.matrix.keys[row] for row in rows]
        adapters = self.library.adapters(keys)
        signatures = self.library.signatures(self.stored.protocol.digest, keys)
        standing = unrelated.standing(found.scores) if unrelated is not None else None
        return tuple(
            Hit(
                rank,
                float(found.scores[row]),
                unrelated.word(float(standing[row])) if unrelated is not None and standing is not None else None,
                adapters[key],
                signatures[key],
                () if thresholds is None else self._undecided(row, thresholds),
                None if thresholds is not None else "too strong" if found.strong[row] else "too unstable",
            )
            for rank, (row, key) in enumerate(zip(rows, keys, strict=True), skip + 1)
        )

    @cached_property
    def encoder(self) -> Shifts:
        """The encoder of queries, loaded at first use."""
        return self._make_encoder(self.stored)

    @property
    def ready(self) -> bool:
        """Whether the reference queries were encoded before, so that the first answer does not wait for them."""
        phrases = PromptSet.load(self.stored.preset.reference).texts
        return len(self.library.vectors(query_identity(self.stored), "suffix", phrases)) == len(phrases)

    def prepare(self) -> None:
        """Encode the reference queries, which tell how unrelated words score. Takes a while, once per library."""
        _ = self._unrelated

    @cached_property
    def _unrelated(self) -> Unrelated:
        phrases = PromptSet.load(self.stored.preset.reference).texts
        found = self._vectors(phrases, "suffix")
        return Unrelated(self.matrix.directions, np.stack([unit(found[phrase][0]) for phrase in phrases]))

    def _vectors(
        self, texts: Sequence[str], encoding: Encoding
    ) -> Mapping[str, tuple[Float32[np.ndarray, " d"], float | None]]:
        """Query vectors and their Consistencies, from the library where they are known."""
        identity = query_identity(self.stored)
        known: dict[str, Any] = self.library.vectors(identity, encoding, texts)
        fresh = {text: _encode(self.encoder, text, encoding) for text in dict.fromkeys(texts) if text not in known}
        if fresh:
            self.library.put_vectors(identity, encoding, fresh)
        return known | fresh


def _encode(encoder: Shifts, text: str, encoding: Encoding) -> tuple[Float32[np.ndarray, " d"], float | None]:
    from lorascope.signature import consistency

    shifts = encoder.shifts(text, encoding)
    return shifts.mean(0), consistency(shifts.astype(np.float64))


def query_identity(stored: StoredProtocol) -> str:
    """What decides query vectors: the encoder and P'. Encoders of imported libraries are known by name only."""
    encoder = stored.protocol.encoder_digest or stored.protocol.encoder
    return f"{encoder}-{PromptSet.load(stored.preset.query_prompts).digest}"


def load_query_encoder(stored: StoredProtocol, *, download: bool = False) -> Shifts:
    """The query encoder of a Protocol, checked against the one its signatures were measured with.

    Raises:
        ModelError: it is not on this disk.
        LibraryError: it is another one than the signatures were measured with.
    """
    import torch

    from lorascope.encoders.clip import load_text_encoder
    from lorascope.encoders.suffix import QueryEncoder

    if stored.preset.threads:
        torch.set_num_threads(stored.preset.threads)
    protocol = stored.protocol
    encoder = load_text_encoder(protocol.encoder, download=download)
    if protocol.encoder_digest not in ("", encoder.digest):
        raise LibraryError(
            f"{protocol} was measured with an encoder of digest {protocol.encoder_digest}, but {protocol.encoder} is"
            f" now {encoder.digest}: put the former one back, or index again"
        )
    return QueryEncoder(encoder, PromptSet.load(stored.preset.query_prompts))


def unit(vector: Float[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
    """A vector of length 1 in its direction; 0 stays 0."""
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector).astype(np.float32)


def _best(scores: Float32[np.ndarray, " n"], allowed: Bool[np.ndarray, " n"], top: int) -> list[int]:
    """Rows of the highest scores, best first; equal ones in row order."""
    rows = np.flatnonzero(allowed)
    if top < len(rows):
        rows = rows[np.sort(np.argpartition(-scores[rows], top)[:top])]
    return [int(row) for row in rows[np.argsort(-scores[rows], kind="stable")]]
