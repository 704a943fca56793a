"""Small random-weight models of the same architectures as the real ones, made where a test needs them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789,.'-<|>"


def tiny_tokenizer(folder: Path, length: int = 77) -> Path:
    """A CLIP tokenizer of single letters, in the files that transformers writes."""
    from transformers import CLIPTokenizer

    symbols = [*_ALPHABET, *(f"{letter}</w>" for letter in _ALPHABET), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: place for place, symbol in enumerate(symbols)}
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=length)
    tokenizer.save_pretrained(folder)
    return folder


def _text_config(width: int, *, projection: int, length: int = 77) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=2 * len(_ALPHABET) + 2,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=projection,
        max_position_embeddings=length,
        bos_token_id=2 * len(_ALPHABET),
        eos_token_id=2 * len(_ALPHABET) + 1,
        pad_token_id=2 * len(_ALPHABET) + 1,
    )


def tiny_clip(folder: Path, *, seed: int = 0) -> Path:
    """A CLIPModel of 16 dimensions with its tokenizer and preprocessor."""
    from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig

    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=16,
    )  # fmt: skip
    config = CLIPConfig(
        text_config=_text_config(32, projection=16).to_dict(), vision_config=vision.to_dict(), projection_dim=16
    )
    model = CLIPModel(config)
    for parameter in model.parameters():  # the default initialisation is too small to tell texts apart
        torch.nn.init.normal_(parameter, std=0.15) if parameter.ndim > 1 else None
    model.save_pretrained(folder)
    tiny_tokenizer(folder)
    settings = {
        "crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "size": {"shortest_edge": 32},
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        "do_normalize": True, "do_resize": True, "do_rescale": True, "do_convert_rgb": True, "resample": 3,
        "rescale_factor": 1 / 255, "image_processor_type": "CLIPImageProcessor",
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def full_size_clip(folder: Path, *, seed: int = 0) -> Path:
    """The text tower of CLIP ViT-B/32 in all its layers, over a vocabulary of letters, behind a tiny image tower."""
    from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig

    torch.manual_seed(seed)
    text = _text_config(512, projection=512).to_dict()
    text |= {"num_hidden_layers": 12, "num_attention_heads": 8, "intermediate_size": 2048}
    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=32, patch_size=16
    )
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision.to_dict(), projection_dim=512))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.03) if parameter.ndim > 1 else None
    model.save_pretrained(folder)
    tiny_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text("{}", "utf-8")
    return folder


def _vae(seed: int) -> Any:
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    return AutoencoderKL(
        block_out_channels=(8, 8), latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4, layers_per_block=1, sample_size=32,
    )  # fmt: skip


def tiny_sdxl(folder: Path, *, seed: int = 0) -> Path:
    """SDXL's own block layout (transformer depths 0, 2, 10 and all) at a tenth of a percent of its size."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16, 32), layers_per_block=2, sample_size=16, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 2, 4), use_linear_projection=True, transformer_layers_per_block=(1, 2, 10),
        addition_embed_type="text_time", addition_time_embed_dim=8, norm_num_groups=4,
        projection_class_embeddings_input_dim=8 * 6 + 24, cross_attention_dim=16 + 24,
    )  # fmt: skip
    tokenizer = CLIPTokenizer.from_pretrained(tiny_tokenizer(folder / "letters"))
    pipe = StableDiffusionXLPipeline(
        vae=_vae(seed),
        text_encoder=CLIPTextModel(_text_config(16, projection=16)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(24, projection=24)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        add_watermarker=False,
        force_zeros_for_empty_prompt=True,
    )
    pipe.save_pretrained(folder)
    return folder


def tiny_sd15(folder: Path, *, seed: int = 0) -> Path:
    """Stable Diffusion 1.5's block layout, tiny."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8, 16, 16), layers_per_block=2, sample_size=16, attention_head_dim=2,
        norm_num_groups=4, cross_attention_dim=16,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        vae=_vae(seed), text_encoder=CLIPTextModel(_text_config(16, projection=16)),
        tokenizer=CLIPTokenizer.from_pretrained(tiny_tokenizer(folder / "letters")), unet=unet,
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    return folder


def _letter_tokenizer(special: Sequence[str], **names: Any) -> Any:
    """A fast tokenizer of single characters, with some words of their own."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    letters = [chr(code) for code in range(32, 127)] + ["\n", "<unk>"]
    core = Tokenizer(WordLevel({letter: place for place, letter in enumerate(letters)}, unk_token="<unk>"))
    core.pre_tokenizer = Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", **names)
    tokenizer.add_tokens(list(special), special_tokens=False)
    return tokenizer


def _stirred(model: torch.nn.Module) -> Any:
    for parameter in model.parameters():  # the default initialisation is too small to tell inputs apart
        torch.nn.init.normal_(parameter, std=0.15) if parameter.ndim > 1 else None
    return model


def tiny_siglip(folder: Path, *, seed: int = 0) -> Path:
    """A SiglipModel of 16 dimensions with its tokenizer and preprocessor; fixed-size SigLIP 2 is of this class, too."""
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(seed)
    tokenizer = _letter_tokenizer((), pad_token="<unk>", eos_token="<unk>", model_input_names=["input_ids"])
    sides = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sides | {"vocab_size": len(tokenizer), "max_position_embeddings": 24, "projection_size": 16}
    model = _stirred(
        SiglipModel(SiglipConfig(text_config=text, vision_config=sides | {"image_size": 32, "patch_size": 8}))
    )
    model.logit_bias.data.fill_(-2.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def tiny_qwen_vl(folder: Path, *, seed: int = 0) -> Path:
    """A Qwen2.5-VL with its tokenizer and image processor."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    torch.manual_seed(seed)
    marks = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokenizer = _letter_tokenizer((*marks, "Yes", "No"), pad_token="<unk>", eos_token="<unk>")
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in marks}
    sides = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 2}
    text = sides | {
        "hidden_size": 32, "intermediate_size": 48, "vocab_size": len(tokenizer),
        "rope_parameters": {"type": "default", "rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
    }  # fmt: skip
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32,
              "fullatt_block_indexes": [1], "window_size": 56}  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"], vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    _stirred(Qwen2_5_VLForConditionalGeneration(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56 * 4).save_pretrained(folder)
    return folder


def tiny_image_reward(folder: Path, *, seed: int = 0) -> tuple[Path, Path]:
    """ImageReward's published layout, two layers a tower: ``ImageReward.pt`` and BERT's ``tokenizer.json``."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing

    generator = torch.Generator().manual_seed(seed)
    vision, text, words = 128, 64, 110
    shapes: dict[str, tuple[int, ...]] = {
        "blip.visual_encoder.cls_token": (1, 1, vision),
        "blip.visual_encoder.pos_embed": (1, 5, vision),
        "blip.visual_encoder.patch_embed.proj": (vision, 3, 16, 16),
        "blip.visual_encoder.norm": (vision,),
        "blip.vision_proj": (8, vision),
        "blip.text_proj": (8, text),
        "blip.text_encoder.embeddings.word_embeddings.weight": (words, text),
        "blip.text_encoder.embeddings.position_embeddings.weight": (40, text),
        "blip.text_encoder.embeddings.LayerNorm": (text,),
    }
    for layer in range(2):
        block, part = f"blip.visual_encoder.blocks.{layer}", f"blip.text_encoder.encoder.layer.{layer}"
        shapes |= {f"{block}.norm{place}": (vision,) for place in (1, 2)}
        shapes |= {f"{block}.attn.qkv": (3 * vision, vision), f"{block}.attn.proj": (vision, vision)}
        shapes |= {f"{block}.mlp.fc1": (96, vision), f"{block}.mlp.fc2": (vision, 96)}
        for kind, source in (("attention", text), ("crossattention", vision)):
            shapes |= {f"{part}.{kind}.self.query": (text, text), f"{part}.{kind}.output.dense": (text, text)}
            shapes |= {f"{part}.{kind}.self.{name}": (text, source) for name in ("key", "value")}
            shapes |= {f"{part}.{kind}.output.LayerNorm": (text,)}
        shapes |= {f"{part}.intermediate.dense": (96, text), f"{part}.output.dense": (text, 96)}
        shapes |= {f"{part}.output.LayerNorm": (text,)}
    widths = (text, 24, 20, 16, 8, 1)
    places = (0, 2, 4, 6, 7)  # of the linear layers; dropouts between them
    shapes |= {f"mlp.layers.{place}": widths[i : i + 2][::-1] for i, place in enumerate(places)}
    state: dict[str, torch.Tensor] = {"blip.text_encoder.embeddings.position_ids": torch.arange(40)[None]}
    for name, shape in shapes.items():
        if name.endswith(("weight", "cls_token", "pos_embed")):
            state[name] = torch.randn(shape, generator=generator) * 0.5
            continue
        scale = 1.0 if len(shape) == 1 else 1.5 / math.sqrt(math.prod(shape[1:]))
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * scale
        state[f"{name}.bias"] = torch.randn(shape[:1], generator=generator) * 0.3
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "ImageReward.pt")
    letters = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(chr(code) for code in range(32, 127))]
    core = Tokenizer(WordLevel({letter: place for place, letter in enumerate(letters)}, unk_token="[UNK]"))
    core.pre_tokenizer = Split(Regex("."), "isolated")
    core.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    core.save(str(folder / "tokenizer.json"))
    return folder / "ImageReward.pt", folder / "tokenizer.json"
