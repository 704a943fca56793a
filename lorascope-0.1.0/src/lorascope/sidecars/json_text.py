"""A JSON file that is edited as it is: order, spelling of numbers, indentation, encoding and line ends stay."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final
from uuid import uuid4

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
Place = tuple[str, ...]
"""Keys from the outermost object to a value."""


@dataclass(frozen=True)
class _Style:
    """How a text is laid out, as :func:`json.dumps` takes it."""

    indent: int | str | None = 4
    separators: tuple[str, str] = (",", ": ")
    ensure_ascii: bool = False


@final
class JsonText:
    r"""The content of a file, and all that is needed to write it back in its own form.

    Examples:
        >>> text = JsonText.parse(b'{"b": 1.50,\r\n "a": []}')
        >>> text.edited([(("c",), 0.7)])
        b'{\r\n "b": 1.50,\r\n "a": [],\r\n "c": 0.7\r\n}'
    """

    def __init__(self, content: dict[str, Any], raw: dict[str, Any], token: str, encoding: str, text: str) -> None:
        self.content = content
        self._raw, self._token, self._encoding = raw, token, encoding
        self._crlf = "\r\n" in text
        plain = text.replace("\r\n", "\n")
        body = plain.rstrip()
        self._tail = plain[len(body) :]
        self._style = self._style_of(body)

    @classmethod
    def parse(cls, data: bytes) -> JsonText:
        """Read a file; an empty one is an empty object.

        Raises:
            ValueError: it is no JSON object that can be written back whole.
        """
        encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
        text = data.decode(encoding)
        token = uuid4().hex

        def literal(spelt: str) -> str:
            return f"{token}:{spelt}"

        try:
            content = json.loads(text or "{}", object_pairs_hook=_unique)
            raw = json.loads(text or "{}", parse_float=literal, parse_int=literal, parse_constant=literal)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        if not isinstance(content, dict):
            raise ValueError(f"it holds {type(content).__name__} instead of an object")
        return cls(content, raw, token, encoding, text)

    def edited(self, changes: Iterable[tuple[Place, Any]]) -> bytes:
        """The file with some values changed or added; objects on the way are made.

        Raises:
            ValueError: something on the way is no object.
        """
        tree = json.loads(json.dumps(self._raw))
        for place, value in changes:
            inner = tree
            for key in place[:-1]:
                inner = inner.setdefault(key, {})
                if not isinstance(inner, dict):
                    raise ValueError(f"{key!r} is no object")
            inner[place[-1]] = value
        text = self._spelt(tree, self._style) + self._tail
        return (text.replace("\n", "\r\n") if self._crlf else text).encode(self._encoding)

    def _spelt(self, tree: Any, style: _Style) -> str:
        text = json.dumps(tree, indent=style.indent, separators=style.separators, ensure_ascii=style.ensure_ascii)
        return re.sub(rf'"{self._token}:([^"]+)"', r"\1", text)

    def _style_of(self, body: str) -> _Style:
        """The style that gives back the text; else one with its indentation."""
        found = re.search(r"\n([ \t]+)", body)
        indent = found[1] if found else None if len(body) > 2 else 4
        styles = [
            _Style(indent, separators, ascii_only)
            for separators in ((",", ": "), (", ", ": "), (",", ":"))
            for ascii_only in (False, True)
        ]
        return next((style for style in styles if self._spelt(self._raw, style) == body), styles[0])


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless a key occurs twice: one of the values would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in it")
    return found
