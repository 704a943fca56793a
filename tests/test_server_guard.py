"""Who may ask, from where and how much; and what every answer tells the browser."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from fakes import three
from fastapi.testclient import TestClient
from serving import measured, serving
from starlette.requests import HTTPConnection
from uvicorn.server import ServerState

from lorascope.errors import ServerError
from lorascope.server import ServerSettings, access, connection, encoders, guard
from lorascope.server.access import COOKIE, Access
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
def client(library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """One that asks for a token, and answers a wrong one at once."""
    monkeypatch.setattr(access, "_FIRST_DELAY", 0)
    with serving(library, token=TOKEN) as found:
        yield found


def _code(path: Path) -> str:
    """A module without its docstrings and comments."""
    return ast.unparse(ast.parse(re.sub(r'""".*?"""', '""', path.read_text("utf-8"), flags=re.DOTALL)))


def code(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["code"]


# --- names (DNS rebinding) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8642", "127.0.0.1:8642", "[::1]:8642", "BOX.local", "10.0.0.7"]
)
def test_its_own_names_and_addresses_are_answered(open_server: TestClient, host: str) -> None:
    assert open_server.get(HEALTH, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhostx"])
def test_a_name_that_was_pointed_here_is_not(open_server: TestClient, host: str) -> None:
    assert code(open_server.get(HEALTH, headers={"Host": host}), 421) == "wrong-host"


MALFORMED_HOSTS = [
    "", "a@b:c", "[::1", "localhost/static/x?", "localhost/static/", "localhost?", "localhost#", "localhost\\static",
    "localhost%2fstatic", "localhost:80/static", "localhost:port", "localhost:", "user@localhost", "localhost evil",
    "localhost\tevil", "localhost,evil", "/static/x", "-localhost", "localhosté",
]  # fmt: skip


@pytest.mark.parametrize("host", MALFORMED_HOSTS)
def test_a_malformed_host_is_refused(open_server: TestClient, host: str) -> None:
    assert code(open_server.get(HEALTH, headers={"Host": host.encode("latin-1")}), 400) == "bad-request"


@pytest.mark.parametrize("host", ["localhost/static/x?", "localhost/login?", "localhost"])
def test_no_host_header_leads_past_the_token(library: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Starlette before 1.0.1 builds ``request.url`` from the Host header: a token could be bypassed by it."""
    url = property(lambda self: SimpleNamespace(path=f"/{self.headers['host'].partition('/')[2]}", query="", scheme=""))
    monkeypatch.setattr(HTTPConnection, "url", url)
    with serving(library, token=TOKEN) as client:
        assert client.get(HEALTH, headers={"Host": host}).status_code in (400, 401)
        monkeypatch.setattr(guard, "_HOST", re.compile("(?P<name>localhost).*"))  # by the path alone, too
        assert code(client.get(HEALTH, headers={"Host": host}), 401) == "no-token"


def test_no_module_of_the_server_reads_the_url_of_a_request() -> None:
    found = [path.name for path in Path(guard.__file__).parent.rglob("*.py") if "request.url" in _code(path)]
    assert found == []


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
        {"Origin": "https://evil.example", "Authorization": "Bearer anything"},  # which nobody asks for here
    ],
)
def test_pages_of_other_sites_change_nothing(open_server: TestClient, headers: dict[str, str]) -> None:
    assert code(open_server.post(RUN, json={}, headers=headers), 403) == "cross-site"
    assert open_server.get(HEALTH, headers=headers).status_code == 200  # they cannot read the answer


def test_a_request_has_one_host(open_server: TestClient) -> None:
    """The second one was once passed over, whatever it was."""
    twice = [("Host", "localhost"), ("Host", "evil.example")]
    for headers in (twice, [*reversed(twice)], [("Host", "localhost")] * 2):
        answer = open_server.get(HEALTH, headers=headers)
        assert code(answer, 400) == "bad-request"
        assert "the request has 2 Host headers" in answer.text


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}])
def test_our_pages_and_programs_may(open_server: TestClient, headers: dict[str, str]) -> None:
    assert code(open_server.post(RUN, json={}, headers=headers), 409) == "no-folders"


def test_nothing_allows_other_sites_to_read(open_server: TestClient) -> None:
    answer = open_server.get(HEALTH, headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


GALLERY = "https://gallery.example"


def test_a_site_that_is_named_may_use_the_api(library: Path) -> None:
    with serving(library, origins=(GALLERY,)) as client:
        for path in (HEALTH, "/api/v1/nothing"):
            answer = client.get(path, headers={"Origin": GALLERY})
            assert answer.headers["access-control-allow-origin"] == GALLERY
            assert "Origin" in answer.headers["vary"]
            assert "access-control-allow-credentials" not in answer.headers
        from_there = {"Origin": GALLERY, "Sec-Fetch-Site": "cross-site"}
        assert code(client.post(RUN, json={}, headers=from_there), 409) == "no-folders"
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = client.options(RUN, headers=from_there | asked)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, GALLERY)
        assert client.post("/work/runs", headers=from_there).status_code == 403  # pages are no part of it
        for other in ("https://evil.example", f"{GALLERY}.evil.example", "http://gallery.example", "null"):
            assert "access-control-allow-origin" not in client.get(HEALTH, headers={"Origin": other}).headers
            assert client.options(RUN, headers={"Origin": other} | asked).status_code == 400
            assert code(client.post(RUN, json={}, headers={"Origin": other}), 403) == "cross-site"
        assert "Origin" in client.get(HEALTH).headers["vary"]  # what a browser keeps is not mixed up


def test_a_site_that_is_named_needs_the_token_and_never_uses_the_cookie(library: Path) -> None:
    with serving(library, origins=(GALLERY,), token=TOKEN) as client:
        client.post("/login", data={"token": TOKEN})
        assert client.get(HEALTH).status_code == 200
        from_there = {"Origin": GALLERY}
        assert code(client.get(HEALTH, headers=from_there), 401) == "no-token"
        assert code(client.post(RUN, json={}, headers=from_there), 401) == "no-token"
        assert client.get(HEALTH, headers=from_there | BEARER).status_code == 200
        assert code(client.post(RUN, json={}, headers=from_there | BEARER), 409) == "no-folders"


@pytest.mark.parametrize("origin", ["*", "gallery.example", "https://gallery.example/", "HTTPS://a.b", "null", ""])
def test_what_is_no_origin_is_told(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ServerError, match="is no origin: write scheme, host and port as browsers do"):
        ServerSettings(library=tmp_path / "library.db", origins=(origin,))


# --- the token --------------------------------------------------------------------------------------------------


def test_the_api_asks_for_the_token(client: TestClient) -> None:
    answer = client.get(HEALTH)
    assert code(answer, 401) == "no-token"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "needs a token" in answer.json()["error"]["message"]
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
    part = client.get("/?q=red+green", headers={"HX-Request": "true"})
    assert (part.text, part.headers["hx-redirect"]) == ("", sent_away.headers["location"])
    pressed = client.post("/logout", headers={"Origin": "http://localhost"})
    assert pressed.headers["location"] == "/login?next=%2F"  # what was pressed is no page to continue from
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


def test_wrong_tokens_are_slowed_and_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    found = Access(TOKEN)

    async def guess() -> None:
        for address in ("10.0.0.1",) * 6 + ("10.0.0.2",):
            await found.delay(address)

    with caplog.at_level(logging.WARNING, "lorascope.server"):
        apart(asyncio.run, guess())
    assert waited == [0.5, 1, 2, 4, 8, 8, 0.5]  # each address by itself
    logged = [record.getMessage() for record in caplog.records]
    assert logged[:3] == [f"wrong token from 10.0.0.1 ({count} so far)" for count in (1, 2, 4)]
    assert TOKEN not in caplog.text


def test_only_so_many_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_FIRST_DELAY", 0)
    monkeypatch.setattr(access, "_MOST_ADDRESSES", 3)
    found = Access(TOKEN)

    async def guess() -> None:
        for number in range(10):
            await found.delay(f"10.0.0.{number}")

    apart(asyncio.run, guess())
    assert list(found._failures) == ["10.0.0.7", "10.0.0.8", "10.0.0.9"]


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
    wrong = {"Authorization": "Bearer wrong"}  # any Bearer header once was enough
    for headers in (wrong, wrong | {"Origin": "https://evil.example"}, wrong | {"Sec-Fetch-Site": "cross-site"}):
        assert code(client.post(RUN, json={}, headers=headers), 403) == "cross-site"
    client.cookies.clear()
    assert code(client.post(RUN, json={}, headers=wrong), 401) == "no-token"
    assert code(client.post(RUN, json={}, headers=BEARER | {"Origin": "https://evil.example"}), 409) == "no-folders"
    assert code(client.post(RUN, json={}, headers=BEARER), 409) == "no-folders"


def test_sessions_end_and_cannot_be_made_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.post("/login", data={"token": TOKEN})
    end, _, proof = client.cookies[COOKIE].partition(".")
    other = f"{end}.{proof[:-1]}{'1' if proof.endswith('0') else '0'}"
    for forged in ("", "1.", f"{int(end) + 1}.{proof}", other, f"{end}", f"é.{proof}"):
        assert not Access(TOKEN).has_session({COOKIE: forged})
    assert Access(TOKEN).has_session({COOKIE: f"{end}.{proof}"})  # a restart does not end it
    assert not Access("another token, as long").has_session({COOKIE: f"{end}.{proof}"})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 24 * 3600)
    assert not Access(TOKEN).has_session({COOKIE: f"{end}.{proof}"})


def test_what_others_can_reach_needs_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "box.local", "::"):
        with pytest.raises(ServerError, match="needs a token: give --token-file, or set LORASCOPE_TOKEN"):
            ServerSettings(library=tmp_path / "library.db", host=host)
        assert ServerSettings(library=tmp_path / "library.db", host=host, token=TOKEN).token
    with pytest.raises(ServerError, match="the token has 5 characters: use at least 16"):
        ServerSettings(library=tmp_path / "library.db", token="short")
    assert [host for host in ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost") if not is_loopback(host)] == []


def test_folders_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="--folder .*nothing is no folder: give one that exists"):
        ServerSettings(library=tmp_path / "library.db", folders=(tmp_path / "nothing",))


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


def apart(call: Callable[..., Any], *given: Any) -> Any:
    """Call in a thread of its own: a browser's loop may be running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *given).result()


def test_a_body_that_comes_by_drops_is_not_waited_for(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece once began the time anew."""
    monkeypatch.setattr(guard, "_BODY_SECONDS", 0.1)
    sent: list[Any] = []

    async def drip() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/api/v1/search",
        "raw_path": b"/api/v1/search", "query_string": b"", "root_path": "", "headers": headers,
    }  # fmt: skip
    with serving(library) as client:
        apart(asyncio.run, asyncio.wait_for(client.app(scope, drip, send), 10))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "too-slow"


def connected(app: Any, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]) -> bytes:
    """What a client makes of an app that is served over a connection of its own."""
    config = uvicorn.Config(app)
    config.load()

    async def both() -> bytes:
        ours, theirs = socket.socketpair()
        given = {"config": config, "server_state": ServerState(), "app_state": {}}
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection.Connection(**given), ours)
        reader, writer = await asyncio.open_connection(sock=theirs, limit=1024)
        found = await talk(reader, writer)
        writer.close()
        return found

    def run() -> bytes:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:  # uvloop, where it is to be had
            return runner.run(both())

    return apart(run)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHo"])
def test_a_client_that_never_ends_its_headers_is_left(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(connection, "_SECONDS", 0.1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.5)  # a request that is under way is not disturbed
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(said)
        return await asyncio.wait_for(reader.read(), 10)

    answer = connected(app, talk)
    assert answer.startswith(b"HTTP/1.1 204") == (b"\r\n\r\n" in said)


@pytest.mark.parametrize("parts", [1, 40])  # at once, as pages are sent; or in a stream
@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_never_reads_its_answer_is_left(
    monkeypatch: pytest.MonkeyPatch, parts: int, *, reads: bool
) -> None:
    """It once held one of the 256 connections for good. One that reads slowly gets all of it."""
    monkeypatch.setattr(connection, "_SECONDS", 0.1)
    part = b"x" * (4_000_000 // parts)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        length = str(parts * len(part)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for number in range(parts):
            await send({"type": "http.response.body", "body": part, "more_body": number < parts - 1})

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0 if reads else 0.5)
        found = bytearray()
        while piece := await asyncio.wait_for(reader.read(100_000), 10):
            found += piece
            await asyncio.sleep(0.01 if reads else 0)
        return bytes(found)

    answer = connected(app, talk)
    assert (answer.count(b"x") == parts * len(part)) == reads


ENDLESS = [
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
    b"GET / HTTP/1.1\r\na: " + b"b" * 120_000,
    b"GET /" + b"a" * 120_000,
    b"GET / HTTP/1.1\r\n" + b"a" * 120_000,
]


@pytest.mark.parametrize("said", ENDLESS, ids=["many", "value", "address", "name"])
def test_headers_without_end_are_refused_while_they_arrive(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(said[: 44 * 1024])  # the rest would only meet a closed connection
        return await asyncio.wait_for(reader.read(), 10)

    answer = connected(echo, talk)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert answer.endswith(b"\r\n\r\nthe headers are larger than 32 KiB")


def test_trailers_without_end_are_refused() -> None:
    """They come after the body, and are kept like headers."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                writer.write(b"a: b\r\n" * 100)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), 10)
        return b""

    assert connected(echo, talk) == b""  # closed at once: an answer may be under way


@pytest.mark.parametrize("size", [10, 30_000])
def test_headers_within_the_limit_and_bodies_of_any_size_are_let_through(size: int) -> None:
    body = b"x" * 500_000

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        head = b"POST / HTTP/1.1\r\na: %b\r\ncontent-length: %d\r\n\r\n" % (b"b" * size, len(body))
        for _ in range(2):  # kept alive: the count starts anew
            writer.write(head + body)
        writer.write(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
        return await asyncio.wait_for(reader.read(), 10)

    answer = connected(echo, talk)
    assert [answer.count(text) for text in (b"HTTP/1.1 200", b"\r\n\r\n500000", b"\r\n\r\n0")] == [3, 2, 1]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message["body"]), message.get("more_body", False)
    text = str(length).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


class Wire:
    """A transport that leads nowhere; ``address`` is the client's."""

    def __init__(self, address: str) -> None:
        self._peer = (address, 1234)
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        """Only the client's address is known."""
        return self._peer if name == "peername" else None

    def abort(self) -> None:
        """Close it."""
        self.closed = True

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed


def open_connections(addresses: Sequence[str], *, busy: Sequence[int] = (), limit: int = 10) -> list[Wire]:
    """Let clients connect one after the other; those of some places have a request under way."""
    config = uvicorn.Config(echo, limit_concurrency=limit)
    server = ServerState()
    wires = [Wire(address) for address in addresses]

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        for number, wire in enumerate(wires):
            made = connection.Connection(config, server, {}, _loop=loop)
            made.opened = float(number)
            made.connection_made(wire)
            if number in busy:
                made.cycle = SimpleNamespace(response_complete=False)

    apart(asyncio.run, connect())
    return wires


def test_one_address_cannot_keep_others_out_by_open_connections() -> None:
    """300 connections that ask nothing once answered everyone with 503 for 20 seconds."""
    wires = open_connections(["10.0.0.1"] * 300 + ["10.0.0.2"] * 3)
    assert sum(not wire.closed for wire in wires) == 9  # below the limit, so that each may ask
    assert [wire.closed for wire in wires[-3:]] == [False] * 3


def test_one_address_cannot_keep_others_out_by_slow_requests() -> None:
    wires = open_connections(["10.0.0.1"] * 9 + ["10.0.0.2"], busy=range(9))
    assert [wire.closed for wire in wires] == [True] + [False] * 9


@pytest.mark.parametrize("newcomer", ["10.0.0.1", "10.0.0.10"])
def test_requests_under_way_are_not_ended_for_an_equal(newcomer: str) -> None:
    wires = open_connections([f"10.0.0.{number}" for number in range(9)] + [newcomer], busy=range(9))
    assert not any(wire.closed for wire in wires)


def test_who_waits_for_the_encoder_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "MOST", 1)
    place = measured(tmp_path / "library.db", three(tmp_path / "loras"), precision="glance")
    turn = threading.Event()
    with serving(place) as client, ThreadPoolExecutor(1) as pool:
        state = client.app.state.lorascope
        state._encoders._thread.submit(turn.wait)
        first = pool.submit(client.get, "/api/v1/search?q=red")
        while state._encoders._places._value:
            time.sleep(0.01)
        refused = client.get("/api/v1/search?q=blue")
        assert code(refused, 429) == "queue-full"
        assert int(refused.headers["retry-after"]) > 0
        page = client.get("/?q=blue")
        assert (page.status_code, page.headers["retry-after"]) == (429, refused.headers["retry-after"])
        assert "1 others are waiting for the encoder" in page.text
        assert client.get("/api/v1/adapters").status_code == 200  # what needs no encoder does not wait
        turn.set()
        assert first.result(20).status_code == 200
        assert client.get("/api/v1/search?q=blue").status_code == 200


def test_a_body_is_counted_while_it_is_read(open_server: TestClient) -> None:
    """Its length need not be announced."""

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    answer = open_server.post("/api/v1/search", content=pieces(), headers={"Content-Type": "application/json"})
    assert code(answer, 413) == "too-large"


# --- embedding --------------------------------------------------------------------------------------------------

COMFY = "http://127.0.0.1:8188"


def test_no_page_can_be_framed_unless_a_site_is_named(library: Path, open_server: TestClient) -> None:
    assert "frame-ancestors 'none'" in open_server.get("/").headers["Content-Security-Policy"]
    with serving(library, embedders=(COMFY,)) as client:
        assert f"frame-ancestors 'self' {COMFY}" in client.get("/").headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("page", "policy"),
    [
        (f"{COMFY}/", "cross-origin"),
        ("http://evil.example/", "same-site"),
        (f"{COMFY}.evil.example/", "same-site"),
        ("", "same-site"),
    ],
)
def test_only_sites_that_were_named_may_show_pictures_of_this_one(library: Path, page: str, policy: str) -> None:
    with serving(library, embedders=(COMFY,)) as client:
        answer = client.get(HEALTH, headers={"Referer": page} if page else {})
        assert answer.headers["Cross-Origin-Resource-Policy"] == policy
        assert "Referer" in answer.headers["Vary"]


def test_a_site_that_is_no_origin_cannot_be_named(library: Path) -> None:
    with pytest.raises(ServerError, match="--embed-in http://127.0.0.1:8188/ is no origin"):
        ServerSettings(library=library, embedders=("http://127.0.0.1:8188/",))
