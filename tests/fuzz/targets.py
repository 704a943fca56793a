"""What is fuzzed: for each kind of file a good one, and what reads it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lorascope.adapters import read_adapter
from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.pictures import embed_picture
from lorascope.evaluation.queries import load_queries
from lorascope.grid import PromptSet
from lorascope.library import AdapterFacts, ForeignLibrary, Library, StoredAdapter, published
from lorascope.protocol import Preset

SIDECAR = {
    "sd version": "SDXL", "activation text": "ink, wash", "preferred weight": 0.8, "name": "Ink",
    "description": "x", "trainedWords": ["ink"], "model": {"name": "Ink", "nsfw": False}, "id": 1, "modelId": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One kind of file: ``make`` writes good ones, ``read`` is what a person does with it."""

    suffix: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    weight: int = 10


def _adapter(path: Path) -> None:
    name = "lora_unet_down_blocks_1_attentions_0_proj_in"
    header, data = {}, b""
    for end, shape in (("lora_down.weight", [4, 8]), ("lora_up.weight", [8, 4]), ("alpha", [])):
        size = int(np.prod(shape)) * 4
        header[f"{name}.{end}"] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += np.ones(size // 4, np.float32).tobytes()
    raw = json.dumps(header | {"__metadata__": {"ss_tag_frequency": '{"a": {"b": 1}}'}}).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def _with_sidecar(path: Path) -> object:
    beside = path.with_name("lora.safetensors")
    _adapter(beside)
    path.replace(beside.with_suffix(".json"))
    return read_adapter(beside)


def _library(path: Path) -> None:
    preset = Preset.load("carlos-2025")
    protocol = preset.protocol(base_digest="b", encoder="e", encoder_digest="e")
    with Library(path, create=True) as library:
        library.protocols.add(protocol, preset)
        adapters = [
            StoredAdapter(f"sha256:{n:064x}", f"a{n}", "sdxl", (f"/a{n}.safetensors",), AdapterFacts())
            for n in range(20)
        ]
        library.adapters.add(adapters, {})
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = DELETE")


def _foreign(path: Path) -> None:
    with ForeignLibrary(path) as library:
        library.check()


def _parquet(path: Path) -> None:
    row = {"version_id": 1, "model_id": 2, "model_name": "x", "folder_name": "x", "direction": [0.5] * 512,
           "strength": 5.0, "consistency": 0.1}  # fmt: skip
    rows = [row | {"version_id": n, "direction": np.random.default_rng(n).normal(size=512).tolist()} for n in (1, 2, 3)]
    pq.write_table(pa.Table.from_pylist(rows), path)


def _published(path: Path) -> object:
    with published(path) as found:
        return list(found.rows())


def _embedded(path: Path) -> object:
    return embed_picture(path, FakeEncoder())


def _shipped(folder: str, name: str) -> Callable[[Path], None]:
    import lorascope

    place = Path(lorascope.__file__).parent / folder / name
    return lambda path: path.write_bytes(place.read_bytes()) and None


def _image(kind: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(path, kind)


TARGETS = {
    "header": Target(".safetensors", _adapter, read_adapter, 40),
    "sidecar": Target(".json", lambda path: path.write_text(json.dumps(SIDECAR), "utf-8") and None, _with_sidecar, 40),
    "database": Target(".db", _library, _foreign, 10),
    "parquet": Target(".parquet", _parquet, _published, 1),
    "preset": Target(".toml", _shipped("presets", "sdxl-paper.toml"), Preset.load, 40),
    "prompts": Target(".toml", _shipped("prompts", "query.toml"), PromptSet.load, 20),
    "queries": Target(
        ".jsonl", lambda path: path.write_text('{"id": "a", "text": "ink"}\n' * 3, "utf-8") and None, load_queries, 40
    ),
    "png": Target(".png", _image("PNG"), _embedded, 20),
    "jpeg": Target(".jpg", _image("JPEG"), _embedded, 20),
    "webp": Target(".webp", _image("WEBP"), _embedded, 20),
}
"""Every kind of file that a stranger may have made; the weight is about how many are read in the same time."""


def changed(data: bytes, draw: np.random.Generator) -> bytes:
    """A file with a few bytes changed, cut, repeated or put in the place of others, or with a number made huge."""
    found = bytearray(data)
    for _ in range(int(draw.integers(1, 6))):
        if not found:
            break
        place, size = int(draw.integers(len(found))), int(draw.integers(1, 40))
        kind = int(draw.integers(6))
        if kind == 0:
            found[place] ^= int(draw.integers(1, 256))
        elif kind == 1:
            del found[place : place + size]
        elif kind == 2:
            found[place:place] = found[place : place + size]
        elif kind == 3:
            found[place : place + size] = draw.integers(0, 256, size, np.uint8).tobytes()
        elif kind == 4:
            words = (b"999999999999999999999", b"-1", b"null", b"[]", b"{}", b'"\\ud800"', b"NaN", b"1e999", b"\0")
            found[place : place + size] = words[int(draw.integers(len(words)))]
        else:
            del found[place:]
    return bytes(found)
