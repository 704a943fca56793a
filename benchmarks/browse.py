"""How the page feels in a browser: a list of 60,000 files, a map of 10,000 points."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, Response, sync_playwright

from benchmarks.harness import Figure, Measurement, at_most
from benchmarks.serve import enlarged, server
from lorascope import Library
from lorascope.miniature import pack_path
from lorascope.packs import open_pack, pull

TITLE = "The page in a browser"
NOTE = """Made-up adapters with a small picture each, in Chromium without a GPU, 1,440 by 900 pixels, on the machine
that serves them. A frame is the time from one picture of the page to the next: 16.7 ms are 60 a second, the most that
the browser draws. Scrolling goes 240 pixels further in each frame, a jump to a place that was not seen yet. The map is
panned while it shows a third of its width."""

_FILES, _POINTS = 60_000, 10_000
_FRAMES = 240
_JUMPS = 9
_REPEATS = 5
_SIDE = 96
_SCROLL = """frames => new Promise(done => {
  const times = [];
  const step = now => {
    times.push(now);
    if (times.length > frames) return done(times.slice(1).map((time, place) => time - times[place]));
    scrollBy(0, 240);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
_JUMP = """share => new Promise(done => {
  const began = performance.now();
  scrollTo(0, share * document.documentElement.scrollHeight);
  const look = () => {
    const tops = [...document.querySelectorAll(".card")].map(card => card.getBoundingClientRect().top);
    if (tops.some(top => top > 0 && top < innerHeight)) return done(performance.now() - began);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
_ZOOM = """frames => new Promise(done => {
  const canvas = document.querySelector("#map canvas");
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const times = [];
  const step = now => {
    times.push(now);
    if (times.length > frames) return done(times.slice(1).map((time, place) => time - times[place]));
    const at = { clientX: left + width / 2, clientY: top + height / 2, bubbles: true, cancelable: true };
    const deltaY = times.length % 120 < 60 ? -40 : 40;
    canvas.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY, ctrlKey: true }));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""

_PAN = """frames => new Promise(done => {
  const canvas = document.querySelector("#map canvas");
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const send = (to, type, by) => to.dispatchEvent(new MouseEvent(type, {
    clientX: left + width / 2 + by, clientY: top + height / 2 + by / 3, bubbles: true, cancelable: true, view: window,
  }));
  const times = [];
  const step = now => {
    times.push(now);
    send(window, "mousemove", 200 * Math.sin(times.length / 12));
    if (times.length <= frames) return requestAnimationFrame(step);
    send(window, "mouseup", 0);
    done(times.slice(1).map((time, place) => time - times[place]));
  };
  document.querySelector("[data-zoom=in]").click();
  document.querySelector("[data-zoom=in]").click();
  send(canvas, "mousedown", 0);
  requestAnimationFrame(step);
})"""


def missing() -> str:
    """Why this cannot be measured here, or ""."""
    return "" if _chromium() else "there is no Chromium on this machine"


def measure() -> Iterator[Measurement]:
    """The list, then the map."""
    with tempfile.TemporaryDirectory() as name:
        small = Path(name) / "library.db"
        with Library(small, create=True) as library, open_pack(str(pack_path())) as pack:
            pull(pack, library, {}, everything=True)
        with _browser(enlarged(small, _FILES, _SIDE, 0.0)) as page:
            yield from _list(page)
        with _browser(enlarged(small, _POINTS, _SIDE, 0.0)) as page:
            yield from _map(page)


def _list(page: Page) -> Iterator[Measurement]:
    who = f"list of {_FILES:,} files"
    sent: list[Response] = []

    def note(answer: Response) -> None:
        sent.append(answer)

    page.on("response", note)
    first = _opened(page)
    page.remove_listener("response", note)
    weight = sum(one.request.sizes()["responseBodySize"] for one in sent if "previews" not in one.url)
    again = statistics.median(_opened(page) for _ in range(_REPEATS))
    yield Figure(name=f"{who}: can be used after, just after the server has started", value=first, unit="ms")
    yield Figure(name=f"{who}: can be used after, later", value=again, unit="ms", target=at_most(1000))
    yield Figure(name=f"{who}: as sent, without pictures", value=weight / 1e3, unit="kB", target=at_most(150))
    yield from _frames(f"{who}: scrolling", page.evaluate(_SCROLL, _FRAMES))
    jumps = [page.evaluate(_JUMP, (place + 0.5) / _JUMPS) for place in range(_JUMPS)]
    yield _spread(f"{who}: after a jump, cards are there after", jumps)
    count = page.evaluate("document.querySelectorAll('.card').length")
    yield Figure(name=f"{who}: cards on the page afterwards", value=count, unit="")


def _opened(page: Page) -> float:
    """Milliseconds until the first page has run its scripts."""
    page.goto("/", wait_until="domcontentloaded")
    ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    page.wait_for_load_state("networkidle")
    return float(ready)


def _map(page: Page) -> Iterator[Measurement]:
    who = f"map of {_POINTS:,} points"
    page.goto("/map")
    page.get_by_text("within the thresholds").wait_for()
    yield Figure(name=f"{who}: drawn after", value=page.evaluate("performance.now()"), unit="ms")
    yield from _frames(f"{who}: zooming in and out", page.evaluate(_ZOOM, _FRAMES))
    yield from _frames(f"{who}: panning", page.evaluate(_PAN, _FRAMES))


def _frames(name: str, times: list[float]) -> Iterator[Measurement]:
    yield _spread(f"{name}: a frame", times)
    late = 100 * statistics.mean(time > 50 for time in times)
    yield Figure(name=f"{name}: frames of more than 50 ms", value=late, unit="%")


def _spread(name: str, times: list[float]) -> Figure:
    low, middle, high = (float(one) for one in np.percentile(times, (5, 50, 95)))
    return Figure(name=name, value=middle, unit="ms", p5=low, p95=high)


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def _browser(library: Path) -> Generator[Page]:
    """A page of a server over a library."""
    with server(library) as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(
            base_url=f"http://{address[0]}:{address[1]}", viewport={"width": 1440, "height": 900}
        )
        context.set_default_timeout(120_000)
        yield context.new_page()
        browser.close()
