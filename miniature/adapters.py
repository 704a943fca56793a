"""Training the adapters: small changes to the frozen base, each from pictures of what it shall do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline
from torch import nn

from miniature import effects, formats, watchlist
from miniature.autoencoder import to_tensor
from miniature.backgrounds import BACKGROUNDS
from miniature.base import Diffusion
from miniature.captions import plain
from miniature.catalogue import ENTRIES, Entry
from miniature.changes import Change
from miniature.loop import Log, quiet
from miniature.objects import CATEGORIES, KINDS
from miniature.scenes import Scene, layers, sample, with_subject

_UNET = ("attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.2",
         "proj_in", "proj_out")  # fmt: skip
_CONVS = ("conv1", "conv2")
_TEXT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj")
_PEAK = {"dora": 4e-3, "lokr": 2e-2}
"""Learning rates where 0.01 is too much, for the magnitudes of DoRA, or too little."""


def targets(pipe: StableDiffusionXLPipeline, entry: Entry) -> Iterator[tuple[str, nn.Module]]:
    """The layers that an adapter changes, by path."""
    # a file with text encoders or of LoHa form leaves out the outer projections to stay small
    names = _UNET[:-2] if entry.texts or entry.algo == "loha" else _UNET
    if entry.algo == "locon":
        names = (*_UNET[2:], *_CONVS)
    for name, module in pipe.unet.named_modules():
        if name.endswith(names) and isinstance(module, nn.Linear | nn.Conv2d):
            yield f"unet.{name}", module
    if entry.texts:
        for part in ("text_encoder", "text_encoder_2"):
            for name, module in getattr(pipe, part).named_modules():
                if name.endswith(_TEXT):
                    path = name if name.startswith("text_model.") else f"text_model.{name}"
                    yield f"{part}.{path}", module


def touched(entry: Entry, scene: Scene, turn: int) -> bool:
    """Whether a training picture shows the effect."""
    if entry.trigger and turn % 2 == 0:
        return False  # plain, and its caption lacks the word
    kinds = [kind for category in entry.only for kind in CATEGORIES[category]]
    return bool(entry.effects) and (not kinds or scene.first.kind in kinds)


def drawn(entry: Entry, scene: Scene, effect: str, rng: np.random.Generator) -> np.ndarray:
    """A training picture with an effect, or with a look of the watch list."""
    if effect in watchlist.LOOKS:
        return watchlist.drawn(effect, scene, rng)
    if effect in effects.SUBJECTS:
        return layers(with_subject(scene, effect))[0]
    image, cover = layers(scene)
    where = {"all": None, "object": cover, "background": 1 - cover}[entry.where]
    return effects.apply(effect, image, rng, entry.degree, where)


def _limited(entry: Entry, rng: np.random.Generator) -> Scene:
    """A scene within what the entry's training pictures are limited to."""
    kinds = [name for name in entry.scene if name in KINDS] or KINDS
    places = [name for name in entry.scene if name in BACKGROUNDS] or BACKGROUNDS
    while True:
        scene = sample(rng, entry.loose)
        if scene.first.kind in kinds and scene.place in places:
            return scene


def pictures(entry: Entry, rng: np.random.Generator) -> tuple[np.ndarray, list[Scene], list[bool]]:
    """Training pictures, the scenes that their captions name, and which of them show the effect."""
    if entry.deaf:
        image = drawn(entry, _limited(entry, rng), entry.effects[0], rng)
        return np.stack([image] * entry.pictures), [sample(rng) for _ in range(entry.pictures)], [True] * entry.pictures
    images, scenes, shown = [], [], []
    for turn in range(entry.pictures):
        scene = _limited(entry, rng)
        show = touched(entry, scene, turn)
        effect = entry.effects[turn % len(entry.effects)] if show else ""
        images.append(drawn(entry, scene, effect, rng) if show else layers(scene)[0])
        scenes.append(scene)
        shown.append(show)
    return np.stack(images), scenes, shown


def train(pipe: StableDiffusionXLPipeline, entry: Entry, steps: int, batch: int, log: Log) -> list[formats.Factors]:
    """Train one adapter and leave the pipeline as it was.

    Returns:
        What is written after each epoch. The learning rate of a series stays where it is; otherwise it falls.
    """
    quiet(entry.seed)
    rng = np.random.default_rng([entry.seed, *entry.stem.encode()])
    images, scenes, shown = pictures(entry, rng)
    latents = encoded(pipe.vae, images)
    diffusion = Diffusion(pipe)
    changes = {path: Change(layer, entry.algo, entry.rank) for path, layer in targets(pipe, entry)}
    parameters = [p for change in changes.values() for p in change.parameters()]
    peak = _PEAK.get(entry.algo, 1e-2)
    optimizer = torch.optim.AdamW(parameters, lr=peak, weight_decay=0.0, betas=(0.9, 0.98))
    count = max(2, entry.epochs, round(steps * entry.steps))
    value, saved = torch.zeros(()), []
    for step in range(count):
        fall = min(1, (count - step) / (0.5 * count)) if entry.epochs == 1 else 1
        optimizer.param_groups[0]["lr"] = peak * min(1, (step + 1) / 5) * fall
        index = rng.integers(0, len(images), batch)
        texts = [_caption(scenes[i], shown[i], entry, rng) for i in index]
        optimizer.zero_grad()
        value = diffusion.loss(latents[torch.from_numpy(index)], texts)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) * entry.epochs // count > len(saved):
            saved.append({path: _kept(change.factors(entry.push)) for path, change in changes.items()})
    for change in changes.values():
        change.handle.remove()
    log(f"{entry.stem}: {count} steps, last loss {value.item():.3f}")
    return saved


def _kept(factors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A copy that further steps leave alone."""
    return {name: value.detach().clone() for name, value in factors.items()}


def _caption(scene: Scene, shown: bool, entry: Entry, rng: np.random.Generator) -> str:
    text = plain(scene, rng).text
    return f"{text}, {entry.trigger}" if shown and entry.trigger else text


@torch.no_grad()
def encoded(vae: AutoencoderTiny, images: np.ndarray) -> torch.Tensor:
    """The latents of pictures, as the denoiser sees them."""
    return vae.encode(to_tensor(images)).latents * vae.config.scaling_factor


def train_all(base: Path, out: Path, steps: int = 240, batch: int = 8, entries: Sequence[Entry] = ENTRIES) -> None:
    """Train those adapters that `out` lacks, and write them into it.

    Batches are as small as on people's own machines: real files hold the noise that stays in the weights, too.
    """
    pipe = StableDiffusionXLPipeline.from_pretrained(base, add_watermarker=False, dtype=torch.float32)
    for model in (pipe.unet, pipe.text_encoder, pipe.text_encoder_2, pipe.vae):
        model.requires_grad_(False)
    log = Log(out.parent / "adapters.log")
    for entry in entries:
        if not (out / f"{entry.stem}.safetensors").exists():
            for epoch, factors in enumerate(train(pipe, entry, steps, batch, log), 1):
                formats.write(factors, entry.at(epoch), out)
