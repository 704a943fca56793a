"""What an adapter's Curve, its trigger words and the size of its change say of how to use it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from lorascope.analysis.cells import cells_of, effect_share, known_grid
from lorascope.analysis.finding import Flag
from lorascope.analysis.weight import advise, known_curves
from lorascope.errors import LibraryError
from lorascope.library import Library, StoredAdapter, StoredProtocol
from lorascope.protocol import Protocol
from lorascope.signature import Estimate

Said = tuple[Flag, str, str]
"""A flag, what was seen, and what to do."""

_LOST = 0.5
"""Where certainly less than this share of the prompt is kept, it is lost."""
_NEEDED, _IDLE = 0.5, 0.85
"""Shares of the effect without trigger words: certainly less needs them, certainly more does without."""
_ODD, _FACTOR = 5.0, 10.0
"""A change is out of line with others of its kind beyond so many robust standard deviations of the logarithms of their
sizes, and beyond this factor: training for a tenth of the time makes less of a difference."""
_FEWEST = 12
"""Adapters of a kind among which sizes are compared."""
TRIGGER_CELLS = 32
"""Images without trigger words, and without each one, at least."""
MOST_WORDS = 8
"""Of an adapter with more trigger words, so many are tried one by one."""


def prompts_lost(library: Library, stored: StoredProtocol, keys: Collection[str]) -> dict[str, Said]:
    """Adapters with a measured Curve that lose what prompts ask for at the Protocol's weight."""
    found: dict[str, Said] = {}
    for key, curve in known_curves(library, stored.protocol.digest, keys).items():
        kept = next((point.kept for point in curve.points if point.scale == stored.protocol.scale), None)
        if kept is not None and kept.upper < _LOST:
            advice = advise(curve)
            seen = f"{_percent(kept)} of what prompts ask for is kept"
            weight = "a weight well below 1" if advice.weight is None else f"a weight of {advice.weight:g}"
            found[key] = ("prompt-lost", seen, f"Try {weight}: {advice.reason}")
    return found


def sizes_out_of_line(stored: StoredProtocol, adapters: Mapping[str, StoredAdapter]) -> dict[str, Said]:
    """Adapters whose change of the weights is far larger or smaller than that of others of their kind.

    A wrong alpha, or one that a trainer left out, scales the whole change.
    """
    weighed_as = f"{stored.protocol.base_digest} x {stored.protocol.scale:g}"
    kinds: dict[str, dict[str, float]] = {}
    for key, adapter in adapters.items():
        norm = adapter.facts.spectra.get(weighed_as, {}).get("norm", 0.0)
        if norm > 0 and adapter.facts.kinds:
            kind = max(adapter.facts.kinds, key=lambda kind: adapter.facts.kinds[kind])
            kinds.setdefault(kind, {})[key] = math.log(norm)
    found: dict[str, Said] = {}
    for kind, sizes in kinds.items():
        if len(sizes) < _FEWEST:
            continue
        values = np.array(list(sizes.values()))
        usual = float(np.median(values))
        spread = max(1.4826 * float(np.median(np.abs(values - usual))), 0.1)
        for key, size in sizes.items():
            if abs(size - usual) > max(_ODD * spread, math.log(_FACTOR)):
                factor = math.exp(abs(size - usual))
                seen = (
                    f"it changes weights by {math.exp(size):.2%} of their size, {factor:.0f} times"
                    f" {'more' if size > usual else 'less'} than the middle of {len(sizes)} {kind} adapters"
                )
                remedy = "Look at its alpha: a trainer may have scaled it wrongly"
                found[key] = (
                    "scale-error",
                    seen,
                    f"{remedy}; a weight {'below' if size > usual else 'above'} 1 mends it",
                )
    return found


def words_of(adapter: StoredAdapter, protocol: Protocol) -> tuple[str, ...]:
    """The trigger words that an adapter was measured with, one by one: ``("ana", "red coat")``."""
    text = adapter.facts.measured_words.get(protocol.scene, "")
    return tuple(dict.fromkeys(word for word in text.split(", ") if word))


def share_without(library: Library, stored: StoredProtocol, adapter: StoredAdapter) -> Estimate | None:
    """How much of an adapter's effect is left without any of its trigger words; None where that is not known.

    Raises:
        LibraryError: what is stored is damaged, or its prompts are not on this disk.
    """
    grid, without = known_grid(stored), replace(stored.protocol, triggers="none")
    one = None if stored.protocol == without else cells_of(library, grid, without.digest, adapter.key)
    two = None if one is None else cells_of(library, grid, stored.protocol.digest, adapter.key)
    if one is None or two is None:
        return None
    count = min(len(one), len(two))
    one, two = one.first(count), two.first(count)
    compared = effect_share(one.prompts, one.effects, two.effects)
    return None if compared is None else compared.share


def known_shares(adapter: StoredAdapter, protocol: Protocol) -> dict[str, Estimate]:
    """How much of an adapter's effect is left without each trigger word, of those words that were tried."""
    found = adapter.facts.word_shares.get(protocol.scene, {})
    return {word: Estimate(**share) for word, share in found.items()}


def is_tried(library: Library, stored: StoredProtocol, adapter: StoredAdapter) -> bool:
    """Whether it was measured what each of an adapter's trigger words adds."""
    words, last = words_of(adapter, stored.protocol)[:MOST_WORDS], known_grid(stored).blocks_for(TRIGGER_CELLS) - 1
    without = replace(stored.protocol, triggers="none").digest
    if not library.evidence.blocks(adapter.key, without, last, last + 1):
        return False
    known = known_shares(adapter, stored.protocol)
    return len(words) < 2 or set(words) <= known.keys() or share_without(library, stored, adapter) is None


def triggers(library: Library, stored: StoredProtocol, adapters: Mapping[str, StoredAdapter]) -> dict[str, Said]:
    """Adapters that were measured with and without their trigger words, and need them, or do not.

    ``lorascope triggers`` measures them without, and ``lorascope index --triggers none``, with more images.
    """
    try:
        known_grid(stored)
    except LibraryError:  # its prompts are not here
        return {}
    found: dict[str, Said] = {}
    for key, adapter in adapters.items():
        words = ", ".join(words_of(adapter, stored.protocol))
        share = share_without(library, stored, adapter) if words else None
        if share is None:
            continue
        seen = f"without {words!r} it does {_percent(share)} of what it does with it{_of_words(adapter, stored)}"
        if share.upper < _NEEDED:
            found[key] = ("trigger-needed", seen, f"Put {words!r} into the prompt")
        elif share.lower > _IDLE:
            found[key] = ("trigger-idle", seen, "Leave its trigger words out, if prompts are long")
    return found


def _of_words(adapter: StoredAdapter, stored: StoredProtocol) -> str:
    """How much is left without each word alone, where that was measured."""
    shares = known_shares(adapter, stored.protocol).items()
    return "".join(f"; without {word!r} alone {_percent(share)}" for word, share in shares)


def _percent(share: Estimate) -> str:
    return f"{share.value:.0%} ({share.lower:.0%}–{share.upper:.0%})"
