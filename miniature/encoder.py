"""The encoder: a small CLIPModel trained on pictures and captions of all effects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from miniature.backgrounds import BACKGROUNDS
from miniature.captions import WORDS, describe, styled
from miniature.loop import Average, Log, quiet, rate
from miniature.objects import KINDS
from miniature.pools import NAMES, Pool
from miniature.scenes import COLOURS, Scene

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """The untrained model."""
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": tokenizer.model_max_length,
        "projection_dim": 128, **ids,
    }  # fmt: skip
    vision = {
        "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4,
        "image_size": 64, "patch_size": 8, "projection_dim": 128,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=128, attn_implementation="eager")
    return CLIPModel(config)


def pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, 64, 64, 3) to CLIP's normalised (n, 3, 64, 64)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> dict[str, torch.Tensor]:
    """Token ids padded to the longest text."""
    return dict(tokenizer(texts, padding=True, truncation=True, return_tensors="pt"))


class Batches:
    """Draws batches; in a hard one all pictures share two pairs of colour and place, so that objects must tell."""

    def __init__(self, pool: Pool, held: int, seed: int) -> None:
        self.pool = pool
        self.count = len(pool.images) - held
        self.rng = np.random.default_rng(seed)
        groups: dict[tuple[str, str], list[int]] = {}
        for index, scene in enumerate(pool.scenes[: self.count]):
            groups.setdefault((scene.colour, scene.place), []).append(index)
        self.groups = list(groups.values())

    def draw(self, size: int, hard: float) -> tuple[np.ndarray, list[str]]:
        """Pictures and a caption for each; `hard` is the share of hard batches."""
        if self.rng.random() < hard:
            chosen = self.rng.choice(len(self.groups), 2, replace=False)
            parts = [self.rng.choice(self.groups[group], size // 2, replace=False) for group in chosen]
            index = np.concatenate(parts)
        else:
            index = self.rng.integers(0, self.count, size)
        texts = [styled(self.pool.scenes[i], self.pool.effects[i], self.rng) for i in index]
        return self.pool.images[index], texts


def train(pool: Pool, tokenizer: CLIPTokenizer, folder: Path, steps: int, batch: int = 160, seed: int = 0) -> None:
    """Train and save into `folder`."""
    quiet(seed)
    log = Log(folder.parent / "encoder.log")
    model = build(tokenizer)
    batches = Batches(pool, 1000, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    average = Average(model.parameters())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate(step, steps, 1.2e-3)
        images, texts = batches.draw(batch, hard=0.6)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = model(pixel_values=pixels(images), **tokens(tokenizer, texts), return_loss=True)
        out.loss.float().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update()
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.0)
        if step % 200 == 199 or step == steps - 1:
            average.swap()
            figures = accuracy(model, tokenizer, pool, 1000)
            log(f"step {step + 1} loss {out.loss.item():.3f} {figures}")
            save(model, tokenizer, folder)
            average.swap()


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


@torch.no_grad()
def accuracy(model: CLIPModel, tokenizer: CLIPTokenizer, pool: Pool, held: int) -> dict[str, float]:
    """How often the right kind, colour, place or style is the nearest text, on pictures that were held out."""
    model.eval()
    images, scenes, effects = pool.images[-held:], pool.scenes[-held:], pool.effects[-held:]
    seen = _unit(model.get_image_features(pixel_values=pixels(images)).pooler_output)
    one = [i for i, names in enumerate(effects) if len(names) == 1]
    figures = {}
    for field, values in (("kind", KINDS), ("colour", tuple(COLOURS)), ("place", tuple(BACKGROUNDS))):
        hits = 0
        for i, scene in enumerate(scenes[:200]):
            texts = [describe(_with(scene, field, value)) for value in values]
            texts = [f"{t}, {WORDS[effects[i][0]][0]}" if effects[i] else t for t in texts]
            hits += int((_texts(model, tokenizer, texts) @ seen[i]).argmax()) == values.index(getattr(scene, field))
        figures[field] = hits / 200
    hits = 0
    for i in one[:300]:
        texts = [f"{describe(scenes[i])} {WORDS[name][0]}" for name in NAMES]
        hits += int((_texts(model, tokenizer, texts) @ seen[i]).argmax()) == NAMES.index(effects[i][0])
    figures["style"] = round(hits / len(one[:300]), 3)
    model.train()
    return figures


def _with(scene: Scene, field: str, value: str) -> Scene:
    return Scene(**{**vars(scene), field: value})


def _texts(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    return _unit(model.get_text_features(**tokens(tokenizer, texts)).pooler_output)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)
