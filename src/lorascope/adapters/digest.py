"""A digest of what an adapter does, which does not change when only its header's free text is edited."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lorascope.adapters.header import parse_header, read_file
from lorascope.adapters.settings import Settings
from lorascope.adapters.sidecar import peft_config


def tensors_digest(
    data: bytes | bytearray | memoryview | Path,
    *,
    config: Mapping[str, object] | None = None,
    name: Path | str = "<memory>",
) -> str:
    """Return the SHA-256 over an adapter's tensors: their names, shapes and values as float32.

    Two files with the same digest change every base model in the same way, to the bit. Titles, tags and other free
    text do not count, nor does the type in which equal values are stored (8-bit floats apart). What scales the
    tensors does count: peft's config, beside the file or in its header.

    Args:
        data: The file, or its bytes.
        config: The content of peft's ``adapter_config.json``. For a path, the file beside it is used if this is None.
        name: What error messages call bytes.

    Returns:
        64 hexadecimal digits.

    Raises:
        AdapterError: One of its subclasses, if the file or its config cannot be read.
    """
    if isinstance(data, Path):
        name, config = data, config if config is not None else peft_config(data)
        data = read_file(data)
    path, view = Path(name), memoryview(data)
    header = parse_header(view, path)
    total = hashlib.sha256()
    for key, info in sorted(header.tensors.items()):
        total.update(json.dumps([key, info.shape]).encode())
        total.update(_as_float32(view[header.data_start + info.start : header.data_start + info.stop], info.dtype))
    total.update(json.dumps(_known(Settings.read(header, config, path)), sort_keys=True).encode())
    return total.hexdigest()


def _known(settings: Settings) -> dict[str, Any]:
    """Return what counts. Ranks were read later than the rest, so without any the digest is that of before."""
    fields = asdict(settings)
    for one in (fields["default"], *fields["components"].values()):
        if not one["ranks"]:
            del one["ranks"]
    return fields


def _as_float32(raw: memoryview, dtype: str) -> Any:
    """Widen stored values to float32, in which every formula calculates; types that NumPy lacks are widened by hand."""
    import numpy as np

    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << np.uint32(16)).data
    if dtype in _PLAIN:
        with np.errstate(over="ignore"):  # a float64 beyond float32 is refused where it is used
            return np.frombuffer(raw, _PLAIN[dtype]).astype("<f4").data
    return dtype.encode() + raw  # 8-bit floats: equal bytes are equal values


_PLAIN = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
