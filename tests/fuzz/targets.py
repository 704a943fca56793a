"""What is fuzzed: for each kind of file a good one, and what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fuzz.changes import changed, changed_rows
from fuzz.http import PIECES, REQUESTS, ask
from fuzz.libraries import import_evidence, import_library, open_evidence, open_library, write_evidence, write_library
from lorascope.adapters import peft_config, read_adapter
from lorascope.encoders.fake import FakeEncoder
from lorascope.encoders.pictures import embed_picture
from lorascope.evaluation.queries import load_queries
from lorascope.grid import PromptSet
from lorascope.library import published
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
    change: Callable[[bytes, np.random.Generator], bytes] = changed


SIDECARS: dict[str, object] = {
    ".json": SIDECAR,
    ".metadata.json": {
        "model_name": "Ink", "modelDescription": "x", "tags": ["ink"], "base_model": "SDXL 1.0",
        "preview_nsfw_level": 1, "usage_tips": '{"strength_range": "0.6-0.8"}', 
        "civitai": {"id": 1, "modelId": 2, "trainedWords": ["ink"]},
    },
    ".swarm.json": {"__metadata__": {"modelspec.title": "Ink", "modelspec.trigger_phrase": "ink", "x": 1}},
    ".safetensors.rgthree-info.json": {
        "name": "Ink", "strengthMin": 0.5, "strengthMax": 1, "trainedWords": [{"word": "ink", "user": True}],
        "baseModel": "SDXL 1.0", "raw": {"civitai": {"id": 1, "model": {"name": "Ink", "tags": ["ink"], "nsfw": True}}},
    },
    ".civitai.info": {
        "id": 1, "modelId": 2, "trainedWords": ["ink, wash"], "baseModel": "Pony", "nsfwLevel": 4,
        "model": {"name": "Ink", "description": "<p>x</p>", "tags": ["ink"], "nsfw": False},
    },
    ".cm-info.json": {
        "ModelId": 1, "VersionId": 2, "ModelName": "Ink", "ModelDescription": "x", "Nsfw": False, "Tags": ["ink"],
        "BaseModel": "SDXL 1.0", "TrainedWords": ["ink"],
    },
    " whole model.json": {
        "id": 1, "name": "Ink", "tags": ["ink"], "nsfwLevel": 1,
        "modelVersions": [{"id": 2, "name": "v1", "trainedWords": ["ink"], "files": [{"hashes": {"SHA256": "00"}}]}],
    },
}  # fmt: skip
"""A good sidecar of each kind, by the ending of its name."""


def _adapter(path: Path) -> None:
    name = "lora_unet_down_blocks_1_attentions_0_proj_in"
    header, data = {}, b""
    for end, shape in (("lora_down.weight", [4, 8]), ("lora_up.weight", [8, 4]), ("alpha", [])):
        size = int(np.prod(shape)) * 4
        header[f"{name}.{end}"] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += np.ones(size // 4, np.float32).tobytes()
    raw = json.dumps(header | {"__metadata__": {"ss_tag_frequency": '{"a": {"b": 1}}'}}).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def _sidecar(ending: str) -> Target:
    def read(path: Path) -> object:
        beside = path.with_name("lora.safetensors")
        _adapter(beside)
        path.replace(path.with_name("lora" + ending.split()[-1].removeprefix("model")))
        return read_adapter(beside)

    good = json.dumps(SIDECARS[ending])
    return Target(".json", lambda path: path.write_text(good, "utf-8") and None, read)


def _config(path: Path) -> object:
    """Peft's settings, without which its file says nothing of alpha."""
    beside = path.with_name("adapter_model.safetensors")
    _adapter(beside)
    path.replace(path.with_name("adapter_config.json"))
    return peft_config(beside)


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


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _shipped(folder: str, name: str) -> Callable[[Path], None]:
    import lorascope

    place = Path(lorascope.__file__).parent / folder / name
    return lambda path: path.write_bytes(place.read_bytes()) and None


def _image(kind: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(path, kind)


TARGETS = {
    "header": Target(".safetensors", _adapter, read_adapter, 40),
    **{f"sidecar{ending}": _sidecar(ending) for ending in SIDECARS},
    "peft": Target(".json", lambda path: path.write_text('{"r": 4, "lora_alpha": 8}', "utf-8") and None, _config),
    **{
        f"{name}, {what}": Target(".db", make, read, 6, change)
        for name, make, read in (
            ("library", write_library, import_library),
            ("evidence", write_evidence, import_evidence),
            ("own library", write_library, open_library),
            ("own evidence", write_evidence, open_evidence),
        )
        for what, change in (("bytes", changed), ("rows", changed_rows))
    },
    **{
        name: Target(".http", _bytes(said), ask, 30, partial(changed, pieces=PIECES)) for name, said in REQUESTS.items()
    },
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
