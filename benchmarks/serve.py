"""How the server holds up: many clients at once, and a large library. Nothing here asserts: it measures and prints.

python -m benchmarks.serve [--seconds 60] [--clients 50] [--adapters 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import io
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psutil
from PIL import Image

from benchmarks.machine import describe
from lorascope import Library, Preset, PromptSet, Searcher, index
from lorascope.library import BARE, Preview, StoredAdapter, StoredProtocol, StoredSignature
from lorascope.measure import load_bench
from lorascope.miniature import adapters_path, truth
from lorascope.search.searcher import unit
from lorascope.server.mapping import principal_axes

_SIDE = 512
_PLACES = 2
_PICTURES = 64
_REPEATS = 15


@dataclass(frozen=True)
class Answer:
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

    def __str__(self) -> str:
        p50, p95 = (statistics.quantiles(self.seconds, n=100)[at - 1] * 1e3 for at in (50, 95))
        rate = len(self.seconds) / self.length
        return (
            f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, {rate:.0f} answers/s, {self.failed} failed of {len(self.seconds)};"
            f" {self.cpu / len(self.seconds) * 1e3:.2f} ms of the server's CPU time each"
        )


def report(seconds: float = 60, clients: int = 50, adapters: int = 10_000) -> str:
    """Measure everything and describe it, as a section of Markdown."""
    with tempfile.TemporaryDirectory() as name:
        small = _miniature(Path(name))
        rows = _under_load(small, seconds, clients)
        rows += [_plane(small)]
        rows += _large(_enlarged(small, adapters), adapters)
    lines = ["## The server", "", f"Machine: {describe()}. Server and clients share it.", "", "| what | measured |"]
    lines += ["| --- | --- |", *(f"| {what} | {found} |" for what, found in rows)]
    return "\n".join(lines) + "\n"


# --- load -------------------------------------------------------------------------------------------------------


def _under_load(library: Path, seconds: float, clients: int) -> list[tuple[str, str]]:
    """Clients from this process; the server is another one."""
    known = [query["text"] for query in truth()["queries"]][:20]
    numbers = count()
    with _server(library) as (address, process):
        for query in known:
            asyncio.run(_ask(address, _search(query)))
        before = process.memory_info().rss

        def load(pause: float, path: Callable[[], str]) -> Load:
            spent = sum(process.cpu_times()[:2])
            found = asyncio.run(_load(address, clients, seconds, pause, path))
            found.cpu = sum(process.cpu_times()[:2]) - spent
            return found

        again = load(0.0, lambda: _search(known[next(numbers) % len(known)]))
        calm = load(1.0, lambda: _search(known[next(numbers) % len(known)]))
        middle = process.memory_info().rss
        new = load(0.0, lambda: _search(f"a drawing of {next(numbers)} cats"))
        after = process.memory_info().rss
    memory = (
        f"{before / 2**20:.0f} MiB before, {middle / 2**20:.0f} MiB then, {after / 2**20:.0f} MiB after new queries"
    )
    who = f"{clients} clients for {seconds:.0f} s"
    return [
        (f"repeated queries, {who}, each asking again at once", str(again)),
        (f"repeated queries, {who}, each pausing 1 s", str(calm)),
        (f"new queries, {who}, each asking again at once", str(new)),
        ("memory of the server", memory),
    ]


async def _load(address: tuple[str, int], clients: int, seconds: float, pause: float, path: Callable[[], str]) -> Load:
    found = Load()
    began = time.perf_counter()

    async def client() -> None:
        connection = await asyncio.open_connection(*address)
        while time.perf_counter() - began < seconds:
            answer = await _exchange(connection, path())
            found.seconds.append(answer.seconds)
            found.failed += answer.status != 200
            await asyncio.sleep(pause)
        connection[1].close()

    await asyncio.gather(*(client() for _ in range(clients)))
    found.length = time.perf_counter() - began
    return found


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _exchange(connection: Connection, path: str) -> Answer:
    """One request and its answer, as HTTP/1.1 has it; a client that costs little beside the server."""
    reader, writer = connection
    began = time.perf_counter()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await _body(reader, headers)
    return Answer(int(head[0].split()[1]), headers, body, time.perf_counter() - began)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers["content-length"]))
    parts: list[bytes] = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


async def _ask(address: tuple[str, int], path: str) -> Answer:
    connection = await asyncio.open_connection(*address, limit=2**24)
    try:
        return await _exchange(connection, path)
    finally:
        connection[1].close()


def _search(query: str) -> str:
    return f"/api/v1/search?limit=10&q={quote(query)}"


@contextmanager
def _server(library: Path) -> Generator[tuple[tuple[str, int], psutil.Process]]:
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


def _large(library: Path, adapters: int) -> list[tuple[str, str]]:
    with _server(library) as (address, _):

        def get(path: str) -> Answer:
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
        weight = len(first.body) + sum(len(get(path).body) for path in _assets(first.text))
    what = f"{adapters} adapters"
    return [
        (f"search page, {what}, known words, filter not asked before", f"{page * 1e3:.0f} ms"),
        (f"map, {what}, the first time", f"{map_first.seconds * 1e3:.0f} ms, {len(map_first.body) / 1e3:.0f} kB"),
        (f"map, {what}, again", f"{map_again * 1e3:.0f} ms"),
        (f"one of {len(pictures)} pictures of {_SIDE} px on that page", f"{statistics.median(pictures) * 1e3:.1f} ms"),
        ("first page, with styles and scripts, without pictures", f"{weight / 1e3:.0f} kB as sent"),
    ]


def _assets(html: str) -> Iterable[str]:
    """Styles and scripts that a page names."""
    return sorted(set(re.findall(r'(?:src|href)="(/static/[^"]+\.(?:css|js|svg)[^"]*)"', html)))


def _typical(work: Callable[[], Answer]) -> float:
    return statistics.median(work().seconds for _ in range(_REPEATS))


def _plane(library: Path) -> tuple[str, str]:
    """How much of what Directions differ in the map shows, by the plane that it is drawn in."""
    with Library(library) as opened:
        searcher = Searcher(opened)
        phrases = PromptSet.load(searcher.stored.preset.reference).texts
        texts = np.stack([unit(searcher.vector(phrase)) for phrase in phrases])
        directions = np.asarray(searcher.matrix.directions[:])
    spread = directions - directions.mean(0)
    shares = [np.sum((spread @ principal_axes(rows).T) ** 2) / np.sum(spread**2) for rows in (directions, texts)]
    return (
        f"variance of the Directions of {len(directions)} adapters that the map shows",
        f"{shares[0]:.0%} in the plane of their own axes, {shares[1]:.0%} in that of the reference phrases",
    )


def _miniature(folder: Path) -> Path:
    """The shipped adapters, glanced at."""
    place = folder / "library.db"
    with Library(place, create=True) as library:
        index([adapters_path()], load_bench(Preset.load("miniature"), library, device="cpu"), precision="glance")
    return place


def _enlarged(small: Path, adapters: int) -> Path:
    """A copy with as many made-up adapters, whose Directions are mixtures of the real ones with noise added."""
    place = small.with_name("large.db")
    shutil.copy(small, place)
    with Library(place) as library:
        stored = library.protocol()
        real = list(library.signatures(stored.protocol.digest, library.adapters()).values())
        pictures = list(_pictures())
        for start in range(0, adapters, 500):
            _add(library, stored, real, pictures, range(start, min(start + 500, adapters)))
    return place


def _add(
    library: Library, stored: StoredProtocol, real: list[StoredSignature], pictures: list[bytes], numbers: range
) -> None:
    rng = np.random.default_rng(numbers.start)
    keys = [f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}" for number in numbers]
    paths = [f"/made/up/{number % 40}/adapter_{number}.safetensors" for number in numbers]
    library.add_adapters(
        [StoredAdapter(key, Path(path).stem, "miniature", (path,), {}) for key, path in zip(keys, paths, strict=True)],
        {},
    )
    scale = float(np.mean([np.linalg.norm(one.signature.direction) for one in real]))
    made = {}
    for key in keys:
        one, other = (real[row].signature for row in rng.integers(len(real), size=2))
        noise = rng.normal(size=one.direction.shape) * scale / np.sqrt(len(one.direction))
        made[key] = replace(one, direction=one.direction * 0.5 + other.direction * 0.3 + noise * 0.5)
    library.put_signatures(stored.protocol.digest, "glance", made)
    for key in (*keys, *([BARE] if numbers.start == 0 else [])):
        chosen = rng.integers(_PICTURES, size=_PLACES)
        library.put_previews(
            stored.protocol.scene,
            key,
            [Preview(place, "a made-up scene", place, pictures[pick]) for place, pick in enumerate(chosen)],
        )


def _pictures() -> Iterator[bytes]:
    """Smooth colours with some grain: about as large as photographs of this size."""
    rng = np.random.default_rng(0)
    for _ in range(_PICTURES):
        coarse = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8)).resize((_SIDE, _SIDE))
        grain = rng.normal(scale=6, size=(_SIDE, _SIDE, 3))
        pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=88, method=0)
        yield file.getvalue()


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--adapters", type=int, default=10_000)
    chosen = parser.parse_args()
    print(report(chosen.seconds, chosen.clients, chosen.adapters))


if __name__ == "__main__":
    main()
