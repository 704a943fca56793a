"""What the demo works on: a folder like people have, good files and broken ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from lorascope.errors import LibraryError
from lorascope.miniature import adapters_path
from lorascope.miniature.broken import write_broken

QUERIES = ("pencil drawing", "falling snow", "wearing a crown")
"""Three questions in words that no file name answers by itself."""


def lay_out(folder: Path) -> Path:
    """Copy the shipped adapters into a folder, with a tray of broken files beside them.

    Args:
        folder: where; made if it does not exist. Files of an earlier demo are overwritten.

    Returns:
        The folder of adapters within it.

    Raises:
        LibraryError: the folder cannot be written.
    """
    loras = folder / "loras"
    try:
        shutil.copytree(adapters_path(), loras, dirs_exist_ok=True)
        write_broken(loras / "broken", next(loras.glob("*.safetensors")))
    except OSError as error:
        raise LibraryError(f"{folder} cannot be written ({error.strerror}): choose another folder") from error
    return loras
