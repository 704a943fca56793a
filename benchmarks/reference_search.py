"""The published way to answer a query, after its description, to compare with.

For every query the 280 retrieval prompts are encoded anew, alone and with the query behind them; then the rows of a
data frame are filtered and scored one after the other, and sorted. Written for this project; no code of the authors is
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import torch

STRENGTH_MAX = 9.8
CONSISTENCY_MIN = 0.041
_BATCH = 32
"""The quickest here of 32, 70, 140 and 280."""


def catalogue(directions: np.ndarray, strength: np.ndarray, consistency: np.ndarray) -> pd.DataFrame:
    """Signatures in the layout in which they are published: a row for each adapter.

    Args:
        directions: (n, d).
        strength: (n,).
        consistency: (n,).
    """
    return pd.DataFrame(
        {
            "model_name": [f"adapter {place}" for place in range(len(directions))],
            "direction": directions.tolist(),
            "strength": strength,
            "consistency": consistency,
        }
    )


def rank(signatures: pd.DataFrame, vector: np.ndarray, top: int = 10) -> list[tuple[float, str]]:
    """The best adapters for a query vector (d,), as (score, name): filter, score and sort, row by row."""
    unit = vector / np.linalg.norm(vector)
    found: list[tuple[float, str]] = []
    for _, row in signatures.iterrows():
        if row["strength"] > STRENGTH_MAX or row["consistency"] < CONSISTENCY_MIN:
            continue
        direction = np.asarray(row["direction"])
        found.append((float(unit @ direction / np.linalg.norm(direction)), row["model_name"]))
    return sorted(found, reverse=True)[:top]


@final
class ReferenceSearch:
    """Queries by CLIP from transformers, over a data frame."""

    def __init__(self, folder: Path, prompts: Sequence[str], signatures: pd.DataFrame) -> None:
        """Load the encoder."""
        from transformers import CLIPModel, CLIPTokenizer

        self._model: Any = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
        self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self._prompts = list(prompts)
        self._signatures = signatures

    def query(self, query: str, top: int = 10) -> list[tuple[float, str]]:
        """The best adapters for some words, as (score, name)."""
        return rank(self._signatures, self.vector(query), top)

    def vector(self, query: str) -> np.ndarray:
        """The query vector (d,): the mean over the prompts of u(prompt + " " + query) - u(prompt)."""
        with_query = self.encode([f"{prompt} {query}" for prompt in self._prompts])
        return (with_query - self.encode(self._prompts)).mean(0)

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> np.ndarray:
        """One embedding a text."""
        parts: list[np.ndarray] = []
        for start in range(0, len(texts), _BATCH):
            inputs = self._tokenizer(texts[start : start + _BATCH], padding=True, truncation=True, return_tensors="pt")
            parts.append(self._model.get_text_features(**inputs).pooler_output.numpy())
        return np.concatenate(parts)
