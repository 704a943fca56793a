"""What is wrong with a command is said at once: before models load, and before a library is made."""

from __future__ import annotations

import dataclasses
import importlib.abc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import three, tint
from typer.testing import CliRunner

from lorascope import __main__, cli
from lorascope.cli.app import app
from lorascope.cli.checks import check_models
from lorascope.errors import ModelError
from lorascope.protocol import Preset

FAKE = str(Path(__file__).parent / "fake.toml")


class Ended:
    """How a command ended: its exit status, and what it printed."""

    def __init__(self, status: Any, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs the whole command line in this process."""

    def run(*argv: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["lorascope", *map(str, argv)])
        status: Any = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        printed = capfd.readouterr()
        return Ended(status, printed.out, printed.err)

    return run


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["index", ""], "the argument after 'index' is empty: is a shell variable unset?"),
        (["index", "{folder}", "--base", ""], "the argument after '--base' is empty"),
        (["index", "{folder}", "--library="], "the argument after '--library' is empty"),
        (["search", ""], "the argument after 'search' is empty"),
        (["index", "{folder}/none"], "{folder}/none does not exist: check"),
        (["inspect", "{folder}/none"], "{folder}/none does not exist: check"),
        (["index", "{folder}", "--base", "{folder}/none"], "--base: no folder '{folder}/none'"),
        (["index", "{folder}", "--base", "{folder}"], "--base: {folder} holds no model_index.json"),
        (["index", "{folder}", "--base", "x.safetensors"], "--base: no file 'x.safetensors'"),
        (["index", "{folder}", "--base", "nobody/nothing"], "--base: the model nobody/nothing is not on this disk"),
        (["index", "{folder}", "--vae", "{folder}/vae"], "--vae: no folder '{folder}/vae'"),
        (["index", "{folder}", "--vae", "{folder}/vae.safetensors"], "--vae: no file '{folder}/vae.safetensors'"),
        (["index", "{folder}", "--encoder", "{folder}/clip"], "--encoder: no folder '{folder}/clip'"),
        (["index", "{folder}", "--library", "{folder}/none/l.db"], "there is no folder {folder}/none: make it"),
        (["index", "{folder}", "--library", "{folder}"], "{folder} is a folder: name a library file"),
        (["index", "{folder}", "--scale", "0"], "scale is 0.0: give a finite number other than 0"),
        (["index", "{folder}", "--preset", "none"], "no preset 'none'"),
        (["index", "{folder}", "--precision", "best"], "no precision 'best'"),
        (["index", "{folder}", "--calibration", "{folder}/c.npz"], "--calibration: no file '{folder}/c.npz'"),
        (["search", "red", "-n", "0"], "'--top' / '-n': '0': Input should be greater than or equal to 1"),
        (["search", "red", "--top=many"], "'--top' / '-n': 'many': Input should be a valid integer"),
        (["search", "red", "--sheet", "{folder}/none/s.html"], "there is no folder {folder}/none): make it"),
        (["report", "{folder}"], "{folder} cannot be written (it is a folder): name a file in it"),
        (["evaluate", "miniature", "--report", "{folder}/none/r.html"], "there is no folder {folder}/none): make it"),
        (["export", "{folder}/none/s.parquet"], "there is no folder {folder}/none): make it, or name another"),
        (["list", "--refused", "--runs"], "--runs does nothing with --refused: leave it out"),
        (["search", "red", "--all", "-p", "x"], "--protocol does nothing with --all: leave it out"),
        (["annotate", "{folder}", "--undo"], "--undo puts back every file, not those of {folder} alone: leave it out"),
        (["annotate", "--undo", "--to", "a1111"], "--to does nothing with --undo: leave it out"),
        (["evaluate", "miniature", "--judge-seeds", "2"], "--judge-seeds does nothing without --judge: leave it out"),
        (["weight", "x", "--dry-run", "--sheet", "{folder}/s.html"], "--sheet does nothing with --dry-run: leave it"),
    ],
)
def test_a_wrong_input_is_named_before_anything_loads(
    run: Any, tmp_path: Path, argv: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("models were loaded")

    monkeypatch.setattr("lorascope.cli.runs.loaded", never)
    folder = three(tmp_path / "loras")
    more = ["--preset", "miniature"] if argv[0] == "index" and "--preset" not in argv else []
    ended = run(*[part.format(folder=folder) for part in argv], *more, "--json")
    assert ended.status == 2
    assert message.format(folder=folder) in json.loads(ended.out)["error"]["message"]
    assert not list(tmp_path.rglob("*.db"))


def test_a_usage_error_with_json_is_json(run: Any) -> None:
    ended = run("search", "ink", "--nonsense", "--json")
    assert ended.status == 2
    assert json.loads(ended.out)["error"] == {"code": "usage-error", "message": "No such option: --nonsense"}
    assert run("search", "ink", "--nonsense").err.count("No such option") == 1


def test_no_verb_gets_the_next_useful_command(run: Any, tmp_path: Path) -> None:
    fresh = run()
    assert (fresh.status, "lorascope demo" in fresh.out) == (0, True)
    loras = three(tmp_path / "loras")
    assert CliRunner().invoke(app, ["index", str(loras), "--preset", FAKE, "--precision", "glance"]).exit_code == 0
    assert "3 adapters in" in run().out


def test_only_new_refusals_are_shown_in_full_and_exit_with_1(tmp_path: Path) -> None:
    tint(tmp_path / "loras" / "good.safetensors", red=0.2)
    (tmp_path / "loras" / "page.safetensors").write_text("<html>", "utf-8")
    index = ["index", str(tmp_path / "loras"), "-l", str(tmp_path / "l.db"), "--preset", FAKE, "--precision", "glance"]
    first, second = (CliRunner().invoke(app, index) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert "page.safetensors" in first.stdout
    assert "1 file left out as before (1 not-safetensors): " in second.stdout
    assert f"list --refused --library {tmp_path / 'l.db'}" in second.stdout
    (tmp_path / "loras" / "empty.safetensors").write_bytes(b"")
    told = json.loads(CliRunner().invoke(app, [*index, "--json"]).stdout)
    assert {Path(one["path"]).name: one["new"] for one in told["refusals"]} == {
        "page.safetensors": False, "empty.safetensors": True,
    }  # fmt: skip


def test_inspect_ends_with_totals_by_kind(tmp_path: Path) -> None:
    three(tmp_path / "loras")
    for number in range(5):
        (tmp_path / "loras" / f"page{number}.safetensors").write_text("<html>", "utf-8")
    told = CliRunner().invoke(app, ["inspect", str(tmp_path / "loras")]).stdout
    assert "3 adapters: 3 lora" in told
    assert "5 files left out: 5 not-safetensors" in told


def test_flags_are_shown_without_a_type() -> None:
    for verb in ([], ["index"], ["search"]):
        assert "<bool>" not in CliRunner().invoke(app, [*verb, "--help"]).stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lorascope index x --preset sdxl-f", ["sdxl-fast"]),
        ("lorascope index x --precision g", ["glance"]),
        ("lorascope show redd", ["redder"]),
    ],
)
def test_the_shell_completes_names(tmp_path: Path, line: str, offered: list[str]) -> None:
    three(tmp_path / "loras")
    index = ["index", str(tmp_path / "loras"), "--preset", FAKE, "--precision", "glance"]
    assert CliRunner().invoke(app, index).exit_code == 0
    words = line.split()
    environment = {"_LORASCOPE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    told = CliRunner().invoke(app, [], prog_name="lorascope", env=environment).stdout
    assert told.split() == offered


def test_python_m_lorascope_is_the_command_line() -> None:
    command = [sys.executable, "-m", "lorascope", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("lorascope ")


def test_an_early_ctrl_c_prints_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "lorascope.cli":
                raise KeyboardInterrupt

    for name in [name for name in sys.modules if name.startswith("lorascope.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 130


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process could handle")
def test_sigterm_stops_as_ctrl_c_does(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def verb() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("lorascope.cli._run", verb)
    ended = run("index")
    assert ended.status == 130
    assert "stopped; what was measured is kept" in ended.err


def test_the_size_of_a_download_is_told_before_it_begins(
    preset: Preset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"owner/model": 6_940_000_000, "owner/clip": 0}
    monkeypatch.setattr("lorascope.cli.checks.bytes_to_fetch", lambda location, *, pipeline: sizes[location])
    chosen = dataclasses.replace(preset, family="sdxl", base="owner/model", encoders=("owner/clip",))
    check_models(chosen, download=True)
    assert capsys.readouterr().err == "owner/model: 6.9 GB to fetch\n"
    with pytest.raises(ModelError, match="--base: the model owner/model is not on this disk"):
        check_models(chosen, download=False)
