"""Prompts as the UNet sees them, each encoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch

_KEPT = 1024


@dataclass(frozen=True)
class Text:
    """One prompt: token embeddings (1, tokens, width) and, in SDXL, a pooled one (1, width)."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None


@final
class Texts:
    """A pipeline's text encoders and what they made of the prompts so far.

    Every prompt is encoded by itself, so that the result does not depend on what else is in the batch. Where the
    device's memory is small, the encoders wait in CPU memory; they always work on the device, so the bits are the same.
    """

    def __init__(self, pipe: Any, device: torch.device, *, resident: bool) -> None:
        """Take over a pipeline's text encoders.

        Args:
            pipe: a pipeline of diffusers.
            device: where they work.
            resident: whether they may stay there between uses.
        """
        self._pipe = pipe
        self._device = device
        encoders = (getattr(pipe, name, None) for name in ("text_encoder", "text_encoder_2"))
        self._encoders = [encoder for encoder in encoders if encoder is not None]
        self._rests_on = device if resident else torch.device("cpu")
        self._move(self._rests_on)
        self._kept: OrderedDict[str, Text] = OrderedDict()

    def encode(self, prompts: Sequence[str]) -> list[Text]:
        """Every prompt, in order; those that are not known yet are encoded."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._kept]
        if missing:
            with self._at_work():
                self._kept |= {prompt: self._encode(prompt) for prompt in missing}
        found = [self._kept[prompt] for prompt in prompts]
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    @contextmanager
    def anew(self) -> Generator[None]:
        """Read prompts anew for as long as an adapter changes the encoders, then go back to what was known."""
        bare, self._kept = self._kept, OrderedDict()
        try:
            yield
        finally:
            self._kept = bare

    @contextmanager
    def _at_work(self) -> Generator[None]:
        try:
            self._move(self._device)
            yield
        finally:
            self._move(self._rests_on)

    def _move(self, device: torch.device) -> None:
        for encoder in self._encoders:
            encoder.to(device)

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
