"""A browser, and small servers for it to look at.

The browser is the system's Chromium. Set LORASCOPE_SCREENSHOTS to a folder to keep what was seen.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lorascope.evaluation.pairs import Study, StudyPair
from lorascope.library import Library
from lorascope.server import ServerSettings, create_app
from lorascope.server.job_pipe import Start
from tests.fakes import tint
from tests.serving import measured, start_thread

_CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
_HERE = Path(__file__).parent
_PATIENCE = 30_000
"""Milliseconds that a busy machine may take for what is nearly instant."""
DESKTOP, PHONE, LARGE = (1440, 900), (360, 740), (3840, 2160)


class Visit(Protocol):
    """Opens a page of a server."""

    def __call__(self, path: str, *, size: tuple[int, int] = DESKTOP, scheme: str = "light", **options: Any) -> Page:
        """Go to a path; the page's console must stay free of errors until the end of the test."""
        ...


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests here."""
    if not _CHROMIUM:
        pytest.skip("no Chromium on this machine: install one to see the pages tested (apt-get install chromium)")
    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
        yield opened
        opened.close()


@contextmanager
def serving(settings: ServerSettings, port: int = 0, start: Start = start_thread) -> Iterator[str]:
    """A server in a thread, with a worker in another; gives its address."""
    app = create_app(settings, start=start)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", ws="none", timeout_graceful_shutdown=2))
    app.state.lorascope.ending = lambda: server.should_exit
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def until(met: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="package")
def loras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters for the fake base: enough for two pages, one of them mature, one overpowering, one claimed for."""
    folder = tmp_path_factory.mktemp("loras")
    for number in range(50):
        tint(folder / f"grey{number:02}.safetensors", red=0.004 * number, green=0.1, blue=0.15)
    tint(folder / "rose.safetensors", red=0.3)
    tint(folder / "scarlet.safetensors", red=0.35, green=-0.05)
    tint(folder / "leaf.safetensors", green=0.3)
    tint(folder / "sea.safetensors", blue=0.3)
    tint(folder / "flood.safetensors", red=0.5, green=0.5, blue=0.5)
    claims = {
        "name": "Red light",
        "trainedWords": ["glow"],
        "nsfwLevel": 8,
        "model": {"tags": ["red"]},
        "modelId": 7,
        "id": 8,
    }
    tint(folder / "lamp.safetensors", red=0.25, blue=0.02)
    folder.joinpath("lamp.civitai.info").write_text(json.dumps(claims), "utf-8")
    return folder


@pytest.fixture(scope="package")
def library_file(loras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, measured as far as a glance; the preset lies beside it."""
    return measured(tmp_path_factory.mktemp("library") / "library.db", loras, precision="glance")


@pytest.fixture(scope="package")
def server(library_file: Path, loras: Path) -> Iterator[str]:
    """A server over the measured adapters, with a study of one pair."""
    with Library(library_file) as library:
        keys = {adapter.name: key for key, adapter in library.adapters.all().items()}
    pairs = library_file.with_name("pairs.json")
    one, other = (keys["rose"], keys["grey00"]), (keys["leaf"], keys["sea"])
    Study("suffix", "query", (StudyPair("red", one, other),)).write(pairs)
    with serving(ServerSettings(library=library_file, folders=(loras,), study=pairs)) as address:
        yield address


@pytest.fixture
def visit(browser: Browser, server: str) -> Iterator[Visit]:
    """Opens pages. ``base`` is another server, ``forgiven`` what the console may say, the rest is for the context."""
    errors: list[str] = []
    pardons: list[str] = []
    with ExitStack() as opened:

        def go(
            path: str,
            *,
            size: tuple[int, int] = DESKTOP,
            scheme: str = "light",
            base: str = server,
            forgiven: str = "",
            **options: Any,
        ) -> Page:
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme=scheme,  # type: ignore[arg-type]
                base_url=base,
                **options,
            )
            context.set_default_timeout(_PATIENCE)
            opened.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.goto(path)
            if options.get("java_script_enabled", True):
                ready(page)
            if forgiven:
                pardons.append(forgiven)
            return page

        yield go
    assert [error for error in errors if not any(pardon in error for pardon in pardons)] == []


def ready(page: Page) -> None:
    """Wait until a page's scripts are at work: htmx begins with a timer, which a busy machine may run after "load"."""
    page.wait_for_load_state()
    page.evaluate("new Promise(done => setTimeout(done))")


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page, if somebody asked for it."""
    if folder := os.environ.get("LORASCOPE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")


def barriers(page: Page) -> list[str]:
    """What axe finds that would keep somebody from using the page."""
    page.evaluate((_HERE / "vendor" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['impact']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical", "moderate")
    ]
