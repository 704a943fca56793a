"""What a library knows of an adapter besides its signatures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lorascope.adapters import Adapter, Claims
from lorascope.adapters.claims import Claim
from lorascope.errors import printable

_FORMER_NAMES = {"worn": "measured_words"}
"""Fields that have another name in libraries of 0.1.0."""


@dataclass(frozen=True)
class AdapterFacts:
    """Facts of an adapter's file, what is claimed of it, and how it was measured.

    Attributes:
        format: Who writes such files: ``kohya``, ``peft``...; "" if it was imported without its file.
        kinds: How many modules of each kind it changes, such as ``{"lora": 192}``.
        ranks: Every rank that occurs, in ascending order.
        components: How many modules of each part of the base model it changes.
        tokens: The words by which prompts call its textual inversions.
        size: Bytes of its file.
        claims: What is said about it, by name (``triggers``, ``title``...), each with where it was found.
        notes: What a reader of the file should know, such as a base that it was made for.
        read_from: The file that it was measured from.
        tensors: A digest of its tensors and settings, by which a file that differs in metadata only is recognised.
        autov3: The first 12 digits of the SHA-256 of what follows the file's header, by which sites name it.
        measured_words: The trigger words that it was measured with, by scene, as ``", word, word"``.
        modules_matched: How many of its modules the base model has; None before it was measured.
        modules_total: How many modules it has.
        unmatched: The first of its modules that the base model does not have.
        prompts_cut: How many prompts are too long for the base model with its trigger words.
        spectra: Size and shape of its change of the weights (see :class:`lorascope.adapters.spectra.Spectrum`), by
            base model and scale.
        word_shares: By scene, how much of its effect is left without each trigger word, with its interval (see
            :mod:`lorascope.analysis.triggers`).
        folder_name: Its name in the published table that it was imported from.
        downloads: How often it was downloaded, as that table says.
        sites: What sites say of it, by their name: the ``date`` of the answer and its ``claims``.
        unknown: Fields that a newer lorascope wrote. They are kept.
    """

    format: str = ""
    kinds: Mapping[str, int] = field(default_factory=dict[str, int])
    ranks: tuple[int, ...] = ()
    components: Mapping[str, int] = field(default_factory=dict[str, int])
    tokens: tuple[str, ...] = ()
    size: int = 0
    claims: Mapping[str, Claim[Any]] = field(default_factory=dict[str, Claim[Any]])
    notes: tuple[str, ...] = ()
    read_from: str = ""
    tensors: str = ""
    autov3: str = ""
    measured_words: Mapping[str, str] = field(default_factory=dict[str, str])
    modules_matched: int | None = None
    modules_total: int | None = None
    unmatched: tuple[str, ...] = ()
    prompts_cut: int = 0
    spectra: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    word_shares: Mapping[str, Mapping[str, Mapping[str, float]]] = field(
        default_factory=dict[str, Mapping[str, Mapping[str, float]]]
    )
    folder_name: str | None = None
    downloads: Any = None
    sites: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    unknown: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def kind(self) -> str:
        """What sort of component it is: ``adapter``, ``textual inversion``, ``ControlNet`` or ``IP-Adapter``."""
        return self.other_kind or "adapter"

    @property
    def other_kind(self) -> str:
        """Its kind, if it is no adapter; else ""."""
        return self.format if self.format in self.kinds else ""

    @classmethod
    def of(cls, adapter: Adapter) -> AdapterFacts:
        """What a file says of itself."""
        claims = {
            one.name: claim
            for one in dataclasses.fields(Claims)
            if one.name != "notes" and (claim := getattr(adapter.claims, one.name)) is not None
        }
        return cls(
            format=adapter.format,
            kinds=dict(adapter.kinds),
            ranks=tuple(adapter.ranks),
            components=dict(adapter.components),
            tokens=adapter.tokens,
            size=adapter.size,
            claims=claims,
            notes=tuple(printable(note) for note in (*adapter.notes, *adapter.claims.notes)),
        )

    @classmethod
    def from_json(cls, text: str) -> AdapterFacts:
        """The inverse of :meth:`to_json`. Also reads what lorascope 0.1.0 wrote.

        >>> AdapterFacts.from_json('{"worn": {"scene": ", ink"}, "new": 1}')  # doctest: +ELLIPSIS
        AdapterFacts(... measured_words={'scene': ', ink'}, ... unknown={'new': 1})
        """
        written: dict[str, Any] = json.loads(text)
        fields = {_FORMER_NAMES.get(name, name): value for name, value in written.items()}
        if spectrum := fields.pop("spectrum", None):
            fields["spectra"] = {spectrum.pop("worn_as", ""): spectrum}
        fields["claims"] = {name: Claim(**claim) for name, claim in fields.get("claims", {}).items()}
        for name in ("ranks", "tokens", "unmatched", "notes"):
            fields[name] = tuple(fields.get(name, ()))
        known = {one.name for one in dataclasses.fields(cls)} - {"unknown"}
        unknown = {name: fields.pop(name) for name in fields.keys() - known}
        return cls(**fields, unknown=unknown)

    def to_json(self) -> str:
        """All that is known, as JSON; fields that say nothing are left out."""
        nothing = AdapterFacts().to_dict()
        fields = self.to_dict()
        return json.dumps(
            {name: fields[name] for name in fields if name not in nothing or fields[name] != nothing[name]}
        )

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain data."""
        fields = dataclasses.asdict(self)
        return fields | fields.pop("unknown")
