"""Runs and tries through the server: started, told, paused, resumed; and what stays when its processes are killed."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from fakes import three, tint
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import save_file
from serving import HERE, measured, serving, small_world, start_thread, until

import lorascope
from lorascope.adapters import sha256
from lorascope.generators.fake import FakeGenerator
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.library.leases import this_process
from lorascope.measure import StopRun, index, load_worker
from lorascope.measure.local import LocalWorker
from lorascope.protocol import Preset
from lorascope.server import ServerSettings, create_app
from lorascope.server.folders import Folders
from lorascope.server.jobs import JobProgress
from lorascope.server.problems import Problem
from lorascope.server.runs import RunStatus

RUNS, TRIES = "/api/v1/runs", "/api/v1/tries"
THREE = ("redder", "greender", "blueder")
ENDS = ("done", "paused", "cancelled", "failed", "interrupted")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return three(tmp_path / "loras")


@pytest.fixture
def client(tmp_path: Path, folder: Path) -> Iterator[TestClient]:
    """A server over an empty library."""
    with serving(tmp_path / "library.db", folder) as found:
        yield found


def slowly(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.02) -> None:
    """Let each batch take a moment, so that a run can be met under way."""
    render = FakeGenerator.render

    def slow(self: FakeGenerator, *cells: Any) -> Any:
        time.sleep(seconds)
        return render(self, *cells)

    monkeypatch.setattr(FakeGenerator, "render", slow)


def start(client: TestClient, **asked: Any) -> int:
    answer = client.post(RUNS, json=asked)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def code(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["code"]


# --- runs -------------------------------------------------------------------------------------------------------


def test_a_run_measures_and_is_searchable_at_once(client: TestClient, folder: Path) -> None:
    (folder / "broken.safetensors").write_text("<html>")
    run = until(client, f"{RUNS}/{start(client, precision='glance')}", *ENDS)
    assert (run["state"], run["measured"], run["refused"]) == ("done", 3, 1)
    assert run["folders"] == [str(folder)]
    assert client.get("/api/v1/search", params={"q": "red"}).json()["hits"][0]["adapter"]["name"] == "redder"
    assert client.get("/api/v1/folders").json()[0]["new"] == 0
    assert code(client.post(f"{RUNS}/{run['id']}/resume"), 409) == "not-resumable"
    assert code(client.post(f"{RUNS}/{run['id']}/pause"), 409) == "not-running"


def test_a_run_is_told_as_it_goes(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch)
    number = start(client, precision="full")
    run = until(client, f"{RUNS}/{number}", "running")
    while run["stage"] != "refining" or not run["seconds_left"]:
        run = client.get(f"{RUNS}/{number}").json()
    assert 0 < run["cells"] < run["total"]
    assert run["adapter"] in ("redder", "greender", "blueder")
    assert run["measured"] == 3  # the first look has come by all of them
    assert "3 LoRAs with pictures of this run" in client.get("/work/progress").text
    assert client.get("/api/v1/health").json()["work"] == "running"
    assert until(client, f"{RUNS}/{number}", *ENDS)["state"] == "done"


def test_the_time_left_is_that_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    run = RunStatus(1, ("/loras",), "full", partial=False)
    run.follow(JobProgress(1, "first look", "", 0, 160, later=1840, refused=0, measured=0))
    clock[0] += 60
    run.follow(JobProgress(1, "first look", "red", 16, 160, later=1840, refused=0, measured=1))
    assert run.seconds_left is None  # nothing is known about its pace: its first block has the bare pictures, too
    clock[0] += 8
    run.follow(JobProgress(1, "first look", "green", 32, 160, later=1840, refused=0, measured=2))
    assert run.seconds_left == 0.5 * (128 + 1840)
    run.follow(JobProgress(1, "refining", "", 0, 1840, later=0, refused=0, measured=10))
    assert run.seconds_left is None  # another stage has another pace
    for block in range(1, 109):
        clock[0] += 8 if block < 10 else 4
        run.follow(JobProgress(1, "refining", "red", 16 * block, 1840, later=0, refused=0, measured=10))
    assert run.seconds_left == 0.25 * (1840 - 108 * 16)  # by the last hundred blocks


def test_a_paused_run_goes_on_and_gives_the_same_bits(
    client: TestClient, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(monkeypatch)
    number = start(client, precision="full")
    until(client, f"{RUNS}/{number}", "running")
    assert client.post(f"{RUNS}/{number}/pause").json()["state"] == "pausing"
    run = until(client, f"{RUNS}/{number}", *ENDS)
    assert (run["state"], run["resumable"]) == ("paused", True)
    assert client.post(f"{RUNS}/{number}/resume").json()["state"] in ("waiting", "loading")
    assert until(client, f"{RUNS}/{number}", *ENDS)["state"] == "done"
    monkeypatch.undo()
    undisturbed = measured(tmp_path / "other" / "library.db", folder, precision="full")
    assert directions(tmp_path / "library.db") == directions(undisturbed)


def directions(place: Path) -> dict[str, tuple[bytes, int]]:
    with Library(place) as library:
        digest = library.protocols.find().protocol.digest
        found = library.signatures.get(digest, library.adapters.all())
        return {key: (one.signature.direction.tobytes(), one.signature.cells) for key, one in found.items()}


def test_a_cancelled_run_keeps_what_it_measured(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch)
    number = start(client, precision="full")
    run = until(client, f"{RUNS}/{number}", "running")
    while run["stage"] != "refining":
        run = client.get(f"{RUNS}/{number}").json()
    client.post(f"{RUNS}/{number}/cancel")
    assert until(client, f"{RUNS}/{number}", *ENDS)["state"] == "cancelled"
    assert client.get("/api/v1/health").json()["adapters"] == 3


def test_runs_wait_for_each_other_and_the_queue_is_bounded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch, 0.1)
    first, *others = [start(client, precision="glance") for _ in range(9)]
    assert client.get(f"{RUNS}/{others[-1]}").json()["state"] == "waiting"
    answer = client.post(RUNS, json={"precision": "glance"})
    assert code(answer, 429) == "queue-full"
    for number in others:
        assert client.post(f"{RUNS}/{number}/cancel").json()["state"] == "cancelled"
    client.post(f"{RUNS}/{first}/cancel")
    until(client, f"{RUNS}/{first}", *ENDS)


def test_a_run_that_cannot_begin_says_why(tmp_path: Path, client: TestClient) -> None:
    (tmp_path / "index.toml").unlink()
    run = until(client, f"{RUNS}/{start(client)}", *ENDS)
    assert run["state"] == "failed"
    assert run["error"]["code"] == "prompt-set-error"
    assert "cannot read the prompt set" in run["error"]["message"]
    assert client.get("/api/v1/health").json()["work"] == "idle"


def test_runs_of_the_command_line_are_told_too(tmp_path: Path, folder: Path) -> None:
    place = measured(tmp_path / "library.db", folder, precision="glance")
    with Library(place) as library:
        library.runs.start({"paths": ["/elsewhere"], "precision": "full", "owner": this_process()})
        library.runs.start({"paths": ["/elsewhere"], "precision": "full", "owner": "gone"})
        library.runs.start({"paths": [str(folder)], "precision": "glance", "owner": ""})
    with serving(place, folder) as client:
        assert [run["state"] for run in client.get(RUNS).json()] == ["interrupted", "elsewhere", "elsewhere", "done"]
        assert code(client.post(f"{RUNS}/2/resume"), 409) == "not-resumable"
        assert client.post(f"{RUNS}/4/resume").status_code == 202
        assert until(client, f"{RUNS}/4", *ENDS)["state"] == "done"


def test_only_folders_named_at_start_are_looked_into(tmp_path: Path, folder: Path) -> None:
    """A run of the command line may have looked elsewhere; a link that leads out of a folder does not lead in."""
    place = measured(tmp_path / "library.db", folder, precision="glance")
    (folder / "out").symlink_to(tmp_path)
    with Library(place) as library:
        for path in (tmp_path / "other", folder / ".." / "other", folder / "out"):
            library.runs.start({"paths": [str(path)], "precision": "full", "owner": ""})
    with serving(place, folder) as client:
        for number in (2, 3, 4):
            answer = client.post(f"{RUNS}/{number}/resume")
            assert code(answer, 409) == "folder-not-named"
    with serving(place) as client:
        assert code(client.post(RUNS, json={}), 409) == "no-folders"


def test_links_out_of_the_named_folders_are_neither_counted_nor_indexed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "loras", tmp_path / "outside"
    three(folder)
    three(outside)
    tint(outside / "strange.safetensors", red=0.3)
    (folder / "file.safetensors").symlink_to(outside / "strange.safetensors")
    (folder / "below").symlink_to(outside)
    with serving(tmp_path / "library.db", folder) as client:
        (counts,) = client.get("/api/v1/folders").json()
        assert (counts["files"], counts["new"]) == (3, 3)
        until(client, f"{RUNS}/{start(client, precision='glance')}", "done")
        assert {Path(path).name for path in paths_of(client)} == {f"{name}.safetensors" for name in THREE}


def paths_of(client: TestClient) -> list[str]:
    rows = client.get("/api/v1/adapters").json()["adapters"]
    return [path for row in rows for path in row["adapter"]["paths"]]


def test_a_run_over_no_folder_is_none(client: TestClient) -> None:
    """It once was queued, loaded the models, and stayed in the list."""
    assert code(client.post(RUNS, json={"folders": []}), 422) == "bad-value"
    with pytest.raises(Problem, match="no folder is chosen") as caught:
        client.app.state.lorascope.work.start([], "glance")  # type: ignore[attr-defined]
    assert (caught.value.status, caught.value.field) == (422, "folders")
    assert client.get(RUNS).json() == []


def listened(client: TestClient, last: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, id and data of the events until the listeners are closed."""
    fields: dict[str, str] = {}
    with client.stream("GET", "/api/v1/events", headers={"Last-Event-ID": last}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if name == "data":
                yield fields["event"], fields.pop("id", ""), json.loads(value)


def test_work_changes_and_what_was_measured_are_sent_as_they_come(client: TestClient) -> None:
    work = client.app.state.lorascope.work  # type: ignore[attr-defined]
    seen: dict[str, list[Any]] = {"work": [], "changed": [], "measured": []}
    numbers: list[str] = []
    for name, number, data in listened(client):
        seen[name].append(data)
        numbers += [number] if number else []
        if len(seen["changed"]) == 1 and len(seen["work"]) == 1 and name == "changed":
            work.start(None, "glance")
        if {row["name"] for row in seen["measured"]} == set(THREE):
            work.listeners.close()
    assert seen["work"][0] == {"state": "idle", "run": None, "waiting": [], "tries": 0, "last": None}
    revisions = [row["revision"] for row in seen["changed"]]
    assert revisions == sorted(set(revisions))
    assert {row["precision"] for row in seen["measured"]} == {"glance"}
    assert numbers == sorted(numbers, key=float)


def test_events_that_were_missed_are_sent_when_a_listener_comes_back(client: TestClient) -> None:
    until(client, f"{RUNS}/{start(client, precision='glance')}", *ENDS)
    work = client.app.state.lorascope.work  # type: ignore[attr-defined]
    found: list[str] = []
    for name, _, data in listened(client, last="0"):
        found += [data["name"]] if name == "measured" else []
        if len(found) == 3:
            work.listeners.close()
    assert sorted(found) == sorted(THREE)


def test_one_file_of_a_folder_is_measured_alone(client: TestClient, folder: Path, tmp_path: Path) -> None:
    outside = tint(tmp_path / "outside.safetensors", red=0.1)
    assert code(client.post(RUNS, json={"files": [str(outside)]}), 404) == "unknown-file"
    path = str(folder / "redder.safetensors")
    run = until(client, f"{RUNS}/{start(client, files=[path], precision='glance')}", *ENDS)
    assert (run["state"], run["folders"], run["measured"]) == ("done", [path], 1)
    key = client.get("/api/v1/adapters").json()["adapters"][0]["adapter"]["key"]
    assert f'name="file" value="{path}"' in client.get(f"/adapters/{key}").text
    assert client.post("/work/runs", data={"file": path, "precision": "quick"}).headers["location"] == "/work"
    assert until(client, f"{RUNS}/2", *ENDS)["precision"] == "quick"
    assert client.post(f"/api/v1/adapters/{key}/remove").status_code == 204
    assert code(client.post(f"/api/v1/adapters/{key}/remove"), 404) == "unknown-adapter"
    assert Path(path).exists()
    assert client.get("/api/v1/health").json()["adapters"] == 0


def test_a_watcher_ends_a_run_between_two_blocks(tmp_path: Path, folder: Path) -> None:
    """It once became a file that was left out for an unexpected reason."""
    blocks: list[str] = []

    def watch(event: Any) -> None:
        if event.kind == "block":
            blocks.append(event.text)
            if len(blocks) == 3:
                raise StopRun

    with Library(tmp_path / "library.db", create=True) as library:
        outcome = index([folder], load_worker(Preset.load(small_world(tmp_path))), library, watch=watch)
        assert not outcome.finished
        assert outcome.refused == []
        assert len(blocks) == 3
        assert library.runs.all()[0]["outcome"]["finished"] is False


def test_a_file_counts_as_known_once_it_is_measured_and_until_it_is_replaced(tmp_path: Path, folder: Path) -> None:
    """Files are recorded before they are measured."""
    place = measured(tmp_path / "library.db", folder, precision="glance")

    def counts() -> tuple[int, int]:
        with Library(place) as library:
            (row,) = Folders([folder]).count(library)
        return row["known"], row["new"]

    assert counts() == (3, 0)
    tint(folder / "redder.safetensors", red=0.1)
    assert counts() == (2, 1)
    with sqlite3.connect(place) as db:
        db.execute("DELETE FROM signatures WHERE adapter = (SELECT id FROM adapters WHERE name = 'blueder')")
    db.close()
    assert counts() == (1, 2)


# --- tries ------------------------------------------------------------------------------------------------------


@pytest.fixture
def glanced(tmp_path: Path, folder: Path) -> Iterator[TestClient]:
    """A server over a library of three adapters."""
    with serving(measured(tmp_path / "library.db", folder, precision="glance"), folder) as found:
        yield found


def keys(client: TestClient) -> dict[str, str]:
    rows = client.get("/api/v1/adapters").json()["adapters"]
    return {row["adapter"]["name"]: row["adapter"]["key"] for row in rows}


def mean(data: bytes) -> list[float]:
    """The mean colour of a picture."""
    return [float(value) for value in np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).mean((0, 1))]


def test_a_prompt_is_tried_without_and_with(glanced: TestClient) -> None:
    known = keys(glanced)
    asked = {"prompt": "a  fox\n in snow", "adapters": [known["redder"], known["blueder"]], "seeds": 3}
    answer = glanced.post(TRIES, json=asked)
    assert answer.status_code == 202
    done = until(glanced, f"{TRIES}/{answer.json()['id']}", "done", "failed")
    assert done["prompt"] == "a fox in snow"
    assert done["seeds"] == [1, 2, 3]
    assert [column["name"] for column in done["columns"]] == ["without", "redder", "blueder"]
    assert [len(column["images"]) for column in done["columns"]] == [3, 3, 3]
    bare, red, blue = (mean(glanced.get(column["images"][0]).content) for column in done["columns"])
    assert red[0] > bare[0] + 10
    assert blue[2] > bare[2] + 10
    assert glanced.get(done["columns"][0]["images"][0]).headers["content-type"] == "image/webp"
    assert code(glanced.get(f"{TRIES}/{done['id']}/images/3"), 404) == "unknown-picture"


def tried(client: TestClient, **asked: Any) -> Any:
    answer = client.post(TRIES, json={"prompt": "a fox", "seeds": 1, **asked})
    assert answer.status_code == 202, answer.text
    return until(client, f"{TRIES}/{answer.json()['id']}", "done", "failed")


def shown(client: TestClient, column: Any) -> Image.Image:
    """The first picture of a column."""
    return Image.open(io.BytesIO(client.get(column["images"][0]).content))


def test_adapters_are_tried_together_each_at_its_weight(glanced: TestClient) -> None:
    known = keys(glanced)
    chosen = [known["redder"], known["blueder"]]
    done = tried(glanced, adapters=chosen, together=True, weights=[0.5, None], weight=1.25)
    bare, both = done["columns"]
    assert (both["key"], both["name"], both["weight"]) == ("", "redder + blueder", None)
    assert [(one["key"], one["weight"]) for one in both["adapters"]] == [(chosen[0], 0.5), (chosen[1], 1.25)]
    alone = tried(glanced, adapters=chosen, weights=[0.5, 1.25])["columns"]
    assert [column["weight"] for column in alone] == [None, 0.5, 1.25]
    strip = tried(glanced, adapters=chosen, together=True, several=True, weights=[None, 0.5])["columns"][1:]
    assert [[one["weight"] for one in column["adapters"]] for column in strip] == [
        [w, 0.5] for w in (0.4, 0.7, 1.0, 1.3)
    ]
    red, green, blue = np.subtract(*(mean(glanced.get(column["images"][0]).content) for column in (both, bare)))
    assert blue > 2 * red > 20
    assert abs(green) < red / 2
    for wrong in ({"prompt": " "}, {"weights": [1, 1, 1]}):
        refused = glanced.post(TRIES, json={"prompt": "a fox", "adapters": chosen} | wrong)
        assert (refused.status_code, refused.json()["error"]["field"]) == (422, next(iter(wrong)))


def test_a_try_has_the_size_that_is_asked_for_and_measuring_keeps_its_own(glanced: TestClient) -> None:
    done = tried(glanced, adapters=[keys(glanced)["redder"]], width=128, height=64)
    assert (done["width"], done["height"]) == (128, 64)
    assert {shown(glanced, column).size for column in done["columns"]} == {(128, 64)}
    taller = tried(glanced, adapters=[keys(glanced)["redder"]], height=72)
    assert shown(glanced, taller["columns"][1]).size == (8, 72)
    assert until(glanced, f"{RUNS}/{start(glanced, precision='quick')}", *ENDS)["state"] == "done"
    assert shown(glanced, tried(glanced, adapters=[keys(glanced)["redder"]])["columns"][0]).size == (8, 8)


def test_a_negative_prompt_acts_where_there_is_guidance(tmp_path: Path, folder: Path) -> None:
    place = measured(tmp_path / "library.db", folder, precision="glance")
    preset = tmp_path / "guided.toml"
    preset.write_text(small_world(tmp_path).read_text("utf-8").replace("guidance = 1.0", "guidance = 5.0"), "utf-8")
    with serving(place, folder) as client:
        asked = {"prompt": "a fox", "adapters": [keys(client)["redder"]], "negative_prompt": "blurry"}
        refused = client.post(TRIES, json=asked)
        assert code(refused, 422) == "bad-value"
        assert (
            refused.json()["error"]["message"] == "negative_prompt is 'blurry', which does nothing at a guidance of 1"
        )
        assert "leave it out" in refused.json()["error"]["remedy"]
    app = create_app(ServerSettings(library=place, folders=(folder,), preset=str(preset)), start=start_thread)
    with TestClient(app, base_url=HERE) as client:
        plain = tried(client, adapters=[keys(client)["redder"]])
        guided = tried(client, adapters=[keys(client)["redder"]], negative_prompt="blurry")
        pictures = [client.get(done["columns"][1]["images"][0]).content for done in (plain, guided)]
    assert (plain["negative_prompt"], guided["negative_prompt"]) == (None, "blurry")
    assert pictures[0] != pictures[1]


def test_together_names_the_one_that_cannot_be_applied(glanced: TestClient, folder: Path) -> None:
    known = keys(glanced)
    (folder / "redder.safetensors").unlink()
    bare, both = tried(glanced, adapters=[known["blueder"], known["redder"]], together=True)["columns"]
    assert (len(bare["images"]), both["images"]) == (1, [])
    assert "redder.safetensors" in both["error"]["message"]
    assert both["error"]["remedy"]


def test_an_adapter_of_another_base_says_so_and_what_to_do(tmp_path: Path, folder: Path) -> None:
    place = measured(tmp_path / "library.db", folder, precision="glance")
    module = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    path = folder / "other.safetensors"
    save_file({f"{module}.lora_down.weight": torch.ones(4, 640), f"{module}.lora_up.weight": torch.ones(640, 4)}, path)
    key = f"sha256:{sha256(path)}"
    with Library(place) as library:
        library.adapters.add([StoredAdapter(key, "other", "sdxl", (str(path),), AdapterFacts())], {})
    with serving(place, folder) as client:
        known = keys(client)["redder"]
        for together in (False, True):
            *_, column = tried(client, adapters=[known, key], together=together)["columns"]
            assert (column["images"], column["error"]["code"]) == ([], "wrong-base"), column
            assert "none of its 1 modules is part of it" in column["error"]["message"]
            assert column["error"]["message"].startswith("other.safetensors: ") == together
            assert column["error"]["remedy"]


def test_an_adapter_that_is_gone_or_changed_says_so_and_the_others_are_tried(glanced: TestClient, folder: Path) -> None:
    known = keys(glanced)
    (folder / "redder.safetensors").unlink()
    tint(folder / "greender.safetensors", green=0.1)
    answer = glanced.post(
        TRIES, json={"prompt": "a fox", "adapters": [known[f"{c}der"] for c in ("red", "green", "blue")]}
    )
    done = until(glanced, f"{TRIES}/{answer.json()['id']}", "done", "failed")
    _, red, green, blue = done["columns"]
    assert red["error"]["code"] == "unreadable"
    assert f"its file is gone (it was at {folder / 'redder.safetensors'})" in red["error"]["message"]
    assert green["error"]["code"] == "changed"
    assert "no longer the file that was measured" in green["error"]["message"]
    assert (len(blue["images"]), done["state"]) == (2, "done")


def test_a_duplicate_is_tried_where_one_of_its_files_is_still_the_same(tmp_path: Path, folder: Path) -> None:
    copy = folder / "copies" / "redder.safetensors"
    copy.parent.mkdir()
    copy.write_bytes((folder / "redder.safetensors").read_bytes())
    place = measured(tmp_path / "library.db", folder, precision="glance")
    with Library(place) as library:
        ((key, adapter),) = [one for one in library.adapters.all().items() if len(one[1].paths) == 2]
    tint(Path(adapter.paths[0]), green=0.1)
    with serving(place, folder) as client:
        answer = client.post(TRIES, json={"prompt": "a fox", "adapters": [key]})
        done = until(client, f"{TRIES}/{answer.json()['id']}", "done", "failed")
    assert [column["error"] for column in done["columns"]] == [None, None]


def test_a_try_reads_no_link_out_of_the_named_folders(glanced: TestClient, tmp_path: Path, folder: Path) -> None:
    """The file is the measured one, but not where the user said that the server may read."""
    file = folder / "redder.safetensors"
    file.rename(tmp_path / "elsewhere.safetensors")
    file.symlink_to(tmp_path / "elsewhere.safetensors")
    known = keys(glanced)
    asked = {"prompt": "a fox", "adapters": [known["redder"], known["blueder"]]}
    answer = glanced.post(TRIES, json=asked)
    _, red, blue = until(glanced, f"{TRIES}/{answer.json()['id']}", "done", "failed")["columns"]
    assert f"{file} links to a place outside the folders named at start" in red["error"]["message"]
    assert (red["images"], len(blue["images"])) == ([], 2)


def test_a_try_goes_ahead_of_a_run(glanced: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch)
    number = start(glanced, precision="full")
    until(glanced, f"{RUNS}/{number}", "running")
    answer = glanced.post(TRIES, json={"prompt": "a fox", "adapters": [keys(glanced)["redder"]]})
    done = until(glanced, f"{TRIES}/{answer.json()['id']}", "done", "failed")
    assert done["state"] == "done"
    assert glanced.get(f"{RUNS}/{number}").json()["state"] == "running"
    assert until(glanced, f"{RUNS}/{number}", *ENDS)["state"] == "done"


def test_a_try_that_fails_says_why_and_the_run_goes_on(glanced: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was once told as the fault of the adapter that was being measured, and waited for ever."""
    slowly(monkeypatch)
    known = keys(glanced)

    def no_kernel(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(LocalWorker, "images", no_kernel)
    number = start(glanced, precision="full")
    until(glanced, f"{RUNS}/{number}", "running")
    answer = glanced.post(TRIES, json={"prompt": "a fox", "adapters": [known["redder"]]})
    failed = until(glanced, f"{TRIES}/{answer.json()['id']}", "done", "failed")
    assert failed["state"] == "failed"
    assert failed["error"]["message"] == "it could not be rendered (RuntimeError: no kernel image)"
    run = until(glanced, f"{RUNS}/{number}", *ENDS)
    assert (run["state"], run["measured"], run["refused"]) == ("done", 3, 0)


def test_one_column_that_fails_leaves_the_others(glanced: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    known = keys(glanced)
    images = LocalWorker.images

    def only_bare(worker: LocalWorker, *cells: Any, delta: Any = None, **how: Any) -> Any:
        if delta is not None:
            raise RuntimeError("no kernel image")
        return images(worker, *cells)

    monkeypatch.setattr(LocalWorker, "images", only_bare)
    answer = glanced.post(TRIES, json={"prompt": "a fox", "adapters": [known["redder"]]})
    done = until(glanced, f"{TRIES}/{answer.json()['id']}", "done", "failed")
    bare, red = done["columns"]
    assert (done["state"], len(bare["images"]), red["error"]["code"]) == ("done", 2, "try-failed")


def test_tries_that_wait_are_bounded(glanced: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch, 0.2)
    asked = {"prompt": "a fox", "adapters": [keys(glanced)["redder"]], "seeds": 1}
    answers = [glanced.post(TRIES, json=asked) for _ in range(9)]
    assert [answer.status_code for answer in answers] == [202] * 8 + [429]


def test_pictures_of_tries_do_not_fill_the_memory(glanced: TestClient) -> None:
    asked = {"prompt": "a fox", "adapters": [keys(glanced)["redder"]], "seeds": 1}
    first = glanced.post(TRIES, json=asked).json()["id"]
    for _ in range(33):
        last = glanced.post(TRIES, json=asked).json()["id"]
        until(glanced, f"{TRIES}/{last}", "done")
    assert code(glanced.get(f"{TRIES}/{first}"), 404) == "unknown-try"


# --- processes that are killed ----------------------------------------------------------------------------------


FAKE = Path(__file__).parent / "fake.toml"
"""The whole fake world: a full run over it takes long enough to be killed."""
PATH = {"PYTHONPATH": str(Path(lorascope.__file__).parents[1])}
SERVER = """
import multiprocessing, sys, time
from pathlib import Path
from fastapi.testclient import TestClient
from lorascope.server import ServerSettings, create_app

if __name__ == "__main__":
    library, folder, preset = map(Path, sys.argv[1:])
    app = create_app(ServerSettings(library=library, folders=(folder,), preset=str(preset)))
    with TestClient(app, base_url="http://localhost") as client:
        number = client.post("/api/v1/runs", json={"precision": "full"}).json()["id"]
        while not client.get(f"/api/v1/runs/{number}").json()["cells"]:
            time.sleep(0.01)
        print(multiprocessing.active_children()[0].pid, flush=True)
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, int]]:
    """What a full run gives that nobody kills."""
    place = tmp_path_factory.mktemp("undisturbed")
    with Library(place / "library.db", create=True) as library:
        index([three(place / "loras")], load_worker(Preset.load(FAKE)), library, precision="full")
    return directions(place / "library.db")


def finish(place: Path, folder: Path, number: int) -> dict[str, tuple[bytes, int]]:
    """Resume a run on a new server; what the library holds at its end."""
    settings = ServerSettings(library=place, folders=(folder,), preset=str(FAKE))
    with TestClient(create_app(settings, start=start_thread), base_url=HERE) as client:
        run = client.get(f"{RUNS}/{number}").json()
        assert (run["state"], run["resumable"]) == ("interrupted", True)
        assert client.post(f"{RUNS}/{number}/resume").status_code == 202
        assert until(client, f"{RUNS}/{number}", *ENDS)["state"] == "done"
    return directions(place)


def test_a_killed_worker_is_told_and_nothing_is_lost(
    tmp_path: Path, folder: Path, undisturbed: dict[str, tuple[bytes, int]]
) -> None:
    settings = ServerSettings(library=tmp_path / "library.db", folders=(folder,), preset=str(FAKE))
    with TestClient(create_app(settings), base_url=HERE) as client:
        number = start(client, precision="full")
        while not client.get(f"{RUNS}/{number}").json()["cells"]:
            time.sleep(0.01)
        (worker,) = [child for child in multiprocessing.active_children() if child.name == "lorascope-worker"]
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        run = until(client, f"{RUNS}/{number}", *ENDS)
        assert run["state"] == "interrupted"
        assert run["error"]["code"] == "worker-died"
        assert "resume the run" in run["error"]["remedy"]
        assert client.app.state.lorascope.work.snapshot()["last"]["code"] == "worker-died"  # type: ignore[attr-defined]
    assert finish(tmp_path / "library.db", folder, number) == undisturbed


def test_a_killed_server_leaves_a_run_that_can_be_resumed(
    tmp_path: Path, folder: Path, undisturbed: dict[str, tuple[bytes, int]]
) -> None:
    place = tmp_path / "library.db"
    script = tmp_path / "server.py"
    script.write_text(SERVER, "utf-8")
    command = [sys.executable, str(script), str(place), str(folder), str(FAKE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | PATH) as server:
        assert server.stdout is not None
        worker = int(server.stdout.readline())
        server.kill()
    end = time.monotonic() + 20
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the worker outlived its server"
        time.sleep(0.05)
    assert finish(place, folder, 1) == undisturbed


def test_a_server_that_stops_lets_the_run_end_its_block(tmp_path: Path, folder: Path) -> None:
    with serving(tmp_path / "library.db", folder) as client:
        number = start(client, precision="full")
        until(client, f"{RUNS}/{number}", "running")
    with serving(tmp_path / "library.db", folder) as client:
        run = client.get(f"{RUNS}/{number}").json()
        assert run["state"] in ("paused", "done")
        if run["state"] == "paused":
            client.post(f"{RUNS}/{number}/resume")
            assert until(client, f"{RUNS}/{number}", *ENDS)["state"] == "done"
