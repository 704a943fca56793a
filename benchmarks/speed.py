"""How long the main things take. Nothing here asserts: it measures and prints.

python -m benchmarks.speed [--write docs/performance.md]
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from benchmarks.machine import describe
from lorascope import Library, Preset, Searcher, index, read_adapter
from lorascope.library import Matrix
from lorascope.measure import load_bench
from lorascope.miniature import adapters_path
from lorascope.protocol import Thresholds
from lorascope.search import Filters

_PUBLISHED = 740
_DIM = 512
_CELLS = 128


def report() -> str:
    """Measure everything and describe it, as Markdown."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*_first_answer(folder), *_indexing(folder), _ranking(folder), _help(), _inspecting(folder)]
    lines = ["# Performance", "", "Written by `python -m benchmarks`; do not edit.", ""]
    lines += [f"Machine: {describe()}.", "", "| what | measured |", "| --- | --- |"]
    lines += [f"| {what} | {found} |" for what, found in rows]
    return "\n".join(lines) + "\n"


def _first_answer(folder: Path) -> list[tuple[str, str]]:
    """From a warm start (models loaded) to the first ranked answer over every adapter."""
    count = len(list(adapters_path().glob("*.safetensors")))
    began = time.perf_counter()
    with Library(folder / "first.db", create=True) as library:
        bench = load_bench(Preset.load("miniature"), library, device="cpu")
        loaded = time.perf_counter()
        index([adapters_path()], bench, precision="glance")
        Searcher(library).text("pencil drawing")
        done = time.perf_counter()
        return [
            ("loading the miniature's models", f"{loaded - began:.1f} s"),
            (f"first answer over {count} adapters, models loaded", f"{done - loaded:.1f} s"),
        ]


def _indexing(folder: Path) -> list[tuple[str, str]]:
    """The first 24 adapters x 128 cells, and the memory that the second twelve add."""
    prompts = folder / "prompts.txt"
    prompts.write_text("\n".join(Preset.load("miniature").grid().prompts.texts[:_CELLS]), "utf-8")
    preset = dataclasses.replace(Preset.load("miniature"), prompts=str(prompts), seeds=(0,))
    paths = sorted(adapters_path().glob("*.safetensors"))[:24]
    process = psutil.Process()
    with Library(folder / "index.db", create=True) as library:
        bench = load_bench(preset, library, device="cpu")
        began = time.perf_counter()
        outcome = index(paths[:12], bench, precision="full")
        middle = process.memory_info().rss
        more = index(paths[12:], bench, precision="full")
        seconds = time.perf_counter() - began
        grown = (process.memory_info().rss - middle) / 2**20
    cells = outcome.cells + more.cells
    return [
        (
            f"indexing {len(paths)} adapters x {_CELLS} cells",
            f"{seconds:.0f} s ({(cells + _CELLS) / seconds:.0f} images/s)",
        ),
        ("memory that the second twelve of them add", f"{grown:.0f} MiB"),
    ]


def _ranking(folder: Path) -> tuple[str, str]:
    """Scores, both filters and the top ten among as many signatures as the authors published."""
    rng = np.random.default_rng(0)
    rows = [
        (
            f"key{i}",
            f"name{i}",
            "sdxl",
            5.0,
            4.9,
            5.1,
            0.1,
            0.09,
            0.11,
            rng.normal(size=_DIM).astype(np.float32).tobytes(),
        )
        for i in range(_PUBLISHED)
    ]
    matrix = Matrix.build("made up", rows, _DIM)
    query = rng.normal(size=_DIM).astype(np.float32)
    with Library(folder / "first.db") as library:
        searcher = Searcher(library)
        searcher.matrix = matrix
        filters = Filters(Thresholds(strength_max=9.8, consistency_min=0.041))
        milliseconds = _median(lambda: searcher.select(query, filters, 10)) * 1e3
    return f"ranking {_PUBLISHED} signatures of {_DIM} d, both filters, top 10", f"{milliseconds:.3f} ms"


def _help() -> tuple[str, str]:
    command = [sys.executable, "-c", "from lorascope.cli import main; main()", "--help"]
    seconds = _median(lambda: subprocess.run(command, check=True, capture_output=True), repeats=7)
    return "`lorascope --help`, whole process", f"{seconds:.2f} s"


def _inspecting(folder: Path) -> tuple[str, str]:
    """A 500 MB file: the time and the bytes read."""
    path = folder / "large.safetensors"
    _write_large(path, 500_000_000)
    process = psutil.Process()
    before = process.io_counters().read_chars
    began = time.perf_counter()
    read_adapter(path)
    seconds = time.perf_counter() - began
    read = process.io_counters().read_chars - before
    size = path.stat().st_size
    return f"reading what a {size / 1e6:.0f} MB file is", f"{seconds * 1e3:.1f} ms, {read / 1e3:.0f} kB read"


def _write_large(path: Path, size: int) -> None:
    rank, width = 64, size // (2 * 2 * 64)
    name = "lora_unet_down_blocks_1_attentions_0_proj_in"
    each = rank * width * 2
    header = {
        f"{name}.lora_down.weight": {"dtype": "F16", "shape": [rank, width], "data_offsets": [0, each]},
        f"{name}.lora_up.weight": {"dtype": "F16", "shape": [width, rank], "data_offsets": [each, 2 * each]},
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 2 * each)  # a sparse file: only the header exists on the disk


def _median(work: Callable[[], object], repeats: int = 200) -> float:
    seconds: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    print(report())
