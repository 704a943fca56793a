"""How the server holds up: many clients at once, and a large library."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.harness import Figure, Measurement, at_most
from lorascope import Library, Preset, PromptSet, Searcher, index
from lorascope.library import BARE, AdapterFacts, Preview, StoredAdapter, StoredProtocol, StoredSignature
from lorascope.measure import load_worker
from lorascope.miniature import adapters_path, truth
from lorascope.search.vectors import principal_axes, unit

TITLE = "The server"
NOTE = """Server and clients share the machine. 50 clients ask the shipped world's library for a minute: again at once
after each answer, so that times are those of a queue, or after a pause of a second, as people do. The large library
holds 10,000 random adapters with pictures of 512 px."""

_CLIENTS = 50
_SECONDS = 60.0
_ADAPTERS = 10_000
_SIDE = 512
_PLACES = 2
_PICTURES = 64
_REPEATS = 15


@dataclass(frozen=True)
class Response:
    """What came back: status, headers' names and values in lower case, body as it was sent, and the time it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        """The body, unzipped."""
        zipped = self.headers.get("content-encoding") == "gzip"
        return (gzip.decompress(self.body) if zipped else self.body).decode()


@dataclass
class Load:
    """What many clients met: seconds of each answer, and how many were no success."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    length: float = 0.0
    cpu: float = 0.0

    def figures(self, who: str, limit: float | None = None) -> Iterator[Measurement]:
        """The middle and the slowest twentieth, and what an answer costs the server."""
        found = np.array(self.seconds) * 1e3
        p5, p50, p95 = np.percentile(found, (5, 50, 95))
        rate = f"{len(found) / self.length:.0f} answers/s, {self.failed} failed of {len(found)}"
        yield Figure(name=f"{who}: an answer", value=float(p50), unit="ms", p5=float(p5), p95=float(p95), note=rate)
        target = None if limit is None else at_most(limit)
        yield Figure(name=f"{who}: 95 of 100 answers within", value=float(p95), unit="ms", target=target)
        yield Figure(name=f"{who}: the server's CPU time", value=self.cpu / len(found) * 1e3, unit="ms")


def measure() -> Iterator[Measurement]:
    """Under load, and with a large library."""
    with tempfile.TemporaryDirectory() as name:
        small = miniature(Path(name))
        yield from _under_load(small)
        yield from _plane(small)
        yield from _large(enlarged(small))


# --- load -------------------------------------------------------------------------------------------------------


def _under_load(library: Path) -> Iterator[Measurement]:
    """Clients from this process; the server is another one."""
    known = [query["text"] for query in truth()["queries"]][:20]
    numbers = count()
    with server(library) as (address, process):
        for query in known:
            asyncio.run(_ask(address, _search(query)))
        before = process.memory_info().rss

        def load(pause: float, path: Callable[[], str]) -> Load:
            spent = sum(process.cpu_times()[:2])
            found = asyncio.run(_load(address, pause, path))
            found.cpu = sum(process.cpu_times()[:2]) - spent
            return found

        def again() -> str:
            return _search(known[next(numbers) % len(known)])

        yield from load(0.0, again).figures("repeated queries, no pause", 50)
        yield from load(1.0, again).figures("repeated queries, pauses", 50)
        with _locked(library):
            yield from load(1.0, again).figures("repeated queries, another process holds the write lock", 100)
        with _index(library):
            yield from load(1.0, again).figures("repeated queries, while new adapters are measured", 100)
        middle = process.memory_info().rss
        yield from load(0.0, lambda: _search(f"a drawing of {next(numbers)} cats")).figures("new queries, no pause")
        after = process.memory_info().rss
    note = f"{before / 2**20:.0f} before all of it, {middle / 2**20:.0f} before the new queries"
    yield Figure(name="memory of the server, afterwards", value=after / 2**20, unit="MiB", note=note)


@contextmanager
def _locked(library: Path) -> Generator[None]:
    """Hold the write lock of a library."""
    with closing(sqlite3.connect(library, isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")
        yield
        held.execute("ROLLBACK")


@contextmanager
def _index(library: Path) -> Generator[None]:
    """Measure the shipped adapters of a library on by another process, until the end of the block."""
    command = [sys.executable, "-m", "lorascope", "index", str(adapters_path()), "--preset", "miniature"]
    command += ["--precision", "full", "--library", str(library)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, "it ended too early to be measured"
    finally:
        process.terminate()
        process.wait()


async def _load(address: tuple[str, int], pause: float, path: Callable[[], str]) -> Load:
    found = Load()
    began = time.perf_counter()

    async def client() -> None:
        connection = await asyncio.open_connection(*address)
        while time.perf_counter() - began < _SECONDS:
            answer = await _exchange(connection, path())
            found.seconds.append(answer.seconds)
            found.failed += answer.status != 200
            await asyncio.sleep(pause)
        connection[1].close()

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    found.length = time.perf_counter() - began
    return found


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _exchange(connection: Connection, path: str) -> Response:
    """One request and its answer, as HTTP/1.1 has it; a client that costs little beside the server."""
    reader, writer = connection
    began = time.perf_counter()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await _body(reader, headers)
    return Response(int(head[0].split()[1]), headers, body, time.perf_counter() - began)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers["content-length"]))
    parts: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


async def _ask(address: tuple[str, int], path: str) -> Response:
    connection = await asyncio.open_connection(*address, limit=2**24)
    try:
        return await _exchange(connection, path)
    finally:
        connection[1].close()


def _search(query: str) -> str:
    return f"/api/v1/search?limit=10&q={quote(query)}"


@contextmanager
def server(library: Path) -> Generator[tuple[tuple[str, int], psutil.Process]]:
    """`lorascope serve` as people start it, on a free port, warmed up."""
    command = [sys.executable, "-c", "from lorascope.cli import main; main()", "serve", "--no-open", "--port", "0"]
    with subprocess.Popen([*command, "--library", str(library)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://([\d.]+):(\d+)/", process.stdout.readline())
        assert found is not None
        address = (found[1], int(found[2]))
        asyncio.run(_ask(address, _search("warm up")))
        try:
            yield address, psutil.Process(process.pid)
        finally:
            process.terminate()


# --- a large library --------------------------------------------------------------------------------------------


def _large(library: Path) -> Iterator[Measurement]:
    with server(library) as (address, _):

        def get(path: str) -> Response:
            found = asyncio.run(_ask(address, path))
            assert found.status == 200, (path, found.status)
            return found

        numbers = count()
        first = get("/?q=snow")
        page = _typical(lambda: get(f"/?q=snow&max_strength={30 - next(numbers) / 100}"))
        map_first = get("/api/v1/map")
        map_again = _typical(lambda: get("/api/v1/map"))
        cards = set(re.findall(r'"(/api/v1/[^"]*previews[^"]*)"', first.text))
        pictures = [get(path.replace("&amp;", "&")).seconds for path in sorted(cards)]
        ready = _ready(address)
        weight = len(first.body) + sum(len(get(path).body) for path in _assets(first.text))
    rows = (
        ("search page, known words, new filter", page * 1e3, 200),
        ("map, the first time", map_first.seconds * 1e3, 1000),
        ("map, again", map_again * 1e3, None),
        (f"one of {len(pictures)} pictures on that page", statistics.median(pictures) * 1e3, None),
    )
    for what, value, limit in rows:
        target = None if limit is None else at_most(limit)
        yield Figure(name=f"{_ADAPTERS:,} adapters: {what}", value=value, unit="ms", target=target)
    if ready is not None:
        name = f"{_ADAPTERS:,} adapters: first page in Chromium, until it can be used"
        yield Figure(name=name, value=ready, unit="ms", target=at_most(1000))
    yield Figure(
        name="first page as sent, with styles and scripts, without pictures", value=weight / 1e3, unit="kB",
        target=at_most(150),
    )  # fmt: skip


def _ready(address: tuple[str, int]) -> float | None:
    """Milliseconds until a browser that was never here has run the scripts of the first page; None without one."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        found: list[float] = []
        for _ in range(_REPEATS):
            page = browser.new_context().new_page()
            page.goto(f"http://{address[0]}:{address[1]}/", wait_until="domcontentloaded")
            found.append(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
            page.context.close()
        browser.close()
    return statistics.median(found)


def _assets(html: str) -> Iterable[str]:
    """Styles and scripts that a page names."""
    return sorted(set(re.findall(r'(?:src|href)="(/static/[^"]+\.(?:css|js|svg)[^"]*)"', html)))


def _typical(work: Callable[[], Response]) -> float:
    return statistics.median(work().seconds for _ in range(_REPEATS))


def _plane(library: Path) -> Iterator[Measurement]:
    """How much of what Directions differ in the map shows, by the plane that it is drawn in."""
    with Library(library) as opened:
        searcher = Searcher(opened)
        phrases = PromptSet.load(searcher.stored.preset.reference).texts
        texts = np.stack([unit(searcher.vector(phrase)) for phrase in phrases])
        directions = np.asarray(searcher.matrix.directions)
    spread = directions - directions.mean(0)
    for whose, rows in (("their own axes", directions), ("the reference phrases", texts)):
        share = np.sum((spread @ principal_axes(rows).T) ** 2) / np.sum(spread**2)
        name = f"variance of {len(directions)} Directions that the map shows, in the plane of {whose}"
        yield Figure(name=name, value=float(share) * 100, unit="%")


def miniature(folder: Path) -> Path:
    """The shipped adapters, glanced at."""
    place = folder / "library.db"
    with Library(place, create=True) as library:
        index([adapters_path()], load_worker(Preset.load("miniature"), device="cpu"), library, precision="glance")
    return place


def enlarged(small: Path, count: int = _ADAPTERS, side: int = _SIDE, grain: float = 6.0) -> Path:
    """A copy with made-up adapters, whose Directions are mixtures of the real ones with noise added.

    Args:
        small: the library of the real ones.
        count: how many are made up.
        side: width and height of their pictures.
        grain: how noisy these are.
    """
    place = small.with_name(f"{count}.db")
    shutil.copy(small, place)
    with Library(place) as library:
        stored = library.protocols.find()
        real = list(library.signatures.get(stored.protocol.digest, library.adapters.all()).values())
        pictures = list(_pictures(side, grain))
        for start in range(0, count, 500):
            _add(library, stored, real, pictures, range(start, start + 500))
    return place


def _add(
    library: Library, stored: StoredProtocol, real: list[StoredSignature], pictures: list[bytes], numbers: range
) -> None:
    rng = np.random.default_rng(numbers.start)
    keys = [f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}" for number in numbers]
    paths = [f"/made/up/{number % 40}/adapter_{number}.safetensors" for number in numbers]
    library.adapters.add(
        [
            StoredAdapter(key, Path(path).stem, "miniature", (path,), AdapterFacts())
            for key, path in zip(keys, paths, strict=True)
        ],
        {},
    )
    scale = float(np.mean([np.linalg.norm(one.signature.direction) for one in real]))
    made = {}
    for key in keys:
        one, other = (real[row].signature for row in rng.integers(len(real), size=2))
        noise = rng.normal(size=one.direction.shape) * scale / np.sqrt(len(one.direction))
        made[key] = replace(one, direction=one.direction * 0.5 + other.direction * 0.3 + noise * 0.5)
    library.signatures.put(stored.protocol.digest, "glance", made)
    for key in (*keys, *([BARE] if numbers.start == 0 else [])):
        chosen = rng.integers(_PICTURES, size=_PLACES)
        library.previews.put(
            stored.protocol.scene,
            key,
            [Preview(place, "a made-up scene", place, pictures[pick]) for place, pick in enumerate(chosen)],
        )


def _pictures(side: int, grain: float) -> Iterator[bytes]:
    """Smooth colours with some grain: with 6, about as large as photographs of this size."""
    rng = np.random.default_rng(0)
    for _ in range(_PICTURES):
        coarse = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).resize((side, side))
        noise = rng.normal(scale=grain, size=(side, side, 3))
        pixels = np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=88, method=0)
        yield file.getvalue()
