"""Prompts as the UNet sees them, each encoded once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch

from lorascope.adapters import Inversion
from lorascope.generators.resident import KnownPrompts
from lorascope.generators.words import AddedWords


@dataclass(frozen=True)
class Text:
    """One prompt: token embeddings (1, tokens, width) and, in SDXL, a pooled one (1, width)."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None

    def towards(self, other: Text, share: float) -> Text:
        """A mixture with another text: this one at a share of 0, the other one at 1, both to the bit."""
        pooled = None if self.pooled is None or other.pooled is None else self.pooled.lerp(other.pooled, share)
        return Text(self.tokens.lerp(other.tokens, share), pooled)


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
        self._words: AddedWords | None = None
        super().__init__()

    @contextmanager
    def with_inversions(self, inversions: Sequence[Inversion], scale: float) -> Generator[None]:
        """Read the tokens of textual inversions as their vectors.

        Args:
            inversions: Each acts where a prompt names it.
            scale: How strongly those act that are not the trigger of an adapter: at 0 a prompt counts as if it did not
                name them, at 1 as they are, between and beyond linearly.
        """
        with AddedWords(self._pipe, inversions, scale) as self._words:
            try:
                yield
            finally:
                self._words = None

    def encode(self, prompts: Sequence[str]) -> list[Text]:
        """Every prompt, in order; those that are not known yet are encoded."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._kept]
        if missing:
            with self._encoding():
                self._kept |= {prompt: self._read(prompt) for prompt in missing}
        found = [self._kept[prompt] for prompt in prompts]
        self._forget_oldest()
        return found

    def _read(self, prompt: str) -> Text:
        if self._words is None:
            return self._encode(prompt)
        without, with_words = self._words.spelt(prompt)
        if self._words.scale == 1 or without == with_words:
            return self._encode(with_words)
        return self._encode(without).towards(self._encode(with_words), self._words.scale)

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
