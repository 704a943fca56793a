"""ImageReward: BLIP reads a text beside an image, and a small head makes a score of that (Xu et al. 2023)."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from lorascope.errors import ModelError
from lorascope.evaluation.judges.base import Verdict

_MEAN: Final = 0.16717362830052426
_DEVIATION: Final = 1.0333394966054072
"""Of the published model's raw scores on its authors' data: they publish scores less the one, over the other."""
_LENGTH: Final = 35
"""Tokens of a text; longer ones are cut."""
_HEAD: Final = 64
"""Width of an attention head in both towers, ViT-L and BERT."""
_PIXEL_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_PIXEL_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)
_UNUSED: Final = re.compile(r"blip\.(vision_proj|text_proj)\.|blip\.text_encoder\.embeddings\.position_ids$")
"""What only training needed."""
_VISION_NAMES: Final = (
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^norm\.", "post_layernorm."),
    (r"^blocks\.(\d+)\.attn\.qkv\.", r"encoder.layers.\1.self_attn.qkv."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.projection."),
    (r"^blocks\.(\d+)\.norm(\d)\.", r"encoder.layers.\1.layer_norm\2."),
    (r"^blocks\.(\d+)\.mlp\.", r"encoder.layers.\1.mlp."),
)
"""From names of the published checkpoint to those of transformers; the text tower's are the same in both."""

Weights = Mapping[str, torch.Tensor]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, safetensors or the published ``ImageReward.pt``, of which no code is run.

    Raises:
        ModelError: the file cannot be read, or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} is no checkpoint of ImageReward ({error}): fetch it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path} is no checkpoint of ImageReward (it holds more than tensors): fetch it again")
    return state


def weights_digest(weights: Weights) -> str:
    """A digest of tensors by name, the same for a converted copy."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(weights[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@final
class RewardJudge:
    """ImageReward by transformers' BLIP classes.

    The image's patches, from a ViT, are what the text's BERT attends to in every layer. Five linear layers turn its
    first token into a score.
    """

    def __init__(
        self, name: str, identity: str, digest: str, weights: Weights, tokenizer: Path, template: str, device: str
    ) -> None:
        """Build the model.

        Raises:
            ModelError: the weights or the tokenizer are of another kind.
        """
        from tokenizers import Tokenizer

        self.name, self.identity, self.encoder = name, identity, digest
        self._template, self._device = template, torch.device(device)
        try:
            self._vision, self._text = _vision(weights), _text(weights)
        except (KeyError, RuntimeError) as error:
            said = " ".join(str(error).split())
            raise ModelError(
                f"the weights of {name} are not those of ImageReward ({said}): fetch them again"
            ) from error
        self._layers = [
            (weights[key].float().to(self._device), weights[key.replace("weight", "bias")].float().to(self._device))
            for key in sorted(key for key in weights if key.startswith("mlp.layers.") and key.endswith(".weight"))
        ]
        for model in (self._vision, self._text):
            model.float().eval().requires_grad_(requires_grad=False).to(self._device)
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ModelError(f"{tokenizer} is no tokenizer ({error}): fetch it again") from error
        self._tokenizer.enable_truncation(_LENGTH)
        self._tokenizer.enable_padding(length=_LENGTH, pad_token="[PAD]", pad_id=0)

    @torch.inference_mode()
    def judge(self, images: UInt8[np.ndarray, "n h w 3"], queries: Sequence[str]) -> list[list[Verdict]]:
        """Images are a batch; each is looked at once, and read about once for each query."""
        patches = self._vision(pixel_values=self._pixels(images)).last_hidden_state
        columns = [self._scores(patches, self._template.replace("{query}", query)) for query in queries]
        return [[Verdict(float(score)) for score in row] for row in np.stack(columns, axis=1)]

    def _scores(self, patches: torch.Tensor, text: str) -> Float[np.ndarray, " n"]:
        tokens = self._tokenizer.encode(text)
        ids, mask = (
            torch.tensor([row], device=self._device).expand(len(patches), -1)
            for row in (tokens.ids, tokens.attention_mask)
        )
        hidden = self._text(input_ids=ids, attention_mask=mask, encoder_hidden_states=patches).last_hidden_state[:, 0]
        for weight, bias in self._layers:
            hidden = functional.linear(hidden, weight, bias)
        return ((hidden[:, 0] - _MEAN) / _DEVIATION).cpu().numpy()

    def _pixels(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float[torch.Tensor, "n 3 side side"]:
        """The shorter edge to the model's side (bicubic), the middle of that, CLIP's normalisation."""
        side: int = self._vision.config.image_size
        seen = torch.from_numpy(np.stack([_square(Image.fromarray(image), side) for image in images]))
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (_PIXEL_MEAN, _PIXEL_DEVIATION))
        return ((seen.permute(0, 3, 1, 2).float() / 255 - mean) / deviation).to(self._device)


def _square(image: Image.Image, side: int) -> UInt8[np.ndarray, "side side 3"]:
    short = min(image.size)
    width, height = (int(side * edge / short) for edge in image.size)
    left, top = round((width - side) / 2), round((height - side) / 2)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.array(resized.crop((left, top, left + side, top + side)))


def _part(weights: Weights, prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix) and not _UNUSED.match(name)
    }


def _layer_count(weights: Weights, pattern: str) -> int:
    return 1 + max(int(found[1]) for name in weights if (found := re.match(pattern, name)))


def _vision(weights: Weights) -> Any:
    from transformers import BlipVisionConfig, BlipVisionModel

    part = _part(weights, "blip.visual_encoder.")
    places, width = part["pos_embed"].shape[1:]
    patch = part["patch_embed.proj.weight"].shape[-1]
    config = BlipVisionConfig(
        hidden_size=width,
        intermediate_size=len(part["blocks.0.mlp.fc1.bias"]),
        num_hidden_layers=_layer_count(part, r"blocks\.(\d+)\."),
        num_attention_heads=width // _HEAD,
        image_size=round((places - 1) ** 0.5) * patch,
        patch_size=patch,
        layer_norm_eps=1e-6,  # as the published code has it; transformers' default is another
    )
    model = BlipVisionModel(config)
    model.load_state_dict({_renamed(name): value for name, value in part.items()})
    return model


def _renamed(name: str) -> str:
    for pattern, replacement in _VISION_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _text(weights: Weights) -> Any:
    from transformers import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    part = _part(weights, "blip.text_encoder.")
    words, width = part["embeddings.word_embeddings.weight"].shape
    config = BlipTextConfig(
        vocab_size=words,
        hidden_size=width,
        encoder_hidden_size=part["encoder.layer.0.crossattention.self.key.weight"].shape[1],
        intermediate_size=len(part["encoder.layer.0.intermediate.dense.bias"]),
        num_hidden_layers=_layer_count(part, r"encoder\.layer\.(\d+)\."),
        num_attention_heads=width // _HEAD,
        max_position_embeddings=len(part["embeddings.position_embeddings.weight"]),
    )
    model = BlipTextModel(config, add_pooling_layer=False)
    model.load_state_dict(part)
    return model
