"""Which adapters of a library need a look: what is wrong or odd about each, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from lorascope.adapters.items import is_there
from lorascope.analysis.finding import Finding
from lorascope.analysis.unseen import unseen
from lorascope.analysis.usage import Said, prompts_lost, sizes_out_of_line, triggers
from lorascope.library import Library, StoredAdapter
from lorascope.protocol import Thresholds
from lorascope.signature import CategoryProfile, Estimate, Signature

_NOTHING = 0.05
"""An adapter of less than this share of the library's median Strength has no effect."""
_HARDLY = 1 / 3
"""A category on which an adapter has less than this share of its greatest effect is hardly touched."""
_FEWEST_CELLS = 5
"""Cells of a category from which its Strength is compared."""


@dataclass(frozen=True)
class _Measured:
    """A signature, and what the others of its library are like."""

    signature: Signature
    thresholds: Thresholds
    median: float
    unseen: float | None
    """By how much its images move more than its embeddings, in robust standard deviations; None if not unusually."""


def health(library: Library, protocol: str = "", keys: Collection[str] | None = None) -> list[Finding]:
    """Find the adapters that need a look.

    Args:
        library: its signatures, evidence and files are looked at; no image is made.
        protocol: whose signatures, by name or digest; the active one if "".
        keys: of the adapters; all by default.

    Returns:
        The findings by name of the adapter; several for one adapter, the most important first.

    Raises:
        LibraryError: no such Protocol, or what is stored is damaged.

    >>> health(library)[0].flag  # doctest: +SKIP
    'overpowering'
    """
    stored = library.protocols.find(protocol)
    digest = stored.protocol.digest
    strengths = list(library.signatures.strengths(digest).values())
    median = float(np.median(strengths)) if strengths else 0.0
    adapters = library.adapters.all() if keys is None else library.adapters.get(keys)
    signatures = library.signatures.get(digest, adapters)
    overlooked = {key: one.standing for key, one in unseen(library, digest).items() if one.flag}
    sizes = sizes_out_of_line(stored, adapters if keys is None else library.adapters.all())
    used = (prompts_lost(library, stored, adapters), triggers(library, stored, adapters), sizes)
    findings: list[Finding] = []
    for key, adapter in adapters.items():
        said: list[Said] = []
        if (found := signatures.get(key)) is not None:
            measured = _Measured(found.signature, stored.preset.thresholds, median, overlooked.get(key))
            said += _of_behaviour(measured)
        said += [one[key] for one in used if key in one]
        findings += [Finding(key, adapter.name, *one) for one in (*said, *_of_file(adapter))]
    return findings


def _of_behaviour(measured: _Measured) -> list[Said]:
    """What its signature says. Of an adapter without an effect nothing else is said."""
    if (nothing := _no_effect(measured)) is not None:
        return [nothing]
    rules: tuple[Callable[[_Measured], Said | None], ...] = (_overpowering, _erratic, _content_bound, _unseen)
    return [said for rule in rules if (said := rule(measured)) is not None]


def _no_effect(measured: _Measured) -> Said | None:
    signature = measured.signature
    upper = signature.grid.strength.upper if signature.grid.strength else signature.strength
    if signature.active_share > 0 and upper >= _NOTHING * measured.median:
        return None
    seen = f"Strength {_with_interval(signature.strength, signature.grid.strength, 2)}: its images are the base model's"
    return "no-effect", seen, "Delete it, or export it again; a wrong alpha makes an effect this small, too"


def _overpowering(measured: _Measured) -> Said | None:
    signature, limit = measured.signature, measured.thresholds.strength_max
    if signature.strength <= limit:
        return None
    interval = signature.grid.strength
    sure = "" if interval is not None and interval.lower > limit else ", though more images may show less"
    seen = f"Strength {_with_interval(signature.strength, interval, 2)}, above the threshold of {limit:g}{sure}"
    return "overpowering", seen, "Try a weight well below 1: at 1 little is left of the prompt"


def _erratic(measured: _Measured) -> Said | None:
    signature, limit = measured.signature, measured.thresholds.consistency_min
    if signature.consistency is None or signature.consistency >= limit:
        return None
    interval = signature.grid.consistency
    sure = "" if interval is not None and interval.upper < limit else ", though more images may show more"
    seen = f"Consistency {_with_interval(signature.consistency, interval, 3)}, below the threshold of {limit:g}{sure}"
    return "erratic", seen, "Do not expect an effect of its name: it changes images, but each in another way"


def _content_bound(measured: _Measured) -> Said | None:
    hardly = hardly_touched(measured.signature)
    if not hardly:
        return None
    profile = [one for one in measured.signature.categories if one.cells >= _FEWEST_CELLS and one not in hardly]
    touched = sorted(profile, key=lambda one: -one.strength)
    seen = f"acts on {_listed(touched)}; hardly on {_listed(hardly)}"
    return "content-bound", seen, "Use it for what it acts on; elsewhere it does next to nothing"


def hardly_touched(signature: Signature) -> list[CategoryProfile]:
    """The categories of prompts on which an adapter does next to nothing, compared with the others."""
    profile = [one for one in signature.categories if one.cells >= _FEWEST_CELLS]
    greatest = max((one.strength for one in profile), default=0.0)
    return [one for one in profile if one.strength < _HARDLY * greatest]


def _listed(profile: list[CategoryProfile]) -> str:
    strengths = [one.strength for one in profile]
    names = ", ".join(one.category for one in profile)
    return f"{names} (Strength {min(strengths):.1f}–{max(strengths):.1f})"


def _unseen(measured: _Measured) -> Said | None:
    if measured.unseen is None:
        return None
    seen = f"its images change more than the encoder sees, by {measured.unseen:.1f} standard deviations of the library"
    return "unseen", seen, "Look at its images: figures and searches may miss what it does"


def _of_file(adapter: StoredAdapter) -> Iterator[Said]:
    """What its file and the notes of reading it say."""
    facts = adapter.facts
    matched, total = facts.modules_matched, facts.modules_total
    if matched is not None and total is not None and matched < total:
        remedy = "Look for a version for this base model: the rest of it is not applied"
        yield "partial", f"{matched} of {total} modules belong to the base model", remedy
    if facts.prompts_cut:
        seen = f"with its trigger words {facts.prompts_cut} prompts are longer than the base model reads"
        yield "prompts-cut", seen, "Fewer trigger words in its sidecar; then remove it and index it again"
    for note in facts.notes:
        yield "note", note, "Nothing, as long as its images look right"
    if adapter.was_here and adapter.key.startswith("sha256:") and not any(map(is_there, adapter.paths)):
        was = adapter.paths[0] if adapter.paths else "its file was replaced by another"
        yield "gone", f"no file: {was}", "Index the folder that it was moved to, or `lorascope remove` it"


def _with_interval(value: float, interval: Estimate | None, digits: int) -> str:
    if interval is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({interval.lower:.{digits}f}–{interval.upper:.{digits}f})"
