"""The pages: server-rendered HTML over the same state as the API."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

from lorascope.server.pages import adapter, atlas, comparison, search, tries, work
from lorascope.server.pages.render import STATIC, page
from lorascope.server.pages.study import StudyPages
from lorascope.server.problems import Problem

__all__ = ["install", "login_page", "problem_page"]


def install(app: FastAPI) -> None:
    """Add every page, and the files that they load."""
    for part in (search, adapter, comparison, atlas, tries, work):
        app.include_router(part.router)
    if study := app.state.lorascope.settings.study:
        app.include_router(StudyPages(study).router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def problem_page(request: Request, problem: Problem) -> Response:
    """The page for a problem, or for an empty library."""
    if problem.code == "empty-library":
        return search.empty_page(request, request.app.state.lorascope)
    answer = page(request, "problem.html.jinja", status=problem.status, problem=problem)
    answer.headers.update(problem.headers)
    return answer


def login_page(request: Request, *, target: str, failed: bool) -> Response:
    """Ask for the token."""
    return page(request, "login.html.jinja", status=401, target=target, failed=failed)
