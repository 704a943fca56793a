"""Every page, at every size, light and dark: nothing runs out of it, and nothing keeps anybody from using it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascope.library import Library
from lorascope.server import Settings
from tests.browser.conftest import DESKTOP, LARGE, PHONE, Visit, barriers, keep, serving


@pytest.fixture(scope="module")
def keys(library_file: Path) -> dict[str, str]:
    """Adapter keys by name."""
    with Library(library_file) as library:
        return {adapter.name: key for key, adapter in library.adapters().items()}


def addresses(keys: dict[str, str]) -> dict[str, str]:
    """One address for each page."""
    rose, leaf, lamp = keys["rose"], keys["leaf"], keys["lamp"]
    return {
        "search": "/?q=red",
        "browse": "/?hidden=1",
        "adapter": f"/adapters/{lamp}",
        "compare": f"/compare?a={rose}&a={leaf}&a={lamp}",
        "map": "/map",
        "table": "/map/table",
        "work": "/work",
        "favourites": f"/favourites?a={rose}&a={lamp}",
        "nothing-to-compare": "/compare",
        "study": "/study",
        "study-results": "/study/results",
    }


PAGES = sorted(addresses(dict.fromkeys(("rose", "leaf", "lamp"), "")))


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone-dark", "desktop-light"])
def test_a_page_fits_and_everybody_can_use_it(
    visit: Visit, keys: dict[str, str], name: str, size: tuple[int, int], scheme: str
) -> None:
    page = visit(addresses(keys)[name], size=size, scheme=scheme)
    if name == "map":
        page.get_by_text("within the thresholds").wait_for()
    keep(page, f"{name}-{size[0]}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert barriers(page) == []


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [("search", DESKTOP, "dark"), ("search", PHONE, "light"), ("search", LARGE, "light"), ("adapter", LARGE, "dark")],
)
def test_other_sizes_and_lights_fit_too(
    visit: Visit, keys: dict[str, str], name: str, size: tuple[int, int], scheme: str
) -> None:
    page = visit(addresses(keys)[name], size=size, scheme=scheme)
    keep(page, f"{name}-{size[0]}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_contrast_holds_in_the_dark_too(visit: Visit) -> None:
    assert barriers(visit("/?q=red", scheme="dark")) == []


def test_a_page_that_is_not_there_says_so(visit: Visit) -> None:
    page = visit("/nowhere", forgiven="404")
    keep(page, "problem")
    assert page.locator("h1").inner_text() == "There is no such page"
    assert barriers(page) == []


def test_an_empty_library_says_what_to_do(visit: Visit, loras: Path, tmp_path: Path) -> None:
    with serving(Settings(library=tmp_path / "empty.db", folders=(loras,))) as address:
        page = visit("/", base=address)
        keep(page, "empty")
        assert "56 files wait to be measured" in page.inner_text("main")
        assert barriers(page) == []
        page.get_by_role("link", name="Go and measure them").click()
        assert page.get_by_role("button", name="56 new files: index").is_visible()
        page.goto("about:blank")  # a page that listens notices that the server goes
    with serving(Settings(library=tmp_path / "bare.db")) as address:
        assert "lorascope serve --folder" in visit("/", base=address).inner_text("main")


def test_the_first_page_is_light(visit: Visit) -> None:
    page = visit("/about:blank", forgiven="404")
    sizes: dict[str, int] = {}
    page.on("response", lambda answer: sizes.__setitem__(answer.url, answer.request.sizes()["responseBodySize"]))
    page.goto("/")
    page.wait_for_load_state("networkidle")
    light = {url: size for url, size in sizes.items() if "previews" not in url}
    assert len(light) >= 8
    assert sum(light.values()) < 150_000, light
