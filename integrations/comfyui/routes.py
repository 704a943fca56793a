"""What the sidebar tab asks of ComfyUI's server: the browser needs neither lorascope's address nor its token."""

from __future__ import annotations

import asyncio
import re

import folder_paths
from aiohttp import web
from server import PromptServer

from .client import CLIENT, LorascopeProblem
from .loras import file_name, weight_of

_PICTURE = re.compile(r"/api/v1/(bare|adapters/[^/?#]+)/previews/\d+\?protocol=[\w-]+")
"""The only addresses of lorascope's that the browser may have fetched."""


async def search(request: web.Request) -> web.Response:
    """Hits with the names and weights by which ComfyUI loads them."""
    asked = {name: request.query.get(name, "") for name in ("q", "family")}
    page = await asyncio.to_thread(CLIENT.get, "/search", limit="24", details="true", **asked)
    names, folders = folder_paths.get_filename_list("loras"), folder_paths.get_folder_paths("loras")
    for row in page["hits"]:
        row["file"] = file_name(row["adapter"]["paths"], names, folders)
        row["use"] = weight_of(row)
    return web.json_response(page)


async def health(request: web.Request) -> web.Response:
    """Whether lorascope answers, what it holds, and the address of its page."""
    return web.json_response(await asyncio.to_thread(CLIENT.get, "/health") | {"url": CLIENT.url})


async def file(request: web.Request) -> web.Response:
    """The name and the weight by which ComfyUI loads a LoRA, by lorascope's key of it."""
    found = await asyncio.to_thread(CLIENT.post, "/lookup", {"references": [request.query.get("key", "")]})
    cards = found["found"][0]["cards"]
    if not cards:
        raise LorascopeProblem("lorascope does not know this LoRA")
    names, folders = folder_paths.get_filename_list("loras"), folder_paths.get_folder_paths("loras")
    name = file_name(cards[0]["adapter"]["paths"], names, folders)
    if name is None:
        raise LorascopeProblem(f"{cards[0]['adapter']['name']} is not in ComfyUI's folders of LoRAs")
    return web.json_response({"file": name, "use": weight_of(cards[0])})


async def picture(request: web.Request) -> web.Response:
    """One stored picture."""
    address = request.query.get("address", "")
    if not _PICTURE.fullmatch(address):
        raise web.HTTPNotFound
    data, kind = await asyncio.to_thread(CLIENT.fetch, address)
    return web.Response(body=data, content_type=kind, headers={"Cache-Control": "private, max-age=3600"})


def add_routes() -> None:
    """Add the routes to ComfyUI's server, where there is one."""
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return
    for path, handler in (("search", search), ("health", health), ("file", file), ("picture", picture)):
        server.routes.get(f"/lorascope/{path}")(_errors_as_json(handler))


def _errors_as_json(handler):  # noqa: ANN001, ANN202 - aiohttp's handlers
    """A handler whose problems reach the tab in words."""

    async def answered(request: web.Request) -> web.StreamResponse:
        CLIENT.embedder = f"{request.scheme}://{request.host}"
        try:
            return await handler(request)
        except LorascopeProblem as problem:
            return web.json_response({"error": str(problem)}, status=502)

    return answered
