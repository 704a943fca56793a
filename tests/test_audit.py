"""Audits: claims that fit are separated from chance, and nobody is accused on words that cannot be judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from test_analysis import library_of, unit

from lorascope.adapters import Claim
from lorascope.analysis import Advice, Audit, audit
from lorascope.analysis.audit import _contradicted, claimed_phrases
from lorascope.analysis.description import FEWEST
from lorascope.cli.analysis import _tell_cost
from lorascope.grid import PromptSet
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.protocol import Preset
from lorascope.search import Searcher

DIM = 64


def claiming(family: str = "fake", **claims: object) -> StoredAdapter:
    facts = AdapterFacts(claims={name: Claim(value, "sidecar") for name, value in claims.items()})
    return StoredAdapter("sha256:a000", "a000", family, (), facts)


@pytest.fixture
def audited(library: Library, preset: Preset, monkeypatch: pytest.MonkeyPatch) -> dict[str, Audit]:
    """Sixty adapters, of which forty do what one phrase of the vocabulary says; the first ones make claims."""
    vocabulary = PromptSet.load(preset.vocabulary)
    draw = np.random.default_rng(0)
    vectors = dict(zip(vocabulary.texts, unit(draw.normal(size=(len(vocabulary), DIM))), strict=True))
    directions = unit(draw.normal(size=(60, DIM)))
    directions[:FEWEST] = unit(directions[:FEWEST] + 20 * np.stack(list(vectors.values())[: 2 * FEWEST : 2]))
    searcher = library_of(library, preset, directions)
    names = list(vocabulary.texts[: 2 * FEWEST : 2])
    claims: dict[int, dict[str, object]] = {place: {"title": names[place]} for place in range(30)}
    claims[1] = {"description": f"<p>Only {names[7]}.</p>"}  # what a007 does
    claims[2] = {"title": "A2", "description": "Die beste Datei. Legendary!"}
    claims[3] = {}
    claims[4] = {"title": names[4], "base_model": "SD 1.5"}
    stored = [dataclasses.replace(claiming(**said), key=f"sha256:a{place:03}", name=f"a{place:03}")
              for place, said in claims.items()]  # fmt: skip
    library.adapters.add(stored, {})

    def known(self: Searcher, phrases: tuple[str, ...]) -> np.ndarray:
        """Phrases of the vocabulary as they are, with or without "Only"; random vectors for all others."""
        rows = [vectors.get(text.removeprefix("Only "), np.random.default_rng(list(text.encode())).normal(size=DIM))
                for text in phrases]  # fmt: skip
        return unit(np.stack(rows))

    monkeypatch.setattr(Searcher, "vectors", known)
    monkeypatch.setattr("lorascope.search.phrases.Phrases.rows", known)
    monkeypatch.setattr(
        "lorascope.search.phrases.Phrases.vectors",
        lambda self, texts, encoding="suffix": {text: (known(self, (text,))[0], 0.5) for text in texts},
    )
    return {one.name: one for one in audit(searcher)}


def test_words_that_say_what_an_adapter_does_fit(audited: dict[str, Audit]) -> None:
    right = [one for name, one in audited.items() if name < "a030" and name not in ("a001", "a002", "a003")]
    assert [one.verdict for one in right] == ["fits"] * 27
    assert all(one.findings == [] for one in right if one.name != "a004")


def test_words_that_describe_another_adapter_are_mislabelled(audited: dict[str, Audit]) -> None:
    one = audited["a001"]
    assert one.verdict == "mislabelled"
    assert "describes a007" in one.reason
    (finding,) = one.findings
    assert (finding.flag, finding.remedy) == ("mislabelled", f"It does this: {one.does}")
    assert one.does


def test_foreign_words_and_boasts_cannot_be_told(audited: dict[str, Audit]) -> None:
    assert (audited["a002"].verdict, audited["a002"].findings) == ("unclear", [])


def test_an_adapter_without_words_is_mute(audited: dict[str, Audit]) -> None:
    one = audited["a003"]
    assert (one.verdict, one.phrases, one.chance) == ("mute", (), None)
    assert [finding.flag for finding in one.findings] == ["mute"]


def test_a_base_model_that_its_weights_do_not_fit_is_contradicted(audited: dict[str, Audit]) -> None:
    (finding,) = audited["a004"].findings
    assert (finding.flag, finding.seen) == ("contradicted", "it is said to be made for SD 1.5, but it fits fake only")


def test_a_weight_that_measurements_contradict_is_named() -> None:
    advice = Advice(0.5, 0.4, 0.7, 0.3, None, 0.8, "sets in at 0.3, breaks the scene from 0.8 on")
    said = "a weight of 1 is claimed, 0.4–0.7 is measured: sets in at 0.3, breaks the scene from 0.8 on"
    assert _contradicted(claiming(weight=1.0), advice) == (said,)
    assert _contradicted(claiming(weight=0.5), advice) == ()
    assert _contradicted(claiming(weight=1.0), None) == ()


def test_claims_become_phrases_without_what_concerns_use() -> None:
    text = "<p>Grey lines, on paper. Weight 0.7 to 1! Thanks for 500 downloads</p>"
    adapter = claiming(title="pencil_sketch", tags=("pencil",), description=text)
    assert claimed_phrases(adapter) == [
        ("title", "pencil sketch"), ("tags", "pencil"), ("description", "Gray lines"), ("description", "on paper"),
    ]  # fmt: skip
    assert claimed_phrases(claiming(description=" . , !")) == []
    assert claimed_phrases(claiming(title="re:zero -people +2 (v-1:0.5)")) == [("title", "re zero people 2 v-1 0 5")]


@pytest.mark.parametrize(
    ("encoder", "said"),
    [(True, "No image is made. 5 phrases are encoded, once: less than a minute."), (False, "No image is made.")],
)
def test_what_encoding_takes_is_said_before(
    encoder: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two phrases are timed; without an encoder a library has brought the vectors along, and none is encoded."""
    encoded: set[str] = set()

    def vectors(phrases: Sequence[str]) -> None:
        encoded.update(phrases if encoder else ())

    known = SimpleNamespace(unknown=lambda phrases: [one for one in phrases if one not in encoded])
    monkeypatch.setattr(import_module("lorascope.analysis.audit"), "phrases_asked", lambda *_: list("abcde"))
    _tell_cost(SimpleNamespace(phrases=known, vectors=vectors), None)  # type: ignore[arg-type]
    assert capsys.readouterr().err == f"{said}\n"
    assert encoded == ({"a", "b"} if encoder else set())
