"""Phrases as query vectors: taken from those that are kept, or encoded and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Float32

from lorascope.caches import Note, quiet
from lorascope.encoders.encoding import Encoding, Shifts, query_identity
from lorascope.errors import LibraryError, ModelError
from lorascope.grid import PromptSet
from lorascope.library import StoredProtocol
from lorascope.models import cache_dir
from lorascope.protocol import Protocol
from lorascope.search.vectors import Known, QueryVectors

_FEW = 8
"""So many phrases are encoded without a word on how far it is."""


@final
class Phrases:
    """The query vectors of one Protocol. The encoder is loaded when a phrase is met that is not known."""

    def __init__(
        self,
        stored: StoredProtocol,
        make_encoder: Callable[[StoredProtocol], Shifts] | None,
        note: Note,
        carried: Mapping[str, Known],
    ) -> None:
        """Bind a Protocol to the kept vectors of its encoder and its P'.

        Args:
            stored: the Protocol.
            make_encoder: how to make its encoder; by default from its preset.
            note: is called with progress.
            carried: vectors that the library brought along, for phrases that cannot be encoded here.
        """
        self._stored = stored
        self._carried = carried
        self._make_encoder = make_encoder
        self._note = note
        protocol = stored.protocol
        prompts = PromptSet.load(stored.preset.query_prompts)
        self._identity = query_identity(protocol.encoder_digest, protocol.encoder, prompts)
        self._kept = QueryVectors(cache_dir() / "vectors.db")

    @cached_property
    def encoder(self) -> Shifts:
        """The encoder of queries, loaded at first use."""
        if self._make_encoder is not None:
            return self._make_encoder(self._stored)
        return load_query_encoder(self._stored, note=self._note)

    @property
    def references(self) -> tuple[str, ...]:
        """The reference phrases of the Protocol's preset, which tell how unrelated words score."""
        return PromptSet.load(self._stored.preset.reference).texts

    def rows(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts d"]:
        """The vectors of some phrases as rows, encoded where they are not known."""
        found = self.vectors(texts)
        return np.stack([found[text][0] for text in texts])

    def known(self, texts: Sequence[str], encoding: Encoding = "suffix") -> dict[str, Known]:
        """Vectors and Consistencies of those phrases that were encoded before."""
        return self._kept.get(self._identity, encoding, texts)

    def unknown(self, texts: Sequence[str]) -> list[str]:
        """Those of some phrases that were never encoded, each once."""
        known = self.known(texts)
        return [text for text in dict.fromkeys(texts) if text not in known]

    def vectors(self, texts: Sequence[str], encoding: Encoding = "suffix") -> Mapping[str, Known]:
        """Vectors and Consistencies of all phrases.

        Raises:
            ModelError: the encoder is not on this disk, and the library has not brought one of them along.
        """
        found = self.known(texts, encoding)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        try:
            self._encode(missing, encoding, found)
        except ModelError:
            if encoding != "suffix" or not self._carried.keys() >= {text for text in missing if text not in found}:
                raise
            found = {text: self._carried[text] for text in missing if text not in found} | found
        return found

    def _encode(self, missing: Sequence[str], encoding: Encoding, found: dict[str, Known]) -> None:
        """Encode phrases, and keep their vectors for later."""
        try:
            for place, text in enumerate(missing):
                if len(missing) > _FEW:
                    self._note("encoding phrases", place, len(missing))
                found[text] = _encode(self.encoder, text, encoding)
        finally:  # what an interruption has left is not lost
            if encoded := {text: found[text] for text in missing if text in found}:
                self._kept.put(self._identity, encoding, encoded)


def _encode(encoder: Shifts, text: str, encoding: Encoding) -> Known:
    from lorascope.signature import consistency

    shifts = encoder.shifts(text, encoding)
    return shifts.mean(0), consistency(shifts.astype(np.float64))


def load_query_encoder(
    stored: StoredProtocol, *, location: str = "", download: bool = False, note: Note = quiet
) -> Shifts:
    """The query encoder of a Protocol, checked against the one its signatures were measured with.

    Args:
        stored: the Protocol.
        location: where the encoder is now; "" looks where it was when the library was measured.
        download: fetch an encoder that is not on this disk.
        note: is called with progress while the prefix cache is built.

    Raises:
        ModelError: it is not on this disk.
        LibraryError: it is another one than the signatures were measured with.
    """
    from lorascope.encoders.load import load_text_encoder
    from lorascope.encoders.suffix import QueryEncoder

    protocol = stored.protocol
    encoder = load_text_encoder(location or protocol.encoder, download=download)
    check_encoder(protocol, encoder.digest, location or protocol.encoder)
    return QueryEncoder(encoder, PromptSet.load(stored.preset.query_prompts), note)


def check_encoder(protocol: Protocol, digest: str, location: str) -> None:
    """Make sure that an encoder is the one of a Protocol.

    Raises:
        LibraryError: it is another one.
    """
    if protocol.encoder_digest not in ("", digest):
        raise LibraryError(
            f"{protocol} was measured with an encoder of digest {protocol.encoder_digest}, but {location} is"
            f" now {digest}: put the former one back, or index again"
        )
