"""The signs by which the architectures are known: names of modules, and the widths that their weights have.

They were taken from the models' own code, from the classes of diffusers, and from files that trainers write.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Final


@dataclass(frozen=True, slots=True)
class Mark:
    """Modules that an architecture has.

    Attributes:
        name: A regular expression for the whole name, without the prefix of its format and with underscores for dots.
            ``#`` stands for the number of a block. Names in a text encoder begin with "te_", "te1_", "te2_" or "te3_".
        inputs: The widths that such a module may read; empty if the name is enough.
        rows: The widths that it may write; empty if any.
        blocks: How many such blocks there are, or 0 if it does not matter.
    """

    name: str
    inputs: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    blocks: int = 0

    def matches(self, flat: str) -> re.Match[str] | None:
        """Match a module's flat name, whatever its shape."""
        return _pattern(self.name).fullmatch(flat)

    def fits(self, inputs: int | None, rows: int | None, block: int | None) -> bool:
        """Tell whether the shape of a module, as far as it is known, and the number of its block are possible."""
        wide = not self.inputs or inputs is None or inputs in self.inputs
        high = not self.rows or rows is None or rows in self.rows
        return wide and high and (not self.blocks or block is None or block < self.blocks)


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(name.replace("#", r"(\d+)"))


def marks(inputs: tuple[int, ...], *names: str, blocks: int = 0, rows: tuple[int, ...] = ()) -> tuple[Mark, ...]:
    """Return a mark for each name, all with the same widths and number of blocks."""
    return tuple(Mark(name, inputs, rows, blocks) for name in names)


# --- U-Nets -----------------------------------------------------------------------------------------------

UNET: Final = r"(?:down_blocks|up_blocks|mid_block|input_blocks|middle_block|output_blocks)_.*"
CROSS: Final = UNET + r"attn2_(?:processor_)?to_[kv]"
_ATTN1: Final = r"transformer_blocks_{}_attn1_(?:processor_)?to_(?:[qkv]|out_0|out)"


def _self_attention(width: int, depth: str, *places: str) -> tuple[Mark, ...]:
    return marks((width,), *(f"{place}_{_ATTN1.format(depth)}" for place in places))


SD_UNET: Final = (
    *_self_attention(320, "0", r"down_blocks_0_attentions_\d", r"up_blocks_3_attentions_\d"),
    *_self_attention(320, "0", r"input_blocks_[12]_1", r"output_blocks_(?:9|10|11)_1"),
    *_self_attention(640, "0", r"down_blocks_1_attentions_\d", r"up_blocks_2_attentions_\d"),
    *_self_attention(640, "0", r"input_blocks_[45]_1", r"output_blocks_[678]_1"),
    *_self_attention(1280, "0", r"down_blocks_2_attentions_\d", r"up_blocks_1_attentions_\d"),
    *_self_attention(
        1280, "0", r"input_blocks_[78]_1", r"output_blocks_[345]_1", r"middle_block_1", "mid_block_attentions_0"
    ),
)
SDXL_UNET: Final = (
    *marks((2048,), CROSS),
    *_self_attention(640, "[01]", r"down_blocks_1_attentions_\d", r"up_blocks_1_attentions_\d"),
    *_self_attention(640, "[01]", r"input_blocks_[45]_1", r"output_blocks_[345]_1"),
    *_self_attention(1280, r"\d", r"down_blocks_2_attentions_\d", r"up_blocks_0_attentions_\d"),
    *_self_attention(
        1280, r"\d", r"input_blocks_[78]_1", r"output_blocks_[012]_1", r"middle_block_1", "mid_block_attentions_0"
    ),
)
CLIP_Q: Final = r"te_(?:text_model_|transformer_|wrapped_transformer_text_model_).*(?:q_proj|k_proj|v_proj|out_proj)"

# --- transformers -----------------------------------------------------------------------------------------

JOINT: Final = r"transformer_blocks_#_attn_(?:to_[qkv]|to_out_0|add_[qkv]_proj|to_add_out)"
"""diffusers' names of joint attention over an image and a text, which many architectures share."""
SINGLE: Final = r"single_transformer_blocks_#_attn_to_[qkv]"
STREAMS: Final = r"double_blocks_#_(?:img|txt)_attn_(?:qkv|proj)"
"""The names of the FLUX authors, which their successors share."""
CROSS_BLOCKS: Final = r"transformer_blocks_#_attn[12]_(?:to_[qkv]|to_out_0)"
_FLUX_WIDTH: Final = 3072


def flux_like(double: int, single: int) -> tuple[Mark, ...]:
    """Return what FLUX.1 shares with the models that were made from it, by the numbers of their blocks."""
    width = (_FLUX_WIDTH,)
    return (
        *marks(width, JOINT, STREAMS, r"transformer_blocks_#_ff(?:_context)?_net_0_proj", blocks=double),
        *marks(width, r"double_blocks_#_(?:img|txt)_mlp_0", blocks=double, rows=(12288,)),
        *marks(
            (12288,), r"transformer_blocks_#_ff(?:_context)?_net_2", r"double_blocks_#_(?:img|txt)_mlp_2", blocks=double
        ),
        *marks(width, SINGLE, r"single_transformer_blocks_#_proj_mlp", blocks=single),
        *marks(width, r"single_blocks_#_linear1", blocks=single, rows=(21504,)),
        *marks((15360,), r"single_transformer_blocks_#_proj_out", r"single_blocks_#_linear2", blocks=single),
    )


def flux_modulation(double: int, single: int) -> tuple[Mark, ...]:
    """Return the modulation of each block, which Chroma and FLUX.2 do not have, and XLabs' names."""
    width = (_FLUX_WIDTH,)
    return (
        *marks(
            width,
            r"transformer_blocks_#_norm1(?:_context)?_linear",
            r"double_blocks_#_(?:img|txt)_mod_lin",
            blocks=double,
        ),
        *marks(width, r"single_transformer_blocks_#_norm_linear", r"single_blocks_#_modulation_lin", blocks=single),
        *marks((), r"double_blocks_#_processor_(?:qkv|proj)_lora[12]", r"single_blocks_#_processor_(?:qkv|proj)"),
    )


def _flux2(width: int, double: int, single: int) -> tuple[Mark, ...]:
    feed = 3 * width
    return (
        *marks((width,), JOINT, STREAMS, r"transformer_blocks_#_ff(?:_context)?_linear_in", blocks=double),
        *marks((width,), r"double_blocks_#_(?:img|txt)_mlp_0", blocks=double, rows=(2 * feed,)),
        *marks(
            (feed,),
            r"transformer_blocks_#_ff(?:_context)?_linear_out",
            r"double_blocks_#_(?:img|txt)_mlp_2",
            blocks=double,
        ),
        *marks(
            (width,),
            r"single_transformer_blocks_#_attn_to_qkv_mlp_proj",
            r"single_blocks_#_linear1",
            blocks=single,
            rows=(3 * width + 2 * feed,),
        ),
        *marks((width + feed,), r"single_transformer_blocks_#_attn_to_out", r"single_blocks_#_linear2", blocks=single),
        *marks((width,), r"(?:double|single)_stream_modulation_(?:img_|txt_)?lin(?:ear)?"),
    )


FLUX2_DEV, FLUX2_KLEIN_9B, FLUX2_KLEIN_4B = _flux2(6144, 8, 48), _flux2(4096, 8, 24), _flux2(3072, 5, 20)


def next_dit(width: int, blocks: int) -> tuple[Mark, ...]:
    """Lumina 2 and what was made from it: its authors' names, and diffusers'."""
    return (
        *marks(
            (width,), r"layers_#_attention_(?:qkv|out|to_[qkv]|to_out_0)", r"layers_#_feed_forward_w[13]", blocks=blocks
        ),
        *marks((width,), r"layers_#_attn_(?:to_[qkv]|to_out_0)", r"layers_#_feed_forward_linear_[13]", blocks=blocks),
        *marks((width,), r"(?:noise|context)_refiner_#_(?:attention|attn)_(?:qkv|out|to_[qkv]|to_out_0)"),
    )


_WAN_NAMES: Final = (
    r"blocks_#_(?:self|cross)_attn_(?:[qkvo]|k_img|v_img)",
    r"blocks_#_attn[12]_(?:to_[qkv]|to_out_0|add_[kv]_proj)",
    r"blocks_#_ffn_(?:0|net_0_proj)",
)


def _wan(width: int, blocks: int) -> tuple[Mark, ...]:
    return marks((width,), *_WAN_NAMES, blocks=blocks)


WAN_1B, WAN_5B, WAN_14B = _wan(1536, 30), _wan(3072, 30), _wan(5120, 40)
COSMOS: Final = (
    *marks((1024, 2048), r"blocks_#_(?:self|cross)_attn_(?:[qkv]_proj|output_proj)", blocks=28),
    *marks((2048,), r"blocks_#_mlp_layer1", blocks=28),
    *marks((2048, 256), r"blocks_#_adaln_modulation_(?:self_attn|cross_attn|mlp)_[12]", blocks=28),
    *marks(
        (2048,),
        r"transformer_blocks_#_attn1_(?:to_[qkv]|to_out_0)",
        r"transformer_blocks_#_attn2_to_(?:q|out_0)",
        blocks=28,
    ),
    *marks((1024,), r"transformer_blocks_#_attn2_to_[kv]", blocks=28),
)
