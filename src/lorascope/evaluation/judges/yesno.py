"""A judge that is asked: Qwen2.5-VL answers yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from lorascope.errors import ModelError
from lorascope.evaluation.judges.base import Verdict

_CHAT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<|vision_start|>{image}<|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
)
_PAD = "<|image_pad|>"


@final
class YesNoJudge:
    """P(yes) / (P(yes) + P(no)) of the next token, after an image and a question.

    As VQAScore (Lin et al. 2024), which takes P(yes) alone: the ratio does not fall when the model would rather begin
    its answer with another word. Both probabilities are among the parts.
    """

    def __init__(self, name: str, identity: str, digest: str, folder: Path, question: str, device: str) -> None:
        """Load a Qwen2.5-VL model from a folder.

        Raises:
            ModelError: the folder holds no such model.
        """
        from transformers import AutoModelForImageTextToText, AutoTokenizer
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        self.name, self.identity, self.encoder = name, identity, digest
        self._question = question
        self._device = torch.device(device)
        options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
        try:
            dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
            model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, **options)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
            self._processor: Any = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder} is no Qwen2.5-VL that can be loaded ({error}): fetch it again") from error
        self._model = model.eval().requires_grad_(requires_grad=False).to(self._device)
        self._answers = [self._one_token(word) for word in ("Yes", "No")]

    def _one_token(self, word: str) -> int:
        ids: list[int] = self._tokenizer(word, add_special_tokens=False).input_ids
        if len(ids) != 1:
            raise ModelError(f"{self.name} spells {word!r} with {len(ids)} tokens: use a model that has it as one")
        return ids[0]

    def judge(self, images: UInt8[np.ndarray, "n h w 3"], queries: Sequence[str]) -> list[list[Verdict]]:
        """Every pair is a question of its own; the images are a batch."""
        seen = self._processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")
        columns = [self._asked(seen, query) for query in queries]
        return [[_verdict(float(yes), float(no)) for yes, no in row] for row in np.stack(columns, axis=1)]

    @torch.inference_mode()
    def _asked(self, seen: Any, query: str) -> Float[np.ndarray, "n 2"]:
        """Probabilities of yes and no for each image, over the whole vocabulary."""
        merged = seen["image_grid_thw"].prod(-1) // self._model.config.vision_config.spatial_merge_size**2
        question = self._question.replace("{query}", query)
        texts = [_CHAT.format(image=_PAD * int(count), question=question) for count in merged]
        tokens = self._tokenizer(texts, padding=True, return_tensors="pt").to(self._device)
        logits = self._model(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            mm_token_type_ids=(tokens.input_ids == self._model.config.image_token_id).int(),
            pixel_values=seen["pixel_values"].to(self._device, self._model.dtype),
            image_grid_thw=seen["image_grid_thw"].to(self._device),
            logits_to_keep=1,
        ).logits[:, -1]
        return logits.float().softmax(-1)[:, self._answers].cpu().numpy()


def _verdict(yes: float, no: float) -> Verdict:
    total = yes + no
    return Verdict(yes / total if total > 0 else 0.5, {"yes": yes, "no": no})
