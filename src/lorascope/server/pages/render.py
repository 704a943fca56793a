"""Renders templates to responses; the only module that uses Jinja."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from lorascope.library import LONGEST_NOTE
from lorascope.server.access import Access
from lorascope.server.problems import Problem
from lorascope.server.tries import LONGEST_PROMPT, MOST_SEED, MOST_WEIGHT, SIDES

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_TAG = re.compile(r"</?(?:p|br|div|span|a|b|i|u|em|strong|h[1-6]|ul|ol|li|img|hr|code|pre|blockquote)\b[^<>]*>", re.I)
_BREAKS = ("p", "br", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "pre", "blockquote")


def _stamp() -> str:
    """Short digest of every static file: an address with it never shows the file of an earlier version."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def adapter_address(key: str, protocol: str = "") -> str:
    """The address of an adapter's page under a Protocol, or under the active one."""
    return f"/adapters/{quote(key, safe='')}{f'?protocol={quote(protocol)}' if protocol else ''}"


def compare_address(keys: list[str], protocol: str = "") -> str:
    """The address of a comparison of adapters."""
    return f"/compare?{urlencode([*(('a', key) for key in keys), *([('protocol', protocol)] if protocol else [])])}"


def sentence(text: str) -> str:
    """A message as people read it: with a capital letter, unless the name of a field comes first, and a full stop."""
    named = text.partition(" ")[0].endswith(":")
    return f"{text[:1] if named else text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


class _Text(HTMLParser):
    """Collects the text of HTML; blocks and breaks become line breaks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _BREAKS:
            self.parts.append("\n")


def plain_text(text: str) -> str:
    """A description without HTML tags, which sidecars hold as their site wrote it; other text as it is."""
    if not _TAG.search(text):
        return text
    parser = _Text()
    parser.feed(text)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).splitlines())
    return "\n".join(filter(None, lines))


def advice(problem: Problem) -> str:
    """A remedy for people; one that names a part of the API is for programs, and is replaced."""
    return "continue from the search, the map or the work page" if "/api/" in problem.remedy else problem.remedy


_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["sentence"] = sentence
_SHARED: dict[str, Any] = {
    "stamp": _stamp(),
    "adapter_address": adapter_address,
    "compare_address": compare_address,
    "advice": advice,
    "longest_note": LONGEST_NOTE,
    "longest_prompt": LONGEST_PROMPT,
    "most_weight": MOST_WEIGHT,
    "most_seed": MOST_SEED - 1,
    "picture_sides": SIDES,
}


def is_part(request: Request) -> bool:
    """Whether htmx asks for a part to put into a page, rather than the browser for a whole page."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and headers.get("HX-History-Restore-Request") != "true"


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Fill a template in. ``part`` tells it to leave out the frame around its content.

    Links of the frame stay ``under`` the Protocol that the address names. Who has a ``session`` can end it. ``tried``
    is the id of the try that the page showed before it was reloaded.
    """
    access: Access = request.app.state.access
    mature = request.cookies.get("mature", "blur")
    text = _environment.get_template(template).render(
        path=request.scope["path"],
        part=is_part(request),
        favourites=request.query_params.get("favourite") == "1",
        tried=request.query_params.get("try", ""),
        under=urlencode({"protocol": protocol}) if (protocol := request.query_params.get("protocol")) else "",
        under_protocol=protocol or "",
        local=request.app.state.lorascope.settings.local,
        session=access.required and access.has_session(request.cookies),
        mature=mature if mature in ("blur", "show", "hide") else "blur",
        **_SHARED,
        **context,
    )
    # the same address answers with a whole page or a part; the browser's own cache must not mix them up
    return HTMLResponse(text, status, {"Vary": "HX-Request", "Cache-Control": "no-cache"})
