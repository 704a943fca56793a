"""What each family takes of a device's memory under every plan: ``python -m benchmarks.memory``.

Models are built without their weights, at the sizes that their makers publish. Peaks are estimates (see
`lorascope.generators.memory`); nothing was measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ChromaTransformer2DModel,
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
)

from lorascope.generators import float8
from lorascope.generators.memory import block_size, memory_plan, size
from lorascope.protocol import Preset

LIMITS = (8, 12, 16, 24, 48)
"""Gigabytes of devices that people have."""


def clip(width: int, layers: int) -> Any:
    """CLIP's text tower: ViT-L's or bigG's."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
            num_attention_heads=width // 64, projection_dim=width,
        )
    )  # fmt: skip


def t5() -> Any:
    """T5 v1.1 XXL's encoder."""
    return T5EncoderModel(
        T5Config(
            vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
            feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False,
        )
    )  # fmt: skip


def qwen3() -> Any:
    """Qwen3 4B."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=151936, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32,
            num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
        )
    )  # fmt: skip


def qwen_vl() -> Any:
    """Qwen2.5-VL 7B."""
    text = {
        "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4,
    }  # fmt: skip
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))


def vae() -> Any:
    """The autoencoder of FLUX.1, SD 3.5, Z-Image and Chroma."""
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), latent_channels=16, layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip


def sd3(layers: int, heads: int, positions: int, dual: int) -> Any:
    """SD 3.5's transformer."""
    return SD3Transformer2DModel(
        num_layers=layers, num_attention_heads=heads, attention_head_dim=64, caption_projection_dim=64 * heads,
        pos_embed_max_size=positions, dual_attention_layers=tuple(range(dual)), qk_norm="rms_norm",
    )  # fmt: skip


MODELS: dict[str, Callable[[], tuple[Any, Any, list[Any]]]] = {
    "flux-dev": lambda: (FluxTransformer2DModel(guidance_embeds=True), vae(), [clip(768, 12), t5()]),
    "flux-schnell": lambda: (FluxTransformer2DModel(), vae(), [clip(768, 12), t5()]),
    "flux2-klein": lambda: (
        Flux2Transformer2DModel(
            num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=7680, guidance_embeds=False
        ),
        AutoencoderKLFlux2(),
        [qwen3()],
    ),
    "sd35-medium": lambda: (sd3(24, 24, 384, 13), vae(), [clip(768, 12), clip(1280, 32), t5()]),
    "sd35-large": lambda: (sd3(38, 38, 192, 0), vae(), [clip(768, 12), clip(1280, 32), t5()]),
    "z-image-turbo": lambda: (ZImageTransformer2DModel(), vae(), [qwen3()]),
    "qwen-image": lambda: (QwenImageTransformer2DModel(), AutoencoderKLQwenImage(), [qwen_vl()]),
    "chroma": lambda: (ChromaTransformer2DModel(), vae(), [t5()]),
}
"""Denoiser, autoencoder and text encoders of each preset."""


def main() -> None:
    """Print one line for each preset: the peak of every plan, and which plan a device gets."""
    print("| preset | denoiser | text encoders | none | parts | blocks |", *(f"{gb} GB |" for gb in LIMITS))
    print("|---|" + "---|" * (5 + len(LIMITS)))
    torch.set_default_dtype(torch.bfloat16)
    for (name, build), dtype in product(MODELS.items(), ("bfloat16", float8.NAME)):
        with torch.device("meta"):
            denoiser, autoencoder, encoders = build()
        if dtype == float8.NAME:
            denoiser.enable_layerwise_casting(storage_dtype=float8.DTYPE, compute_dtype=torch.bfloat16)
        preset = Preset.load(name)
        parts = {"denoiser": size(denoiser), "vae": size(autoencoder), "texts": sum(map(size, encoders))}
        options: dict[str, Any] = {
            "block": block_size(denoiser), "pixels": preset.width * preset.height, "batch": preset.batch
        }  # fmt: skip
        peaks = [memory_plan(parts, available=0, asked=plan, **options).peak for plan in ("none", "parts", "blocks")]
        chosen = [memory_plan(parts, available=gb * 1e9, **options) for gb in LIMITS]
        plans = [one.offload if one.peak <= gb * 1e9 else "no" for one, gb in zip(chosen, LIMITS, strict=True)]
        figures = [f"{value / 1e9:.1f}" for value in (parts["denoiser"], parts["texts"], *peaks)]
        label = name if dtype == "bfloat16" else f"{name}, {dtype}"
        print("|", " | ".join([label, *figures, *plans]), "|", flush=True)


if __name__ == "__main__":
    main()
