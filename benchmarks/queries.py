"""A query: from words to ranked adapters."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, Side, at_least, take_turns
from benchmarks.models import clip_vit_b32
from lorascope.encoders.clip import load_text_encoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.grid import PromptSet

TITLE = "Queries"
NOTE = """An encoder of the size of CLIP ViT-B/32, with random weights, which cost what trained ones cost; the 280
shipped retrieval prompts."""

_WORDS = ("oil painting", "neon city at night", "pencil sketch", "golden hour light", "in the style of a woodcut")


def measure() -> Iterator[Row]:
    """New queries."""
    with tempfile.TemporaryDirectory() as name:
        folder = clip_vit_b32(Path(name) / "clip")
        turns = take_turns({"reference": Side(_reference, (folder,)), "ours": Side(_ours, (folder,))}, rounds=7)
        yield turns.compare("reference", "ours", "a new query, float32", target=at_least(15), clock="cpu")


def _reference(folder: Path) -> Callable[[], object]:
    from benchmarks.reference_search import ReferenceSearch, catalogue

    rng = np.random.default_rng(0)
    frame = catalogue(rng.normal(size=(740, 512)), rng.uniform(1, 11, 740), rng.uniform(0, 0.5, 740))
    search = ReferenceSearch(folder, PromptSet.load("query").texts, frame)
    words = itertools.cycle(_WORDS)
    return lambda: search.query(next(words))


def _ours(folder: Path) -> Callable[[], object]:
    encoder = QueryEncoder(load_text_encoder(str(folder)), PromptSet.load("query"))
    words = itertools.cycle(_WORDS)
    return lambda: encoder.vector(next(words))
