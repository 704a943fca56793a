"""What is in a folder of models: checkpoints, VAEs and adapters, recognised by their headers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lorascope.adapters import Header, read_header, sidecar_claims
from lorascope.adapters.family import Shaped, recognise
from lorascope.families import ARCHITECTURES, lineage_in
from lorascope.models import is_single_file

_DENOISER: Final = ("model.diffusion_model.", "diffusion_model.")
_BARE: Final = re.compile(
    r"(?:double_blocks|joint_blocks|transformer_blocks)\.\d+\..*|layers\.\d+\.(?:attention|feed_forward|adaLN).*"
)
"""Keys of a denoiser that was saved alone."""
_ADAPTED: Final = re.compile(r"\.lora[._]")
"""In the keys of an adapter, whose modules may be called as those of a denoiser."""
VAE_KEYS: Final = ("decoder.conv_in.weight", "decoder.conv_out.weight")
"""Tensors that every VAE has by itself, in its authors' names and diffusers'."""


@dataclass(frozen=True)
class Checkpoint:
    """A base model.

    Attributes:
        location: As ``--base`` takes it: a file, a folder of diffusers, or a name on the Hugging Face hub.
        architecture: Its name in `lorascope.families`, or "unknown".
        lineage: What its header, a sidecar, its name or its folder says, in that order; empty if none does.
        prediction: "v" if it is marked as predicting v; else empty.
        zero_snr: Whether it is marked as trained with zero terminal SNR.
    """

    location: str
    architecture: str
    lineage: str = ""
    prediction: str = ""
    zero_snr: bool = False

    @property
    def name(self) -> str:
        """How people call it: its name without folders."""
        return Path(self.location).stem if is_single_file(self.location) else Path(self.location).name


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read what the header of a file tells about a base model; None if it holds none.

    Raises:
        AdapterError: The file is no safetensors file, or a broken one.
    """
    header = read_header(path)
    modules = list(_denoiser(header))
    if not modules:
        return None
    architecture = recognise(modules, header.metadata).family
    stated = header.metadata.get("modelspec.prediction_type", "").lower()
    prediction = "v" if "v_pred" in header.tensors or stated in {"v", "v_prediction", "v-prediction"} else ""
    lineage = _lineage(path, header, architecture)
    return Checkpoint(str(path), architecture, lineage, prediction, zero_snr="ztsnr" in header.tensors)


def is_vae(path: Path) -> bool:
    """Tell whether a file is a VAE by itself.

    Raises:
        AdapterError: The file is no safetensors file, or a broken one.
    """
    tensors = read_header(path).tensors
    return all(key in tensors for key in VAE_KEYS)


def read_pipeline(folder: Path, location: str = "") -> Checkpoint | None:
    """Read what a folder of diffusers holds; None if it is none, or of a pipeline that is not known.

    Args:
        folder: A folder with a model_index.json.
        location: What ``--base`` takes instead of the folder, such as a name on the Hugging Face hub.
    """
    kind = _json(folder / "model_index.json").get("_class_name")
    rows = [row.name for row in ARCHITECTURES if kind in row.pipelines]
    if not rows:
        return None
    width = _json(folder / "unet" / "config.json").get("cross_attention_dim")
    architecture = "sd2" if rows[0] == "sd15" and width == 1024 else rows[0]
    scheduler = _json(folder / "scheduler" / "scheduler_config.json").get("prediction_type")
    lineage = lineage_in(Path(location or folder).name, architecture)
    return Checkpoint(location or str(folder), architecture, lineage, "v" if scheduler == "v_prediction" else "")


def cached_pipelines(cache: Path) -> Iterator[Checkpoint]:
    """Yield the pipelines in a Hugging Face cache, by their names on the hub."""
    for repository in sorted(cache.glob("models--*--*")):
        location = repository.name.removeprefix("models--").replace("--", "/", 1)
        snapshots = sorted(repository.glob("snapshots/*/model_index.json"))
        if snapshots and (found := read_pipeline(snapshots[-1].parent, location)):
            yield found


def _denoiser(header: Header) -> Iterator[Shaped]:
    """Yield the modules of the image model in a checkpoint, spelt as those of adapters are."""
    for key, info in header.tensors.items():
        prefix = next((prefix for prefix in _DENOISER if key.startswith(prefix)), None)
        own = key.endswith(".weight") and not _ADAPTED.search(key)
        if own and (prefix or _BARE.fullmatch(key)) and len(info.shape) >= 2:
            yield Shaped("diffusion_model." + key[len(prefix or "") : -len(".weight")], info.shape[1], info.shape[0])


def _lineage(path: Path, header: Header, architecture: str) -> str:
    for key in ("modelspec.title", "modelspec.architecture"):
        if lineage := lineage_in(header.metadata.get(key, ""), architecture):
            return lineage
    if not path.with_suffix(".json").exists():  # SD.Next's would be read by the digest of gigabytes
        claim = sidecar_claims(path).lineage
        if claim is not None and any(claim.value == one for one in _lineages(architecture)):
            return claim.value
    return lineage_in(path.stem, architecture) or lineage_in(path.parent.name, architecture)


def _lineages(architecture: str) -> list[str]:
    return [lineage.name for row in ARCHITECTURES if row.name == architecture for lineage in row.lineages]


def _json(path: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
