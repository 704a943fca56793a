"""A blind study: pairs drawn up, every answer kept once, figures that a hand computed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from lorascope.cli.app import app
from lorascope.errors import OutputError, QueryError
from lorascope.evaluation import Corpus, evaluate, load_queries
from lorascope.evaluation.pairs import Study, StudyPair, draw_up, read_study
from lorascope.evaluation.retrievers import Behaviour, random_orders
from lorascope.evaluation.statistics import krippendorff_alpha, wilson
from lorascope.library import Library
from lorascope.server.votes import QUESTIONS, Votes, ours_is_left
from tests.fakes import searcher, three
from tests.serving import measured, serving

SAME = {"overall": "left", "relevance": "left", "quality": "tie"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured library of three colours."""
    folder = tmp_path_factory.mktemp("study")
    return measured(folder / "library.db", three(folder / "loras"), precision="glance")


@pytest.fixture
def pairs(place: Path, tmp_path: Path) -> Path:
    """Two queries, answered in opposite order."""
    with Library(place) as library:
        keys = tuple(library.adapters.all())
    path = tmp_path / "pairs.json"
    Study("behaviour", "bm25", (StudyPair("red", keys, keys[::-1]), StudyPair("blue", keys[::-1], keys))).write(path)
    return path


@pytest.fixture
def client(place: Path, pairs: Path) -> Iterator[TestClient]:
    """A client of a server with a study."""
    with serving(place, study=pairs) as client:
        yield client


def votes_of(pairs: Path) -> Path:
    """Where the answers to a study lie."""
    return pairs.with_suffix(f".{read_study(pairs).digest}.votes.db")


def shown(client: TestClient) -> int:
    """The number of the pair that the page asks about."""
    found = re.search(r'name="pair" value="(\d+)"', client.get("/study").text)
    assert found is not None
    return int(found[1])


def test_a_person_answers_every_pair_once_and_is_thanked(client: TestClient) -> None:
    first = shown(client)
    assert client.post("/study", data={"pair": first, **SAME}).status_code == 303
    second = shown(client)
    assert {first, second} == {0, 1}
    client.post("/study", data={"pair": second, **SAME})
    assert "Thank you" in client.get("/study").text


def test_an_answer_that_comes_twice_counts_once_and_the_later_one(client: TestClient) -> None:
    number = shown(client)
    client.post("/study", data={"pair": number, **SAME})
    client.post("/study", data={"pair": number, **SAME, "overall": "tie"})
    lines = client.get("/study/votes.csv").text.splitlines()
    assert len(lines) == 1 + 3
    assert f"{number},{('red', 'blue')[number]},overall,1,tie" in lines


def test_sides_change_by_lot_and_answers_find_their_side(client: TestClient, pairs: Path) -> None:
    number = shown(client)
    person = client.cookies["study"]
    client.post("/study", data={"pair": number, **SAME})
    (kept,) = [vote for vote in Votes(votes_of(pairs)).all() if vote.question == "overall"]
    assert kept.answer == ("ours" if ours_is_left(person, number) else "other")
    sides = [ours_is_left(f"person {n}", 0) for n in range(200)]
    assert 70 < sum(sides) < 130


def test_the_page_does_not_tell_which_side_is_ours(client: TestClient) -> None:
    text = client.get("/study").text
    assert "suffix" not in text
    assert not re.search(r"(red|green|blue)der", text)
    assert text.count("<section") == 2


def test_pairs_with_few_answers_come_first(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "votes.db")
    for person in ("a", "b"):
        votes.put(person, 0, {"overall": "tie"})
        votes.put(person, 2, {"overall": "tie"})
    assert votes.next_pair("c", 3) == (1, 0)
    assert votes.next_pair("a", 3) == (1, 2)
    assert votes.next_pair("a", 1) == (None, 1)


def test_results_have_majorities_intervals_and_agreement(client: TestClient) -> None:
    for _ in range(3):
        client.cookies.clear()
        for _ in range(2):
            client.post("/study", data={"pair": shown(client), **SAME, "quality": "tie"})
    text = client.get("/study/results").text
    assert "3 people have answered. 0 of 2 queries have the 6 answers" in text
    quality = text.split(QUESTIONS["quality"])[-1]
    assert re.search(r"neither</th><td[^>]*>6</td><td[^>]*>100%</td><td[^>]*>61% to 100%", quality)
    assert "not known yet" in quality  # all said the same, so nobody could disagree


@pytest.mark.parametrize(
    ("ours", "other", "ties", "majorities"),
    [(2, 1, 5, [0, 0, 1]), (2, 1, 1, [0, 0, 0]), (3, 1, 1, [1, 0, 0]), (1, 3, 1, [0, 1, 0]), (2, 2, 0, [0, 0, 0])],
)
def test_a_majority_is_more_than_half_of_all_answers(
    client: TestClient, pairs: Path, ours: int, other: int, ties: int, majorities: list[int]
) -> None:
    votes = Votes(votes_of(pairs))
    for person, answer in enumerate(["ours"] * ours + ["other"] * other + ["tie"] * ties):
        votes.put(str(person), 0, {question: answer for question in QUESTIONS})  # type: ignore[misc]
    overall = client.get("/study/results").text.split(QUESTIONS["overall"])[-1]
    counts = re.findall(r"to \d+%</td><td[^>]*>(\d+)</td>", overall)
    assert [int(count) for count in counts[:3]] == majorities


def test_an_answer_without_its_cookie_or_with_odd_values_is_refused(client: TestClient) -> None:
    answer = client.post("/study", data={"pair": 0, **SAME})
    assert answer.status_code == 409
    assert "allow cookies" in answer.text
    shown(client)
    assert client.post("/study", data={"pair": 7, **SAME}).status_code == 404
    assert client.post("/study", data={"pair": 0, **SAME, "quality": "both"}).status_code == 422
    assert client.get("/study/votes.csv").text.splitlines() == ["pair,query,question,person,answer"]


def test_there_is_no_study_unless_one_is_named(place: Path) -> None:
    with serving(place) as client:
        assert client.get("/study").status_code == 404


VOTER = """
import sys
from pathlib import Path
from lorascope.server.votes import Votes
votes = Votes(Path(sys.argv[1]))
for number in range(10_000):
    votes.put("person", number, {"overall": "ours", "relevance": "ours", "quality": "tie"})
    print(number, flush=True)
"""


def test_no_acknowledged_answer_is_lost_to_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "votes.db"
    with subprocess.Popen([sys.executable, "-c", VOTER, str(path)], stdout=subprocess.PIPE, text=True) as voter:
        assert voter.stdout is not None
        acknowledged = [int(voter.stdout.readline()) for _ in range(20)]
        voter.kill()
    kept = Votes(path).all()
    assert {vote.pair for vote in kept} >= set(acknowledged)
    assert len(kept) == 3 * len({vote.pair for vote in kept})  # all of a pair's answers or none


PEOPLE = """
import http.client, os, sys, threading

def vote(person):
    try:
        for pair in range(400):
            server = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
            body = f"pair={pair}&overall=left&relevance=tie&quality=right"
            headers = {"Cookie": f"study={person}", "Content-Type": "application/x-www-form-urlencoded"}
            server.request("POST", "/study", body, headers)
            if server.getresponse().status == 303:
                os.write(1, f"{person} {pair}\\n".encode())  # whole lines: print writes in two parts
    except (OSError, http.client.HTTPException):
        pass

for number in range(3):
    threading.Thread(target=vote, args=(f"person{number}",)).start()
"""


def test_a_server_that_is_killed_while_people_answer_has_every_answer_once(place: Path, tmp_path: Path) -> None:
    with Library(place) as library:
        keys = tuple(library.adapters.all())
    path = tmp_path / "pairs.json"
    Study("a", "b", tuple(StudyPair(f"red {number}", keys, keys[::-1]) for number in range(400))).write(path)
    options = ["--library", str(place), "--study", str(path), "--port", "0", "--no-open"]
    serve = [sys.executable, "-c", "from lorascope.cli import main; main()", "serve", *options]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().partition("127.0.0.1:")[2].partition("/")[0]
        with subprocess.Popen([sys.executable, "-c", PEOPLE, port], stdout=subprocess.PIPE, text=True) as people:
            assert people.stdout is not None
            first = [people.stdout.readline() for _ in range(30)]
            server.kill()
            acknowledged = {tuple(line.split()) for line in (*first, *people.stdout)}
    assert 30 <= len(acknowledged) < 1200
    kept = Votes(votes_of(path)).all()
    voted = {(vote.person, str(vote.pair)) for vote in kept}
    assert voted >= acknowledged
    assert len(kept) == 3 * len(voted)
    with serving(place, study=path) as client:  # whoever was not told sends the answer again
        person, pair = sorted(acknowledged)[0]
        client.cookies["study"] = person
        assert client.post("/study", data={"pair": pair, **SAME}).status_code == 303
        assert client.get("/study/votes.csv").text.count("\n") == 1 + len(kept)


def test_alpha_agrees_with_krippendorffs_example() -> None:
    # Krippendorff (2011), section A: two observers, ten units, alpha = .095
    one, other = "0100000010", "1110010000"
    assert krippendorff_alpha(list(zip(one, other, strict=True))) == pytest.approx(0.0952, abs=5e-5)


def test_alpha_of_unequal_numbers_of_answers_by_hand() -> None:
    # units aab and bb, and one that a single person answered. Coincidences: aab gives aa 1, ab 1, ba 1; bb gives bb 2.
    # n = 5, a = 2, b = 3: observed 2/5, expected 2 * 2 * 3 / (5 * 4) = 12/20, alpha = 1 - .4/.6
    assert krippendorff_alpha(["aab", "bb", "a"]) == pytest.approx(1 / 3)
    assert krippendorff_alpha(["aa", "bb"]) == 1
    assert krippendorff_alpha(["a", "b"]) is None


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    assert wilson(0, 0) == (0, 1)
    assert wilson(6, 6)[1] == 1


def write_rankings(path: Path, **found: dict[str, list[str]]) -> Path:
    """A file as `evaluate --rankings` writes it."""
    lines = [
        {"query": query, "retriever": name, "adapters": keys}
        for name, answers in found.items()
        for query, keys in answers.items()
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")
    return path


def test_pairs_are_drawn_up_from_queries_that_are_answered_differently(tmp_path: Path) -> None:
    path = write_rankings(
        tmp_path / "rankings.jsonl",
        behaviour={"red": ["a", "b", "c", "d"], "green": ["b"], "alike": ["c", "a", "b", "d"], "nobody": ["a"]},
        bm25={"red": ["b", "a", "c", "d"], "green": ["a"], "alike": ["c", "a", "b", "e"], "nobody": []},
    )
    found = draw_up(path, "behaviour", "bm25")
    assert found == Study(
        "behaviour", "bm25", (StudyPair("red", ("a", "b", "c"), ("b", "a", "c")), StudyPair("green", ("b",), ("a",)))
    )
    found.write(tmp_path / "pairs.json")
    assert read_study(tmp_path / "pairs.json") == found
    with pytest.raises(QueryError, match="no rankings of 'fuzzy', but of behaviour, bm25"):
        draw_up(path, "behaviour", "fuzzy")
    with pytest.raises(QueryError, match="answer all of 4 queries alike"):
        draw_up(path, "bm25", "bm25")


def test_rankings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = write_rankings(tmp_path / "rankings.jsonl", behaviour={"red": ["a"]})
    with path.open("a") as file:
        file.write('{"query": "red"}\n')
    with pytest.raises(QueryError, match=r"rankings.jsonl, line 2, is no ranking .*evaluate --rankings"):
        draw_up(path, "behaviour", "bm25")
    with pytest.raises(QueryError, match="cannot be read"):
        draw_up(tmp_path / "none.jsonl", "behaviour", "bm25")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (r'{"query": "x\ud800", "retriever": "bm25", "adapters": []}', "line 1: the query .* holds"),
        ('{"query": ["x"], "retriever": "bm25", "adapters": []}', "line 1: the query is .* write a text"),
        ('{"query": "x", "retriever": "bm25", "adapters": "abc"}', "line 1: 'abc' is no list of adapter keys"),
        ('{"query": "x", "retriever": "bm25", "adapters": [1]}', "line 1: an adapter key is 1: write a text"),
    ],
)
def test_a_ranking_of_something_else_is_refused(entry: str, complaint: str, tmp_path: Path) -> None:
    """Half a character once broke the study when it was written; no list of keys passed for no answer."""
    path = tmp_path / "rankings.jsonl"
    path.write_text(entry, "utf-8")
    with pytest.raises(QueryError, match=complaint):
        draw_up(path, "behaviour", "bm25")


def test_a_ranking_may_hold_every_end_of_a_line_but_a_line_feed(tmp_path: Path) -> None:
    path = write_rankings(tmp_path / "rankings.jsonl", behaviour={"a b": ["k"]}, bm25={"a b": ["l"]})
    path.write_text(path.read_text("utf-8").replace("a b", "a\u2028b"), "utf-8")
    assert draw_up(path, "behaviour", "bm25").pairs == (StudyPair("a\u2028b", ("k",), ("l",)),)


def test_a_study_takes_the_place_of_a_study_only(tmp_path: Path) -> None:
    """`lorascope study rankings.jsonl rankings.jsonl` once overwrote what it had read."""
    path = write_rankings(tmp_path / "rankings.jsonl", behaviour={"red": ["a"]}, bm25={"red": ["b"]})
    before = path.read_bytes()
    found = draw_up(path, "behaviour", "bm25")
    with pytest.raises(OutputError, match="holds something else than a study and stays as it is"):
        found.write(path)
    assert path.read_bytes() == before
    for _ in range(2):
        found.write(tmp_path / "pairs.json")
    assert read_study(tmp_path / "pairs.json") == found


def test_what_evaluate_wrote_becomes_a_study_that_is_served(place: Path, tmp_path: Path) -> None:
    queries = [{"text": text, "relevant": {"redder": 2}} for text in ("red", "a quiet lake", "the wind")]
    (tmp_path / "queries.json").write_text(json.dumps(queries), "utf-8")
    with Library(place) as library:
        asked = searcher(library)
        corpus = Corpus.of(asked)
        evaluate(
            corpus, load_queries(tmp_path / "queries.json"), [Behaviour(asked, filters="none"), *random_orders(corpus)]
        ).write_rankings(tmp_path / "rankings.jsonl")
    verb = ["study", str(tmp_path / "rankings.jsonl"), str(tmp_path / "pairs.json")]
    result = CliRunner().invoke(app, [*verb, "--ours", "behaviour filter=none", "--against", "random"])
    assert result.exit_code == 0, result.output
    assert f"lorascope serve --study {tmp_path / 'pairs.json'}" in result.output.replace("\n", "")
    with serving(place, study=tmp_path / "pairs.json") as client:
        assert "Which side is better" in client.get("/study").text


def test_other_pairs_under_the_same_name_get_answers_of_their_own(place: Path, pairs: Path) -> None:
    before = votes_of(pairs)
    Votes(before).put("somebody", 1, {"overall": "ours"})
    study = read_study(pairs)
    Study(study.ours, study.other, study.pairs[:1]).write(pairs)
    with serving(place, study=pairs) as client:
        assert client.get("/study/votes.csv").text.count("\n") == 1
    assert len(Votes(before).all()) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds no pairs"),
        ('{"pairs": [{"query": "a", "ours": [], "other": ["k"]}]}', "pair 0: .* lacks a query or a list"),
        (r'{"pairs": [{"query": "a\udc80", "ours": ["k"], "other": ["l"]}]}', "pair 0: the query .* holds"),
        (
            '{"ours": 1, "pairs": [{"query": "a", "ours": ["k"], "other": ["l"]}]}',
            "the name of ours is 1: write a text",
        ),
    ],
)
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(text, "utf-8")
    with pytest.raises(QueryError, match=complaint):
        read_study(path)
