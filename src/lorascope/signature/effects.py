"""The effects of one adapter so far, and the Signature that they amount to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float, Integer

from lorascope.moments import Moments
from lorascope.signature.calibration import Calibration
from lorascope.signature.signature import Signature


@final
class Effects:
    """Collects the cells of one adapter in the order of the grid.

    The Moments are all that a plain mean needs. A regression needs the cells themselves, because an adapter's own slope
    changes with every cell.
    """

    def __init__(self, prompts: int, seeds: int, dim: int) -> None:
        """Begin without cells; see :meth:`lorascope.moments.Moments.empty`."""
        self.moments = Moments.empty(prompts, seeds, dim)
        self._cells: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(
        self,
        prompt_index: Integer[np.ndarray, " n"],
        effects: Float[np.ndarray, "n d"],
        bare: Float[np.ndarray, "n d"],
        *,
        noise_floor: float,
    ) -> None:
        """Add some cells.

        Args:
            prompt_index: the prompt of each.
            effects: e of each, CLIP units.
            bare: the bare embedding of each.
            noise_floor: see :meth:`lorascope.moments.Moments.add`, which says what is refused.
        """
        self.moments.add(prompt_index, effects, noise_floor=noise_floor)
        self._cells.append((prompt_index, effects, bare))

    def signature(
        self, categories: Sequence[str] | None = None, *, looks: int = 1, calibration: Calibration | None = None
    ) -> Signature:
        """The Signature of all cells; see :meth:`lorascope.signature.Signature.from_moments`.

        Args:
            categories: the category of each prompt of the grid.
            looks: how many looks the intervals allow for.
            calibration: how the Direction is estimated; the plain mean without one.

        Raises:
            CalibrationError: the Calibration is of another dimension.
        """
        residuals = None
        if calibration is not None and self._cells:
            prompt_index, effects, bare = (np.concatenate(parts) for parts in zip(*self._cells, strict=True))
            residuals = calibration.residuals(self.moments, prompt_index, effects, bare)
        return Signature.from_moments(self.moments, categories, looks=looks, residuals=residuals)
