"""What is written beside adapters: what others wrote stays, in its own form, and everything can be put back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import three
from hypothesis import given, settings
from hypothesis import strategies as st
from test_weight import call, call_unchecked

from lorascope.adapters.sidecar import sidecar_claims
from lorascope.errors import UsageError
from lorascope.library import Library
from lorascope.measure import Worker, index
from lorascope.sidecars import FORMATS, AdapterNotes, Annotations
from lorascope.sidecars.annotation import undo
from lorascope.sidecars.json_text import JsonText

NOTES = AdapterNotes(
    0.7, 0.5, 0.9, ("pencil drawing", "paper"), ("zxq", "ink style"), "strong, steady", made_for={"file_name": "ink"}
)  # fmt: skip
TOOLS = ("lora-manager", "a1111", "swarmui")
"""Those that have files of their own making."""


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / "ink.safetensors").write_bytes(b"x")
    return tmp_path / "ink.safetensors"


def sidecar(adapter: Path, tool: str) -> Path:
    return adapter.with_name(adapter.stem + FORMATS[tool].ending)


def put(adapter: Path, tool: str, content: Any) -> Path:
    path = sidecar(adapter, tool)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), "utf-8")
    return path


def write(adapter: Path, tool: str, notes: AdapterNotes = NOTES, *, replace: bool = False) -> list[str]:
    annotations = Annotations(tool, replace=replace)
    return [annotations.write(one) for one in annotations.plan(adapter, notes)]


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_written_is_read_back_as_claims(adapter: Path, tool: str) -> None:
    assert write(adapter, tool) == [""]
    claims = sidecar_claims(adapter)
    if tool != "swarmui":  # whose weight is a field that only SwarmUI reads
        assert claims.weight is not None
        assert claims.weight.value == 0.7
    assert claims.triggers is not None
    assert claims.triggers.value[0].startswith("zxq")


def test_lora_manager_s_file_has_json_within_json_and_the_fields_that_it_needs(adapter: Path) -> None:
    write(adapter, "lora-manager")
    content = json.loads(sidecar(adapter, "lora-manager").read_text("utf-8"))
    assert json.loads(content["usage_tips"]) == {"strength": 0.7, "strength_min": 0.5, "strength_max": 0.9}
    assert content["tags"] == ["lorascope: pencil drawing", "lorascope: paper"]
    assert content["file_name"] == "ink"


def test_tips_that_are_there_stay(adapter: Path) -> None:
    path = put(adapter, "lora-manager", {"usage_tips": '{"clip_skip": 2, "strength": 0.4}'})
    write(adapter, "lora-manager", AdapterNotes(0.7, 0.5, 0.9))
    assert json.loads(json.loads(path.read_text("utf-8"))["usage_tips"]) == {
        "clip_skip": 2, "strength": 0.4, "strength_min": 0.5, "strength_max": 0.9,
    }  # fmt: skip


def test_swarmui_s_weight_is_a_text(adapter: Path) -> None:
    path = put(adapter, "swarmui", {"modelspec.tags": "ink, mine"})
    write(adapter, "swarmui")
    content = json.loads(path.read_text("utf-8"))
    assert content["modelspec.lora_default_weight"] == "0.7"
    assert content["modelspec.tags"] == "ink, mine, lorascope: pencil drawing, lorascope: paper"


def test_sd_next_s_file_is_only_added_to(adapter: Path) -> None:
    assert write(adapter, "sdnext") == ["left out: SD.Next has not fetched its file yet"]
    path = put(adapter, "sdnext", {"modelVersions": [], "tags": ["style"]})
    assert write(adapter, "sdnext") == [""]
    assert json.loads(path.read_text("utf-8"))["tags"][0] == "style"
    assert write(adapter, "a1111") == ["left as it is: it is SD.Next's: use `--to sdnext`"]


def test_what_a_person_wrote_stays_unless_it_is_to_be_replaced(adapter: Path) -> None:
    path = put(adapter, "a1111", {"preferred weight": 0.3, "activation text": "mine", "notes": "mine"})
    write(adapter, "a1111")
    content = json.loads(path.read_text("utf-8"))
    assert (content["preferred weight"], content["activation text"]) == (0.3, "mine")
    assert content["notes"] == "mine\nlorascope: pencil drawing; paper. strong, steady"
    write(adapter, "a1111", replace=True)
    assert json.loads(path.read_text("utf-8"))["preferred weight"] == 0.7


def test_what_lorascope_wrote_is_brought_up_to_date(adapter: Path) -> None:
    write(adapter, "a1111")
    write(adapter, "a1111", AdapterNotes(0.9, words=("ink",)))
    content = json.loads(sidecar(adapter, "a1111").read_text("utf-8"))
    assert (content["preferred weight"], content["notes"]) == (0.9, "lorascope: ink")
    content["preferred weight"] = 1.1
    put(adapter, "a1111", content)
    write(adapter, "a1111", AdapterNotes(0.5))
    assert json.loads(sidecar(adapter, "a1111").read_text("utf-8"))["preferred weight"] == 1.1


def test_writing_twice_changes_nothing(adapter: Path) -> None:
    for tool in TOOLS:
        write(adapter, tool)
        assert write(adapter, tool) == []


def test_a_preview_is_written_only_where_there_is_none(adapter: Path) -> None:
    write(adapter, "a1111", AdapterNotes(preview=b"png"))
    assert adapter.with_suffix(".png").read_bytes() == b"png"
    adapter.with_suffix(".png").rename(adapter.with_name("ink.preview.jpg"))
    assert write(adapter, "a1111", AdapterNotes(preview=b"png")) == []


def test_undoing_puts_every_file_back_to_the_byte(adapter: Path) -> None:
    before = b'{"b": 1.50,\r\n  "a": "\\u00e9"}  '
    sidecar(adapter, "a1111").write_bytes(before)
    write(adapter, "a1111", AdapterNotes(0.7, preview=b"png"))
    write_plan = Annotations("a1111")  # another run writes nothing, and so is not the last one
    assert list(write_plan.plan(adapter, AdapterNotes(0.7))) == []
    assert sorted(undo()) == [(adapter.with_suffix(".json"), ""), (adapter.with_suffix(".png"), "")]
    assert sidecar(adapter, "a1111").read_bytes() == before
    assert not adapter.with_suffix(".png").exists()
    assert undo() == []


def test_a_file_that_was_changed_since_is_not_undone(adapter: Path) -> None:
    write(adapter, "a1111")
    put(adapter, "a1111", {"mine": 1})
    assert undo() == [(sidecar(adapter, "a1111"), "it was changed since, and stays as it is")]


def test_a_file_that_another_program_has_just_changed_is_left_alone(adapter: Path) -> None:
    put(adapter, "a1111", {})
    annotations = Annotations("a1111")
    (plan,) = annotations.plan(adapter, NOTES)
    put(adapter, "a1111", {"new": 1})
    assert annotations.write(plan) == "another program has just changed it: run the command again"
    assert json.loads(sidecar(adapter, "a1111").read_text("utf-8")) == {"new": 1}


def test_the_journal_is_written_first(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power fails between the two: undoing finds nothing to do."""
    annotations = Annotations("a1111")
    (plan,) = annotations.plan(adapter, NOTES)
    monkeypatch.setattr("lorascope.sidecars.annotation._put", lambda path, data: "power")
    assert annotations.write(plan) == "power"
    assert undo() == [(sidecar(adapter, "a1111"), "")]


def test_an_unknown_tool_is_refused() -> None:
    with pytest.raises(UsageError, match="--to forge: choose one of lora-manager, a1111, sdnext, swarmui"):
        Annotations("forge")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1]", "holds list instead of an object"), ("{", "Expecting"), ('{"a": 1, "a": 2}', "a key occurs twice"),
        ('{"notes": 5}', "'notes' is no text"), ('{"a": ' + "[" * 100_000, "nested too deeply|recursion|Expecting"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_kept_whole_is_left_as_it_is(adapter: Path, content: str, problem: str) -> None:
    path = put(adapter, "a1111", content)
    (said,) = write(adapter, "a1111")
    assert said.startswith("left as it is: ")
    assert any(part in said for part in problem.split("|")), said
    assert path.read_text("utf-8") == content


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = st.sampled_from(
    ["usage_tips", "tags", "notes", "civitai", "preferred weight", "activation text", "modelspec.tags"]
)
CONTENTS = st.dictionaries(st.text() | FIELDS, VALUES, max_size=6)


@settings(max_examples=60, deadline=None)
@given(content=CONTENTS, indent=st.sampled_from([None, 1, 2, 4, "\t"]), ascii_only=st.booleans(), crlf=st.booleans())
def test_every_form_of_a_file_is_given_back_to_the_byte(
    content: dict[str, Any], indent: Any, ascii_only: bool, crlf: bool
) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only) + "\n"
    try:
        data = (text.replace("\n", "\r\n") if crlf else text).encode()
    except UnicodeEncodeError:
        return  # half a character: no file holds it
    assert JsonText.parse(data).edited([]) == data


@settings(max_examples=60, deadline=None)
@given(content=CONTENTS, tool=st.sampled_from(list(FORMATS)), replace=st.booleans())
def test_whatever_a_file_holds_the_rest_of_it_stays(
    content: dict[str, Any], tool: str, replace: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    adapter = tmp_path_factory.mktemp("hostile") / "ink.safetensors"
    try:
        data = json.dumps(content).encode()
    except UnicodeEncodeError:
        return
    sidecar(adapter, tool).write_bytes(data)
    annotations = Annotations(tool, replace=replace, journal=adapter.with_name("journal"))
    for plan in annotations.plan(adapter, NOTES):
        problem = annotations.write(plan)
        after = json.loads(sidecar(adapter, tool).read_bytes())
        if problem:
            assert sidecar(adapter, tool).read_bytes() == data
        touched = {edit.place[0] for edit in plan.edits}
        assert {name: value for name, value in after.items() if name not in touched} == {
            name: value for name, value in content.items() if name not in touched
        }
    undo(adapter.with_name("journal"))
    digest = hashlib.sha256(sidecar(adapter, tool).read_bytes()).hexdigest()
    assert digest == hashlib.sha256(data).hexdigest()


def test_the_command_shows_first_writes_when_told_and_can_undo(worker: Worker, tmp_path: Path) -> None:
    path, folder = tmp_path / "library.db", three(tmp_path / "loras")
    with Library(path, create=True) as library:
        index([folder], worker, library, precision="glance")
    (folder / "blueder.json").write_text("no JSON", "utf-8")
    mine = put(folder / "redder.safetensors", "a1111", {"notes": "mine"}).read_bytes()
    asked = ("annotate", folder, "--to", "a1111", "--notes", "-l", path)
    shown = call(*asked)
    assert "2 files would be written: give --yes to write them" in shown.stdout
    assert "blueder.json" in shown.stdout
    assert not (folder / "greender.json").exists()
    written = call(*asked, "--yes", status=1)
    assert "2 files written. `lorascope annotate --undo` puts them back" in written.stdout
    assert "blueder.json: " in written.stderr
    notes = [json.loads((folder / f"{name}.json").read_text("utf-8"))["notes"] for name in ("greender", "redder")]
    assert [text.splitlines()[-1].startswith("lorascope: ") for text in notes] == [True, True]
    assert notes[1].startswith("mine\n")
    (changed,) = json.loads(call(*asked, "--weight", "--json").stdout)["changes"]
    assert "blueder.json" in changed["path"]
    assert call("annotate", "--undo").stdout == "2 files put back\n"
    assert (folder / "redder.json").read_bytes() == mine
    assert not (folder / "greender.json").exists()


def test_the_command_wants_a_tool() -> None:
    assert isinstance(call_unchecked("annotate").exception, UsageError)
