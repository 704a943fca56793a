"""The pages without a browser: what they say, where they lead, and what they never let through."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient

import lorascope.server.pages as pages
from lorascope.analysis import Curve, CurvePoint, Describer, Word
from lorascope.errors import ModelError
from lorascope.library import LONGEST_NOTE, Library, Mark
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset
from lorascope.report.words import duration
from lorascope.search import Example
from lorascope.server.analyses import Words
from lorascope.server.pages.address import Address
from lorascope.server.pages.cards import Cells, telling_cell
from lorascope.server.pages.gauge import WIDTH, Gauge
from lorascope.server.pages.housekeeping import _plain
from lorascope.server.pages.search import folder_tree
from lorascope.server.readiness import MissingModel, missing_models
from lorascope.signature import Estimate
from tests.fakes import tint
from tests.serving import measured, serving, small_world, until

HERE = Path(pages.__file__).parent
HTMX = {"HX-Request": "true"}
NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured library of three colours and one adapter that claims markup."""
    folder = tmp_path_factory.mktemp("pages")
    for colour in ("red", "green", "blue"):
        tint(folder / "loras" / f"{colour}der.safetensors", **{colour: 0.3})
    tint(folder / "loras" / "odd.safetensors", red=0.2, green=0.1)
    claims = {
        "model_name": NASTY,
        "civitai": {"modelId": 5, "id": 6, "trainedWords": [NASTY]},
        "usage_tips": '{"strength": 0.8}',
    }
    folder.joinpath("loras", "odd.metadata.json").write_text(json.dumps(claims), "utf-8")
    return measured(folder / "library.db", folder / "loras")


@pytest.fixture
def client(place: Path) -> Iterator[TestClient]:
    """A client of a server over them."""
    with serving(place, place.parent / "loras") as client:
        yield client


@pytest.fixture(scope="module")
def keys(place: Path) -> dict[str, str]:
    """Adapter keys by name."""
    with Library(place) as library:
        return {adapter.name: key for key, adapter in library.adapters.all().items()}


INLINE = re.compile(r"<style|<script(?![^>]*\bsrc=)|<[^>]*\s(?:style|on\w+)=")
"""What a Content-Security-Policy without inline code would refuse."""
ADDRESS = re.compile(r'\b(?:src|href|action)="([^"]*)"')


def every_page(keys: dict[str, str]) -> list[str]:
    """The address of each page."""
    odd, red = keys["odd"], keys["redder"]
    return [
        "/", "/?q=red", f"/?more={odd}&less={red}&hidden=1", "/map", "/map/table", "/work", "/work/progress",
        f"/adapters/{odd}", f"/adapters/{odd}/words", f"/compare?a={odd}&a={red}", "/compare", "/?favourite=1",
        "/nowhere", "/housekeeping",
    ]  # fmt: skip


def test_no_page_holds_code_or_loads_from_elsewhere(client: TestClient, keys: dict[str, str]) -> None:
    for address in every_page(keys):
        text = client.get(address).text
        assert INLINE.findall(text) == [], address
        outside = [found for found in ADDRESS.findall(text) if "//" in found and "https://civitai.com/" not in found]
        assert outside == [], address
        assert NASTY not in text, address


def test_the_parts_that_htmx_asks_for_have_no_frame(client: TestClient) -> None:
    part = client.get("/?q=red", headers=HTMX)
    assert part.text.lstrip().startswith("<title>red · lorascope</title>")  # htmx sets it, and shows the rest
    assert "<body" not in part.text
    assert "HX-Request" in part.headers["vary"]
    restored = client.get("/?q=red", headers=HTMX | {"HX-History-Restore-Request": "true"})
    assert "<!doctype html>" in restored.text


def test_a_search_names_hits_and_what_the_thresholds_hide(client: TestClient) -> None:
    text = client.get("/?q=red&max_strength=0.5").text
    shown, hidden = text.split('<details class="lane"')
    assert re.findall(r'class="name"><a[^>]*>(\w+)<', shown) == ["odd"]
    assert re.findall(r'class="name"><a[^>]*>(\w+)<', hidden)[0] == "redder"
    assert "<summary>3 too strong</summary>" in hidden
    assert "1 LoRA, nearest first." in shown


def called(text: str) -> list[str]:
    """The adapters that a page of results lists by name."""
    part = text.partition('id="called"')[2].partition("</section>")[0]
    return re.findall(r">\s*([^<>]+)</a></li>", part)


def test_the_box_finds_files_by_name_title_and_path(client: TestClient, place: Path) -> None:
    assert called(client.get("/?q=redd").text) == ["redder"]
    assert called(client.get("/?q=ODD").text) == ["odd"]
    assert called(client.get("/?q=%3Cscript").text) == ["odd"]  # its title
    path = quote(str(place.parent / "loras" / "green"))
    assert called(client.get(f"/?q={path}").text) == ["greender"]
    text = client.get("/?q=der").text
    assert sorted(called(text)) == ["blueder", "greender", "redder"]
    assert "Files that do “der”" in text
    assert "Files called" not in client.get("/?q=nothing+of+the+kind").text
    assert called(client.get("/?q=d%25r").text) == []


def test_files_are_found_by_name_where_words_cannot_be_encoded(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModelError("the encoder is not on this disk")

    monkeypatch.setattr("lorascope.server.encoders.load_query_encoder", missing)
    answer = client.get("/?q=redd")
    assert "The encoder is not on this disk." in answer.text
    assert called(answer.text) == ["redder"]


def test_a_library_without_an_encoder_can_be_browsed(
    client: TestClient, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModelError("the encoder is not on this disk")

    monkeypatch.setattr("lorascope.server.encoders.load_query_encoder", missing)
    text = client.get("/?q=words+that+nobody+has+asked+for").text
    assert "Until then LoRAs are found by name" in text
    assert sorted(shown(text)) == ["blueder", "greender", "odd", "redder"]
    put_words(client, monkeypatch, {keys["odd"]: ("pale mist",)})
    assert shown(client.get("/?q=Pale+mist").text) == ["odd"]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server over two colours and one file that changes no picture."""
    folder = tmp_path_factory.mktemp("still")
    tint(folder / "loras" / "redder.safetensors", red=0.3)
    tint(folder / "loras" / "blueder.safetensors", blue=0.3)
    tint(folder / "loras" / "idle.safetensors", red=1e-9)
    folder.joinpath("loras", "idle.metadata.json").write_text(
        json.dumps(
            {"model_name": "Idle", "tags": ["red"], "modelDescription": "<p>Very <b>red</b>!</p><p>2 &lt; 3</p>"}
        )
    )
    with serving(measured(folder / "library.db", folder / "loras")) as client:
        yield client


def test_a_file_without_effect_is_given_no_meaning(still: TestClient) -> None:
    keys = {row["adapter"]["name"]: row["adapter"]["key"] for row in still.get("/api/v1/adapters").json()["adapters"]}
    text = still.get(f"/adapters/{keys['idle']}").text
    assert "does nothing: no picture with it differs from the one without by more than noise" in text
    for meaning in (
        "Most like it",
        "Most unlike it",
        "Where it works",
        "a cosine of at least",
        "Search for",
        "More like",
    ):
        assert meaning not in text, meaning
    for address in ("/?q=red", "/", f"/compare?a={keys['idle']}&a={keys['redder']}"):
        assert "does nothing" in still.get(address).text, address
    assert "little in common" not in still.get(f"/compare?a={keys['idle']}&a={keys['redder']}").text
    assert "idle" not in still.get(f"/adapters/{keys['redder']}").text
    hits = still.get("/api/v1/search?q=red").json()["hits"]
    assert [hit["words"] for hit in hits if hit["adapter"]["name"] == "idle"] == ["does nothing"]


def test_where_a_file_does_nothing_is_said_by_category(tmp_path: Path) -> None:
    """It once was given a meaning there, too: how nearly next to nothing is like the whole."""
    tint(tmp_path / "loras" / "redder.safetensors", red=0.3)
    place = measured(tmp_path / "library.db", tmp_path / "loras", precision="glance")
    with Library(place) as library:
        digest = library.protocols.find().protocol.digest
        ((key, stored),) = library.signatures.get(digest, library.adapters.all()).items()
        first, *others = stored.signature.categories
        faint = replace(first, strength=0.09 * stored.signature.strength)
        changed = replace(stored.signature, categories=(faint, *others))
        library.signatures.put(digest, "quick", {key: changed})
    with serving(place) as client:
        rows = re.findall(r'<tr><th scope="row">([^<]*)</th><td><svg.*?<td title="[^"]*">([^<]*)</td>',
                          client.get(f"/adapters/{key}").text)  # fmt: skip
    assert [name for name, word in rows if word == "does nothing here"] == [first.category.replace("_", " ")]
    assert len(rows) == 1 + len(others)


def test_a_description_is_shown_without_its_tags(still: TestClient) -> None:
    key = still.get("/api/v1/adapters?q=idle").json()["adapters"][0]["adapter"]["key"]
    text = still.get(f"/adapters/{key}").text
    assert "Very red!\n2 &lt; 3<br>" in text
    assert "&lt;p&gt;" not in text


def shown(part: str) -> list[str]:
    """The names on the cards of a part of a page."""
    return re.findall(r'class="name"><a[^>]*>(\w+)<', part)


def test_clear_matches_that_thresholds_hide_are_announced(client: TestClient) -> None:
    text = client.get("/?q=red&max_strength=0").text
    assert '2 clear matches are hidden: <a href="/?q=red&amp;max_strength=0.0&amp;hidden=1#lane">show</a>' in text
    assert "Nothing here clearly does this" not in text
    assert "1 clear match is hidden" in client.get("/?q=blue&max_strength=0").text
    assert "hidden:" not in client.get("/?q=red").text


def test_thresholds_do_not_change_the_scenes(client: TestClient) -> None:
    """They once chose the hits from which the scenes of all cards were chosen."""
    scenes: dict[str, tuple[str, ...]] = {}
    for limits in ("", "&max_strength=0", "&max_strength=0.5", "&min_consistency=1"):
        cards = client.get(f"/?q=red{limits}").text.partition("Files that do")[2]
        scenes[limits] = tuple(sorted(set(re.findall(r'src="/api/v1/adapters/[^"]*/previews/(\d+)', cards))))
    assert len(set(scenes.values())) == 1, scenes
    assert len(scenes[""]) == 1


def test_weak_matches_are_folded_below_those_that_matter(client: TestClient) -> None:
    main, _, weaker = client.get("/?q=green").text.partition('<details class="lane" id="weaker">')
    assert shown(main) == ["greender", "odd"]
    assert "<summary>2 weaker matches</summary>" in weaker
    assert sorted(shown(weaker)) == ["blueder", "redder"]
    assert 'id="weaker"' not in client.get("/").text


def test_folders_are_named_as_a_tree() -> None:
    assert folder_tree(["/a/loras/style/old", "/a/loras", "/a/loras/style", "/b/loras", "/b/more", ""]) == [
        ("/a/loras", "/a/loras"),
        ("/a/loras/style", "\u2003style"),
        ("/a/loras/style/old", "\u2003\u2003old"),
        ("/b/loras", "/b/loras"),
        ("/b/more", "more"),
    ]


def test_words_are_told_by_the_protocols_thresholds_whatever_the_sliders_say(client: TestClient) -> None:
    def words(text: str) -> set[str]:
        return set(re.findall(r"(?:faint|gentle|very strong|overpowering), [\w-]+", text))

    assert words(client.get("/?max_strength=0").text) == words(client.get("/").text)


def test_the_tag_carries_the_weight_that_is_claimed(client: TestClient, keys: dict[str, str]) -> None:
    text = client.get(f"/adapters/{keys['odd']}").text
    assert 'data-copy="&lt;lora:odd:0.8&gt;, &lt;script' in text  # the words that call it up come with it
    assert 'href="https://civitai.com/models/5?modelVersionId=6"' in text


def test_a_try_says_which_weight_it_was_drawn_with(client: TestClient, keys: dict[str, str]) -> None:
    sent = client.post("/tries", data={"prompt": "a fox", "a": [keys["odd"], keys["redder"]]})
    done = until(client, f"/api/v1{sent.headers['location']}", "done")
    assert [column["weight"] for column in done["columns"]] == [None, 1.0, 1.0]
    text = client.get(sent.headers["location"]).text
    assert text.count("drawn with weight 1") == 2
    assert text.count("its tag has 0.8") == 1  # the other one claims none, so its tag has 1, too


def test_a_try_takes_the_weight_that_is_chosen(client: TestClient, keys: dict[str, str]) -> None:
    sent = client.post("/tries", data={"prompt": "a fox", "a": [keys["redder"]], "weight": "0.25"})
    done = until(client, f"/api/v1{sent.headers['location']}", "done")
    assert [column["weight"] for column in done["columns"]] == [None, 0.25]
    text = client.get(sent.headers["location"]).text
    assert "drawn with weight 0.25" in text
    assert "as all are measured" not in text
    plain = client.post("/tries", data={"prompt": "a fox", "a": [keys["redder"]], "weight": ""})
    measured_at = until(client, f"/api/v1{plain.headers['location']}", "done")
    assert measured_at["columns"][1]["weight"] == 1.0
    pictures = [client.get(one["columns"][1]["images"][0]).content for one in (done, measured_at)]
    assert pictures[0] != pictures[1]
    refused = client.post("/api/v1/tries", json={"prompt": "a fox", "adapters": [keys["redder"]], "weight": 9})
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "weight")


def test_a_try_takes_a_seed_and_several_weights(client: TestClient, keys: dict[str, str]) -> None:
    wish = {"prompt": "a fox", "a": [keys["redder"]], "mode": "several", "seed": "7"}
    sent = client.post("/tries", data=wish)
    done = until(client, f"/api/v1{sent.headers['location']}", "done")
    assert [column["weight"] for column in done["columns"]] == [None, 0.4, 0.7, 1.0, 1.3]
    assert done["seeds"] == [7]
    assert {len(column["images"]) for column in done["columns"]} == {1}
    text = client.get(sent.headers["location"]).text
    assert re.findall(r"redder</a> at ([\d.]+)", text) == ["0.4", "0.7", "1", "1.3"]
    assert "as all are measured" not in text
    assert client.post("/tries", data=wish | {"seed": "-1"}).status_code == 422


def test_a_try_of_several_together_says_all_that_was_chosen(client: TestClient, keys: dict[str, str]) -> None:
    wish = {"prompt": "a fox", "a": [keys["odd"], keys["redder"]], "own_weight": ["", "0.5"], "mode": "together"}
    sent = client.post("/tries", data=wish | {"width": "96", "height": "64"})
    done = until(client, f"/api/v1{sent.headers['location']}", "done")
    assert [column["name"] for column in done["columns"]] == ["without", "odd + redder"]
    text = client.get(sent.headers["location"]).text
    assert re.findall(r"(odd|redder)</a> at ([\d.]+)", text) == [("odd", "1"), ("redder", "0.5")]
    assert "96 pixels wide, 64 high" in text
    for wrong in (
        {"width": "100"},
        {"own_weight": ["much", ""]},
        {"own_weight": ["9", ""]},
        {"negative_prompt": "grey"},
    ):
        assert client.post("/tries", data=wish | wrong).status_code == 422, wrong


def test_a_page_asks_again_for_the_try_that_its_address_names(client: TestClient, keys: dict[str, str]) -> None:
    for address in ("/?q=red&", f"/adapters/{keys['odd']}?", f"/compare?a={keys['odd']}&a={keys['redder']}&"):
        assert 'hx-get="/tries/abc" hx-trigger="load"' in client.get(f"{address}try=abc").text, address
        assert 'hx-trigger="load"' not in client.get(address).text, address


def test_what_is_not_there_is_told_on_a_page(client: TestClient) -> None:
    answer = client.get(f"/adapters/sha256:{'0' * 64}")
    assert answer.status_code == 404
    assert "There is no adapter" in answer.text
    assert "<!doctype html>" in answer.text
    for address in (f"/adapters/sha256:{'0' * 64}", "/nowhere", "/?page=0", "/?more=x:1"):
        assert "/api/" not in client.get(address).text, address  # the API's advice is for programs
    assert "What to do: continue from the search, the map or the work page." in client.get("/nowhere").text
    assert client.get("/?q=red:0").status_code == 422
    assert "weight 0" in client.get("/?q=red:0").text
    assert client.get("/?page=0").status_code == 422


def test_the_library_is_listed_in_the_order_that_is_chosen(client: TestClient) -> None:
    def order(sort: str) -> list[str]:
        return shown(client.get(f"/?sort={sort}&max_strength=99&min_consistency=0").text)

    assert order("name") == ["blueder", "greender", "odd", "redder"]
    assert order("weakest") == order("strongest")[::-1]
    assert order("weakest")[0] == "odd"
    assert sorted(order("newest")) == sorted(order("steadiest")) == order("name")
    assert client.get("/?sort=upside").status_code == 422


def put_words(client: TestClient, monkeypatch: pytest.MonkeyPatch, words: dict[str, tuple[str, ...]]) -> None:
    """Words of adapters by key: small libraries have none."""
    counts = Counter(phrase for of in words.values() for phrase in of).most_common()
    known = Words(words, tuple(counts))
    monkeypatch.setattr(client.app.state.lorascope, "words", lambda protocol: known)  # type: ignore[attr-defined]


def test_words_describe_cards_and_filter_the_library(
    client: TestClient, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"redder": ("red light", "warm"), "odd": ("warm",)}
    put_words(client, monkeypatch, {keys[name]: of for name, of in words.items()})
    text = client.get("/?sort=name").text
    assert re.findall(r'<a href="/\?[^"]*does=[^"]*">([^<]+)</a>', text) == ["warm", "red light", "warm"]
    assert '<option value="warm">warm (2)</option>' in text
    assert shown(client.get("/?sort=name&does=warm").text) == ["odd", "redder"]
    assert shown(client.get("/?does=warm&does=red+light").text) == ["redder"]
    assert "No LoRA passes these filters." in client.get("/?does=cold").text
    assert "Does: " in client.get(f"/adapters/{keys['odd']}").text


def test_the_search_form_works_before_its_script_has_run(client: TestClient) -> None:
    form = client.get("/").text.partition('id="ask"')[2].partition("</form>")[0]
    names = re.findall(r'\bname="(\w+)"', form)
    assert {"since", "favourite", "max_strength"} <= {*names}
    sent = client.get("/", params=dict.fromkeys([*names, "does", "more"], "") | {"q": "red"})
    assert shown(sent.text) == shown(client.get("/?q=red").text)
    assert shown(sent.text)[0] == "redder"


def test_a_finding_chooses_the_files_that_have_it(still: TestClient) -> None:
    assert shown(still.get("/?flag=no-effect").text) == ["idle"]
    assert '<li class="chip">do nothing<a href="/"' in still.get("/?flag=no-effect").text
    answer = still.get("/?flag=upside")
    assert answer.status_code == 422
    assert "There is no flag" in answer.text


def test_favourites_and_notes_stay_in_the_library(client: TestClient, place: Path, keys: dict[str, str]) -> None:
    address = f"/adapters/{quote(keys['redder'], safe='')}"
    assert client.post(f"/api/v1{address}/mark", json={"favourite": True}).json() == {"favourite": True, "note": ""}
    kept = client.post(f"{address}/note", data={"note": "<b>too warm</b> "})
    assert kept.headers["location"] == f"{address}#noted"
    assert "&lt;b&gt;too warm&lt;/b&gt;</textarea>" in client.get(address).text
    longest = {"note": "too warm,\r\n" * (LONGEST_NOTE // 10)}  # a form sends two characters where its field counts one
    assert client.post(f"/adapters/{quote(keys['odd'], safe='')}/note", data=longest).status_code == 303
    shown = client.get("/?favourite=1").text
    assert re.findall(r'class="name"><a[^>]*>([^<]+)', shown.partition('id="results"')[2]) == ["redder"]
    with Library(place) as library:
        marks = library.marks.get(keys.values())
        assert marks.pop(keys["odd"]).note == "too warm,\n" * (LONGEST_NOTE // 10 - 1) + "too warm,"
        assert marks == {keys["redder"]: Mark(True, "<b>too warm</b>")}
        library.marks.put(keys["odd"], Mark())
        library.marks.put(keys["redder"], Mark())
    assert "Press ♡ on a LoRA" in client.get("/?favourite=1").text


def test_a_component_is_measured_more_finely_by_its_file(place: Path, keys: dict[str, str], tmp_path: Path) -> None:
    file = tint(tmp_path / "loras" / "canny.safetensors", red=0.3)
    item = f"{file}#own:edges"
    shutil.copy(place, tmp_path / "library.db")
    with Library(tmp_path / "library.db") as library:
        library.adapters.add([replace(library.adapters.all()[keys["redder"]], paths=(item,))], {item: (1, 1)})
    with serving(tmp_path / "library.db", tmp_path / "loras") as client:
        (sent,) = re.findall(r'name="file" value="([^"]*)"', client.get(f"/adapters/{keys['redder']}").text)
        assert client.post("/work/runs", data={"file": sent, "precision": "standard"}).status_code == 303


def test_files_that_came_since_a_time_are_chosen(client: TestClient) -> None:
    assert len(shown(client.get("/?since=1000").text)) == 4
    assert shown(client.get(f"/?since={time.time() + 1}").text) == []


def test_a_page_beyond_the_last_is_the_last(client: TestClient) -> None:
    assert len(re.findall('<h2 class="name"', client.get("/?page=99&lane=99").text)) == 4
    table = client.get("/map/table?page=99").text
    assert table.count('<th scope="row">') == 4
    assert 'rel="prev"' not in table


def test_without_hits_only_filters_that_are_set_are_blamed(client: TestClient) -> None:
    text = client.get("/?q=red&family=zzz").text
    assert "<option selected>zzz</option>" in text  # the select once said "all"
    assert "<p>Choose another base above.</p>" in text
    assert 'href="/?q=red">Take all filters away' in text
    text = client.get("/?q=red&max_strength=0").text
    assert "<p>Allow stronger ones above. Or look below at what the thresholds leave out.</p>" in text


def test_an_adapter_that_is_the_only_one_has_nothing_like_it(client: TestClient, keys: dict[str, str]) -> None:
    everything = [key for name, key in keys.items() if name != "odd"]
    text = client.get(f"/?more={keys['odd']}&{'&'.join(f'less={key}' for key in everything)}").text
    assert "There is no other LoRA." in text
    assert "Take all filters away" not in text


def test_the_most_unlike_have_their_cosine(client: TestClient, place: Path, keys: dict[str, str]) -> None:
    """Its sign was once turned round, and what is unlike was called similar."""
    with Library(place) as library:
        matrix = library.signatures.matrix(library.protocols.find().protocol.digest)
        of = {name: matrix.directions[matrix.places[key]] for name, key in keys.items()}
    text = client.get(f"/adapters/{keys['redder']}").text.partition('id="far"')[2]
    found = re.findall(r'</a> <span class="soft small figures">([-0-9.]+)<', text)
    assert [float(one) for one in found] == sorted(float(one) for one in found)
    lowest = min(float(of["redder"] @ of[name]) for name in keys if name != "redder")
    assert float(found[0]) == pytest.approx(lowest, abs=0.006)
    told = client.get(f"/api/v1/adapters/{quote(keys['redder'])}/neighbours").json()["opposite"]
    assert told[0]["score"] == pytest.approx(lowest, abs=1e-5)
    asked = client.post("/api/v1/search", json={"less": [keys["redder"]]}).json()["hits"]
    assert not any("similar" in hit["words"] for hit in (*told, *asked))


def test_a_comparison_needs_two_that_are_measured(client: TestClient, keys: dict[str, str]) -> None:
    for others, missing in (
        (["x:1", "x:2"], "2 of the chosen LoRAs are"),
        ([keys["odd"], "x:1"], "1 of the chosen"),
    ):
        text = client.get(f"/compare?{'&'.join(f'a={key}' for key in others)}").text
        assert "<title>Compare · lorascope</title>" in text
        assert f"{missing} " in text
        assert "That leaves fewer than two." in text
    text = client.get(f"/compare?a={keys['odd']}&a={keys['redder']}&a=x:1").text
    assert "1 of the chosen LoRAs is left out: not measured with these settings." in text


def test_a_comparison_begins_where_they_differ_most(client: TestClient, place: Path, keys: dict[str, str]) -> None:
    pair = keys["odd"], keys["redder"]
    with Library(place) as library:
        digest = library.protocols.find().protocol.digest
        one, other = (library.evidence.blocks(key, digest, end=1)[0].effects for key in pair)
    apart = np.linalg.norm(one - other, axis=1)[:12]
    text = client.get(f"/compare?a={pair[0]}&a={pair[1]}").text
    scenes = re.findall(r'class="with[^>]*>\s*<input', text)
    assert len(scenes) == 12
    places = [int(found) for found in re.findall(r'src="/api/v1/adapters/[^"]*/previews/(\d+)', text)][:24:2]
    assert [float(apart[place]) for place in places] == sorted(map(float, apart), reverse=True)
    assert "first the scenes on which they differ most" in text


def test_a_comparison_says_in_words_how_two_differ(
    client: TestClient, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (Word("grey", "colour", 4.0),), (Word("ink", "medium", 7.0),)
    monkeypatch.setattr(Describer, "contrast", lambda *_: found)
    known = Words({}, (), object.__new__(Describer))
    monkeypatch.setattr(client.app.state.lorascope, "words", lambda protocol: known)  # type: ignore[attr-defined]
    text = plain(client.get(f"/compare?a={keys['odd']}&a={keys['redder']}").text)
    assert "odd does more: grey. redder does more: ink. redder is stronger." in text
    assert "“ink” lies 7.0 spreads apart" in text


def plain(text: str) -> str:
    """A page without its tags, on one line."""
    return " ".join(re.sub(r"<[^>]*>", "", text).split())


def looked_through(client: TestClient) -> str:
    """The page of housekeeping, once the library is looked through."""
    end = time.monotonic() + 30
    while "Looking through" in (text := client.get("/housekeeping").text):
        assert time.monotonic() < end
    return text


def test_housekeeping_lists_what_does_nothing_and_deletes_nothing(still: TestClient) -> None:
    text = looked_through(still)
    assert "1 does nothing" in plain(text)
    assert 'href="/?flag=no-effect"' in text
    key = re.findall(r'name="a" value="([^"]+)"', text)[0]
    answer = still.post("/housekeeping/list.csv", data={"a": key})
    assert answer.headers["content-disposition"].startswith("attachment")
    rows = list(csv.reader(answer.text.splitlines()))
    assert rows[0] == ["file", "name", "finding", "what was seen", "what to do"]
    assert {(Path(row[0]).name, row[1]) for row in rows[1:]} == {("idle.safetensors", "idle")}
    assert "does nothing" in [row[2] for row in rows]
    assert Path(rows[1][0]).exists()
    assert _plain("=HYPERLINK(1)") == "'=HYPERLINK(1)"  # no spreadsheet runs the name of a file


def test_housekeeping_counts_files_and_shows_each_once(client: TestClient) -> None:
    """A file that was read with two notes was once counted and shown as two."""
    text = looked_through(client)
    sections = re.findall(r'<h2 id="([^"]+)">(\d+) .*?</h2>(.*?)</section>', text, re.S)
    shown = {flag: (int(count), re.findall(r'name="a" value="([^"]+)"', rows)) for flag, count, rows in sections}
    assert len(shown["note"][1]) == 4
    for flag, (count, rows) in shown.items():
        assert count == len(rows) == len(set(rows)), flag


def test_files_that_do_nothing_are_no_error_without_findings(client: TestClient) -> None:
    assert "<h1>Tidy up</h1>" in looked_through(client)


def test_the_first_run_takes_the_folders_of_the_tools_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORASCOPE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr("lorascope.server.pages.setup.usual_places", lambda *_: [tmp_path])
    tool = tmp_path / "ComfyUI"
    (tool / "custom_nodes").mkdir(parents=True)
    tint(tool / "models" / "loras" / "redder.safetensors", red=0.3)
    with serving(tmp_path / "library.db") as client:
        text = client.get("/").text
        assert "<strong>ComfyUI</strong>" in text
        assert str(tool / "models" / "loras") in text
        assert client.post("/setup").headers["location"] == "/"
        text = client.get("/").text
        assert "1 file waits to be measured" in text
        assert "A first look takes" in text
        assert str(tool / "models" / "loras") in (tmp_path / "config.toml").read_text("utf-8")
        assert client.post("/setup").status_code == 409  # folders are known now
        client.post("/work/runs", data={"precision": "glance", "folder": ["0"]})
        until(client, "/api/v1/runs/1", "done")
        assert shown(client.get("/?max_strength=99&min_consistency=0").text) == ["redder"]
    with serving(tmp_path / "other.db", token="a-token-of-some-length") as guarded:
        headers = {"Authorization": "Bearer a-token-of-some-length"}
        assert "ComfyUI</strong>" not in guarded.get("/", headers=headers).text
        assert guarded.post("/setup", headers=headers).status_code == 409


def test_models_that_are_missing_are_named_before_a_run(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run once began, and failed."""
    assert "disabled" not in client.get("/work").text.partition('id="folders"')[2].partition("</form>")[0]
    monkeypatch.setattr("lorascope.server.readiness.is_here", lambda location: False)
    missing = [(one.location, one.size) for one in missing_models(Preset.load("sdxl-fast"))]
    assert missing[0] == ("stabilityai/stable-diffusion-xl-base-1.0", "about 14 GB")
    assert missing_models(Preset.load(str(Path(__file__).parent / "fake.toml"))) == []
    found = [MissingModel("owner/base", "about 14 GB")]
    monkeypatch.setattr("lorascope.server.pages.work.missing_models", lambda preset: found)
    text = client.get("/work").text
    assert "<code>owner/base</code>, about 14 GB" in text
    assert "lorascope serve --download" in text
    assert '<button class="main-action" disabled>' in text


def test_files_that_are_gone_are_not_counted_as_left_out(tmp_path: Path) -> None:
    for name in ("broken", "gone"):
        (tmp_path / "loras").mkdir(exist_ok=True)
        (tmp_path / "loras" / f"{name}.safetensors").write_text("<html>", "utf-8")
    tint(tmp_path / "loras" / "redder.safetensors", red=0.3)
    place = measured(tmp_path / "library.db", tmp_path / "loras", precision="glance")
    (tmp_path / "loras" / "gone.safetensors").unlink()
    with serving(place) as client:
        text = client.get("/work").text
        assert "1 file left out" in text
        assert "gone.safetensors" not in text
        assert "1 file that was left out before is not there any more" in text


def test_a_name_in_a_tag_keeps_its_own_direction(client: TestClient, keys: dict[str, str]) -> None:
    """Names written from right to left once took the rest of the tag with them."""
    for address in ("/?q=red", f"/adapters/{keys['odd']}"):
        text = client.get(address).text
        assert "&lt;lora:<bdi>odd</bdi>:0.8&gt;, " in text
        assert 'data-copy="&lt;lora:odd:0.8&gt;, ' in text


def test_a_file_that_is_not_here_has_no_tag(place: Path, tmp_path: Path) -> None:
    """The tag of an imported adapter once named a title that is no file."""
    shutil.copy(place, tmp_path / "imported.db")
    with sqlite3.connect(tmp_path / "imported.db") as db:
        db.execute("DELETE FROM files")
    db.close()
    with serving(tmp_path / "imported.db") as client:
        text = client.get("/").text
        assert text.count("not on this disk") == 4
        assert "data-tag" not in text
        key = client.get("/api/v1/adapters").json()["adapters"][0]["adapter"]["key"]
        text = client.get(f"/adapters/{key}").text
        assert "It is not on this disk" in text
        assert "data-tag" not in text


def test_a_tag_names_the_file_as_each_tool_does(tmp_path: Path) -> None:
    tint(tmp_path / "models" / "Lora" / "style" / "redder.safetensors", red=0.3)
    with serving(measured(tmp_path / "library.db", tmp_path / "models", precision="glance")) as client:
        assert 'data-tag="redder" data-file="style/redder" data-weight="1" data-triggers=""' in client.get("/").text


def test_a_folder_is_opened_by_a_person_at_this_machine_only(
    client: TestClient, place: Path, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[list[str]] = []
    monkeypatch.setattr("lorascope.server.file_manager.subprocess.Popen", lambda command, **_: opened.append(command))
    monkeypatch.setattr("lorascope.server.file_manager.shutil.which", lambda name: name)
    monkeypatch.setattr("lorascope.server.file_manager.sys.platform", "linux")
    address = f"/adapters/{keys['odd']}/folder"
    assert client.post(address).status_code == 204
    assert opened == [["xdg-open", str(place.parent / "loras")]]
    monkeypatch.setattr("lorascope.server.file_manager.shutil.which", lambda name: None)
    assert client.post(address).status_code == 409
    with serving(place, token="a-token-of-some-length") as other:
        headers = {"Authorization": "Bearer a-token-of-some-length"}
        assert other.post(address, headers=headers).status_code == 403
        assert "Show in folder" not in other.get(f"/adapters/{keys['odd']}", headers=headers).text
    assert len(opened) == 1


def test_the_advised_weight_is_shown_and_goes_into_the_tag(place: Path, keys: dict[str, str], tmp_path: Path) -> None:
    shutil.copy(place, tmp_path / "library.db")
    shutil.copy(place.with_suffix(".evidence.db"), tmp_path / "library.evidence.db")
    sure = [Estimate(value, value, value) for value in (1.0, 1.0, 0.9)]
    points = [
        CurvePoint(scale, 32, sure[0], sure[1], sure[0], Estimate(share, share, share), sure[2])
        for scale, share in ((0.2, 0.3), (0.6, 1.0), (1.0, 1.0))
    ]
    with Library(tmp_path / "library.db") as library:
        digest = library.protocols.find().protocol.digest
        library.curves.put(digest, keys["redder"], Curve(tuple(points)).to_json())
    with serving(tmp_path / "library.db") as client:
        text = client.get(f"/adapters/{keys['redder']}").text
        assert "is nearly as good" in text
        assert 'data-copy="&lt;lora:redder:0.6&gt;"' in text
        assert '<svg class="curve"' in text
        assert INLINE.findall(text) == []
        assert 'data-copy="&lt;lora:redder:0.6&gt;"' in client.get("/").text
        assert "lorascope weight" in client.get(f"/adapters/{keys['greender']}").text


def test_a_prompt_has_words(client: TestClient, keys: dict[str, str]) -> None:
    for prompt in ("", "  "):
        answer = client.post("/tries", data={"prompt": prompt, "a": keys["odd"]}, headers=HTMX)
        assert answer.status_code == 422
        assert "<p>Write a prompt.</p>" in answer.text
    assert 'maxlength="1000"' in client.get(f"/adapters/{keys['odd']}").text


def test_no_tick_is_no_folder_and_not_all(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(client.app.state.lorascope.work, "start", lambda *wish, files: asked.append(wish))  # type: ignore[attr-defined]
    client.post("/work/runs", data={"precision": "glance"})
    client.post("/work/runs", data={"precision": "glance", "folder": ["0"]})
    assert [tuple(map(list, wish[:1])) for wish in asked] == [([],), ([0],)]  # type: ignore[index]


def test_who_is_logged_in_can_log_out(client: TestClient, place: Path) -> None:
    assert "Log out" not in client.get("/").text
    with serving(place, token="a-token-of-some-length") as guarded:
        assert "Log out" not in guarded.get("/login").text
        guarded.post("/login", data={"token": "a-token-of-some-length"})
        assert '<form action="/logout" method="post">' in guarded.get("/").text


def test_every_kind_of_picture_that_is_read_can_be_chosen(client: TestClient) -> None:
    kinds = "image/png,image/jpeg,image/webp,image/gif,image/bmp,image/avif"
    assert f'accept="{kinds}"' in client.get("/").text


def test_links_stay_under_the_protocol_of_the_address(tmp_path: Path) -> None:
    """With two Protocols in a library, a hit under the one once led to the page under the other."""
    tint(tmp_path / "loras" / "redder.safetensors", red=0.3)
    tint(tmp_path / "loras" / "bluer.safetensors", blue=0.3)
    place = measured(tmp_path / "library.db", tmp_path / "loras", precision="glance")
    preset = tmp_path / "half.toml"
    preset.write_text(f"{small_world(tmp_path).read_text('utf-8')}scale = 0.5\n", "utf-8")
    with Library(place) as library:
        older = library.protocols.find().protocol.digest
        index([tmp_path / "loras"], load_worker(Preset.load(preset)), library, precision="glance")
        assert library.protocols.find().protocol.digest != older
        one, other = library.adapters.all()
    with serving(place) as client:
        for address in ("/?q=red", "/map/table?sort=name", f"/compare?a={one}&a={other}", f"/adapters/{quote(one)}?"):
            found = {}
            for protocol in ("", f"protocol={older}"):
                text = client.get(f"{address}&{protocol}").text
                found[protocol] = re.findall(r'href="/adapters/[^"?/]*\??([^"]*)"', text)
            assert set(found[""]) == {""}, address
            assert set(found[f"protocol={older}"]) == {f"protocol={older}"}, address
        for path in ("/", "/map", "/work", "/housekeeping"):
            text = client.get(f"{path}?protocol={older}").text
            links = re.findall(r'href="(/(?:|map|work))\?(?:favourite=1&amp;)?([^"]*)"', text.partition("</nav>")[0])
            assert links == [(to, f"protocol={older}") for to in ("/", "/", "/map", "/work", "/")], path
        page = client.get(f"/?q=red&protocol={older}").text
        (tried,) = set(re.findall(r'hx-post="(/tries[^"]*)"', page))
        sent = client.post(tried, data={"prompt": "a fox", "a": [one]}).headers["location"]
        until(client, f"/api/v1{sent.partition('?')[0]}", "done")
        assert re.findall(r'href="/adapters/[^"?/]*\??([^"]*)"', client.get(sent).text) == [f"protocol={older}"]


def test_every_page_of_an_empty_library_says_what_to_do(tmp_path: Path) -> None:
    tint(tmp_path / "loras" / "redder.safetensors", red=0.3)
    with serving(tmp_path / "library.db", tmp_path / "loras") as client:
        for address in ("/", "/?favourite=1", "/map", "/map/table", "/compare?a=x:1&a=x:2"):
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert "1 file waits to be measured" in answer.text, address


@pytest.mark.parametrize("threshold", ["max_strength", "min_consistency"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_threshold_that_is_no_finite_number_is_told(client: TestClient, threshold: str, value: str) -> None:
    answer = client.get(f"/?{threshold}={value}")
    assert answer.status_code == 422
    assert f"{threshold}: input should be a finite number" in answer.text


def test_adapters_that_were_measured_elsewhere_have_no_pictures(place: Path, tmp_path: Path) -> None:
    shutil.copy(place, tmp_path / "bare.db")
    with sqlite3.connect(tmp_path / "bare.db") as db:
        db.execute("DELETE FROM previews")
    db.close()
    with serving(tmp_path / "bare.db") as client:
        assert "No pictures: measured elsewhere." in client.get("/?q=red").text


def test_the_address_of_a_search_says_it_all() -> None:
    address = Address(q="a b", more=("x:1",), max_strength=3.0, family="sdxl", hidden=True, page=3)
    assert address.url() == "/?q=a+b&more=x%3A1&family=sdxl&max_strength=3.0&hidden=1"
    assert address.url(page=4).endswith("&page=4")
    assert Address().url() == "/"
    moved = address.less_like("x:1")
    assert "less=x%3A1" in moved
    assert "more=" not in moved
    assert Address(min_consistency=0.0).request().min_consistency == float("-inf")
    assert (Address(page=2).request().offset, Address(page=2).request().limit) == (48, 48)


def test_an_example_has_a_weight_that_the_address_holds() -> None:
    address = Address(more=("sha256:ab", "civitai:5@6:2"), less=("sha256:cd:0.5",))
    assert address.examples == (
        ("more", Example("sha256:ab")), ("more", Example("civitai:5@6", 2.0)), ("less", Example("sha256:cd", 0.5)),
    )  # fmt: skip
    assert address.heavier(Example("sha256:cd", 0.5)) == address.url(less=("sha256:cd",))
    assert address.lighter(Example("civitai:5@6", 2.0)) == address.url(more=("sha256:ab", "civitai:5@6"))
    assert address.heavier(Example("sha256:ab", 3.0)) == address.url(more=("sha256:ab:4", "civitai:5@6:2"))
    assert address.heavier(Example("sha256:ab", 4.0)) == address.lighter(Example("sha256:ab", 0.25)) == ""
    assert address.forget("sha256:cd") == address.url(less=())
    assert address.more_like("civitai:5@6") == address.url()  # it keeps its weight


def test_the_cell_that_tells_hits_apart_is_chosen(place: Path, keys: dict[str, str]) -> None:
    with Library(place) as library:
        stored = library.protocols.find()
        found = Cells.of(library, stored, keys.values())
        blocks = {key: library.evidence.blocks(key, stored.protocol.digest, end=1)[0] for key in keys.values()}
        vector = np.zeros(16, np.float32)
        vector[0] = 1.0
        chosen = telling_cell(library, list(keys.values()), vector, found)
        spread = np.stack([block.effects[:12, 0] for block in blocks.values()]).std(axis=0)
        assert chosen == int(spread.argmax())
        assert telling_cell(library, list(keys.values()), None, found) == 0


def test_a_gauge_holds_the_figure_its_intervals_and_the_threshold() -> None:
    gauge = Gauge.of(5.0, Estimate(5.0, 4.0, 6.0), Estimate(5.0, 3.0, 7.0), 9.5, float("inf"))
    assert (gauge.at, gauge.end) == (WIDTH / 2, "10")
    assert gauge.grid == (160.0, 80.0)
    assert gauge.new == (120.0, 160.0)
    assert gauge.mark == 380.0
    assert Gauge.of(0.99, None, None, float("-inf"), 1.0).end == "1"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5.0, "less than a minute"), (61.0, "about 1 minute"), (3540.0, "about 59 minutes"), (7300.0, "about 2 hours"),
     (2.2 * 86400, "about 2 days")],
)  # fmt: skip
def test_the_time_left_is_told_as_people_do(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_everything_that_is_vendored_is_listed_with_its_licence() -> None:
    vendor = HERE / "static" / "vendor"
    listed = vendor.joinpath("LICENCES.txt").read_text("utf-8")
    for file in vendor.glob("*.js"):
        assert f"{file.name}: " in listed
    assets = Path(__file__).parents[1] / "assets"
    lock = json.loads(assets.joinpath("package-lock.json").read_text("utf-8"))
    assert all("resolved" not in package for package in lock["packages"].values())
    for name, version in json.loads(assets.joinpath("package.json").read_text("utf-8"))["devDependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    assert f"htmx.org {lock['packages']['node_modules/htmx.org']['version']}" in listed
