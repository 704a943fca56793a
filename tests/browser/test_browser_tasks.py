"""Ten things that people want of the page, each done with the page alone, by mouse, in at most three clicks."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from lorascope.analysis import Curve, CurvePoint, Describer, Word
from lorascope.library import Library
from lorascope.search import Searcher
from lorascope.server import ServerSettings
from lorascope.signature import Estimate
from tests.browser.conftest import Visit, keep, serving
from tests.fakes import tint
from tests.serving import measured, small_world

MOST = 3
COUNT = """addEventListener("click", (event) => {
    if (event.isTrusted) sessionStorage.clicks = 1 + Number(sessionStorage.clicks ?? 0);
}, true)"""
Begin = Callable[[], Page]


def put_words(patch: pytest.MonkeyPatch) -> None:
    """Words for a library that is too small to have any."""
    rows: dict[str, int] = {}

    def learn(self: Describer, searcher: Searcher) -> None:
        rows.update((name, row) for row, name in enumerate(searcher.matrix.names))

    def words(self: Describer, wanted: Sequence[int]) -> list[tuple[Word, ...]]:
        return [(Word("red light", "light", 9.0),) if row == rows["lora-000007"] else () for row in wanted]

    def contrast(self: Describer, one: int, two: int) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
        return (Word("warm light", "light", 6.0),), (Word("paper", "material", 5.0),)

    for name, method in (("__init__", learn), ("words", words), ("contrast", contrast)):
        patch.setattr(Describer, name, method)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters, one of them twice, one that does nothing, and a file that is none."""
    loras = tmp_path_factory.mktemp("tasks") / "loras"
    for name, colours in {
        "rose": {"red": 0.3}, "lora-000007": {"red": 0.33, "green": -0.05}, "leaf": {"green": 0.3},
        "sea": {"blue": 0.3}, "dusk": {"red": 0.05, "blue": 0.08}, "idle": {"red": 1e-9},
    }.items():  # fmt: skip
        tint(loras / f"{name}.safetensors", **colours)
    shutil.copy(loras / "sea.safetensors", loras / "sea (1).safetensors")
    (loras / "broken.safetensors").write_text("<html>", "utf-8")
    place = measured(loras.parent / "library.db", loras, precision="glance")
    one = Estimate(1.0, 1.0, 1.0)
    points = [
        CurvePoint(scale, 32, one, one, one, Estimate(share, share, share), one)
        for scale, share in ((0.2, 0.3), (0.7, 1.0), (1.0, 1.0))
    ]
    with Library(place) as library:
        keys = {adapter.name: key for key, adapter in library.adapters.all().items()}
        library.curves.put(library.protocols.find().protocol.digest, keys["rose"], Curve(tuple(points)).to_json())
    return loras


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A server over them."""
    with pytest.MonkeyPatch.context() as patch:
        put_words(patch)
        settings = ServerSettings(
            library=folder.parent / "library.db", folders=(folder,), preset=str(small_world(folder.parent))
        )
        with serving(settings) as found:
            yield found


@pytest.fixture
def begin(visit: Visit, address: str) -> Iterator[Begin]:
    """Opens the first page and counts clicks from there; there may be three until the test ends."""
    opened: list[Page] = []

    def go() -> Page:
        page = visit("/", base=address, permissions=["clipboard-read", "clipboard-write"])
        page.context.add_init_script(COUNT)
        page.reload()
        opened.append(page)
        return page

    yield go
    for page in opened:
        clicks = int(page.evaluate("sessionStorage.clicks ?? 0"))
        assert 1 <= clicks <= MOST
        page.goto("about:blank")  # a page that listens notices that the server goes


def ask(page: Page, words: str) -> None:
    """Type into the box and press the button."""
    page.get_by_label("What should it do?").fill(words)
    page.get_by_role("button", name="Search", exact=True).click()


def test_find_what_makes_pictures_red(begin: Begin) -> None:
    page = begin()
    ask(page, "red")
    expect(page.locator(".card .name").first).to_have_text(re.compile("rose|lora-000007"))
    expect(page.locator(".card").first).to_contain_text("match")


def test_see_what_an_unknown_file_does(begin: Begin) -> None:
    page = begin()
    ask(page, "000007")
    page.get_by_role("region", name="Files called").get_by_role("link").click()
    expect(page.locator(".does")).to_have_text("Does: red light")
    keep(page, "task-unknown")


def test_choose_between_two(begin: Begin) -> None:
    page = begin()
    for name in ("rose", "leaf"):
        page.get_by_role("button", name=f"Compare {name}", exact=True).click()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.locator(".verdict")).to_contain_text("does more: ")
    expect(page.locator(".versus .split").first).to_be_visible()
    keep(page, "task-compare")


def test_find_copies(begin: Begin) -> None:
    page = begin()
    page.get_by_role("link", name="Tidy up").click()
    copies = page.get_by_role("region", name="is a copy of another")
    expect(copies).to_contain_text("sea")
    expect(copies).to_contain_text("Keep sea")


def test_learn_at_which_weight_to_use_one(begin: Begin) -> None:
    page = begin()
    page.get_by_role("link", name="rose", exact=True).click()
    expect(page.get_by_role("region", name="At which weight")).to_contain_text("0.7")
    expect(page.locator("#tag")).to_have_text("<lora:rose:0.7>")


def test_find_the_weak_ones(begin: Begin) -> None:
    page = begin()
    page.get_by_label("Order").click()
    page.get_by_label("Order").select_option("the gentlest first")
    expect(page.locator("#told")).to_contain_text("the gentlest first")
    expect(page.locator(".card .name").nth(0)).to_have_text("idle")
    expect(page.locator(".card .name").nth(1)).to_have_text("dusk")


def test_copy_a_tag_that_works(begin: Begin) -> None:
    page = begin()
    page.get_by_role("button", name="Copy tag <lora:rose:0.7>").click()
    expect(page.locator("#toast")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "<lora:rose:0.7>"


def test_learn_why_a_file_was_left_out(begin: Begin) -> None:
    page = begin()
    page.get_by_role("link", name="Work").click()
    row = page.get_by_role("region", name="Table of files left out").get_by_role("row").filter(has_text="broken")
    expect(row).to_contain_text("HTML")


def test_find_what_a_picture_looks_like(begin: Begin) -> None:
    page = begin()
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (60, 60, 250)).save(file, "PNG")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="By a picture").click()
    chooser.value.set_files({"name": "blue.png", "mimeType": "image/png", "buffer": file.getvalue()})
    expect(page.get_by_role("list", name="Examples")).to_contain_text("like your picture")
    expect(page.locator(".card .name").first).to_have_text(re.compile("sea"))


def test_measure_a_new_file(begin: Begin, folder: Path) -> None:
    tint(folder / "new.safetensors", red=0.2, blue=0.2)
    page = begin()
    page.get_by_role("link", name="Work").click()
    button = page.get_by_role("button", name="1 new file: index")
    while not button.is_visible():  # folders are counted in the background
        page.wait_for_timeout(200)
        page.reload()
    button.click()
    page.get_by_role("link", name="See them").click()
    expect(page.locator(".cards")).to_contain_text("new")
