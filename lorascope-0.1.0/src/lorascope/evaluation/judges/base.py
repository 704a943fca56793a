"""What every judge is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True)
class Verdict:
    """A score, higher for a better fit, and the figures that it is made of."""

    score: float
    parts: Mapping[str, float] = field(default_factory=dict[str, float])


@runtime_checkable
class Judge(Protocol):
    """Scores images against queries."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def identity(self) -> str:
        """Its name and a digest of all that decides its scores: weights, formula, question. Scores are kept by it."""
        ...

    @property
    def encoder(self) -> str:
        """The digest of its weights, to tell it from the encoder that measured the library."""
        ...

    def judge(self, images: UInt8[np.ndarray, "n h w 3"], queries: Sequence[str]) -> list[list[Verdict]]:
        """A row for each image, a verdict for each query. A score depends on its image and its query alone."""
        ...
