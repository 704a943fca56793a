"""Cards: all that another program shows of an adapter; look-ups, phrases and copies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from lorascope.analysis import Curve, advise, known_curves
from lorascope.library import BARE, Library, Mark, StoredAdapter, StoredProtocol, StoredSignature
from lorascope.report.words import effect_words
from lorascope.server.api.adapter_answers import DuplicateGroups, PhrasesRow
from lorascope.server.api.adapters import AdapterKey
from lorascope.server.api.answers import LookUpAnswer
from lorascope.server.api.openapi import errors, errors_of_change
from lorascope.server.api.schemas import LookUp, ProtocolName
from lorascope.server.problems import Problem
from lorascope.server.shared_state import SharedState, StateOf, known_adapter
from lorascope.server.views import brief_adapter, figures, large_pictures, pinned_cells

router = APIRouter(tags=["adapters"])


def details(
    state: SharedState, library: Library, stored: StoredProtocol, keys: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The fields of the API's `Details` of some adapters, by key. Words and flags that are not known yet are None."""
    words, findings = state.analyses.known(stored.protocol.digest)
    curves = known_curves(library, stored.protocol.digest, chosen := list(keys))
    pins = library.previews.pins(stored.protocol, [BARE, *chosen])
    large = large_pictures(library, stored.protocol, chosen)
    marks = library.marks.get(chosen)
    return {
        key: asdict(marks.get(key, Mark()))
        | {
            "does": None if words is None else list(words.get(key, ())),
            "flags": None if findings is None else list(dict.fromkeys(one.flag for one in findings.get(key, ()))),
            "advice": _advice(curves.get(key)),
            "pictures": pinned_cells(key, pins, stored.protocol.digest, large),
        }
        for key in chosen
    }


def _advice(curve: Curve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    advice = advise(curve)
    return {name: getattr(advice, name) for name in ("weight", "low", "high", "reason")}


@router.post("/lookup", response_model=LookUpAnswer, responses=errors_of_change(404, 409))
def look_up(state: StateOf, asked: LookUp) -> dict[str, Any]:
    """Cards of up to 200 adapters by hash, file name, path or Civitai's numbers. Nothing is changed."""
    with state.library() as library:
        stored = state.protocol(library, asked.protocol)
        meant = library.adapters.look_up(asked.references)
        keys = list(dict.fromkeys(key for found in meant.values() for key in found))
        known = library.adapters.get(keys)
        measured = library.signatures.get(stored.protocol.digest, keys)
        more = details(state, library, stored, keys)
    cards = {key: _card(known[key], measured.get(key), stored) | {"details": more[key]} for key in keys if key in known}
    rows = [
        {"reference": reference, "cards": [cards[key] for key in meant[reference] if key in cards]}
        for reference in asked.references
    ]
    return {"protocol": str(stored.protocol), "found": rows}


@router.get("/adapters/{key}/words", response_model=PhrasesRow, responses=errors(404, 409))
def words(state: StateOf, key: AdapterKey, protocol: ProtocolName = "") -> dict[str, Any]:
    """What an adapter does, in phrases. The first time it may take long: then ask again."""
    with state.library() as library:
        known_adapter(library, key)
        stored = state.protocol(library, protocol).protocol
    found = state.analyses.words(stored.digest)
    if key not in found:
        raise Problem(404, "unmeasured", f"{key[:80]} was not measured under {stored}", "index it, or ask another one")
    return {"does": list(found[key])}


@router.get("/duplicates", response_model=DuplicateGroups, responses=errors(404, 409))
def duplicates(state: StateOf, protocol: ProtocolName = "") -> dict[str, Any]:
    """Copies: the same file, the same change of the base model, or the same behaviour. It may take long: ask again."""
    with state.library() as library:
        stored = state.protocol(library, protocol).protocol
    found = state.analyses.duplicates(stored.digest)
    groups = [
        asdict(group) | {"copies": [{**vars(copy), "seen": copy.seen} for copy in group.copies]}
        for group in found.groups
    ]
    return {"groups": groups, "undecided": [(pair.one, pair.two) for pair in found.undecided]}


def _card(adapter: StoredAdapter, measured: StoredSignature | None, stored: StoredProtocol) -> dict[str, Any]:
    row: dict[str, Any] = {"adapter": brief_adapter(adapter), "measured": None, "words": None}
    if measured is not None:
        row["measured"] = figures(measured)
        row["words"] = effect_words(measured.signature, stored.preset.thresholds)
    return row
