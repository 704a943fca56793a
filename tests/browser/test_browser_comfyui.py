"""The sidebar tab of the nodes for ComfyUI, in a page that stands in for ComfyUI's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from lorascope.server import ServerSettings
from tests.browser.conftest import Visit, keep, serving
from tests.comfyui import PACKAGE, comfyui
from tests.fakes import three, tint
from tests.serving import listening, measured, small_world

PAGE = """<!doctype html><title>ComfyUI</title><link rel="icon" href="data:,"><div id="side"></div>
<script type="module" src="/extensions/lorascope/lorascope.js"></script>"""
APP = """
const nodes = [];
const loader = (type) => ({
  type, size: [200, 80],
  widgets: ["lora_name", "strength_model", "strength_clip"].map((name) => ({ name, value: null })),
});
export const app = {
  canvas: {
    selectedItems: new Set(), visible_area: [0, 0, 800, 600], graph: { add: (node) => nodes.push(node) }, setDirty() {},
    selectNode: (node) => { app.canvas.selectedItems = new Set([node]); },
  },
  extensionManager: { registerSidebarTab: (tab) => tab.render(document.getElementById("side")) },
  registerExtension: (extension) => extension.setup(),
};
window.LiteGraph = { createNode: loader };
window.select = (type) => { nodes.push(loader(type)); app.canvas.selectNode(nodes.at(-1)); };
window.workflow = () => nodes.map(({ type, widgets }) => [type, ...widgets.map(({ value }) => value)]);
"""
API = "export const api = { fetchApi: (path) => fetch(path), apiURL: (path) => path };"
STILL = ["LoraLoader", "weighted.safetensors", 0.6, 0.6]


@pytest.fixture
def tab(visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """ComfyUI with the tab open, beside a server that lets it show pages."""
    loras = three(tmp_path / "loras")
    tint(loras / "weighted.safetensors", red=0.25, green=0.02, preferred_weight=0.6)
    place = measured(tmp_path / "library.db", loras, precision="glance")
    with comfyui(loras) as pack:

        async def script(request: Request) -> Response:
            text = {"app.js": APP, "api.js": API}[request.path_params["name"]]
            return Response(text, media_type="text/javascript")

        async def extension(request: Request) -> Response:
            return Response((PACKAGE / "web" / "lorascope.js").read_text("utf-8"), media_type="text/javascript")

        async def route(request: Request) -> Response:
            asked = type("Asked", (), {"query": request.query_params, "scheme": "http", "host": request.url.netloc})
            found = await pack.routes[f"/lorascope/{request.path_params['name']}"](asked)
            if hasattr(found, "data"):
                return JSONResponse(found.data, found.status)
            return Response(found.body, media_type=found.content_type)

        routes = [
            Route("/", lambda request: HTMLResponse(PAGE)), Route("/scripts/{name}", script),
            Route("/extensions/lorascope/lorascope.js", extension), Route("/lorascope/{name}", route),
        ]  # fmt: skip
        with listening(Starlette(routes=routes)) as outer:
            settings = ServerSettings(library=place, embedders=(outer,), preset=str(small_world(tmp_path)))
            with serving(settings) as inner:
                monkeypatch.setattr(pack.nodes.CLIENT, "_url", inner)
                page = visit("/", base=outer, forgiven="Blocked autofocusing")
                yield page
                page.goto("about:blank")


def test_a_click_in_the_sidebar_adds_a_loader_or_fills_the_selected_one(tab: Page) -> None:
    tab.get_by_label("What the LoRA should do").fill("red")
    card = tab.get_by_role("button", name="weighted · 0.6")
    card.click()
    assert tab.evaluate("workflow()") == [STILL]
    tab.evaluate("select('LoraLoaderModelOnly')")
    tab.get_by_role("button", name="redder · 1").click()
    keep(tab, "comfyui-tab")
    assert tab.evaluate("workflow()") == [STILL, ["LoraLoaderModelOnly", "redder.safetensors", 1, None]]


def test_the_whole_page_in_the_sidebar_loads_what_is_pressed(tab: Page) -> None:
    tab.get_by_role("button", name="The whole page").click()
    inside = tab.frame_locator("iframe")
    inside.get_by_role("button", name="Use weighted in ComfyUI").click()
    expect(inside.locator("#toast")).to_have_text("weighted.safetensors is loaded in ComfyUI.")
    keep(tab, "comfyui-page")
    assert tab.evaluate("workflow()") == [STILL]
