"""Words that textual inversions add to a pipeline's tokenizers and text encoders for a while."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, final

import torch

from lorascope.adapters import Inversion


@final
class AddedWords:
    """The vectors of textual inversions, in all text encoders of a pipeline, as long as it is open.

    The tokenizers are exchanged for copies that know one more token for each vector, and hooks put the vectors in the
    place of these tokens' embeddings. No weight is touched, so all is as before when it is closed. The text encoders
    never see the numbers of the new tokens: those of older CLIP models take the highest number for the end of the text.
    """

    def __init__(self, pipe: Any, inversions: Sequence[Inversion], scale: float) -> None:
        """Bind a pipeline and the words that it shall know.

        Args:
            pipe: A pipeline of diffusers.
            inversions: The words; each has vectors for every text encoder.
            scale: How strongly those act that stand for themselves.
        """
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
