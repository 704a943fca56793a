"""The accumulator: all that a signature needs to know about the effects seen so far, in a fixed size."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

UNIT_STEP = 2.0**-18
"""Unit vectors are rounded to multiples of this before their products are summed.

Products of such numbers, and sums of up to 2**17 of them, fit a float64 exactly, so the sum does not depend
on the order in which a matrix product happens to add, nor on its number of threads.
"""

MOST_CELLS = 2**17


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the effects e(p, s) of one adapter, kept per prompt in float64. They merge by addition.

    The arrays grow in place through :meth:`add`. Only active cells, those with ``|e|`` above the noise floor,
    have a unit vector ``u = e/|e|``; for the others u = 0, so that their cosine with anything is 0, as in the
    authors' code (CARLoS, arXiv 2512.08826).

    Attributes:
        seeds: K, how many cells each prompt has in the full grid.
        n: cells seen.
        n_active: cells seen whose effect is above the noise floor.
        sum_effect: sum of e, CLIP units.
        sum_norm: sum of ``|e|``, CLIP units.
        sum_norm_sq: sum of ``|e|**2``, CLIP units squared.
        sum_unit: sum of u.
        scatter: sum over all cells of ``u u^T``, u rounded to ``UNIT_STEP``: how units vary within a prompt.

    Examples:
        >>> moments = Moments.empty(prompts=2, seeds=1, dim=3)
        >>> moments.add(np.array([0, 1]), np.array([[1.0, 0, 0], [1.0, 2, 0]]))
        >>> moments.n.sum(), moments.sum_norm
        (np.int64(2), array([1.        , 2.23606798]))
    """

    seeds: int
    n: Int64[np.ndarray, " prompts"]
    n_active: Int64[np.ndarray, " prompts"]
    sum_effect: Float64[np.ndarray, "prompts dim"]
    sum_norm: Float64[np.ndarray, " prompts"]
    sum_norm_sq: Float64[np.ndarray, " prompts"]
    sum_unit: Float64[np.ndarray, "prompts dim"]
    scatter: Float64[np.ndarray, "dim dim"]

    @classmethod
    def empty(cls, prompts: int, seeds: int, dim: int) -> Moments:
        """Moments of no cells, for a grid of ``prompts`` x ``seeds`` and effects of ``dim`` dimensions.

        Raises:
            ValueError: a size is below 1, or the grid has more cells than can be summed exactly.
        """
        for name, value in (("prompts", prompts), ("seeds", seeds), ("dim", dim)):
            if value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")
        if prompts * seeds > MOST_CELLS:
            raise ValueError(f"prompts x seeds is {prompts * seeds}: use a grid of at most {MOST_CELLS} cells")
        return cls(
            seeds=seeds,
            n=np.zeros(prompts, np.int64),
            n_active=np.zeros(prompts, np.int64),
            sum_effect=np.zeros((prompts, dim)),
            sum_norm=np.zeros(prompts),
            sum_norm_sq=np.zeros(prompts),
            sum_unit=np.zeros((prompts, dim)),
            scatter=np.zeros((dim, dim)),
        )

    @property
    def prompts(self) -> int:
        """M, the number of prompts of the full grid, seen or not."""
        return self.sum_effect.shape[0]

    @property
    def dim(self) -> int:
        """The dimension d of the effects."""
        return self.sum_effect.shape[1]

    @property
    def cells(self) -> int:
        """How many cells were added."""
        return int(self.n.sum())

    @property
    def complete(self) -> bool:
        """Whether every cell of the full grid was added."""
        return bool((self.n == self.seeds).all())

    def add(
        self,
        prompt_index: Integer[np.ndarray, " cells"],
        effects: Float64[np.ndarray, "cells dim"],
        *,
        noise_floor: float = 0.0,
    ) -> None:
        """Add the effects of some cells, in place.

        The cells are summed by themselves, in their order, and that sum is added to the totals: adding block
        after block therefore gives the same bits as merging the blocks' own Moments in the same order.

        Args:
            prompt_index: the prompt of each cell, 0 to M - 1.
            effects: e of each cell, in CLIP units.
            noise_floor: a norm at or below it counts as no effect: it stays in n, in sum_effect and in
                sum_norm, but has no direction. CLIP units.

        Raises:
            ValueError: shapes that do not fit, an index out of range, effects that are not finite, a noise
                floor below 0, or more cells of a prompt than there are seeds. Nothing is added then.
        """
        self._check_cells(prompt_index, effects)
        if not noise_floor >= 0.0:
            raise ValueError(f"noise_floor is {noise_floor}: give a norm of 0 or more")
        norms = np.sqrt(np.einsum("cd,cd->c", effects, effects))
        active = norms > noise_floor
        units = np.zeros_like(effects)
        np.divide(effects, norms[:, None], out=units, where=active[:, None])
        steps = np.rint(units / UNIT_STEP)
        block = Moments.empty(self.prompts, self.seeds, self.dim)
        # ufunc.at adds in the order of the cells, whatever the machine
        np.add.at(block.n, prompt_index, 1)
        np.add.at(block.n_active, prompt_index, active.astype(np.int64))
        np.add.at(block.sum_effect, prompt_index, effects)
        np.add.at(block.sum_norm, prompt_index, norms)
        np.add.at(block.sum_norm_sq, prompt_index, norms**2)
        np.add.at(block.sum_unit, prompt_index, units)
        np.multiply(steps.T @ steps, UNIT_STEP**2, out=block.scatter)
        self._check_seeds(self.n + block.n)
        for total, part in zip(self.arrays(), block.arrays(), strict=True):
            total += part

    def merge(self, other: Moments) -> Moments:
        """Return the Moments of both sets of cells, which must be different cells of the same grid.

        Raises:
            ValueError: the grids or the dimensions differ, or together a prompt has more cells than seeds.
        """
        mine, theirs = (self.prompts, self.seeds, self.dim), (other.prompts, other.seeds, other.dim)
        if mine != theirs:
            raise ValueError(f"other has (prompts, seeds, dim) {theirs}, not {mine}: merge cells of the same grid")
        self._check_seeds(self.n + other.n)
        pairs = zip(self.arrays(), other.arrays(), strict=True)
        return Moments(self.seeds, *(left + right for left, right in pairs))

    def select(self, prompt_index: Integer[np.ndarray, " chosen"]) -> Moments:
        """Return the Moments of some prompts alone, as of a smaller grid.

        ``scatter`` is not kept per prompt, so it stays that of all prompts. Only intervals use it: ask for none.
        """
        chosen = (array[prompt_index].copy() for array in self.arrays()[:-1])
        return Moments(self.seeds, *chosen, scatter=self.scatter)

    def arrays(self) -> list[np.ndarray]:
        """The arrays in the order of the fields."""
        return [getattr(self, field.name) for field in fields(self)[1:]]

    def __eq__(self, other: object) -> bool:
        """Whether the grid and every bit of the sums are the same."""
        if not isinstance(other, Moments):
            return NotImplemented
        pairs = zip(self.arrays(), other.arrays(), strict=True)
        return self.seeds == other.seeds and all(np.array_equal(left, right) for left, right in pairs)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # arrays change in place

    def _check_cells(self, prompt_index: np.ndarray, effects: np.ndarray) -> None:
        if effects.shape != (len(prompt_index), self.dim):
            expected = (len(prompt_index), self.dim)
            raise ValueError(f"effects has shape {effects.shape}: give {expected}, a row for each prompt_index")
        if len(prompt_index) and not 0 <= prompt_index.min() <= prompt_index.max() < self.prompts:
            wrong = min(prompt_index.min(), 0) or prompt_index.max()
            raise ValueError(f"prompt_index holds {wrong}: the grid has prompts 0 to {self.prompts - 1}")
        finite = np.isfinite(effects).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise ValueError(
                f"effects[{row}] (prompt {prompt_index[row]}) is not finite: leave that cell out or redo it"
            )

    def _check_seeds(self, n: np.ndarray) -> None:
        if (n > self.seeds).any():
            prompt = int(np.argmax(n))
            raise ValueError(
                f"prompt {prompt} would have {n[prompt]} cells, but the grid has {self.seeds} seeds: "
                "add each cell only once"
            )


def unit_rows(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows of length 1 in their directions; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
