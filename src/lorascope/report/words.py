"""Figures in words, the same in the terminal, on pages and in sheets."""

from __future__ import annotations

import math
from pathlib import Path

from lorascope.library import StoredAdapter
from lorascope.protocol import Thresholds
from lorascope.search import Answer, Hit
from lorascope.signature import Signature

CLARITY = {"clear": "a clear match", "likely": "a likely match", "weak": "a weak match", None: ""}
"""Nothing is said about hits that were found by adapters or a picture: whether their scores stand out is not known."""
NOTHING = "Nothing here clearly does this; these come nearest."
MATURE = 4
"""The lowest of Civitai's levels (1, 2, 4, 8, 16) that is for adults: 4 is R."""
STRENGTHS = ((0.15, "faint"), (0.4, "gentle"), (0.75, "strong"), (1.0, "very strong"), (math.inf, "overpowering"))
"""Upper ends of Strength as shares of the Protocol's threshold."""
CONSISTENCIES = ((0.04, "erratic"), (0.1, "varied"), (0.3, "steady"), (math.inf, "rock-steady"))
"""Upper ends of Consistency. CARLoS' libraries have a median near .09."""


def strength_word(signature: Signature, thresholds: Thresholds) -> str:
    """``faint`` to ``overpowering``, relative to the Protocol's threshold; "" where it has none."""
    if math.isinf(thresholds.strength_max):
        return ""
    share = signature.strength / thresholds.strength_max
    return next(word for limit, word in STRENGTHS if share <= limit)


def consistency_word(signature: Signature) -> str:
    """``erratic`` to ``rock-steady``."""
    value = signature.consistency
    if value is None:
        return "unknown"
    return next(word for limit, word in CONSISTENCIES if value <= limit)


def does_nothing(signature: Signature) -> bool:
    """Whether no effect exceeds the noise floor, so that an adapter has no Direction, neighbours or matches."""
    return signature.active_share == 0


def has_direction(signature: Signature) -> bool:
    """Whether effects have a common direction as far as is known. If not, the measured Direction is arbitrary."""
    interval = signature.grid.consistency
    return not does_nothing(signature) and (interval is None or interval.lower > 0)


def effect_words(signature: Signature, thresholds: Thresholds) -> str:
    """How an adapter works, whatever it does: ``strong, steady``."""
    if does_nothing(signature):
        return "does nothing"
    return ", ".join(filter(None, (strength_word(signature, thresholds), consistency_word(signature))))


def summary(hit: Hit, thresholds: Thresholds, *, asked: bool = True) -> str:
    """One line on a hit: ``a clear match; strong, steady``. Where nothing was asked, it is no match of anything."""
    if does_nothing(hit.signature.signature):
        return effect_words(hit.signature.signature, thresholds)
    parts = [
        hit.adapter.facts.other_kind,
        CLARITY[hit.clarity] if asked else "",
        effect_words(hit.signature.signature, thresholds),
    ]
    if hit.signature.screened and not hit.hidden:
        parts.append(f"provisional: measured until {hit.signature.screened} was certain")
    if hit.undecided:
        parts.append(f"{' and '.join(hit.undecided)} near the threshold, undecided")
    if hit.hidden:
        parts.append(f"hidden: {hit.hidden}")
    return "; ".join(filter(None, parts))


def hidden_line(answer: Answer) -> str:
    """What the thresholds hide: ``12 too strong, 5 too inconsistent``, or ""."""
    counts = ((answer.too_strong, "too strong"), (answer.too_inconsistent, "too inconsistent"))
    return ", ".join(f"{count} {kind}" for count, kind in counts if count)


def prompt_tag(adapter: StoredAdapter) -> str:
    """How a prompt calls an adapter in most tools, at the weight that its author recommends.

    "" without a file, and for ControlNets and IP-Adapters.
    """
    if not adapter.paths:
        return ""
    if adapter.facts.kind != "adapter":
        return " ".join(adapter.facts.tokens)
    return f"<lora:{Path(adapter.paths[0]).stem}:{adapter.claimed('weight') or 1}>"


def duration(seconds: float) -> str:
    """Rounded as people say it: ``less than a minute``, ``about 5 minutes``, ``about 3 hours``."""
    if seconds < 60:
        return "less than a minute"
    units = ((60, "minute"), (3600, "hour"), (86400, "day"))
    size, name = next(unit for unit in reversed(units) if seconds >= unit[0])
    count = round(seconds / size)
    return f"about {count} {name}{'' if count == 1 else 's'}"


def file_size(count: int) -> str:
    """Bytes as people say them.

    >>> file_size(1_430_000_000), file_size(12_000)
    ('1.4 GB', '12 kB')
    """
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def mature_level(adapter: StoredAdapter) -> int | None:
    """How mature an adapter's pictures are, as its sidecars or its library say: Civitai's bit mask."""
    value = adapter.claimed("nsfw_level")
    return value if isinstance(value, int) else None


def is_mature(adapter: StoredAdapter) -> bool:
    """Whether its pictures may be for adults only."""
    return (mature_level(adapter) or 0) >= MATURE
