"""Items that are a file and a picture: a ControlNet with its way of conditioning, an IP-Adapter with its reference.

The path of such an item says both: ``canny.safetensors#own:edges``, ``ip.safetensors#reference:/looks/ink.png``.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lorascope.adapters.family import Shaped, recognise
from lorascope.adapters.header import Header
from lorascope.adapters.names import Names
from lorascope.errors import UsageError, WrongBase, printable
from lorascope.families import title_of

CONTROLNET: Final = "ControlNet"
IP_ADAPTER: Final = "IP-Adapter"
IMAGE_ENCODER: Final = "image_encoder"
"""The folder that an IP-Adapter has its image encoder in."""
OWN: Final = ("edges", "blur", "grey")
"""What can be made of a cell's own bare picture."""
PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif")

_ITEM: Final = re.compile(r"(.+\.\w+)#((?:own|given|reference):.+)", re.DOTALL)
"""The file's suffix has to be there: a folder or a file may be called "#own:edges", too."""
_HINT: Final = re.compile(
    r"(?:control_model\.)?(?:controlnet_cond_embedding\.conv_in|input_hint_block\.0|controlnet_x_embedder)\.weight"
    r"|pos_embed_input\.proj\.weight"
)
"""What reads the picture, in diffusers' layout, in the original one, and in those of FLUX and SD 3."""
_KEY: Final = re.compile(r"ip_adapter\.(\d+)\.to_k_ip\.weight")
_FAMILIES: Final = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""Architectures by what their cross-attention reads."""


@dataclass(frozen=True)
class Conditions:
    """Ways of conditioning for the ControlNets and IP-Adapters of a run; an empty one stands for those known already.

    Attributes:
        controls: ``own:edges``, or ``given:`` and an absolute folder.
        references: ``reference:`` and an absolute picture.
    """

    controls: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @classmethod
    def parse(cls, conditions: Iterable[str] = (), references: Path | None = None) -> "Conditions":
        """Read what a command names.

        Args:
            conditions: ``own:edges`` and the like, or folders of pictures.
            references: A folder of pictures, or one picture.

        Raises:
            UsageError: There is no such way, or no picture in the folder.
        """
        controls = [one if one.startswith("own:") else f"given:{Path(one).absolute()}" for one in conditions]
        for one in controls:
            if one.startswith("own:") and one.removeprefix("own:") not in OWN:
                ways = ", ".join(f"own:{way}" for way in OWN)
                raise UsageError(f"--condition {printable(one)}: give {ways}, or a folder of pictures")
            if one.startswith("given:"):
                pictures_in(Path(one.removeprefix("given:")), "--condition")
        found = pictures_in(references.absolute(), "--reference") if references else []
        return cls(tuple(controls), tuple(f"reference:{path}" for path in found))

    def of(self, kind: str) -> tuple[str, ...]:
        """Return those for a kind of component."""
        return self.controls if kind == CONTROLNET else self.references


def pictures_in(folder: Path, option: str) -> list[Path]:
    """Return the pictures of a folder, sorted by name; a picture itself is the only one.

    Raises:
        UsageError: There are none.
    """
    files = [folder] if folder.is_file() else folder.glob("*")
    found = sorted(path for path in files if path.suffix.lower() in PICTURES)
    if not found:
        raise UsageError(f"{option} {printable(str(folder))}: no picture is there: give a folder of PNG or JPEG files")
    return found


def item_path(file: Path, condition: str) -> Path:
    """Return the path of an item.

    Examples:
        >>> file_of(item_path(Path("canny.safetensors"), "own:edges"))
        PosixPath('canny.safetensors')
    """
    return Path(f"{file}#{condition}")


def file_of(path: Path | str) -> Path:
    """Return the model's file of an item; that of any other adapter is its path."""
    found = _ITEM.fullmatch(str(path))
    return Path(found.group(1)) if found else Path(path)


def is_there(path: Path | str) -> bool:
    """Whether the file of an item can be seen."""
    try:
        return file_of(path).exists()
    except OSError:
        return False


def condition_of(path: Path | str) -> str:
    """Return the way of conditioning in the path of an item; "" in any other path."""
    found = _ITEM.fullmatch(str(path))
    return found.group(2) if found else ""


def name_of(path: Path) -> str:
    """Return what an adapter is called by its path.

    Examples:
        >>> name_of(Path("canny.safetensors#own:edges")), name_of(Path("ip.safetensors#reference:/looks/ink.png"))
        ('canny own edges', 'ip ink')
    """
    way, _, what = condition_of(path).partition(":")
    file = file_of(path)
    stem = file.parent.name if way and file.stem == "diffusion_pytorch_model" else file.stem
    return " ".join(filter(None, (stem, way if way != "reference" else "", Path(what).stem)))


def stamp_of(path: Path) -> tuple[int, int]:
    """Return the size in bytes and the latest change (ns) of an adapter's file, with the pictures of its condition.

    Raises:
        OSError: One of them is not there.
    """
    way, _, what = condition_of(path).partition(":")
    files = [file_of(path)]
    if way == "given":
        files += [one for one in sorted(Path(what).iterdir()) if one.suffix.lower() in PICTURES]
    elif way == "reference":
        files.append(Path(what))
    stats = [one.stat() for one in files]
    return sum(one.st_size for one in stats), max(one.st_mtime_ns for one in stats)


def component_kind(keys: Iterable[str]) -> str:
    """Return whether keys are those of a ControlNet or of an IP-Adapter; "" for anything else.

    Examples:
        >>> component_kind(["control_model.input_hint_block.0.weight"])
        'ControlNet'
    """
    listed = list(keys)
    if "lora_controlnet" in listed:  # a Control-LoRA is no whole ControlNet
        return ""
    if any(map(_HINT.fullmatch, listed)):
        return CONTROLNET
    projected = any(key.startswith("image_proj.") for key in listed)
    own = [key for key in listed if key.startswith("ip_adapter.")]
    # one with LoRAs (FaceID) sees faces with an encoder of its own
    return IP_ADAPTER if projected and own and not any("_lora." in key for key in own) else ""


def family_of(header: Header) -> str:
    """Return the architecture that a ControlNet or an IP-Adapter was made for, or "unknown"."""
    if widths := {info.shape[1] for _, info in _image_keys(header)}:
        return _FAMILIES.get(widths.pop(), "unknown") if len(widths) == 1 else "unknown"
    modules = (Shaped(alias, shape[1], shape[0]) for alias, shape in _weights(header) if len(shape) > 1)
    return recognise(modules, header.metadata).family


def check_base(header: Header, names: Names, path: Path) -> None:
    """Refuse a component whose header shows that it does not belong to a base model.

    Raises:
        WrongBase: Its weights have other shapes than those that they are copied from, or stand beside.
    """
    if keys := _image_keys(header):
        cross = [names.shape("unet", f"{name}.weight") for name in names.modules("unet") if name.endswith("attn2.to_k")]
        own = [info.shape for _, info in keys]
        problem = "" if own == cross else f"its cross-attention is {_shown(own)}, that of the base {_shown(cross)}"
    else:
        problem = _misfit(header, names)
    if problem:
        found, wanted = (
            title_of(family) if family != "unknown" else "an unknown base model"
            for family in (family_of(header), names.family)
        )
        raise WrongBase(path, found, wanted, problem)


def _misfit(header: Header, names: Names) -> str:
    """Say how a ControlNet differs from the half of a U-Net that it is a copy of, or nothing."""
    matched = 0
    for alias, shape in _weights(header):
        for target in (one for one in names.find(alias)[:1] if one.component == "unet"):
            own = names.shape(target.component, f"{target.module}.weight")
            matched += 1
            if own != shape:
                return f"{alias} is {' x '.join(map(str, shape))}, in the base {' x '.join(map(str, own or ()))}"
    return "" if matched else "no layer of it is in a U-Net of the base"


def _weights(header: Header) -> list[tuple[str, tuple[int, ...]]]:
    """Return the modules that have a weight, and its shape."""
    ending = ".weight"
    return [
        (key.removeprefix("control_model.").removesuffix(ending), info.shape)
        for key, info in header.tensors.items()
        if key.endswith(ending)
    ]


def _image_keys(header: Header) -> list[tuple[int, Any]]:
    """Return what an IP-Adapter adds to each layer of cross-attention, in their order."""
    found = [(int(match.group(1)), info) for key, info in header.tensors.items() if (match := _KEY.fullmatch(key))]
    return sorted(found, key=lambda item: item[0])


def _shown(shapes: Sequence[tuple[int, ...] | None]) -> str:
    first = " x ".join(map(str, shapes[0] or ())) if shapes else ""
    return f"{len(shapes)} layers of {first}" if shapes else "none"
