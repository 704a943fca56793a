"""The names that the authors' own code of FLUX, SD 3 and Z-Image gives to the modules of diffusers' transformers.

Their checkpoints join q, k and v (and, in FLUX's single blocks, the first half of the feed-forward) in one
weight; diffusers keeps them apart. An adapter of the joined weight acts on each part through its own rows.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from lorascope.adapters.layouts import Slice, stack

Shapes = Mapping[str, tuple[int, ...]]
"""Dotted module name to the shape of its weight."""

Aliases = Iterator[tuple[str, tuple[Slice, ...]]]

_ATTENTION: Final = ("attn.to_q", "attn.to_k", "attn.to_v")
_ADDED: Final = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
_SECOND: Final = ("attn2.to_q", "attn2.to_k", "attn2.to_v")

_FLUX_DOUBLE: Final[Mapping[str, tuple[str, ...]]] = {
    "img_attn.qkv": _ATTENTION,
    "txt_attn.qkv": _ADDED,
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "processor.qkv_lora1": _ATTENTION,
    "processor.qkv_lora2": _ADDED,
    "processor.proj_lora1": ("attn.to_out.0",),
    "processor.proj_lora2": ("attn.to_add_out",),
}
_FLUX_SINGLE: Final[Mapping[str, tuple[str, ...]]] = {
    "linear1": (*_ATTENTION, "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
    "processor.qkv": _ATTENTION,
    "processor.proj": ("proj_out",),
}
"""``processor`` is in XLabs' names: its LoRA stands beside the weight that the authors' code calls qkv or proj."""
_FLUX_ENDS: Final = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}
_FLUX2_DOUBLE: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: modules for name, modules in _FLUX_DOUBLE.items() if name.startswith(("img_attn", "txt_attn"))},
    "img_mlp.0": ("ff.linear_in",),
    "img_mlp.2": ("ff.linear_out",),
    "txt_mlp.0": ("ff_context.linear_in",),
    "txt_mlp.2": ("ff_context.linear_out",),
}
_FLUX2_SINGLE: Final[Mapping[str, tuple[str, ...]]] = {
    "linear1": ("attn.to_qkv_mlp_proj",),
    "linear2": ("attn.to_out",),
}
_FLUX2_ENDS: Final = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
    "single_stream_modulation.lin": "single_stream_modulation.linear",
    "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
    "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
    "final_layer.linear": "proj_out",
}
_NEXT_DIT: Final[Mapping[str, tuple[str, ...]]] = {
    "attention.qkv": ("attention.to_q", "attention.to_k", "attention.to_v"),
    "attention.out": ("attention.to_out.0",),
    "attention.q_norm": ("attention.norm_q",),
    "attention.k_norm": ("attention.norm_k",),
}
"""Z-Image in its authors' names; the rest of its modules is called the same in diffusers."""
_NEXT_DIT_ENDS: Final = {
    "x_embedder": "all_x_embedder.2-1",
    "final_layer.linear": "all_final_layer.2-1.linear",
    "final_layer.adaLN_modulation.1": "all_final_layer.2-1.adaLN_modulation.1",
}
_CHROMA_GUIDANCE: Final = "distilled_guidance_layer.layers"
_CHROMA_LAYER: Final[Mapping[str, tuple[str, ...]]] = {"in_layer": ("linear_1",), "out_layer": ("linear_2",)}
_NEXT_DIT_BLOCKS: Final = ("layers", "noise_refiner", "context_refiner")
_SD3_BLOCK: Final[Mapping[str, tuple[str, ...]]] = {
    "x_block.attn.qkv": _ATTENTION,
    "context_block.attn.qkv": _ADDED,
    "x_block.attn2.qkv": _SECOND,
    "x_block.attn.proj": ("attn.to_out.0",),
    "x_block.attn2.proj": ("attn2.to_out.0",),
    "context_block.attn.proj": ("attn.to_add_out",),
    "x_block.mlp.fc1": ("ff.net.0.proj",),
    "x_block.mlp.fc2": ("ff.net.2",),
    "context_block.mlp.fc1": ("ff_context.net.0.proj",),
    "context_block.mlp.fc2": ("ff_context.net.2",),
    "x_block.adaLN_modulation.1": ("norm1.linear",),
}
_SD3_ENDS: Final = {
    "x_embedder.proj": "pos_embed.proj",
    "context_embedder": "context_embedder",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
}


def transformer_aliases(shapes: Shapes) -> Aliases:
    """Yield the original names of a transformer's modules, with the rows that each one owns."""
    single = _numbers("single_transformer_blocks", shapes)
    double = _numbers("transformer_blocks", shapes)
    if "double_stream_modulation_img.linear" in shapes:
        yield from _blocks("double_blocks", "transformer_blocks", double, _FLUX2_DOUBLE, shapes)
        yield from _blocks("single_blocks", "single_transformer_blocks", single, _FLUX2_SINGLE, shapes)
        yield from _ends(_FLUX2_ENDS, shapes)
    elif single:
        yield from _blocks("double_blocks", "transformer_blocks", double, _FLUX_DOUBLE, shapes)
        yield from _blocks("single_blocks", "single_transformer_blocks", single, _FLUX_SINGLE, shapes)
        yield from _ends(_FLUX_ENDS, shapes)
        layers = _numbers(_CHROMA_GUIDANCE, shapes)
        yield from _blocks(_CHROMA_GUIDANCE, _CHROMA_GUIDANCE, layers, _CHROMA_LAYER, shapes)
    elif any(".add_k_proj" in module for module in shapes):
        yield from _blocks("joint_blocks", "transformer_blocks", double, _SD3_BLOCK, shapes)
        yield from _ends(_SD3_ENDS, shapes)
        yield from _context_modulation(double, shapes)
    for blocks in _NEXT_DIT_BLOCKS:
        yield from _blocks(blocks, blocks, _numbers(blocks, shapes), _NEXT_DIT, shapes)
    yield from _ends(_NEXT_DIT_ENDS, shapes)
    yield from _fused_projections(shapes)
    if "norm_out.linear" in shapes:
        yield "final_layer.adaLN_modulation.1", (_swapped("norm_out.linear", shapes),)


def _fused_projections(shapes: Shapes) -> Aliases:
    """Yield what diffusers itself calls the projections of an attention after ``fuse_qkv_projections``."""
    for module in shapes:
        for first, joined in ((".to_q", ".to_qkv"), (".add_q_proj", ".to_added_qkv")):
            trio = [module.removesuffix(first) + first.replace("q", letter) for letter in "qkv"]
            if module.endswith(first) and all(one in shapes for one in trio):
                yield module.removesuffix(first) + joined, _joined(trio, shapes)


def _numbers(side: str, shapes: Shapes) -> list[int]:
    pattern = re.compile(rf"{side}\.(\d+)\.")
    return sorted({int(match.group(1)) for module in shapes if (match := pattern.match(module))})


def _blocks(
    theirs: str, ours: str, numbers: list[int], table: Mapping[str, tuple[str, ...]], shapes: Shapes
) -> Aliases:
    for number in numbers:
        for name, parts in table.items():
            modules = [f"{ours}.{number}.{part}" for part in parts]
            if all(module in shapes for module in modules):
                yield f"{theirs}.{number}.{name}", _joined(modules, shapes)


def _joined(modules: list[str], shapes: Shapes) -> tuple[Slice, ...]:
    if len(modules) == 1:
        return (Slice(modules[0]),)
    return stack(modules, [shapes[module][0] for module in modules])


def _ends(table: Mapping[str, str], shapes: Shapes) -> Aliases:
    for name, module in table.items():
        if module in shapes:
            yield name, (Slice(module),)


def _context_modulation(numbers: list[int], shapes: Shapes) -> Aliases:
    """Yield SD 3's text modulation; the last block has shift and scale only, in the other order."""
    for number in numbers:
        module = f"transformer_blocks.{number}.norm1_context.linear"
        if module in shapes:
            last = number == numbers[-1]
            yield (
                f"joint_blocks.{number}.context_block.adaLN_modulation.1",
                (_swapped(module, shapes) if last else Slice(module),),
            )


def _swapped(module: str, shapes: Shapes) -> Slice:
    """Return the slice that swaps the halves: the authors keep (shift, scale), diffusers (scale, shift)."""
    height = shapes[module][0]
    return Slice(module, ((height // 2, height), (0, height // 2)))
