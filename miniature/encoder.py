"""The encoder: a small CLIPModel that learns from pictures and captions of most effects.

Some of the pictures are drawn, some made by the base with adapters (`practice.py`). It learns by contrast, as CLIP
does, and beside it by naming every fact from either embedding with the same linear heads, which are thrown away:
without them a model this small learns colours and places and never the objects.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from miniature.batches import FIELDS, UNKNOWN, Batch, Batches
from miniature.loop import Average, Checkpoint, Log, quiet, rate
from miniature.pools import Pool
from miniature.quality import figures

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
WIDTH = 128


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """The untrained model."""
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    shared = {"hidden_size": WIDTH, "intermediate_size": 3 * WIDTH, "num_attention_heads": 4, "projection_dim": WIDTH}
    text = {
        **shared, "vocab_size": len(tokenizer), "num_hidden_layers": 2,
        "max_position_embeddings": tokenizer.model_max_length, **ids,
    }  # fmt: skip
    vision = {**shared, "num_hidden_layers": 4, "image_size": 64, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH, attn_implementation="eager")
    return CLIPModel(config)


def pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, 64, 64, 3) to CLIP's normalised (n, 3, 64, 64)."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> dict[str, torch.Tensor]:
    """Token ids padded to the longest text."""
    return dict(tokenizer(texts, padding=True, truncation=True, return_tensors="pt"))


def contrast(logits: torch.Tensor, true: np.ndarray) -> torch.Tensor:
    """CLIP's loss; a caption that is true of another picture too is no counterexample."""
    own = torch.eye(len(logits), dtype=torch.bool)
    logits = logits.masked_fill(torch.from_numpy(true) & ~own, -1e4)
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


class Names(nn.Module):
    """Linear heads that name the facts, the same for both towers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, len(values)) for values in FIELDS.values())

    def forward(self, embeddings: torch.Tensor, facts: np.ndarray) -> torch.Tensor:
        """Mean cross entropy over the facts that are known."""
        found = [
            functional.cross_entropy(head(16 * embeddings), torch.from_numpy(facts[:, i]), ignore_index=UNKNOWN)
            for i, head in enumerate(self.heads)
            if (facts[:, i] != UNKNOWN).any()
        ]
        return torch.stack(found).mean()


def loss(model: CLIPModel, names: Names, tokenizer: CLIPTokenizer, batch: Batch) -> torch.Tensor:
    """Contrast, and naming from pictures and from captions."""
    with torch.autocast("cpu", torch.bfloat16):
        v = model.get_image_features(pixel_values=pixels(batch.images)).pooler_output
        u = model.get_text_features(**tokens(tokenizer, batch.texts)).pooler_output
    v, u = functional.normalize(v.float(), dim=-1), functional.normalize(u.float(), dim=-1)
    logits = v @ u.T * model.logit_scale.exp()
    return contrast(logits, batch.true) + names(v, batch.facts) + 0.5 * names(u, batch.claims)


def train(pool: Pool, kept: Pool, tokenizer: CLIPTokenizer, folder: Path, steps: int, size: int = 128) -> None:
    """Train, or go on from the check point beside `folder`, and save into `folder`."""
    quiet(0)
    log = Log(folder.parent / "encoder.log")
    model = build(tokenizer)
    names = Names(WIDTH)
    batches = Batches(pool, 0)
    parameters = [*model.parameters(), *names.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    average = Average(model.parameters(), 0.998)
    point = Checkpoint(folder.parent / "encoder.pt", batches.rng, model=model, names=names, optimizer=optimizer,
                       average=average)  # fmt: skip
    for step in range(point.load(), steps):
        optimizer.param_groups[0]["lr"] = rate(step, steps, 1.2e-3)
        optimizer.zero_grad()
        value = loss(model, names, tokenizer, batches.draw(size, hard=0.5))
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update()
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.0)
        if step % 250 == 249 or step == steps - 1:
            point.save(step + 1)
            average.swap()
            count = 100 if step < steps - 1 else len(kept.images)
            log(f"step {step + 1} loss {value.item():.3f} {accuracy(model, tokenizer, kept, count)}")
            save(model, tokenizer, folder)
            average.swap()


@torch.no_grad()
def accuracy(model: CLIPModel, tokenizer: CLIPTokenizer, pool: Pool, count: int) -> dict[str, float]:
    """What `quality.figures` finds for this model."""

    def unit(x: torch.Tensor) -> np.ndarray:
        return functional.normalize(x.float(), dim=-1).numpy()

    was = model.training
    model.eval()
    found = figures(
        lambda images: unit(model.get_image_features(pixel_values=pixels(images)).pooler_output),
        lambda texts: unit(model.get_text_features(**tokens(tokenizer, texts)).pooler_output),
        pool,
        count,
    )
    model.train(was)
    return found


def save(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the model, the tokenizer and the preprocessing beside each other."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True,
        "size": {"shortest_edge": 64}, "resample": 3, "do_center_crop": True, "crop_size": size,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": MEAN, "image_std": STD,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2), encoding="utf-8")
