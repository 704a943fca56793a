"""Image tools: how a folder of each is recognised, and where in it the models lie."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from lorascope.errors import printable

Role = Literal["adapters", "checkpoints", "vaes", "encoders", "configurations"]
Place = tuple[Role, Path]


@dataclass(frozen=True)
class Tool:
    """An image tool.

    Attributes:
        name: As people write it.
        marks: Groups of paths within its folder. A folder that has all of one group is this tool's.
        adapters: Folders of adapters within its folder, in all spellings that its versions have used.
        checkpoints: Folders of base models. One that is among the adapters' folders too holds both.
        vaes: Folders of VAEs.
        encoders: Folders of text encoders.
        configurations: Folders with the configuration of models, as ``owner/name``.
        settings: A JSON file with further folders; empty if there is none.
        keys: The names of those folders in the settings, by what they hold.
    """

    name: str
    marks: tuple[tuple[str, ...], ...]
    adapters: tuple[str, ...]
    checkpoints: tuple[str, ...]
    vaes: tuple[str, ...]
    encoders: tuple[str, ...] = ()
    configurations: tuple[str, ...] = ()
    settings: str = ""
    keys: tuple[tuple[Role, str], ...] = ()


_WEBUI: Final = (
    ("models/Lora", "models/LyCORIS"), ("models/Stable-diffusion", "models/Diffusers"), ("models/VAE",),
    ("models/text_encoder", "models/Text-encoder", "models/CLIP"),
)  # fmt: skip
_COMFYUI: Final = (
    ("models/loras",), ("models/checkpoints", "models/diffusers", "models/diffusion_models", "models/unet"),
    ("models/vae",), ("models/text_encoders", "models/clip"),
)  # fmt: skip

TOOLS: Final = (
    Tool(
        "Stability Matrix", (("Models", "Packages"),),
        ("Models/Lora", "Models/LyCORIS"), ("Models/StableDiffusion", "Models/DiffusionModels", "Models/Unet"),
        ("Models/VAE",), ("Models/TextEncoders", "Models/CLIP"),
    ),
    Tool(
        "SwarmUI", (("SwarmUI.sln",), ("Data/Settings.fds",)),
        ("Models/Lora",),
        ("Models/Stable-Diffusion", "Models/Stable-diffusion", "Models/diffusion_models", "Models/unet"),
        ("Models/VAE",), ("Models/clip", "Models/text_encoders"),
    ),
    # its models lie together, in folders by kind or by a number
    Tool(
        "InvokeAI", (("invokeai.yaml",), ("databases/invokeai.db",)),
        ("models",), ("models",), ("models",), ("models",),
    ),
    Tool(
        "Fooocus", (("fooocus_version.py",),), *_COMFYUI, settings="config.txt",
        keys=(("adapters", "path_loras"), ("checkpoints", "path_checkpoints"), ("vaes", "path_vae")),
    ),
    Tool("Forge", (("modules_forge",),), *_WEBUI, configurations=("backend/huggingface",)),
    Tool(
        "SD.Next", (("webui.py", "installer.py"),), *_WEBUI, settings="config.json",
        keys=(
            ("adapters", "lora_dir"), ("checkpoints", "ckpt_dir"), ("checkpoints", "diffusers_dir"),
            ("vaes", "vae_dir"),
        ),
    ),
    Tool("A1111", (("webui.py",),), *_WEBUI),
    Tool("ComfyUI", (("custom_nodes",), ("comfy", "main.py"), ("extra_models_config.yaml",)), *_COMFYUI),
)  # fmt: skip
"""In the order in which a folder is compared with them: Forge and SD.Next have A1111's marks, too."""

MODELS: Final = Tool(
    "models", (),
    ("loras", "Lora", "lora", "LyCORIS", "models/loras", "models/Lora"),
    (
        "checkpoints", "Stable-diffusion", "StableDiffusion", "models/checkpoints", "models/Stable-diffusion",
        "diffusion_models", "unet", "models/diffusion_models", "models/unet",
    ),
    ("vae", "VAE", "models/vae", "models/VAE"),
    ("text_encoders", "clip", "models/text_encoders", "models/clip"),
)  # fmt: skip
"""A folder of models that belongs to no tool that is known."""

_SWARM_KEYS: Final[tuple[tuple[Role, str, str], ...]] = (
    ("adapters", "SDLoraFolder", "Lora"), ("checkpoints", "SDModelFolder", "Stable-Diffusion"),
    ("vaes", "SDVAEFolder", "VAE"),
)  # fmt: skip
"""What SwarmUI's settings call the folders of each kind, and where they are by default."""
_INNER: Final = ("ComfyUI", "app", "webui", "Data", "Fooocus")
"""Folders of a download or a launcher, which contain the tool itself."""
_EXTRA: Final = ("extra_model_paths.yaml", "extra_models_config.yaml")
"""ComfyUI's lists of further folders: the person's, and the one of its desktop application."""
_EXTRA_KEYS: Final[dict[str, Role]] = {
    "loras": "adapters", "checkpoints": "checkpoints", "diffusers": "checkpoints", "diffusion_models": "checkpoints",
    "unet": "checkpoints", "vae": "vaes", "text_encoders": "encoders", "clip": "encoders",
}  # fmt: skip


def recognise_tool(folder: Path) -> tuple[Tool, Path] | None:
    """Return the tool that a folder belongs to, and the tool's own folder: this one, or one within it."""
    for root in (folder, *(folder / name for name in _INNER)):
        for tool in TOOLS:
            if any(all(_exists(root / mark) for mark in group) for group in tool.marks):
                return tool, root
    return None


def _swarm(file: Path, notes: list[str]) -> Iterator[tuple[Role, Path, Path]]:
    r"""Yield the folders that SwarmUI's settings name: each of its roots with each folder of a kind.

    The format is FreneticDataSyntax: sections by tabs, ``key: value``, in which a backslash is spelt ``\s``.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        notes.append(f"{_shown(file)} cannot be read ({_first_line(error)}), so the folders that it names are left out")
        return
    start = next((number for number, line in enumerate(lines) if line.rstrip() == "Paths:"), len(lines))
    section = itertools.takewhile(lambda line: line[:1] in ("", " ", "\t", "#"), lines[start + 1 :])
    pairs = (line.strip().partition(":") for line in section if line.lstrip()[:1] != "#")
    values = {key: [one.strip() for one in value.replace("\\s", "\\").split(";")] for key, _, value in pairs}
    for root in (file.parents[1] / name for name in values.get("ModelRoot", ["Models"]) if name):
        if not _exists(root):
            yield "adapters", root, file
        for role, key, usual in _SWARM_KEYS:
            for place in (root / name for name in values.get(key, [usual]) if name):
                if _exists(place):
                    yield role, place, file


def places_of(tool: Tool, root: Path) -> tuple[list[Place], list[str]]:
    """Return the folders of models that a tool uses, and what a person should know of those that cannot be used."""
    roles: list[tuple[Role, tuple[str, ...]]] = [
        ("adapters", tool.adapters), ("checkpoints", tool.checkpoints), ("vaes", tool.vaes),
        ("encoders", tool.encoders), ("configurations", tool.configurations),
    ]  # fmt: skip
    places: list[Place] = [(role, root / name) for role, names in roles for name in names if _exists(root / name)]
    notes: list[str] = []
    named: list[tuple[Role, Path, Path]] = []
    if tool.settings and _exists(root / tool.settings):
        named += _settings(root / tool.settings, tool, notes)
    if tool.name == "SwarmUI" and _exists(root / "Data" / "Settings.fds"):
        named += _swarm(root / "Data" / "Settings.fds", notes)
    if tool.name == "ComfyUI":
        for name in _EXTRA:
            named += _extra(root / name, notes) if _exists(root / name) else []
    for role, place, source in named:
        if _exists(place):
            places.append((role, place))
        else:
            notes.append(f"{_shown(source)} names {_shown(place)}, which is not there: is its drive connected?")
    return places, notes


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder that may not be entered, a drive that does not answer
        return False


def _shown(path: Path) -> str:
    return printable(str(path))


def _settings(file: Path, tool: Tool, notes: list[str]) -> Iterator[tuple[Role, Path, Path]]:
    """Yield the folders that a tool's JSON file names."""
    try:
        content: Any = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{_shown(file)} cannot be read ({_first_line(error)}), so the folders that it names are left out")
        return
    for role, key in tool.keys:
        value = content.get(key) if isinstance(content, dict) else None
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and text.strip():
                yield role, file.parent / text.strip(), file


def _extra(file: Path, notes: list[str]) -> Iterator[tuple[Role, Path, Path]]:
    """Yield the folders of ComfyUI's extra_model_paths.yaml, by ComfyUI's rules for relative paths."""
    try:
        content: Any = yaml.safe_load(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        notes.append(f"{_shown(file)} cannot be read ({_first_line(error)}), so the folders that it names are left out")
        return
    for section in content.values() if isinstance(content, dict) else ():
        fields: dict[Any, Any] = section if isinstance(section, dict) else {}
        base = fields.get("base_path")
        start = file.parent / _expanded(base) if isinstance(base, str) else file.parent
        for key, role in _EXTRA_KEYS.items():
            value = fields.get(key)
            for line in value.split("\n") if isinstance(value, str) else ():
                if line.strip():
                    yield role, start / _expanded(line), file


def _expanded(text: str) -> Path:
    path = Path(text.strip())
    try:
        return path.expanduser()
    except RuntimeError:  # no such user
        return path


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return printable(where + str(getattr(error, "problem", None) or error).splitlines()[0])
