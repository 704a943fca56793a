"""From lorascope's adapters to the names by which ComfyUI loads LoRAs, and from its models to architectures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FAMILIES = {
    "SD15": "sd15", "SD15_instructpix2pix": "sd15", "SD20": "sd2", "SD21UnclipL": "sd2", "SD21UnclipH": "sd2",
    "SDXL": "sdxl", "SDXL_instructpix2pix": "sdxl", "SVD_img2vid": "svd", "Stable_Cascade_C": "cascade",
    "Stable_Cascade_B": "cascade", "PixArtAlpha": "pixart", "PixArtSigma": "pixart", "SD3": "sd3", "Flux": "flux",
    "FluxInpaint": "flux", "FluxSchnell": "flux", "Flux2": "flux2", "Chroma": "chroma", "ChromaRadiance": "chroma",
    "HunyuanVideo": "hunyuan-video", "HunyuanVideoI2V": "hunyuan-video",
    "HunyuanVideoSkyreelsI2V": "hunyuan-video", "QwenImage": "qwen-image",
    "ZImage": "z-image", "Lumina2": "lumina2", "AuraFlow": "auraflow", "HiDream": "hidream", "GenmoMochi": "mochi",
    "CosmosT2V": "cosmos", "CosmosI2V": "cosmos", "CosmosT2IPredict2": "cosmos", "CosmosI2VPredict2": "cosmos",
    "Anima": "anima", "LTXV": "ltx", "HunyuanDiT": "hunyuan-dit", "HunyuanDiT1": "hunyuan-dit",
    "WAN21_T2V": "wan", "WAN21_I2V": "wan", "WAN21_FunControl2V": "wan", "WAN21_Vace": "wan", "WAN21_Camera": "wan",
    "WAN21_HuMo": "wan", "WAN22_T2V": "wan", "WAN22_Camera": "wan", "WAN22_S2V": "wan", "WAN22_Animate": "wan",
}  # fmt: skip
"""lorascope's family by the class of ComfyUI's model configuration. A LoRA of another one does nothing or fails."""


class UnknownArchitecture(ValueError):
    """A connected model of an architecture that has no family here."""


def family_of(model: Any) -> str:
    """The family of a connected model; "" if there is none, so that every LoRA counts.

    Raises:
        UnknownArchitecture: lorascope does not know the model's architecture.
    """
    if model is None:
        return ""
    name = type(getattr(getattr(model, "model", None), "model_config", None)).__name__
    if name not in FAMILIES:
        raise UnknownArchitecture(
            f"the connected model is of an architecture ({name}) whose LoRAs lorascope does not know: disconnect the"
            " model to search among all, or name the family"
        )
    return FAMILIES[name]


def file_name(paths: Iterable[str], names: Iterable[str], folders: Iterable[str]) -> str | None:
    """The name by which ComfyUI loads a LoRA.

    Args:
        paths: where its file is, as lorascope knows it; perhaps on another machine.
        names: ComfyUI's names of LoRAs, relative to its folders.
        folders: ComfyUI's folders of LoRAs.

    Returns:
        The name of the same file; else the only one of the same file name; None if there is neither.
    """
    known, paths = list(names), list(paths)
    real = {Path(folder, name).resolve(): name for folder in folders for name in known}
    for path in paths:
        if (found := real.get(Path(path).resolve())) is not None:
            return found
    for path in paths:
        tail = path.replace("\\", "/").rpartition("/")[2]
        same = [name for name in known if name.replace("\\", "/").rpartition("/")[2] == tail]
        if len(same) == 1:
            return same[0]
    return None


def weight_of(row: Mapping[str, Any]) -> float:
    """The weight to start with: as advised, else as its author says, else 1. ``row`` is a hit or a card."""
    advice = (row.get("details") or {}).get("advice") or {}
    weight = advice.get("weight")
    return weight if weight is not None else row["adapter"]["weight"] or 1.0
