"""Queries in, ranked adapters out, with the reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Float32

from lorascope.caches import Note
from lorascope.encoders.encoding import Encoding, Shifts
from lorascope.errors import LibraryError, QueryError
from lorascope.library import Library, Matrix, StoredProtocol
from lorascope.protocol import Thresholds
from lorascope.search.answer import Answer, Filters, Hidden, Hit, Selection
from lorascope.search.approximate import build_index, can_build, open_index
from lorascope.search.clarity import MEANINGLESS, Clarity, Unrelated
from lorascope.search.phrases import Phrases
from lorascope.search.query import Query
from lorascope.search.ranking import EXACT, EXACT_HIDDEN, Mask, Ranked, best, highest

_FILTERS_KEPT = 16
_NOTHING = 1e-5
"""A sum of vectors that is shorter than this share of the longest one is rounding."""


@dataclass(frozen=True)
class _Admitted:
    """What filters make of the rows of a matrix: no row is in two of these."""

    shown: Mask
    strong: Mask
    unstable: Mask


@final
class Searcher:
    """Everything a search needs, kept between queries: the matrix, its index, the query encoder, reference queries."""

    def __init__(
        self,
        library: Library,
        *,
        protocol: str = "",
        query_encoder: Callable[[StoredProtocol], Shifts] | None = None,
        note: Note | None = None,
    ) -> None:
        """Load all signatures of one Protocol.

        Args:
            library: where they are.
            protocol: its name or digest; the active one if "".
            query_encoder: how to make the encoder of a Protocol's queries; by default from its preset.
            note: hears of what has to be built once: the matrix of a large library, its index, the query encoder's
                cache, reference queries.

        Raises:
            LibraryError: no such Protocol, or it has no signatures yet.
        """
        self.library = library
        self.stored = library.protocols.find(protocol)
        self.matrix: Matrix = library.signatures.matrix(self.stored.protocol.digest, note)
        if not len(self.matrix):
            raise LibraryError(f"{library.path} holds no signatures yet: run `lorascope index FOLDER` first")
        self._phrases = Phrases(self.stored, query_encoder, note)
        self._note = note
        self._admitted: dict[Filters, _Admitted] = {}
        self._index_home = self.matrix.folder if len(self.matrix) > EXACT else None
        self._index = open_index(self._index_home) if self._index_home is not None else None

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
        skip_hidden: int = 0,
        filters: Filters | None = None,
        encoding: Encoding = "suffix",
    ) -> Answer:
        """Adapters that do what some words say. Phrases may be added and subtracted (see :meth:`Query.parse`).

        Raises:
            QueryError: the query is empty or malformed, or its phrases cancel each other out.
            ModelError: the encoder is not on this disk.
        """
        parsed = Query.parse(query)
        found = self._phrases.vectors([term.text for term in parsed.terms], encoding)
        vector = added([term.weight * unit(found[term.text][0]) for term in parsed.terms])
        consistency = found[parsed.terms[0].text][1] if len(parsed.terms) == 1 else None
        return self.rank(str(parsed), vector, consistency, top=top, skip=skip, skip_hidden=skip_hidden, filters=filters)

    def vector(self, phrase: str, encoding: Encoding = "suffix") -> Float32[np.ndarray, " d"]:
        """The vector q' of one phrase."""
        return self._phrases.vectors([phrase], encoding)[phrase][0]

    def similar(self, key: str, *, top: int = 10, filters: Filters | None = None) -> Answer:
        """Adapters that do what another one does.

        Raises:
            LibraryError: the adapter has no signature under this Protocol.
        """
        row = self.row(key)
        if row is None:
            raise LibraryError(f"{key} has no signature under {self.stored.protocol}: index it first")
        name = self.library.adapters.get([key])[key].name
        return self.rank(f"like {name}", self.matrix.directions[row], None, top=top, filters=filters, leave_out=[row])

    def row(self, key: str) -> int | None:
        """The row of the matrix in which an adapter is, by its key; None if it has no signature."""
        number = self.library.adapters.number(key)
        rows = np.flatnonzero(self.matrix.ids == (-1 if number is None else number))
        return int(rows[0]) if len(rows) else None

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
        mean = self.library.protocols.baseline_mean(self.stored.protocol.digest)
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
        skip_hidden: int = 0,
        filters: Filters | None = None,
        leave_out: Sequence[int] = (),
    ) -> Answer:
        """Rank by cosine with a vector, after the filters.

        The first ``skip`` hits are passed over, and the first ``skip_hidden`` of those that are hidden.
        """
        filters = filters or Filters(self.thresholds)
        found = self.select(vector, filters, top, skip, skip_hidden, leave_out)
        return self._answer(name, found, vector, consistency, filters)

    def strongest(
        self, *, top: int = 10, skip: int = 0, skip_hidden: int = 0, filters: Filters | None = None
    ) -> Answer:
        """Every adapter, whatever it does, by Strength; a hit's score is its Strength here."""
        filters = filters or Filters(self.thresholds)
        masks = self._admit(filters, ())
        count = max(skip, skip_hidden) + top
        groups = [highest(self.matrix, self.matrix.strength, mask, count) for mask, _ in _groups(masks)]
        return self._answer("", _selection(masks, groups, top, (skip, skip_hidden)), None, None, filters)

    def select(
        self,
        vector: Float[np.ndarray, " d"],
        filters: Filters,
        top: int,
        skip: int = 0,
        skip_hidden: int = 0,
        leave_out: Sequence[int] = (),
    ) -> Selection:
        """The rows of the matrix that answer a vector, best first, and the best of those that are hidden."""
        masks = self._admit(filters, leave_out)
        count = max(skip, skip_hidden) + top
        groups = best(self.matrix, unit(self._checked(vector)), _groups(masks), count, self._index)
        return _selection(masks, groups, top, (skip, skip_hidden))

    def scores(self, vectors: Float[np.ndarray, "*q d"]) -> Float32[np.ndarray, "*q n"]:
        """Cosine with every Direction, of one vector or of each of several at once."""
        return (self.matrix.directions @ unit(self._checked(vectors)).T).T

    def _checked(self, vectors: Float[np.ndarray, "*q d"]) -> Float[np.ndarray, "*q d"]:
        if vectors.shape[-1:] != self.matrix.directions.shape[1:]:
            raise QueryError(
                f"the query vector has shape {vectors.shape}, Directions have {self.matrix.directions.shape[1]}"
                " components: use the encoder of the Protocol"
            )
        return vectors

    def _answer(
        self,
        name: str,
        found: Selection,
        vector: Float[np.ndarray, " d"] | None,
        consistency: float | None,
        filters: Filters,
    ) -> Answer:
        unrelated = self._unrelated if consistency is not None else None
        return Answer(
            name,
            str(self.stored.protocol),
            self._hits(found.shown, unrelated, found.skipped[0], filters.thresholds, hidden=False),
            self._hits(found.hidden, unrelated, found.skipped[1], filters.thresholds, hidden=True),
            consistency,
            found.considered,
            found.too_strong,
            found.too_unstable,
            vector,
        )

    def _admit(self, filters: Filters, leave_out: Sequence[int]) -> _Admitted:
        """What filters make of the rows. Remembered, for the next query mostly has the same ones."""
        found = self._admitted.get(filters)
        if found is None:
            allowed = self._allowed(filters)
            strong, unstable = self._outside(filters.thresholds)
            strong &= allowed
            unstable &= allowed & ~strong
            found = _Admitted(allowed & ~strong & ~unstable, strong, unstable)
            if len(self._admitted) >= _FILTERS_KEPT:
                self._admitted.clear()
            self._admitted[filters] = found
        if not leave_out:
            return found
        parts = [part.copy() for part in (found.shown, found.strong, found.unstable)]
        for part in parts:
            part[list(leave_out)] = False
        return _Admitted(*parts)

    def _allowed(self, filters: Filters) -> Mask:
        if not filters.family and not filters.folder:
            return np.ones(len(self.matrix), bool)
        members = self.library.adapters.members(filters.family, Path(filters.folder) if filters.folder else None)
        return np.isin(self.matrix.ids, members)

    def _outside(self, thresholds: Thresholds) -> tuple[Mask, Mask]:
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

    def _hits(
        self, found: Ranked, unrelated: Unrelated | None, skip: int, thresholds: Thresholds, *, hidden: bool
    ) -> tuple[Hit, ...]:
        """Make hits of rows. An adapter that was removed since the matrix was read is no hit any more."""
        labels = self.library.adapters.labels(self.matrix.ids[list(found)].tolist())
        keys = {number: key for number, (key, _, _) in labels.items()}
        adapters = self.library.adapters.get(keys.values())
        signatures = self.library.signatures.get(self.stored.protocol.digest, keys.values())
        words = self._words(found, unrelated)
        hits: list[Hit] = []
        for rank, (row, score) in enumerate(found.items(), skip + 1):
            key = keys.get(int(self.matrix.ids[row]), "")
            if key not in adapters or key not in signatures:
                continue
            undecided = () if hidden else self._undecided(row, thresholds)
            why = self._why(row, thresholds) if hidden else None
            hits.append(Hit(rank, score, words.get(row), adapters[key], signatures[key], undecided, why))
        return tuple(hits)

    def _why(self, row: int, thresholds: Thresholds) -> Hidden:
        return "too strong" if self.matrix.strength_interval[row, 0] > thresholds.strength_max else "too unstable"

    def _words(self, found: Ranked, unrelated: Unrelated | None) -> dict[int, Clarity]:
        """How clear each hit is, where that can be told."""
        if unrelated is None or not found:
            return {}
        standing = unrelated.standing(self.matrix.directions[list(found)], np.array(list(found.values())))
        return {row: unrelated.word(float(value)) for row, value in zip(found, standing, strict=True)}

    @property
    def encoder(self) -> Shifts:
        """The encoder of queries, loaded at first use."""
        return self._phrases.encoder

    @property
    def ready(self) -> bool:
        """Whether all that has to be built once is there, so that the first answer does not wait for it."""
        unrelated = (*self._phrases.references, *MEANINGLESS)
        return not self._index_wanted and len(self._phrases.known(unrelated)) == len(unrelated)

    def prepare(self) -> None:
        """Build what has to be built once: the index of a very large library, the vectors of the reference queries.

        These tell how unrelated words score. Without an index all products are computed.
        """
        if self._index_wanted:
            self.build_index()
        _ = self._unrelated

    def build_index(self) -> None:
        """Build the index of a very large library, where FAISS is installed and the caches can be written."""
        if self._index_home is not None and can_build(self._index_home):
            self._index = build_index(self._index_home, self.matrix.directions.mapped, self._note)

    @property
    def _index_wanted(self) -> bool:
        return self._index is None and self._index_home is not None and can_build(self._index_home)

    @cached_property
    def _unrelated(self) -> Unrelated:
        count = len(self._phrases.references)
        vectors = unit(self._phrases.rows((*self._phrases.references, *MEANINGLESS)))
        return Unrelated(vectors[:count], vectors[count:], len(self.matrix))


def _groups(masks: _Admitted) -> list[tuple[Mask, int]]:
    """What is ranked: rows that are shown, rows that are hidden; and how many of each are ranked without an index."""
    return [(masks.shown, EXACT), (masks.strong | masks.unstable, EXACT_HIDDEN)]


def _selection(masks: _Admitted, groups: Sequence[Ranked], top: int, skip: tuple[int, int]) -> Selection:
    """Rows are passed over up to the part that is asked for: of those that are shown, and of those that are hidden."""
    shown, hidden = (dict(list(group.items())[first : first + top]) for group, first in zip(groups, skip, strict=True))
    counts = [int(np.count_nonzero(part)) for part in (masks.shown, masks.strong, masks.unstable)]
    return Selection(shown, hidden, sum(counts), counts[1], counts[2], skip)


def unit(vectors: Float[np.ndarray, "*q d"]) -> Float32[np.ndarray, "*q d"]:
    """Vectors of length 1 in their directions; 0 stays 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def added(parts: Sequence[Float[np.ndarray, " d"]]) -> Float[np.ndarray, " d"]:
    """The sum of what is asked.

    Raises:
        QueryError: nothing is left of several parts.
    """
    total = np.sum(parts, axis=0)
    if len(parts) > 1 and np.linalg.norm(total) < _NOTHING * max(float(np.linalg.norm(part)) for part in parts):
        raise QueryError(
            "the query cancels itself out, as 'snow -snow' does: leave a part out, or give one another weight"
        )
    return total
