"""The pipelines of newer families at tiny size, with random weights: real classes of diffusers, saved to a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny import _letter_tokenizer, _stirred, _text_config, tiny_tokenizer

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def _vae(channels: int = 4) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8), latent_channels=channels, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, layers_per_block=1, sample_size=32,
        use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5,
    )  # fmt: skip


def _scheduler(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, **options)


def _t5(width: int = 48) -> tuple[Any, Any]:
    """A T5 encoder and its tokenizer of single letters."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -1.0)]
    tokenizer = T5Tokenizer(
        vocab=[*special, *((chr(code), -1.0) for code in range(33, 127))], extra_ids=0, model_max_length=512
    )
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2, use_cache=False,
        is_encoder_decoder=False,
    )  # fmt: skip
    return T5EncoderModel(config), tokenizer


def _clips(folder: Path, *widths: int) -> tuple[list[Any], Any]:
    """CLIP text encoders, all but the first with a projection, and their tokenizer."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(tiny_tokenizer(folder / "letters"))
    return [
        (CLIPTextModelWithProjection if len(widths) > 1 else CLIPTextModel)(_text_config(width, projection=width))
        for width in widths
    ], tokenizer


def _qwen3(layers: int) -> tuple[Any, Any]:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = _letter_tokenizer(_MARKS, pad_token="<unk>", eos_token="<unk>", chat_template=_TEMPLATE)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=layers, head_dim=8,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512,
    )  # fmt: skip
    return _stirred(Qwen3ForCausalLM(config)), tokenizer


def flux(folder: Path, *, guidance_embeds: bool = True) -> Any:
    """FLUX.1: dev with embedded guidance, schnell without."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    (clip,), tokenizer = _clips(folder, 16)
    t5, letters = _t5()
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, pooled_projection_dim=16, guidance_embeds=guidance_embeds, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    return FluxPipeline(_scheduler(), _vae(), clip, tokenizer, t5, letters, transformer)


def schnell(folder: Path) -> Any:
    """FLUX.1 schnell."""
    return flux(folder, guidance_embeds=False)


def chroma(folder: Path) -> Any:
    """Chroma, whose guidance is a true one."""
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    t5, letters = _t5()
    transformer = ChromaTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, axes_dims_rope=(4, 6, 6), approximator_num_channels=16, approximator_hidden_dim=16,
        approximator_layers=1,
    )  # fmt: skip
    return ChromaPipeline(_scheduler(), _vae(), t5, letters, transformer)


def flux2(folder: Path) -> Any:
    """FLUX.2 klein."""
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel

    qwen, letters = _qwen3(28)  # it reads the layers 9, 18 and 27
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False,
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8), latent_channels=4, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, layers_per_block=1, sample_size=32,
    )  # fmt: skip
    return Flux2KleinPipeline(_scheduler(), vae, qwen, letters, transformer, is_distilled=False)


def sd3(folder: Path) -> Any:
    """SD 3.5 medium, with its second attention in the first block."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    (small, large), tokenizer = _clips(folder, 16, 24)
    t5, letters = _t5()
    transformer = SD3Transformer2DModel(
        sample_size=32, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=48, caption_projection_dim=32, pooled_projection_dim=40, pos_embed_max_size=32,
        dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer, scheduler=_scheduler(), vae=_vae(), text_encoder=small, tokenizer=tokenizer,
        text_encoder_2=large, tokenizer_2=tokenizer, text_encoder_3=t5, tokenizer_3=letters,
    )  # fmt: skip


def z_image(folder: Path) -> Any:
    """Z-Image."""
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    qwen, letters = _qwen3(2)
    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        axes_dims=[4, 6, 6], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    return ZImagePipeline(_scheduler(), _vae(), qwen, letters, transformer)


def qwen_image(folder: Path) -> Any:
    """Qwen-Image."""
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = _letter_tokenizer(_MARKS, pad_token="<unk>", eos_token="<unk>")
    sides = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 2}
    text = sides | {
        "hidden_size": 16, "intermediate_size": 16, "vocab_size": len(tokenizer),
        "rope_parameters": {"type": "default", "rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4},
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    encoder = _stirred(Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)))
    transformer = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    return QwenImagePipeline(_scheduler(), vae, encoder, tokenizer, transformer)


PIPELINES: dict[str, Callable[[Path], Any]] = {
    "flux": flux, "schnell": schnell, "chroma": chroma, "flux2": flux2, "sd3": sd3, "z-image": z_image,
    "qwen-image": qwen_image,
}  # fmt: skip


def tiny_pipeline(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Save one of them, with weights large enough to tell inputs apart."""
    torch.manual_seed(seed)
    pipe = PIPELINES[name](folder)
    _stirred(pipe.transformer)
    pipe.save_pretrained(folder)
    return folder
