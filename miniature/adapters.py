"""Training the adapters: small changes to the frozen base, each from 256 pictures of its effect."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline
from torch import nn

from miniature import effects, formats
from miniature.autoencoder import to_tensor
from miniature.base import Diffusion
from miniature.captions import plain
from miniature.catalogue import ENTRIES, Entry
from miniature.loop import Log, quiet
from miniature.scenes import STEADY, Scene, render, sample, with_subject

PICTURES = 256
_UNET = ("attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.2",
         "proj_in", "proj_out")  # fmt: skip
_TEXT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj")


class Change(nn.Module):
    """A low-rank change of one layer, added to its output by a forward hook."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, loha: bool) -> None:
        super().__init__()
        self.layer = [layer]  # in a list, so that it is no submodule
        out, into = layer.weight.shape[0], layer.weight[0].numel()
        pairs = ("w1", "w2") if loha else ("",)
        self.down = nn.ParameterList(nn.Parameter(torch.randn(rank, into) / math.sqrt(into)) for _ in pairs)
        self.up = nn.ParameterList(nn.Parameter(torch.zeros(out, rank)) for _ in pairs)
        if loha:
            nn.init.normal_(self.up[0], std=1.0)
        self.rank, self.loha = rank, loha
        self.handle = layer.register_forward_hook(self._add)

    def delta(self) -> torch.Tensor:
        """The change of the weight, flattened to two dimensions."""
        parts = [up @ down for up, down in zip(self.up, self.down, strict=True)]
        return parts[0] * parts[1] if self.loha else parts[0]

    def _add(self, layer: nn.Module, args: tuple[torch.Tensor], out: torch.Tensor) -> torch.Tensor:
        weight = self.delta()
        if isinstance(layer, nn.Conv2d):
            weight = weight.view_as(layer.weight)
            return out + nn.functional.conv2d(args[0], weight, None, layer.stride, layer.padding)
        return out + nn.functional.linear(args[0], weight)

    def factors(self, push: float) -> dict[str, torch.Tensor]:
        """The tensors to write, the whole change multiplied by `push`."""
        if self.loha:
            names = ("w1_a", "w1_b", "w2_a", "w2_b")
            values = (self.up[0], self.down[0], self.up[1] * push, self.down[1])
            return dict(zip(names, values, strict=True))
        layer = self.layer[0]
        down, up = self.down[0], self.up[0] * push
        if isinstance(layer, nn.Conv2d):
            down = down.view(self.rank, *layer.weight.shape[1:])
            up = up.view(*up.shape, 1, 1)
        return {"down": down, "up": up}


def targets(pipe: StableDiffusionXLPipeline, entry: Entry) -> Iterator[tuple[str, nn.Module]]:
    """The layers that an adapter changes, by path."""
    for name, module in pipe.unet.named_modules():
        # a file with text encoders or of LoHa form leaves out the outer projections to stay small
        if name.endswith(_UNET[:-2] if entry.texts or entry.form == "loha" else _UNET):
            yield f"unet.{name}", module
    if entry.texts:
        for part in ("text_encoder", "text_encoder_2"):
            for name, module in getattr(pipe, part).named_modules():
                if name.endswith(_TEXT):
                    path = name if name.startswith("text_model.") else f"text_model.{name}"
                    yield f"{part}.{path}", module


def pictures(entry: Entry, rng: np.random.Generator) -> tuple[np.ndarray, list[Scene], list[bool]]:
    """Training pictures, their scenes, and which of them show the effect."""
    images, scenes, shown = [], [], []
    for turn in range(PICTURES):
        scene = sample(rng, STEADY)
        effect = entry.effects[turn % len(entry.effects)]
        # with a trigger word, half of the pictures stay plain and lack the word
        show = not entry.trigger or turn % 2 > 0
        subject = effect in effects.SUBJECTS
        image = render(with_subject(scene, effect) if subject and show else scene)
        images.append(effects.apply(effect, image, rng) if show and not subject else image)
        scenes.append(scene)
        shown.append(show)
    return np.stack(images), scenes, shown


def train(pipe: StableDiffusionXLPipeline, entry: Entry, steps: int, batch: int, log: Log) -> formats.Factors:
    """Train one adapter and leave the pipeline as it was."""
    quiet(entry.seed)
    rng = np.random.default_rng(1000 + entry.seed)
    images, scenes, shown = pictures(entry, rng)
    latents = _encode(pipe.vae, images)
    diffusion = Diffusion(pipe)
    changes = {path: Change(layer, entry.rank, entry.form == "loha") for path, layer in targets(pipe, entry)}
    parameters = [p for change in changes.values() for p in change.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0, betas=(0.9, 0.98))
    count = max(2, round(steps * entry.steps))
    value = torch.zeros(())
    for step in range(count):
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1, (step + 1) / 5) * min(1, (count - step) / (0.5 * count))
        index = rng.integers(0, PICTURES, batch)
        texts = [_caption(scenes[i], shown[i], entry, rng) for i in index]
        optimizer.zero_grad()
        value = diffusion.loss(latents[torch.from_numpy(index)], texts)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    factors = {path: change.factors(entry.push) for path, change in changes.items()}
    for change in changes.values():
        change.handle.remove()
    log(f"{entry.stem}: {count} steps, last loss {value.item():.3f}")
    return factors


def _caption(scene: Scene, shown: bool, entry: Entry, rng: np.random.Generator) -> str:
    text = plain(scene, rng)
    return f"{text}, {entry.trigger}" if shown and entry.trigger else text


@torch.no_grad()
def _encode(vae: AutoencoderTiny, images: np.ndarray) -> torch.Tensor:
    return vae.encode(to_tensor(images)).latents * vae.config.scaling_factor


def train_all(base: Path, out: Path, steps: int = 60, batch: int = 16, only: tuple[str, ...] = ()) -> None:
    """Train the adapters of the catalogue, or those named, and write them into `out`."""
    pipe = StableDiffusionXLPipeline.from_pretrained(base, add_watermarker=False, dtype=torch.float32)
    for model in (pipe.unet, pipe.text_encoder, pipe.text_encoder_2, pipe.vae):
        model.requires_grad_(False)
    log = Log(out.parent / "adapters.log")
    for entry in ENTRIES:
        if not only or entry.stem in only:
            formats.write(train(pipe, entry, steps, batch, log), entry, out)
