"""Presets of judges and of text models: one TOML table each, from the file that ships or from a person's own."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from reprlib import repr as shown
from typing import TypeVar, cast

from lorascope.errors import QueryError

T = TypeVar("T")


def read_presets(
    what: str, shipped: str, source: Path | None, make: Callable[[str, dict[str, str]], T]
) -> dict[str, T]:
    """Every preset of a file by its name.

    Args:
        what: what they are presets of, for messages, such as "the judges".
        shipped: the name of the file that ships.
        source: another file.
        make: makes one of its name and its fields, which are texts, or raises TypeError or ValueError.

    Raises:
        QueryError: the file cannot be read, or a preset is wrong; the message names it.
    """
    path = source or files("lorascope") / "evaluation" / "data" / shipped
    found: dict[str, T] = {}
    place = ""
    try:
        for name, fields in tomllib.loads(path.read_text("utf-8")).items():
            place = f"[{name}] "
            found[name] = make(name, _texts(fields))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise QueryError(f"{what} {path} cannot be read ({place}{error}): compare with the file that ships") from error
    return found


def _texts(fields: object) -> dict[str, str]:
    if not isinstance(fields, dict):
        raise TypeError(f"is {shown(fields)} instead of a table")
    table = cast("dict[str, object]", fields)
    for name, value in table.items():
        if not isinstance(value, str):
            raise TypeError(f"has the {name} {shown(value)} instead of a text")
    return cast("dict[str, str]", table)
