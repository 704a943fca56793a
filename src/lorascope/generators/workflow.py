"""A workflow of ComfyUI in its API's format: which nodes hold prompt, seed, adapter and output."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

from lorascope.errors import ProtocolError

ROLES = ("prompt", "seed", "lora", "output", "size")
PLACE = "{prompt}"
"""Stands for the prompt in a longer text; without it, the whole text is replaced."""
_MODELS = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
_OUTPUTS = ("SaveImage", "SaveImageWebsocket")
_PREVIEW = "PreviewImage"
_TEXTS = ("text", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama", "bert", "mt5xl", "prompt", "user_prompt")
"""Where ComfyUI's nodes keep what they encode: several have a field for each text encoder."""
_STRENGTHS = ("strength_model", "strength_clip", "strength")
_ON_THE_WAY = ("positive", "guider", "cond1", "conditioning", "conditioning_1", "conditioning_to")
Node = dict[str, Any]


@dataclass(frozen=True)
class Fill:
    """What one picture is made from; without a LoRA the loader is bypassed."""

    prompt: str
    seed: int
    lora: str = ""
    strength: float = 1.0


@final
class Workflow:
    """A workflow whose roles are known.

    Examples:
        >>> Workflow.read({"1": {"class_type": "Nothing", "inputs": {}}}, {})
        Traceback (most recent call last):
        lorascope.errors.ProtocolError: the workflow has no node for output: name it with --node output=ID
    """

    def __init__(self, nodes: dict[str, Node], roles: Mapping[str, str]) -> None:
        self._nodes, self.roles = nodes, dict(roles)

    @classmethod
    def load(cls, path: Path, named: Mapping[str, str]) -> Workflow:
        """Read a file.

        Args:
            path: saved with "Export (API)".
            named: node by role, where types do not tell it.

        Raises:
            ProtocolError: it is no such file, or a role belongs to no node or to several.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ProtocolError(
                f"--workflow {path} cannot be read ({error}): give a file saved with Export (API)"
            ) from error
        return cls.read(content, named)

    @classmethod
    def read(cls, content: Any, named: Mapping[str, str]) -> Workflow:
        """The same from its content."""
        if not isinstance(content, dict) or "nodes" in content:
            raise ProtocolError("the workflow is not in the API's format: save it with Export (API)")
        found: list[Any] = list(content.values())
        if not found or any(not isinstance(node, dict) or not isinstance(node.get("inputs"), dict) for node in found):
            raise ProtocolError("the workflow is not in the API's format: a node has no inputs")
        nodes = cast("dict[str, Node]", content)
        if unknown := [role for role in named if role not in ROLES]:
            raise ProtocolError(f"--node {unknown[0]}: the roles are {', '.join(ROLES)}")
        if missing := [node for node in named.values() if node not in nodes]:
            raise ProtocolError(f"the workflow has no node {missing[0]!r}: see the numbers in the file")
        roles: dict[str, str] = dict(named)
        if "output" not in roles:
            saving = [key for key, node in nodes.items() if node.get("class_type") in _OUTPUTS]
            showing = [key for key, node in nodes.items() if node.get("class_type") == _PREVIEW]
            roles["output"] = _only("output", saving or showing)
        nodes = _behind(nodes, roles["output"])
        if idle := [node for node in named.values() if node not in nodes]:
            raise ProtocolError(
                f"nothing leads from node {idle[0]} to the output, node {roles['output']}: name another"
            )
        rules: tuple[tuple[str, Callable[[Node], bool]], ...] = (
            ("lora", lambda node: "lora_name" in node["inputs"]),
            ("seed", lambda node: _seed_of(node) is not None),
            ("size", lambda node: {"width", "height", "batch_size"} <= node["inputs"].keys()),
        )
        for role, rule in rules:
            if role not in roles:
                roles[role] = _only(role, [key for key, node in nodes.items() if rule(node)])
        if "prompt" not in roles:
            roles["prompt"] = _prompt_node(nodes, roles["seed"])
        _check(nodes, roles)
        return cls(nodes, roles)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        inputs = self._nodes[self.roles["size"]]["inputs"]
        return int(inputs["width"]), int(inputs["height"])

    @property
    def loader(self) -> str:
        """The type of the node that loads LoRAs."""
        return str(self._nodes[self.roles["lora"]]["class_type"])

    @property
    def models(self) -> tuple[str, ...]:
        """The files of models that its nodes name, except for the LoRA that is varied."""
        loader = self._nodes[self.roles["lora"]]
        values = (
            value
            for node in self._nodes.values()
            for name, value in node["inputs"].items()
            if not (node is loader and name == "lora_name")
        )
        names = (value for value in values if isinstance(value, str) and value.lower().endswith(_MODELS))
        return tuple(dict.fromkeys(names))

    def digest(self, version: str, hashes: Mapping[str, str] | None = None) -> str:
        """A digest of all that is not varied: nodes, links, settings, models, and the server's version.

        Args:
            version: of the server.
            hashes: the SHA-256 of models by their names; of others the names count.
        """
        nodes: dict[str, Any] = {
            key: {"type": node.get("class_type"), "inputs": dict(node["inputs"])} for key, node in self._nodes.items()
        }
        for name in ("lora_name", *_STRENGTHS):
            nodes[self.roles["lora"]]["inputs"].pop(name, None)
        seed = nodes[self.roles["seed"]]["inputs"]
        for name in ("seed", "noise_seed", "control_after_generate"):
            seed.pop(name, None)
        text = nodes[self.roles["prompt"]]["inputs"]
        text |= {name: text[name] if PLACE in text[name] else "" for name in _texts_of(text)}
        del nodes[self.roles["output"]]
        known = hashes or {}
        for inputs in (node["inputs"] for node in nodes.values()):
            named = {name: value for name, value in inputs.items() if isinstance(value, str)}
            inputs |= {name: known[value] for name, value in named.items() if value in known}
        return hashlib.sha256(json.dumps([nodes, version], sort_keys=True).encode()).hexdigest()

    def filled(self, fill: Fill, output: str = _PREVIEW) -> dict[str, Node]:
        """The workflow for one picture. It is shown, not saved: the output folder is the person's.

        Args:
            fill: what the picture is made from.
            output: the type of the node that takes the picture.
        """
        nodes = copy.deepcopy(self._nodes)
        seed = nodes[self.roles["seed"]]
        seed["inputs"][_seed_of(seed)] = fill.seed % 2**64
        text = nodes[self.roles["prompt"]]["inputs"]
        for name in _texts_of(text):
            text[name] = text[name].replace(PLACE, fill.prompt) if PLACE in text[name] else fill.prompt
        nodes[self.roles["size"]]["inputs"]["batch_size"] = 1
        images = nodes[self.roles["output"]]["inputs"]["images"]
        nodes[self.roles["output"]] = {"class_type": output, "inputs": {"images": images}}
        loader = self.roles["lora"]
        if fill.lora:
            inputs = nodes[loader]["inputs"]
            inputs["lora_name"] = fill.lora
            inputs |= {name: fill.strength for name in _STRENGTHS if name in inputs}
            return nodes
        bypassed = nodes.pop(loader)["inputs"]
        for node in nodes.values():
            for name, value in node["inputs"].items():
                if _is_link(value) and value[0] == loader:
                    node["inputs"][name] = bypassed[("model", "clip")[value[1]]]
        return nodes


def _behind(nodes: Mapping[str, Node], output: str) -> dict[str, Node]:
    """The nodes that an output needs, itself with them: others would run, too, and might save files."""
    needed, waiting = {output}, [output]
    while waiting:
        links = [value[0] for value in nodes[waiting.pop()]["inputs"].values() if _is_link(value)]
        new = {key for key in links if key in nodes} - needed
        needed |= new
        waiting += new
    return {key: node for key, node in nodes.items() if key in needed}


def _check(nodes: Mapping[str, Node], roles: Mapping[str, str]) -> None:
    """Refuse roles that their nodes cannot play."""
    inputs = {role: nodes[key]["inputs"] for role, key in roles.items()}
    plays = {
        "prompt": ("has no text of its own", bool(_texts_of(inputs["prompt"]))),
        "seed": ("has no seed of its own", _seed_of(nodes[roles["seed"]]) is not None),
        "lora": ("loads no LoRA into a model", _is_link(inputs["lora"].get("model"))),
        "output": ("shows no images", _is_link(inputs["output"].get("images"))),
        "size": (
            "has no width and height of its own",
            all(isinstance(inputs["size"].get(name), int) for name in ("width", "height")),
        ),
    }
    for role, (problem, well) in plays.items():
        if not well:
            raise ProtocolError(f"node {roles[role]} {problem}: name another with --node {role}=ID")


def _only(role: str, found: list[str]) -> str:
    if len(found) == 1:
        return found[0]
    problem = f"has {len(found)} nodes that may be {role} ({', '.join(found)})" if found else f"has no node for {role}"
    if role == "size" and not found:
        problem += " (with width, height and batch_size, so that it draws from nothing)"
    raise ProtocolError(f"the workflow {problem}: name it with --node {role}=ID")


def _prompt_node(nodes: Mapping[str, Node], start: str) -> str:
    """The text that the sampler of a seed gets as its positive prompt."""
    seeds = [
        start,
        *(key for key, node in nodes.items() if any(name in node["inputs"] for name in ("positive", "guider"))),
    ]
    found = {text for key in seeds if (text := _text_behind(nodes, key, frozenset()))}
    return _only("prompt", sorted(found))


def _text_behind(nodes: Mapping[str, Node], key: str, met: frozenset[str]) -> str:
    node = nodes.get(key)
    if node is None or key in met:
        return ""
    links = [node["inputs"][name] for name in _ON_THE_WAY if _is_link(node["inputs"].get(name))]
    behind = next((found for link in links if (found := _text_behind(nodes, link[0], met | {key}))), "")
    return behind or (key if _texts_of(node["inputs"]) else "")


def _texts_of(inputs: Mapping[str, Any]) -> list[str]:
    """The inputs of a node that hold a text to encode."""
    return [name for name in _TEXTS if isinstance(inputs.get(name), str)]


def _seed_of(node: Node) -> str | None:
    return next((name for name in ("seed", "noise_seed") if isinstance(node["inputs"].get(name), int)), None)


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(cast("list[Any]", value)) == 2 and isinstance(value[0], str)
