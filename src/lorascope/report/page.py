"""Writes a page of one HTML file from a template of this package."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from lorascope.caches import write_whole


def write_page(path: Path, template: str, filters: Mapping[str, Any] | None = None, **values: Any) -> Path:
    """Write a page, all of it or nothing.

    Args:
        path: the HTML file; its folder must exist.
        template: its name in this package.
        filters: filters of its own, each under its name.
        values: what the template shows, each under its name.

    Returns:
        The path, absolute.

    Raises:
        OutputError: the file cannot be written.
    """
    loader = jinja2.PackageLoader("lorascope", "report")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(filters or {})
    page = environment.get_template(template).render(**values)
    write_whole(path, page)
    return path.absolute()


def data_address(picture: bytes, kind: str = "webp") -> str:
    """A picture as an address within a page, which holds the picture itself."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
