"""A stand-in for what ComfyUI gives its custom nodes, written from its documentation.

The schema's classes keep what they are given; a schema is checked as ComfyUI does, so that names are unique and every
input of ``execute`` has a socket or a widget.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1] / "integrations" / "comfyui"


@dataclass
class Socket:
    """An input or an output."""

    kind: str
    id: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Schema:
    """What a node is."""

    node_id: str
    display_name: str
    category: str
    inputs: list[Socket]
    outputs: list[Socket]
    description: str = ""
    is_output_node: bool = False


class NodeOutput:
    """What a node returns."""

    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.args, self.ui = args, ui


def _kind(name: str) -> Any:
    def socket(identifier: str, *_: Any, **options: Any) -> Socket:
        return Socket(name, identifier, options)

    return SimpleNamespace(Input=socket, Output=socket)


class ComfyNode:
    """The base of nodes."""

    @classmethod
    def checked(cls) -> Schema:
        """The schema, if it and ``execute`` fit."""
        schema = cls.define_schema()
        names = [socket.id for socket in (*schema.inputs, *schema.outputs)]
        assert len(names) == len(set(names)), names
        wanted = {socket.id: socket.options.get("optional", False) for socket in schema.inputs}
        taken = inspect.signature(cls.execute).parameters
        assert {name: one.default is not inspect.Parameter.empty for name, one in taken.items()} == wanted
        return schema


@contextmanager
def comfyui(loras: Path, models: dict[str, Any] | None = None) -> Generator[ModuleType]:
    """The package as ComfyUI loads it, with one folder of LoRAs; `loaded` of the module says what was applied."""
    io = SimpleNamespace(
        ComfyNode=ComfyNode, Schema=Schema, NodeOutput=NodeOutput, Custom=_kind,
        **{name: _kind(name.upper()) for name in ("String", "Int", "Float", "Combo", "Model", "Clip", "Image")},
    )  # fmt: skip
    routes: dict[str, Callable[..., Any]] = {}

    def get(path: str) -> Callable[[Any], None]:
        return lambda handler: routes.__setitem__(path, handler)

    def names(kind: str) -> list[str]:
        assert kind == "loras"
        return sorted(str(path.relative_to(loras)) for path in loras.rglob("*.safetensors"))

    def full_path(kind: str, name: str) -> str | None:
        path = loras / name
        return str(path) if path.is_file() else None

    loaded: list[tuple[str, float, float]] = []

    def load(model: Any, clip: Any, lora: str, strength: float, clip_strength: float) -> tuple[Any, Any]:
        loaded.append((lora, strength, clip_strength))
        return f"{model}+", clip and f"{clip}+"

    web = SimpleNamespace(
        Request=object, StreamResponse=object,
        Response=lambda **answer: SimpleNamespace(status=200, **answer),
        json_response=lambda data, status=200: SimpleNamespace(status=status, data=data),
        HTTPNotFound=type("HTTPNotFound", (Exception,), {}),
    )  # fmt: skip
    stands: dict[str, dict[str, Any]] = {
        "comfy_api": {},
        "comfy_api.v0_0_2": {"io": io, "ComfyExtension": type("ComfyExtension", (), {})},
        "folder_paths": {
            "get_filename_list": names, "get_folder_paths": lambda kind: [str(loras)], "get_full_path": full_path,
            "get_full_path_or_raise": full_path,
        },
        "server": {"PromptServer": SimpleNamespace(instance=SimpleNamespace(routes=SimpleNamespace(get=get)))},
        "aiohttp": {"web": web},
        "comfy": {}, "comfy.sd": {"load_lora_for_models": load},
        "comfy.utils": {"load_torch_file": lambda path, safe_load: Path(path).name},
    }  # fmt: skip
    before = dict(sys.modules)
    for name, content in stands.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(content)
    sys.modules["comfy"].sd, sys.modules["comfy"].utils = sys.modules["comfy.sd"], sys.modules["comfy.utils"]
    try:
        spec = importlib.util.spec_from_file_location("comfyui_pack", PACKAGE / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules["comfyui_pack"] = package
        spec.loader.exec_module(package)
        package.loaded, package.routes = loaded, routes
        yield package
    finally:
        for name in sys.modules.keys() - before.keys():
            del sys.modules[name]
        sys.modules.update(before)
