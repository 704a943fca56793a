"""How often ``lorascope screen`` is right, on the watch list that ships.

    python -m benchmarks.screen LIBRARY

The library holds the shipped world and the adapters of ``src/lorascope/miniature/watchlist`` at `quick`; these also
under other scales (``lorascope index --scale 0.5``).

Six looks, of which twelve adapters show four, each trained for three shares of the usual steps. The 81 adapters of the
shipped world show none of them; each adapter of the watch list is put among these alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe as machine
from benchmarks.markdown import print_report
from lorascope import Library
from lorascope.analysis.cells import Cells, cells_of, known_grid
from lorascope.analysis.resemblance import Nearness, Works, holm, read_works
from lorascope.analysis.screen import ALPHA, CELLS, embedded_pictures, pictures_beside
from lorascope.encoders.base import PictureEncoder
from lorascope.encoders.load import load_picture_encoder
from lorascope.library import BARE, StoredProtocol

SECOND = "package:miniature/judge"
FOLDER = Path(str(files("lorascope.miniature"))) / "watchlist"


@dataclass(frozen=True)
class View:
    """All adapters by one encoder: pictures of each by name and scale, Directions by name, and the looks."""

    pairs: Mapping[tuple[str, float], Cells]
    directions: Mapping[str, np.ndarray]
    looks: Sequence[Works]
    centre: np.ndarray

    def among(self, world: Sequence[str], *strangers: tuple[str, float]) -> Nearness:
        """The adapters of the world at weight 1, and others at a scale of their own."""
        pairs = {name: self.pairs[name, 1.0] for name in world} | {name: self.pairs[name, s] for name, s in strangers}
        return Nearness(pairs, self.directions, self.looks, self.centre)


def looks(encoder: PictureEncoder) -> list[Works]:
    """The pictures of the watch list."""
    return [read_works(folder, encoder) for folder in sorted((FOLDER / "references").iterdir())]


def views(library: Library) -> tuple[View, View]:
    """By the encoder that measured, and by the judge, another architecture that was trained on other pictures."""
    protocols = {one.protocol.scale: one for one in library.protocols.all()}
    first, second = (load_picture_encoder(name) for name in (protocols[1.0].protocol.encoder, SECOND))
    cells: dict[tuple[str, float], Cells] = {}
    pictures: dict[tuple[str, float], Cells] = {}
    directions: dict[str, np.ndarray] = {}
    bare = embedded_pictures(library, protocols[1.0], BARE, second)
    for scale, stored in sorted(protocols.items(), reverse=True):
        for key, name, direction in measured(library, stored):
            found = cells_of(library, known_grid(stored), stored.protocol.digest, key)
            again = pictures_beside(embedded_pictures(library, stored, key, second), bare)
            assert found is not None, f"{name} has no evidence: index it"
            assert again is not None, f"{name} has no pictures: index it"
            cells[name, scale], pictures[name, scale] = found.first(CELLS), again
            directions.setdefault(name, direction)
    centre = library.protocols.baseline_mean(protocols[1.0].protocol.digest)
    assert centre is not None
    return (
        View(cells, directions, looks(first), centre.astype(np.float64)),
        View(pictures, directions, looks(second), np.mean(list(bare.values()), axis=0)),
    )


def measured(library: Library, stored: StoredProtocol) -> list[tuple[str, str, np.ndarray]]:
    """Key, name and Direction of every adapter under a Protocol."""
    matrix = library.signatures.matrix(stored.protocol.digest)
    rows = np.asarray(matrix.directions[np.arange(len(matrix))]).astype(np.float64)
    return list(zip(matrix.keys, matrix.names, rows, strict=True))


def report(path: Path) -> str:
    """Two tables in Markdown."""
    facts: dict[str, Any] = json.loads((FOLDER / "watchlist.json").read_text("utf-8"))
    watched = facts["adapters"]
    with Library(path) as library:
        by_cells, by_pictures = views(library)
    world = sorted({name for name, _ in by_cells.pairs} - set(watched))
    true: dict[tuple[float, float], list[tuple[int, bool, bool]]] = {}
    false = np.zeros((2, 2), int)
    usual = [view.among(world) for view in (by_cells, by_pictures)]
    for name, scale in by_cells.pairs:
        own = usual if name in world else [view.among(world, (name, scale)) for view in (by_cells, by_pictures)]
        first, second = (nearness.resemblances(name) for nearness in own)
        pulls = own[0].pulls
        ranks = 1 + (pulls > pulls[own[0].keys.index(name)]).sum(axis=0)
        adjusted = holm([max(one.chance, one.paired) for one in first])
        for one, other, chance, rank in zip(first, second, adjusted, ranks.tolist(), strict=True):
            found = chance <= ALPHA and one.pull.lower > 0
            agreed = found and other.chance <= ALPHA
            if one.works == watched.get(name, {}).get("look"):
                true.setdefault((watched[name]["degree"], scale), []).append((rank, found, agreed))
            else:
                false[int(name in watched)] += [found, agreed]
    lines = [f"{len(by_cells.pairs)} measurements; {machine()}.", ""]
    lines += ["| trained for | weight | adapters | ranks | found | by both encoders |", "|---|---|---|---|---|---|"]
    for (degree, scale), rows in sorted(true.items()):
        ranks = ", ".join(str(rank) for rank, *_ in sorted(rows))
        both = sum(agreed for *_, agreed in rows)
        lines.append(f"| {degree:.0%} | {scale:g} | {len(rows)} | {ranks} | {sum(row[1] for row in rows)} | {both} |")
    totals = [len(world) * 6, sum((name in watched) * 5 for name, _ in by_cells.pairs)]
    lines += [
        "",
        "| pairs of adapter and look that it does not show | of | found | by both encoders |",
        "|---|---|---|---|",
    ]
    for label, row, total in zip(("of the shipped world", "of the watch list"), false.tolist(), totals, strict=True):
        lines.append(f"| {label} | {total} | {row[0]} | {row[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print_report(__doc__, report, "the shipped world and the watch list, indexed as above")
