"""The config file that `lorascope setup` writes: folders of adapters, and which preset measures which of them."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorascope.caches import write_whole
from lorascope.errors import ConfigError, OutputError

_HEAD = """\
# Written by `lorascope setup`. Edit it as you like: setup replaces it only when you say so.
# Options on the command line go before what it says here.
"""


@dataclass(frozen=True)
class Assignment:
    """Which adapters a preset measures, and on which base model.

    Attributes:
        preset: A shipped name or a file.
        base: A folder, a file or a name on the Hugging Face hub; empty for the preset's own.
        adapters: Kinds of adapters: ``architecture/lineage``, or ``architecture`` for those that claim no lineage.
    """

    preset: str
    base: str
    adapters: tuple[str, ...]


@dataclass(frozen=True)
class UserConfig:
    """What a person has set up.

    Attributes:
        folders: Where adapters lie.
        assignments: What measures them.
    """

    folders: tuple[Path, ...] = ()
    assignments: tuple[Assignment, ...] = ()

    @classmethod
    def load(cls, path: Path) -> UserConfig | None:
        """Read a config file; None if there is none.

        Raises:
            ConfigError: It cannot be read, or says what cannot be meant.
        """
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path} cannot be read ({error}): mend it, or run `lorascope setup` again") from error
        unknown = sorted(content.keys() - {"folders", "measure"})
        if unknown:
            raise ConfigError(f"{path}: unknown field {unknown[0]!r}: mend it, or run `lorascope setup` again")
        tables = content.get("measure", [])
        if not isinstance(tables, list):
            raise ConfigError(f"{path}: measure is {tables!r:.80}: write [[measure]] tables")
        folders = _texts(path, "folders", content.get("folders", []))
        return cls(tuple(map(Path, folders)), tuple(_assignment(path, table) for table in tables))

    def save(self, path: Path) -> None:
        """Write a config file, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        lines = [_HEAD, "folders = [", *(f"  {_quoted(str(folder))}," for folder in self.folders), "]"]
        for one in self.assignments:
            kinds = ", ".join(map(_quoted, one.adapters))
            lines += ["", "[[measure]]", f"preset = {_quoted(one.preset)}", f"base = {_quoted(one.base)}"]
            lines += [f"adapters = [{kinds}]"]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written ({error.strerror}): set LORASCOPE_CONFIG to a place"
            ) from error
        write_whole(path, "\n".join(lines) + "\n")


def _assignment(path: Path, table: Any) -> Assignment:
    if not isinstance(table, dict) or sorted(table) != ["adapters", "base", "preset"]:
        raise ConfigError(
            f"{path}: a [[measure]] table needs preset, base and adapters, and nothing else: mend it, or run"
            " `lorascope setup` again"
        )
    preset, base = _texts(path, "preset and base", [table["preset"], table["base"]])
    return Assignment(preset, base, tuple(_texts(path, "adapters", table["adapters"])))


def _texts(path: Path, name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f"{path}: {name} is {value!r:.80}: write texts in quotes")
    return value


def _quoted(text: str) -> str:
    """A TOML string. JSON's escapes are among TOML's, apart from DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
