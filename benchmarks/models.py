"""Models of real size with random weights: they cost what trained ones cost, and nothing has to be fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lorascope.generators.base import Shapes
from lorascope.grid import PromptSet

_VOCABULARY = 49_408
_LENGTH = 77
_MERGED = 2500
"""About 1.2 tokens a word on the shipped prompts, as CLIP itself needs."""


def clip_vit_b32(folder: Path, *, seed: int = 0) -> Path:
    """A CLIPModel of the size of ViT-B/32, in the files that transformers writes.

    Its tokenizer is of CLIP's kind, learnt from the shipped prompts.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig

    texts = (*PromptSet.load("index").texts, *PromptSet.load("query").texts, *PromptSet.load("reference").texts)
    bos, eos = clip_tokenizer(folder, texts)
    torch.manual_seed(seed)
    text = CLIPTextConfig(bos_token_id=bos, eos_token_id=eos, pad_token_id=eos)
    model = CLIPModel(CLIPConfig(text_config=text.to_dict(), projection_dim=512))
    for parameter in model.parameters():  # the default initialisation is too small to tell texts apart
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.03)
    model.save_pretrained(folder)
    settings = {
        "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "size": {"shortest_edge": 224},
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        "do_normalize": True, "do_resize": True, "do_rescale": True, "do_convert_rgb": True, "resample": 3,
        "rescale_factor": 1 / 255, "image_processor_type": "CLIPImageProcessor",
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def clip_tokenizer(folder: Path, texts: Iterable[str]) -> tuple[int, int]:
    """A byte-pair encoding of CLIP's kind, learnt from some texts and saved; the same texts give the same tokenizer.

    Returns:
        The ids of begin- and end-of-text.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    words = (word for text in texts for word in re.findall("[a-z]+", text.lower()))
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # The trainer's own mark for the end of a word makes ties fall by chance, so a capital marks it here.
    learner.train_from_iterator(
        (word[:-1] + word[-1].upper() for word in words), trainers.BpeTrainer(vocab_size=_MERGED)
    )
    learnt = json.loads(learner.to_str())["model"]["merges"]
    merges = [(_ended(first), _ended(second)) for first, second in learnt]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*letters, *(f"{letter}</w>" for letter in letters), *(a + b for a, b in merges)]
    vocabulary = {symbol: place for place, symbol in enumerate(dict.fromkeys(symbols))}
    bos, eos = _VOCABULARY - 2, _VOCABULARY - 1
    vocabulary |= {"<|startoftext|>": bos, "<|endoftext|>": eos}
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=_LENGTH).save_pretrained(folder)
    return bos, eos


def _ended(symbol: str) -> str:
    return f"{symbol.lower()}</w>" if symbol[-1].isupper() else symbol


def sdxl_parts(device: str, *, small: bool = False) -> dict[str, Any]:
    """SDXL's UNet, VAE, text encoders and tiny decoder, and CLIP ViT-B/32, with random weights.

    Args:
        device: ``meta`` makes models without weights.
        small: the same layout at a sixteenth of the width, to try a benchmark out.
    """
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    scale = 16 if small else 1
    layers = 2 if small else 0
    torch.manual_seed(0)
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=128, in_channels=4, out_channels=4,
            block_out_channels=tuple(width // scale for width in (320, 640, 1280)),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), layers_per_block=2,
            attention_head_dim=(1, 2, 4) if small else (5, 10, 20), use_linear_projection=True,
            transformer_layers_per_block=(1, 1, 1) if small else (1, 2, 10),
            cross_attention_dim=2048 // scale, addition_embed_type="text_time",
            addition_time_embed_dim=256 // scale, projection_class_embeddings_input_dim=2816 // scale,
            norm_num_groups=4 if small else 32,
        )  # fmt: skip
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2,
            block_out_channels=tuple(w // scale for w in (128, 256, 512, 512)), latent_channels=4, force_upcast=False,
            norm_num_groups=4 if small else 32, sample_size=1024, scaling_factor=0.13025,
        )  # fmt: skip
        large = CLIPTextConfig(
            hidden_size=768 // scale, intermediate_size=3072 // scale, num_hidden_layers=layers or 12,
            num_attention_heads=3 if small else 12, projection_dim=768 // scale,
        )  # fmt: skip
        bigger = CLIPTextConfig(
            hidden_size=1280 // scale, intermediate_size=5120 // scale, num_hidden_layers=layers or 32,
            num_attention_heads=5 if small else 20, projection_dim=1280 // scale, hidden_act="gelu",
        )  # fmt: skip
        return {
            "unet": unet,
            "vae": vae,
            "tiny": AutoencoderTiny(),
            "text_encoder": CLIPTextModel(large),
            "text_encoder_2": CLIPTextModelWithProjection(bigger),
            "clip": CLIPModel(CLIPConfig(projection_dim=512)),
        }


def sdxl_pipeline(folder: Path, *, small: bool = False) -> Path:
    """An SDXL pipeline with random weights in float16, as diffusers saves it, and a tiny decoder under ``tiny``."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTokenizer

    parts = {name: part.to(torch.float16) for name, part in sdxl_parts("cpu", small=small).items() if name != "clip"}
    parts.pop("tiny").save_pretrained(folder / "tiny")
    clip_tokenizer(folder / "words", PromptSet.load("index").texts)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "words")
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, timestep_spacing="leading"
    )
    pipe = StableDiffusionXLPipeline(
        **parts, tokenizer=tokenizer, tokenizer_2=tokenizer, scheduler=scheduler, add_watermarker=False
    )
    pipe.save_pretrained(folder)
    return folder


def sdxl_lora(folder: Path, shapes: Shapes) -> Path:
    """A rank-16 LoRA on every attention layer of the UNet, as peft spells it."""
    import torch
    from safetensors.torch import save_file

    draw = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for parameter, shape in shapes["unet"].items():
        if ".attn" in parameter and parameter.endswith(".weight") and len(shape) == 2:
            stem = f"unet.{parameter.removesuffix('.weight')}"
            tensors[f"{stem}.lora_A.weight"] = (torch.randn(16, shape[1], generator=draw) * 0.02).half()
            tensors[f"{stem}.lora_B.weight"] = (torch.randn(shape[0], 16, generator=draw) * 0.02).half()
    path = folder / "lora.safetensors"
    save_file(tensors, path)
    return path
