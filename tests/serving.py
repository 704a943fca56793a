"""A server over a library of fakes, for tests: its worker is a thread, so nothing has to be started or loaded."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi.testclient import TestClient

from lorascope.grid import PromptSet
from lorascope.library import Library
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset
from lorascope.server import ServerSettings, create_app
from lorascope.server.job_pipe import Task
from lorascope.server.jobs import ModelConfig
from lorascope.server.model_process import work

T = TypeVar("T")

HERE = "http://localhost"
"""Where test clients think the server is: a name that it goes by."""


def awaited(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end, in a thread of its own: the browser's loop may have taken this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(function())).result()


def start_thread(pipe: Connection, plan: ModelConfig) -> Task:
    """Begin a worker in a thread of this process."""

    def task() -> None:
        with pipe:
            work(pipe, plan)

    thread = threading.Thread(target=task, daemon=True)
    thread.start()
    return thread


def small_world(folder: Path) -> Path:
    """A preset of the fakes with a tenth of the prompts and phrases, which is enough to talk about."""
    text = (Path(__file__).parent / "fake.toml").read_text("utf-8")
    for field, name, step in (("prompts", "index", 10), ("query_prompts", "query", 10), ("reference", "reference", 4)):
        lines: dict[str, list[str]] = {}
        for prompt in PromptSet.load(name).prompts[::step]:
            lines.setdefault(prompt.category, []).append(prompt.text)
        tables = [f"[{json.dumps(category)}]\nall = {json.dumps(texts)}\n" for category, texts in lines.items()]
        (folder / f"{name}.toml").write_text("\n".join(tables), "utf-8")
        text += f"{field} = {json.dumps(str(folder / f'{name}.toml'))}\n"
    path = folder / "fake.toml"
    path.write_text(text, "utf-8")
    return path


def measured(place: Path, *folders: Path, precision: str = "quick") -> Path:
    """A library of what lies in some folders, measured with the fakes; the preset lies beside it."""
    place.parent.mkdir(exist_ok=True)
    preset = Preset.load(small_world(place.parent))
    with Library(place, create=True) as library:
        index(folders, load_worker(preset), library, precision=precision)
    return place


@contextmanager
def serving(place: Path, *folders: Path, **settings: Any) -> Generator[TestClient]:
    """A client of a server over one library."""
    preset = str(small_world(place.parent))
    app = create_app(ServerSettings(library=place, folders=folders, preset=preset, **settings), start=start_thread)
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        yield client


def until(client: TestClient, path: str, *states: str) -> Any:
    """Ask until something is in one of these states; what was answered then."""
    end = time.monotonic() + 20
    while (found := client.get(path).json())["state"] not in states:
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found


@contextmanager
def listening(app: Any) -> Generator[str]:
    """The address of an application that listens on this machine, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
