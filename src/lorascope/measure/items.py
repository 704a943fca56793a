"""From the file of an item to its key and to what a worker applies: an adapter, a ControlNet, an IP-Adapter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from lorascope.adapters import (
    Delta,
    Header,
    Names,
    check_shapes,
    load_delta,
    parse_header,
    peft_config,
    read_header,
    sha256_of,
    tensors_digest,
)
from lorascope.adapters.attachments import Attachment, ControlNet, ImagePrompt
from lorascope.adapters.delta import Coverage, read_tensors
from lorascope.adapters.items import (
    IMAGE_ENCODER,
    IP_ADAPTER,
    check_base,
    component_kind,
    condition_of,
    file_of,
    pictures_in,
)
from lorascope.encoders.digest import Preprocessing
from lorascope.encoders.pictures import open_picture
from lorascope.encoders.vision import prepared
from lorascope.errors import LorascopeError, MalformedAdapter
from lorascope.protocol import Preset

_ENCODERS = (IMAGE_ENCODER, f"../{IMAGE_ENCODER}", f"../models/{IMAGE_ENCODER}")
"""Where IP-Adapters have the image encoder that they were trained with, from the folder of their file."""
_PROJECTIONS = {
    "image_proj.proj.weight": "projection_dim",
    "image_proj.proj_in.weight": "hidden_size",
    "image_proj.proj.0.weight": "hidden_size",
}
"""What reads the image encoder, and which of its widths that is."""


def key_of(path: Path, data: bytes | bytearray) -> str:
    """The key by which a library knows an item: the SHA-256 of its file, or of its file and its pictures.

    Raises:
        AdapterError: its pictures or its image encoder cannot be read.
    """
    file = sha256_of(data)
    return f"sha256:{_with_condition(file, path, data) if condition_of(path) else file}"


def tensors_of(path: Path, data: bytes | bytearray) -> str:
    """A digest of all that decides what an item does: that of its tensors, and of its pictures."""
    digest = tensors_digest(data, config=peft_config(path), name=path)
    return _with_condition(digest, path, data) if condition_of(path) else digest


def check_item(path: Path, names: Names) -> None:
    """Refuse an item whose header shows that it does not belong to a base model, before the rest of it is read.

    Raises:
        AdapterError: as :func:`load_item` would raise it.
    """
    if condition_of(path):
        check_base(read_header(file_of(path)), names, path)
    else:
        check_shapes(path, names)


def load_item(path: Path, data: bytes | bytearray, names: Names, *, partial: bool) -> Delta:
    """What an item does to a base model.

    Raises:
        AdapterError: it does not belong to this base model, or lacks pictures or an image encoder.
    """
    if not condition_of(path):
        return load_delta(data, names, partial=partial, config=peft_config(path), name=path)
    header = parse_header(data, path)
    check_base(header, names, path)
    tensors = read_tensors(memoryview(data), header, path)
    made: Attachment = (
        _image_prompt(path, header, tensors) if component_kind(tensors) == IP_ADAPTER else _control(path, tensors)
    )
    return Delta({}, Coverage(1, 1, ()), path, attachments=[made])


def check_size(delta: Delta, preset: Preset) -> None:
    """Refuse a ControlNet whose pictures are not of the size that is drawn.

    Raises:
        MalformedAdapter: they have another one.
    """
    for part in delta.attachments:
        if isinstance(part, ControlNet) and len(part.pictures):
            height, width = part.pictures.shape[1:3]
            if (width, height) != (preset.width, preset.height):
                reason = f"its pictures have {width} x {height} pixels, but {preset.width} x {preset.height} are drawn"
                raise MalformedAdapter(part.path, reason, "Scale them to that size")


def _with_condition(digest: str, path: Path, data: bytes | bytearray) -> str:
    way, _, what = condition_of(path).partition(":")
    total = hashlib.sha256(digest.encode())
    if way == "own":
        total.update(what.encode())
    for picture in _pictures(path):
        total.update(hashlib.sha256(_bytes(picture, path)).digest())
    total.update(json.dumps(_config(path), sort_keys=True).encode())
    if way == "reference":
        total.update(_digest(_encoder(path, parse_header(data, path))))
    return total.hexdigest()


def _pictures(path: Path) -> list[Path]:
    """The files of an item's pictures."""
    way, _, what = condition_of(path).partition(":")
    try:
        return [] if way == "own" else pictures_in(Path(what), "--condition")
    except LorascopeError as error:
        raise MalformedAdapter(path, str(error), "Put its pictures back") from error


def _bytes(picture: Path, path: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise MalformedAdapter(path, f"{picture} cannot be read: {error.strerror}", "Put its pictures back") from error


def _opened(picture: Path, path: Path) -> UInt8[np.ndarray, "h w 3"]:
    try:
        return np.array(open_picture(picture))
    except LorascopeError as error:
        raise MalformedAdapter(path, str(error), "Or take it out of the folder") from error


def _config(path: Path) -> Mapping[str, Any] | None:
    """The configuration of diffusers beside a ControlNet's file."""
    try:
        found = json.loads(file_of(path).with_name("config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("_class_name") == "ControlNetModel" else None


def _control(path: Path, tensors: Mapping[str, torch.Tensor]) -> ControlNet:
    way, _, what = condition_of(path).partition(":")
    pictures = [_opened(picture, path) for picture in _pictures(path)]
    if len({picture.shape for picture in pictures}) > 1:
        raise MalformedAdapter(path, "its pictures have several sizes", "Scale them to the size that is drawn")
    stacked = np.stack(pictures) if pictures else np.empty((0, 1, 1, 3), np.uint8)
    return ControlNet(tensors, _config(path), what if way == "own" else "", stacked, path)


def _image_prompt(path: Path, header: Header, tensors: Mapping[str, torch.Tensor]) -> ImagePrompt:
    (picture,) = _pictures(path)
    pixels = _opened(picture, path)
    folder = _encoder(path, header)
    try:
        tower = _tower(folder, _digest(folder))
    except (OSError, ValueError) as error:
        reason = f"its image encoder {folder} cannot be loaded ({str(error).splitlines()[0]:.200})"
        raise MalformedAdapter(path, reason, "Get the whole folder") from error
    pooled = "image_proj.proj.weight" in tensors
    return ImagePrompt(tensors, *_seen(tower, Image.fromarray(pixels), pooled=pooled), path)


def _encoder(path: Path, header: Header) -> Path:
    """The folder of the image encoder that an IP-Adapter was trained with.

    Raises:
        MalformedAdapter: it is not beside the file.
    """
    key = next((key for key in _PROJECTIONS if key in header.tensors), "")
    width = header.tensors[key].shape[-1] if key else 0
    for place in _ENCODERS:
        folder = (file_of(path).absolute().parent / place).resolve()
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(config, dict) and config.get(_PROJECTIONS.get(key, "")) == width:
            return folder
    reason = f"no image encoder of {width} dimensions is in the folder {IMAGE_ENCODER} beside it"
    raise MalformedAdapter(path, reason, "Put CLIP's there that it was trained with, as h94/IP-Adapter has it")


def _digest(folder: Path) -> bytes:
    files = sorted(folder.glob("*.safetensors"))
    return b"".join(_file_digest(file, file.stat().st_mtime_ns) for file in files)


@lru_cache(maxsize=16)
def _file_digest(file: Path, mtime_ns: int) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


@lru_cache(maxsize=1)
def _tower(folder: Path, digest: bytes) -> Any:
    """The image encoder in a folder, loaded again when its files have another digest."""
    from transformers import CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, dtype=torch.float32
    ).eval()


@torch.inference_mode()
def _seen(tower: Any, picture: Image.Image, *, pooled: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """What a reference and what no picture is to the projection: an embedding, or the last hidden states but one."""
    pixels = torch.from_numpy(prepared(picture, Preprocessing.of_clip(tower.config.image_size)))[None]
    if pooled:
        found = tower(pixels).image_embeds
        return found, torch.zeros_like(found)
    return tuple(tower(one, output_hidden_states=True).hidden_states[-2] for one in (pixels, torch.zeros_like(pixels)))
