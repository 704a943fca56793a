"""Experiments of the lab: what they report is what was put in."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, searcher, three

from lorascope.analysis.unseen import unseen
from lorascope.errors import QueryError
from lorascope.evaluation import Corpus, JudgedQuery
from lorascope.evaluation.corpus import Words
from lorascope.evaluation.experiments.ablations import Bed, ablation_findings, variants
from lorascope.evaluation.experiments.backbones import backbone_findings
from lorascope.evaluation.experiments.calibration import (
    CONSISTENCY_QUANTILE,
    STRENGTH_QUANTILE,
    by_quantile,
    calibration_findings,
)
from lorascope.evaluation.experiments.metadata import Descriptions, metadata_findings
from lorascope.evaluation.experiments.names import names_findings, shared_words
from lorascope.evaluation.experiments.sight import sight_findings
from lorascope.evaluation.findings import Findings, FindingsTable
from lorascope.evaluation.statistics import Interval
from lorascope.evaluation.text import BM25
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.measure import Worker, index, load_worker
from lorascope.protocol import Preset, Thresholds, borrowed_thresholds
from lorascope.report.lab import write_findings
from lorascope.search import Searcher
from lorascope.signature import Accuracy, Estimate, Signature

QUERIES = [JudgedQuery(c, c, grades={f"{c}der": 2}) for c in COLOURS]


@pytest.fixture
def measured(worker: Worker, library: Library, tmp_path: Path) -> Searcher:
    """Three adapters that tint pictures, eight blocks each."""
    index([three(tmp_path / "loras")], worker, library, precision="quick")
    return searcher(library)


def table(findings: Findings, heading: str) -> FindingsTable:
    """The table under a heading."""
    (found,) = [section.table for section in findings.sections if section.heading == heading]
    assert found is not None
    return found


# --- ablations ----------------------------------------------------------------------------------------------------


def test_ablations_cover_every_part(measured: Searcher, tmp_path: Path) -> None:
    findings = ablation_findings(measured, Corpus.of(measured), QUERIES)
    encodings = table(findings, "Query encodings and filters")
    assert encodings.columns == ("encoding", "both", "strength", "consistency", "none")
    assert [row[0] for row in encodings.rows] == ["suffix", "prefix", "both", "query", "query-minus-empty"]
    assert encodings.rows[0][4] == Interval(1.0, math.nan, math.nan)  # three groups are too few for an interval
    prompts = table(findings, "How many prompts in P'")
    assert [row[0] for row in prompts.rows] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 280]
    assert [row[0] for row in table(findings, "Ranking variants").rows] == [
        "plain", "centred", "whitened", "best category", "confident",
    ]  # fmt: skip
    assert write_findings(tmp_path / "page.html", findings, "x").stat().st_size > 5000


def test_curves_end_where_the_library_is(measured: Searcher) -> None:
    bed = Bed(measured, Corpus.of(measured), QUERIES)
    plain = measured.scores(measured.vector("red"))
    assert variants(bed)["plain"][0] == pytest.approx(plain.astype(float), abs=1e-6)
    for key, (prompts, effects) in bed.cells.items():
        assert len(prompts) == len(effects)
        row = measured.matrix.places[key]
        mean = effects.mean(0) / np.linalg.norm(effects.mean(0))
        assert mean == pytest.approx(measured.matrix.directions[row].astype(float), abs=1e-6)


# --- other backbones ----------------------------------------------------------------------------------------------


@pytest.fixture
def backbones(measured: Searcher, preset: Preset, tmp_path: Path) -> tuple[Searcher, Searcher]:
    """The same three adapters on two base models that draw alike."""
    other = dataclasses.replace(preset, name="other", steps=preset.steps + 1)
    index([tmp_path / "loras"], load_worker(other), measured.library, precision="quick")
    return measured, searcher(measured.library, "other")


def test_backbones_that_draw_alike_agree(backbones: tuple[Searcher, Searcher]) -> None:
    findings = backbone_findings(*backbones, QUERIES)
    found = {row[0]: row[1] for section in findings.sections[:3] for row in section.table.rows if section.table}
    values = {name: cell.value for name, cell in found.items() if isinstance(cell, Interval)}
    assert values["difference"] == 0
    assert values["cosine of Directions, same effect"] == pytest.approx(1)
    assert values["cosine of Directions, other effects"] < 0.5
    assert values["other twin is the nearest"] == values["a list for each backbone"] == values["one list of both"] == 1
    rows = table(findings, "Thresholds on either backbone").rows
    one, two = ([cell.value if isinstance(cell, Interval) else cell for cell in row[1:]] for row in rows)
    assert one == pytest.approx(two)


def test_backbones_that_cannot_be_compared_are_refused(backbones: tuple[Searcher, Searcher]) -> None:
    with pytest.raises(QueryError, match="no query is answered by one of the 3 adapters that both backbones have"):
        backbone_findings(*backbones, [JudgedQuery("1", "red", grades={"somebody else's": 2})])


# --- metadata quality ---------------------------------------------------------------------------------------------


def test_text_falls_and_behaviour_stays_as_descriptions_decay(measured: Searcher) -> None:
    corpus = Corpus.of(measured)
    texts = tuple(f"makes everything {name.removesuffix('der')}" for name in corpus.names)
    descriptions = Descriptions(texts, ("rot", "grün", "blau"), ("my best one yet",))
    findings = metadata_findings(measured, corpus, QUERIES, lambda words: [BM25(words)], descriptions)
    assert [section.heading for section in findings.sections] == [
        "All four sorts", "Vague ones", "Wrong ones", "Foreign ones", "Empty ones",
    ]  # fmt: skip
    for name in ("Vague ones", "Empty ones", "Foreign ones"):
        found = table(findings, name)
        assert found.columns == ("share", "behaviour", "bm25", "sum(behaviour, bm25)")
        ours, text = ([row[column] for row in found.rows] for column in (1, 2))
        assert len(set(ours)) == 1
        values = [cell.value for cell in text if isinstance(cell, Interval)]
        assert values[0] == 1.0
        assert values[-1] == 0.0
        assert values == sorted(values, reverse=True)
    assert "bm25: " in findings.sections[-1].text


def test_the_shipped_descriptions_cover_the_shipped_world() -> None:
    from lorascope.miniature import truth

    names = tuple(truth()["adapters"])
    found = Descriptions.of(Corpus(names, names, tuple(Words(n, "", ()) for n in names), (None,) * len(names)))
    assert len(found.perfect) == len(found.foreign) == len(names)
    assert all(found.perfect)
    assert all(one != other for one, other in zip(found.perfect, found.foreign, strict=True) if "testing" not in one)
    with pytest.raises(QueryError, match="has nothing about 'stranger': give --descriptions FILE"):
        Descriptions.of(Corpus(("k",), ("stranger",), (Words("stranger", "", ()),), (None,)))


def test_experiments_refuse_queries_without_answers(measured: Searcher) -> None:
    """They once went on with none, to a KeyError or to tables of zeros."""
    corpus = Corpus.of(measured)
    for grades, complaint in (({}, "none of the 1 queries has known answers"), ({"away": 1}, "is in the library")):
        queries = [JudgedQuery("1", "red", grades=grades)]
        with pytest.raises(QueryError, match=complaint):
            ablation_findings(measured, corpus, queries)
        with pytest.raises(QueryError, match=complaint):
            metadata_findings(measured, corpus, queries, lambda _: [], Descriptions((), (), ()))


@pytest.mark.parametrize(
    ("vague", "pair", "complaint"),
    [
        ("[]", '["a", "b"]', "vague.texts is []: write a list of 1 or more texts"),
        ('"abc"', '["a", "b"]', "vague.texts is 'abc': write a list"),
        ('["v"]', '["a"]', "'lake' is ['a']: write a list of 2 or more texts"),
        ('["v"]', '"ab"', "'lake' is 'ab': write a list"),
        ('["v"]', "[1, 2]", "'lake' is [1, 2]: write a list"),
        ('["v"]', '["a"', "cannot be read"),
    ],
)
def test_descriptions_of_another_form_are_refused(vague: str, pair: str, complaint: str, tmp_path: Path) -> None:
    """A text was once taken for a list of its letters, and no vague ones at all broke the experiment halfway."""
    path = tmp_path / "descriptions.toml"
    path.write_text(f"[vague]\ntexts = {vague}\n[adapters]\nlake = {pair}\n", "utf-8")
    with pytest.raises(QueryError) as caught:
        Descriptions.of(Corpus(("k",), ("lake",), (Words("lake", "", ()),), (None,)), path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


# --- thresholds ---------------------------------------------------------------------------------------------------


def known(library: Library, preset: Preset, figures: dict[str, tuple[float, float]]) -> Searcher:
    """A library of known Strengths and Consistencies."""
    protocol = preset.protocol(base_digest="b", encoder="fake", encoder_digest="fake-encoder")
    library.protocols.add(protocol, preset)
    library.adapters.add([StoredAdapter(f"sha256:{name}", name, "fake", (), AdapterFacts()) for name in figures], {})
    draw = np.random.default_rng(0)
    for name, (strength, consistency) in figures.items():
        exact = Accuracy(Estimate(strength, strength, strength), Estimate(consistency, consistency, consistency), None)
        direction = draw.normal(size=16)
        signature = Signature(
            direction=direction, mean=direction, strength=strength, consistency=consistency, active_consistency=None,
            active_share=1.0, magnitude=1.0, cells=16, prompts=16, grid=exact,
            new_prompts=Accuracy(None, None, None), categories=(),
        )  # fmt: skip
        library.signatures.put(protocol.digest, "quick", {f"sha256:{name}": signature})
    return searcher(library)


def test_quantiles_are_those_of_the_paper() -> None:
    strength = np.linspace(0, 1, 10_001)
    found = by_quantile(strength, strength)
    assert found == pytest.approx((STRENGTH_QUANTILE, CONSISTENCY_QUANTILE), abs=1e-3)
    assert found == pytest.approx((0.9716, 0.2757), abs=1e-3)  # 21 and 204 of 740 lie beyond


def test_a_small_library_is_told_that_there_is_too_little(library: Library, preset: Preset) -> None:
    look = known(library, preset, {f"a{i}": (1 + i / 10, i / 100) for i in range(12)})
    findings = calibration_findings(look, Corpus.of(look), [JudgedQuery("1", "red", grades={"a1": 2})])
    assert "12 adapters are too little to calibrate on" in findings.warnings[0]
    assert "1 groups of queries are too little to calibrate on" in findings.warnings[1]
    assert [row[0] for row in table(findings, "On smaller libraries").rows] == [10]


def test_thresholds_that_queries_choose_are_tried_on_others(library: Library, preset: Preset) -> None:
    """Strong adapters are never right here, so queries choose to leave them out, and gain by it."""
    figures = {f"good{i}": (1.0, 0.2) for i in range(30)} | {f"loud{i}": (9.0, 0.2) for i in range(12)}
    look = known(library, preset, figures)
    corpus = Corpus.of(look)
    counts = [c for c in itertools.product(range(4), repeat=3) if sum(c) > 2][:40]
    texts = [" ".join(name for name, many in zip(COLOURS, c, strict=True) for _ in range(many)) for c in counts]
    vectors = {text: look.vector(text) for text in texts}
    loud = [row for row, name in enumerate(corpus.names) if name.startswith("loud")]
    queries: list[JudgedQuery] = []
    for text in texts:
        scores = look.scores(vectors[text])
        scores[loud] = -1
        queries.append(JudgedQuery(text, text, grades={corpus.names[int(scores.argmax())]: 2}))
    findings = calibration_findings(look, corpus, queries)
    rows = {row[0]: row for row in table(findings, "By labelled queries").rows}
    free, chosen = rows["no thresholds"][1], rows["chosen by other queries"][1]
    assert isinstance(free, Interval)
    assert isinstance(chosen, Interval)
    assert free.value < chosen.value <= 1.0
    (text,) = [section.text for section in findings.sections if section.heading == "By labelled queries"]
    assert "Best on all queries: Strength at most 1 " in text


@pytest.mark.parametrize(
    ("encoder", "strength", "said"),
    [("openai/clip-vit-base-patch32", 9.8, False), ("google/siglip2", 9.8, True), ("google/siglip2", 12.0, False)],
)
def test_the_paper_s_thresholds_elsewhere_are_told(encoder: str, strength: float, said: bool) -> None:
    protocol = Preset.load("sdxl-paper").protocol(base_digest="", encoder=encoder, encoder_digest="")
    note = borrowed_thresholds(protocol, Thresholds(strength_max=strength, consistency_min=0.05))
    assert bool(note) is said
    assert not note or f"and {encoder}: `lorascope calibrate` suggests others" in note


# --- what is not seen ---------------------------------------------------------------------------------------------


def test_pictures_that_move_while_embeddings_do_not_are_flagged(library: Library, preset: Preset) -> None:
    draw = np.random.default_rng(0)
    strengths = {f"a{i}": (float(draw.uniform(1, 2)), 0.2) for i in range(20)}
    look = known(library, preset, strengths)
    digest = look.stored.protocol.digest
    for name, (strength, _) in strengths.items():
        moved = strength / 10 * draw.uniform(0.95, 1.05) * (4 if name == "a7" else 1)
        cells = np.full(16, moved, np.float32)
        library.evidence.put_block(f"sha256:{name}", 0, "x", "", [(digest, np.zeros((16, 16), np.float16))], cells)
    found = unseen(library, digest)
    assert [key for key, one in found.items() if one.flag] == ["sha256:a7"]
    assert found["sha256:a7"].moved == pytest.approx(strengths["a7"][0] * 0.4, rel=0.06)
    findings = sight_findings(look, Corpus.of(look), [JudgedQuery("1", "red", grades={"a7": 2, "a1": 1})])
    assert findings.sections[0].text.startswith("Flagged: a7.")
    assert table(findings, "Every adapter").rows[0][0] == "a7"


def test_a_library_without_evidence_says_so(library: Library, preset: Preset) -> None:
    look = known(library, preset, {"a": (1.0, 0.2), "b": (1.0, 0.2)})
    assert unseen(library, look.stored.protocol.digest) == {}
    assert "cannot be compared" in sight_findings(look, Corpus.of(look)).warnings[0]


# --- names --------------------------------------------------------------------------------------------------------


def test_words_are_shared_by_few_and_say_something(library: Library, preset: Preset) -> None:
    names = ["Ghibli style", "ghibli_v2", "Oil painting SDXL", "SDXL lora", *(f"detail {i}" for i in range(11))]
    look = known(library, preset, dict.fromkeys(names, (1.0, 0.2)))
    corpus = Corpus.of(look)
    shared = shared_words(corpus)
    assert {word: sorted(corpus.names[row] for row in rows) for word, rows in shared.items()} == {
        "ghibli": ["Ghibli style", "ghibli_v2"]
    }
    row = table(names_findings(look, corpus), "Neighbours and names").rows[0]
    assert row[:2] == ("adapters that share a word with another", 2)


def test_shares_of_the_thresholds_add_up(library: Library, preset: Preset) -> None:
    figures = {"fine": (1.0, 0.2), "loud": (2.0, 0.2), "wild": (1.0, 0.01), "both": (2.0, 0.01), "edge": (1.5, 0.02)}
    look = known(library, preset, figures)
    rows = {row[0]: row[1] for row in table(names_findings(look, Corpus.of(look)), "What the thresholds hide").rows}
    assert rows == {"within both": 2, "too strong": 1, "too inconsistent": 1, "both": 1}


def test_a_second_grade_counts_adapters_that_keep_the_scene() -> None:
    from lorascope.evaluation.measures import KEPT, Qrels

    names = ("keeps", "forgets")
    corpus = Corpus(names, names, tuple(Words(n, "", ()) for n in names), (None, None))
    both = JudgedQuery("1", "snow", grades={"keeps": 1, "forgets": 2}, kept={"keeps": 2, "forgets": 1})
    scores = np.array([[1.0, 2.0]])  # the one that forgets comes first
    figures = Qrels(corpus, [both]).figures(scores)
    gain = {"keeps": 2 ** (1 * 2 / 2) - 1, "forgets": 2 ** (2 * 1 / 2) - 1}
    assert figures[KEPT][0] == pytest.approx((gain["forgets"] + gain["keeps"] / np.log2(3)) / (1 + 1 / np.log2(3)))
    lost = dataclasses.replace(both, kept={"keeps": 2, "forgets": 0})
    assert Qrels(corpus, [lost]).figures(scores)[KEPT][0] == pytest.approx(1 / np.log2(3), abs=1e-3)
