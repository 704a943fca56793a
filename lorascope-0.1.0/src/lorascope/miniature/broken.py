"""A tray of broken adapter files, each wrong in one way, to see that every one is refused with its reason.

Only bytes are handled: nothing here needs torch, and nothing in the tray can do harm, not even the pickles.
"""

import json
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from lorascope.adapters.header import ITEM_SIZE, Header, read_header
from lorascope.adapters.keys import group_keys

_NAN: Final = {"F64": "000000000000f87f", "F32": "0000c07f", "F16": "007e", "BF16": "c07f"}
_INFINITY: Final = {"F64": "000000000000f07f", "F32": "0000807f", "F16": "007c", "BF16": "807f"}
"""Little-endian, in hexadecimal."""


class _Raw(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


_Tensors = Mapping[str, _Raw]


def write_broken(folder: Path, good: Path) -> dict[str, str]:
    """Write the tray.

    Args:
        folder: Where to write; it is made if it does not exist.
        good: An adapter that the miniature accepts, with at least one LoRA pair. It is not changed.

    Returns:
        File name to the code of the error (`lorascope.errors.AdapterError.code`) with which it is to be refused
        when it is loaded for the miniature.

    Raises:
        AdapterError: If ``good`` is not an adapter itself.
        OSError: If ``folder`` cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header, data = read_header(good), good.read_bytes()
    tray = _foreign() | _damaged(header, data) | _wrong_tensors(_tensors(header, data), header.metadata)
    for name, (_, content) in tray.items():
        folder.joinpath(name).write_bytes(content)
    codes = {name: code for name, (code, _) in tray.items()}
    codes["zipped-pickle.pt"] = "pickle"
    with zipfile.ZipFile(folder / "zipped-pickle.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    folder.joinpath("folder.safetensors").mkdir(exist_ok=True)
    codes["folder.safetensors"] = "unreadable"
    return codes


def _foreign() -> dict[str, tuple[str, bytes]]:
    """Return the files that are something else altogether: name to (code, content)."""
    page = b"<!DOCTYPE html>\n<html><body>Please log in to download.</body></html>\n"
    pickled = pickle.dumps({"lora_unet_mid_block.lora_up.weight": [0.0] * 64})
    names = ("pickle.safetensors", "pickle.pt", "pickle.ckpt", "pickle.bin", "pickle.pth")
    return {
        "empty.safetensors": ("not-safetensors", b""),
        "web-page.safetensors": ("not-safetensors", page),
        "error-message.safetensors": (
            "not-safetensors",
            b'{"error": "Unauthorized", "message": "Log in first"}',
        ),
        "gguf.safetensors": ("not-safetensors", b"GGUF\x03\x00\x00\x00" + bytes(64)),
        "absurd-header.safetensors": ("bad-header", (2**40).to_bytes(8, "little") + bytes(64)),
        "no-json.safetensors": ("bad-header", _frame(b"{'a': 1}")),
        **{name: ("pickle", pickled) for name in names},
    }


def _damaged(header: Header, data: bytes) -> dict[str, tuple[str, bytes]]:
    """Return the good file with its bytes damaged."""
    body = data[header.data_start :]
    first, info = next(iter(header.tensors.items()))
    entry = {"dtype": info.dtype, "shape": info.shape, "data_offsets": [info.start, info.stop]}
    pair = f"{json.dumps(first)}:{json.dumps(entry)}"
    moved = {
        name: {"dtype": item.dtype, "shape": item.shape, "data_offsets": [0, item.stop - item.start]}
        for name, item in header.tensors.items()
    }
    return {
        "truncated.safetensors": ("truncated", data[: header.data_start + len(body) // 2]),
        "cut-in-header.safetensors": ("truncated", data[: header.data_start // 2]),
        "trailing-bytes.safetensors": ("bad-header", data + b"\0" * 7),
        "duplicate-keys.safetensors": ("bad-header", _frame(f"{{{pair},{pair}}}".encode()) + body),
        "overlapping.safetensors": ("bad-header", _frame(json.dumps(moved).encode()) + body),
    }


def _wrong_tensors(good: _Tensors, metadata: Mapping[str, str]) -> dict[str, tuple[str, bytes]]:
    """Return files that are sound, but hold tensors that do not make a usable adapter."""
    alias, parts = next(item for item in group_keys(good).modules.items() if {"up", "down"} <= item[1].keys())
    up, down = good[parts["up"]], good[parts["down"]]
    ups = {part["up"] for part in group_keys(good).modules.values() if "up" in part}
    one_more = _Raw(down.dtype, (down.shape[0] + 1, *down.shape[1:]), down.data + down.data[: _row(down)])
    nowhere = {alias + "_nowhere" + key[len(alias) :]: good[key] for key in parts.values()}
    changed: dict[str, tuple[str, _Tensors]] = {
        "integers.safetensors": ("malformed", {**good, parts["up"]: _integers(up.shape)}),
        "not-a-number.safetensors": ("not-finite", {**good, parts["up"]: _begin(up, _NAN)}),
        "infinite.safetensors": ("not-finite", {**good, parts["down"]: _begin(down, _INFINITY)}),
        "all-zero.safetensors": ("no-effect", {**good, **{key: _zero(good[key]) for key in ups}}),
        "half-a-pair.safetensors": ("malformed", {key: good[key] for key in good if key != parts["up"]}),
        "shapes-differ.safetensors": ("malformed", {**good, parts["down"]: one_more}),
        "partly-known.safetensors": ("partial-match", {**good, **nowhere}),
        "wrong-base.safetensors": ("wrong-base", _of_family(768, 320)),
        "two-families.safetensors": (
            "unknown-format",
            {**_of_family(768, 320), **_of_family(2048, 640, level=1)},
        ),
        "unknown-prefix.safetensors": ("unknown-format", _renamed(good)),
        "whole-model.safetensors": (
            "unknown-format",
            {"model.layer.weight": up, "model.layer.bias": _zero(up)},
        ),
    }
    return {name: (code, _pack(tensors, metadata)) for name, (code, tensors) in changed.items()}


def _renamed(good: _Tensors) -> _Tensors:
    """Give every module a name that no format has."""
    modules = group_keys(good).modules
    return {
        f"mystery_{number}{key[len(alias) :]}": good[key]
        for number, (alias, parts) in enumerate(modules.items())
        for key in parts.values()
    }


def _of_family(context: int, width: int, level: int = 0) -> _Tensors:
    """Make a rank-1 adapter in kohya's format with the cross-attention of another family."""
    alias = f"lora_unet_down_blocks_{level}_attentions_0_transformer_blocks_0_attn2_to_k"
    one = bytes.fromhex("003c")  # 1.0 in F16
    return {
        f"{alias}.lora_down.weight": _Raw("F16", (1, context), one * context),
        f"{alias}.lora_up.weight": _Raw("F16", (width, 1), one * width),
    }


def _tensors(header: Header, data: bytes) -> dict[str, _Raw]:
    body = memoryview(data)[header.data_start :]
    return {
        name: _Raw(info.dtype, info.shape, bytes(body[info.start : info.stop])) for name, info in header.tensors.items()
    }


def _pack(tensors: _Tensors, metadata: Mapping[str, str]) -> bytes:
    """Write a safetensors file."""
    content: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name, raw in tensors.items():
        stop = start + len(raw.data)
        content[name] = {"dtype": raw.dtype, "shape": raw.shape, "data_offsets": [start, stop]}
        start = stop
    return _frame(json.dumps(content).encode()) + b"".join(raw.data for raw in tensors.values())


def _frame(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


def _row(raw: _Raw) -> int:
    return len(raw.data) // raw.shape[0]


def _integers(shape: tuple[int, ...]) -> _Raw:
    return _Raw("I8", shape, b"\x01" * math.prod(shape))


def _begin(raw: _Raw, values: Mapping[str, str]) -> _Raw:
    """Replace the first value."""
    return raw._replace(data=bytes.fromhex(values[raw.dtype]) + raw.data[ITEM_SIZE[raw.dtype] :])


def _zero(raw: _Raw) -> _Raw:
    return raw._replace(data=bytes(len(raw.data)))
