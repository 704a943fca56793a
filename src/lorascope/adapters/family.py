"""Which base family an adapter was made for, from the names and shapes of its modules.

It is advice for a person and a filter for a list. What decides whether an adapter can be measured is whether
its modules match the base model that is loaded.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from lorascope.adapters.kinds import Module
from lorascope.adapters.names import CONTEXT_FAMILIES

NAMES_KEPT: Final = 1 << 15
"""What an alias implies is kept: the same few thousand occur in every file of a library."""

_DENOISER: Final = re.compile(
    r"(?:^|[._])(down_blocks|up_blocks|mid_block|input_blocks|middle_block|output_blocks)(?=[._])"
)
_SPELLINGS: Final[Mapping[str, str]] = {
    "lora_": "kohya",
    "lycoris_": "lycoris",
    "base_model.model.": "peft base_model.model.",
    "diffusion_model.": "diffusion_model.",
    "model.diffusion_model.": "model.diffusion_model.",
    "unet.": "diffusers",
    "transformer.": "diffusers",
    "text_encoder": "diffusers",
}
_FLUX: Final = re.compile(r"(?:^|[._])(?:double_blocks|single_blocks|single_transformer_blocks)[._]")
_SD3: Final = re.compile(r"(?:^|[._])joint_blocks[._]")
_ORIGINAL: Final = re.compile(r"(?:^|[._])(?:double_blocks|single_blocks|joint_blocks)[._]")
_CROSS: Final = re.compile(r"attn2[._](?:processor[._])?to_[kv]$")
_STREAM: Final = re.compile(
    r"(?:^|[._])transformer_blocks[._]\d+[._](?:attn[._](?:to_[qkv]|add_[qkv]_proj)$|ff_context)"
)
_TEXT: Final = re.compile(r"(?:lora_|lycoris_)te(\d)?_|(?:^|\.)text_encoder(?:s|_(\d))?[._]")
_SGM: Final = frozenset({"input_blocks", "middle_block", "output_blocks"})
_STREAM_FAMILIES: Final[Mapping[int, str]] = {3072: "flux", 1536: "sd3", 2432: "sd3"}

_SPOKEN: Final[Mapping[str, str]] = {
    "miniature": "miniature",
    "sdxl": "sdxl",
    "stable-diffusion-xl": "sdxl",
    "sd_v1": "sd15",
    "stable-diffusion-v1": "sd15",
    "sd_v2": "sd2",
    "stable-diffusion-v2": "sd2",
    "sd3": "sd3",
    "stable-diffusion-3": "sd3",
    "flux": "flux",
}
"""The beginnings of ``ss_base_model_version`` and ``modelspec.architecture``."""


@lru_cache(maxsize=NAMES_KEPT)
def naming(alias: str) -> str:
    """Return how a module's alias is spelt: "kohya", "lycoris", "diffusers", "bare" and so on."""
    for prefix, name in _SPELLINGS.items():
        if alias.startswith(prefix):
            return name
    return "bare" if "." in alias else "unknown"


@lru_cache(maxsize=NAMES_KEPT)
def numbering(alias: str) -> str | None:
    """Return whose order an alias counts blocks in, "sgm" (the authors') or "diffusers", if it counts any."""
    if block := _DENOISER.search(alias):
        return "sgm" if block.group(1) in _SGM else "diffusers"
    if _ORIGINAL.search(alias):
        return "sgm"
    return "diffusers" if _STREAM.search(alias) or "single_transformer_blocks" in alias else None


def components(aliases: Iterable[str]) -> dict[str, int]:
    """Count an adapter's modules by the part of the pipeline that they belong to, as diffusers calls it."""
    counts = Counter(component(alias) for alias in aliases)
    if "transformer" in counts:
        # names such as lora_unet_img_in do not show by themselves that their model is a transformer
        counts["transformer"] += counts.pop("unet", 0)
    return dict(sorted(counts.items()))


@lru_cache(maxsize=NAMES_KEPT)
def component(alias: str) -> str:
    """Return the part of the pipeline that one alias seems to belong to."""
    if "clip_g" in alias:
        return "text_encoder_2"
    if "t5xxl" in alias:
        return "text_encoder_3"
    if text := _TEXT.search(alias):
        return f"text_encoder_{text.group(1) or text.group(2)}".removesuffix("_None").removesuffix("_1")
    if _DENOISER.search(alias):
        return "unet"
    if alias.startswith(("transformer.", "lora_transformer_")) or numbering(alias):
        return "transformer"
    return "text_encoder" if "text_model" in alias else "unet"


def families(modules: Mapping[str, Module]) -> frozenset[str]:
    """Return every family that the modules' names and shapes are evidence of; two contradict each other.

    Args:
        modules: Alias to what its shapes imply.
    """
    found: set[str] = set()
    for alias, module in modules.items():
        hint = _hint(alias)
        if hint == "cross" and module.inputs is not None:
            found.add(CONTEXT_FAMILIES.get(module.inputs, "other"))
        elif hint == "stream":
            found.add(_STREAM_FAMILIES.get(module.inputs or 0, "other"))
        elif hint in {"flux", "sd3"}:
            found.add(hint)
    return frozenset(found) or _from_text(modules)


@lru_cache(maxsize=NAMES_KEPT)
def _hint(alias: str) -> str:
    """Return the family that a name alone shows, or which width would show it: "cross" or "stream"; or nothing."""
    if _FLUX.search(alias):
        return "flux"
    if _SD3.search(alias):
        return "sd3"
    if _DENOISER.search(alias):
        return "cross" if _CROSS.search(alias) else ""
    return "stream" if _STREAM.search(alias) else ""


def _from_text(modules: Mapping[str, Module]) -> frozenset[str]:
    """Judge an adapter without cross-attention by its text encoders: two, or one of a telling width."""
    parts = {component(alias) for alias in modules}
    if "text_encoder_2" in parts and parts <= {"unet", "text_encoder", "text_encoder_2"}:
        return frozenset({"sdxl"})
    widths = {
        module.inputs
        for alias, module in modules.items()
        if alias.startswith("lora_te_") and alias.endswith("q_proj") and module.inputs
    }
    return frozenset(CONTEXT_FAMILIES.get(width, "other") for width in widths)


def family(found: frozenset[str], metadata: Mapping[str, str]) -> str:
    """Settle on one family; the header's own words decide only where shapes leave it open.

    Args:
        found: What `families` says.
        metadata: The header's free text.
    """
    spoken = _spoken(metadata)
    known = found - {"other"}
    if len(known) == 1:
        return next(iter(known))
    if "other" in found:
        # a width that no known family has cannot be one of theirs, whatever the header says
        return spoken if spoken == "miniature" else "unknown"
    return spoken or "unknown"


def _spoken(metadata: Mapping[str, str]) -> str:
    for key in ("ss_base_model_version", "modelspec.architecture"):
        value = metadata.get(key, "").lower()
        for beginning, name in _SPOKEN.items():
            if value.startswith(beginning):
                return name
    return ""
