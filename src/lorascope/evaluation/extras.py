"""Optional packages of the lab, asked for by name, with the command that installs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lorascope.errors import MissingExtra


def lab(module: str) -> Any:
    """Import a module of the extra ``lab``.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(f"this part of the lab needs {module}: run `pip install 'lorascope[lab]'`") from error
