"""The application: the API, the pages, and what guards both."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Match, Mount

from lorascope import __version__
from lorascope.errors import LorascopeError
from lorascope.extras import require
from lorascope.server import api, login, pages
from lorascope.server.access import Access
from lorascope.server.encoders import MOST, Encoders
from lorascope.server.guard import Guard
from lorascope.server.job_pipe import Start, start_process
from lorascope.server.problems import FOR_PROGRAMS, Problem, problem_of, refused_values, unhandled
from lorascope.server.settings import ServerSettings
from lorascope.server.shared_state import SharedState

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_SMALLEST_GZIP = 1024
_THREADS = MOST + 32
"""Those that wait for the encoder leave some for requests that need none."""


def create_app(settings: ServerSettings, *, start: Start = start_process) -> FastAPI:
    """A server over one library.

    Raises:
        LibraryError: the library cannot be opened or created.
    """
    state = SharedState(settings, Encoders(download=settings.download), start)
    agents = _agents(state)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        async with AsyncExitStack() as running:
            if agents is not None:
                await running.enter_async_context(agents.session_manager.run())
            yield
        await run_in_threadpool(state.close)

    app = FastAPI(
        title="lorascope",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.lorascope = state
    app.state.access = Access(settings.token)
    _add_middleware(app, settings)
    api.install(app)
    app.include_router(login.router)
    if agents is not None:
        _install_agents(app, agents)
    pages.install(app)
    _add_error_handlers(app)
    return app


def _agents(state: SharedState) -> MCPServer[Any] | None:
    """The tools for agents, where the settings ask for them.

    Raises:
        MissingExtra: the package for them is not installed.
    """
    if not state.settings.agents:
        return None
    require("mcp")
    from lorascope.server.agents import server

    return server(state)


def _install_agents(app: FastAPI, agents: MCPServer[Any]) -> None:
    """Answer agents at /mcp. The guard has checked host, origin and token by then."""
    from mcp.server.transport_security import TransportSecuritySettings

    guarded = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    made = agents.streamable_http_app(
        streamable_http_path="/mcp", json_response=True, stateless_http=True, transport_security=guarded
    )
    app.router.routes += made.routes


def _add_middleware(app: FastAPI, settings: ServerSettings) -> None:
    """Add the middleware of every request. The last one added runs first."""
    app.add_middleware(GZipMiddleware, minimum_size=_SMALLEST_GZIP, compresslevel=5)
    app.add_middleware(Guard, settings=settings, access=app.state.access, answer=_answer)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "If-None-Match"),
            expose_headers=("ETag", "Retry-After"),
        )


def _answer(request: Request, problem: Problem) -> Response:
    """A problem as JSON for the API, as a page for people."""
    if request.scope["path"].startswith(FOR_PROGRAMS):
        return problem.response()
    return pages.problem_page(request, problem)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    def known(request: Request, error: Problem) -> Response:
        return _answer(request, error)

    @app.exception_handler(LorascopeError)
    def ours(request: Request, error: LorascopeError) -> Response:
        return _answer(request, problem_of(error))

    @app.exception_handler(HTTPException)
    def routing(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, Problem):  # the framework wraps what is raised while a body is read
            return _answer(request, error.__cause__)
        problem = unhandled(error.status_code, request.method, request.scope["path"])
        if error.status_code == 405:
            problem.headers["Allow"] = _methods(request)
        return _answer(request, problem)

    @app.exception_handler(RequestValidationError)
    def values(request: Request, error: RequestValidationError) -> Response:
        return _answer(request, refused_values(error.errors()))


def _methods(request: Request) -> str:
    """The methods of a path. The framework names only those of the first route that matches."""
    asked = {"type": "http", "path": request.scope["path"], "root_path": "", "headers": []}
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]
    found = [
        verb
        for verb in ("GET", "POST")
        if any(route.matches({**asked, "method": verb})[0] is Match.FULL for route in routes)
    ]
    return ", ".join(found or ["GET"]).replace("GET", "GET, HEAD")  # a mounted file can only be fetched
