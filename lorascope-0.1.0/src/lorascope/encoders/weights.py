"""Weights of a model folder as NumPy arrays, mapped from safetensors files without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32

from lorascope.errors import ModelError

_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""
_KINDS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64}


def mapped(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file by name, of the types in which weights are kept.

    They are views of the mapped file, so that memory is used for what is read only. NumPy has no bfloat16: such tensors
    are copied as float32.

    Raises:
        ModelError: the file is no safetensors file, or is cut off.
    """
    try:
        data = np.memmap(path, np.uint8, "r")
        start = 8 + int.from_bytes(data[:8].tobytes(), "little")
        if start > min(_LONGEST_HEADER, data.size):
            raise ValueError("its header is longer than the file")
        header: dict[str, Any] = json.loads(data[8:start].tobytes())
        header.pop("__metadata__", None)
        return {
            name: _tensor(data[start:], entry["dtype"], entry["shape"], *entry["data_offsets"])
            for name, entry in header.items()
            if entry["dtype"] in _KINDS
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read ({error}): fetch the model again") from error


def _tensor(data: np.ndarray, kind: str, shape: list[int], begin: int, end: int) -> np.ndarray:
    if not 0 <= begin <= end <= data.size:
        raise ValueError("it is cut off")
    values = data[begin:end].view(_KINDS[kind]).reshape(shape)
    if kind == "BF16":
        return np.asarray(values.astype(np.uint32) << 16).view(np.float32)
    return values


@final
class Weights:
    """The weights of a model folder by name, as float32."""

    def __init__(self, folder: Path, beginnings: tuple[str, ...]) -> None:
        """Map those weights whose names start with one of some beginnings.

        Raises:
            ModelError: a file cannot be read.
        """
        self._folder = folder
        self._arrays = {
            name: values.astype(np.float32, copy=False)
            for path in sorted(folder.glob("*.safetensors"))
            for name, values in mapped(path).items()
            if name.startswith(beginnings)
        }

    def __getitem__(self, name: str) -> Float32[np.ndarray, "*shape"]:
        """One weight.

        Raises:
            ModelError: the folder lacks it.
        """
        if name not in self._arrays:
            raise ModelError(f"{self._folder} lacks the weight {name}: give a complete model folder")
        return self._arrays[name]


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder.

    Raises:
        ModelError: it is missing or is no JSON object.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} has no readable config.json ({error}): give a complete model folder") from error
    if not isinstance(config, dict):
        raise ModelError(f"{folder}/config.json holds no JSON object: give a complete model folder")
    return config
