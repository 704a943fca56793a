"""What the shell offers after Tab. Nothing is imported before a completion is asked for."""

from __future__ import annotations

from typing import Any


def preset_names(incomplete: str) -> list[str]:
    """Presets that ship; the shell itself completes files."""
    from lorascope.protocol import presets

    return _starting(incomplete, presets())


def precision_names(incomplete: str) -> list[str]:
    """Precisions, coarsest first."""
    from lorascope.protocol import PRECISIONS

    return _starting(incomplete, list(PRECISIONS))


def flag_names(incomplete: str) -> list[str]:
    """Kinds of findings."""
    from lorascope.analysis import FLAGS

    return _starting(incomplete, list(FLAGS))


def adapter_names(ctx: Any, incomplete: str) -> list[str]:
    """Names of the adapters in the library of the command."""
    from lorascope.errors import LorascopeError
    from lorascope.library import Library

    try:
        with Library(ctx.params.get("library")) as library:
            return _starting(incomplete, sorted({adapter.name for adapter in library.adapters.all().values()}))
    except LorascopeError:
        return []


def _starting(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
