"""The story for which the page exists, on trained weights: find "pencil drawing", see it, compare two, copy the tag."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from lorascope.server import ServerSettings
from tests.browser.conftest import Visit, keep, serving

pytestmark = pytest.mark.xdist_group("world")


@pytest.fixture
def address(world: Path) -> Iterator[str]:
    """A server over some of the shipped adapters."""
    with serving(ServerSettings(library=world)) as found:
        yield found


def test_find_pencil_drawing_see_it_compare_two_copy_the_tag(visit: Visit, address: str) -> None:
    page = visit("/", base=address, permissions=["clipboard-read", "clipboard-write"])
    page.set_default_timeout(60_000)  # the first query of a library encodes the reference phrases
    page.get_by_role("link", name="pencil drawing").click()
    first, second = page.locator(".card").nth(0), page.locator(".card").nth(1)
    expect(first.locator(".name")).to_have_text(re.compile("pencil_sketch_v[12]"))  # twins, seen at a glance
    name = first.locator(".name").inner_text().strip()
    assert re.search("a (clear|likely) match", first.inner_text())
    for picture in first.locator("img").all():
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") == 64
    keep(page, "world-search")

    first.get_by_role("button", name="Compare").click()
    if second.is_hidden():  # a weak match, which is folded
        page.locator("#weaker > summary").click()
    second.get_by_role("button", name="Compare").click()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.get_by_role("columnheader", name=name)).to_be_visible()
    keep(page, "world-compare")

    page.get_by_role("button", name=f"Copy tag <lora:{name}:1>").click()
    expect(page.locator("#toast")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == f"<lora:{name}:1>"
