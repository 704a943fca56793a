"""Other names for the modules of a diffusers UNet and of CLIP's text tower.

The LDM/SGM code base numbers a UNet's blocks in one sequence (``input_blocks.4.1``), diffusers by level
(``down_blocks.1.attentions.0``). Which number is which depends on how many residual layers a level has and on
whether it has attention, so the table is counted out from the names that the resident model has.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

Rows = tuple[tuple[int, int], ...]
"""Ranges of rows, first and one past the last, of a fused weight; together they make one module's weight."""


class Slice(NamedTuple):
    """One module, and the rows of the alias' weight that are its own (None: all of them)."""

    module: str
    rows: Rows | None = None


_PLACE: Final = re.compile(
    r"((?:down|up)_blocks\.\d+|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\."
)

_RESNET: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

_ENDS: Final = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}

_OPENCLIP: Final = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}

_OLD_ATTENTION: Final = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


def sgm_names(modules: Iterable[str]) -> dict[str, str]:
    """Return the LDM/SGM name of every module of a diffusers UNet that has one."""
    listed = list(modules)
    blocks = _sgm_blocks({match.group(0)[:-1] for name in listed if (match := _PLACE.match(name))})
    names: dict[str, str] = {}
    for name in listed:
        if name in _ENDS:
            names[name] = _ENDS[name]
        elif (match := _PLACE.match(name)) and (block := blocks.get(match.group(0)[:-1])):
            names[name] = f"{block}.{_inside(match.group(2), name[match.end() :])}"
    return names


def _inside(part: str, rest: str) -> str:
    if part == "resnets":
        return _RESNET.get(rest, rest)
    return "op" if part == "downsamplers" and rest == "conv" else rest


def _sgm_blocks(places: set[str]) -> dict[str, str]:
    """Count the blocks out: diffusers' prefix of each to its number in the one sequence."""
    blocks: dict[str, str] = {}
    number = 1  # input_blocks.0 is conv_in
    for prefix in _levels("down_blocks", places):
        for place, follower in _layers(prefix, places):
            blocks |= _pair(f"input_blocks.{number}", place, follower)
            number += 1
        if (sampler := f"{prefix}.downsamplers.0") in places:
            blocks[sampler] = f"input_blocks.{number}.0"
            number += 1
    middle = ("resnets.0", "attentions.0", "resnets.1")
    present = [f"mid_block.{name}" for name in middle if f"mid_block.{name}" in places]
    blocks |= {place: f"middle_block.{index}" for index, place in enumerate(present)}
    number = 0
    for prefix in _levels("up_blocks", places):
        for place, follower in _layers(prefix, places):
            blocks |= _pair(f"output_blocks.{number}", place, follower)
            number += 1
        if (sampler := f"{prefix}.upsamplers.0") in places:
            # the sampler closes its level's last block, after attention if there is any
            index = 2 if any(place.startswith(f"{prefix}.attentions.") for place in places) else 1
            blocks[sampler] = f"output_blocks.{number - 1}.{index}"
    return blocks


def _levels(side: str, places: set[str]) -> Iterator[str]:
    level = 0
    while f"{side}.{level}.resnets.0" in places:
        yield f"{side}.{level}"
        level += 1


def _layers(prefix: str, places: set[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each residual layer of a level with the attention that follows it, if one does."""
    layer = 0
    while (resnet := f"{prefix}.resnets.{layer}") in places:
        attention = f"{prefix}.attentions.{layer}"
        yield resnet, attention if attention in places else None
        layer += 1


def _pair(block: str, first: str, second: str | None) -> dict[str, str]:
    return {first: f"{block}.0"} | ({second: f"{block}.1"} if second else {})


def unet_aliases(modules: Iterable[str]) -> Iterator[tuple[str, tuple[Slice, ...]]]:
    """Yield every other dotted name of a UNet's modules: SGM's, and those of diffusers before peft."""
    listed = list(modules)
    for module, name in sgm_names(listed).items():
        yield name, (Slice(module),)
    for module in listed:
        attention, _, layer = module.rpartition(".to_")
        if attention:
            yield f"{attention}.processor.to_{layer.removesuffix('.0')}", (Slice(module),)
            if layer == "out.0":
                yield f"{attention}.to_out", (Slice(module),)


def text_aliases(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, tuple[Slice, ...]]]:
    """Yield every other dotted name of a CLIP text tower's modules.

    ``text_model.`` stands before them or not, depending on the class and its version; OpenCLIP's names join
    q, k and v in one ``in_proj``.
    """
    for module, shape in shapes.items():
        local = module.removeprefix("text_model.")
        for base in (local, f"text_model.{local}"):
            if base != module:
                yield base, (Slice(module),)
            head, _, last = base.rpartition(".")
            if last in _OLD_ATTENTION and head.endswith("self_attn"):
                yield f"{head}.{_OLD_ATTENTION[last]}", (Slice(module),)
        if match := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", local):
            block, rest = f"transformer.resblocks.{match.group(1)}", match.group(2)
            if rest in _OPENCLIP:
                yield f"{block}.{_OPENCLIP[rest]}", (Slice(module),)
            elif rest == "self_attn.q_proj":
                trio = tuple(module.replace("q_proj", f"{letter}_proj") for letter in "qkv")
                yield f"{block}.attn.in_proj", stack(trio, [shape[0]] * 3)


def stack(modules: Iterable[str], heights: Iterable[int]) -> tuple[Slice, ...]:
    """Return the slices of a fused weight in which ``modules`` lie one below the other."""
    slices: list[Slice] = []
    top = 0
    for module, height in zip(modules, heights, strict=True):
        slices.append(Slice(module, ((top, top + height),)))
        top += height
    return tuple(slices)
