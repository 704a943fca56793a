"""The API: what it answers, and what it says when something is not right."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import io
import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from fakes import COLOURS, three, tint
from fastapi.testclient import TestClient
from PIL import Image
from serving import measured, serving, small_world
from torch.nn.functional import interpolate

from lorascope.adapters.claims import Claim
from lorascope.analysis import Curve, CurvePoint
from lorascope.generators.fake import FakeGenerator
from lorascope.library import BARE, AdapterFacts, Library, StoredAdapter
from lorascope.library.protocols import Protocols
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset
from lorascope.report.words import is_mature, mature_level
from lorascope.search import Example, Request, Searcher
from lorascope.server.api.schemas import Search
from lorascope.server.shared_state import SharedState
from lorascope.signature import Estimate

API = "/api/v1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three adapters, and one that is stronger than the threshold."""
    folder = three(tmp_path_factory.mktemp("server") / "loras")
    tint(folder / "more" / "glaring.safetensors", red=0.5, green=0.5, blue=0.5)
    return folder


@pytest.fixture(scope="module")
def place(folder: Path) -> Path:
    return measured(folder.parent / "library.db", folder)


@pytest.fixture(scope="module")
def client(place: Path, folder: Path) -> Iterator[TestClient]:
    with serving(place, folder) as found:
        yield found


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    answer = client.get(API + path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def error(answer: Any, status: int) -> dict[str, Any]:
    """The inside of an error's envelope, which is always the same."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert list(answer.json()["error"]) == ["code", "message", "remedy", "field"]
    return answer.json()["error"]


def names(page: Any) -> list[str]:
    return [hit["adapter"]["name"] for hit in page["hits"]]


def key_of(client: TestClient, name: str) -> str:
    return next(row["adapter"]["key"] for row in get(client, "/adapters")["adapters"] if row["adapter"]["name"] == name)


# --- search -----------------------------------------------------------------------------------------------------


def test_words_find_what_does_it(client: TestClient) -> None:
    for colour in COLOURS:
        page = get(client, "/search", q=colour, limit=1)
        assert names(page) == [f"{colour}der"]
        assert page["hits"][0]["clarity"] == "clear"
        assert page["hits"][0]["words"].startswith("a clear match; ")
        assert page["matched"]


def test_post_answers_as_get_does(client: TestClient) -> None:
    asked = {"q": "red -green:0.5", "limit": 2, "everything": True}
    assert client.post(f"{API}/search", json=asked).json() == get(client, "/search", **asked)


def test_thresholds_hide_and_the_answer_says_so(client: TestClient) -> None:
    page = get(client, "/search", q="red", hidden=True, max_strength=0.7)
    assert [hit["hidden"] for hit in page["hidden"]] == ["too strong"]
    assert [hit["adapter"]["name"] for hit in page["hidden"]] == ["glaring"]
    assert (page["too_strong"], page["considered"], page["total"]) == (1, 4, 3)
    assert page["thresholds"] == {"strength_max": 0.7, "consistency_min": 0.02}
    assert get(client, "/search", q="red", everything=True)["total"] == 4
    assert get(client, "/search", q="red", max_strength=0.7)["hidden"] == []  # only counted unless asked for


def test_words_do_not_depend_on_the_thresholds_that_are_asked_for(client: TestClient) -> None:
    """A threshold of 0 was once divided by."""
    usual = {hit["adapter"]["name"]: hit["words"] for hit in get(client, "/search", q="red", everything=True)["hits"]}
    strict = get(client, "/search", q="red", max_strength=0, hidden=True)
    assert {hit["adapter"]["name"]: hit["words"].split("; hidden")[0] for hit in strict["hidden"]} == usual


def test_what_was_answered_is_given_again_without_waiting_until_the_library_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = measured(tmp_path / "library.db", three(tmp_path / "loras"), precision="glance")
    with serving(place) as client:
        state: SharedState = client.app.state.lorascope
        first = client.get(f"{API}/search?q=red").content
        searched: list[Request] = []
        search = SharedState.search
        monkeypatch.setattr(
            SharedState, "search", lambda self, *asked: searched.append(asked[0]) or search(self, *asked)
        )
        assert client.get(f"{API}/search?q=red").content == first
        assert searched == []
        ask = Search(q="red").request()
        assert state.remembered(ask) is not None
        with ThreadPoolExecutor(1) as pool, state._lock:  # somebody reads the library anew
            assert pool.submit(state.remembered, ask).result(10) is None
        with Library(place) as library:
            library.remove(next(iter(library.adapters.all())))
        assert state.remembered(ask) is None
        assert client.get(f"{API}/search?q=red").json()["considered"] == 2
        assert searched == [ask]


def test_a_file_that_was_moved_or_described_anew_is_told_of_at_once(tmp_path: Path) -> None:
    """Only signatures were once looked at, so answers went on telling the former path."""
    place = measured(tmp_path / "library.db", three(tmp_path / "loras"), precision="glance")
    with serving(place) as client:
        (before, *_) = get(client, "/search", q="red")["hits"]
        assert get(client, "/map")["mature"] == [0, 0, 0]
        with Library(place) as library:
            adapter = library.adapters.all()[before["adapter"]["key"]]
            claims = {"nsfw_level": Claim(8, "a sidecar")}
            library.adapters.add(
                [dataclasses.replace(adapter, facts=dataclasses.replace(adapter.facts, claims=claims))], {}
            )
            assert get(client, "/search", q="red")["hits"][0]["adapter"]["mature_level"] == 8
            assert sorted(get(client, "/map")["mature"]) == [0, 0, 1]
            library.adapters.add([dataclasses.replace(adapter, paths=("/elsewhere/redder.safetensors",))], {})
        assert "/elsewhere/redder.safetensors" in get(client, "/search", q="red")["hits"][0]["adapter"]["paths"]


def test_pages_follow_each_other(client: TestClient) -> None:
    whole = get(client, "/search", q="red", everything=True)
    pages = [get(client, "/search", q="red", everything=True, offset=offset, limit=2) for offset in (0, 2, 4)]
    assert [hit for page in pages for hit in page["hits"]] == whole["hits"]
    assert [hit["rank"] for hit in whole["hits"]] == [1, 2, 3, 4]


def test_without_a_query_the_strongest_come_first(client: TestClient) -> None:
    page = get(client, "/search", everything=True)
    strengths = [hit["strength"]["value"] for hit in page["hits"]]
    assert strengths == sorted(strengths, reverse=True)
    assert {hit["score"] for hit in page["hits"]} == {None}
    assert not any("match" in hit["words"] or "similar" in hit["words"] for hit in page["hits"])


def test_more_like_this_less_like_that(client: TestClient, place: Path) -> None:
    """Directions are added and subtracted, each of length 1, with the words; the examples are not among the hits."""
    red, green = key_of(client, "redder"), key_of(client, "greender")
    page = get(client, "/search", q="blue", more=[red], less=[green], everything=True)
    with Library(place) as library:
        searcher = Searcher(library)
        matrix = searcher.matrix
        words = searcher.vector("blue")
        wanted = words / np.linalg.norm(words)
        wanted = wanted + matrix.directions[matrix.places[red]] - matrix.directions[matrix.places[green]]
        wanted /= np.linalg.norm(wanted)
        scores = {name: float(row @ wanted) for name, row in zip(matrix.names, matrix.directions, strict=True)}
    assert set(names(page)) == {"blueder", "glaring"}
    assert [hit["score"] for hit in page["hits"]] == pytest.approx(
        sorted((scores[name] for name in ("blueder", "glaring")), reverse=True), abs=1e-6
    )
    assert page["query"] == "blue, like redder, unlike greender"


def test_what_is_nearest_is_last_of_the_opposite(client: TestClient) -> None:
    red = key_of(client, "redder")
    both = get(client, f"/adapters/{quote(red)}/neighbours")
    assert names({"hits": both["nearest"]})[0] == names({"hits": both["opposite"]})[-1] == "glaring"
    assert "redder" not in names({"hits": both["nearest"]})
    scores = [[hit["score"] for hit in both[end]] for end in ("nearest", "opposite")]
    assert scores[0] == pytest.approx(scores[1][::-1])  # both are cosines with the adapter itself


def test_a_picture_finds_what_makes_pictures_like_it(client: TestClient, place: Path, folder: Path) -> None:
    reddish = client.post(f"{API}/images", content=picture(200, 120, 120)).json()["image"]
    assert names(get(client, "/search", image=reddish, limit=1)) == ["redder"]
    with serving(place, folder) as another:  # an address that holds a picture outlives the server
        assert names(get(another, "/search", image=reddish, limit=1)) == ["redder"]


def picture(*colour: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


def test_new_signatures_are_found_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    tint(folder / "redder.safetensors", red=0.3)
    place = measured(tmp_path / "library.db", folder)
    with serving(place, folder) as client:
        assert names(get(client, "/search", q="green")) == ["redder"]
        tint(folder / "greener.safetensors", green=0.3)
        measured(place, folder)
        assert names(get(client, "/search", q="green")) == ["greener", "redder"]
        assert get(client, "/map")["names"].sort() == ["greener", "redder"].sort()
        assert get(client, "/health")["adapters"] == 2


# --- adapters ---------------------------------------------------------------------------------------------------


def test_adapters_are_listed_sorted_and_filtered(client: TestClient) -> None:
    assert [row["adapter"]["name"] for row in get(client, "/adapters")["adapters"]] == [
        "blueder", "glaring", "greender", "redder",
    ]  # fmt: skip
    strongest = get(client, "/adapters", sort="strength", order="desc", limit=1)
    assert strongest["adapters"][0]["adapter"]["name"] == "glaring"
    assert strongest["total"] == 4
    assert [row["adapter"]["name"] for row in get(client, "/adapters", q="EEN")["adapters"]] == ["greender"]
    assert get(client, "/adapters", family="sdxl")["total"] == 0
    second = get(client, "/adapters", offset=1, limit=1)["adapters"]
    assert [row["adapter"]["name"] for row in second] == ["glaring"]


def test_one_adapter_with_all_that_is_known(client: TestClient, folder: Path) -> None:
    key = key_of(client, "redder")
    found = get(client, f"/adapters/{quote(key)}")
    assert found["paths"] == [str(folder / "redder.safetensors")]
    assert (found["mature"], found["mature_level"]) == (False, None)
    (name,) = found["signatures"]
    assert found["signatures"][name] == get(client, f"/adapters/{quote(key)}/signature", protocol=name)
    assert {one["key"] for one in found["findings"][name]} == {key}
    assert "direction" not in found["signatures"][name]
    assert len(get(client, f"/adapters/{quote(key)}/signature", direction=True)["direction"]) == 16
    profile = get(client, f"/adapters/{quote(key)}/categories")
    assert len(profile) == 10
    assert profile == found["signatures"][name]["categories"]


def test_an_advised_weight_is_told_with_its_curve(client: TestClient, place: Path) -> None:
    key = key_of(client, "redder")
    assert get(client, f"/adapters/{quote(key)}")["weights"] == {}
    half, whole = Estimate(0.5, 0.4, 0.6), Estimate(1.0, 1.0, 1.0)
    points = [CurvePoint(scale, 32, half, half, half, whole, whole) for scale in (0.5, 1.0)]
    with Library(place) as library:
        protocol = library.protocols.find().protocol
        library.curves.put(protocol.digest, key, Curve(tuple(points)).to_json())
    told = get(client, f"/adapters/{quote(key)}")["weights"][str(protocol)]
    assert told["advice"]["weight"] == 0.5
    assert [point["scale"] for point in told["curve"]] == [0.5, 1.0]


@pytest.mark.parametrize(("level", "mature"), [(None, False), (1, False), (3, False), (4, True), (31, True)])
def test_levels_of_r_and_above_are_for_adults(level: int | None, mature: bool) -> None:
    claims = {} if level is None else {"nsfw_level": Claim(level, "red.civitai.info")}
    adapter = StoredAdapter("sha256:0", "red", "sdxl", (), AdapterFacts(claims=claims))
    assert (is_mature(adapter), mature_level(adapter)) == (mature, level)


def test_sidecars_say_what_is_for_adults(tmp_path: Path) -> None:
    file = tint(tmp_path / "loras" / "red.safetensors", red=0.3)
    file.with_suffix(".civitai.info").write_text(json.dumps({"nsfwLevel": 8}))
    with serving(measured(tmp_path / "library.db", file.parent, precision="glance")) as client:
        (row,) = get(client, "/adapters")["adapters"]
        assert (row["adapter"]["mature"], row["adapter"]["mature_level"]) == (True, 8)
        assert get(client, "/map")["mature"] == [1]


def test_pictures_come_as_they_are_stored(client: TestClient, place: Path) -> None:
    key = key_of(client, "redder")
    cells = get(client, f"/adapters/{quote(key)}/previews")
    assert [cell["place"] for cell in cells] == list(range(12))
    with Library(place) as library:
        scene = library.protocols.find().protocol.scene
        stored = library.previews.all(scene, key)[3], library.previews.all(scene, BARE)[3]
    for address, preview in zip((cells[3]["url"], cells[3]["bare_url"]), stored, strict=True):
        answer = client.get(address)
        assert answer.content == preview.webp
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"] == "private, max-age=3600"
        again = client.get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
        assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


# --- map --------------------------------------------------------------------------------------------------------


def test_large_pictures_come_in_three_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render = FakeGenerator.render
    monkeypatch.setattr(FakeGenerator, "render", lambda self, *cells: interpolate(render(self, *cells), (400, 640)))
    preset, place = small_world(tmp_path), tmp_path / "library.db"
    text = preset.read_text("utf-8").replace("width = 8", "width = 640").replace("height = 8", "height = 400")
    preset.write_text(text, "utf-8")
    with Library(place, create=True) as library:
        index([three(tmp_path / "loras")], load_worker(Preset.load(preset)), library, precision="glance")

    def size(address: str) -> tuple[int, int]:
        return Image.open(io.BytesIO(client.get(address).content)).size

    with serving(place) as client:
        key = quote(key_of(client, "redder"), safe="")
        cells = get(client, f"/adapters/{key}/previews")
        assert len(cells) == 12
        for url, large in (
            (cells[1]["url"], cells[1]["large_url"]),
            (cells[1]["bare_url"], cells[1]["large_bare_url"]),
        ):
            assert [size(one) for one in (f"{url}&size=small", url, large)] == [(192, 120), (384, 240), (640, 400)]


def test_few_adapters_are_in_no_plane_yet(client: TestClient) -> None:
    """They once were in one for the time being, and all moved when the two dozenth came."""
    drawn = get(client, "/map")
    assert (drawn["x"], drawn["y"], drawn["axes"]) == (None, None, None)
    assert len(drawn["strength"]) == 4
    assert "The map needs 12 LoRAs" in client.get("/map").text


@pytest.mark.parametrize("read_only", [False, True])
def test_new_points_never_disturb_the_map(tmp_path: Path, read_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen adapters decide the plane by what differs most among them; what comes later finds its place in it."""
    place = measured(tmp_path / "library.db", three(tmp_path / "loras"), precision="glance")
    if read_only:
        monkeypatch.setattr(Protocols, "put_plane", lambda *_: None)
    rng = np.random.default_rng(0)
    main, second = np.eye(16)[:2]
    with Library(place) as library:
        stored = library.protocols.find()
        digest = stored.protocol.digest
        (like, *_) = library.signatures.get(digest, library.adapters.all()).values()

        def add(name: str, direction: np.ndarray) -> None:
            library.adapters.add([StoredAdapter(f"sha256:{name}", name, "fake", (), AdapterFacts())], {})
            signature = dataclasses.replace(like.signature, direction=direction)
            library.signatures.put(digest, "glance", {f"sha256:{name}": signature})

        for number in range(9):
            add(str(number), main * (-1) ** number + 0.5 * second * rng.normal() + 0.05 * rng.normal(size=16))
        with serving(place) as client:
            before = get(client, "/map")
            assert min(abs(before["x"][before["names"].index(str(number))]) for number in range(9)) > 0.6
            if read_only:
                return
            for number in range(40):
                add(f"other {number}", np.eye(16)[3] + 0.1 * rng.normal(size=16))
            after = get(client, "/map")
    assert len(after["keys"]) == 52
    assert_undisturbed(before, after)


def assert_undisturbed(before: Any, after: Any) -> None:
    for column in ("names", "x", "y", "strength", "consistency"):
        now = dict(zip(after["keys"], after[column], strict=True))
        assert [now[key] for key in before["keys"]] == before[column]
    assert after["axes"] == before["axes"]


def test_the_map_is_sent_once(client: TestClient) -> None:
    first = client.get(f"{API}/map")
    assert first.headers["content-encoding"] == "gzip"
    assert client.get(f"{API}/map", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    plain = client.get(f"{API}/map", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.json() == first.json()


# --- facts ------------------------------------------------------------------------------------------------------


def test_the_best_hidden_hits_are_told_on_every_page(client: TestClient) -> None:
    for asked in ({"q": "red"}, {}):
        first, second = (
            get(client, "/search", max_strength=0.7, hidden=True, offset=at, limit=2, **asked) for at in (0, 2)
        )
        assert names(first) != names(second)
        assert [(hit["rank"], hit["adapter"]["name"]) for hit in second["hidden"]] == [(1, "glaring")]
        assert second["hidden"] == first["hidden"]


def test_examples_count_as_much_as_their_weights_say(client: TestClient) -> None:
    red, green = key_of(client, "redder"), key_of(client, "greender")
    signatures = {key: get(client, f"/adapters/{quote(key)}/signature", direction=True) for key in (red, green)}
    one, other = (np.array(signatures[key]["direction"]) for key in (red, green))
    asked = get(client, "/search", more=[red, f"{green}:0.5"], everything=True)
    assert asked["query"] == "like redder, like greender:0.5"
    blue = np.array(get(client, f"/adapters/{quote(key_of(client, 'blueder'))}/signature", direction=True)["direction"])
    mixed = one / np.linalg.norm(one) + 0.5 * other / np.linalg.norm(other)
    cosine = mixed @ blue / np.linalg.norm(mixed) / np.linalg.norm(blue)
    score = next(hit["score"] for hit in asked["hits"] if hit["adapter"]["name"] == "blueder")
    assert score == pytest.approx(cosine, abs=1e-5)
    assert get(client, "/search", more=f"{red}:1")["query"] == "like redder"


def test_all_hidden_hits_can_be_reached(client: TestClient) -> None:
    for asked in ({"q": "red"}, {}, {"more": key_of(client, "redder")}):
        whole = get(client, "/search", max_strength=0, hidden=True, **asked)["hidden"]
        parts = [
            get(client, "/search", max_strength=0, hidden=True, hidden_offset=at, limit=2, **asked)["hidden"]
            for at in (0, 2, 4)
        ]
        assert [hit["rank"] for hit in whole] == list(range(1, len(whole) + 1))
        assert [hit for part in parts for hit in part] == whole
        assert len(whole) >= 3


def test_an_empty_library_says_what_to_do(tmp_path: Path) -> None:
    with serving(tmp_path / "library.db", tmp_path) as client:
        assert get(client, "/health")["adapters"] == 0
        assert get(client, "/protocols") == []
        found = error(client.get(f"{API}/search", params={"q": "red"}), 409)
        assert found["code"] == "empty-library"
        assert "lorascope index FOLDER" in found["remedy"]
        assert get(client, "/folders")[0]["new"] == 0


def test_protocols_are_told(client: TestClient) -> None:
    (found,) = get(client, "/protocols")
    assert found["adapters"] == 4
    assert found["fields"]["base_digest"] == "fake-generator"
    assert get(client, "/search", q="red", protocol=found["digest"])["protocol"] == found["name"]


def test_folders_tell_what_is_new(tmp_path: Path) -> None:
    folder = three(tmp_path / "loras")
    (folder / "broken.safetensors").write_text("<html>")
    place = measured(tmp_path / "library.db", folder)
    tint(folder / "new.safetensors", red=0.2)
    with serving(place, folder) as client:
        assert get(client, "/folders") == [
            {"id": 0, "path": str(folder), "files": 5, "known": 3, "refused": 1, "new": 1}
        ]
        page = get(client, "/refusals")
        assert page["total"] == 1
        assert page["refusals"][0]["code"] == "not-safetensors"


def test_the_description_covers_every_route(client: TestClient) -> None:
    paths = get(client, "/openapi.json")["paths"]
    assert len(paths) > 20
    assert all(path.startswith(API) for path in paths)
    described = [verb for path in paths.values() for verb in path.values()]
    assert all(verb.get("description") for verb in described)
    assert all({"401", "422", "503"} <= set(verb["responses"]) for verb in described)


# --- bad input --------------------------------------------------------------------------------------------------


def bomb(width: int, height: int) -> bytes:
    """A small file that is a very large picture, or becomes one when its short side is enlarged."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


TRY = {"prompt": "a", "adapters": ["x"]}
BAD = [
    ("GET", "/search?q=" + "x" * 2001, None, 422, "query-error", "the query has 2001 characters: use at most 2000"),
    ("POST", "/search", {"q": "word " * 10_000}, 422, "query-error", "the query has 50000 characters"),
    ("POST", "/search", {"q": "+red " * 17}, 422, "bad-value", "the query has 17 phrases"),
    ("GET", "/search?q=%2Bred:0", None, 422, "query-error", "a phrase without words or of weight 0"),
    ("GET", "/search?q=%00%01%02", None, 422, "query-error", "the query is empty"),
    ("GET", "/search?limit=many", None, 422, "bad-value", "limit: input should be a valid integer"),
    ("GET", "/search?limit=0", None, 422, "bad-value", "limit: input should be greater than or equal to 1, not '0'"),
    ("GET", "/search?offset=-1", None, 422, "bad-value", "offset: input should be greater than or equal to 0"),
    ("GET", "/search?max_strength=nan", None, 422, "bad-value", "max_strength: input should be a finite number"),
    ("GET", "/search?queri=red", None, 422, "bad-value", "queri: extra inputs are not permitted"),
    ("GET", "/search?protocol=none", None, 404, "unknown-protocol", "no Protocol is called 'none'"),
    ("GET", "/search?more=sha256:0", None, 404, "unknown-adapter", "'sha256:0' has no signature"),
    ("GET", "/search?more=sha256:0:0", None, 422, "query-error", "'sha256:0' has the weight 0"),
    ("GET", "/search?more=sha256:0:" + "9" * 190, None, 422, "query-error", "'sha256:0' has the weight 1e+190"),
    ("GET", "/search?more=sha256:0:1000001", None, 422, "query-error", "'sha256:0' has the weight 1e+06"),
    ("GET", "/search?more=sha256:0:0.0000009", None, 422, "query-error", "'sha256:0' has the weight 9e-07"),
    ("GET", "/search?image=../../etc/passwd", None, 404, "unknown-image", "no picture '../../etc/passwd' was sent"),
    ("POST", "/search", [1, 2], 422, "bad-value", "body: input should be a valid dictionary"),
    ("POST", "/search", {"q": 5}, 422, "bad-value", "q: input should be a valid string"),
    ("POST", "/search", {"more": "red"}, 422, "bad-value", "more: input should be a valid list"),
    ("POST", "/search", b"{", 400, "bad-request", "the body is no JSON that can be read (expecting property name"),
    ("POST", "/search", b'{"q": "', 400, "bad-request", "(unterminated string starting at character 7)"),
    ("POST", "/search", b"[" * 20_000, 400, "bad-request", "the body is no JSON that can be read"),
    ("POST", "/search", b"9" * 5000, 400, "bad-request", "the body is no JSON that can be read"),
    ("POST", "/search", b'{"q": "\xff"}', 400, "bad-request", "the body is no JSON that can be read"),
    ("POST", "/search", b'{"q": "\\ud800"}', 422, "bad-value", "q: value error, it holds half a character"),
    ("POST", "/search", b"x" * 70_000, 413, "too-large", "the body is larger than 64 KiB"),
    ("POST", "/images", b"", 422, "query-error", "the picture cannot be read as a picture"),
    ("POST", "/images", b"<svg/>", 422, "query-error", "the picture cannot be read as a picture"),
    ("POST", "/images", bomb(9000, 9000), 422, "query-error", "has 9000 x 9000 pixels: use at most 64 megapixels"),
    ("POST", "/images", bomb(1, 5000), 422, "query-error", "has 1 x 5000 pixels: cut out the part that matters"),
    ("POST", "/images", bomb(30_000, 30_000), 422, "query-error", "could be decompression bomb"),
    ("POST", "/images", b"x" * 26 * 2**20, 413, "too-large", "the picture is larger than 25 MiB"),
    ("GET", "/adapters/sha256:0", None, 404, "unknown-adapter", "there is no adapter 'sha256:0'"),
    ("GET", "/adapters/..%2F..%2Fetc%2Fpasswd", None, 404, "not-found", "there is nothing at"),
    ("GET", "/adapters/%2e%2e/previews/0", None, 404, "unknown-picture", "no picture 0 is kept of it"),
    ("GET", "/adapters/x/previews/99", None, 404, "unknown-picture", "no picture 99 is kept of it"),
    ("GET", "/adapters/x/previews/-1", None, 422, "bad-value", "place: input should be greater than or equal to 0"),
    ("GET", "/adapters/" + "x" * 300, None, 422, "bad-value", "key: string should have at most 200 characters"),
    ("GET", "/runs/1e3", None, 422, "bad-value", "number: input should be a valid integer"),
    ("GET", "/runs/99", None, 404, "unknown-run", "there is no run 99"),
    ("POST", "/runs", {"precision": "best"}, 422, "bad-value", "precision: input should be 'glance', 'quick'"),
    ("POST", "/runs", {"folders": []}, 422, "bad-value", "folders: list should have at least 1 item"),
    ("POST", "/runs", {"folders": [7]}, 404, "unknown-folder", "there is no folder 7"),
    ("POST", "/runs", {"folders": ["/etc"]}, 422, "bad-value", "folders.0: input should be a valid integer"),
    ("POST", "/runs/99/pause", None, 404, "unknown-run", "there is no run 99"),
    ("POST", "/tries", {"prompt": "", "adapters": ["x"]}, 422, "bad-value", "prompt: string should have at least 1"),
    ("POST", "/tries", {"prompt": "\t \n", "adapters": ["x"]}, 404, "unknown-adapter", "there is no adapter 'x'"),
    ("POST", "/tries", {**TRY, "width": 1001}, 422, "bad-value", "width: input should be a multiple of 8, not 1001"),
    ("POST", "/tries", {**TRY, "height": 4096}, 422, "bad-value", "height: input should be less than or equal to 2048"),
    ("POST", "/tries", {"prompt": "a", "adapters": []}, 422, "bad-value", "adapters: list should have at least 1"),
    ("POST", "/tries", {"prompt": "a", "adapters": ["x"] * 5}, 422, "bad-value", "adapters: list should have at most"),
    ("GET", "/tries/none", None, 404, "unknown-try", "there is no such try"),
    ("GET", "/tries/none/images/0", None, 404, "unknown-try", "there is no such try"),
    ("GET", "/nothing", None, 404, "not-found", "there is nothing at /api/v1/nothing"),
    ("DELETE", "/search", None, 405, "wrong-method", "/api/v1/search cannot be asked with DELETE"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "message"), BAD)
def test_bad_input_is_told(
    client: TestClient, method: str, path: str, body: Any, status: int, code: str, message: str
) -> None:
    raw = {"content": body, "headers": {"Content-Type": "application/json"}}
    sent = raw if isinstance(body, bytes) else {"json": body} if body is not None else {}
    found = error(client.request(method, API + path, **sent), status)
    assert found["code"] == code
    assert message in found["message"]
    assert code == "query-error" or found["remedy"]
    assert found["field"] is None or code != "bad-request"


def test_the_list_that_names_a_wrong_example_is_told(client: TestClient) -> None:
    key = key_of(client, "redder")
    for asked in ({"more": [key], "less": ["sha256:0"]}, {"more": [key], "less": [f"{key}:0"]}):
        found = client.post(f"{API}/search", json=asked)
        assert error(found, found.status_code)["field"] == "less"
    assert error(client.post(f"{API}/search", json={"more": ["sha256:0"]}), 404)["field"] == "more"


def test_examples_that_cancel_are_told_as_words_are(client: TestClient) -> None:
    """The last one was once kept, in silence."""
    key = key_of(client, "redder")
    found = error(client.post(f"{API}/search", json={"more": [key], "less": [key]}), 422)
    assert "the query cancels itself out" in found["message"]
    half = client.post(f"{API}/search", json={"more": [key], "less": [f"{key}:0.5"], "everything": True}).json()
    assert half["query"] == "like redder, unlike redder:0.5"
    assert half["hits"] == get(client, "/search", more=key, everything=True)["hits"]


@pytest.mark.parametrize("weight", ["0.000001", "1000000", "0.1234567"])
def test_weights_within_the_limits_count_and_are_spelt_as_they_are_read(client: TestClient, weight: str) -> None:
    """The spelling of some once had an exponent, or too few digits, and was read as another thing."""
    key = key_of(client, "redder")
    page, usual = (get(client, "/search", more=more, everything=True) for more in (f"{key}:{weight}", key))
    scores = [[hit["score"] for hit in one["hits"]] for one in (page, usual)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert names(page) == names(usual)
    assert page["query"] == f"like redder:{weight}"
    assert str(Example.parse(f"{key}:{weight}")) == f"{key}:{weight}"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
def test_what_is_no_picture_is_told_which_files_are(client: TestClient, kind: str) -> None:
    """The message once held a part of Python, and named three kinds of six."""
    found = error(client.post(f"{API}/images", content=b"<svg/>"), 422)
    told = "the picture cannot be read as a picture: give a PNG, JPEG, WebP, GIF, BMP or AVIF file"
    assert found["message"] == told
    assert kind in told.upper()
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 120, 120)).save(file, kind)
    assert client.post(f"{API}/images", content=file.getvalue()).status_code == 200


# --- methods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/map", "/work", "/login", "/static/app.css", f"{API}/health", f"{API}/search", f"{API}/map"]
)
def test_head_is_answered_as_get_is_without_the_body(client: TestClient, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert head.content == b""
    assert head.status_code == whole.status_code != 404
    assert dict(head.headers) == dict(whole.headers)


def test_head_of_a_stream_ends(client: TestClient) -> None:
    answer = client.head(f"{API}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(client.app.state.lorascope.work.listeners) == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", f"{API}/search", "GET, HEAD, POST"),
        ("GET", f"{API}/images", "POST"),
        ("HEAD", f"{API}/images", "POST"),
        ("PUT", f"{API}/adapters/x/previews/0", "GET, HEAD"),
        ("POST", f"{API}/openapi.json", "GET, HEAD"),
        ("POST", "/map", "GET, HEAD"),
        ("GET", "/work/runs", "POST"),
        ("POST", "/static/app.css", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("query", ["🦊🎨", "e\u0301te\u0301 \u202etxet", "red\x00\x07green", "' OR 1=1 --", "<script>"])
def test_odd_words_are_words(client: TestClient, query: str) -> None:
    assert get(client, "/search", q=query, everything=True)["total"] == 4


def test_everything_can_be_read_while_another_process_writes(place: Path) -> None:
    """Opening a library once waited for the write lock: a minute, and then an error."""
    held = sqlite3.connect(place, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    try:
        with serving(place) as client, ThreadPoolExecutor(16) as pool:  # more threads than libraries are open
            paths = ["search?q=red", "search?q=blue", "adapters", "health", "runs", "refusals", "map"] * 6
            answers = list(pool.map(lambda path: client.get(f"{API}/{path}"), paths))
        assert {answer.status_code for answer in answers} == {200}
    finally:
        held.execute("ROLLBACK")
        held.close()


def test_no_library_is_opened_on_the_event_loop(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[bool] = []
    opened = Library.__init__

    def counted(self: Library, *given: Any, **named: Any) -> None:
        with contextlib.suppress(RuntimeError):
            loops.append(asyncio.get_running_loop() is not None)
        opened(self, *given, **named)

    with serving(place) as client:
        client.get(f"{API}/search?q=red")
        monkeypatch.setattr(Library, "__init__", counted)
        client.app.state.lorascope._free.clear()  # type: ignore[attr-defined]
        for path in ("search?q=red", "search?q=red", "adapters"):
            assert client.get(f"{API}/{path}").status_code == 200
    assert loops == []


# --- cards ------------------------------------------------------------------------------------------------------


def look_up(client: TestClient, *references: str) -> list[Any]:
    answer = client.post(f"{API}/lookup", json={"references": references})
    assert answer.status_code == 200, answer.text
    found = answer.json()["found"]
    assert [row["reference"] for row in found] == list(references)
    return [[card["adapter"]["name"] for card in row["cards"]] for row in found]


def test_an_adapter_is_looked_up_by_all_that_others_call_it(client: TestClient, folder: Path) -> None:
    path = folder / "redder.safetensors"
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    body = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    references = (
        f"sha256:{digest}", f"sha256:{digest.upper()}", f"autov2:{digest[:10].upper()}", f"autov3:{body[:12]}",
        f"autov3:{body}", "name:redder", "name:redder.safetensors", "name:loras/redder",
        r"name:loras\redder.safetensors", f"path:{path}",
    )  # fmt: skip
    assert look_up(client, *references) == [["redder"]] * len(references)


def test_what_nothing_goes_by_has_no_card(client: TestClient) -> None:
    references = (
        "name:redde",
        "name:other/redder",
        "sha256:00",
        "autov2:",
        "path:/nowhere",
        "civitai:1@2",
        "odd",
        "x:y",
    )
    assert look_up(client, *references) == [[]] * len(references)


def test_a_name_means_every_adapter_of_it(tmp_path: Path) -> None:
    for place, red in (("one", 0.2), ("two", 0.3)):
        tint(tmp_path / "loras" / place / "same.safetensors", red=red)
    with serving(measured(tmp_path / "library.db", tmp_path / "loras")) as client:
        assert look_up(client, "name:same", "name:two/same") == [["same", "same"], ["same"]]


def test_civitai_s_numbers_are_looked_up_as_claimed_and_as_imported(library: Library) -> None:
    claims = {"civitai_model": Claim(5, "x.civitai.info"), "civitai_version": Claim(6, "x.civitai.info")}
    library.adapters.add([StoredAdapter("sha256:ab", "one", "sdxl", (), AdapterFacts(claims=claims))], {})
    library.adapters.add([StoredAdapter("civitai:7@8", "two", "sdxl", (), AdapterFacts())], {})
    assert library.adapters.look_up(["civitai:5@6", "civitai:7@8", "civitai:5"]) == {
        "civitai:5@6": ["sha256:ab"], "civitai:7@8": ["civitai:7@8"], "civitai:5": [],
    }  # fmt: skip


def test_a_card_holds_all_that_is_shown(client: TestClient) -> None:
    card = client.post(f"{API}/lookup", json={"references": ["name:redder"]}).json()["found"][0]["cards"][0]
    assert card["adapter"]["tag"] == "<lora:redder:1>"
    assert card["measured"]["strength"]["value"] > 0
    assert card["words"]
    picture = card["details"]["pictures"][0]
    for address in (picture["url"], picture["bare_url"]):
        assert client.get(address).headers["content-type"] == "image/webp"
    row = get(client, "/search", q="red", limit=1, details=True)["hits"][0]
    assert row["details"]["pictures"] == card["details"]["pictures"]
    assert get(client, "/search", q="red", limit=1)["hits"][0].get("details") is None


def test_favourites_and_notes_are_kept_and_searched_for(client: TestClient) -> None:
    mark = f"/adapters/{quote(key_of(client, 'redder'), safe='')}/mark"
    assert client.post(API + mark, json={"favourite": True, "note": "warm"}).json() == {
        "favourite": True, "note": "warm",
    }  # fmt: skip
    (row,) = get(client, "/search", q="blue", favourite=True, details=True)["hits"]
    assert (row["adapter"]["name"], row["details"]["favourite"], row["details"]["note"]) == ("redder", True, "warm")
    assert get(client, mark.removesuffix("/mark"))["note"] == "warm"
    assert client.post(API + mark, json={"favourite": False}).json()["note"] == "warm"  # what is not named stays
    assert get(client, "/search", favourite=True)["hits"] == []
    assert error(client.post(f"{API}/adapters/x:1/mark", json={}), 404)["code"] == "unknown-adapter"


def test_flags_are_on_cards_as_soon_as_they_are_known(client: TestClient) -> None:
    def flags() -> Any:
        return get(client, "/search", q="red", everything=True, details=True)["hits"]

    end = time.monotonic() + 20
    while any(row["details"]["flags"] is None for row in flags()):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert {row["adapter"]["name"]: row["details"]["flags"] for row in flags()}["glaring"][0] == "overpowering"


def test_words_of_too_few_adapters_are_refused_with_the_reason(client: TestClient) -> None:
    answer = client.get(f"{API}/adapters/{quote(key_of(client, 'redder'), safe='')}/words")
    assert "words can be tested against chance with" in error(answer, 503)["message"]


def test_copies_are_listed(tmp_path: Path) -> None:
    tint(tmp_path / "loras" / "one.safetensors", red=0.3)
    tint(tmp_path / "loras" / "two.safetensors", red=0.3, note="other text")
    with serving(measured(tmp_path / "library.db", tmp_path / "loras")) as client:
        (group,) = get(client, "/duplicates")["groups"]
    assert [copy["kind"] for copy in group["copies"]] == ["file"]


def test_operations_of_the_document_go_by_short_names_and_one_scheme_of_security(client: TestClient) -> None:
    document = get(client, "/openapi.json")
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    assert {"search", "look_up", "adapter", "start_run"} <= set(names)
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["security"] == [{"token": []}, {}]
