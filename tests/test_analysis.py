"""Analyses: what is said about an adapter is what its Direction shows, and nothing is said where nothing is known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from test_search import known_signature
from typer.testing import CliRunner

from lorascope.analysis import describe
from lorascope.analysis.description import FEWEST, Scale
from lorascope.cli.app import app
from lorascope.errors import LibraryError
from lorascope.grid import PromptSet
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.protocol import Preset
from lorascope.search import Searcher

PHRASES = 120


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def drawn(seed: int, adapters: int = 60, dim: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Phrases that share a mean, as those of an encoder do, and Directions that have nothing to do with any."""
    draw = np.random.default_rng(seed)
    return unit(draw.normal(size=(adapters, dim))), unit(draw.normal(size=(PHRASES, dim)) + 0.5)


def test_a_planted_phrase_is_the_first_word() -> None:
    directions, vectors = drawn(0)
    directions[:40] = unit(directions[:40] + 20 * vectors[:40])
    scale = Scale.of(directions, vectors)
    assert [found[0][0] for found in scale.telling(directions[:40])] == list(range(40))


def test_adapters_that_do_nothing_that_has_a_word_get_none() -> None:
    """The promise is a false discovery rate: with nothing to discover, words in at most 5% of libraries."""
    wrong = 0
    for seed in range(60):
        directions, vectors = drawn(seed)
        scale = Scale.of(directions, vectors)
        wrong += any(scale.telling(directions))
    assert wrong <= 8  # of 60 at 5%, a binomial count exceeds this in one case of a thousand


def test_near_synonyms_are_said_once() -> None:
    directions, vectors = drawn(1)
    vectors[1] = unit(vectors[0] + 0.1 * vectors[1])
    directions[:40] = unit(directions[:40] + 20 * vectors[:40])
    said = [place for place, _ in Scale.of(directions, vectors).telling(directions[:1])[0]]
    assert len({0, 1}.intersection(said)) == 1


def library_of(library: Library, preset: Preset, directions: np.ndarray) -> Searcher:
    """A library of given Directions, with queries whose vectors are known."""
    protocol = preset.protocol(base_digest="b", encoder="fake", encoder_digest="fake-encoder")
    library.protocols.add(protocol, preset)
    names = [f"a{place:03}" for place in range(len(directions))]
    library.adapters.add([StoredAdapter(f"sha256:{name}", name, "fake", (), AdapterFacts()) for name in names], {})
    signatures = {f"sha256:{n}": known_signature(row, 5.0) for n, row in zip(names, directions, strict=True)}
    library.signatures.put(protocol.digest, "full", signatures)
    return Searcher(library)


def test_few_adapters_are_too_few_to_tell_words_from_chance(library: Library, preset: Preset) -> None:
    searcher = library_of(library, preset, np.eye(16)[:5])
    with pytest.raises(LibraryError, match=f"5 adapters that do anything: words can be .* with {FEWEST} or more"):
        describe(searcher)


def test_a_library_is_described_in_the_words_of_its_vocabulary(
    library: Library, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = PromptSet.load(preset.vocabulary)
    draw = np.random.default_rng(0)
    vectors = unit(draw.normal(size=(len(vocabulary), 64)))
    directions = unit(draw.normal(size=(FEWEST, 64)))
    directions[:30] = unit(directions[:30] + 20 * vectors[1:61:2])  # the second one of each group
    searcher = library_of(library, preset, directions)
    monkeypatch.setattr(Searcher, "vectors", lambda self, phrases: vectors)
    described = {one.name: one for one in describe(searcher)}
    assert [str(described[f"a{place:03}"]) for place in range(30)] == list(vocabulary.texts[:60:2])
    assert described["a000"].words[0].facet == vocabulary.categories[0]
    assert describe(searcher, ["sha256:a003"]) == [described["a003"]]
    shown = CliRunner().invoke(app, ["describe", "a003", "-l", str(library.path), "--json"])
    (told,) = json.loads(shown.stdout)["descriptions"]
    assert (told["words"][0]["phrase"], told["hardly_on"]) == (vocabulary.texts[6], [])
    assert "No image is made." in shown.stderr
    facet = ("describe", "-l", str(library.path), "--facet")
    told = CliRunner().invoke(app, [*facet, vocabulary.categories[0], "--json"])
    names = {one["name"] for one in json.loads(told.stdout)["descriptions"]}
    assert "a000" in names
    assert len(names) < FEWEST
    assert "there is no facet 'nothing': use one of" in str(CliRunner().invoke(app, [*facet, "nothing"]).exception)
    with pytest.raises(LibraryError, match="sha256:unknown has no signature under"):
        describe(searcher, ["sha256:unknown"])


def test_an_adapter_of_uncertain_consistency_gets_no_words(
    library: Library, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    vectors = unit(draw.normal(size=(len(PromptSet.load(preset.vocabulary)), 64)))
    directions = unit(draw.normal(size=(FEWEST, 64)))
    directions[:30] = unit(directions[:30] + 20 * vectors[1:61:2])  # the second one of each group
    searcher = library_of(library, preset, directions)
    doubtful = np.column_stack([np.full(FEWEST, -0.1), np.full(FEWEST, 0.3)])
    searcher.matrix = dataclasses.replace(searcher.matrix, consistency_interval=doubtful)
    monkeypatch.setattr(Searcher, "vectors", lambda self, phrases: vectors)
    assert [one.words for one in describe(searcher)] == [()] * FEWEST
