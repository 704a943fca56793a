"""Ranking: the matrix, its index, and what filters cost."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Figure, Measurement, Ratio, Side, at_least, at_most, repeat, take_turns
from benchmarks.models import clip_vit_b32
from benchmarks.signatures import along_axes, directions
from benchmarks.space import caches_in
from lorascope.encoders.load import load_text_encoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.grid import PromptSet
from lorascope.library import Library
from lorascope.protocol import Preset
from lorascope.search import Filters, Searcher
from lorascope.search.ranker import Ranker
from lorascope.search.ranking import EXACT

TITLE = "Ranking"
NOTE = """Random Directions of 512 dimensions with the mean, the spectrum and the nearest-neighbour distances of 200
published signatures (`benchmarks/signatures.py`), and Strength and Consistency of which the published thresholds hide
as many. Queries are the shifts of the reference phrases in a text tower of the size of ViT-B/32 with random weights,
rotated to the Directions' principal axes. Every ranking applies both thresholds, returns the best ten that are shown
and the best ten that are hidden, and counts. Folders hold half, 1% and 0.1% of the adapters; *a new folder* is the
first ranking with a folder. Recall is over the ten best that are shown. The reference walks over the rows of a data
frame; both sides go from a query's vector to ten adapters with their names."""

_SIZES = {740: (0.2, 1.0), 100_000: (40.0, 1.0), 1_000_000: (25.0, 0.98)}
"""Adapters: milliseconds that were aimed at, and recall."""
_PUBLISHED = 740
"""Adapters of the published library, over which the reference ranks."""
_FOLDERS = {"all": "", "half": "/loras/half", "1%": "/loras/half/few", "0.1%": "/loras/half/few/fewest"}
_OPEN = """
import json, sys, time
began = time.perf_counter()
from lorascope.library import Library
from lorascope.search import Searcher
imported = time.perf_counter()
searcher = Searcher(Library(sys.argv[1]))
seconds = time.perf_counter() - imported
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"seconds": seconds, "MiB": int(status["RssAnon"].split()[0]) / 1024}))
"""


def missing() -> str:
    """Why not all of it can run here."""
    return "" if sys.platform == "linux" else "memory is read from /proc, which is Linux's"


def measure() -> Iterator[Measurement]:
    """Libraries of three sizes."""
    with tempfile.TemporaryDirectory() as name, caches_in(Path(name) / "cache"):
        queries = _queries(Path(name))
        for size in _SIZES:
            path = Path(name) / f"{size}.db"
            _fill(path, size)
            if size == _PUBLISHED:
                yield _against(path, queries)
            yield from _rows(path, size, queries)
            path.unlink()


def _queries(folder: Path) -> np.ndarray:
    encoder = QueryEncoder(load_text_encoder(str(clip_vit_b32(folder / "clip"))), PromptSet.load("query"))
    return along_axes(np.stack([encoder.vector(text) for text in PromptSet.load("reference").texts]))


def _fill(path: Path, size: int) -> None:
    """A library of so many adapters, written past the front door, which would take hours for a million."""
    preset = Preset.load("carlos-2025")
    protocol = preset.protocol(base_digest="", encoder=preset.encoders[0], encoder_digest="")
    with Library(path, create=True) as library:
        library.protocols.add(protocol, preset)
    rows, rng = directions(size), np.random.default_rng(1)
    strength = rng.normal(5.8, 2.1, size).clip(0.5)
    consistency = rng.lognormal(np.log(0.09), 1.3, size).clip(0.002, 0.55)
    place = rng.random(size)
    insides = [(0.001, _FOLDERS["0.1%"]), (0.01, _FOLDERS["1%"]), (0.5, _FOLDERS["half"]), (1.0, "/loras/other")]
    folders = [next(folder for share, folder in insides if spot <= share) for spot in place]
    with sqlite3.connect(path) as db:
        db.executemany(
            "INSERT INTO adapters (id, key, name, family, facts, added) VALUES (?, ?, ?, 'sdxl', '{}', 0)",
            ((i, f"sha256:{i:064x}", f"adapter {i}") for i in range(size)),
        )
        db.executemany(
            "INSERT INTO files (path, adapter, size, mtime_ns) VALUES (?, ?, 0, 0)",
            ((f"{folders[i]}/{i}.safetensors", i) for i in range(size)),
        )
        db.executemany(
            "INSERT INTO signatures (adapter, protocol, cells, strength, strength_low, strength_high, consistency,"
            " consistency_low, consistency_high, direction, figures, precision, measured, stamp)"
            " VALUES (?, ?, 4480, ?3, ?3, ?3, ?4, ?4, ?4, ?5, '{}', 'full', 0, random())",
            ((i, protocol.digest, float(strength[i]), float(consistency[i]), rows[i].tobytes()) for i in range(size)),
        )
    db.close()


def _against(path: Path, queries: np.ndarray) -> Measurement:
    sides = {"reference": Side(_reference, (path, queries)), "ours": Side(_ours, (path, queries))}
    turns = take_turns(sides, rounds=20, unit="ranking", repeats={"ours": 20})
    return turns.compare("reference", "ours", f"{_PUBLISHED} adapters, all of them: a ranking with names")


def _reference(path: Path, queries: np.ndarray) -> Callable[[], object]:
    from benchmarks.reference_search import catalogue, rank

    with Library(path) as library:
        matrix = library.signatures.matrix(library.protocols.find().protocol.digest)
        frame = catalogue(np.asarray(matrix.directions), matrix.strength, matrix.consistency)
    turn = itertools.cycle(queries)
    return lambda: rank(frame, next(turn))


def _ours(path: Path, queries: np.ndarray) -> Callable[[], object]:
    searcher, turn = Searcher(Library(path)), itertools.cycle(queries)
    filters = Filters(searcher.thresholds)

    def work() -> object:
        found = searcher.select(next(turn), filters, 10).shown
        return searcher.library.adapters.labels(searcher.matrix.ids[list(found)].tolist())

    return work


def _rows(path: Path, size: int, queries: np.ndarray) -> Iterator[Measurement]:
    name = f"{size:,} adapters".replace(",", " ")
    milliseconds, recall = _SIZES[size]
    with Library(path) as library:
        began = time.perf_counter()
        searcher = Searcher(library)
        seconds = time.perf_counter() - began
        if searcher.matrix.folder is not None:
            yield Figure(name=f"{name}: arranging them, once", value=seconds, unit="s")
        if size > EXACT:
            began = time.perf_counter()
            searcher.ranker.build_index()
            yield Figure(name=f"{name}: building the index, once", value=time.perf_counter() - began, unit="s")
        exact = searcher.bound_to(library)
        exact.ranker = Ranker(searcher.matrix)
        exact.ranker.index = None
        for share, folder in _FOLDERS.items():
            filters = Filters(searcher.thresholds, folder=folder)
            began = time.perf_counter()
            searcher.select(queries[0], filters, 10)
            if folder:
                seconds = time.perf_counter() - began
                yield Figure(name=f"{name}, {share} of them: a new folder", value=seconds * 1e3, unit="ms")
            yield _timed(f"{name}, {share} of them: a ranking", searcher, queries, filters, milliseconds)
            if size > EXACT and share in ("all", "half"):
                found = np.mean([_recall(searcher, exact, query, filters) for query in queries[:60]])
                note = f"over {min(len(queries), 60)} queries"
                yield Figure(
                    name=f"{name}, {share} of them: recall@10", value=float(found), unit="", target=at_least(recall),
                    note=note,
                )  # fmt: skip
        several = queries[:100]
        each = repeat(f"{name}: scores of 100 queries at once", lambda: searcher.scores(several), repeats=3, unit="ms")
        yield each
    yield from _opening(path, name, size)


def _timed(name: str, searcher: Searcher, queries: np.ndarray, filters: Filters, limit: float) -> Figure:
    """The median and the spread over different queries."""
    found: list[float] = []
    for query in queries:
        began = time.perf_counter()
        searcher.select(query, filters, 10)
        found.append((time.perf_counter() - began) * 1e3)
    spread = Ratio.of(found)
    return Figure(name=name, value=spread.median, unit="ms", p5=spread.p5, p95=spread.p95, target=at_most(limit))


def _recall(searcher: Searcher, exact: Searcher, query: np.ndarray, filters: Filters) -> float:
    found, true = (look.select(query, filters, 10).shown for look in (searcher, exact))
    return len(found.keys() & true.keys()) / len(true)


def _opening(path: Path, name: str, size: int) -> Iterator[Measurement]:
    """In a process of its own, caches warm."""
    done = [
        json.loads(subprocess.run([sys.executable, "-c", _OPEN, str(path)], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    large = size > EXACT
    seconds = sorted(found["seconds"] for found in done)[1]
    yield Figure(name=f"{name}: opening", value=seconds, unit="s", target=at_most(2) if large else None)
    memory = max(found["MiB"] for found in done)
    yield Figure(
        name=f"{name}: anonymous memory", value=memory, unit="MiB", target=at_most(1.2 * 1024) if large else None
    )
