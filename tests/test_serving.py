"""`lorascope serve`: what it takes, what it says, and how it ends."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from lorascope.cli import listener
from lorascope.cli.app import app
from lorascope.server import ServerSettings


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ServerSettings, int]]:
    """ServerSettings and port of each server that would have run; each is ended by Ctrl-C at once."""
    found: list[tuple[ServerSettings, int]] = []

    def run(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        state = self.config.app.state.lorascope  # type: ignore[union-attr]
        found.append((state.settings, sockets[0].getsockname()[1]))
        state.close()
        sockets[0].close()
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.delenv("LORASCOPE_TOKEN", raising=False)
    return found


def serve(tmp_path: Path, *argv: str, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["serve", "--library", str(tmp_path / "library.db"), "--port", "0", *argv])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def test_it_says_where_it_is_and_ends_by_ctrl_c(tmp_path: Path, served: list[tuple[ServerSettings, int]]) -> None:
    output = serve(tmp_path).stdout
    ((settings, port),) = served
    assert f"lorascope is at http://127.0.0.1:{port}/" in output
    assert "Token" not in output
    assert settings.token == ""
    assert (tmp_path / "library.db").exists()  # an empty library: the page says what to do


def test_what_others_can_reach_gets_a_token_that_is_shown_once(
    tmp_path: Path, served: list[tuple[ServerSettings, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = serve(tmp_path, "--host", "0.0.0.0", "--name", "box.local").stdout
    (settings, port) = served[-1]
    assert len(settings.token) >= 32
    assert first.count(settings.token) == 1
    assert f"http://127.0.0.1:{port}/" in first
    assert settings.names == ("box.local",)
    file = tmp_path / "token"
    file.write_text("a token from a file\n", "utf-8")
    given = serve(tmp_path, "--host", "0.0.0.0", "--token-file", str(file)).stdout
    assert served[-1][0].token == "a token from a file"
    assert "a token from a file" not in given
    monkeypatch.setenv("LORASCOPE_TOKEN", "one from the environment")
    assert "one from the environment" not in serve(tmp_path).stdout
    assert served[-1][0].token == "one from the environment"  # on loopback too, if one is given


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--folder", "/nothing/here"], "--folder /nothing/here is no folder: give one that exists"),
        (["--token-file", "/nothing/here"], "--token-file /nothing/here cannot be read"),
        (["--preset", "best"], "no preset 'best': use carlos-2025"),
        (["--library", "/nothing/here/l.db"], "there is no folder /nothing/here: make it, or name another"),
        (["--allow-index"], "--allow-index does nothing without --mcp: leave it out"),
        (["--host", "192.0.2.1"], "192.0.2.1 port 0 cannot be had"),
    ],
)
def test_what_cannot_be_is_told(
    tmp_path: Path, argv: list[str], message: str, served: list[tuple[ServerSettings, int]]
) -> None:
    assert message in str(serve(tmp_path, *argv, status=1).exception)
    assert served == []


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("text", ["", " \n"])
def test_a_file_without_a_token_is_told(
    tmp_path: Path, host: str, text: str, served: list[tuple[ServerSettings, int]]
) -> None:
    """On loopback the server once ran without a token then; elsewhere it said that no file was given."""
    file = tmp_path / "token"
    file.write_text(text, "utf-8")
    found = str(serve(tmp_path, "--host", host, "--token-file", str(file), status=1).exception)
    assert found == f"--token-file {file} holds no token: write one of at least 16 characters into it"
    assert served == []


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_token_file_that_others_can_read_is_warned_about(
    tmp_path: Path, served: list[tuple[ServerSettings, int]], mode: int, *, warned: bool
) -> None:
    file = tmp_path / "token"
    file.write_text("a token from a file", "utf-8")
    file.chmod(mode)
    found = serve(tmp_path, "--token-file", str(file))
    assert (f"other users of this machine can read {file}: run `chmod 600" in found.stderr) == warned
    assert served[-1][0].token == "a token from a file"


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = serve(tmp_path, "--port", str(port), status=1).exception
    assert f"127.0.0.1 port {port} cannot be had (Address already in use): give another --port or --host" in str(found)


def test_the_page_is_opened_in_a_window_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: list[tuple[ServerSettings, int]]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(listener.webbrowser, "open", opened.append)
    serve(tmp_path)  # no terminal is attached
    assert opened == []
    monkeypatch.setattr(listener, "_has_screen", lambda: True)
    serve(tmp_path, "--no-open")
    assert opened == []
    serve(tmp_path)
    assert opened == [f"http://127.0.0.1:{served[-1][1]}/"]


def test_the_demo_ends_with_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: list[tuple[ServerSettings, int]]
) -> None:
    def demonstrate(folder: Path, *_: Any, **__: Any) -> Path:
        (folder / "loras").mkdir(parents=True)
        return folder / "library.db"

    monkeypatch.setattr("lorascope.cli.demonstration.demonstrate", demonstrate)
    for number, argv in enumerate((["--serve"], ["--no-serve"], [])):
        result = CliRunner().invoke(app, ["demo", str(tmp_path / str(number)), *argv])
        assert result.exit_code == 0, result.exception
    ((settings, _),) = served  # without a terminal it ends with its answers
    assert settings.folders == (tmp_path / "0" / "loras",)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--library", "/nothing/here/l.db"], "there is no folder /nothing/here: make it, or name another"),
        (["--folder", "."], "--folder does nothing without --allow-index: leave it out"),
    ],
)
def test_what_an_agent_cannot_have_is_named_before_it_is_answered(argv: list[str], message: str) -> None:
    """A misspelt library once became a new, empty one."""
    assert message in str(CliRunner().invoke(app, ["mcp", *argv], input="").exception)
