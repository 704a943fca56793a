"""Whether an adapter is certain to do nothing, from as few of its bytes as possible."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from lorascope.adapters.adapter import survey
from lorascope.adapters.header import TensorInfo, open_file, read_header, unreadable
from lorascope.adapters.kinds import Module

_FACTORS: Final = ("up", "mid", "down", "diff", "hada_", "lokr_")
"""Parts that are multiplied with each other: where one of them is zero, so is the product."""


def all_zero(path: Path) -> bool:
    """Tell whether every module of a file is a product with a factor of zeros, so that it has no effect on any base.

    Trainers begin with such a factor, and some save it before they have trained. Reading ends at the first module
    that is not zero, mostly the first one. Kinds that can act although a part of them is zero (DoRA, IA3, biases) are
    never called zero here; `load_delta` knows them better.

    Raises:
        AdapterError: One of its subclasses, if the file cannot be an adapter.
    """
    header = read_header(path)
    grouped, modules, inversions = survey(header, path)
    with open_file(path) as file:
        try:
            for alias, parts in grouped.modules.items():
                tensors = {part: header.tensors[key] for part, key in parts.items()}
                if not _is_zero(file, header.data_start, modules[alias], tensors):
                    return False
            return not grouped.strays and not inversions
        except OSError as error:
            raise unreadable(path, error) from error


def factors_of(module: Module, parts: Iterable[str]) -> list[str]:
    """Return the parts of which a single one of zeros makes a module do nothing; none if it may act even so."""
    if module.kind in {"ia3", "oft", "boft", "glora"} or not {"dora", "bias"}.isdisjoint(module.traits):
        return []
    return [part for part in parts if part.startswith(_FACTORS)]


def _is_zero(file: BinaryIO, start: int, module: Module, tensors: Mapping[str, TensorInfo]) -> bool:
    return any(_zeros(file, start, tensors[part]) for part in factors_of(module, tensors))


def _zeros(file: BinaryIO, start: int, info: TensorInfo) -> bool:
    file.seek(start + info.start)
    return not file.read(info.stop - info.start).strip(b"\0")
