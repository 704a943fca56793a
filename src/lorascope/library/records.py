"""What comes out of a library: plain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lorascope.library.facts import AdapterFacts
from lorascope.precision import SCREENED
from lorascope.protocol import Preset, Protocol
from lorascope.signature import Signature


@dataclass(frozen=True)
class StoredProtocol:
    """A Protocol of the library, the preset it came from, and where its signatures were measured ("" for here)."""

    protocol: Protocol
    preset: Preset
    origin: str
    adapters: int

    def goes_by(self, name: str) -> bool:
        """Whether this is a Protocol's name, its digest, or both."""
        return name in (self.protocol.name, self.protocol.digest, str(self.protocol))


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter of the library: its key (``sha256:...`` or ``civitai:MODEL@VERSION``), name, places and facts."""

    key: str
    name: str
    family: str
    paths: tuple[str, ...]
    facts: AdapterFacts

    @property
    def was_here(self) -> bool:
        """Whether its file was ever read here; of one whose signature was pulled, nothing of the file is known."""
        return bool(self.paths or self.facts.format)

    @property
    def address(self) -> str:
        """Where its file can be had, if that is known."""
        model, version = self.claimed("civitai_model"), self.claimed("civitai_version")
        return f"https://civitai.com/models/{model}?modelVersionId={version}" if model and version else ""

    def claimed(self, name: str) -> Any:
        """What is claimed of it under a name, such as ``triggers``, wherever it was found; None if nothing is.

        What its file and its sidecars say goes before what sites were asked for.
        """
        claim = self.facts.claims.get(name)
        if claim is not None:
            return claim.value
        return next((one["claims"][name] for one in self.facts.sites.values() if name in one["claims"]), None)


@dataclass(frozen=True)
class StoredSignature:
    """A signature with the Precision it was measured to and when (seconds since 1970).

    The precision may also be ``screened`` with a threshold, see :data:`lorascope.precision.SCREENED`. ``origin`` says
    where it was imported from and when, "" if it was measured here; ``claimed`` that no evidence here backs it.
    """

    signature: Signature
    precision: str
    measured: float
    origin: str = ""
    claimed: bool = False

    @property
    def provenance(self) -> str:
        """Where it was measured, in words: here, or elsewhere as evidence shows or as is claimed."""
        if not self.origin:
            return "here"
        return f"claimed by {self.origin}, without evidence" if self.claimed else f"from the evidence of {self.origin}"

    @property
    def screened(self) -> str:
        """The threshold by which measuring ended early, as ``strength>9.8``, or ""."""
        label, _, threshold = self.precision.partition(" ")
        return threshold if label == SCREENED else ""


@dataclass(frozen=True)
class Pin:
    """What a kept picture shows: its prompt and seed."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Preview:
    """One kept picture: its place among the pinned cells, its prompt and seed, and the WebP file."""

    place: int
    prompt: str
    seed: int
    webp: bytes


@dataclass(frozen=True)
class Refusal:
    """A file that was left out, with the reason and the remedy."""

    path: str
    code: str
    reason: str
    remedy: str
