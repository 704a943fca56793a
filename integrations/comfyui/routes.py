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
    """Whether lorascope answers, and what it holds."""
    return web.json_response(await asyncio.to_thread(CLIENT.get, "/health"))


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
    for path, handler in (("search", search), ("health", health), ("picture", picture)):
        server.routes.get(f"/lorascope/{path}")(_told(handler))


def _told(handler):  # noqa: ANN001, ANN202 - aiohttp's handlers
    """A handler whose problems reach the tab in words."""

    async def told(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except LorascopeProblem as problem:
            return web.json_response({"error": str(problem)}, status=502)

    return told
