"""A query: from words to ranked adapters."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.harness import Figure, Measurement, Side, at_least, at_most, repeat, take_turns
from benchmarks.models import clip_vit_b32
from benchmarks.space import caches_in
from lorascope.encoders.load import load_text_encoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.encoders.text import ClipText
from lorascope.grid import PromptSet
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.protocol import Preset
from lorascope.search import Filters, Request, Searcher
from lorascope.signature import Accuracy, Estimate, Signature

if TYPE_CHECKING:
    from benchmarks.reference_search import ReferenceSearch

TITLE = "Queries"
NOTE = """An encoder of the size of CLIP ViT-B/32 with random weights, which take the same time as trained ones; the 280
shipped retrieval prompts; 740 adapters. A query costs more the more tokens it has; one or two words are mostly one or
two tokens. The error is against whole texts through transformers, as a part of the embeddings' length.

`lorascope search` loads no torch; a process that does nothing but import it is measured for comparison."""

_WORDS = {
    1: ("snow", "painting", "neon", "portrait"),
    2: ("oil painting", "pencil sketch", "golden light", "neon city"),
    6: ("a city street at night, rain", "soft light over a green valley"),
}
_ODD = (
    "hello, world... -- it's 5.0!",
    "snow \N{SNOWFLAKE} \N{SMILING FACE WITH SUNGLASSES}",
    "cafe\N{COMBINING ACUTE ACCENT} noe\N{COMBINING DIAERESIS}l",
    "long and longer " * 30,
    "<|endoftext|> after the end",
    "before <|startoftext|> again",
)
_FACTOR = 15
"""How many times less processor time a new query shall take."""
_ROUNDS = 5
_SEARCH = """import atexit, sys
from benchmarks.harness import peak_memory
atexit.register(lambda: print(peak_memory(), file=sys.stderr))
from lorascope.cli import main
main()"""


def measure() -> Iterator[Measurement]:
    """New queries, repeated ones, whole processes, and how exact all of it is."""
    with tempfile.TemporaryDirectory() as name, caches_in(Path(name) / "cache"):
        folder = clip_vit_b32(Path(name) / "clip")
        library = _library(Path(name) / "library.db", folder)
        QueryEncoder(load_text_encoder(str(folder)), PromptSet.load("query")).vector("x")
        yield from _new(folder, library)
        yield from _exactness(folder)
        yield from _whole(library)


def _new(folder: Path, library: Path) -> Iterator[Measurement]:
    tower = ClipText(folder)
    for words in _WORDS.values():
        tokens = np.mean([len(tower.ids(text)) for text in words])
        sides = {"reference": Side(_reference, (folder, words)), "ours": Side(_ours, (library, words))}
        turns = take_turns(sides, rounds=_ROUNDS)
        name = f"a new query of {tokens:.1f} tokens"
        yield turns.compare("reference", "ours", name, target=at_least(_FACTOR), clock="cpu")


def _reference(folder: Path, words: Sequence[str]) -> Callable[[], object]:
    from benchmarks.reference_search import ReferenceSearch, catalogue

    rng = np.random.default_rng(0)
    frame = catalogue(rng.normal(size=(740, 512)), rng.uniform(1, 11, 740), rng.uniform(0, 0.5, 740))
    search = ReferenceSearch(folder, PromptSet.load("query").texts, frame)
    turn = itertools.cycle(words)
    return lambda: search.query(next(turn))


def _ours(library: Path, words: Sequence[str]) -> Callable[[], object]:
    """As a new query, whatever was encoded before: no vector is kept."""
    searcher = Searcher(Library(library))
    turn = itertools.cycle(words)

    def work() -> object:
        query = next(turn)
        return searcher.select(searcher.phrases.encoder.shifts(query).mean(0), Filters(searcher.thresholds), 10)

    return work


def _encoders(folder: Path) -> tuple[ReferenceSearch, QueryEncoder]:
    from benchmarks.reference_search import ReferenceSearch, catalogue

    prompts = PromptSet.load("query")
    reference = ReferenceSearch(folder, prompts.texts, catalogue(np.empty((0, 512)), np.empty(0), np.empty(0)))
    encoder = QueryEncoder(load_text_encoder(str(folder)), prompts)
    encoder.vector("x")  # what is done once
    return reference, encoder


def _exactness(folder: Path) -> Iterator[Measurement]:
    """Every prompt with odd and plain queries; and whether 740 adapters are ranked the same."""
    prompts = PromptSet.load("query").texts
    reference, encoder = _encoders(folder)
    base = reference.encode(list(prompts))
    rng, worst, same = np.random.default_rng(0), 0.0, 0
    queries = [*_ODD, "oil painting", "snow"]
    for query in queries:
        whole = reference.encode([f"{prompt} {' '.join(query.split())}" for prompt in prompts])
        ours = encoder.shifts(query)
        worst = max(worst, float(np.abs(ours - (whole - base)).max() / np.linalg.norm(whole, axis=1).mean()))
        mean = (whole - base).mean(0)
        rows = rng.normal(size=(740, 512)) + 3 * mean / max(float(np.linalg.norm(mean)), 1e-9)
        same += _best(rows, ours.mean(0)) == _best(rows, mean)
    yield Figure(
        name=f"largest error over {len(queries)} queries x 280 prompts, float32", value=worst * 1e6, unit="millionths",
        target=at_most(10),
    )  # fmt: skip
    yield Figure(name="queries with the same ten hits", value=same / len(queries), unit="", target=at_least(1))


def _best(rows: np.ndarray, vector: np.ndarray) -> list[int]:
    scores = rows @ vector / np.linalg.norm(rows, axis=1)
    return np.argsort(-scores)[:10].tolist() if np.linalg.norm(vector) > 1e-4 else []


def _whole(path: Path) -> Iterator[Measurement]:
    """``lorascope search`` from beginning to end, and a query within a running program."""
    with Library(path) as library:
        searcher = Searcher(library)
        searcher.prepare()
        searcher.search(Request("oil painting"))
        yield repeat(
            "a repeated query, in a running program", lambda: searcher.search(Request("oil painting")),
            repeats=100, unit="ms", target=at_most(2),
        )  # fmt: skip
    yield from _process("a repeated query", path, [["oil painting"]], most=1.2)
    yield from _process("a new query", path, [[word] for word in ("snow", "wood", "river", "glass", "stone")], most=1.2)
    picture = path.with_name("picture.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)).save(picture)
    yield from _process("a picture of 1,024 px", path, [["--image", str(picture)]], most=1.5)
    command = [sys.executable, "-c", "import torch"]
    yield repeat("a process that only imports torch", lambda: subprocess.run(command, check=True), repeats=5)


def _process(name: str, path: Path, queries: Sequence[Sequence[str]], *, most: float) -> Iterator[Measurement]:
    """Seconds of five whole processes, in turns over the queries, and the most memory that any of them took."""
    seconds: list[float] = []
    memory = 0.0
    for query in itertools.islice(itertools.cycle(queries), 5):
        began = time.perf_counter()
        command = [sys.executable, "-c", _SEARCH, "search", *query, "-l", str(path)]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds.append(time.perf_counter() - began)
        memory = max(memory, float(ended.stderr.split()[-1]))
    yield Figure(
        name=f"`lorascope search`, whole process, {name}", value=float(np.median(seconds)), unit="s", p5=min(seconds),
        p95=max(seconds), target=at_most(most),
    )  # fmt: skip
    yield Figure(name=f"memory of it, {name}", value=memory, unit="MiB", target=at_most(400))


def _library(path: Path, folder: Path) -> Path:
    preset = Preset.load("carlos-2025")
    protocol = preset.protocol(base_digest="", encoder=str(folder), encoder_digest="")
    rng = np.random.default_rng(0)
    found = {f"sha256:{place:064x}": _signature(rng.normal(size=512)) for place in range(740)}
    with Library(path, create=True) as library:
        library.protocols.add(protocol, preset)
        library.protocols.put_baseline_mean(protocol.digest, rng.normal(size=512).astype(np.float32), 4480)
        library.adapters.add(
            [StoredAdapter(key, f"adapter {key[-3:]}", "sdxl", (), AdapterFacts()) for key in found], {}
        )
        library.signatures.put(protocol.digest, "full", found)
    return path


def _signature(direction: np.ndarray) -> Signature:
    exact = Accuracy(*(Estimate(value, value, value) for value in (5.0, 0.2, 1.0)))
    return Signature(
        direction=direction, mean=direction, strength=5.0, consistency=0.2, active_consistency=None, active_share=1.0,
        magnitude=1.0, cells=4480, prompts=280, grid=exact, new_prompts=Accuracy(None, None, None), categories=(),
    )  # fmt: skip
