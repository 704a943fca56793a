"""The cells of an adapter, and what they say of its effect compared with another one's, and of the prompts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64, Int64, Integer

from lorascope.analysis.jackknife import (
    FEWEST_PROMPTS,
    interval,
    products_apart,
    sums_by_prompt,
    totals,
)
from lorascope.encoders.base import TextEncoder
from lorascope.errors import LibraryError
from lorascope.grid import Grid
from lorascope.library import Block, Library, StoredProtocol
from lorascope.library.recomputation import grid_of
from lorascope.moments import Moments, unit_rows
from lorascope.signature import Estimate, Signature


@final
@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of one adapter in the grid's order.

    Attributes:
        prompts: the prompt of each cell.
        adapted: the embeddings of the images with the adapter.
        bare: those of the bare model's images.
        floor: the noise floor, CLIP units.
    """

    prompts: Int64[np.ndarray, " cells"]
    adapted: Float64[np.ndarray, "cells d"]
    bare: Float64[np.ndarray, "cells d"]
    floor: float

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def effects(self) -> Float64[np.ndarray, "cells d"]:
        """E of each cell, CLIP units."""
        return self.adapted - self.bare

    @property
    def strength_and_consistency(self) -> tuple[Estimate, Estimate]:
        """Both figures, with intervals for other prompts of the same kind."""
        _, places = np.unique(self.prompts, return_inverse=True)
        counts = np.bincount(places)
        moments = Moments.empty(len(counts), int(counts.max()), self.adapted.shape[1])
        moments.add(places, self.effects, noise_floor=self.floor)
        signature = Signature.from_moments(moments)
        accuracy = signature.new_prompts
        return (
            accuracy.strength or Estimate(signature.strength, 0.0, math.inf),
            accuracy.consistency or Estimate(signature.consistency or 0.0, -1.0, 1.0),
        )

    def first(self, count: int) -> Cells:
        """The first cells."""
        return Cells(self.prompts[:count], self.adapted[:count], self.bare[:count], self.floor)

    @classmethod
    def of(cls, grid: Grid, blocks: list[Block]) -> Cells:
        """The cells of some blocks, of which there is at least one."""
        return cls(
            np.array([cell.prompt for block in blocks for cell in grid.block(block.index)]),
            np.concatenate([block.adapted for block in blocks]).astype(np.float64),
            np.concatenate([block.bare for block in blocks]).astype(np.float64),
            max(block.noise_floor for block in blocks),
        )


def cells_of(library: Library, grid: Grid, protocol: str, key: str, blocks: int | None = None) -> Cells | None:
    """What the evidence holds of an adapter under a Protocol, by its digest; None if nothing."""
    if not library.has_evidence:
        return None
    found = library.evidence.blocks(key, protocol, 0, grid.blocks if blocks is None else blocks)
    return Cells.of(grid, found) if found else None


def known_grid(stored: StoredProtocol) -> Grid:
    """The grid of a Protocol.

    Raises:
        LibraryError: its prompts are not on this disk.
    """
    grid = grid_of(stored)
    if grid is None:
        raise LibraryError(
            f"the prompts of {stored.protocol} are not on this disk: put {stored.preset.prompts!r} back where it was"
        )
    return grid


@final
class PromptTexts:
    """The embeddings of prompts, each encoded once."""

    def __init__(self, encoder: TextEncoder, grid: Grid) -> None:
        self._encoder, self._texts = encoder, grid.prompts.texts
        self._known: dict[int, Float64[np.ndarray, " d"]] = {}

    def rows(self, prompts: Integer[np.ndarray, " cells"]) -> Float64[np.ndarray, "prompts d"]:
        """Embeddings of length 1 of the different prompts among those of some cells, in ascending order."""
        wanted = np.unique(prompts).tolist()
        missing = [prompt for prompt in wanted if prompt not in self._known]
        if missing:
            encoded = self._encoder.texts([self._texts[prompt] for prompt in missing])
            self._known |= dict(zip(missing, unit_rows(encoded.astype(np.float64)), strict=True))
        return np.stack([self._known[prompt] for prompt in wanted])


def prompt_kept(cells: Cells, texts: Float64[np.ndarray, "prompts d"], fewest: int = FEWEST_PROMPTS) -> Estimate | None:
    """How much of what prompts ask for is still in the images: 1 as much as without the adapter, 0 nothing.

    An image's cosine with its own prompt, less its mean cosine with the other prompts: what all images of an adapter
    share, such as a style, cancels. This contrast with the adapter, divided by that of the bare model.

    Args:
        cells: some cells.
        texts: the embeddings of their prompts, as :meth:`PromptTexts.rows` gives them.
        fewest: prompts, below which nothing is said.

    Returns:
        The share with its interval; None on too few prompts, or where the bare images do not follow the prompts.
    """
    bare = _contrast(cells.bare, cells.prompts, texts)
    if len(texts) < fewest or interval(bare).lower <= 0.0 or bare.min() <= 0.0:
        return None
    return interval(_contrast(cells.adapted, cells.prompts, texts) / bare)


def kept_more(one: Cells, two: Cells, texts: Float64[np.ndarray, "prompts d"]) -> Estimate | None:
    """How much more of what prompts ask for one adapter keeps than another on the same cells, with its interval.

    In shares, as :func:`prompt_kept`, whose difference it is: it is known better than either. None as there.
    """
    if prompt_kept(one, texts) is None:
        return None
    first, second, bare = (_contrast(images, one.prompts, texts) for images in (one.adapted, two.adapted, one.bare))
    return interval((first - second) / bare)


def _contrast(
    images: Float64[np.ndarray, "cells d"],
    prompts: Integer[np.ndarray, " cells"],
    texts: Float64[np.ndarray, "prompts d"],
) -> Float64[np.ndarray, " figures"]:
    """How much better images fit their own prompts than others do: with all prompts, and without each."""
    counts = np.unique(prompts, return_counts=True)[1]
    means = sums_by_prompt(unit_rows(images), prompts) / counts[:, None]
    own = totals(np.einsum("pd,pd->p", means, texts))
    sizes = totals(np.ones(len(texts)))
    return own / sizes - products_apart(means, texts) / (sizes * (sizes - 1))


@final
@dataclass(frozen=True)
class EffectShare:
    """An effect compared with another one on the same cells.

    Attributes:
        cosine: of the two Directions; None where one of them has none that differs from chance.
        share: how much of the second effect the first one has along its Direction: 1 as much, 0 nothing.
    """

    cosine: Estimate | None
    share: Estimate


def effect_share(
    prompts: Integer[np.ndarray, " cells"],
    one: Float64[np.ndarray, "cells d"],
    two: Float64[np.ndarray, "cells d"],
    fewest: int = FEWEST_PROMPTS,
) -> EffectShare | None:
    """Compare effects on the same cells; None on fewer prompts, or where the second one does nothing repeatable."""
    first, second = sums_by_prompt(one, prompts), sums_by_prompt(two, prompts)
    own, base, shared = products_apart(first, first), products_apart(second, second), products_apart(first, second)
    if len(first) < fewest or interval(base).lower <= 0.0 or base.min() <= 0.0:
        return None
    alone = interval(own).lower > 0.0 and own.min() > 0.0
    return EffectShare(interval(shared / np.sqrt(own * base)) if alone else None, interval(shared / base))
