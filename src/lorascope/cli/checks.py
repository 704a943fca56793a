"""Paths, preset, models and library of a run, checked before anything is loaded."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lorascope.errors import LibraryError, ModelError, UsageError, printable
from lorascope.library import Library, default_path
from lorascope.models import SHIPPED, bytes_to_fetch, find_file, find_model, is_single_file
from lorascope.protocol import Preset

_FAKE = "fake"
"""The family that needs no models."""


def chosen_preset(name: str, **changes: Any) -> Preset:
    """A preset with the user's changes: fields that are None or empty stay as they are.

    Raises:
        ProtocolError: there is no such preset, or a value is out of range.
        PromptSetError: one of its prompt sets cannot be read.
    """
    chosen = dataclasses.replace(Preset.load(name), **{k: v for k, v in changes.items() if v not in (None, "", ())})
    chosen.check_prompts()
    return chosen


def check_paths(paths: Iterable[Path]) -> None:
    """Make sure that files and folders exist; a link that leads nowhere is reported later, as a file that is left out.

    Raises:
        UsageError: one does not.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{printable(str(path))} does not exist: check its spelling")


def check_unused(options: Mapping[str, Any], where: str) -> None:
    """Raise UsageError if an option is named that does nothing ``where``, such as "without --through"."""
    if named := [name for name, value in options.items() if value]:
        raise UsageError(f"--{named[0]} does nothing {where}: leave it out")


def check_file(option: str, location: str) -> None:
    """Make sure that a file is there, if one is named; it may ship with the package.

    Raises:
        ModelError: it is not; the message names the option.
    """
    try:
        if location:
            find_file(location)
    except ModelError as error:
        raise ModelError(f"{option}: {error}") from error


def check_models(preset: Preset, *, download: bool, base_option: str = "--base") -> None:
    """Make sure that every model of a preset is on this disk, or may be fetched.

    Raises:
        ModelError: one is neither; the message names the option that gives it.
    """
    if preset.family == _FAKE:
        return
    named = [(base_option, preset.base), ("--vae", preset.vae), ("accelerator", preset.accelerator)]
    for option, location in [*named, *(("--encoder", encoder) for encoder in preset.encoders)]:
        if location and download and _on_the_hub(location):
            _tell_size(location, base=location == preset.base)
        elif location:
            try:
                find_file(location) if is_single_file(location) else _check_folder(
                    location, base=location == preset.base
                )
            except ModelError as error:
                raise ModelError(f"{option}: {error}") from error


def _tell_size(location: str, *, base: bool) -> None:
    """Say how much of a model is about to be fetched, before it is."""
    from lorascope.cli.output import print_note
    from lorascope.report.words import file_size

    if size := bytes_to_fetch(location, pipeline=base):
        print_note(f"{location}: {file_size(size)} to fetch")


def _check_folder(location: str, *, base: bool) -> None:
    folder = find_model(location)
    if base and not (folder / "model_index.json").is_file():
        raise ModelError(
            f"{folder} holds no model_index.json, so it is no diffusers pipeline: give such a folder, or a .safetensors"
            " checkpoint"
        )


def _on_the_hub(location: str) -> bool:
    """Whether a location can only be a name on the Hugging Face hub: ``owner/name``, with a file behind it or not."""
    return not location.startswith((SHIPPED, "/", ".", "~")) and "/" in location and not Path(location).exists()


def check_library(path: Path | None) -> None:
    """Make sure that a library can be opened or made.

    Raises:
        LibraryError: the file is no library, or its folder does not exist or cannot be written.
    """
    place = path or default_path()
    if place.exists():
        Library(place, create=True).close()  # another process may be making it just now
    elif path is not None and not place.absolute().parent.is_dir():
        raise LibraryError(f"--library {path}: there is no folder {place.absolute().parent}: make it, or name another")
    elif path is not None and not os.access(place.absolute().parent, os.W_OK):
        raise LibraryError(f"--library {path}: the folder {place.absolute().parent} cannot be written: name another")
