"""Prompts as the UNet sees them, each encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import torch

from lorascope.generators.resident import KnownPrompts


@dataclass(frozen=True)
class Text:
    """One prompt: token embeddings (1, tokens, width) and, in SDXL, a pooled one (1, width)."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None


@final
class Texts(KnownPrompts[Text]):
    """A pipeline's text encoders and what they made of the prompts so far.

    Every prompt is encoded by itself, so that the result does not depend on what else is in the batch.
    """

    def __init__(self, pipe: Any, device: torch.device, encoding: Callable[[], AbstractContextManager[None]]) -> None:
        """Take over a pipeline's text encoders.

        Args:
            pipe: a pipeline of diffusers.
            device: where they work.
            encoding: has them there while it is open.
        """
        self._pipe = pipe
        self._device = device
        self._encoding = encoding
        super().__init__()

    def encode(self, prompts: Sequence[str]) -> list[Text]:
        """Every prompt, in order; those that are not known yet are encoded."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._kept]
        if missing:
            with self._encoding():
                self._kept |= {prompt: self._encode(prompt) for prompt in missing}
        found = [self._kept[prompt] for prompt in prompts]
        self._forget_oldest()
        return found

    def _encode(self, prompt: str) -> Text:
        # A negative prompt of "" is embedded as such or zeroed, as the model's own configuration says.
        if not prompt and getattr(self._pipe.config, "force_zeros_for_empty_prompt", False):
            like = self._encode(" ")
            pooled = None if like.pooled is None else torch.zeros_like(like.pooled)
            return Text(torch.zeros_like(like.tokens), pooled)
        found = self._pipe.encode_prompt(
            prompt, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return Text(found[0], found[2] if len(found) > 2 else None)
