"""From the names of an adapter's tensors to modules and their parts.

A key such as ``lora_unet_mid_block_attentions_0_proj_in.lora_down.weight`` is the alias of a module and the
part that the tensor plays in it, here "down". Which weight of the base model an alias means is the business
of `names`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

Parts = Mapping[str, str]
"""Part to key, for one module."""

_PARTS: Final[Mapping[str, str]] = {
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "lora_mid.weight": "mid",
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora_magnitude_vector.weight": "magnitude",
    "lora_up.bias": "up_bias",
    "lora_B.bias": "up_bias",
    "lora_down": "down",
    "lora_up": "up",
    "lora_A": "down",
    "lora_B": "up",
    "alpha": "alpha",
    "dora_scale": "dora",
    "lora_magnitude_vector": "magnitude",
    "magnitude": "magnitude",
    **{f"hada_{name}": f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f"lokr_{name}": f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
    "diff": "diff",
    "diff_b": "diff_b",
    "w_norm": "diff",
    "b_norm": "diff_b",
    "ia3_l": "ia3_l",
    "on_input": "on_input",
    "weight": "weight",
    **{f"{name}.weight": name for name in ("a1", "a2", "b1", "b2", "bm")},
    "oft_blocks": "oft_blocks",
    "oft_R.weight": "oft_r",
    "oft_R.scaled_oft": "scaled_oft",
    "rescale": "rescale",
}

_TWICE: Final = re.compile(r"^((?:unet|transformer|text_encoder(?:_\d)?)\.)(?:unet\.|base_model\.model\.)")
"""Two prefixes, as trainers wrote them that called peft and diffusers one after the other."""
_NAMED: Final[Mapping[str, str]] = {"lora_A": "down", "lora_B": "up", "lora_magnitude_vector": "magnitude"}
"""What peft writes before an adapter's own name, as in ``lora_A.default.weight``."""

_AS_LORA: Final = "Export it as LoRA"
_PEFT: Final[Mapping[str, str]] = {
    "adamss": "AdaMSS", "beft": "BEFT", "boft": "BOFT", "bone": "Bone", "c3a": "C3A", "deft": "DEFT",
    "delora": "DeLoRA", "fourierft": "FourierFT", "frod": "FRoD", "glora": "GLoRA", "gralora": "GraLoRA",
    "hira": "HiRA", "hra": "HRA", "lily": "LiLy", "ln_tuning": "tuning of norms", "miss": "MiSS", "osf": "OSF",
    "peanut": "PEANuT", "poly": "Poly", "psoft": "PSOFT", "pvera": "PVeRA", "randlora": "RandLoRA", "road": "RoAd",
    "shadow": "Shadow", "shira": "SHiRA", "supertuning": "SuperTuning", "tinylora": "TinyLoRA",
    "trainable_tokens": "trainable tokens", "unilora": "UniLoRA", "vblora": "VB-LoRA", "vera": "VeRA",
    "waveft": "WaveFT",
}  # fmt: skip
"""What peft begins the names of a method's tensors with, for the methods that are not read."""
_FOREIGN: Final[tuple[tuple[str, str, str], ...]] = (
    (r"transformer_blocks\.\d+\.(?:qkv_proj|out_proj|mlp_fc\d)\w*\.lora_(?:down|up)$",
     "a LoRA that nunchaku packed for its quantised models", "Use the file that it was converted from"),
    (r"(?:text_encoder|unet):\d+:(?:up|down)$",
     "the first layout of LoRA files (cloneofsimo's), in which modules are numbered and have no names",
     "Convert it to the names of kohya or diffusers with the tool that made it"),
    (r"\.oft_[rsS](?:\.|$)", "OFT as peft wrote it until 0.15, which is not supported", "Export it as LoRA"),
    (r"\.oft_embedding_", "OFT of an embedding, which is not supported", "Train it without the embedding"),
    (r"\.lora_embedding_", "LoRA of an embedding, which is not supported", "Train it without the embedding"),
    (r"\.lokr_t1$", "LoKr with t1, which is not supported", _AS_LORA),
    (r"^lllite_", "ControlNet-LLLite, which acts by a picture", "It cannot be measured"),
    (r"^lora_controlnet$", "a Control-LoRA, which acts by a picture", "It cannot be measured"),
    (r"^ip_adapter\.\d+\.to_\w+_lora\.", "an IP-Adapter for faces, which acts by a face", "It cannot be measured"),
    (r"\.lora_E$", "AdaLoRA, which is not supported", _AS_LORA),
    (r"\.lora_diag$", "KaSA, which is not supported", _AS_LORA),
    (r"\.(?:q_layer\.weight|lambda_layer)$", "T-LoRA, which acts differently in each step", "It cannot be measured"),
    *((rf"^(?!bundle_emb\.).*\.{mark}_", f"{name} as peft writes it, which is not supported", _AS_LORA)
      for mark, name in _PEFT.items()),
)  # fmt: skip
"""Keys of files that are known and cannot be read: what they are, and what to do."""

_BUNDLED: Final = "bundle_emb."
"""Begins the keys of textual inversions that OneTrainer and others put into an adapter's file; their name follows."""
_XLABS: Final = tuple(f".processor.{name}_lora{number}" for name in ("qkv", "proj") for number in (1, 2))


@dataclass(frozen=True, slots=True)
class Grouped:
    """An adapter's keys, put in order.

    Attributes:
        modules: Alias of a module to its parts.
        strays: Keys that belong to no module.
        bundled: Token of each textual inversion that is in the file, too, to its parts.
    """

    modules: Mapping[str, Parts]
    strays: tuple[str, ...]
    bundled: Mapping[str, Parts] = field(default_factory=dict[str, Parts])


@lru_cache(maxsize=1 << 15)  # the same few thousand keys occur in every file of a library
def split_key(key: str) -> tuple[str, str] | None:
    """Return a key's module alias and part, or None if it follows no known pattern.

    Examples:
        >>> split_key("transformer.base_model.model.proj_out.lora_A.default.weight")
        ('transformer.proj_out', 'down')
    """
    found = _split(key.removesuffix(".default").replace(".default.weight", ".weight"))
    return (_TWICE.sub(r"\1", found[0]).rstrip("_"), found[1]) if found else None


def _split(key: str) -> tuple[str, str] | None:
    pieces = key.rsplit(".", 3)
    for depth in (2, 1):
        tail = ".".join(pieces[-depth:])
        if len(pieces) > depth and tail != "weight" and (part := _PARTS.get(tail)):
            return key[: -len(tail) - 1], part
    if pieces[-1] != "weight" or len(pieces) == 1:
        return None
    return _split_chain(key, pieces) or (key[: -len(".weight")], "weight")


def group_keys(keys: Iterable[str]) -> Grouped:
    """Gather keys by module; a bare ``.weight`` counts only beside the ``.on_input`` of an IA3."""
    modules: dict[str, dict[str, str]] = {}
    strays: list[str] = []
    bundled: dict[str, dict[str, str]] = {}
    for key in keys:
        if key.startswith(_BUNDLED):
            token, _, part = key.removeprefix(_BUNDLED).partition(".")
            bundled.setdefault(token, {})[part] = key
            continue
        found = split_key(key)
        if found is None or found[1] in modules.get(found[0], ()):
            strays.append(key)
        else:
            modules.setdefault(found[0], {})[found[1]] = key
    for alias, parts in list(modules.items()):
        if "weight" in parts and "on_input" not in parts:
            strays.append(parts.pop("weight"))
        if not parts:
            del modules[alias]
    return Grouped(modules, tuple(strays), bundled)


def foreign(keys: Iterable[str]) -> tuple[str, str] | None:
    """Name the kind of file that keys belong to and say what to do, if it is known but cannot be read."""
    return next(filter(None, map(_foreign, keys)), None)


@lru_cache(maxsize=1 << 15)
def _foreign(key: str) -> tuple[str, str] | None:
    return next(((kind, remedy) for mark, kind, remedy in _FOREIGN if re.search(mark, key)), None)


def _split_chain(key: str, pieces: list[str]) -> tuple[str, str] | None:
    """Split the longer endings: peft's with an adapter's name, and those of diffusers before peft."""
    if len(pieces) == 4 and (part := _NAMED.get(pieces[-3])):
        return pieces[0], part
    if len(pieces) >= 3 and pieces[-2] in {"down", "up"}:
        owner = key[: -len(f".{pieces[-2]}.weight")]
        if owner.endswith(_XLABS):
            return owner, pieces[-2]
        for ending in ("_lora", ".lora", ".lora_linear_layer"):
            if owner.endswith(ending):
                return owner[: -len(ending)], pieces[-2]
    return None
