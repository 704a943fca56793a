"""Housekeeping: copies, files that do nothing, and whatever else a person should look at. Nothing is deleted."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from lorascope.analysis import FLAGS, Finding
from lorascope.library import Library, StoredProtocol
from lorascope.report.words import is_mature
from lorascope.server.analyses import Checkup
from lorascope.server.pages.address import Address
from lorascope.server.pages.cards import Cells, PicturePair
from lorascope.server.pages.choice import flag_label
from lorascope.server.pages.render import page
from lorascope.server.shared_state import StateOf

router = APIRouter(include_in_schema=False)

_FIRST = ("duplicate", "no-effect", "content-bound", "mislabelled", "contradicted")
_SHOWN = 100
"""Files of one kind that are shown; the list holds all."""
_COLUMNS = ("file", "name", "finding", "what was seen", "what to do")


@dataclass(frozen=True)
class Row:
    """One file with a finding."""

    key: str
    name: str
    path: str
    seen: str
    remedy: str
    mature: bool
    pairs: tuple[PicturePair, ...]


@dataclass(frozen=True)
class Section:
    """The files with one kind of finding. ``address`` shows them as cards."""

    flag: str
    label: str
    count: int
    rows: tuple[Row, ...]
    address: str


@router.get("/housekeeping")
def housekeeping(request: Request, state: StateOf, protocol: Annotated[str, Query()] = "") -> Response:
    """What could go, and what should be looked at."""
    with state.library() as library:
        stored = state.protocol(library, protocol)
        checkup = state.checkup(stored)
        sections = _sections(library, stored, checkup, protocol) if checkup else []
    return page(request, "housekeeping.html.jinja", ready=checkup is not None, sections=sections)


@router.post("/housekeeping/list.csv")
def as_list(
    state: StateOf, a: Annotated[tuple[str, ...], Form()] = (), protocol: Annotated[str, Query()] = ""
) -> Response:
    """The chosen files with what was found, or all of them, as CSV for a spreadsheet."""
    with state.library() as library:
        checkup = state.checkup(state.protocol(library, protocol))
        found = [one for one in checkup.findings if not a or one.key in a] if checkup else []
        adapters = library.adapters.get({one.key for one in found})
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for one in found:
        for path in adapters[one.key].paths if one.key in adapters else ():
            writer.writerow(map(_plain, (path, one.name, flag_label(one.flag, 1), one.seen, one.remedy)))
    headers = {"Content-Disposition": 'attachment; filename="lorascope-housekeeping.csv"'}
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def _sections(library: Library, stored: StoredProtocol, checkup: Checkup, protocol: str) -> list[Section]:
    by_flag: dict[str, dict[str, list[Finding]]] = {}
    for one in checkup.findings:
        by_flag.setdefault(one.flag, {}).setdefault(one.key, []).append(one)
    order = [*_FIRST, *(flag for flag in FLAGS if flag not in _FIRST)]
    return [
        Section(
            flag,
            flag_label(flag, len(by_flag[flag])),
            len(by_flag[flag]),
            _rows(library, stored, list(by_flag[flag].values())[:_SHOWN]),
            Address(flag=flag, protocol=protocol).url(),
        )
        for flag in order
        if flag in by_flag
    ]


def _rows(library: Library, stored: StoredProtocol, found: Sequence[Sequence[Finding]]) -> tuple[Row, ...]:
    """One row for each file, whatever the number of findings of one kind that it has."""
    keys = [every[0].key for every in found]
    adapters, cells = library.adapters.get(keys), Cells.of(library, stored, keys)
    return tuple(
        Row(
            key,
            every[0].name,
            next(iter(adapters[key].paths), ""),
            "; ".join(one.seen for one in every),
            "; ".join(dict.fromkeys(one.remedy for one in every)),
            is_mature(adapters[key]),
            cells.pairs(key)[:1],
        )
        for key, every in zip(keys, found, strict=True)
        if key in adapters
    )
