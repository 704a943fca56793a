"""Which adapters an address chooses by what is known about them: words, findings, lineage, age, favourites."""

from __future__ import annotations

from lorascope.analysis import FLAGS
from lorascope.library import Library
from lorascope.server.pages.address import Address
from lorascope.server.problems import Problem
from lorascope.server.shared_state import SharedState

FLAG_LABELS: dict[str, tuple[str, str]] = {
    "no-effect": ("does nothing", "do nothing"),
    "overpowering": ("overpowers the prompt", "overpower the prompt"),
    "erratic": ("acts differently each time", "act differently each time"),
    "content-bound": ("works on some content only", "work on some content only"),
    "unseen": ("changes more than is measured", "change more than is measured"),
    "partial": ("fits its base only in part", "fit their base only in part"),
    "prompts-cut": ("has too many trigger words", "have too many trigger words"),
    "note": ("was read with a note", "were read with a note"),
    "gone": ("has lost its file", "have lost their file"),
    "mislabelled": ("is not what its name says", "are not what their names say"),
    "mute": ("says nothing about itself", "say nothing about themselves"),
    "contradicted": ("does not do what it claims", "do not do what they claim"),
    "duplicate": ("is a copy of another", "are copies of others"),
}
"""The flags of findings, as a page says them of one LoRA and of several."""


def flag_label(flag: str, count: int = 2) -> str:
    """A flag in words, of one LoRA or of several."""
    return FLAG_LABELS.get(flag, (flag, flag))[count != 1]


def chosen_keys(state: SharedState, library: Library, address: Address) -> frozenset[str] | None:
    """The keys of the adapters that pass all of an address' filters; None if it has none of these.

    Raises:
        Problem: there is no such flag, or the findings are not known yet.
    """
    if not address.filtered:
        return None
    searcher = state.searcher(library, address.protocol)
    parts: list[frozenset[str]] = []
    if address.does:
        words = state.words(searcher.stored)
        parts += [words.having(phrase) for phrase in address.does]
    if "/" in address.family:
        kinds = state.overview().lineages
        parts.append(frozenset(key for key, kind in kinds.items() if kind == address.family))
    if address.flag:
        parts.append(_flagged(state, library, address))
    if address.favourite:
        parts.append(library.marks.favourites())
    if address.since:
        added, matrix = library.adapters.added(), searcher.matrix
        came = zip(matrix.keys, matrix.ids.tolist(), strict=True)
        parts.append(frozenset(key for key, number in came if added.get(number, 0.0) > address.since))
    return frozenset.intersection(*parts)


def _flagged(state: SharedState, library: Library, address: Address) -> frozenset[str]:
    if address.flag not in FLAGS:
        problem = f"there is no flag {address.flag[:40]!r}"
        raise Problem(422, "bad-value", problem, f"use one of {', '.join(FLAGS)}", "flag")
    checkup = state.checkup(state.protocol(library, address.protocol), wait=True)
    return checkup.flagged(address.flag) if checkup else frozenset()
