"""Prompts as the UNet sees them, each encoded once, and the words that textual inversions add meanwhile."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch

from lorascope.adapters import Inversion
from lorascope.generators.resident import KnownPrompts


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
        """Take over a pipeline's text encoders, which are on the device while ``encoding`` is open."""
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


@final
class AddedWords:
    """The vectors of textual inversions, in all text encoders of a pipeline, as long as it is open.

    The tokenizers are exchanged for copies that know one more token for each vector, and hooks put the vectors in the
    place of these tokens' embeddings. No weight is touched, so all is as before when it is closed. The text encoders
    never see the numbers of the new tokens: those of older CLIP models take the highest number for the end of the text.
    """

    def __init__(self, pipe: Any, inversions: Sequence[Inversion], scale: float) -> None:
        """Bind a pipeline and the words that it shall know."""
        self._pipe = pipe
        self._inversions = inversions
        self.scale = scale
        self._undo = ExitStack()

    def spelt(self, prompt: str) -> tuple[str, str]:
        """A prompt as the tokenizers read it, without the words that the scale is about and with them."""
        without = with_words = prompt
        first = 0
        for one in self._inversions:
            tokens = " ".join(map(_token, range(first, first + len(one))))
            without = one.spelt(without, "").strip(", ") if one.alone else one.spelt(without, tokens)
            with_words = one.spelt(with_words, tokens)
            first += len(one)
        return without, with_words

    def __enter__(self) -> AddedWords:
        for encoder in self._inversions[0].vectors:
            name = encoder.replace("text_encoder", "tokenizer")
            tokenizer = getattr(self._pipe, name)
            vectors = torch.cat([one.vectors[encoder] for one in self._inversions])
            known = copy.deepcopy(tokenizer)
            first = len(known)
            known.add_tokens([_token(place) for place in range(len(vectors))])
            setattr(self._pipe, name, known)
            self._undo.callback(setattr, self._pipe, name, tokenizer)
            self._hook(getattr(self._pipe, encoder), vectors, first)
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _hook(self, encoder: Any, vectors: torch.Tensor, first: int) -> None:
        """Have an encoder read tokens from a number on as these vectors."""
        places: list[torch.Tensor] = []

        def hide(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            ids, *others = args
            places[:] = [ids - first]
            return (ids.masked_fill(ids >= first, 0), *others)

        def show(_module: Any, _args: Any, found: torch.Tensor) -> torch.Tensor:
            (place,) = places
            added = place >= 0
            return found.masked_scatter(added[..., None], vectors.to(found)[place[added]])

        for handle in (
            encoder.register_forward_pre_hook(hide),
            encoder.get_input_embeddings().register_forward_hook(show),
        ):
            self._undo.callback(handle.remove)


def _token(place: int) -> str:
    return f"<lorascope-{place}>"
