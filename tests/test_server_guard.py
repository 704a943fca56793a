"""Who may ask, from where and how much; and what every answer tells the browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serving import serving

from lorascope.errors import ServerError
from lorascope.server import Settings
from lorascope.server.sessions import COOKIE, Sessions
from lorascope.server.settings import is_loopback

TOKEN = "correct horse battery staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HEALTH = "/api/v1/health"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guard") / "library.db"


@pytest.fixture(scope="module")
def open_server(library: Path) -> Iterator[TestClient]:
    """One that only this machine reaches."""
    with serving(library, names=("box.local",)) as client:
        yield client


@pytest.fixture
def client(library: Path) -> Iterator[TestClient]:
    """One that asks for a token."""
    with serving(library, token=TOKEN) as found:
        yield found


def code(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["code"]


# --- names (DNS rebinding) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8642", "127.0.0.1:8642", "[::1]:8642", "BOX.local", "10.0.0.7"]
)
def test_its_own_names_and_addresses_are_answered(open_server: TestClient, host: str) -> None:
    assert open_server.get(HEALTH, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a@b:c", "[::1"]
)
def test_a_name_that_was_pointed_here_is_not(open_server: TestClient, host: str) -> None:
    assert code(open_server.get(HEALTH, headers={"Host": host}), 421) == "wrong-host"


# --- other sites (CSRF) -----------------------------------------------------------------------------------------

RUN = "/api/v1/runs"
"""It answers 409 when it lets a request through: there is no folder to index."""


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
    ],
)
def test_pages_of_other_sites_change_nothing(open_server: TestClient, headers: dict[str, str]) -> None:
    assert code(open_server.post(RUN, json={}, headers=headers), 403) == "cross-site"
    assert open_server.get(HEALTH, headers=headers).status_code == 200  # they cannot read the answer


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}])
def test_our_pages_and_programs_may(open_server: TestClient, headers: dict[str, str]) -> None:
    assert code(open_server.post(RUN, json={}, headers=headers), 409) == "no-folders"


def test_nothing_allows_other_sites_to_read(open_server: TestClient) -> None:
    answer = open_server.get(HEALTH, headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


# --- the token --------------------------------------------------------------------------------------------------


def test_the_api_asks_for_the_token(client: TestClient) -> None:
    answer = client.get(HEALTH)
    assert code(answer, 401) == "no-token"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "asks for a token" in answer.json()["error"]["message"]
    for wrong in ("Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN[:-1]}é"):
        assert code(client.get(HEALTH, headers={"Authorization": wrong.encode()}), 401) == "no-token"
    assert client.get(HEALTH, headers=BEARER).status_code == 200


def test_an_unknown_path_tells_nothing_without_it(client: TestClient) -> None:
    assert code(client.get("/api/v1/nothing"), 401) == "no-token"
    assert code(client.get("/api/v1/nothing", headers=BEARER), 404) == "not-found"


def test_people_log_in_and_go_on_where_they_were(client: TestClient) -> None:
    sent_away = client.get("/?q=red+green")
    assert sent_away.status_code == 303
    assert sent_away.headers["location"] == "/login?next=%2F%3Fq%3Dred%2Bgreen"
    assert client.get(sent_away.headers["location"]).status_code == 401
    answer = client.post(
        "/login", data={"token": TOKEN, "next": "/?q=red+green"}, headers={"Origin": "http://localhost"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=red+green")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert client.get(HEALTH).status_code == 200  # by the cookie
    client.post("/logout", headers={"Origin": "http://localhost"})
    assert code(client.get(HEALTH), 401) == "no-token"


def test_a_wrong_token_gives_no_session(client: TestClient) -> None:
    answer = client.post("/login", data={"token": "wrong"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert client.post("/login", data={}).status_code == 401


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_a_login_leads_nowhere_else(client: TestClient, target: str) -> None:
    answer = client.post("/login", data={"token": TOKEN, "next": target})
    assert answer.headers["location"] == "/"


def test_a_cookie_alone_changes_nothing(client: TestClient) -> None:
    """A browser says where a request comes from; one that does not may be led by another site."""
    client.post("/login", data={"token": TOKEN})
    assert code(client.post(RUN, json={}), 403) == "cross-site"
    assert code(client.post(RUN, json={}, headers={"Origin": "http://localhost"}), 409) == "no-folders"
    client.cookies.clear()
    assert code(client.post(RUN, json={}, headers=BEARER), 409) == "no-folders"


def test_sessions_end_and_cannot_be_made_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post("/login", data={"token": TOKEN})
    end, _, proof = client.cookies[COOKIE].partition(".")
    for forged in ("", "1.", f"{int(end) + 1}.{proof}", f"{end}.{proof[:-1]}0", f"{end}", f"é.{proof}"):
        assert not Sessions(TOKEN).valid({COOKIE: forged})
    assert Sessions(TOKEN).valid({COOKIE: f"{end}.{proof}"})  # a restart does not end it
    assert not Sessions("another token, as long").valid({COOKIE: f"{end}.{proof}"})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 24 * 3600)
    assert not Sessions(TOKEN).valid({COOKIE: f"{end}.{proof}"})


def test_what_others_can_reach_needs_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "box.local", "::"):
        with pytest.raises(ServerError, match="needs a token: give --token-file, or set LORASCOPE_TOKEN"):
            Settings(library=tmp_path / "library.db", host=host)
        assert Settings(library=tmp_path / "library.db", host=host, token=TOKEN).token
    with pytest.raises(ServerError, match="the token has 5 characters: use at least 16"):
        Settings(library=tmp_path / "library.db", token="short")
    assert [host for host in ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost") if not is_loopback(host)] == []


def test_folders_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="--folder .*nothing is no folder: give one that exists"):
        Settings(library=tmp_path / "library.db", folders=(tmp_path / "nothing",))


# --- what answers say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/login", HEALTH, "/api/v1/nothing", "/nothing", "/static/nothing"])
def test_every_answer_keeps_the_browser_safe(open_server: TestClient, path: str) -> None:
    headers = open_server.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "cache-control" in headers


def test_refusals_keep_the_browser_safe_too(open_server: TestClient) -> None:
    answer = open_server.get(HEALTH, headers={"Host": "evil.example"})
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_failure_of_ours_says_nothing_of_it(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(library) as client:
        client.app.state.lorascope.overview = lambda: 1 / 0  # type: ignore[attr-defined]
        answer = client.get(HEALTH)
    assert code(answer, 500) == "internal-error"
    assert "division" not in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_body_is_counted_while_it_is_read(open_server: TestClient) -> None:
    """Its length need not be announced."""

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    answer = open_server.post("/api/v1/search", content=pieces(), headers={"Content-Type": "application/json"})
    assert code(answer, 413) == "too-large"
