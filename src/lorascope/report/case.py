"""A screening as a case file: one HTML file without network for people, and the same as plain data for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorascope import __version__
from lorascope.analysis.resemblance import Resemblance, Works
from lorascope.analysis.screen import Case, Likeness
from lorascope.report.page import data_address, write_page

NOTICE = (
    "This file reports measurements. It is not legal advice: whether anything is protected, and whether anything"
    " infringes it, depends on the law of a place and on facts that no measurement knows. That is for lawyers and"
    " courts to say."
)
_SHOWN = 3
"""Pairs of pictures shown for a likeness, and against it."""


def plain_case(case: Case, works: Sequence[Works], second: str = "", controls: Sequence[Works] = ()) -> dict[str, Any]:
    """A case as plain data: what was asked, what it rests on, and every figure."""
    adapter, protocol = case.adapter, case.protocol.protocol
    return {
        "question": question(case, works),
        "notice": NOTICE,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "lorascope": __version__,
        "adapter": {"key": adapter.key, "name": adapter.name, "paths": list(adapter.paths), "size": adapter.facts.size},
        "protocol": asdict(protocol) | {"digest": protocol.digest},
        "cells": case.cells,
        "trigger_words": case.trigger_words,
        "encoders": [protocol.encoder, *([second] if second else [])],
        "substantiality": None if case.positions is None else asdict(case.positions[0]),
        "volition": None if case.positions is None else asdict(case.positions[1]),
        "field": None if case.field is None else asdict(case.field),
        "categories": [asdict(one) for one in case.categories],
        "works": [_plain_works(one) for one in works],
        "controls": [_plain_works(one) for one in controls],
        "likenesses": [_plain_likeness(one) for one in case.likenesses],
        "not_looked_at": list(case.left_out),
        "evidence": case.evidence,
    }  # fmt: skip


def _plain_works(works: Works) -> dict[str, Any]:
    files = zip(works.files, works.digests, strict=True)
    return {"name": works.name, "pictures": [{"name": path.name, "sha256": digest} for path, digest in files]}


def question(case: Case, works: Sequence[Works]) -> str:
    """What was asked, in one sentence."""
    names = ", ".join(one.name for one in works)
    return f"Do pictures made with {case.adapter.name} resemble {names}, beyond what unrelated adapters do?"


def write_case(
    path: Path, case: Case, works: Sequence[Works], second: str = "", controls: Sequence[Works] = ()
) -> Path:
    """Write the HTML file of a case.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_page(
        path,
        "case.html.jinja",
        case=case,
        plain=plain_case(case, works, second, controls),
        sections=[_section(case, one, works) for one in sorted(case.likenesses, key=lambda one: one.adjusted)],
        square=_square(case),
    )


def _plain_likeness(likeness: Likeness) -> dict[str, Any]:
    return {
        "works": likeness.first.works,
        "verdict": likeness.verdict,
        "first": _plain_resemblance(likeness.first),
        "adjusted_chance": likeness.adjusted,
        "beyond_controls": {name: asdict(more) for name, more in likeness.beyond},
        "second": None if likeness.second is None else _plain_resemblance(likeness.second),
        "prompts": [asdict(one) for one in likeness.prompts],
        "nearest_prompts": [{"prompt": prompt, "gain": gain} for prompt, gain in likeness.best],
    }


def _plain_resemblance(one: Resemblance) -> dict[str, Any]:
    figures = asdict(one)
    return figures | {"gains": [round(float(gain), 5) for gain in one.gains]}


def _section(case: Case, likeness: Likeness, works: Sequence[Works]) -> dict[str, Any]:
    """One set of works with the pictures that speak most for a likeness, and most against it."""
    own = next(one for one in works if one.name == likeness.first.works)
    gains = likeness.first.gains
    shown = sorted((pair for pair in case.pairs if pair[1].place < len(gains)), key=lambda pair: -gains[pair[1].place])
    data = [
        {
            "prompt": bare.prompt,
            "without": data_address(bare.webp),
            "with": data_address(adapted.webp),
            "gain": gains[adapted.place],
        }
        for bare, adapted in shown
    ]
    several = len(data) >= 2 * _SHOWN
    largest = max(0.05, float(abs(gains).max()))
    return {
        "likeness": likeness,
        "works": [_picture(path) for path in own.files[:6]],
        "count": len(own.files),
        "most": data[:_SHOWN] if several else data,
        "least": data[-_SHOWN:] if several else [],
        "dots": [round(300 + 280 * float(gain) / largest, 1) for gain in gains],
        "largest": largest,
    }


def _square(case: Case) -> dict[str, float] | None:
    """Where the adapter is drawn among the others: consistency across, strength upwards, in hundredths."""
    if case.positions is None or any(one.share is None for one in case.positions):
        return None
    names = ("y", "y0", "y1"), ("x", "x0", "x1")
    return {
        name: 100 * (share or 0.0)
        for keys, one in zip(names, case.positions, strict=True)
        for name, share in zip(keys, (one.share, one.lower, one.upper), strict=True)
    }


def _picture(path: Path) -> str:
    return data_address(path.read_bytes(), path.suffix[1:].lower().replace("jpg", "jpeg"))
