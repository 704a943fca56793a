"""Giving the encoder's space the proportions of CLIP's, where content outweighs style.

Trained on captions that mostly name the style, a small encoder gives style as much room as content, and adds the two
up: every effect then moves every picture the same way, and Consistencies come out far above those of real libraries.
Captions in the wild rarely name a style. So, when it is trained, the directions in which styles differ on average are
made shorter in both towers, by W = (1 + amount * B / s)^(-1/2), with B the covariance of the styles' mean shifts and s
the variance that content has in a direction on average. The texts' own noise would now drown their styles: the text
tower therefore learns on, while the image tower keeps still (as in LiT, Zhai et al., arXiv 2111.07991), which is quick,
since every picture is embedded only once. The amount was chosen by the Consistencies of adapters, with no query asked.

Contrast alone asks only that a caption be nearer to its picture than others are. Shifts compare differences of texts
with differences of pictures, which contrast leaves free, so captions are pulled onto their pictures, too: gently, for
a strong pull costs names of what is drawn (model card).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from miniature.batches import Batches
from miniature.encoder import WIDTH, Names, accuracy, contrast, pixels, save, tokens
from miniature.loop import Checkpoint, Log, quiet, rate
from miniature.pools import TRAINED, Pool

AMOUNT = 4.0
PULL = 2.0
"""Weight of 1 - cosine of a caption and its own picture."""
SHARPEST = 4.6
"""Logarithm of the highest temperature, CLIP's own: styles lie close together now."""


def balance(
    source: Path, pool: Pool, made: Pool, kept: Pool, target: Path, steps: int = 4000, amount: float = AMOUNT
) -> None:
    """Write the balanced copy of an encoder, or go on from the check point beside `target`.

    Args:
        source: Folder of the trained encoder.
        pool: Drawn pictures; those it was trained on, or some of them.
        made: Pictures that the base made with adapters.
        kept: Pictures in combinations that were kept back, to measure on.
        target: Where the copy goes.
        steps: For which the text tower learns on.
        amount: How much shorter styles become; 0 changes nothing.
    """
    quiet(5)
    log = Log(target.parent / "balance.log")
    model, words = CLIPModel.from_pretrained(source).eval(), CLIPTokenizer.from_pretrained(source)
    seen = _embeddings(model, pool)
    shrink = torch.from_numpy(_matrix(seen.double().numpy(), pool, amount)).float()
    with torch.no_grad():
        for projection in (model.visual_projection, model.text_projection):
            projection.weight.copy_(shrink @ projection.weight)
    log(f"amount {amount}: {accuracy(model, words, kept, 250)}")
    seen = functional.normalize(torch.cat([seen @ shrink.T, _embeddings(model, made)]), dim=-1)
    for done in _learn_texts(model, words, seen, pool + made, target.parent / "balance.pt", steps):
        log(f"{done} steps of texts: {accuracy(model, words, kept, 250)}")
        save(model, words, target)


@torch.no_grad()
def _embeddings(model: CLIPModel, pool: Pool, size: int = 256) -> torch.Tensor:
    parts = (pool.images[start : start + size] for start in range(0, len(pool.images), size))
    return torch.cat([model.get_image_features(pixel_values=pixels(part)).pooler_output for part in parts])


def _matrix(seen: np.ndarray, pool: Pool, amount: float) -> np.ndarray:
    """W, symmetric, (d, d)."""
    style = np.array([-2 if len(names) > 1 else TRAINED.index(names[0]) if names else -1 for names in pool.effects])
    plain = seen[style == -1]
    shifts = np.stack([seen[style == s].mean(0) - plain.mean(0) for s in np.unique(style[style >= 0])])
    between = shifts.T @ shifts / len(shifts)
    content = ((plain - plain.mean(0)) ** 2).mean()
    values, axes = np.linalg.eigh(between / content)
    return (axes / np.sqrt(1 + amount * np.maximum(values, 0))) @ axes.T


def _learn_texts(
    model: CLIPModel, words: CLIPTokenizer, seen: torch.Tensor, pool: Pool, kept: Path, steps: int
) -> Iterator[int]:
    """Train the text tower to fit the embeddings of the pictures, which stay as they are; tell now and then how far."""
    names = Names(WIDTH)
    parameters = [*model.text_model.parameters(), model.text_projection.weight, model.logit_scale, *names.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=6e-4, weight_decay=0.05, betas=(0.9, 0.98))
    batches = Batches(pool, 5, jitter=0, asked=0.5)
    point = Checkpoint(kept, batches.rng, model=model, names=names, optimizer=optimizer)
    for step in range(point.load(), steps):
        optimizer.param_groups[0]["lr"] = rate(step, steps, 6e-4, 0.7)
        batch = batches.draw(192, hard=0.6)
        v = seen[torch.from_numpy(batch.rows)]
        u = functional.normalize(model.get_text_features(**tokens(words, batch.texts)).pooler_output, dim=-1)
        loss = contrast(v @ u.T * model.logit_scale.exp(), batch.true) + PULL * (1 - (v * u).sum(-1)).mean()
        optimizer.zero_grad()
        (loss + 0.5 * names(v, batch.facts) + 0.5 * names(u, batch.claims)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=SHARPEST)
        if step % 500 == 499 or step == steps - 1:
            point.save(step + 1)
            yield step + 1
