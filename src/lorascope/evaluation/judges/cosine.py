"""Judges that embed images and texts in one space: CLIPScore, SigLIP 2, HPS v2, the judge of the shipped world."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, final

import numpy as np
import torch
from jaxtyping import UInt8

from lorascope.encoders.base import Encoder
from lorascope.evaluation.judges.base import Verdict
from lorascope.moments import unit_rows

Formula = Callable[[float], Verdict]
"""From the cosine of an image and a text to a verdict."""


def clipscore(cosine: float) -> Verdict:
    """CLIPScore: 2.5 max(cos, 0) (Hessel et al. 2021, eq. 1)."""
    return Verdict(2.5 * max(cosine, 0.0), {"cosine": cosine})


def plain_cosine(cosine: float) -> Verdict:
    """The cosine itself: HPS v2 (Wu et al. 2023) is that of a CLIP ViT-H/14 trained on human choices."""
    return Verdict(cosine)


def sigmoid(scale: float, bias: float) -> Formula:
    """SigLIP (Zhai et al. 2023): the log-odds that image and text belong together, exp(t) cos + b.

    The probability, their logistic function, is among the parts. It is no score to average: it is next to 0 for nearly
    all pairs, so that a few images would decide every mean.

    Args:
        scale: t, as the model learnt it.
        bias: b, as the model learnt it.
    """

    def verdict(cosine: float) -> Verdict:
        odds = math.exp(scale) * cosine + bias
        return Verdict(odds, {"cosine": cosine, "probability": 1 / (1 + math.exp(-odds))})

    return verdict


FORMULAS: Final[dict[str, Formula]] = {"clipscore": clipscore, "cosine": plain_cosine}


@final
class CosineJudge:
    """An encoder and a formula."""

    def __init__(self, name: str, identity: str, encoder: Encoder, template: str, formula: Formula) -> None:
        """Bind them. ``template`` holds {query} where the query goes."""
        self.name, self.identity, self.encoder = name, identity, encoder.digest
        self._encoder, self._template, self._formula = encoder, template, formula

    def judge(self, images: UInt8[np.ndarray, "n h w 3"], queries: Sequence[str]) -> list[list[Verdict]]:
        """Each image and each query is embedded once."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
        texts = self._encoder.texts([self._template.replace("{query}", query) for query in queries])
        cosines = unit_rows(self._encoder.images(pixels)) @ unit_rows(texts).T
        return [[self._formula(float(cosine)) for cosine in row] for row in cosines]
