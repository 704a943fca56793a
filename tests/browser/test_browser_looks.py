"""Every page, at every size, light and dark: nothing runs out of it, and nothing keeps anybody from using it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lorascope.library import Library
from lorascope.server import ServerSettings
from tests.browser.conftest import DESKTOP, LARGE, PHONE, Visit, barriers, keep, serving
from tests.fakes import tint
from tests.serving import measured


@pytest.fixture(scope="module")
def keys(library_file: Path) -> dict[str, str]:
    """Adapter keys by name."""
    with Library(library_file) as library:
        return {adapter.name: key for key, adapter in library.adapters.all().items()}


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
        "housekeeping": "/housekeeping",
        "favourites": "/?favourite=1",
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


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str], list[str]]]:
    """A server over adapters with long names and claims; its address, their names and their keys."""
    folder = tmp_path_factory.mktemp("endless")
    names = ["detailed_anime_style_illustration_xl_v2_final_epoch_000010", "x" * 200]
    for number, name in enumerate(names):
        tint(folder / "loras" / f"{name}.safetensors", red=0.3, blue=0.1 * number)
        claims = {"name": name, "trainedWords": [name], "model": {"tags": [name, "red"]}}
        (folder / "loras" / f"{name}.civitai.info").write_text(json.dumps(claims), "utf-8")
    place = measured(folder / "library.db", folder / "loras", precision="glance")
    with Library(place) as library:
        keys = {adapter.name: key for key, adapter in library.adapters.all().items()}
    with serving(ServerSettings(library=place, folders=(folder / "loras",))) as address:
        yield address, names, [keys[name] for name in names]


def test_many_folders_fit_a_phone(visit: Visit, tmp_path: Path) -> None:
    loras = tmp_path / "models" / "a folder of adapters with a long name" / "loras"
    for number, below in enumerate(("", "style", "style/old ones that nobody has used for years/but which are kept")):
        tint(loras / below / f"one{number}.safetensors", red=0.1 + 0.1 * number)
    place = measured(tmp_path / "library.db", loras, precision="glance")
    with serving(ServerSettings(library=place, folders=(loras,))) as address:
        page = visit("/?q=red", base=address, size=PHONE)
        keep(page, "search-folders-phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        assert page.get_by_label("Folder").locator("option").all_inner_texts()[:3] == ["all", "loras", "\u2003style"]
        page.goto("about:blank")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_long_names_fit(visit: Visit, endless: tuple[str, list[str], list[str]], size: tuple[int, int]) -> None:
    address, names, (one, other) = endless
    page = visit("/", base=address, size=size)
    for name in names:
        page.get_by_role("button", name=f"Compare {name}").click()
    for path in (
        "/?q=red",
        f"/?less={one}&less={other}",
        f"/adapters/{one}",
        f"/adapters/{other}/words",
        f"/compare?a={one}&a={other}",
        "/map/table",
        "/work",
    ):
        page.goto(path)
        for summary in page.locator(".more > summary").all():
            summary.click()
        keep(page, f"endless-{path.partition('?')[0].strip('/').replace('/', '-')[:12]}-{size[0]}")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path


def test_what_is_told_stands_above_the_tray(visit: Visit, endless: tuple[str, list[str], list[str]]) -> None:
    address, names, _ = endless
    page = visit("/", base=address, size=PHONE, permissions=["clipboard-read", "clipboard-write"])
    for name in names:
        page.get_by_role("button", name=f"Compare {name}").click()
    page.get_by_role("button", name=f"Copy tag <lora:{names[1]}:1>").click()
    expect(page.locator("#toast")).to_have_text(f"Copied <lora:{'x' * 74} …")
    told, tray = page.locator("#toast").bounding_box(), page.locator("#tray").bounding_box()
    keep(page, "endless-toast")
    assert told is not None
    assert tray is not None
    assert told["y"] + told["height"] <= tray["y"]
    assert told["width"] > 0.8 * PHONE[0]
    assert tray["height"] < 0.25 * PHONE[1]
    chips = [chip.bounding_box() for chip in page.locator("#tray li").all()]
    assert [
        chip for chip in chips if chip is None or chip["x"] + chip["width"] > PHONE[0]
    ] == []  # one once was cut off


def test_contrast_holds_in_the_dark_too(visit: Visit) -> None:
    assert barriers(visit("/?q=red", scheme="dark")) == []


def test_a_page_that_is_not_there_says_so(visit: Visit) -> None:
    page = visit("/nowhere", forgiven="404")
    keep(page, "problem")
    assert page.locator("h1").inner_text() == "There is no such page"
    assert barriers(page) == []


def test_an_empty_library_says_what_to_do(visit: Visit, loras: Path, tmp_path: Path) -> None:
    with serving(ServerSettings(library=tmp_path / "empty.db", folders=(loras,))) as address:
        page = visit("/", base=address)
        keep(page, "empty")
        assert "56 files wait to be measured" in page.inner_text("main")
        assert barriers(page) == []
        page.get_by_role("link", name="Choose folders and precision").click()
        assert page.get_by_role("button", name="56 new files: index").is_visible()
        page.goto("about:blank")  # a page that listens notices that the server goes
    with serving(ServerSettings(library=tmp_path / "bare.db")) as address:
        assert "lorascope serve --folder" in visit("/", base=address).inner_text("main")
        page = visit("/work", base=address, size=PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        page.goto("about:blank")


def test_the_first_page_is_light(visit: Visit) -> None:
    page = visit("/about:blank", forgiven="404")
    sizes: dict[str, int] = {}
    page.on("response", lambda answer: sizes.__setitem__(answer.url, answer.request.sizes()["responseBodySize"]))
    page.goto("/")
    page.wait_for_load_state("networkidle")
    light = {url: size for url, size in sizes.items() if "previews" not in url}
    assert len(light) >= 8
    assert sum(light.values()) < 150_000, light
