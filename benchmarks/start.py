"""What a person waits for first: the command line, a look at a file, the first answer."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.harness import Figure, Measurement, repeat
from lorascope import Library, Preset, Request, Searcher, index, read_adapter
from lorascope.measure import load_worker
from lorascope.miniature import adapters_path

TITLE = "First steps"
NOTE = "The shipped world, on the CPU."


def measure() -> Iterator[Measurement]:
    """From ``--help`` to the first ranked answer."""
    with tempfile.TemporaryDirectory() as name:
        yield _help()
        yield from _inspecting(Path(name))
        yield from _first_answer(Path(name))


def _help() -> Measurement:
    command = [sys.executable, "-c", "from lorascope.cli import main; main()", "--help"]
    run = lambda: subprocess.run(command, check=True, capture_output=True)  # noqa: E731
    return repeat("`lorascope --help`, whole process", run, repeats=7)


def _inspecting(folder: Path) -> Iterator[Measurement]:
    """A 500 MB file: the time, and the bytes that are read."""
    path = folder / "large.safetensors"
    _write_large(path, 500_000_000)
    process = psutil.Process()
    before = process.io_counters().read_chars
    read_adapter(path)
    read = (process.io_counters().read_chars - before) / 1e3
    yield repeat("what a file of 500 MB is", lambda: read_adapter(path), repeats=50, unit="ms")
    yield Figure(name="read of it", value=read, unit="kB")


def _first_answer(folder: Path) -> Iterator[Measurement]:
    """From a warm start (models loaded) to the first ranked answer over every adapter."""
    began = time.perf_counter()
    with Library(folder / "first.db", create=True) as library:
        worker = load_worker(Preset.load("miniature"), device="cpu")
        loaded = time.perf_counter()
        yield Figure(name="loading the miniature's models", value=loaded - began, unit="s")
        outcome = index([adapters_path()], worker, library, precision="glance")
        Searcher(library).search(Request("pencil drawing"))
        name = f"first answer over {len(outcome.measured)} adapters, models loaded"
        yield Figure(name=name, value=time.perf_counter() - loaded, unit="s")


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
