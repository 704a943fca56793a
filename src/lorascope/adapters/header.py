"""The header of a safetensors file, read and checked without touching a single tensor.

The format: 8 bytes, little-endian, the length n of the header; n bytes of JSON, which maps each tensor's name
to its dtype, shape and place; then the tensors, one after the other without gaps
(https://github.com/huggingface/safetensors#format).
"""

import json
import math
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from reprlib import repr as shown
from typing import Final, NoReturn, cast

from lorascope.errors import (
    HALF,
    BadHeader,
    NotSafetensors,
    PickleRefused,
    TruncatedAdapter,
    UnreadableAdapter,
)

MAX_HEADER: Final = 32_000_000
"""Bytes. The format allows 100 million; the largest that trainers write, with all captions, stay below 10."""
MAX_TENSORS: Final = 100_000
"""In one file. The largest that trainers write have some ten thousand."""
MAX_AXES: Final = 8
"""Of a tensor. A kernel of a video model has five."""
_SPARSE: Final = 64
_LARGE: Final = 2**30
"""A file of more bytes than this that takes up less than a 64th of them on the disk is made of holes. For smaller ones
it costs little to be wrong, and a disk may count the blocks of a new file late."""

PICKLE_SUFFIXES: Final = frozenset({".pt", ".ckpt", ".bin", ".pth", ".pkl", ".pickle"})

ITEM_SIZE: Final[Mapping[str, int]] = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "F8_E5M2FNUZ": 1, "F8_E4M3FNUZ": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes per element of each dtype that the format knows, apart from those of 4 and 6 bits."""

_PICKLE_STARTS: Final = (
    b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05",
    b"(dp", b"ccollections\n", b"c__builtin__\n", b"cbuiltins\n", b"cposix\n", b"cos\n",
)  # fmt: skip

_UNPACK: Final = "Unpack it and name the .safetensors file inside"
_FOREIGN: Final = (
    (b"GGUF", "a GGUF file", "Only .safetensors adapters are read; convert it first"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Fetch it with git lfs pull"),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"\x89PNG", "a picture (PNG), not a model", "Download the model that it belongs to"),
    (b"\xff\xd8\xff", "a picture (JPEG), not a model", "Download the model that it belongs to"),
)
"""First bytes of files that people do mistake for an adapter, what they are, and what to do."""

_HIGHEST: Final = 2**63 - 1
"""Of a size or a place: what a 64-bit system can count."""
_AGAIN: Final = "Download or export it again"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor is, and what it is.

    Attributes:
        dtype: The format's own spelling, such as "F16".
        shape: Its axes; empty for a scalar.
        start: First byte, counted from the end of the header.
        stop: One past the last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says about itself.

    Attributes:
        tensors: Name to place, in the order of the file.
        metadata: The free text that trainers leave behind.
        data_start: Byte of the file at which the first tensor begins.
        size: Bytes of the whole file.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_start: int
    size: int


def read_header(path: Path) -> Header:
    """Read and check the header of the file at ``path``; the tensors stay on the disk.

    Raises:
        AdapterError: One of its subclasses, which says why the file cannot be an adapter.
    """
    with open_file(path) as file:
        try:
            size = _true_size(file, path)
            head = file.read(8)
            length = _header_length(head, size, path, peek=lambda: head + file.read(504))
            raw = file.read(length)
        except OSError as error:
            raise unreadable(path, error) from error
    return _parse(raw, size, path)


def parse_header(data: bytes | bytearray | memoryview, name: Path | str = "<memory>") -> Header:
    """Check the header of a whole file that is already in memory.

    Raises:
        AdapterError: One of its subclasses, as in `read_header`.
    """
    view = memoryview(data)
    path = Path(name)
    length = _header_length(bytes(view[:8]), len(view), path, peek=lambda: bytes(view[:512]))
    return _parse(bytes(view[8 : 8 + length]), len(view), path)


def open_file(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        UnreadableAdapter: If it cannot be opened, is a folder, a pipe or a device, or has a name that is no UTF-8.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:  # it could be opened, but its path neither stored nor printed
        raise UnreadableAdapter(path, "its name, or that of its folder, is not UTF-8", "Rename it") from error
    try:
        # asked before it is opened, because opening a pipe waits for somebody to write into it
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableAdapter(path, "not a regular file", "Name a .safetensors file")
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def read_file(path: Path) -> bytearray:
    """Read a whole file in one go, so that what is checked is what is used.

    Raises:
        UnreadableAdapter: As in `open_file`, or if the disk fails.
    """
    with open_file(path) as file:
        try:
            data = bytearray(_true_size(file, path))
            count = file.readinto(data)
        except OSError as error:
            raise unreadable(path, error) from error
    return data if count == len(data) else data[:count]


def _true_size(file: BufferedReader, path: Path) -> int:
    """Return a file's size, unless nearly all of it are holes that nobody wrote, or a part is still to come."""
    if os.path.exists(f"{path}.aria2"):  # noqa: PTH110 - Path.exists fails for names that are too long
        # it reserves the whole file and fills it in any order
        raise TruncatedAdapter(path, f"not complete: {path.name}.aria2 is beside it", "Let aria2 finish the download")
    status = os.fstat(file.fileno())
    size, present = status.st_size, getattr(status, "st_blocks", 0) * 512
    if size > _LARGE and 0 < present * _SPARSE < size:  # some network disks count no blocks at all
        raise TruncatedAdapter(path, f"{size} bytes long, of which {present} are on the disk", _AGAIN)
    return size


def unreadable(path: Path, error: Exception) -> UnreadableAdapter:
    """Turn the operating system's refusal to open ``path`` into ours."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UnreadableAdapter(path, f"cannot be read: {text}", "Check that it exists and that you may read it")


def _header_length(head: bytes, size: int, path: Path, peek: Callable[[], bytes]) -> int:
    """Return the header's length in bytes, or raise what the first bytes say that the file really is."""
    if size == 0:
        raise NotSafetensors(path, "empty, 0 bytes", _AGAIN)
    length = int.from_bytes(head, "little")
    plausible = size >= 10 and 2 <= length <= min(MAX_HEADER, size - 8)
    if plausible:
        return length
    first = peek()
    _refuse_foreign(first, path)
    if size < 10:
        raise TruncatedAdapter(path, f"{size} bytes long, too short for a header", _AGAIN)
    if 2 <= length <= MAX_HEADER:
        raise TruncatedAdapter(path, f"{size} bytes long, but its header alone has {length}", _AGAIN)
    large = MAX_HEADER < length <= size - 8
    remedy = "Save it with less metadata" if large and first[8:9] == b"{" else _AGAIN
    raise BadHeader(path, f"its header claims {length} bytes; 2 to {MAX_HEADER} are allowed", remedy)


def _refuse_foreign(first: bytes, path: Path) -> None:
    """Raise if the first bytes belong to a format that people do mistake for an adapter."""
    if first.startswith(_PICKLE_STARTS):
        _refuse_pickle(path)
    if first.startswith(b"PK\x03\x04") and (b"data.pkl" in first or path.suffix.lower() in PICKLE_SUFFIXES):
        _refuse_pickle(path)
    for start, kind, remedy in _FOREIGN:
        if first.startswith(start):
            raise NotSafetensors(path, kind, remedy)
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        raise NotSafetensors(path, "a web page (HTML), not a model", "Download it again; a site may want a log-in")
    if text.startswith((b"{", b"[")):
        raise NotSafetensors(path, "JSON text, not a model", "Download it again; it may hold a site's error message")
    if path.suffix.lower() in PICKLE_SUFFIXES:
        _refuse_pickle(path)


def _refuse_pickle(path: Path) -> NoReturn:
    raise PickleRefused(
        path,
        "a Python pickle, which can run code when it is opened",
        "Only .safetensors is read; convert it in a place you trust",
    )


def _parse(raw: bytes, size: int, path: Path) -> Header:
    """Check the JSON of a header against the format and against the size of the file."""
    if raw[:1] != b"{":
        raise BadHeader(path, f"its header begins with {raw[:1]!r} instead of '{{'", _AGAIN)
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError as error:
        raise BadHeader(path, "its header is nested absurdly deep", _AGAIN) from error
    except ValueError as error:
        raise BadHeader(path, f"its header is not valid JSON: {error}", _AGAIN) from error
    entries = cast("dict[str, object]", content)
    if len(entries) > MAX_TENSORS:
        raise BadHeader(path, f"its header lists {len(entries)} tensors; at most {MAX_TENSORS} are read", _AGAIN)
    _check_names(entries, path)
    metadata = _metadata(entries.pop("__metadata__", None), path)
    tensors = {name: _tensor_info(name, entry, path) for name, entry in entries.items()}
    data_start = 8 + len(raw)
    _check_places(tensors, size - data_start, path)
    return Header(tensors=tensors, metadata=metadata, data_start=data_start, size=size)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice!r} occurs in it twice")
    return content


def _check_names(entries: Mapping[str, object], path: Path) -> None:
    """Refuse names that can be neither stored nor printed: JSON can spell half of a character, UTF-8 cannot."""
    for name in entries:
        if HALF.search(name):
            raise BadHeader(path, f"the tensor name {name!r:.120} holds half of a character", _AGAIN)


def _metadata(content: object, path: Path) -> dict[str, str]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadHeader(path, f"__metadata__ is {shown(content)} instead of a map of text", _AGAIN)
    metadata = cast("dict[str, object]", content)
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise BadHeader(path, f"__metadata__ gives {key!r:.80} the value {shown(value)} instead of text", _AGAIN)
    return cast("dict[str, str]", metadata)


def _tensor_info(name: str, entry: object, path: Path) -> TensorInfo:
    """Check one entry: a known dtype, whole sizes, and a place of exactly the size that both imply."""
    try:
        fields = cast("dict[str, object]", entry)
        stated, shape = fields["dtype"], cast("list[int]", fields["shape"])
        if isinstance(stated, str) and stated not in ITEM_SIZE:
            reason = f"tensor {name!r:.120} has the type {stated!r:.40}, which is not supported"
            raise BadHeader(path, reason, "Export it as F16, BF16 or F32")
        dtype = cast("str", stated)
        start, stop = cast("list[int]", fields["data_offsets"])
        item_size = ITEM_SIZE[dtype]
        many = isinstance(fields["shape"], list) and len(shape) > MAX_AXES
        listed = isinstance(fields["shape"], list) and not many
        # bool is an int to Python, and a float would pass every comparison below
        whole = listed and all(type(number) is int and 0 <= number <= _HIGHEST for number in (start, stop, *shape))
        fits = whole and stop - start == item_size * math.prod(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise BadHeader(path, f"the entry of tensor {name!r:.120} is invalid: {shown(entry)}", _AGAIN) from error
    if not fits:
        place = f"{dtype} {shown(shape)} does not fill bytes {shown(start)} to {shown(stop)}"
        reason = f"it has {len(shape)} axes; at most {MAX_AXES} are read" if many else place
        raise BadHeader(path, f"tensor {name!r:.120}: {reason}", _AGAIN)
    return TensorInfo(dtype, tuple(shape), start, stop)


def _check_places(tensors: Mapping[str, TensorInfo], available: int, path: Path) -> None:
    """Check that the tensors lie end to end and fill the file exactly."""
    end = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if info.start != end:
            what = "overlaps the tensor before it" if info.start < end else "leaves a gap before it"
            raise BadHeader(path, f"tensor {name!r} at byte {info.start} {what}, which ends at {end}", _AGAIN)
        end = info.stop
    if end > available:
        raise TruncatedAdapter(path, f"{end - available} of {end} bytes of its tensors are missing", _AGAIN)
    if end < available:
        raise BadHeader(path, f"{available - end} bytes follow the last tensor", _AGAIN)
