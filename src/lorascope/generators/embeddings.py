"""Prompts as a pipeline's denoiser sees them, each encoded once and by itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, final

import torch
from torch import nn

from lorascope.generators.resident import KnownPrompts

Row = tuple[Any, ...]
"""What a pipeline makes of one prompt: embeddings, masks, positions, and None for what it lacks."""


@final
class PromptCache(KnownPrompts[Row]):
    """Stands in for a pipeline's ``encode_prompt``, so that its own call finds prompts that are encoded already.

    A prompt is always encoded alone, so the result does not depend on what else is in the batch. Rows of different
    lengths are padded with zeros, which their masks hide. What is kept is in CPU memory: FLUX's embeddings of the 280
    prompts of a grid take more than a gigabyte.
    """

    def __init__(self, pipe: Any, device: torch.device, encoding: Callable[[], AbstractContextManager[None]]) -> None:
        """Take the place of a pipeline's method; its text encoders are on the device while ``encoding`` is open."""
        self._encode = pipe.encode_prompt
        self._signature = inspect.signature(self._encode)
        self._device = device
        self._encoding = encoding
        super().__init__()
        pipe.encode_prompt = self

    def __call__(self, *args: Any, **options: Any) -> Row:
        """Return what the method would: one row for each prompt."""
        given = self._signature.bind(*args, **options).arguments
        prompts = given["prompt"] if isinstance(given["prompt"], list) else [given["prompt"]]
        count = len(prompts)
        calls = [{name: _of(value, i, count) for name, value in given.items()} for i in range(count)]
        keys = [repr({name: value for name, value in call.items() if name != "device"}) for call in calls]
        missing = {key: call for key, call in zip(keys, calls, strict=True) if key not in self._kept}
        if missing:
            with self._encoding():
                for key, call in missing.items():
                    self._kept[key] = _moved(self._encode(**call | {"device": self._device}), torch.device("cpu"))
        rows = [self._kept[key] for key in keys]
        self._forget_oldest()
        return _moved(batched(rows), self._device)


def _moved(value: Any, device: torch.device) -> Any:
    """Tensors on a device, also those in lists and tuples."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return type(value)(_moved(part, device) for part in value) if isinstance(value, list | tuple) else value


def _of(value: Any, index: int, count: int) -> Any:
    """One prompt's share of an argument: its own where there is a list with one for each."""
    return value[index] if isinstance(value, list) and len(value) == count else value


def batched(rows: Sequence[Row]) -> Row:
    """Join what single prompts became to what a batch of them becomes.

    Examples:
        >>> long, short = (torch.ones(1, 3, 2), None), (torch.ones(1, 1, 2), None)
        >>> embeddings, mask = batched([long, short])
        >>> embeddings.shape, mask.tolist()
        (torch.Size([2, 3, 2]), [[1, 1, 1], [1, 0, 0]])
    """
    if len(rows) == 1:
        return rows[0]
    lengths = [row[0].shape[1] if isinstance(row[0], torch.Tensor) and row[0].ndim > 1 else 0 for row in rows]
    return tuple(_joined(parts, lengths) for parts in zip(*rows, strict=True))


def _joined(parts: Sequence[Any], lengths: Sequence[int]) -> Any:
    if any(part is None for part in parts):
        if len(set(lengths)) == 1:
            return None
        # a mask that hides nothing is left out by the pipeline; beside a longer prompt it has something to hide
        device = next((part.device for part in parts if part is not None), None)
        parts = [
            torch.ones(1, length, dtype=torch.long, device=device) if part is None else part
            for part, length in zip(parts, lengths, strict=True)
        ]
    if isinstance(parts[0], list):
        return [item for part in parts for item in part]
    if not isinstance(parts[0], torch.Tensor) or len(parts[0]) != 1:
        return parts[0]  # positions of tokens, which are the same for all
    longest = max(lengths)
    padded = [
        nn.functional.pad(part, (0, 0) * (part.ndim - 2) + (0, longest - length))
        if part.ndim > 1 and part.shape[1] == length < longest
        else part
        for part, length in zip(parts, lengths, strict=True)
    ]
    return torch.cat(padded)
