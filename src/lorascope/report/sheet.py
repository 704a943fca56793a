"""A sheet of pictures: for each hit, the same cells without and with the adapter. One HTML file, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorascope.library import BARE, Library, Preview
from lorascope.report.page import data_address, write_page
from lorascope.report.words import NOTHING, hidden_line, summary
from lorascope.search import Answer, Hit


def write_sheet(path: Path, answers: Sequence[Answer], library: Library, *, cells: int = 6, hits: int = 5) -> Path:
    """Write the sheet of some answers.

    Raises:
        OutputError: the file cannot be written.
    """
    sections = [_section(answer, library, cells, hits) for answer in answers]
    return write_page(path, "sheet.html.jinja", sections=sections, nothing=NOTHING)


def _section(answer: Answer, library: Library, cells: int, hits: int) -> dict[str, Any]:
    stored = library.protocols.find(answer.protocol)
    previews, protocol = library.previews, stored.protocol
    bare = {preview.place: preview for preview in previews.all(previews.scene(protocol, BARE), BARE)}
    rows = [
        {
            "hit": hit,
            "words": summary(hit, stored.preset.thresholds),
            "pairs": _pairs(bare, previews.all(protocol.scene, hit.adapter.key))[:cells],
            "figures": _figures(hit),
        }
        for hit in answer.hits[:hits]
    ]
    return {"answer": answer, "rows": rows, "hidden": hidden_line(answer)}


def _pairs(bare: dict[int, Preview], adapted: Sequence[Preview]) -> list[dict[str, str]]:
    return [
        {"prompt": bare[p.place].prompt, "without": data_address(bare[p.place].webp), "with": data_address(p.webp)}
        for p in adapted
        if p.place in bare
    ]


def _figures(hit: Hit) -> str:
    signature = hit.signature.signature
    consistency = "–" if signature.consistency is None else f"{signature.consistency:.3f}"
    strength = f"{signature.strength:.2f}"
    return f"score {hit.score:.3f} · Strength {strength} · Consistency {consistency} · {signature.cells} cells"
