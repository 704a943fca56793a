"""What people do on the pages, by mouse and by keyboard."""

from __future__ import annotations

import io
import re
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect
from torch.nn.functional import interpolate

from lorascope.generators.fake import FakeGenerator
from lorascope.library import Library, Mark
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset
from lorascope.server import ServerSettings
from lorascope.server.job_pipe import Task
from lorascope.server.jobs import ModelConfig
from tests.browser.conftest import DESKTOP, PHONE, Visit, barriers, keep, ready, serving, until
from tests.fakes import tint
from tests.serving import small_world, start_thread


def names(page: Page) -> list[str]:
    """The names on the cards, in order, of those in sight."""
    return page.locator("#results > .cards .name").all_inner_texts()


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    """Press Tab until something of this name has the focus."""
    for _ in range(80):
        page.keyboard.press(key)
        label = page.evaluate(
            "(at => at.ariaLabel ?? (at.labels?.[0] ?? at).textContent)(document.activeElement).trim()"
        )
        if label.startswith(name):
            return
    raise AssertionError(f"the keyboard does not get to {name}")


def test_find_look_copy_and_compare_with_the_mouse(visit: Visit) -> None:
    page = visit("/", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("What should it do?").fill("red")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page).to_have_url(re.compile(r"/\?q=red$"))
    expect(page.locator("#told")).to_have_text("55 LoRAs, nearest first.")
    card = page.locator(".card").first
    assert names(page)[0] in ("rose", "scarlet", "lamp")
    assert "a clear match" in card.inner_text()

    picture = card.locator(".flip")
    assert picture.locator(".without").evaluate("image => getComputedStyle(image).opacity") == "0"
    picture.hover()
    assert picture.locator(".without").evaluate("image => getComputedStyle(image).opacity") == "1"

    name = names(page)[0]
    card.get_by_role("button", name="Copy tag").click()
    expect(page.get_by_role("status").filter(has_text="Copied")).to_have_text(f"Copied <lora:{name}:1>")
    assert page.evaluate("navigator.clipboard.readText()") == f"<lora:{name}:1>"

    for place in (0, 1):
        page.locator(".card").nth(place).get_by_role("button", name="Compare").click()
    keep(page, "story-tray")
    page.get_by_role("link", name="Compare 2").click()
    expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
    assert page.locator(".compare tbody tr").count() == 12
    expect(page.locator("main")).to_contain_text("do nearly the same")
    ready(page)
    page.locator(".versus .split input").first.press("End")
    places = page.locator(".versus .split input").evaluate_all("all => all.map(one => one.value)")
    assert set(places) == {"100"}


def test_a_picture_opens_large_and_turns_over_while_it_is_held(visit: Visit) -> None:
    page = visit("/?q=red")
    first, second = names(page)[:2]
    page.locator(".flip").first.click()
    box = page.get_by_role("dialog")
    stage = box.locator(".stage")
    scene = page.locator("#look-scene")
    expect(box).to_contain_text(first)
    expect(scene).not_to_be_empty()
    keep(page, "look")
    assert barriers(page) == []
    shown = "stage => [...stage.querySelectorAll('img')].map(image => getComputedStyle(image).visibility)"
    assert stage.evaluate(shown) == ["visible", "hidden"]
    place = stage.bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.mouse.down()
    assert stage.evaluate(shown) == ["hidden", "visible"]
    page.mouse.up()
    assert stage.evaluate(shown) == ["visible", "hidden"]
    before = scene.inner_text()
    page.keyboard.press("ArrowRight")
    expect(scene).not_to_have_text(before)
    page.keyboard.press("ArrowLeft")
    expect(scene).to_have_text(before)
    page.keyboard.press("ArrowDown")
    expect(box).to_contain_text(second)
    bar = box.locator(".tools").bounding_box()
    assert bar is not None
    assert bar["y"] + bar["height"] <= page.evaluate("innerHeight")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(page.locator(".flip").nth(1)).to_be_focused()


def test_the_light_box_shows_the_largest_picture_that_is_kept(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = FakeGenerator.render
    monkeypatch.setattr(FakeGenerator, "render", lambda self, *cells: interpolate(render(self, *cells), (400, 640)))
    preset = small_world(tmp_path)
    text = preset.read_text("utf-8").replace("width = 8", "width = 640").replace("height = 8", "height = 400")
    preset.write_text(text, "utf-8")
    with Library(tmp_path / "library.db", create=True) as library:
        index(
            [tint(tmp_path / "red.safetensors", red=0.3)], load_worker(Preset.load(preset)), library, precision="glance"
        )
    with serving(ServerSettings(library=tmp_path / "library.db")) as address:
        page = visit("/", base=address, size=PHONE)
        sizes = page.locator(".flip img").first.get_attribute("srcset") or ""
        assert [size.rpartition(" ")[2] for size in sizes.split(", ")] == ["192w", "384w", "640w"]
        page.locator(".flip").click()
        shown = page.locator("#look .with")
        expect(shown).to_have_attribute("src", re.compile("size=large"))
        assert shown.evaluate("image => image.naturalWidth") == 640
        page.get_by_role("button", name="Next scene").click()
        expect(shown).to_have_attribute("src", re.compile("previews/1.*size=large"))
        page.goto("about:blank")


def test_a_picture_is_looked_at_with_the_keyboard(visit: Visit) -> None:
    page = visit("/?q=red")
    tab_to(page, f"{names(page)[0]}, large")
    page.keyboard.press("Enter")
    shown = "stage => [...stage.querySelectorAll('img')].map(image => getComputedStyle(image).visibility)"
    stage = page.locator("#look .stage")
    expect(stage).to_be_focused()
    page.keyboard.down("Space")
    assert stage.evaluate(shown) == ["hidden", "visible"]
    page.keyboard.up("Space")
    assert stage.evaluate(shown) == ["visible", "hidden"]
    tab_to(page, "Both")
    page.keyboard.press("Enter")
    assert stage.evaluate(shown) == ["visible", "visible"]
    expect(stage.locator(".which")).to_have_text("without")  # the left one
    tab_to(page, "Close")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_search_copy_and_compare_by_touch(visit: Visit) -> None:
    page = visit("/", size=PHONE, has_touch=True, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("What should it do?").fill("red")
    page.get_by_role("button", name="Search", exact=True).tap()
    expect(page.locator("#told")).to_contain_text("nearest first")
    name = names(page)[0]
    page.locator(".card").first.get_by_role("button", name="Copy tag").tap()
    assert f"<lora:{name}:1>" in page.evaluate("navigator.clipboard.readText()")
    for place in (0, 1):
        page.locator(".card").nth(place).get_by_role("button", name="Compare").tap()
    page.get_by_role("link", name="Compare 2").tap()
    expect(page.locator(".versus .split").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    keep(page, "compare-phone")


def test_a_picture_is_looked_at_by_touch(visit: Visit) -> None:
    page = visit("/?q=red", size=PHONE, has_touch=True)
    page.locator(".flip").first.tap()
    box = page.get_by_role("dialog")
    expect(box).to_contain_text(names(page)[0])
    before = page.locator("#look-scene")
    expect(before).not_to_be_empty()
    text = before.inner_text()
    box.get_by_role("button", name="Next scene").tap()
    expect(before).not_to_have_text(text)
    box.get_by_role("button", name="Both").tap()
    images = [image.bounding_box() for image in box.locator(".stage img").all()]
    assert images[0] is not None
    assert images[1] is not None
    assert abs(images[0]["y"] - images[1]["y"]) > 50  # one above the other
    stage = box.locator(".stage").bounding_box()
    assert stage is not None
    assert all(
        image["y"] + image["height"] <= stage["y"] + stage["height"] for image in images if image
    )  # once cut off
    keep(page, "look-phone")
    box.get_by_role("button", name="Close").tap()
    expect(box).to_be_hidden()


def test_a_long_list_is_scrolled_to_its_end(visit: Visit) -> None:
    page = visit("/?sort=name")
    assert len(names(page)) == 48
    page.keyboard.press("Escape")
    for _ in range(12):
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(100)
    expect(page.locator("#endless .card .name").last).to_have_text("sea")
    heart = page.get_by_role("button", name="Favourite: sea")
    heart.click()
    expect(heart).to_have_attribute("aria-pressed", "true")


def test_the_size_of_pictures_is_chosen_and_kept(visit: Visit) -> None:
    page = visit("/?q=red")
    width = "card => card.getBoundingClientRect().width"
    before = page.locator(".card").first.evaluate(width)
    page.get_by_label("Size of pictures").press("End")
    larger = page.locator(".card").first.evaluate(width)
    assert larger > 1.5 * before
    page.reload()
    assert page.locator(".card").first.evaluate(width) == larger


def test_the_tag_is_copied_as_the_tool_and_the_weight_want_it(visit: Visit) -> None:
    page = visit("/?q=red", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("link", name="lamp", exact=True).click()
    ready(page)
    expect(page.locator("#tag")).to_have_text("<lora:lamp:1>, glow")
    page.get_by_label("Weight", exact=True).first.fill("0.7")
    page.get_by_role("button", name="Copy tag").click()
    assert page.evaluate("navigator.clipboard.readText()") == "<lora:lamp:0.7>, glow"
    page.get_by_label("As used in").select_option("ComfyUI")
    expect(page.locator("#tag")).to_have_text("lamp.safetensors")
    page.get_by_role("button", name="Copy trigger words").click()
    assert page.evaluate("navigator.clipboard.readText()") == "glow"
    page.goto("/?q=red")
    page.get_by_role("button", name="Copy tag <lora:lamp:1>, glow").click()
    assert page.evaluate("navigator.clipboard.readText()") == "lamp.safetensors"


def test_files_are_chosen_and_their_list_taken(visit: Visit) -> None:
    page = visit("/housekeeping")
    first = page.locator("[data-choosing] section").first
    first.get_by_label("all of these").check()
    count = first.locator("[name=a]").count()
    take = page.get_by_role("button", name=f"Download the list of {count}")
    with page.expect_download() as download:
        take.click()
    assert download.value.suggested_filename == "lorascope-housekeeping.csv"
    assert len(Path(download.value.path()).read_text("utf-8").splitlines()) > count
    keep(page, "housekeeping")
    assert barriers(page) == []


def test_a_file_is_found_by_its_name_with_the_slash_key(visit: Visit) -> None:
    page = visit("/")
    page.get_by_role("button", name="Copy tag").first.focus()
    page.keyboard.press("/")
    page.keyboard.type("scarl")
    page.keyboard.press("Enter")
    called = page.get_by_role("region", name="Files called “scarl”")
    expect(called.get_by_role("link")).to_have_text("scarlet")
    expect(page.get_by_role("heading", name="Files that do “scarl”")).to_be_visible()
    keep(page, "story-called")
    assert barriers(page) == []
    called.get_by_role("link").click()
    expect(page.get_by_role("heading", name="scarlet")).to_be_visible()


def test_find_look_copy_and_compare_with_the_keyboard(visit: Visit) -> None:
    page = visit("/", permissions=["clipboard-read", "clipboard-write"])
    page.keyboard.type("green")  # the box has the focus
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_contain_text("nearest first")
    assert page.evaluate("document.activeElement.id") == "q"  # and keeps it when the results come

    tab_to(page, "leaf, large")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("leaf")
    page.keyboard.press("Escape")
    tab_to(page, "Copy tag")
    page.keyboard.press("Enter")
    assert page.evaluate("navigator.clipboard.readText()") == "<lora:leaf:1>"
    tab_to(page, "Compare leaf")
    page.keyboard.press("Space")
    tab_to(page, "More")
    page.keyboard.press("Enter")
    tab_to(page, "More like this")
    page.keyboard.press("Enter")
    expect(page.get_by_role("list", name="Examples")).to_contain_text("more like leaf")
    expect(page.locator("#tray")).to_contain_text("Choose one more")


def test_an_adapter_is_looked_at_with_the_keyboard(visit: Visit) -> None:
    page = visit("/map/table?sort=name&order=asc")
    tab_to(page, "lamp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="lamp")).to_be_visible()
    tab_to(page, "Show the mature pictures of lamp")
    page.keyboard.press("Enter")
    expect(page.locator(".evidence")).to_have_class(re.compile("shown"))
    tab_to(page, "Search for")
    page.keyboard.press("Enter")
    expect(page.locator("#words")).to_contain_text("red: it comes")
    expect(page.locator("#words [tabindex]")).to_be_focused()  # the link that was pressed is gone


def test_adapters_are_compared_with_the_keyboard(visit: Visit) -> None:
    page = visit("/?q=red")
    for name in ("scarlet", "rose", "lamp"):
        page.get_by_role("button", name=f"Compare {name}").press("Space")
    tab_to(page, "Compare 3", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
    tab_to(page, "Leave out lamp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="lamp")).to_have_count(0)
    tab_to(page, "Pictures of each LoRA")  # which can be scrolled
    tab_to(page, "scarlet, large")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("scarlet")


def test_the_keyboard_keeps_its_place_beside_the_tray(visit: Visit) -> None:
    page = visit("/?q=red", size=PHONE)
    for name in ("scarlet", "rose"):
        page.get_by_role("button", name=f"Compare {name}").press("Space")
    tray = page.locator("#tray")
    for _ in range(40):  # what has the focus once lay behind the tray
        page.keyboard.press("Tab")
        below = page.evaluate("document.activeElement.getBoundingClientRect().bottom")
        assert below <= page.evaluate("document.getElementById('tray').getBoundingClientRect().top")
    tray.get_by_role("button", name="Take scarlet out").press("Space")
    expect(tray.get_by_role("button", name="Take rose out")).to_be_focused()
    choose = tray.get_by_role("link", name="Choose one more to compare")
    expect(choose).to_have_attribute("aria-disabled", "true")
    choose.press("Enter")
    assert "/compare" not in page.url
    tray.get_by_role("button", name="Take rose out").press("Space")
    expect(tray).to_be_hidden()
    expect(page.get_by_role("button", name="Compare rose")).to_be_focused()


def test_the_map_has_a_twin_for_the_keyboard(visit: Visit) -> None:
    page = visit("/map")
    expect(page.locator("#map-told")).to_contain_text("within the thresholds")
    tab_to(page, "How strong at most")
    page.keyboard.press("End")
    expect(page.locator("#map-told")).to_contain_text("0 too strong")
    page = visit("/map")
    tab_to(page, "Show as a table")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="All LoRAs")).to_be_visible()
    tab_to(page, "Strength")
    page.keyboard.press("Enter")
    expect(page.locator("tbody th").first).to_have_text("grey00")
    tab_to(page, "grey00")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="grey00")).to_be_visible()


def test_files_are_measured_and_a_prompt_tried_with_the_keyboard(visit: Visit, tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    for colour in ("red", "blue"):
        tint(folder / f"{colour}der.safetensors", **{colour: 0.3})
    settings = ServerSettings(library=tmp_path / "library.db", folders=(folder,), preset=str(small_world(tmp_path)))
    with serving(settings) as address:
        page = visit("/work", base=address)
        tab_to(page, str(folder))
        page.keyboard.press("Space")
        page.get_by_role("button", name="2 new files: index").press("Enter")
        box = page.get_by_label(str(folder))
        assert box.evaluate("box => box.validationMessage") == "Choose a folder."  # it once meant all of them
        expect(box).to_be_focused()
        page.keyboard.press("Space")
        tab_to(page, "Precision")
        page.keyboard.type("glance")
        tab_to(page, "2 new files: index")
        page.keyboard.press("Enter")
        expect(page.locator("#runs ~ .wide tbody tr").first).to_contain_text("glance")
        expect(page.locator("#runs ~ .wide tbody tr").first).to_contain_text("done")
        page.goto("/?q=red")
        tab_to(page, "Try my own prompt")
        page.keyboard.press("Enter")
        tab_to(page, "Your prompt")
        page.keyboard.type("a red boat")
        page.keyboard.press("Enter")
        expect(page.locator(".tries img")).to_have_count(6)
        expect(page.locator(".tries")).to_contain_text("drawn with weight 1")
        keep(page, "keyboard-try")
        page.goto("about:blank")


def test_thresholds_work_live_and_the_address_holds_everything(visit: Visit) -> None:
    page = visit("/?q=red")
    page.get_by_text("More filters").click()
    strength = page.get_by_label("How strong at most")
    strength.focus()
    page.keyboard.press("Home")
    expect(page.locator("#told")).to_have_text("No LoRA passes these filters.")
    expect(page.locator("#lane > summary")).to_have_text("56 too strong")
    expect(page.locator(".told")).to_contain_text("clear matches are hidden: show")
    assert page.evaluate("document.activeElement.name") == "max_strength"
    expect(page).to_have_url(re.compile(r"/\?q=red&max_strength=0$"))

    page.locator("#lane > summary").click()
    expect(page.locator("#lane .card").first).to_be_visible()
    expect(page).to_have_url(re.compile("hidden=1"))
    page.reload()
    expect(page.locator("#lane .card").first).to_be_visible()
    expect(page.get_by_label("How strong at most").locator("xpath=..").locator("output")).to_have_text("faint (0.0)")

    page.get_by_label("How strong at most").press("End")
    expect(page.locator("output").first).to_have_text("any")
    expect(page.locator("#told")).to_have_text("56 LoRAs, nearest first.")


def test_going_back_brings_the_former_search_back(visit: Visit) -> None:
    page = visit("/?q=red")
    first = names(page)[0]
    page.get_by_label("What should it do?").fill("blue")
    page.keyboard.press("Enter")
    expect(page.locator(".card .name").first).to_have_text("sea")
    expect(page).to_have_title("blue · lorascope")
    page.go_back()
    expect(page.locator(".card .name").first).to_have_text(first)
    expect(page.get_by_label("What should it do?")).to_have_value("red")


def test_more_like_this_and_less_of_this(visit: Visit) -> None:
    page = visit("/?q=red")
    card = page.locator(".card").filter(has_text="sea").first
    expect(card).to_have_count(0)  # on the second page
    page = visit("/?q=blue")
    page.locator(".card").first.get_by_text("More").first.click()
    page.get_by_role("link", name="Less of this").first.click()
    expect(page.get_by_role("list", name="Examples")).to_contain_text("less of sea")
    assert names(page)[0] != "sea"
    page.get_by_role("link", name="Forget sea").click()
    expect(page.locator(".card .name").first).to_have_text("sea")


def test_an_example_is_weighed_with_the_keyboard(visit: Visit) -> None:
    page = visit("/?q=blue")
    page.locator(".card").first.get_by_text("More").first.press("Enter")
    page.get_by_role("link", name="More like this").first.press("Enter")
    page.get_by_role("link", name="Let sea count less").press("Enter")
    expect(page).to_have_url(re.compile(r"more=sha256%3A\w+%3A0.5"))
    expect(page.get_by_role("list", name="Examples")).to_contain_text("0.5")
    page.get_by_label("What should it do?").fill("red")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"q=red.*more=sha256%3A\w+%3A0.5"))  # it stays with other words
    keep(page, "weights")
    assert barriers(page) == []


def test_an_example_is_forgotten_and_nothing_else(visit: Visit) -> None:
    page = visit("/?q=blue")
    page.locator(".card").first.get_by_text("More").first.click()
    page.get_by_role("link", name="Less of this").first.click()
    expect(page.get_by_role("list", name="Examples")).to_contain_text("less of sea")
    ready(page)  # before its scripts have run, a page sends thresholds that nobody changed
    page.get_by_label("What should it do?").fill("red")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=red.*less="))
    keep(page, "examples")
    page.get_by_role("link", name="Forget sea").click()
    expect(page).to_have_url(re.compile(r"/\?q=red$"))
    expect(page.get_by_label("What should it do?")).to_have_value("red")


def test_a_picture_finds_adapters(visit: Visit) -> None:
    page = visit("/?q=red&max_strength=5")
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (60, 60, 250)).save(file, "PNG")
    page.locator("#picture").set_input_files({"name": "blue.png", "mimeType": "image/png", "buffer": file.getvalue()})
    expect(page.get_by_role("list", name="Examples")).to_contain_text("like your picture")
    assert names(page)[0] == "sea"
    expect(page).to_have_url(re.compile(r"max_strength=5.*image="))

    page.goto("/")
    page.evaluate(
        """bytes => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([new Uint8Array(bytes)], "blue.png"));
            document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer }));
        }""",
        list(file.getvalue()),
    )
    expect(page.get_by_role("list", name="Examples")).to_contain_text("like your picture")


def test_what_is_no_picture_is_told(visit: Visit) -> None:
    page = visit("/", forgiven="Failed to load resource")
    page.locator("#picture").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.get_by_role("alert")).to_contain_text("cannot be read as a picture")
    expect(page).to_have_url(re.compile("/$"))
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def forget_favourites(place: Path) -> None:
    """The stories before have left some."""
    with Library(place) as library:
        for key in library.marks.favourites():
            library.marks.put(key, Mark())


def test_favourites_are_the_same_in_every_browser(visit: Visit, library_file: Path) -> None:
    forget_favourites(library_file)
    page = visit("/?q=red")
    name = names(page)[0]
    page.get_by_role("button", name=f"Favourite: {name}").click()
    page.reload()
    expect(page.get_by_role("button", name=f"Favourite: {name}")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Favourites").click()
    expect(page.locator(".card .name")).to_have_text([name])
    other = visit("/?favourite=1")
    expect(other.locator(".card .name")).to_have_text([name])
    other.get_by_role("button", name=f"Favourite: {name}").click()
    expect(other.locator("#toast")).to_have_text(f"{name} is no favourite any more.")
    page.reload()
    expect(page.locator("#results")).to_contain_text("Press ♡ on a LoRA")


def test_favourites_of_an_earlier_version_move_into_the_library(visit: Visit, library_file: Path) -> None:
    forget_favourites(library_file)
    with Library(library_file) as library:
        key = next(iter(library.adapters.all()))
        page = visit("/nowhere", forgiven="404")
        page.evaluate("key => localStorage.setItem('lorascope.favourites', JSON.stringify([key, 'x:1']))", key)
        page.reload()
        until(lambda: library.marks.favourites() == {key})
        library.marks.put(key, Mark())
    left = "localStorage['lorascope.favourites']"  # of another library, perhaps
    until(lambda: page.evaluate(left) == '["x:1"]')


def test_mature_pictures_are_blurred_until_wanted(visit: Visit) -> None:
    page = visit("/?q=red")
    card = page.locator(".card.mature")
    blurred = "element => getComputedStyle(element.querySelector('img')).filter"
    assert "blur" in card.evaluate(blurred)
    page.get_by_role("button", name="Show the mature pictures of lamp").click()
    assert card.evaluate(blurred) == "none"
    page.get_by_label("Mature pictures", exact=True).select_option("hide")
    page.reload()
    expect(card).to_be_hidden()
    expect(page.get_by_text("Mature pictures are left out")).to_be_visible()


def test_what_was_found_under_a_protocol_is_compared_under_it(visit: Visit) -> None:
    page = visit("/?q=red&protocol=fake")
    for name in ("scarlet", "rose"):
        page.get_by_role("button", name=f"Compare {name}").click()
    page.get_by_role("link", name="Compare 2").click()
    expect(page).to_have_url(re.compile("/compare.*protocol=fake$"))
    expect(page.get_by_role("link", name="scarlet").first).to_have_attribute("href", re.compile("protocol=fake$"))


def test_pictures_that_are_left_out_leave_the_others_under_their_names(visit: Visit) -> None:
    page = visit("/?q=red")
    for name in ("lamp", "rose"):
        page.get_by_role("button", name=f"Compare {name}").click()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.get_by_role("columnheader", name="lamp")).to_be_visible()
    ready(page)
    page.get_by_label("Mature pictures", exact=True).select_option("hide")
    expect(page.locator("html")).to_have_attribute("data-mature", "hide")
    for name, pictures in (("lamp", 0), ("rose", 24)):
        box = page.get_by_role("columnheader", name=name).bounding_box()
        assert box is not None
        inside = """(images, {x, width}) => images.filter((image) => {
            const box = image.getBoundingClientRect();
            return box.width && box.left >= x && box.right <= x + width;
        }).length"""
        assert page.locator(".compare td img").evaluate_all(inside, box) == pictures
    keep(page, "compare-left-out")


def test_results_come_in_pages_of_48(visit: Visit) -> None:
    page = visit("/?q=red")
    assert len(names(page)) == 48
    page.get_by_role("link", name="Next 7").click()
    expect(page.get_by_text("page 2 of 2")).to_be_visible()
    assert len(names(page)) == 7


def test_all_that_the_thresholds_leave_out_can_be_looked_at(visit: Visit) -> None:
    page = visit("/?q=red&max_strength=0")
    page.locator("#lane > summary").press("Enter")
    seen = page.locator("#lane .name").all_inner_texts()
    assert len(seen) == 48
    page.get_by_role("navigation", name="Pages of what is left out").get_by_role("link", name="Next 8").press("Enter")
    expect(page).to_have_url(re.compile("lane=2.*#lane$"))
    expect(page.locator("#lane .card").first).to_be_in_viewport()
    seen += page.locator("#lane .name").all_inner_texts()
    assert len(set(seen)) == 56
    keep(page, "lane-2")


def test_a_query_that_cannot_be_read_says_why(visit: Visit) -> None:
    page = visit("/?q=red", forgiven="422")
    page.get_by_label("What should it do?").fill("red:0")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("weight 0")
    expect(page.get_by_label("What should it do?")).to_have_value("red:0")


def test_the_page_of_an_adapter(visit: Visit) -> None:
    page = visit("/?q=red")
    page.get_by_role("link", name="lamp", exact=True).click()
    expect(page.get_by_role("heading", name="lamp")).to_be_visible()
    assert page.locator(".evidence .flip").count() == 12
    for heading in ("How much, how reliably", "Where it works", "What is said, what was measured", "The file"):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.get_by_role("link", name="Civitai")).to_have_attribute(
        "href", "https://civitai.com/models/7?modelVersionId=8"
    )
    page.get_by_role("link", name="Search for red").click()
    expect(page.locator("#words")).to_contain_text("red: it comes")
    page.locator(".neighbours a").first.click()
    expect(page.get_by_role("heading", name="rose")).to_be_visible()


def test_the_map_points_filters_and_opens(visit: Visit) -> None:
    page = visit("/map")
    expect(page.locator("#map-told")).to_have_text("55 within the thresholds, 1 too strong, 0 too inconsistent")
    page.get_by_role("button", name="How strong, how reliable").click()
    box = page.locator("canvas").bounding_box()
    assert box is not None
    # Strength 1.78 on an axis to 1.9, Consistency 1 on one to 1.05: the one point at the far right is flood
    at = page.evaluate(
        "fetch('/api/v1/map').then(a => a.json()).then(d => { const i = d.names.indexOf('flood');"
        " const [s, c] = ['strength', 'consistency'].map(n => document.getElementById('map-' + n).max);"
        " return [d.strength[i] / s, d.consistency[i] / c] })"
    )
    x = box["x"] + 52 + at[0] * (box["width"] - 52 - 18)
    y = box["y"] + box["height"] - 40 - at[1] * (box["height"] - 40 - 18)
    page.mouse.move(x, y)
    expect(page.locator(".tip")).to_contain_text("flood")
    keep(page, "story-map")

    line = box["x"] + 52 + 1.5 / float(page.locator("#map-strength").get_attribute("max") or 0) * (box["width"] - 70)
    page.mouse.move(line, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 19, box["y"] + 200, steps=4)
    page.mouse.up()
    expect(page.locator("#map-told")).to_contain_text("0 too strong")
    page.get_by_role("button", name="What they do").click()
    page.get_by_role("button", name="How strong, how reliable").click()
    page.mouse.click(x, y)
    expect(page.get_by_role("heading", name="flood")).to_be_visible()


PLACE = """fetch("/api/v1/map").then(answer => answer.json()).then(map => [map.x, map.y].map(places => {
    const [low, high] = [Math.min(...places), Math.max(...places)];
    return (places[map.names.indexOf("leaf")] - low + .06 * (high - low)) / (1.12 * (high - low));
}))"""
"""Where leaf is on the map of all, as shares of its width and height."""


def test_the_map_is_fitted_to_what_is_on_it(visit: Visit) -> None:
    page = visit("/map")
    expect(page.locator("#map-told")).to_contain_text("within the thresholds")
    x, y = page.evaluate(PLACE)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    keep(page, "map-directions")
    page.mouse.move(
        box["x"] + 52 + x * (box["width"] - 52 - 18),
        box["y"] + box["height"] - 40 - y * (box["height"] - 40 - 18),
    )
    expect(page.locator(".tip")).to_contain_text("leaf")


def test_a_search_is_lit_on_the_map(visit: Visit) -> None:
    page = visit("/map")
    page.get_by_label("Highlight LoRAs that do").fill("blue")
    page.keyboard.press("Enter")
    expect(page.locator("#map-told")).to_contain_text("do “blue”")
    expect(page).to_have_url(re.compile("q=blue"))
    page.reload()
    expect(page.locator("#map-told")).to_contain_text("do “blue”")
    keep(page, "map-lit")


def test_the_map_goes_back_to_all_where_nothing_lit_would_be_seen(visit: Visit) -> None:
    page = visit("/map")
    expect(page.locator("#map-told")).to_contain_text("within the thresholds")
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] - 42)  # there is nothing in this corner
    for _ in range(8):
        page.mouse.wheel(0, -400)
    page.get_by_label("Highlight LoRAs that do").fill("green")
    page.keyboard.press("Enter")
    expect(page.locator("#map-told")).to_contain_text("“green”")
    x, y = page.evaluate(PLACE)
    page.mouse.move(box["x"] + 52 + x * (box["width"] - 70), box["y"] + box["height"] - 40 - y * (box["height"] - 58))
    expect(page.locator(".tip")).to_contain_text("leaf")


def test_a_finger_that_scrolls_over_pictures_leaves_the_slider_where_it_was(visit: Visit, library_file: Path) -> None:
    """It once jumped to where the finger was."""
    with Library(library_file) as library:
        keys = {adapter.name: key for key, adapter in library.adapters.all().items()}
    page = visit(f"/compare?a={keys['rose']}&a={keys['sea']}", size=PHONE, has_touch=True)
    finger = page.context.new_cdp_session(page)
    box = page.locator(".split").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2

    def swipe(right: float, down: float) -> str:
        finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 11):
            point = {"x": x + right * step / 10, "y": y + down * step / 10}
            finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        return page.locator(".split input").first.input_value()

    assert swipe(0, -150) == "50"
    page.wait_for_function("scrollY > 0")
    page.evaluate("scrollTo(0, 0)")
    assert int(swipe(-150, 0)) < 45


def test_a_finger_on_the_map_scrolls_the_page(visit: Visit) -> None:
    """One finger once moved the map, so that nobody got past it."""
    page = visit("/map", size=PHONE, has_touch=True)
    expect(page.locator("#map-told")).to_contain_text("within the thresholds")
    assert page.locator("canvas").evaluate("canvas => getComputedStyle(canvas).touchAction") == "pan-x pan-y"


def test_the_table_sorts(visit: Visit) -> None:
    page = visit("/map/table")
    expect(page.locator("tbody th").first).to_have_text("flood")
    page.get_by_role("link", name="Strength").click()
    expect(page.locator("tbody th").first).to_have_text("grey00")
    page.get_by_role("link", name="LoRA", exact=True).click()
    expect(page.locator("[aria-sort=ascending]")).to_contain_text("LoRA")


def test_work_from_new_files_to_results(visit: Visit, tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    for number in range(6):
        tint(folder / f"new{number}.safetensors", red=0.1 + 0.02 * number)
    folder.joinpath("broken.safetensors").write_text("<html>", "utf-8")
    settings = ServerSettings(library=tmp_path / "library.db", folders=(folder,), preset=str(small_world(tmp_path)))
    with serving(settings) as address:
        page = visit("/work", base=address)
        page.get_by_role("button", name="7 new files: index").click()
        expect(page.locator("#runs ~ .wide tbody tr").first).to_contain_text("done")
        keep(page, "story-work")
        expect(page.get_by_text("Nothing is being measured.")).to_be_visible()
        expect(page.get_by_role("heading", name="1 file left out")).to_be_visible()
        expect(page.locator("main")).to_contain_text("broken.safetensors")
        assert barriers(page) == []
        expect(page.locator("#progress")).to_contain_text("Run 1 is done: 6 LoRAs measured.")
        page.get_by_role("link", name="See them").click()
        expect(page).to_have_url(re.compile("folder="))
        expect(page.locator("#told")).to_have_text("6 LoRAs, the strongest first.")
        page.goto("about:blank")


def test_a_run_can_be_paused_and_resumed(visit: Visit, loras: Path, tmp_path: Path) -> None:
    settings = ServerSettings(library=tmp_path / "library.db", folders=(loras,), preset=str(small_world(tmp_path)))
    with serving(settings) as address:
        page = visit("/work", base=address)
        page.get_by_label("Precision").select_option("full")
        page.get_by_role("button", name="56 new files: index").click()
        page.get_by_role("button", name=re.compile("Pause")).click()
        resume = page.get_by_role("button", name=re.compile("Resume"))
        expect(resume).to_be_visible()
        expect(page.locator("#progress")).to_contain_text("Run 1 is paused. What it measured is kept")
        keep(page, "story-paused")
        resume.click()
        expect(page.locator("progress")).to_be_visible()
        expect(page.locator(".run")).to_contain_text("left for the whole run")
        keep(page, "story-running")
        page.get_by_role("button", name=re.compile("Stop")).first.click()
        expect(page.get_by_text("Nothing is being measured.")).to_be_visible()
        page.goto("about:blank")


def test_try_my_prompt(visit: Visit) -> None:
    page = visit("/?q=red")
    page.get_by_text("Try my own prompt on the first 4").click()
    page.get_by_label("Your prompt").fill("a red boat")
    page.get_by_label("Weight", exact=True).fill("0.6")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator(".tries li")).to_have_count(5)
    expect(page.locator(".tries li").first).to_contain_text("without")
    expect(page.locator(".tries img")).to_have_count(10)
    keep(page, "story-try")
    page.reload()
    expect(page.locator(".tries img")).to_have_count(10)
    expect(page.locator(".tries")).to_contain_text("drawn with weight 0.6")
    expect(page.locator("#told")).to_be_visible()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_several_are_tried_in_one_picture(visit: Visit, library_file: Path, size: tuple[int, int]) -> None:
    with Library(library_file) as library:
        keys = {adapter.name: key for key, adapter in library.adapters.all().items()}
    page = visit(f"/compare?a={keys['rose']}&a={keys['sea']}", size=size, has_touch=size == PHONE, forgiven="422")
    page.get_by_label("Your prompt").fill("a boat")
    page.get_by_label("all together").check()
    page.get_by_text("More settings").click()
    page.get_by_label("Weight of sea").fill("0.5")
    page.get_by_label("Width").fill("96")
    page.get_by_label("Height").fill("64")
    assert barriers(page) == []
    page.get_by_role("button", name="Try it").click()
    expect(page.locator(".tries li")).to_have_count(2)
    expect(page.locator(".tries li").nth(1)).to_contain_text("rose at 1 + sea at 0.5")
    expect(page.locator(".tries img")).to_have_count(4)
    expect(page.get_by_label("a boat", exact=True)).to_contain_text("96 pixels wide, 64 high")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    keep(page, f"try-together-{size[0]}")
    page.get_by_label("Negative prompt").fill("blurry")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_role("alert").filter(has_text="does nothing at a guidance of 1")).to_contain_text("Leave it out")


def test_a_server_that_does_not_answer_is_told_everywhere(visit: Visit) -> None:
    page = visit("/?q=red", forgiven="Failed to")
    page.get_by_role("link", name="lamp", exact=True).click()
    page.wait_for_url(re.compile("/adapters/"))
    ready(page)  # before its scripts run, the browser itself tells
    page.route(re.compile("/tries|/words"), lambda route: route.abort())
    told = page.get_by_role("alert").filter(has_text="The server does not answer")
    page.get_by_label("Your prompt").fill("a red boat")
    page.get_by_role("button", name="Try it").click()
    expect(told).to_be_visible()
    page.get_by_role("button", name="Dismiss").press("Enter")
    expect(told).to_be_hidden()
    page.get_by_role("link", name="Search for").click()
    expect(told).to_be_visible()


def test_a_try_survives_a_server_that_is_gone_for_a_while(visit: Visit, library_file: Path) -> None:
    go_on = threading.Event()

    def start_late(pipe: Connection, plan: ModelConfig) -> Task:
        thread = threading.Thread(target=lambda: go_on.wait() and start_thread(pipe, plan).join(), daemon=True)
        thread.start()
        return thread

    with serving(ServerSettings(library=library_file), start=start_late) as address:
        page = visit("/?q=red", base=address, forgiven="Failed to")
        page.get_by_text("Try my own prompt on the first 4").click()
        page.get_by_label("Your prompt").fill("a blue boat")
        page.get_by_role("button", name="Try it").click()
        expect(page.get_by_text("Waiting for the models")).to_be_visible()
        page.route(re.compile("/tries/"), lambda route: route.abort())
        told = page.get_by_role("alert").filter(has_text="The server does not answer")
        expect(told).to_be_visible()
        go_on.set()
        page.unroute(re.compile("/tries/"))
        expect(page.locator(".tries img")).to_have_count(10)
        expect(told).to_be_hidden()
        page.goto("about:blank")


def test_a_study_is_answered_by_the_keyboard(visit: Visit) -> None:
    page = visit("/study")
    for question in ("better on the whole", "what the words ask for", "better pictures"):
        page.get_by_role("group", name=re.compile(question)).get_by_label("No difference").press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    page.get_by_role("link", name="See the results").click()
    expect(page.locator("main")).to_contain_text("1 person has answered")


def test_without_javascript_the_pages_still_work(visit: Visit) -> None:
    page = visit("/", java_script_enabled=False)
    page.get_by_label("What should it do?").fill("red")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page).to_have_url(re.compile("q=red"))
    page.wait_for_load_state()
    assert len(names(page)) == 48
    assert page.locator(".flip").first.locator("img").first.is_visible()
    page.get_by_role("link", name="rose", exact=True).click()
    assert page.get_by_role("heading", name="rose").is_visible()


def test_the_work_page_waits_for_a_server_that_restarts(visit: Visit, loras: Path, tmp_path: Path) -> None:
    settings = ServerSettings(library=tmp_path / "library.db", folders=(loras,))
    with serving(settings) as address:
        page = visit("/work", base=address, forgiven="Failed to", size=PHONE)
        port = int(address.rpartition(":")[2])
    expect(page.locator("#lost")).to_be_visible()
    with serving(settings, port):
        expect(page.locator("#lost")).to_be_hidden()
        page.goto("about:blank")


def test_a_token_is_asked_for(visit: Visit, library_file: Path) -> None:
    with serving(ServerSettings(library=library_file, token="a-token-of-some-length")) as address:
        page = visit("/map", base=address, forgiven="401")
        keep(page, "login")
        assert barriers(page) == []
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        page.get_by_label("Token").fill("a-token-of-some-length")
        page.keyboard.press("Enter")
        expect(page.get_by_text("within the thresholds")).to_be_visible()
        page.goto("about:blank")


def test_whoever_is_quicker_than_the_scripts_is_heard(visit: Visit) -> None:
    page = visit("/map")
    held: list[Route] = []
    waiting = True

    def hold(route: Route) -> None:
        if waiting:
            held.append(route)
        else:
            route.continue_()

    page.route(re.compile("/static/(ask|mature)"), hold)
    page.get_by_role("link", name="Search", exact=True).click()
    page.get_by_label("What should it do?").fill("red")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/\?.*q=red"))
    page.get_by_label("Mature pictures", exact=True).select_option("hide")
    waiting = False
    for route in held:
        route.continue_()
    expect(page.locator("html")).to_have_attribute("data-mature", "hide")
