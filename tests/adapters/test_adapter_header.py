"""A header is read without the tensors, and whatever it gets wrong is named."""

import json
import os
import pickle
from contextlib import suppress
from pathlib import Path

import adapter_files as craft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorascope.adapters import parse_header, read_file, read_header
from lorascope.errors import (
    AdapterError,
    BadHeader,
    NotSafetensors,
    PickleRefused,
    TruncatedAdapter,
    UnreadableAdapter,
)

ONE = {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}


def test_a_sound_header_is_read_as_the_reference_writes_it(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.ones(4).half(), "c": torch.tensor(1)}
    path = craft.save(tmp_path / "x.safetensors", tensors, {"ss_note": "hello"})
    header = read_header(path)
    assert {name: info.shape for name, info in header.tensors.items()} == {"a": (2, 3), "b": (4,), "c": ()}
    assert {name: info.dtype for name, info in header.tensors.items()} == {"a": "F32", "b": "F16", "c": "I64"}
    assert header.metadata == {"ss_note": "hello"}
    assert header.size == path.stat().st_size
    assert parse_header(path.read_bytes(), path) == header


def test_only_the_header_of_a_large_file_is_read(tmp_path: Path) -> None:
    # the tensors are a hole in the file, so reading them would show in time, not in space
    size = 600_000_000
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.write(craft.raw({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}))
        file.truncate(file.tell() + size)
    assert read_header(path).tensors["a"].stop == size


def test_a_header_of_absurdly_many_tensors_is_refused() -> None:
    entries = {str(n): {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]} for n in range(100_001)}
    with pytest.raises(BadHeader, match="lists 100001 tensors; at most 100000 are read"):
        parse_header(craft.raw(entries))


def test_a_file_of_holes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """16 GB that took up 44 KB on the disk were read into memory."""
    size = 16 * 2**30
    path = tmp_path / "holes.safetensors"
    with path.open("wb") as file:
        file.write(craft.raw({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}))
        file.truncate(file.tell() + size)
    with pytest.raises(TruncatedAdapter, match="bytes long, of which .* are on the disk"):
        read_header(path)
    with pytest.raises(TruncatedAdapter, match="are on the disk"):
        read_file(path)


def test_a_header_with_too_many_captions_names_its_remedy() -> None:
    with pytest.raises(BadHeader, match="32000001 bytes; 2 to 32000000 are allowed. Save it with less metadata"):
        parse_header(craft.raw("{" + " " * 32_000_000))


def test_a_shape_of_absurdly_many_axes_is_refused_at_once() -> None:
    """Their product took time that grew with the square of their number."""
    axes = [2**62] * 200_000
    with pytest.raises(BadHeader, match="tensor 'a': it has 200000 axes; at most 8 are read"):
        parse_header(craft.raw({"a": {"dtype": "F16", "shape": axes, "data_offsets": [0, 0]}}))


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", NotSafetensors, "empty"),
        (b"\x10\x00", TruncatedAdapter, "2 bytes long"),
        (b"<html>", NotSafetensors, "web page"),
        (b"\xef\xbb\xbf\n<!doctype html>", NotSafetensors, "web page"),
        (b'{"error": 404}', NotSafetensors, "JSON text"),
        (b"GGUF" + bytes(30), NotSafetensors, "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", NotSafetensors, "pointer of Git LFS"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(30), NotSafetensors, "RAR archive"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), NotSafetensors, "picture"),
        (b"PK\x03\x04\x14\x00\x08\x08" + bytes(30), NotSafetensors, "zip archive"),
        (pickle.dumps({"a": 1}), PickleRefused, "can run code"),
        (pickle.dumps({"a": 1}, protocol=0), PickleRefused, "can run code"),
        ((2**63).to_bytes(8, "little") + bytes(30), BadHeader, "9223372036854775808 bytes"),
        ((1).to_bytes(8, "little") + bytes(30), BadHeader, "claims 1 bytes"),
        ((5000).to_bytes(8, "little") + b"{" + bytes(30), TruncatedAdapter, "its header alone has 5000"),
        (craft.raw("[1, 2]"), BadHeader, "begins with"),
        (craft.raw("{" * 3), BadHeader, "not valid JSON"),
        (craft.raw('{"a": ' + "[" * 100_000), BadHeader, "header"),
        (craft.raw('{"a": 1}'), BadHeader, "entry of tensor 'a' is invalid"),
        (craft.raw({"a": {**ONE, "dtype": "F17"}}, bytes(12)), BadHeader, "F17"),
        (craft.raw({"a": {**ONE, "shape": [2, 4]}}, bytes(12)), BadHeader, "does not fill"),
        (craft.raw({"a": {**ONE, "shape": [-2, -3]}}, bytes(12)), BadHeader, "does not fill"),
        (craft.raw({"a": {**ONE, "shape": [True, 6]}}, bytes(12)), BadHeader, "does not fill"),
        (craft.raw({"a": {**ONE, "shape": [2.0, 3]}}, bytes(12)), BadHeader, "does not fill"),
        (craft.raw({"a": {**ONE, "shape": "ab"}}, bytes(12)), BadHeader, "does not fill|invalid"),
        (craft.raw({"a": {**ONE, "data_offsets": [0]}}, bytes(12)), BadHeader, "invalid"),
        (craft.raw({"a": {**ONE, "shape": {}, "data_offsets": [0, 2]}}, bytes(2)), BadHeader, "does not fill"),
        (craft.raw({"a": {**ONE, "shape": [0, 2**63], "data_offsets": [0, 0]}}), BadHeader, "does not fill"),
        (craft.raw({"a": {**ONE, "data_offsets": [0, 10**4000]}}, bytes(12)), BadHeader, "does not fill"),
        (craft.raw({"a": {**ONE, "dtype": "F4"}}, bytes(12)), BadHeader, "'a' has the type 'F4', which"),
        (craft.raw({"a": {**ONE, "dtype": 4}}, bytes(12)), BadHeader, "entry of tensor 'a' is invalid"),
        (craft.raw('{"a": ' + "[" * 700 + "]" * 700 + "}"), BadHeader, "entry of tensor 'a' is invalid"),
        (craft.raw({"a\ud83d": ONE}, bytes(12)), BadHeader, r"the tensor name 'a.ud83d' holds half of a character"),
        (craft.raw({"a": ONE, "b": ONE}, bytes(12)), BadHeader, "overlaps"),
        (craft.raw({"a": {**ONE, "data_offsets": [4, 16]}}, bytes(16)), BadHeader, "gap"),
        (craft.raw({"a": ONE}, bytes(11)), TruncatedAdapter, "1 of 12 bytes"),
        (craft.raw({"a": ONE}, bytes(13)), BadHeader, "1 bytes follow"),
        (craft.raw({"__metadata__": {"a": 1}}), BadHeader, "instead of text"),
        (craft.raw({"__metadata__": [1]}), BadHeader, "instead of a map"),
        (craft.raw(f'{{"a":{json.dumps(ONE)},"a":{json.dumps(ONE)}}}', bytes(12)), BadHeader, "'a' occurs in it twice"),
        (craft.raw('{"__metadata__": {"x": "1", "x": "2"}}'), BadHeader, "'x' occurs in it twice"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_named_alike_on_disk_and_in_memory(
    content: bytes, error: type[AdapterError], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    for read in (lambda: read_header(path), lambda: parse_header(content, path)):
        with pytest.raises(error, match=words):
            read()


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin", ".pth"])
def test_an_unreadable_file_with_a_pickles_extension_is_refused_as_one(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"old{suffix}"
    path.write_bytes(b"PK\x03\x04\x00\x00\x08\x08" + bytes(64))
    with pytest.raises(PickleRefused):
        read_header(path)


def test_a_header_of_640_bytes_is_no_pickle(tmp_path: Path) -> None:
    # 640 is 0x0280: in little-endian order the same two bytes that begin a pickle
    text = json.dumps({"a": ONE}).ljust(640)
    assert parse_header(craft.raw(text, bytes(12))).tensors["a"].shape == (2, 3)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_but_an_adapter_error(content: bytes) -> None:
    with suppress(AdapterError):
        parse_header(content)


@given(st.binary(max_size=120))
def test_no_header_text_raises_anything_but_an_adapter_error(text: bytes) -> None:
    with suppress(AdapterError):
        parse_header(len(text).to_bytes(8, "little") + text)


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    loop = tmp_path / "loop.safetensors"
    loop.symlink_to(loop)
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    for path in (loop, folder, tmp_path / "missing.safetensors", tmp_path / ("n" * 300), tmp_path / "nul\0byte"):
        with pytest.raises(UnreadableAdapter) as caught:
            read_header(path)
        assert caught.value.path == path


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.safetensors"
    path.write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(UnreadableAdapter, match="Permission denied"):
        read_header(path)


@pytest.mark.parametrize("stem", ["with.many.dots.v1.0", "Ünïcødé 雪 ❄", "x" * 240, "line\nbreak", "-rf", "'quote\""])
def test_any_file_name_will_do(stem: str, tmp_path: Path, good: Path) -> None:
    path = good.rename(tmp_path / f"{stem}.safetensors")
    assert read_header(path).tensors


def test_a_file_that_aria2_still_fills_is_refused(tmp_path: Path, good: Path) -> None:
    """It has its full size from the start, and zeros where nothing has arrived."""
    (tmp_path / f"{good.name}.aria2").write_bytes(b"")
    with pytest.raises(TruncatedAdapter, match="not complete"):
        read_header(good)


@pytest.mark.timeout(10)
def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe.safetensors"
    os.mkfifo(path)
    with pytest.raises(UnreadableAdapter, match="not a regular file"):
        read_header(path)
