"""What the adapters of a Protocol taught about how effects depend on the bare images.

The bare embeddings b of many cells are known, because the bare arm is shared by all adapters, and effects depend on
them: a picture that is an ink drawing already is changed less by an adapter for ink. So the mean effect over the grid
is estimated better from what effects have in common with b than from the cells seen alone. This is the regression
estimator of survey sampling with two phases (Cochran, Sampling Techniques, 3rd ed., chapters 7 and 12)::

    D = mean(e - s (b - B) M)

B is the mean bare embedding of the first phase, the first ``cells`` cells of the grid; M a ridge regression of effects
on bare embeddings, fitted over other adapters; s >= 0 the adapter's own slope. Whatever M is, D has no bias beyond
that of B: a useless M only makes s small. docs/method.md derives it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Float, Float32, Float64, Integer

from lorascope.errors import CalibrationError
from lorascope.moments import Moments
from lorascope.signature.accuracy import mean_error

FEWEST_ADAPTERS = 20
"""Fewer adapters do not tell what they have in common from what they differ in (docs/stopping.md)."""
_RIDGE = 0.1
"""Beside the mean variance of bare embeddings. Between 0.01 and 1 it hardly matters."""
_ARRAYS = ("protocol", "adapters", "cells", "mean", "slope", "error")


@final
@dataclass(frozen=True, eq=False)
class Residuals:
    """Effects without what the bare images explain of them.

    Attributes:
        moments: the sums over the residuals, whose mean is the regression estimate of the Direction.
        error: the squared length by which the mean of the first phase may be off: for the grid, for new prompts.
        calibration: the digest of the Calibration.
    """

    moments: Moments
    error: tuple[float, float]
    calibration: str


@final
@dataclass(frozen=True, eq=False)
class Calibration:
    """How effects depend on bare images under one Protocol. It never changes; its digest is part of each signature.

    Attributes:
        protocol: the digest of the Protocol.
        adapters: how many adapters it was fitted on.
        cells: how many cells, the first of the grid, ``mean`` is over.
        mean: B, the mean bare embedding.
        slope: M, for effects in units of their adapter's Strength.
        error: the variance of ``mean @ slope`` about that of the whole grid, and about that of new prompts.
    """

    protocol: str
    adapters: int
    cells: int
    mean: Float32[np.ndarray, " d"]
    slope: Float32[np.ndarray, "d d"]
    error: tuple[float, float]

    @classmethod
    def fit(
        cls,
        protocol: str,
        samples: Iterable[tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]],
        bare: Float[np.ndarray, "cells d"],
        prompt_index: Integer[np.ndarray, " cells"],
        grid: tuple[int, int],
    ) -> Calibration:
        """Fit one from what was measured.

        Args:
            protocol: the digest of the Protocol.
            samples: effects and bare embeddings of the cells of each adapter.
            bare: bare embeddings of the first cells of the grid.
            prompt_index: their prompts.
            grid: how many prompts and seeds it has.

        Raises:
            CalibrationError: fewer than ``FEWEST_ADAPTERS`` of the adapters have an effect.
        """
        slope, count = _common_slope(samples)
        if count < FEWEST_ADAPTERS:
            raise CalibrationError(
                f"only {count} adapters have an effect: it takes {FEWEST_ADAPTERS} to calibrate an estimator"
            )
        unknown = cls(protocol, count, 0, np.zeros(len(slope), np.float32), slope, (0.0, 0.0))
        return unknown.with_first_phase(bare, prompt_index, grid)

    def with_first_phase(
        self, bare: Float[np.ndarray, "cells d"], prompt_index: Integer[np.ndarray, " cells"], grid: tuple[int, int]
    ) -> Calibration:
        """The same slope with another first phase: bare embeddings of cells, their prompts, prompts and seeds."""
        mean = bare.mean(axis=0, dtype=np.float64).astype(np.float32)
        explained = Moments.empty(*grid, bare.shape[1])
        explained.add(prompt_index, (bare - mean.astype(np.float64)) @ self.slope)
        errors = mean_error(explained, new_prompts=False), mean_error(explained, new_prompts=True)
        return replace(self, cells=len(bare), mean=mean, error=errors)

    @cached_property
    def digest(self) -> str:
        """Ten hex digits over all that it says."""
        found = hashlib.sha256(f"{self.protocol} {self.adapters} {self.cells} {self.error}".encode())
        for array in (self.mean, self.slope):
            found.update(np.ascontiguousarray(array, "<f4").tobytes())
        return found.hexdigest()[:10]

    def residuals(
        self,
        moments: Moments,
        prompt_index: Integer[np.ndarray, " n"],
        effects: Float64[np.ndarray, "n d"],
        bare: Float[np.ndarray, "n d"],
    ) -> Residuals | None:
        """What the bare images do not explain of some effects.

        Args:
            moments: the sums over the same effects, of which the sizes of the grid are taken.
            prompt_index: the prompt of each cell.
            effects: e of each cell.
            bare: the bare embedding of each cell.

        Returns:
            None where it would not help: the sample is as large as the first phase, or the slope is zero.

        Raises:
            CalibrationError: it is of another dimension.
        """
        if bare.shape[1] != len(self.mean):
            raise CalibrationError(
                f"calibration {self.digest} is for embeddings of {len(self.mean)} dimensions, not {bare.shape[1]}"
            )
        if len(effects) >= self.cells:
            return None
        explained = (bare - self.mean.astype(np.float64)) @ self.slope.astype(np.float64)
        slope = _own_slope(effects, explained)
        if slope == 0.0:
            return None
        rest = Moments.empty(moments.prompts, moments.seeds, moments.dim)
        rest.add(prompt_index, effects - slope * explained)
        grid, new = (slope**2 * error for error in self.error)
        return Residuals(rest, (grid, new), self.digest)

    def to_bytes(self) -> bytes:
        """The inverse of :meth:`from_bytes`."""
        file = io.BytesIO()
        np.savez(
            file, protocol=self.protocol, adapters=self.adapters, cells=self.cells, mean=self.mean, slope=self.slope,
            error=self.error,
        )  # fmt: skip
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Calibration:
        """Read a Calibration; every value is checked.

        Raises:
            CalibrationError: it is damaged, or none.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(member.file_size for member in archive.infolist()) > len(data):
                    raise ValueError("it is compressed, and ours are not")  # it could grow beyond all bounds
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                protocol, adapters, cells, mean, slope, error = (arrays[name] for name in _ARRAYS)
            found = cls(
                str(protocol), int(adapters), int(cells), mean.astype(np.float32), slope.astype(np.float32),
                (float(error[0]), float(error[1])),
            )  # fmt: skip
        except (ValueError, KeyError, OSError, EOFError, TypeError, IndexError, zipfile.BadZipFile) as error:
            raise CalibrationError(f"a calibration cannot be read ({error!r:.100}): fit it again") from error
        found._check()
        return found

    def _check(self) -> None:
        (dim,) = self.mean.shape if self.mean.ndim == 1 else (0,)
        finite = np.isfinite(self.mean).all() and np.isfinite(self.slope).all()
        if not dim or self.slope.shape != (dim, dim) or not finite or not all(0.0 <= one < 1e6 for one in self.error):
            raise CalibrationError("a calibration holds values that no calibration has: fit it again")
        if self.adapters < FEWEST_ADAPTERS or self.cells < 1:
            raise CalibrationError(
                f"a calibration was fitted on {self.adapters} adapters and {self.cells} bare cells: it takes at least"
                f" {FEWEST_ADAPTERS} adapters"
            )


def _common_slope(samples: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[Float32[np.ndarray, "d d"], int]:
    """M: a ridge regression of effects, in units of Strength, on bare embeddings; and over how many adapters it is."""
    squares = products = np.zeros((0, 0))
    count = 0
    for effects, bare in samples:
        strength = float(np.sqrt(np.einsum("nd,nd->n", effects, effects)).mean())
        if strength == 0.0 or len(effects) < 2:
            continue
        centred = bare.astype(np.float64) - bare.mean(axis=0, dtype=np.float64)
        if not count:
            squares, products = np.zeros((2, bare.shape[1], bare.shape[1]))
        squares += centred.T @ centred
        products += centred.T @ (effects - effects.mean(axis=0)) / strength
        count += 1
    ridge = _RIDGE * np.trace(squares) / max(1, len(squares))
    slope = np.linalg.solve(squares + ridge * np.eye(len(squares)), products) if count else squares
    return slope.astype(np.float32), count


def _own_slope(effects: Float64[np.ndarray, "n d"], explained: Float64[np.ndarray, "n d"]) -> float:
    """s: least squares over an adapter's own cells, but never below 0: a Calibration that misleads is not used."""
    apart = explained - explained.mean(axis=0)
    squares = float(np.einsum("nd,nd->", apart, apart))
    return max(0.0, float(np.einsum("nd,nd->", effects, apart)) / squares) if squares > 0.0 else 0.0
