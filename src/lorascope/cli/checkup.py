"""The checks of `lorascope doctor`."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from lorascope.cli.output import counted
from lorascope.errors import LorascopeError, printable
from lorascope.installations import UserConfig
from lorascope.library import Library, default_path
from lorascope.models import cache_dir, config_file, is_here
from lorascope.protocol import Preset, presets

_PACKAGES = ("safetensors", "tokenizers", "numpy")
_MEASURING = ("torch", "diffusers", "transformers", "accelerate")


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    state: Literal["ok", "note", "problem"]
    what: str
    found: str


def checks(library: Path | None) -> list[Check]:
    """All checks. Nothing is fetched and nothing is changed."""
    found = [Check("ok", "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    found += [_package(name) for name in _PACKAGES]
    found += [_extra(name, "measure", "measuring") for name in _MEASURING]
    found += [_device()] if find_spec("torch") is not None else []
    found += [_extra("pyarrow", "parquet", "import and export of parquet files")]
    found += [_extra("faiss-cpu", "faiss", "libraries of more than 200,000 adapters")]
    found += [_model(name) for name in presets()]
    found += [_setup(), _library(library), _room(library)]
    return found


def _package(name: str) -> Check:
    try:
        return Check("ok", name, version(name))
    except PackageNotFoundError:
        return Check("problem", name, f"missing: pip install {name}")


def _device() -> Check:
    """The GPU in use. A CPU build of torch beside an NVIDIA card is the most common mistake."""
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("ok", "device", f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        return Check("ok", "device", "Apple GPU (mps)")
    cards = [name for name in ("nvidia-smi", "rocm-smi") if shutil.which(name)]
    if cards:
        build = torch.__version__
        return Check(
            "problem", "device",
            f"{cards[0]} is here, but torch {build} has no GPU support: install torch for your GPU as"
            " pytorch.org/get-started says, then this package again",
        )  # fmt: skip
    threads = counted(torch.get_num_threads(), "thread")
    return Check("note", "device", f"CPU, {threads}: fine for the demo and for searching")


def _extra(module: str, extra: str, purpose: str) -> Check:
    try:
        return Check("ok", module, version(module))
    except PackageNotFoundError:
        return Check("note", module, f"not installed; for {purpose}: pip install 'lorascope[{extra}]'")


def _model(name: str) -> Check:
    preset = Preset.load(name)
    if missing := [location for location in preset.models if not is_here(location)]:
        found = f"not on this disk: {', '.join(missing)} (index --download fetches them)"
        return Check("note", f"preset {name}", found)
    return Check("ok", f"preset {name}", "all models are here")


def _setup() -> Check:
    """Whether `setup` has found the folders of image tools."""
    try:
        config = UserConfig.load(config_file())
    except LorascopeError as error:
        return Check("problem", "setup", str(error))
    if config is None or not config.folders:
        return Check("note", "setup", "not run: `lorascope setup` finds your image tools and what they hold")
    gone = [printable(str(folder)) for folder in config.folders if not folder.is_dir()]
    if gone:
        return Check("note", "setup", f"{', '.join(gone)} not there: connect the drive, or run `lorascope setup` again")
    return Check("ok", "setup", f"{counted(len(config.folders), 'folder')} of adapters, by {config_file()}")


def _library(path: Path | None) -> Check:
    place = path or default_path()
    try:
        with Library(place) as library:
            counts = ", ".join(f"{s.adapters} under {s.protocol}" for s in library.protocols.all())
            return Check("ok", "library", f"{place}: {counts or 'empty'}")
    except LorascopeError as error:
        return Check("problem" if place.exists() else "note", "library", str(error))


def _room(path: Path | None) -> Check:
    place = (path or default_path()).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    return Check("ok" if free > 5 else "note", "disk", f"{free:.0f} GB free at {place}; caches in {cache_dir()}")
