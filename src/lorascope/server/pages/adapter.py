"""The page of one adapter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup
from pydantic import BeforeValidator

from lorascope.adapters.items import file_of
from lorascope.analysis import Advice, advise, findings, known_curves
from lorascope.analysis.weight import pictures
from lorascope.errors import LorascopeError
from lorascope.library import BARE, LONGEST_NOTE, Library, Mark, StoredAdapter, StoredProtocol, StoredSignature
from lorascope.precision import PRECISIONS
from lorascope.report.curve import curve_svg
from lorascope.report.words import does_nothing, has_direction
from lorascope.search import Hit
from lorascope.server.file_manager import show_file
from lorascope.server.pages.address import Address
from lorascope.server.pages.cards import Card, Cells, card, ranged
from lorascope.server.pages.choice import flag_label
from lorascope.server.pages.gauge import WIDTH, Gauge
from lorascope.server.pages.render import adapter_address, page, plain_text
from lorascope.server.problems import Problem
from lorascope.server.shared_state import SharedState, StateOf, known_adapter, named_protocol
from lorascope.server.views import picture_address
from lorascope.signature import CategoryProfile, Signature

router = APIRouter(include_in_schema=False)

_LEAST_SHARE = 0.1
"""Of its Strength: where an adapter has less in a category, it is said to do nothing there."""
_PHRASES = 4
"""How many of the claimed phrases are searched for, to see whether the adapter does what they say."""


@dataclass(frozen=True)
class Category:
    """A bar of the profile. ``alignment`` is the cosine between the effect here and the whole one, -1 to 1."""

    name: str
    word: str
    alignment: float
    strength: float


@dataclass(frozen=True)
class Measured:
    """A signature under one Protocol, prepared for the template."""

    protocol: StoredProtocol
    signature: Signature
    stored: StoredSignature
    strength: Gauge
    consistency: Gauge | None
    profile: tuple[Category, ...]


@dataclass(frozen=True)
class Weights:
    """What an adapter does over weights: what is advised, the Curve as SVG, and a picture for each weight."""

    advice: Advice
    drawing: Markup
    strip: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Other:
    """The same adapter under another Protocol."""

    name: str
    address: str
    strength: str
    consistency: str


@router.get("/adapters/{key}")
def adapter(request: Request, state: StateOf, key: str, protocol: Annotated[str, Query()] = "") -> Response:
    """Pictures, signature, neighbours, claims and facts."""
    with state.library() as library:
        found = known_adapter(library, key)
        under = _signatures(library, key)
        if not under:
            return page(request, "unmeasured.html.jinja", adapter=found, facts=_facts(found))
        chosen = named_protocol([stored for stored, _ in under.values()], protocol)
        stored = under[chosen.protocol.digest][1]
        cells = Cells.of(library, chosen, [key])
        shown = card(found, stored, cells, cells.pairs(key), words=state.words(chosen))
        both = state.neighbours(key, chosen.protocol.digest) if shown.directed else ((), ())
        nearest, opposite = (_row(library, chosen, hits) for hits in both)
        weights = _weights(library, chosen, key)
        said = findings(library, chosen.protocol.digest, [key])
    return page(
        request,
        "adapter.html.jinja",
        adapter=found,
        card=shown,
        measured=_measured(chosen, stored),
        claims=_claims(found, chosen, stored.signature),
        facts=_facts(found),
        others=_others(under, chosen),
        gone=bool(found.paths) and not any(file_of(path).exists() for path in found.paths),
        weights=weights,
        library=state.settings.library,
        findings=[(flag_label(one.flag, 1), one) for one in said if one.flag != "gone"],
        nearest=nearest,
        opposite=opposite,
        phrases=claimed_phrases(found) if shown.directed else [],
        nothing=does_nothing(stored.signature),
        served=_served(state, found),
        precisions=_above(stored.precision),
        tiny=cells.tiny,
        size=(chosen.protocol.width, chosen.protocol.height),
        width=WIDTH,
        address=Address(protocol=protocol),
    )


def _served(state: SharedState, adapter: StoredAdapter) -> str:
    """The path of its file in a folder that may be indexed, or ""."""
    files = map(file_of, adapter.paths)
    return next((str(file) for file in files if any(map(file.is_relative_to, state.settings.folders))), "")


def _above(precision: str) -> list[str]:
    """The precisions that are finer than one."""
    names = list(PRECISIONS)
    return names[names.index(precision) + 1 :] if precision in names else names[1:]


def _plain_lines(text: str) -> str:
    """A form ends lines with two characters, where its field counts one."""
    return text.replace("\r\n", "\n")


@router.post("/adapters/{key}/note")
def note(
    state: StateOf,
    key: str,
    note: Annotated[str, BeforeValidator(_plain_lines), Form(max_length=LONGEST_NOTE)] = "",
    protocol: Annotated[str, Query()] = "",
) -> Response:
    """Keep a note about an adapter, in place of an earlier one."""
    with state.library() as library:
        known_adapter(library, key)
        library.marks.put(key, replace(library.marks.get([key]).get(key, Mark()), note=note.strip()))
    return RedirectResponse(f"{adapter_address(key, protocol)}#noted", 303)


@router.post("/adapters/{key}/folder")
def folder(state: StateOf, key: str) -> Response:
    """Show its file in the file manager, for a person at this machine."""
    if not state.settings.local:
        raise Problem(403, "not-local", "only a server that nobody else can reach opens folders", "copy the path")
    with state.library() as library:
        paths = known_adapter(library, key).paths
    show_file(next((place for place in map(file_of, paths) if place.exists()), Path(paths[0] if paths else key)))
    return Response(status_code=204)


@router.get("/adapters/{key}/words")
def words(request: Request, state: StateOf, key: str, protocol: Annotated[str, Query()] = "") -> Response:
    """Search for the words that an adapter is described by, and show its rank for each."""
    with state.library() as library:
        found = known_adapter(library, key)
        searcher = state.searcher(library, protocol)
        row = searcher.matrix.places.get(key)
        if row is None:
            raise Problem(404, "unknown-adapter", f"{found.name} has no signature under {searcher.stored.protocol}")
        ranks: list[tuple[str, int]] = []
        problem = ""
        try:
            for phrase in claimed_phrases(found):
                scores = searcher.scores(searcher.vector(phrase))
                ranks.append((phrase, int((scores > scores[row]).sum()) + 1))
        except LorascopeError as error:
            problem = str(error)
    address = Address(protocol=protocol)
    return page(request, "words.html.jinja", ranks=ranks, among=len(searcher.matrix), problem=problem, address=address)


def claimed_phrases(adapter: StoredAdapter) -> list[str]:
    """Its title and first tags, as phrases that can be searched for."""
    tags = adapter.claimed("tags")
    phrases = [adapter.claimed("title"), *(tags if isinstance(tags, list) else ())]
    texts = [" ".join(phrase.replace("_", " ").split()) for phrase in phrases if isinstance(phrase, str)]
    return [text for text in dict.fromkeys(texts) if text][:_PHRASES]


def _weights(library: Library, protocol: StoredProtocol, key: str) -> Weights | None:
    """One scene at every weight at which an adapter was measured; None if it was measured at one only."""
    curve = known_curves(library, protocol.protocol.digest, [key]).get(key)
    if curve is None:
        return None
    advice, digest = advise(curve), protocol.protocol.digest
    strip = tuple(
        (f"{one.scale:g}", f"{picture_address(key if one.scale else BARE, 0, digest, one.scale or None)}&size=small")
        for one in pictures(library, protocol.protocol, key, curve)
    )
    return Weights(advice, Markup(curve_svg(curve, advice)), strip)


def _signatures(library: Library, key: str) -> dict[str, tuple[StoredProtocol, StoredSignature]]:
    """Signatures by the digest of their Protocol, the active one first."""
    return {
        stored.protocol.digest: (stored, signatures[key])
        for stored in library.protocols.all()
        if (signatures := library.signatures.get(stored.protocol.digest, [key]))
    }


def _measured(protocol: StoredProtocol, stored: StoredSignature) -> Measured:
    signature, thresholds = stored.signature, protocol.preset.thresholds
    grid, new = signature.grid, signature.new_prompts
    consistency = signature.consistency
    return Measured(
        protocol,
        signature,
        stored,
        Gauge.of(signature.strength, grid.strength, new.strength, thresholds.strength_max, math.inf),
        None
        if consistency is None
        else Gauge.of(consistency, grid.consistency, new.consistency, thresholds.consistency_min, 1.0),
        _profile(signature),
    )


def _profile(signature: Signature) -> tuple[Category, ...]:
    """The categories, those where the adapter does most nearly what it does on the whole first; none if it has none."""
    if not has_direction(signature):
        return ()
    least = _LEAST_SHARE * signature.strength
    rows = [_category(profile, acts=profile.strength >= least) for profile in signature.categories]
    return tuple(sorted(rows, key=lambda category: -category.alignment))


def _category(profile: CategoryProfile, *, acts: bool) -> Category:
    """A category with a word for it. Levels of the cosine between its mean effect and the Direction."""
    if not acts:
        return Category(profile.category.replace("_", " "), "does nothing here", 0.0, profile.strength)
    steps = ((0.3, "does something else"), (0.6, "partly"), (0.85, "mostly"))
    word = next((word for limit, word in steps if profile.alignment < limit), "as everywhere")
    return Category(profile.category.replace("_", " "), word, profile.alignment, profile.strength)


def _row(library: Library, protocol: StoredProtocol, hits: Sequence[Hit]) -> list[tuple[Card, float]]:
    """Neighbours with one picture each."""
    cells = Cells.of(library, protocol, [hit.adapter.key for hit in hits])
    return [
        (card(hit.adapter, hit.signature, cells, cells.pairs(hit.adapter.key)[:1]), hit.score)
        for hit in hits
        if has_direction(hit.signature.signature)
    ]


def _others(under: dict[str, tuple[StoredProtocol, StoredSignature]], chosen: StoredProtocol) -> list[Other]:
    return [
        Other(
            str(protocol.protocol),
            f"?protocol={digest}",
            ranged(stored.signature.strength, stored.signature.grid.strength, 2),
            ranged(stored.signature.consistency, stored.signature.grid.consistency, 3),
        )
        for digest, (protocol, stored) in under.items()
        if digest != chosen.protocol.digest
    ]


def _claims(adapter: StoredAdapter, protocol: StoredProtocol, signature: Signature) -> list[tuple[str, str, str, str]]:
    """Each claim with what was measured beside it: (name, value, source, measured)."""
    facts = adapter.facts
    policy = {
        "adapter": "appended to its own prompts",
        "both": "appended to both sides' prompts",
        "none": "not used",
    }[protocol.protocol.triggers]
    matched, total = facts.modules_matched, facts.modules_total
    beside = {
        "base_model": f"{adapter.family}; {matched} of {total} modules fit" if total else adapter.family,
        "weight": f"at {protocol.protocol.scale:g}: Strength {signature.strength:.2f}",
        "triggers": policy,
    }
    return [
        (name.replace("_", " "), _spelt(claim.value), claim.source, beside.get(name, ""))
        for name, claim in facts.claims.items()
    ]


def _spelt(value: Any) -> str:
    text = plain_text(", ".join(map(str, value)) if isinstance(value, list) else str(value))
    return text if len(text) <= 600 else f"{text[:600]} …"


def _facts(adapter: StoredAdapter) -> list[tuple[str, str]]:
    facts = adapter.facts
    rows = [("Kind", facts.kind), ("Base family", adapter.family)]
    if facts.kinds and facts.kind == "adapter":
        rows += [
            ("Format", facts.format),
            ("Modules", ", ".join(f"{count} {kind}" for kind, count in facts.kinds.items())),
            ("Rank", ", ".join(map(str, facts.ranks)) or "none"),
            ("Changes", ", ".join(f"{part} ({count})" for part, count in facts.components.items())),
            ("Size", f"{np.format_float_positional(facts.size / 1e6, 2, trim='-')} MB"),
        ]
    if facts.prompts_cut:
        rows.append(("Prompts cut", f"{facts.prompts_cut} are too long for the base model with its trigger words"))
    notes = (("Note", note) for note in facts.notes)
    return [*rows, *notes, *(("File", path) for path in adapter.paths), ("Key", adapter.key)]
