"""Requests in, ranked adapters out, with the reasons."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Float32

from lorascope.caches import Note, quiet
from lorascope.encoders.encoding import Encoding, Shifts
from lorascope.errors import LibraryError
from lorascope.library import Library, Matrix, StoredProtocol
from lorascope.protocol import Thresholds
from lorascope.search.answer import Answer, Hit
from lorascope.search.clarity import Clarity, ClarityScale
from lorascope.search.phrases import Phrases
from lorascope.search.query import spelt
from lorascope.search.ranker import Ranker, Selection
from lorascope.search.ranking import Ranked
from lorascope.search.request import Example, Filters, Request
from lorascope.search.vectors import combined, unit

PictureEncoder = Callable[[Library, StoredProtocol, str], Float32[np.ndarray, " d"]]
"""Embeds the picture of a name by the encoder of a Protocol."""


def embed_file(library: Library, stored: StoredProtocol, name: str) -> Float32[np.ndarray, " d"]:
    """Embed a picture file by the encoder of a Protocol.

    Raises:
        QueryError: it cannot be read as a picture.
        ModelError: the encoder is not on this disk.
    """
    from lorascope.encoders.pictures import embed_picture

    return embed_picture(Path(name), stored.protocol.encoder)


@final
class Searcher:
    """Answers requests under one Protocol. What a search needs is loaded once and kept between requests.

    Examples:
        >>> [hit.adapter.name for hit in Searcher(library).search(Request("red", limit=1)).hits]
        ['redder']
    """

    def __init__(
        self,
        library: Library,
        *,
        protocol: str = "",
        query_encoder: Callable[[StoredProtocol], Shifts] | None = None,
        picture_encoder: PictureEncoder = embed_file,
        note: Note = quiet,
    ) -> None:
        """Load all signatures of one Protocol.

        Args:
            library: where they are.
            protocol: its name or digest; the active one if "".
            query_encoder: how to make the encoder of a Protocol's queries; by default from its preset.
            picture_encoder: how to embed the pictures that requests name; by default they are files.
            note: is called with progress of what has to be built once: the matrix of a large library, its index, the
                query encoder's cache, reference queries.

        Raises:
            LibraryError: no such Protocol, or it has no signatures yet.
        """
        self.library = library
        self.stored = library.protocols.find(protocol)
        self.matrix: Matrix = library.signatures.matrix(self.stored.protocol.digest, note)
        if not len(self.matrix):
            raise LibraryError(
                f"{library.path} holds no signatures yet: run `lorascope index FOLDER --library {library.path}` first"
            )
        self.ranker = Ranker(self.matrix)
        carried = library.phrases.all(self.stored.protocol.digest)
        self.phrases = Phrases(self.stored, query_encoder, note, carried)
        self._clarity = ClarityScale(self.phrases, self.matrix)
        self._picture_encoder = picture_encoder
        self._note = note

    def bound_to(self, library: Library) -> Searcher:
        """The same searcher over another connection to its library. Everything else is shared."""
        bound = copy.copy(self)
        bound.library = library
        return bound

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds of the Protocol's preset."""
        return self.stored.preset.thresholds

    def search(self, request: Request) -> Answer:
        """Rank adapters by what they do.

        Raises:
            QueryError: the parts of the query cancel each other out, or a picture cannot be read.
            LibraryError: an adapter that is named has no signature under this Protocol, or a picture is named but the
                library was measured elsewhere and knows no mean of bare images.
            ModelError: the encoder is not on this disk.
        """
        filters = request.filters(self.thresholds)
        if request.browsing:
            vector = None
            selection = self.ranker.listed(
                filters, self.library, request.last, order=request.order, hidden=request.hidden
            )
        else:
            rows = [self._row_of(example) for example in request.adapters]
            vector = self._combined(request, rows)
            selection = self.ranker.select(
                vector, filters, self.library, request.last, hidden=request.hidden, leave_out=rows
            )
        return self._answer(request, filters, vector, selection)

    def select(self, vector: Float[np.ndarray, " d"], filters: Filters, top: int) -> Selection:
        """The rows of the matrix that are nearest to a vector, without reading what they are."""
        return self.ranker.select(vector, filters, self.library, top)

    def scores(self, vectors: Float[np.ndarray, "*q d"]) -> Float32[np.ndarray, "*q n"]:
        """Cosine with every Direction, of one vector or of each of several at once."""
        return self.ranker.scores(vectors)

    def vector(self, phrase: str, encoding: Encoding = "suffix") -> Float32[np.ndarray, " d"]:
        """The vector q' of one phrase."""
        return self.phrases.vectors([phrase], encoding)[phrase][0]

    def vectors(self, phrases: Sequence[str]) -> Float32[np.ndarray, "phrases d"]:
        """The vectors of several phrases, each of length 1. Those that were encoded before are not encoded again."""
        return unit(self.phrases.rows(phrases))

    def carry(self, phrases: Sequence[str]) -> None:
        """Have the library carry the vectors of phrases and of the reference queries, as far as they are known.

        Where it is opened without the encoder, they are found all the same.
        """
        digest = self.stored.protocol.digest
        wanted = {*phrases, *self._clarity.queries} - self.library.phrases.all(digest).keys()
        self.library.phrases.put(digest, self.phrases.known(sorted(wanted)))

    def consistency(self, phrase: str) -> float | None:
        """The Consistency of a phrase's shifts over the prompts of P'."""
        return self.phrases.vectors([phrase])[phrase][1]

    def row(self, key: str) -> int | None:
        """The row of the matrix in which an adapter is, by its key; None if it has no signature."""
        number = self.library.adapters.number(key)
        rows = np.flatnonzero(self.matrix.ids == (-1 if number is None else number))
        return int(rows[0]) if len(rows) else None

    @property
    def ready(self) -> bool:
        """Whether all that has to be built once is there, so that the first answer does not wait for it."""
        return not self.ranker.wants_index and self._clarity.ready

    def prepare(self) -> None:
        """Build what has to be built once: the index of a very large library, the vectors of the reference queries.

        These tell how unrelated words score. Without an index all products are computed.
        """
        if self.ranker.wants_index:
            self.ranker.build_index(self._note)
        self._clarity.prepare()

    def _row_of(self, example: Example) -> int:
        row = self.row(example.name)
        if row is None:
            raise LibraryError(f"{example.name[:80]} has no signature under {self.stored.protocol}: index it first")
        return row

    def _combined(self, request: Request, rows: Sequence[int]) -> Float[np.ndarray, " d"]:
        """Phrases, adapters and pictures, each of length 1 times its weight, added up."""
        terms = request.query.terms
        vectors = self.phrases.vectors([term.text for term in terms], request.encoding) if terms else {}
        parts = [term.weight * unit(vectors[term.text][0]) for term in terms]
        parts += [one.weight * self.matrix.directions[row] for one, row in zip(request.adapters, rows, strict=True)]
        parts += [picture.weight * unit(self._shift(picture.name)) for picture in request.pictures]
        return combined(parts)

    def _shift(self, picture: str) -> Float32[np.ndarray, " d"]:
        """What a picture asks for: its embedding minus the mean of bare images."""
        mean = self.library.protocols.baseline_mean(self.stored.protocol.digest)
        if mean is None:
            raise LibraryError(
                f"{self.stored.protocol} came without bare images, so a picture has nothing to be compared with:"
                " search by text or by adapter"
            )
        return self._picture_encoder(self.library, self.stored, picture) - mean

    def _answer(
        self, request: Request, filters: Filters, vector: Float[np.ndarray, " d"] | None, selection: Selection
    ) -> Answer:
        terms = request.query.terms
        one_phrase = len(terms) == 1 and terms[0].weight > 0 and not (request.adapters or request.pictures)
        clarities = self._clarity.words(selection.shown) | self._clarity.words(selection.hidden) if one_phrase else {}
        shown = _part(selection.shown, request.offset, request.limit)
        hidden = _part(selection.hidden, request.hidden_offset, request.limit)
        return Answer(
            request,
            self._spelling(request),
            self.stored,
            filters,
            self._hits(shown, request.offset, clarities, filters.thresholds, hidden=False),
            self._hits(hidden, request.hidden_offset, clarities, filters.thresholds, hidden=True),
            selection.considered,
            selection.too_strong,
            selection.too_inconsistent,
            vector,
        )

    def _spelling(self, request: Request) -> str:
        """All that was asked, on one line."""
        parts = [str(request.query)] if request.words else []
        if pictures := len(request.pictures):
            parts.append("this picture" if pictures == 1 else f"{pictures} pictures")
        named = self.library.adapters.get([example.name for example in request.adapters])
        for example in request.adapters:
            name = f"{'like' if example.weight > 0 else 'unlike'} {named[example.name].name}"
            parts.append(name if abs(example.weight) == 1 else f"{name}:{spelt(abs(example.weight))}")
        return ", ".join(parts)

    def _hits(
        self, ranked: Ranked, offset: int, clarities: dict[int, Clarity], thresholds: Thresholds, *, hidden: bool
    ) -> tuple[Hit, ...]:
        """Make hits of rows. An adapter that was removed since the matrix was read is no hit any more."""
        adapters = self.library.adapters.numbered(self.matrix.ids[list(ranked)].tolist())
        keys = [adapter.key for adapter in adapters.values()]
        signatures = self.library.signatures.get(self.stored.protocol.digest, keys)
        hits: list[Hit] = []
        for rank, (row, score) in enumerate(ranked.items(), offset + 1):
            adapter = adapters.get(int(self.matrix.ids[row]))
            signature = signatures.get(adapter.key) if adapter is not None else None
            if adapter is None or signature is None:
                continue
            undecided = () if hidden else self.ranker.undecided(row, thresholds)
            why = self.ranker.hidden_by(row, thresholds) if hidden else None
            hits.append(Hit(rank, score, clarities.get(row), adapter, signature, undecided, why))
        return tuple(hits)


def _part(ranked: Ranked, offset: int, limit: int) -> Ranked:
    return dict(list(ranked.items())[offset : offset + limit])
