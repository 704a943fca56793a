"""A report on a library as one HTML page without network: a wall of pictures, groups in words, what may go."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import pvariance
from typing import Any

from PIL import Image

from lorascope.analysis import LibraryReport
from lorascope.library import BARE, Library, StoredProtocol
from lorascope.report.page import data_address, write_page
from lorascope.report.words import file_size, is_mature

_MOST = 240
"""Pictures on the wall; of a larger library the strongest adapters."""
_SIDE = 128
"""Pixels of a picture on the wall."""
_COLOURS = (
    "#7c5cff", "#e07b00", "#0a9a6c", "#c8418f", "#2b87d1", "#a08a00", "#d9534f", "#5f8a3a",
    "#8a5a3a", "#3aa5a5", "#b06fd0", "#d08f5a", "#6b7fd0", "#c05a7f", "#4f9a4f", "#9a6b2f",
)  # fmt: skip
_OTHER = "#8a8a96"
_PLACES = 12


def write_report(path: Path, found: LibraryReport, library: Library, stored: StoredProtocol) -> Path:
    """Write the page.

    Raises:
        OutputError: the file cannot be written.
    """
    colours = {facet: _COLOURS[at] if at < len(_COLOURS) else _OTHER for at, facet in enumerate(found.facets)}
    words = {one.key: one for group in found.groups for one in group.adapters}
    facets = {key: one.words[0].facet for key, one in words.items()}
    place, prompt, tiles = _wall(found, library, stored)
    return write_page(
        path,
        "library.html.jinja",
        report=found,
        name=library.path.stem,
        protocol=str(stored.protocol),
        colours=colours,
        words={key: str(one) for key, one in words.items()},
        colour_of={key: colours[facet] for key, facet in facets.items()},
        prompt=prompt,
        bare=_bare(library, stored, place),
        tiles=tiles,
        columns=max(4, math.ceil(math.sqrt(1.5 * (len(tiles) + 1)))),
        freed=file_size(sum(one.size for one in found.unneeded)),
        size=file_size,
    )


def _wall(found: LibraryReport, library: Library, stored: StoredProtocol) -> tuple[int, str, list[dict[str, Any]]]:
    """One cell by every adapter that has a picture of it, neighbours of the map beside each other."""
    strongest = sorted(found.adapters, key=lambda key: -found.strengths.get(key, 0.0))[:_MOST]
    place = _telling_place(library, stored, strongest)
    tiles: list[dict[str, Any]] = []
    prompt = ""
    for key in strongest:
        preview = library.previews.get(library.previews.scene(stored.protocol, key), key, place)
        if preview is not None:
            prompt = prompt or preview.prompt
            shown = "" if is_mature(found.adapters[key]) else _small(preview.webp)
            tiles.append({"key": key, "name": found.adapters[key].name, "picture": shown})
    columns = max(4, math.ceil(math.sqrt(1.5 * (len(tiles) + 1))))
    return place, prompt, _sorted_grid(tiles, found.places, columns)


def _sorted_grid(
    tiles: Sequence[dict[str, Any]], places: dict[str, tuple[float, float]], columns: int
) -> list[dict[str, Any]]:
    """Rows by the map's second axis, from its top; within a row by the first one."""
    downwards = sorted(tiles, key=lambda tile: -places[tile["key"]][1])
    rows = [downwards[: columns - 1], *(downwards[at : at + columns] for at in range(columns - 1, len(tiles), columns))]
    return [tile for row in rows for tile in sorted(row, key=lambda tile: places[tile["key"]][0])]


def _telling_place(library: Library, stored: StoredProtocol, keys: Sequence[str]) -> int:
    """The kept cell on which the pictures of some adapters differ most."""
    spreads: dict[int, float] = {}
    for place in range(_PLACES):
        pictures = [library.previews.get(library.previews.scene(stored.protocol, key), key, place) for key in keys[:24]]
        shown = [_mean_colour(one.webp) for one in pictures if one is not None]
        if len(shown) > 1:
            spreads[place] = sum(map(pvariance, zip(*shown, strict=True)))
    return max(spreads, key=lambda place: spreads[place], default=0)


def _mean_colour(webp: bytes) -> tuple[int, int, int]:
    with Image.open(io.BytesIO(webp)) as picture:
        red, green, blue = picture.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes()
    return red, green, blue


def _bare(library: Library, stored: StoredProtocol, place: int) -> str:
    preview = library.previews.get(library.previews.scene(stored.protocol, BARE), BARE, place)
    return "" if preview is None else _small(preview.webp)


def _small(webp: bytes) -> str:
    """A picture for the wall, as an address that holds it."""
    with Image.open(io.BytesIO(webp)) as picture:
        if max(picture.size) > _SIDE:
            file = io.BytesIO()
            smaller = picture.convert("RGB")
            smaller.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            smaller.save(file, "WEBP", quality=80)
            webp = file.getvalue()
    return data_address(webp)
