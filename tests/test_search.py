"""Search: what is asked, how it is ranked, what is hidden and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import COLOURS, searcher, three, tint
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_clip

from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.suffix import Encoding, QueryEncoder
from lorascope.errors import LibraryError, ModelError, QueryError
from lorascope.grid import PromptSet
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.measure import Worker, index
from lorascope.protocol import Preset, Protocol
from lorascope.search import Example, Query, Request, Searcher, Term
from lorascope.search.clarity import NullDistribution
from lorascope.signature import Accuracy, Estimate, Signature

# --- queries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "terms", "canonical"),
    [
        ("pencil drawing", [("pencil drawing", 1)], "pencil drawing"),
        ("  pencil \t drawing\n", [("pencil drawing", 1)], "pencil drawing"),
        ("watercolor -people", [("watercolor", 1), ("people", -1)], "watercolor -people"),
        ("watercolor -people:0.5 +snow:2", [("watercolor", 1), ("people", -0.5), ("snow", 2)],
         "watercolor -people:0.5 +snow:2"),
        ("-people", [("people", -1)], "-people"),
        ("+people", [("people", 1)], "people"),
        ("black-and-white photo", [("black-and-white photo", 1)], "black-and-white photo"),
        ("3 - 2", [("3 - 2", 1)], "3 - 2"),
        ("ratio 16:9", [("ratio 16", 9)], "ratio 16:9"),
        ("ink:1.0", [("ink", 1)], "ink"),
        ("ratio 16:9:1", [("ratio 16:9", 1)], "ratio 16:9:1"),
        ("+-x", [("-x", 1)], "+-x"),
        ("ink:0.0000012345678", [("ink", 0.0000012345678)], "ink:0.0000012345678"),
        ("ink:0.50", [("ink", 0.5)], "ink:0.5"),
        ("time: noon", [("time: noon", 1)], "time: noon"),
        ("re:zero", [("re:zero", 1)], "re:zero:1"),
        ("ink +re:zero:1", [("ink", 1), ("re:zero", 1)], "ink +re:zero:1"),
    ],
)  # fmt: skip
def test_queries_are_read_as_people_type_them(text: str, terms: list[tuple[str, float]], canonical: str) -> None:
    query = Query.parse(text)
    assert query.terms == tuple(Term(phrase, float(weight)) for phrase, weight in terms)
    assert str(query) == canonical


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("ab+-:.019 \t", max_size=20))
def test_a_query_that_is_read_reads_its_own_spelling(text: str) -> None:
    """It once lost digits of weights, the 1 of "16:9:1", and the first sign of "+-x"."""
    try:
        query = Query.parse(text)
    except QueryError:
        return
    assert Query.parse(str(query)) == query
    assert str(Query.parse(str(query))) == str(query)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ink", "deep snow", "a-b", "1:2 x"]), st.floats(1e-6, 1e6)), min_size=1))
def test_weights_keep_their_size_and_sign(pairs: list[tuple[str, float]]) -> None:
    query = Query(tuple(Term(text, (-1) ** i * weight) for i, (text, weight) in enumerate(pairs)))
    assert Query.parse(str(query)) == query


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the query is empty: describe an effect, a style or a subject"),
        (" \n\t\x00", "the query is empty"),
        ("x" * 2001, "the query has 2001 characters: use at most 2000"),
        ("ink:0", "'ink:0' has a phrase without words or of weight 0: write it like 'watercolor -people:0.5'"),
        ("ink -:2", "'ink -:2' has a phrase without words"),
        ("ink -snow:0.0", "weight 0"),
        ("- pencil", "'- pencil' has a sign without a word: write it without a space, like '-people'"),
        ("ink -- snow", "'ink -- snow' has a sign without a word"),
        ("pencil \udcff", r"the query holds '\\udcff', a byte or half a character that is no text: use UTF-8"),
        ("ink:" + "9" * 400, "'ink' has the weight inf: give one from a millionth to a million"),
        ("watercolor -people:abc", "'abc' in '-people:abc' is no weight: give a number, as in '-people:0.5'"),
        ("ink +re:zero", "if the colon belongs to the words, add a weight, as in '.re:zero:1'"),
        ("ink:1001 snow:0.0000009", "'ink:1001 snow' has the weight 9e-07: give one from a millionth"),
    ],
)
def test_bad_queries_are_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Query.parse(text)


# --- a library whose signatures are known -------------------------------------------------------------------------


def known_signature(direction: Sequence[float] | np.ndarray, strength: float = 1.0, **figures: float) -> Signature:
    """A signature of a Direction, a Strength with its interval, and a Consistency with its interval."""
    consistency = figures.get("consistency", 0.2)
    low, high = figures.get("s_low", strength), figures.get("s_high", strength)
    bottom, top = figures.get("c_low", consistency), figures.get("c_high", consistency)
    grid = Accuracy(Estimate(strength, low, high), Estimate(consistency, bottom, top), None)
    return Signature(
        direction=np.asarray(direction, float), mean=np.asarray(direction, float), strength=strength,
        consistency=consistency, active_consistency=None,
        active_share=1.0, magnitude=1.0, cells=16, prompts=16, grid=grid, new_prompts=Accuracy(None, None, None),
        categories=(),
    )  # fmt: skip


def store(library: Library, preset: Preset, found: dict[str, Signature], protocol: Protocol | None = None) -> Protocol:
    protocol = protocol or preset.protocol(base_digest="b", encoder="fake", encoder_digest=FakeEncoder.digest)
    library.protocols.add(protocol, preset)
    library.adapters.add([StoredAdapter(f"sha256:{name}", name, "fake", (), AdapterFacts()) for name in found], {})
    library.signatures.put(protocol.digest, "quick", {f"sha256:{name}": sig for name, sig in found.items()})
    return protocol


@pytest.fixture
def crowd(library: Library, preset: Preset) -> Library:
    """Two hundred adapters of random Directions, one of them without any."""
    draw = np.random.default_rng(0)
    found = {f"a{place:03}": known_signature(draw.normal(size=16) + 0.2) for place in range(199)}
    store(library, preset, found | {"still": known_signature(np.zeros(16))})
    return library


def test_a_ranking_is_that_of_the_cosines(crowd: Library) -> None:
    look = searcher(crowd)
    for text in ("red", "green light", "something else"):
        query = look.vector(text).astype(float)
        names = {adapter.key: adapter.name for adapter in crowd.adapters.all().values()}
        stored = crowd.signatures.get(look.stored.protocol.digest, names)
        cosines = {
            names[key]: float(s.signature.direction @ query)
            / max(np.linalg.norm(s.signature.direction) * np.linalg.norm(query), 1e-12)
            for key, s in stored.items()
        }
        best = sorted(cosines, key=lambda name: -cosines[name])
        for top in (1, 10, 1000):
            answer = look.search(Request(text, limit=top))
            assert [hit.adapter.name for hit in answer.hits] == best[:top]
            assert [hit.rank for hit in answer.hits] == list(range(1, min(top, 200) + 1))
            assert [hit.score for hit in answer.hits] == pytest.approx([cosines[n] for n in best[:top]], abs=1e-6)
            assert answer.considered == 200


def test_phrases_add_up_as_unit_vectors(crowd: Library) -> None:
    look = searcher(crowd)
    units = {text: look.vector(text) / np.linalg.norm(look.vector(text)) for text in ("red", "green", "blue")}
    wanted = units["red"] - 0.5 * units["green"] + 2 * units["blue"]
    expected = look.matrix.directions @ (wanted / np.linalg.norm(wanted))
    answer = look.search(Request("red -green:0.5 +blue:2", limit=200))
    assert answer.query == "red -green:0.5 +blue:2"
    assert sorted(hit.score for hit in answer.hits) == pytest.approx(sorted(expected), abs=1e-6)


def test_opposites_have_opposite_rankings(crowd: Library) -> None:
    look = searcher(crowd)
    forth = [hit.adapter.name for hit in look.search(Request("red", limit=200)).hits]
    back = [hit.adapter.name for hit in look.search(Request("-red", limit=200)).hits]
    assert back == forth[::-1]


def test_similar_adapters_do_not_include_the_one_itself(crowd: Library) -> None:
    look = searcher(crowd)
    answer = look.search(Request(adapters=(Example("sha256:a007"),), limit=500))
    row = look.matrix.places["sha256:a007"]
    scores = look.matrix.directions @ look.matrix.directions[row]
    assert len(answer.hits) == answer.considered == 199
    assert "a007" not in {hit.adapter.name for hit in answer.hits}
    assert answer.hits[0].score == pytest.approx(float(np.sort(scores)[-2]), abs=1e-6)
    assert {hit.clarity for hit in answer.hits} == {None}
    with pytest.raises(LibraryError, match="sha256:nobody has no signature under fake-.*: index it first"):
        look.search(Request(adapters=(Example("sha256:nobody"),)))


def test_a_vector_of_another_encoder_is_refused(crowd: Library) -> None:
    with pytest.raises(QueryError, match=r"shape \(512,\), Directions have 16 components: use the encoder of the Prot"):
        searcher(crowd).scores(np.ones(512))


# --- thresholds and filters ---------------------------------------------------------------------------------------


@pytest.fixture
def border(library: Library, preset: Preset) -> Searcher:
    """Adapters on both sides of Strength 1.5 and Consistency .02, and some whose intervals straddle these."""
    red = np.eye(16)[0]
    store(
        library, preset,
        {
            "fine": known_signature(red),
            "strong": known_signature(red, 2.0, s_low=1.51, s_high=2.5),
            "perhaps strong": known_signature(red, 2.0, s_low=1.4, s_high=2.6),
            "perhaps not strong": known_signature(red, 1.0, s_low=0.5, s_high=1.6),
            "inconsistent": known_signature(red, consistency=0.01, c_low=-0.1, c_high=0.019),
            "perhaps inconsistent": known_signature(red, consistency=0.01, c_low=0.0, c_high=0.03),
            "both": known_signature(red, 2.0, s_low=1.6, s_high=2.5, consistency=0.01, c_low=0.0, c_high=0.01),
            "exactly": known_signature(red, 1.5, consistency=0.02),
        },
    )  # fmt: skip
    return searcher(library)


def test_thresholds_hide_what_is_beyond_them_for_certain(border: Searcher) -> None:
    answer = border.search(Request("red"))
    assert {hit.adapter.name: hit.undecided for hit in answer.hits} == {
        "fine": (), "exactly": (), "perhaps strong": ("strength",), "perhaps not strong": ("strength",),
        "perhaps inconsistent": ("consistency",),
    }  # fmt: skip
    hidden = {hit.adapter.name: hit.hidden for hit in answer.hidden}
    assert hidden == {"strong": "too strong", "inconsistent": "too inconsistent", "both": "too strong"}
    assert {hit.hidden for hit in answer.hits} == {None}


def test_thresholds_can_be_moved_and_left_out(border: Searcher) -> None:
    everything = border.search(Request("red", everything=True))
    assert len(everything.hits) == 8
    assert everything.hidden == ()
    assert {hit.undecided for hit in everything.hits} == {()}
    strict = border.search(Request("red", max_strength=0.9, min_consistency=0.5))
    assert [hit.adapter.name for hit in strict.hits] == []
    assert len(strict.hidden) == 8


def test_an_adapter_without_a_consistency_is_hidden_only_by_a_threshold_on_it(library: Library, preset: Preset) -> None:
    once = dataclasses.replace(known_signature(np.eye(16)[0]), consistency=None, grid=Accuracy(None, None, None))
    store(library, preset, {"once": once})
    assert [hit.hidden for hit in searcher(library).search(Request("red")).hidden] == ["too inconsistent"]
    assert searcher(library).search(Request("red", everything=True)).hits


def test_families_and_folders_narrow_a_search(library: Library, preset: Preset, tmp_path: Path) -> None:
    store(library, preset, {name: known_signature(np.eye(16)[0]) for name in ("one", "two", "three")})
    places = {"one": "styles/a.safetensors", "two": "styles/deep/b.safetensors", "three": "stylesheets/c.safetensors"}
    for name, place in places.items():
        family = "sdxl" if name == "two" else "fake"
        library.adapters.add(
            [StoredAdapter(f"sha256:{name}", name, family, (str(tmp_path / place),), AdapterFacts())], {}
        )
    look = searcher(library)

    def found(**filters: str) -> set[str]:
        answer = look.search(Request("red", **filters))
        assert answer.considered == len(answer.hits)
        return {hit.adapter.name for hit in answer.hits}

    assert found(family="sdxl") == {"two"}
    assert found(folder=str(tmp_path / "styles")) == {"one", "two"}
    assert found(folder=str(tmp_path / "styles"), family="fake") == {"one"}
    assert found(folder=str(tmp_path / "nowhere")) == set()


# --- pictures -----------------------------------------------------------------------------------------------------


def test_a_picture_finds_what_would_make_it(tmp_path: Path, worker: Worker, library: Library) -> None:
    index([three(tmp_path / "loras")], worker, library, precision="quick")
    look = searcher(library)
    mean = library.protocols.baseline_mean(worker.protocols[0].digest)
    assert mean is not None
    for place, colour in enumerate(COLOURS):
        picture = mean.copy()
        picture[place] += 0.5
        look = Searcher(library, picture_encoder=lambda *_, one=picture: one)
        answer = look.search(Request(pictures=(Example("photo.png"),)))
        assert answer.hits[0].adapter.name == f"{colour}der"
        assert answer.query == "this picture"


def test_a_library_from_elsewhere_cannot_answer_a_picture(crowd: Library) -> None:
    with pytest.raises(LibraryError, match="came without bare images, so a picture has nothing to be compared with"):
        searcher(crowd).search(Request(pictures=(Example("photo.png"),)))


# --- clarity ------------------------------------------------------------------------------------------------------


def test_an_effect_s_own_word_is_clear_and_an_unrelated_one_is_not(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    index([three(tmp_path / "loras")], worker, library, precision="quick")
    look = searcher(library)
    for colour in COLOURS:
        answer = look.search(Request(colour))
        assert answer.matched
        assert [hit.adapter.name for hit in answer.hits if hit.clarity == "clear"] == [f"{colour}der"]
    for unrelated in ("a quiet harbour", "sandstone", "woven baskets", "origami", "rusty gears"):
        answer = look.search(Request(unrelated))
        assert "clear" not in {hit.clarity for hit in answer.hits}, unrelated
        assert len(answer.hits) == 3  # they are shown all the same


def units(count: int, seed: int) -> np.ndarray:
    """Directions or queries of unit length, drawn at random."""
    rows = np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("adapters", [1, 10, 1000])
def test_unrelated_queries_are_seldom_clear_however_many_adapters_there_are(adapters: int) -> None:
    directions = units(adapters, 1)
    null = NullDistribution(units(300, 2), directions, adapters)
    best = [directions @ query for query in units(600, 3)]
    words = [null.word(float(null.standings(directions, scores)[scores.argmax()])) for scores in best]
    assert words.count("clear") <= 18  # 1 in 100 is meant
    assert words.count("clear") + words.count("likely") <= 60  # 1 in 20 is meant


def test_a_sample_of_adapters_stands_for_all_of_them() -> None:
    directions, references = units(8000, 1), units(300, 2)
    whole, sample = (NullDistribution(references, directions[:size], 8000) for size in (8000, 1000))
    assert whole.chance(4.0) == pytest.approx(sample.chance(4.0), rel=0.5)


def test_a_few_references_that_adapters_answer_leave_clear_within_reach() -> None:
    directions, references = units(50, 1), units(300, 2)
    answered = 0.6 * directions[:9] + 0.8 * references[:9]
    null = NullDistribution(np.concatenate([references, answered]), directions, 50)
    assert (null.word(6.0), null.word(1.0)) == ("clear", "weak")


def test_no_hit_is_called_clearer_than_a_better_one(crowd: Library) -> None:
    order = ["clear", "likely", "weak"]
    for text in ("red", "green light", "something else"):
        places = [order.index(str(hit.clarity)) for hit in searcher(crowd).search(Request(text, limit=200)).hits]
        assert places == sorted(places)


# --- Protocols ----------------------------------------------------------------------------------------------------


@pytest.fixture
def two(library: Library, preset: Preset) -> tuple[Library, Protocol, Protocol]:
    """One adapter under a Protocol of one step, two under another of nine steps, which is the active one."""
    axes = np.eye(16)
    first = store(library, preset, {"one": known_signature(axes[0])})
    found = {"two": known_signature(axes[0]), "three": known_signature(axes[1])}
    second = store(library, preset, found, dataclasses.replace(first, steps=9, name="slow"))
    return library, first, second


def test_protocols_never_meet_in_one_ranking(two: tuple[Library, Protocol, Protocol]) -> None:
    library, first, second = two
    for protocol, expected in ((first, {"one"}), (second, {"two", "three"})):
        look = Searcher(library, protocol=protocol.digest, query_encoder=query_encoder)
        answer = look.search(Request("red"))
        assert {hit.adapter.name for hit in answer.hits} == expected
        assert answer.protocol == str(protocol)
    assert searcher(library).stored.protocol == second
    with pytest.raises(LibraryError, match=f"has no signature under {first}: index it first"):
        Searcher(library, protocol="fake", query_encoder=query_encoder).search(
            Request(adapters=(Example("sha256:two"),))
        )
    with pytest.raises(LibraryError, match="no Protocol is called 'other': choose one of slow-.*, fake-"):
        Searcher(library, protocol="other")


def query_encoder(_: object) -> QueryEncoder:
    return QueryEncoder(FakeEncoder(), PromptSet.load("query"))


# --- encoders -----------------------------------------------------------------------------------------------------


def real(library: Library, preset: Preset, folder: Path, digest: str = "") -> Protocol:
    """A library measured with a tiny CLIP, of 16 dimensions like the fake."""
    protocol = preset.protocol(base_digest="b", encoder=str(folder), encoder_digest=digest)
    return store(library, preset, {"one": known_signature(np.eye(16)[0])}, protocol)


def test_another_encoder_under_the_same_name_is_refused(library: Library, preset: Preset, tmp_path: Path) -> None:
    folder = tiny_clip(tmp_path / "clip")
    real(library, preset, folder, "0123456789abcdef")
    with pytest.raises(LibraryError, match="with an encoder of digest 0123456789abcdef, but .* is now .*: put the for"):
        Searcher(library).search(Request("red"))


def test_a_library_that_knows_its_encoder_by_name_only_takes_the_one_of_that_name(
    library: Library, preset: Preset, tmp_path: Path
) -> None:
    real(library, preset, tiny_clip(tmp_path / "clip"))
    assert Searcher(library).search(Request("red")).hits


def test_a_missing_encoder_says_how_to_get_it(library: Library, preset: Preset) -> None:
    real(library, preset, Path("somebody/clip"))
    with pytest.raises(ModelError, match="the model somebody/clip is not on this disk: run once with --download"):
        Searcher(library).search(Request("red"))


def test_query_vectors_are_kept_and_the_encoder_is_not_asked_twice(
    crowd: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    shifts = QueryEncoder.shifts

    def note(self: QueryEncoder, query: str, encoding: Encoding = "suffix") -> np.ndarray:
        asked.append(query)
        return shifts(self, query, encoding)

    monkeypatch.setattr(QueryEncoder, "shifts", note)
    first = searcher(crowd).search(Request("red -green"))
    assert asked == ["red", "green"]
    searcher(crowd).search(Request("green"))
    assert asked.count("green") == 1
    assert len(asked) == 2 + len(PromptSet.load("reference")) + len(PromptSet.load("unrelated"))
    crowd.close()
    with Library(crowd.path) as again:
        look = Searcher(again, query_encoder=lambda _: pytest.fail("the encoder was loaded"))
        second = look.search(Request("red -green"))
        assert [(hit.adapter.key, hit.score) for hit in second.hits] == [
            (hit.adapter.key, hit.score) for hit in first.hits
        ]
        assert look.search(Request("green")).hits[0].clarity is not None


def test_phrases_that_a_library_carries_need_no_encoder(
    crowd: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home = searcher(crowd)
    at_home.prepare()
    answer = at_home.search(Request("red"))
    at_home.carry(["red"])
    monkeypatch.setattr("lorascope.search.phrases.cache_dir", lambda: tmp_path / "elsewhere")

    def missing(_: object) -> QueryEncoder:
        raise ModelError("the encoder is not on this disk")

    elsewhere = Searcher(crowd, query_encoder=missing)
    assert elsewhere.search(Request("red")).hits == answer.hits
    with pytest.raises(ModelError, match="not on this disk"):
        elsewhere.search(Request("green"))
    assert not (tmp_path / "elsewhere").exists()  # what another has encoded stays apart from what was encoded here


def test_other_encodings_have_vectors_of_their_own(crowd: Library) -> None:
    look = searcher(crowd)
    suffix, prefix = (look.vector("red", encoding) for encoding in ("suffix", "prefix"))
    assert not np.array_equal(suffix, prefix)
    assert np.array_equal(look.vector("red"), suffix)
    assert look.search(Request("red", encoding="prefix")).hits


def test_more_of_an_effect_scores_the_same(tmp_path: Path, worker: Worker, library: Library) -> None:
    """The cosine tells what an adapter does, the Strength how much of it."""
    for name, red in (("some", 0.1), ("more", 0.3)):
        tint(tmp_path / "loras" / f"{name}.safetensors", red=red)
    index([tmp_path / "loras"], worker, library, precision="quick")
    hits = {hit.adapter.name: hit for hit in searcher(library).search(Request("red")).hits}
    assert hits["some"].score == pytest.approx(hits["more"].score, abs=0.02)
    strengths = [hits[name].signature.signature.strength for name in ("some", "more")]
    assert strengths[1] == pytest.approx(3 * strengths[0], rel=0.05)
