"""Giving the encoder's space the proportions of CLIP's, where content outweighs style.

Trained on captions that mostly name the style, a small encoder gives style as much room as content, and adds the two
up: every effect then moves every picture the same way, Consistencies come out far above those of real libraries, and
all ways to encode a query do equally well. Captions in the wild rarely name a style. So, when it is trained, the
directions in which styles differ on average are made shorter, the same in both towers: by W = (1 + amount * B /
s)^(-1/2), with B the covariance of the styles' mean shifts and s the variance that content has in a direction on
average. The amount was chosen on drawn pictures alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import CLIPModel, CLIPTokenizer

from miniature.encoder import pixels, save
from miniature.pools import TRAINED, Pool

AMOUNT = 1.0


@torch.no_grad()
def balance(source: Path, pool: Pool, target: Path, amount: float = AMOUNT) -> None:
    """Write the balanced copy of an encoder.

    Args:
        source: Folder of the trained encoder.
        pool: Pictures, plain and with one effect.
        target: Where the copy goes.
        amount: How much shorter; 0 changes nothing.
    """
    model, words = CLIPModel.from_pretrained(source).eval(), CLIPTokenizer.from_pretrained(source)
    shrink = torch.from_numpy(_matrix(model, pool, amount)).float()
    for projection in (model.visual_projection, model.text_projection):
        projection.weight.copy_(shrink @ projection.weight)
    save(model, words, target)


def _matrix(model: CLIPModel, pool: Pool, amount: float, count: int = 6000) -> np.ndarray:
    chosen = [i for i, names in enumerate(pool.effects[:count]) if len(names) < 2]
    seen = [model.get_image_features(pixel_values=pixels(pool.images[i])).pooler_output for i in _split(chosen)]
    embeddings = torch.cat(seen).double().numpy()
    style = np.array([TRAINED.index(pool.effects[i][0]) if pool.effects[i] else -1 for i in chosen])
    plain = embeddings[style < 0]
    shifts = np.stack([embeddings[style == s].mean(0) - plain.mean(0) for s in np.unique(style[style >= 0])])
    between = shifts.T @ shifts / len(shifts)
    content = ((plain - plain.mean(0)) ** 2).mean()
    values, axes = np.linalg.eigh(between / content)
    return (axes / np.sqrt(1 + amount * np.maximum(values, 0))) @ axes.T


def _split(chosen: list[int], size: int = 256) -> list[list[int]]:
    return [chosen[start : start + size] for start in range(0, len(chosen), size)]
