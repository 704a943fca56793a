"""From one module's tensors to the forms that change the base model's parameters."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from lorascope.adapters.forms import (
    Added,
    Addition,
    Decomposed,
    Difference,
    Form,
    Generalised,
    Hadamard,
    Kronecker,
    LessStart,
    LowRank,
    Rescaled,
    Tensors,
    Tucker,
    scaling,
)
from lorascope.adapters.kinds import Module, glora_is_turned, oft_size
from lorascope.adapters.names import Names, Target
from lorascope.adapters.rotations import Butterfly, InputsRotated, Rotated
from lorascope.adapters.settings import CONVERT, Settings
from lorascope.errors import MalformedAdapter

Key = tuple[str, str]
"""Component and parameter."""


@dataclass(frozen=True, slots=True)
class Build:
    """What is the same for every module of one adapter."""

    names: Names
    settings: Settings
    path: Path


def build(
    maker: Build, alias: str, parts: Tensors, module: Module, targets: tuple[Target, ...]
) -> tuple[dict[Key, Form], list[str]]:
    """Make the forms of one module.

    Returns:
        Parameter to form, and the parts that the base model has no parameter for.

    Raises:
        MalformedAdapter: If a bias, a magnitude or an IA3 vector does not have one value per channel.
    """
    forms: dict[Key, Form] = {}
    unused: list[str] = []
    factor = _factor(maker, parts, module, targets[0])
    addition = _less_start(maker, alias, _addition(parts, module, factor), parts, targets)
    for target in targets:
        weight = (target.component, f"{target.module}.weight")
        if addition is not None:
            forms[weight] = _weight_form(maker, alias, parts, addition, target)
        elif module.kind == "ia3":
            forms |= _ia3(maker, alias, parts, target)
        elif module.kind in {"oft", "boft"}:
            forms[weight] = _oft(maker, alias, parts, target)
    for part, scale in (("diff_b", 1.0), ("up_bias", factor)):
        if part in parts:
            made = _biases(maker, alias, parts[part], scale, targets)
            forms |= made
            unused += [] if made else [part]
    return forms, unused


def _factor(maker: Build, parts: Tensors, module: Module, target: Target) -> float:
    """Return what the addition is multiplied by: from the file's own alpha, or else from peft's config."""
    config = maker.settings.of(target.component)
    own = float(parts["alpha"]) if "alpha" in parts else None
    if own is not None:
        # LyCORIS stores an alpha that already holds the root of the rank, except for these two
        rooted = maker.settings.rooted
        if rooted and module.kind == "lokr" and module.rank is None:
            return abs(own) ** (1 / 3)  # it stores rank^1.5 and uses rank^0.5
        return scaling(own, module.rank, rooted and module.kind == "glora")
    # a LoKr of two whole factors has no rank of its own; peft still divides by the one in its config
    rank = module.rank if module.rank is not None or module.kind != "lokr" else config.rank_of(target.module)
    return scaling(config.alpha_of(target.module), rank, config.rank_stabilised)


def _addition(parts: Tensors, module: Module, factor: float) -> Addition | None:
    if module.kind == "loha":
        return Hadamard({part: tensor for part, tensor in parts.items() if part.startswith("hada_")}, factor)
    if module.kind == "lokr":
        return Kronecker({part: tensor for part, tensor in parts.items() if part.startswith("lokr_")}, factor)
    if module.kind == "glora":
        order = ("a2", "a1", "b2", "b1") if glora_is_turned(parts["a1"].shape, parts["a2"].shape) else _GLORA
        a1, a2, b1, b2 = (parts[part] for part in order)
        return Generalised(a1.flatten(1), a2.flatten(1), b1.flatten(1), b2, factor)
    if "diff" in parts:
        return Difference(parts["diff"])
    if "down" not in parts:
        return None
    if "mid" in parts:
        return Tucker(parts["down"], parts["mid"], parts["up"], factor)
    return LowRank(parts["down"], parts["up"], factor)


_GLORA: Final = ("a1", "a2", "b1", "b2")


def _less_start(
    maker: Build, alias: str, addition: Addition | None, parts: Tensors, targets: tuple[Target, ...]
) -> Addition | None:
    """Take out of an addition what its factors held of the base weight before training."""
    start = maker.settings.of(targets[0].component).start
    if not start or not isinstance(addition, LowRank):
        return addition
    shape = maker.names.shape(targets[0].component, f"{targets[0].module}.weight") or ()
    if len(shape) != 2 or targets[0].rows is not None or "magnitude" in parts or "dora" in parts:
        reason = f"module {alias!r} began as a part of the base weight ({start}), and not in a plain matrix"
        raise MalformedAdapter(maker.path, reason, CONVERT)
    return LessStart(addition, start)


def _weight_form(maker: Build, alias: str, parts: Tensors, addition: Addition, target: Target) -> Form:
    """Wrap an addition in DoRA's renormalisation if the module has magnitudes."""
    shape = maker.names.shape(target.component, f"{target.module}.weight") or ()
    if "magnitude" in parts:
        magnitude, by_input = parts["magnitude"], False
    elif "dora" in parts:
        magnitude = parts["dora"]
        by_input = _is_by_input(magnitude, shape, target)
    else:
        return Added(addition, target.rows)
    if len(shape) < 2:
        reason = f"module {alias!r} has magnitudes, but what it changes is no matrix"
        raise MalformedAdapter(maker.path, reason, "Export it again from its trainer")
    expected = math.prod(shape[1:2]) if by_input else _rows(target, shape)
    if magnitude.numel() < expected or (target.rows is None and magnitude.numel() != expected):
        raise _misfit(maker, alias, "magnitudes", magnitude, expected)
    if by_input and target.rows is not None:
        raise _fused(maker, alias, "normalises the inputs of")
    return Decomposed(addition, magnitude.reshape(-1), by_input, target.rows, linear="dora" in parts)


def _is_by_input(magnitude: Tensor, shape: tuple[int, ...], target: Target) -> bool:
    """Tell LyCORIS' two layouts apart: (out, 1, ...) for outputs, (1, in, ...) for inputs."""
    if magnitude.dim() < 2 or magnitude.shape[0] == _rows(target, shape) != 1:
        return False
    return len(shape) > 1 and magnitude.numel() == shape[1]


def _rows(target: Target, shape: tuple[int, ...]) -> int:
    return max(stop for _, stop in target.rows) if target.rows else shape[0]


def _biases(maker: Build, alias: str, bias: Tensor, factor: float, targets: Iterable[Target]) -> dict[Key, Form]:
    forms: dict[Key, Form] = {}
    for target in targets:
        key = (target.component, f"{target.module}.bias")
        if (shape := maker.names.shape(*key)) is None:
            continue
        if target.rows is None and bias.numel() != shape[0]:
            raise _misfit(maker, alias, "bias", bias, shape[0])
        if bias.numel() < _rows(target, shape):
            raise _misfit(maker, alias, "bias", bias, shape[0])
        forms[key] = Added(Difference(bias.reshape(-1), factor), target.rows)
    return forms


def _ia3(maker: Build, alias: str, parts: Tensors, target: Target) -> dict[Key, Form]:
    """Make IA3's forms: LyCORIS' ``weight``, or peft's ``ia3_l``, which scales an output's bias too."""
    key = (target.component, f"{target.module}.weight")
    shape = maker.names.shape(*key) or ()
    ours = parts.get("weight")
    vector = ours if ours is not None else parts["ia3_l"].float() - 1
    by_input = len(shape) > 1 and _ia3_by_input(maker, alias, parts, target, shape)
    rows = None if by_input else target.rows
    channels = math.prod(shape[1:2]) if by_input else _rows(target, shape)
    if vector.numel() < channels or (rows is None and vector.numel() != channels):
        raise _misfit(maker, alias, "IA3 vector", vector, channels)
    forms: dict[Key, Form] = {key: Rescaled(vector.reshape(-1), by_input, rows)}
    bias = (target.component, f"{target.module}.bias")
    if ours is None and not by_input and maker.names.shape(*bias) is not None:
        forms[bias] = Rescaled(vector.reshape(-1), by_input=False, rows=rows)
    return forms


def _ia3_by_input(
    maker: Build, alias: str, parts: Mapping[str, Tensor], target: Target, shape: tuple[int, ...]
) -> bool:
    if "on_input" in parts:
        return bool(parts["on_input"].float().any())
    stated = maker.settings.of(target.component).is_feedforward(target.module)
    if stated is not None:
        return stated
    vector = parts["ia3_l"]
    if vector.dim() == 2 and vector.shape[0] != vector.shape[1]:
        return vector.shape[0] == 1  # peft: (1, in) for feed-forward layers, (out, 1) for the others
    if vector.numel() == shape[0] == shape[1]:
        reason = f"module {alias!r} scales inputs or outputs, which only its config tells (feedforward_modules)"
        raise MalformedAdapter(maker.path, reason, "Put its adapter_config.json beside it")
    return vector.numel() == shape[1]


def _oft(maker: Build, alias: str, parts: Tensors, target: Target) -> Form:
    shape = maker.names.shape(target.component, f"{target.module}.weight") or ()
    if "oft_r" in parts:
        return _oft_of_inputs(maker, alias, parts, target, shape)
    blocks = parts["oft_blocks"]
    if target.rows is not None:
        raise _fused(maker, alias, "rotates the outputs of")
    if len(shape) < 2 or blocks.shape[-3] * blocks.shape[-1] != shape[0]:
        raise _misfit(maker, alias, "OFT blocks", blocks, shape[0] if shape else 0)
    rescale = parts.get("rescale")
    if rescale is not None and rescale.numel() != shape[0]:
        raise _misfit(maker, alias, "a rescale", rescale, shape[0])
    made = Rotated if blocks.dim() == 3 else Butterfly
    constraint = float(parts["alpha"]) if "alpha" in parts else 0.0
    return made(blocks, constraint, rescale if rescale is None else rescale.reshape(-1))


def _oft_of_inputs(maker: Build, alias: str, parts: Tensors, target: Target, shape: tuple[int, ...]) -> Form:
    values = parts["oft_r"]
    number, size = values.shape[0], oft_size(values.shape[1])
    if len(shape) != 2:
        reason = f"module {alias!r} is OFT of a convolution, which peft and OneTrainer rotate in different ways"
        raise MalformedAdapter(maker.path, reason, "Export it as LoRA")
    if shape[1] % size or number not in {1, shape[1] // size}:
        raise _misfit(maker, alias, "OFT blocks", values, shape[1])
    config = maker.settings.of(target.component)
    factor = 1 / math.sqrt(values.shape[1]) if "scaled_oft" in parts else 1.0
    return InputsRotated(values, size, config.oft_terms, factor, config.oft_bound / math.sqrt(number))


def _fused(maker: Build, alias: str, what: str) -> MalformedAdapter:
    reason = f"module {alias!r} {what} a fused weight, whose parts are separate here"
    return MalformedAdapter(maker.path, reason, "Export it for separate q, k and v")


def _misfit(maker: Build, alias: str, what: str, tensor: Tensor, expected: int) -> MalformedAdapter:
    shape = list(tensor.shape)
    reason = f"module {alias!r} has {what} of shape {shape}, but the base weight has {expected} channels"
    return MalformedAdapter(maker.path, reason, "Export it again, or use the base model it was made for")
