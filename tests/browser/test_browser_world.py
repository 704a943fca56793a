"""The story for which the page exists, on trained weights: find "pencil drawing", see it, compare two, copy the tag."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lorascope.library import Library
from lorascope.measure import index, load_bench
from lorascope.miniature import adapters_path
from lorascope.protocol import Preset
from lorascope.server import Settings
from tests.browser.conftest import Visit, keep, serving

CHOSEN = ("pencil_sketch_v1", "inkwell", "winter_wonder", "neon_nights")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server over a few of the shipped adapters, each measured as far as a glance."""
    folder = tmp_path_factory.mktemp("world")
    for name in CHOSEN:
        for file in adapters_path().glob(f"{name}.*"):
            shutil.copy(file, folder)
    path: Path = folder / "world.db"
    with Library(path, create=True) as library:
        index([folder], load_bench(Preset.load("miniature"), library, device="cpu"), precision="glance")
    with serving(Settings(library=path, folders=(folder,))) as address:
        yield address


def test_find_pencil_drawing_see_it_compare_two_copy_the_tag(visit: Visit, world: str) -> None:
    page = visit("/", base=world, permissions=["clipboard-read", "clipboard-write"])
    page.set_default_timeout(60_000)  # the first query of a library encodes the reference phrases
    page.get_by_role("link", name="pencil drawing").click()
    first, second = page.locator(".card").nth(0), page.locator(".card").nth(1)
    expect(first.locator(".name")).to_have_text("pencil_sketch_v1")
    assert re.search("a (clear|likely) match", first.inner_text())
    for picture in first.locator("img").all():
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") == 64
    keep(page, "world-search")

    first.get_by_role("button", name="Compare").click()
    second.get_by_role("button", name="Compare").click()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.get_by_role("columnheader", name="pencil_sketch_v1")).to_be_visible()
    keep(page, "world-compare")

    page.get_by_role("button", name="Copy tag <lora:pencil_sketch_v1:1>").click()
    expect(page.locator("#toast")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "<lora:pencil_sketch_v1:1>"
