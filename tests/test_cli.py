"""The command line: every verb in JSON, exit statuses, one error envelope, and what is not even imported."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
from fakes import COLOURS, three, tint
from PIL import Image
from rich.console import Console
from tiny import tiny_clip
from typer.testing import CliRunner, Result

from lorascope import cli
from lorascope.cli import findings, output, runs
from lorascope.cli.app import app
from lorascope.errors import ModelError, OutputError, ProtocolError
from lorascope.evaluation import Laboratory
from lorascope.evaluation.findings import Chart, Findings, FindingsTable, Section
from lorascope.library import AdapterFacts, Library, StoredAdapter
from lorascope.measure import Event, index, load_worker
from lorascope.protocol import Preset
from lorascope.signature import Signature

FAKE = str(Path(__file__).parent / "fake.toml")
VERBS = {
    "annotate", "audit", "calibrate", "demo", "describe", "doctor", "duplicates", "evaluate", "experiment",
    "export", "fit", "get", "health", "import", "index", "inspect", "list", "lookup", "mcp", "pull", "remove",
    "report", "screen", "search", "serve", "setup", "share", "show", "similar", "study", "triggers", "verify",
    "versions", "weight",
}  # fmt: skip


def call(*argv: str | Path, status: int = 0) -> Result:
    """Run a command and check its exit status."""
    result = CliRunner().invoke(app, [str(part) for part in argv])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def call_unchecked(*argv: str | Path) -> Result:
    """Run a command, and let its error through."""
    return CliRunner().invoke(app, [str(part) for part in argv], catch_exceptions=False)


def answer(*argv: str | Path, status: int = 0) -> Any:
    """Run a command with --json; its standard output is one document and nothing else."""
    return json.loads(call(*argv, "--json", status=status).stdout)


def found(*argv: str | Path) -> Any:
    """What a search under one Protocol answers."""
    (only,) = answer(*argv)["answers"]
    return only


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three(tmp_path_factory.mktemp("cli") / "loras")


@pytest.fixture(scope="module")
def measured(folder: Path) -> Path:
    """The path of a library of three adapters, glanced at."""
    place = folder.parent / "measured.db"
    with Library(place, create=True) as library:
        index([folder], load_worker(Preset.load(FAKE)), library, precision="quick")
    return place


# --- every verb ---------------------------------------------------------------------------------------------------


def test_inspect_tells_what_files_are(folder: Path, tmp_path: Path) -> None:
    told = answer("inspect", folder, "--sha256")
    assert told["refused"] == []
    assert [Path(row["path"]).name for row in told["adapters"]] == [
        "blueder.safetensors", "greender.safetensors", "redder.safetensors",
    ]  # fmt: skip
    for row in told["adapters"]:
        assert row["ranks"] == [1]
        assert row["kinds"] == {"lora": 1}
        assert row["all_zero"] is False
        assert len(row["sha256"]) == 64
    (tmp_path / "bad.safetensors").write_bytes(b"")
    refused = answer("inspect", tmp_path, status=1)["refused"]
    assert [(Path(one["path"]).name, one["code"]) for one in refused] == [("bad.safetensors", "not-safetensors")]


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    """Square brackets once vanished as markup: from what remove says, and from the path of a library."""
    path = tint(tmp_path / "[bold]" / "[red]ink.safetensors", red=0.3)
    place = path.parent / "library.db"
    told = call("index", path, "-l", place, "--preset", FAKE, "--precision", "glance")
    assert "1 adapter measured with 16 cells" in told.output
    assert f"Library: {place}" in told.output
    assert "[red]ink is forgotten" in call("remove", "[red]ink", "-l", place, "--yes").output


def test_a_column_is_called_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The kind of a query ended evaluate with an error of markup."""
    output.print_table(("retriever", "[/red]"), [("behaviour", 1.0)])
    assert "[/red]" in capsys.readouterr().out


def test_the_bar_tells_how_far_a_run_is_and_on_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """Square brackets once vanished as markup from the progress, too."""
    drawn = io.StringIO()
    monkeypatch.setattr(runs, "err", Console(file=drawn, force_terminal=True, width=120))
    with runs.RunProgress() as bar:
        bar.watch(Event("stage", "refining", total=160, later=80))
        bar.watch(Event("block", "pen", cells=16, total=160, later=80))
        bar.watch(Event("block", "[red]ink", cells=32, total=160, later=80))
    assert "[red]ink" in drawn.getvalue()
    assert "32 of 160 cells" in drawn.getvalue()
    assert "less than a minute left" in drawn.getvalue()


def test_a_terminal_that_lacks_a_sign_gets_another_and_json_loses_nothing(tmp_path: Path) -> None:
    """A dash in a table once ended the command with a UnicodeEncodeError, on Windows and in old locales."""
    path = tint(tmp_path / "墨.safetensors", red=0.3)
    inspect = [sys.executable, "-c", "from lorascope.cli import main; main()", "inspect", str(tmp_path)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    plain, whole = (
        subprocess.run([*inspect, *more], env=environment, capture_output=True, text=True, check=True).stdout
        for more in ([], ["--json"])
    )
    assert "\\u58a8.safetensors" in plain
    assert "\\u2013" in plain
    assert json.loads(whole)["adapters"][0]["path"] == str(path)


def test_inspect_names_an_adapter_that_is_all_zero(tmp_path: Path) -> None:
    tint(tmp_path / "untrained.safetensors")
    assert answer("inspect", tmp_path)["adapters"][0]["all_zero"] is True
    assert "1 lora; all zero" in call("inspect", tmp_path).stdout


def test_inspect_and_show_print_the_notes_of_reading_a_file(tmp_path: Path) -> None:
    """What was assumed or ignored was kept in the record and shown to nobody."""
    path = tint(tmp_path / "ink.safetensors", red=0.3)
    path.with_suffix(".json").write_text("{")
    path.with_suffix(".civitai.info").write_text('{"baseModel": "\\u001b[31mPony"}')
    options = ("-l", tmp_path / "l.db")
    call("index", path, *options, "--preset", FAKE, "--precision", "glance")
    lines = {
        "table": call("inspect", tmp_path).stdout,
        "file": call("inspect", path).stdout,
        "show": call("show", "ink", *options).stdout,
    }
    for told in lines.values():
        assert "ink.json ignored: " in told
        assert "\x1b" not in told
    for told in (lines["file"], lines["show"]):
        assert f"path\t{path}" in told
        assert "claims base_model\t\\x1b[31mPony" in told


def test_index_measures_and_tells_how_it_went(folder: Path, tmp_path: Path) -> None:
    options = ("--library", tmp_path / "l.db", "--preset", FAKE, "--precision", "glance")
    first = answer("index", folder, *options)
    assert {name: first[name] for name in ("measured", "unchanged", "refused", "elsewhere", "cells", "finished")} == {
        "measured": 3, "unchanged": 0, "refused": 0, "elsewhere": 0, "cells": 48, "finished": True,
    }  # fmt: skip
    again = answer("index", folder, *options)
    assert (again["measured"], again["unchanged"], again["cells"]) == (0, 3, 0)


def test_in_a_log_index_writes_lines_instead_of_drawing_a_bar(folder: Path, tmp_path: Path) -> None:
    told = call("index", folder, "-l", tmp_path / "l.db", "--preset", FAKE, "--precision", "glance")
    assert told.stderr.splitlines() == ["loading models", "looking for files", "first look, 0 of 48 cells"]


def test_index_exits_with_1_where_a_file_is_left_out(tmp_path: Path) -> None:
    tint(tmp_path / "loras" / "good.safetensors", red=0.2)
    (tmp_path / "loras" / "page.safetensors").write_text("<html>", "utf-8")
    told = answer(
        "index", tmp_path / "loras", "-l", tmp_path / "l.db", "--preset", FAKE, "--precision", "glance", status=1
    )
    assert told["measured"] == 1
    (refusal,) = told["refusals"]
    assert refusal["code"] == "not-safetensors"
    assert refusal["path"].endswith("page.safetensors")
    assert refusal["reason"]
    assert refusal["remedy"]


def test_a_run_whose_models_do_not_load_makes_no_library(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ModelError("damaged")

    monkeypatch.setattr("lorascope.cli.runs.load_worker", broken)
    ended = CliRunner().invoke(app, ["index", str(folder), "--preset", FAKE, "-l", str(tmp_path / "l.db")])
    assert isinstance(ended.exception, ModelError)
    assert not (tmp_path / "l.db").exists()


def test_a_dry_run_writes_nothing(folder: Path, tmp_path: Path) -> None:
    told = answer("index", folder, "-l", tmp_path / "l.db", "--preset", FAKE, "--dry-run")
    assert [row["precision"] for row in told] == ["glance", "quick", "standard", "full"]
    assert [row["adapters"] for row in told] == [3] * 4
    assert told[0]["memory"] == "about 0.0 GB (all parts stay on the device)"
    assert not (tmp_path / "l.db").exists()


def test_a_dry_run_counts_copies_once_and_names_what_is_left_out(folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folder, tmp_path / "loras")
    shutil.copy(folder / "redder.safetensors", folder / "copy.safetensors")
    (folder / "page.safetensors").write_text("<html>", "utf-8")
    told = answer("index", folder, "-l", tmp_path / "l.db", "--preset", FAKE, "--dry-run")
    assert [(row["adapters"], row["copies"]) for row in told] == [(3, 1)] * 4
    assert [refused["code"] for refused in told[0]["refused"]] == ["not-safetensors"]
    printed = call("index", folder, "-l", tmp_path / "l.db", "--preset", FAKE, "--dry-run").output
    assert "1 file looks the same as another one, and is measured once" in printed
    assert "not-safetensors" in printed


def test_search_answers_in_words_and_json(measured: Path) -> None:
    for colour in COLOURS:
        told = found("search", colour, "-l", measured)
        assert told["query"] == colour
        assert told["matched"] is True
        assert told["considered"] == 3
        first = told["hits"][0]
        assert (first["rank"], first["adapter"]["name"], first["clarity"]) == (1, f"{colour}der", "clear")
        assert first["signature"]["cells"] >= 16
    assert len(found("search", "red", "-l", measured, "--top", "1")["hits"]) == 1
    assert "redder" in call("search", "red", "-l", measured).stdout
    assert "Nothing here clearly does this" in call("search", "sandstone", "-l", measured).stdout


def test_search_takes_every_filter(measured: Path, folder: Path) -> None:
    told = found("search", "red", "-l", measured, "--max-strength", "0.0001")
    assert told["hits"] == []
    assert {hit["hidden"] for hit in told["hidden"]} == {"too strong"}
    assert (
        "Left out by thresholds: 3 too strong"
        in call("search", "red", "-l", measured, "--max-strength", "0.0001").stdout
    )
    assert len(found("search", "red", "-l", measured, "--min-consistency", "1.01")["hidden"]) == 3
    assert len(found("search", "red", "-l", measured, "--min-consistency", "1.01", "--everything")["hidden"]) == 3
    assert len(found("search", "red", "-l", measured, "--everything")["hits"]) == 3
    assert found("search", "red", "-l", measured, "--folder", folder)["considered"] == 3
    assert found("search", "red", "-l", measured, "--encoding", "prefix")["hits"]


def test_search_by_picture(measured: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), (220, 90, 90), np.uint8)).save(tmp_path / "red.png")
    told = found("search", "--image", tmp_path / "red.png", "-l", measured)
    assert told["query"] == "this picture"
    assert told["hits"]


def test_search_answers_each_protocol_in_its_own_lane(measured: Path, tmp_path: Path) -> None:
    place = tmp_path / "both.db"
    changed = Preset.from_json(Preset.load(FAKE).to_json().replace('"fake", "family"', '"twice", "family"'))
    changed = Preset(**({f: getattr(changed, f) for f in changed.__dataclass_fields__} | {"scale": 2.0}))
    with Library(place, create=True) as library:
        from lorascope.library import merge

        merge(measured, library)
        digest = library.protocols.find().protocol.digest
        signature = next(iter(library.signatures.get(digest, library.adapters.all()).values())).signature
        protocol = changed.protocol(base_digest="fake-generator", encoder="fake", encoder_digest="fake-encoder")
        library.protocols.add(protocol, changed)
        library.adapters.add([StoredAdapter("sha256:x", "other", "fake", (), AdapterFacts())], {})
        library.signatures.put(protocol.digest, "full", {"sha256:x": signature})
    lanes = answer("search", "red", "-l", place, "--all")["answers"]
    assert [len(lane["hits"]) for lane in lanes] == [1, 3]
    assert lanes[0]["protocol"] == str(protocol)
    assert len({lane["protocol"] for lane in lanes}) == 2
    assert len(found("search", "red", "-l", place)["hits"]) == 1
    assert len(found("search", "red", "-l", place, "--protocol", digest)["hits"]) == 3
    listed = answer("list", "--protocols", "-l", place)
    assert [row["adapters"] for row in listed] == [1, 3]
    assert "scale: 1.0 / 2.0" in call("list", "--protocols", "-l", place).stdout


def test_similar_leaves_out_the_one_itself(measured: Path, folder: Path) -> None:
    for name in ("redder", str(folder / "redder.safetensors")):
        told = found("similar", name, "-l", measured)
        assert sorted(hit["adapter"]["name"] for hit in told["hits"]) == ["blueder", "greender"]


def test_a_single_adapter_has_no_other_to_compare_with(tmp_path: Path) -> None:
    """It was once said that no adapter is of the family and under the folder that nobody had asked for."""
    place = tmp_path / "l.db"
    call("index", tint(tmp_path / "red.safetensors", red=0.3), "-l", place, "--preset", FAKE, "--precision", "glance")
    assert "There is no other adapter under this Protocol" in call("similar", "red", "-l", place).stdout
    assert "No other adapter is of that --family" in call("similar", "red", "-l", place, "--family", "unknown").stdout


def test_show_and_list_tell_what_was_worn_and_what_is_gone(tmp_path: Path) -> None:
    path = tint(tmp_path / "loras" / "red.safetensors", red=0.3)
    path.with_suffix(".json").write_text('{"activation text": "r3d, ink"}', "utf-8")
    green = tint(tmp_path / "loras" / "green.safetensors", green=0.3)
    place = tmp_path / "l.db"
    options = ("-l", place, "--preset", FAKE, "--precision", "glance")
    call("index", path.parent, *options)
    assert "r3d, ink" in call("show", "red", "-l", place).stdout.split("trigger words")[1]
    assert "none" in call("show", "green", "-l", place).stdout.split("trigger words")[1]
    assert "gone" not in call("list", "-l", place).stdout + call("show", "red", "-l", place).stdout
    ghost = answer("show", "red", "-l", place)["key"]
    tint(path, red=0.1)
    green.unlink()
    call("index", path.parent, *options)
    gone = {row["name"]: row["gone"] for row in answer("list", "-l", place) if row["key"] != ghost}
    assert gone == {"red": False, "green": True}
    assert "(gone)" in call("show", "green", "-l", place).stdout
    assert "gone: its file was replaced by another" in call("show", ghost, "-l", place).stdout
    assert call("list", "-l", place).stdout.count("gone") == 2


def test_show_needs_no_evidence(measured: Path, tmp_path: Path) -> None:
    """Damaged evidence once hid everything known about an adapter."""
    place = tmp_path / "copy.db"
    place.write_bytes(measured.read_bytes())
    place.with_name("copy.evidence.db").write_bytes(b"no database" * 100)
    told = call("show", "redder", "-l", place)
    assert "Strength" in told.stdout
    assert "copy.evidence.db: this is no lorascope library" in told.stderr


def test_show_tells_all_of_one_adapter(measured: Path) -> None:
    told = answer("show", "redder", "-l", measured)
    assert told["name"] == "redder"
    (signature,) = told["signatures"].values()
    assert signature["precision"] == "quick"
    assert len(signature["categories"]) == 10
    assert "direction" not in signature
    (signature,) = answer("show", "redder", "--direction", "-l", measured)["signatures"].values()
    assert len(signature["direction"]) == 16
    printed = call("show", "redder", "-l", measured).stdout
    assert "Strength" in printed
    assert "Consistency" in printed


def test_list_has_adapters_refusals_protocols_and_runs(measured: Path) -> None:
    rows = answer("list", "-l", measured)
    assert {row["name"] for row in rows} == {f"{colour}der" for colour in COLOURS}
    assert [row["strength"] for row in rows] == sorted((row["strength"] for row in rows), reverse=True)
    assert answer("list", "--refused", "-l", measured) == []
    assert answer("list", "--protocols", "-l", measured)[0]["adapters"] == 3
    assert answer("list", "--runs", "-l", measured)[0]["outcome"]["finished"] is True
    for option in ("--refused", "--protocols", "--runs"):
        call("list", option, "-l", measured)


def test_export_import_and_merge(measured: Path, tmp_path: Path) -> None:
    told = answer("export", tmp_path / "out.json", "-l", measured)
    assert told == {"written": 3, "path": str(tmp_path / "out.json")}
    manifest = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert {row["name"] for row in manifest["adapters"]} == {f"{colour}der" for colour in COLOURS}
    assert answer("import", measured, "-l", tmp_path / "copy.db")["read"] == 3
    assert len(answer("list", "-l", tmp_path / "copy.db")) == 3


def test_remove_forgets_one(measured: Path, tmp_path: Path) -> None:
    answer("import", measured, "-l", tmp_path / "copy.db")
    told = answer("remove", "redder", "-l", tmp_path / "copy.db")
    assert told["removed"].startswith("sha256:")
    assert len(answer("list", "-l", tmp_path / "copy.db")) == 2
    result = CliRunner().invoke(app, ["remove", "greender", "-l", str(tmp_path / "copy.db")], input="n\n")
    assert result.exit_code == 1
    assert "Forget greender" in result.output
    assert len(answer("list", "-l", tmp_path / "copy.db")) == 2
    call("remove", "greender", "--yes", "-l", tmp_path / "copy.db")
    assert len(answer("list", "-l", tmp_path / "copy.db")) == 1


def test_evaluate_measures_judged_queries(measured: Path, tmp_path: Path) -> None:
    queries = [{"text": colour, "kind": "colour", "relevant": {f"{colour}der": 2}} for colour in COLOURS]
    (tmp_path / "queries.json").write_text(json.dumps(queries), "utf-8")
    files = {name: tmp_path / f"{name}.out" for name in ("report", "rankings")}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    told = answer("evaluate", tmp_path / "queries.json", "-l", measured, *options)
    table = told["sections"][0]["table"]
    ndcg = {row[0]: row[1]["value"] for row in table["rows"]}
    assert table["columns"] == ["retriever", "nDCG@5", "P@1", "P@3", "RR", "R@10"]
    assert ndcg["behaviour"] == ndcg["keyword"] == 1.0  # the names of these say what they do
    assert {"minilm", "bm25", "fuzzy", "rrf(behaviour, minilm)", "random"} < ndcg.keys()
    assert "http" not in files["report"].read_text("utf-8").replace("http://www.w3.org/", "")  # names of formats
    lines = [json.loads(line) for line in files["rankings"].read_text("utf-8").splitlines()]
    assert len(lines) == len(ndcg) * len(queries)
    keys = {row["name"]: row["key"] for row in answer("list", "-l", measured)}
    first = {line["query"]: line["adapters"][0] for line in lines if line["retriever"] == "behaviour"}
    assert first == {colour: keys[f"{colour}der"] for colour in COLOURS}


def test_the_lab_s_other_verbs_say_what_they_found(measured: Path, tmp_path: Path) -> None:
    found = answer("calibrate", "-l", measured)
    assert "3 adapters are too little to calibrate on" in found["warnings"][0]
    told = call("experiment", "names", "-l", measured, "--report", tmp_path / "names.html").stdout
    assert "What the thresholds hide" in told
    assert (tmp_path / "names.html").as_uri() in told.replace("\n", "")
    (tmp_path / "q.csv").write_text("query,adapter,grade\nscarlet,redder,2\n", "utf-8")
    planned = call("evaluate", tmp_path / "q.csv", "-l", measured, "--dry-run").stderr
    assert "Would rank 3 adapters for 1 query in 1 group, 1 of them with known answers, by behaviour," in planned
    assert "still to embed." in planned  # how many depends on what earlier tests have embedded
    cost = call("evaluate", tmp_path / "q.csv", "-l", measured, "--judge", "siglip2", "--dry-run").stderr
    assert "asking behaviour, 1 of " in cost
    assert "Images to judge: 10 for each of 3 adapters; 40 still to make" in cost.replace("\n", " ")


def test_what_is_not_a_number_is_null(measured: Path) -> None:
    """JSON knows neither NaN nor infinity: a document with them once could not be read by other programs."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    told = call("calibrate", "-l", measured, "--json").stdout
    json.loads(told, parse_constant=refuse)
    assert output._finite({"a": [math.inf, (math.nan, 1.5)]}) == {"a": [None, [None, 1.5]]}


def test_a_chart_leaves_no_heading_on_the_terminal(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = Chart("points", "a chart", "x", "y", ())
    sections = (
        Section("Drawn", charts=(chart,)),
        Section("Said", "in words"),
        Section("Listed", table=FindingsTable((), ())),
    )
    findings.print_findings(Findings("All", "of it", sections), None, as_json=False)
    told = capsys.readouterr().out
    assert "Drawn" not in told
    assert "Said" in told
    assert "Listed" in told


def test_a_text_model_that_is_named_twice_is_asked_once(measured: Path) -> None:
    with Laboratory(measured, models=["minilm", "bge-large", "minilm"]) as opened:
        assert [one.name for one in opened.texts(opened.corpus)][:3] == ["minilm", "bge-large", "bm25"]


def test_doctor_looks_at_everything(measured: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json", "-l", str(measured)])
    checks = {check["what"]: check for check in json.loads(result.stdout)}
    assert {"Python", "torch", "device", "library", "disk", "preset sdxl-paper"} <= checks.keys()
    assert "3 under fake-" in checks["library"]["found"]
    lightning = Preset.load("sdxl-lightning")
    assert all(model in checks["preset sdxl-lightning"]["found"] for model in (lightning.accelerator, lightning.vae))
    assert "1 threads" not in checks["device"]["found"]
    assert result.exit_code == int("problem" in {check["state"] for check in checks.values()})


def test_a_sheet_of_pictures_is_one_file_that_needs_no_network(measured: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    told = call("search", "red", "-l", measured, "--sheet", sheet).stdout
    assert sheet.as_uri() in told
    page = sheet.read_text("utf-8")
    assert page.count("data:image/webp;base64,") == 3 * 6 * 2  # three hits, six cells, without and with
    assert "redder" in page
    assert "http://" not in page
    assert "https://" not in page
    found("search", "<b>&", "-l", measured, "--sheet", sheet)
    assert "<b>&" not in sheet.read_text("utf-8")
    assert "&lt;b&gt;&amp;" in sheet.read_text("utf-8")


# --- errors -------------------------------------------------------------------------------------------------------


def fails(argv: Sequence[str | Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run the whole command line, which is to end in an error; returns the error of the envelope."""
    monkeypatch.setattr(sys, "argv", ["lorascope", *map(str, argv), "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    printed = capfd.readouterr()
    assert "Traceback" not in printed.err
    envelope = json.loads(printed.out)
    assert envelope.keys() == {"error"}
    return envelope["error"]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["list", "-l", "{tmp}/none.db"], "library-error", "no library at"),
        (["search", "-l", "{measured}"], "query-error", "nothing is asked: give words, --image FILE"),
        (["search", "ink", "-people:abc", "-l", "{measured}"], "query-error", "'abc' in '-people:abc' is no weight"),
        (["search", "ink:0", "-l", "{measured}"], "query-error", "weight 0"),
        (["search", "red", "--encoding", "x", "-l", "{measured}"], "query-error", "no query encoding 'x': use one of"),
        (["search", "red", "-p", "x", "-l", "{measured}"], "library-error", "no Protocol is called 'x'"),
        (["search", "red", "--sheet", "{tmp}/no/x.html", "-l", "{measured}"], "output-error", "cannot be written"),
        (["search", "red", "--family", "sd", "-l", "{measured}"], "query-error", "--family sd (its families: unknown)"),
        (["search", "red", "--folder", "{tmp}/no", "-l", "{measured}"], "query-error", "no adapter of --folder {tmp}"),
        (["weight", "red", "--all", "-l", "{measured}"], "usage-error", "red and --all are both given: leave one"),
        (["search", "red", "--all", "-l", "{empty}"], "library-error", "is empty: run `lorascope index FOLDER"),
        (["search", "\udcff", "-l", "{measured}"], "query-error", "the query holds '\\udcff', a byte"),
        (["show", "\udcff", "-l", "{measured}"], "library-error", "\\udcff is not UTF-8, so no library holds it"),
        (["list", "-l", "{evidence}"], "library-error", "instead of protocols: it is another of a library's files"),
        (["import", "{evidence}", "-l", "{tmp}/l.db"], "library-error", "holds the table blocks, which no library has"),
        (["index", "{tmp}", "--preset", FAKE, "--prompts", "x", "-l", "{tmp}/l.db"], "prompt-set-error", "cannot rea"),
        (["show", "nobody", "-l", "{measured}"], "library-error", "has no adapter 'nobody'"),
        (["index", "{tmp}", "--preset", "x", "-l", "{tmp}/l.db"], "protocol-error", "no preset 'x': use"),
        (["index", "{tmp}", "--preset", FAKE, "--precision", "x", "-l", "{tmp}/l.db"], "protocol-error", "no prec"),
        (["index", "{tmp}", "--preset", FAKE, "--scale", "nan", "-l", "{tmp}/l.db"], "protocol-error", "scale is nan"),
        (["search", "red", "--max-strength", "nan", "-l", "{measured}"], "protocol-error", "strength_max is nan: giv"),
        (["search", "red -red", "-l", "{measured}"], "query-error", "the query cancels itself out, as 'snow -snow'"),
        (["import", "x.csv", "-l", "{tmp}/l.db"], "library-error", "'x.csv' is neither .parquet nor .db"),
        (["import", "{tmp}/no.db", "-l", "{tmp}/l.db"], "library-error", "no library at"),
        (["import", "{tmp}/no.parquet", "-l", "{tmp}/l.db"], "library-error", "no file at {tmp}/no.parquet: give the"),
        (["versions", "{tmp}", "-l", "{measured}"], "library-error", "no adapter of {measured} is in {tmp}: `"),
        (["lookup", "{tmp}", "--civitai", "-l", "{measured}"], "library-error", "no adapter of {measured} is in {tmp}"),
        (["annotate", "{tmp}", "--to", "a1111", "-l", "{measured}"], "library-error", "no adapter of {measured} is in"),
        (["describe", "--facet", "nope", "-l", "{measured}"], "query-error", "there is no facet 'nope': use one of"),
        (["index", "{tmp}", "--preset", FAKE, "-l", "{tmp}/l.db"], "usage-error", "no adapter file is in"),
        (["index", "{deep}", "--reference", "{deep}", "-l", "{tmp}/l.db"], "usage-error", "no picture is there: give"),
        (["index", "{deep}", "--evidence", "s3://", "--preset", FAKE, "-l", "{tmp}/l.db"], "usage-error", "give s3://"),
        (["pull", "{tmp}", "--all", "-l", "{tmp}/l.db"], "library-error", "cannot be read (No such file or directory"),
        (["evaluate", "{deep}", "-l", "{measured}"], "query-error", "deep.json cannot be read as JSON (maximum recurs"),
        (["demo", "{measured}/demo", "--ready"], "library-error", "demo cannot be written (Not a directory): choose"),
        (["demo", "{measured}/demo"], "library-error", "demo cannot be written (Not a directory): choose another"),
        (["export", "x.csv", "-l", "{measured}"], "library-error", "x.csv ends in '.csv': use .parquet"),
        (["experiment", "luck", "-l", "{measured}"], "query-error", "no experiment 'luck': use one of ablations, meta"),
        (["experiment", "ablations", "-l", "{measured}"], "query-error", "needs queries with known answers"),
        (["experiment", "replicate"], "usage-error", "--published is missing: give the published library"),
        (["experiment", "replicate", "-l", "{measured}"], "usage-error", "--library does nothing with the exp"),
        (["experiment", "replicat", "--budget", "2h"], "query-error", "no experiment 'replicat': use one of"),
        (["experiment", "names", "--budget", "2h", "-l", "{measured}"], "usage-error", "--budget does nothing with"),
        (["evaluate", "{tmp}/none.json", "-l", "{measured}"], "query-error", "none.json' cannot be read"),
    ],
)  # fmt: skip
def test_errors_come_in_one_envelope(
    argv: list[str], code: str, message: str, measured: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000, "utf-8")  # it once was a RecursionError
    empty = tmp_path / "empty.db"
    Library(empty, create=True).close()
    with Library(measured) as library:
        places = {"evidence": library.evidence_path, "empty": empty}
    places |= {"tmp": tmp_path, "measured": measured, "deep": deep}
    error = fails([part.format(**places) for part in argv], monkeypatch, capfd)
    assert error["code"] == code
    assert message.format(**places) in error["message"]
    assert not (tmp_path / "l.db").exists()  # a slip of the pen makes no library


def test_for_people_an_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lorascope", "list", "--library", str(tmp_path / "[red]none.db")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Names come with files from strangers: colours, cursor movements and reversed text once reached the terminal."""
    tint(tmp_path / "\x1b[31mred\x07\u202eknip:cat:.safetensors", red=0.3)
    told = call("inspect", tmp_path).stdout
    assert "\\x1b[31mred\\x07\\u202eknip:cat:" in told.replace("\n", "").replace(" ", "")[:500]
    assert not set(told) & set("\x1b\x07\u202e")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device here that is always full")
@pytest.mark.parametrize("argv", [["list", "-l", "{measured}"], ["list", "--json", "-l", "{measured}"]])
def test_an_output_that_finds_no_space_is_told_in_one_line(argv: list[str], measured: Path) -> None:
    """It once ended in a traceback, or at the very end in a status that nobody knows."""
    command = [sys.executable, "-c", "from lorascope.cli import main; main()"]
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [*command, *(part.format(measured=measured) for part in argv)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: the output cannot be written (the disk is full): free some space, or print elsewhere"
    ]


@pytest.mark.parametrize("argv", [["list"], ["list", "--json"], ["show", "nobody"], ["show", "nobody", "--json"]])
def test_an_output_that_is_closed_is_no_reason_for_a_traceback(argv: list[str], measured: Path) -> None:
    """It once was an AttributeError."""
    program = f"{sys.executable} -c 'from lorascope.cli import main; main()' {' '.join(argv)} -l {measured} >&-"
    done = subprocess.run(program, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == (2 if "nobody" in argv else 0)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["sheet.html", "manifest.json", "signatures.parquet"])
def test_a_file_that_cannot_be_written_to_its_end_leaves_the_former_one(
    target: str, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk once left half of a sheet where a whole one had been."""
    place = tmp_path / target
    argv = ["search", "red", "--sheet", place] if target.endswith(".html") else ["export", place]
    call(*argv, "-l", measured)
    before = place.read_bytes()

    def full(self: Path, other: Path) -> None:
        raise OSError(errno.ENOSPC, "whatever it says")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match=rf"{target} cannot be written \(No space left on device\): choose another"):
        call_unchecked(*argv, "-l", measured)
    assert place.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == [target]


def test_what_is_no_file_is_written_and_stays_what_it_is(measured: Path, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link.html"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    call("search", "red", "-l", measured, "-n", "1", "--sheet", pipe)
    assert os.read(reader, 15) == b"<!doctype html>"
    os.close(reader)
    assert pipe.is_fifo()
    link.symlink_to(tmp_path / "target.html")
    call("search", "red", "-l", measured, "--sheet", link)
    assert link.is_symlink()
    assert (tmp_path / "target.html").read_text("utf-8").startswith("<!doctype html>")


def test_an_unknown_option_is_a_usage_error() -> None:
    assert "No such option" in call("list", "--colour", status=2).output
    assert "--top" in call("search", "red", "--top", "0", status=2).output


# --- help ---------------------------------------------------------------------------------------------------------


def test_every_verb_and_every_option_says_what_it_is_for() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    commands = group.commands  # type: ignore[union-attr]
    assert set(commands) == VERBS
    for name, command in commands.items():
        assert command.help, name
        for parameter in command.params:
            if parameter.name != "help":
                assert getattr(parameter, "help", None), (name, parameter.name)
        assert name in call(name, "--help").stdout
    for name in VERBS:
        assert name in call("--help").stdout
    assert call("--version").stdout.startswith("lorascope ")


# --- what is not loaded -------------------------------------------------------------------------------------------

HEAVY = ("torch", "diffusers", "transformers", "matplotlib", "pyarrow", "ray", "fastapi")


def loaded_by(*argv: str | Path) -> set[str]:
    """Which heavy packages a command imports, in a process of its own."""
    script = (
        "import sys\nfrom lorascope.cli import main\nsys.argv = ['lorascope', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('LOADED', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, argv)],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["index", "--help"], ["inspect", "{folder}"]])
def test_help_and_inspect_load_nothing_heavy(argv: list[str], folder: Path) -> None:
    assert loaded_by(*(part.format(folder=folder) for part in argv)) == set()


@pytest.mark.parametrize("argv", [["list"], ["show", "redder"], ["similar", "redder"]])
def test_looking_things_up_loads_no_models(argv: list[str], measured: Path) -> None:
    assert loaded_by(*argv, "-l", measured) == set()


def test_a_search_loads_nothing_heavy(tmp_path: Path) -> None:
    preset, clip = Preset.load(FAKE), tiny_clip(tmp_path / "clip")
    protocol = preset.protocol(base_digest="b", encoder=str(clip), encoder_digest="")
    from test_library import make_signature

    signature: Signature = make_signature()
    with Library(tmp_path / "l.db", create=True) as library:
        library.protocols.add(protocol, preset)
        library.adapters.add([StoredAdapter("sha256:x", "one", "fake", (), AdapterFacts())], {})
        library.signatures.put(protocol.digest, "full", {"sha256:x": signature})
    # two phrases have no clarity, for which a reference set would be encoded
    argv = ("search", "red -blue", "-l", tmp_path / "l.db", "--sheet", tmp_path / "sheet.html")
    assert loaded_by(*argv) == set()


WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "diffusers", "transformers", "accelerate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from lorascope.cli import main
sys.argv = ["lorascope", *sys.argv[1:]]
main()
"""


def without_torch(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command where the extra `measure` is not installed."""
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_TORCH, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("argv", [["list"], ["show", "redder"], ["similar", "redder"], ["search", "red"]])
def test_what_reads_a_library_works_without_torch(argv: list[str], measured: Path) -> None:
    done = without_torch(*argv, "-l", measured)
    assert done.returncode == 0, done.stderr


def test_measuring_without_torch_names_the_extra(folder: Path, tmp_path: Path) -> None:
    done = without_torch("index", folder, "--preset", FAKE, "-l", tmp_path / "l.db")
    assert done.returncode == 2
    assert "this needs torch, which is not installed: run `pip install 'lorascope[measure]'`" in done.stderr
    assert not (tmp_path / "l.db").exists()


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert result.exit_code == 0
    assert "no adapter files here" in result.output


def test_a_wrong_precision_is_told_before_any_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("models were loaded")

    monkeypatch.setattr("lorascope.measure.load_worker", never)
    result = CliRunner().invoke(app, ["index", str(tmp_path), "--precision", "best", "-l", str(tmp_path / "l.db")])
    assert isinstance(result.exception, ProtocolError)
