"""LoRAs of the second base, as FLUX's trainers write them, for effects that the first world's adapters have, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file
from torch import nn

from lorascope.adapters import Names
from miniature.adapters import encoded, pictures
from miniature.captions import plain
from miniature.catalogue import ENTRIES, Entry
from miniature.flux import Flow, pack
from miniature.loop import Log, quiet

STEPS, BATCH, PEAK = 100, 4, 1e-2

_LAYERS = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "ff.net.0.proj", "ff.net.2", "proj_mlp", "proj_out")
_SWAPPED = "norm_out.linear"
"""Its halves lie in another order in kohya's files."""
_EVERY = 5
"""Every fifth adapter changes all linear layers, as ai-toolkit does; the others attention and feed-forward."""

_LEFT_OUT = 3
"""Every third adapter of a single effect has no twin: together they would be more than may ship."""

_TWINS = [
    *(
        entry
        for place, entry in enumerate(ENTRIES)
        if entry.kind == "single" and not entry.twin and (place + 1) % _LEFT_OUT
    ),
    *(entry for entry in ENTRIES if entry.kind == "subject"),
]
CHOSEN: tuple[Entry, ...] = tuple(
    replace(entry, form=("kohya", "diffusers")[turn % 2], algo="lora", texts=False, trigger="", steps=1.0)
    for turn, entry in enumerate(_TWINS)
)
"""Twins of the first world's adapters of one effect: of the same name, and trained on the same pictures."""


@dataclass(frozen=True)
class LowRank:
    """The trained factors of one layer."""

    down: nn.Parameter
    up: nn.Parameter

    def attach(self, layer: nn.Linear) -> torch.utils.hooks.RemovableHandle:
        """Add the change to the layer's output."""
        return layer.register_forward_hook(lambda _, args, out: out + args[0] @ self.down.T @ self.up.T)


def layers(transformer: nn.Module, *, every: bool) -> dict[str, nn.Linear]:
    """The layers that an adapter changes: those of attention and feed-forward, or every linear one."""
    return {
        name: module
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear)
        and (every and name != _SWAPPED or ("blocks." in name and name.endswith(_LAYERS)))
    }


def train(pipe: FluxPipeline, entry: Entry, turn: int, steps: int, log: Log) -> dict[str, LowRank]:
    """Train one adapter and leave the pipeline as it was."""
    quiet(entry.seed)
    rng = np.random.default_rng([entry.seed, *entry.stem.encode()])
    images, scenes, _ = pictures(entry, rng)
    packed = pack(encoded(pipe.vae, images))
    flow = Flow(pipe)
    changes: dict[str, LowRank] = {}
    handles = []
    for name, layer in layers(pipe.transformer, every=turn % _EVERY == _EVERY - 1).items():
        down = torch.randn(entry.rank, layer.in_features) / layer.in_features**0.5
        changes[name] = LowRank(nn.Parameter(down), nn.Parameter(torch.zeros(layer.out_features, entry.rank)))
        handles.append(changes[name].attach(layer))
    parameters = [part for change in changes.values() for part in (change.down, change.up)]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK, weight_decay=0.0, betas=(0.9, 0.98))
    value = torch.zeros(())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = PEAK * min(1, (step + 1) / 5) * min(1, (steps - step) / (0.5 * steps))
        index = rng.integers(0, len(images), BATCH)
        optimizer.zero_grad()
        value = flow.loss(packed[torch.from_numpy(index)], [plain(scenes[i], rng).text for i in index])
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    for handle in handles:
        handle.remove()
    log(f"{entry.stem}: {steps} steps, last loss {value.item():.3f}")
    return changes


def tensors(changes: Mapping[str, LowRank], form: str, names: Names) -> dict[str, torch.Tensor]:
    """All tensors of a file, fp16: diffusers' names, or kohya's, which join q, k and v in one layer.

    A joined layer has the parts' factors beside each other: the ranks add up, as with kohya's ``split_qkv``.
    """
    found: dict[str, torch.Tensor] = {}
    if form == "diffusers":
        for name, change in changes.items():
            found |= {f"transformer.{name}.lora_A.weight": change.down, f"transformer.{name}.lora_B.weight": change.up}
    else:
        prefix, written = "lora_unet_", set[str]()
        for alias, targets in names.aliases():
            parts = [changes.get(target.module) for target in targets if target.component == "transformer"]
            own = alias == prefix + targets[0].module.replace(".", "_")  # the authors' names are wanted
            others = own or "processor" in alias or alias.endswith(("to_qkv", "to_added_qkv"))
            if alias.startswith(prefix) and not others and parts and all(parts):
                known = [part for part in parts if part is not None]
                written |= {target.module for target in targets}
                ups = torch.block_diag(*(part.up for part in known))
                found |= {
                    f"{alias}.lora_down.weight": torch.cat([part.down for part in known]),
                    f"{alias}.lora_up.weight": ups,
                    f"{alias}.alpha": torch.tensor(float(len(ups[0]))),
                }
        if missing := changes.keys() - written:
            raise ValueError(f"kohya has no name for {sorted(missing)}: do not train them")
    return {key: value.detach().to(torch.float16).contiguous().clone() for key, value in found.items()}


def train_all(base: Path, out: Path, steps: int = STEPS) -> None:
    """Train those adapters that `out` lacks, and write them into it."""
    pipe = FluxPipeline.from_pretrained(base, torch_dtype=torch.float32)
    for model in (pipe.transformer, pipe.text_encoder, pipe.text_encoder_2, pipe.vae):
        model.requires_grad_(False)
    shapes = {"transformer": {name: tuple(p.shape) for name, p in pipe.transformer.named_parameters()}}
    names, log = Names(shapes), Log(out.parent / "flux-adapters.log")
    out.mkdir(parents=True, exist_ok=True)
    for turn, entry in enumerate(CHOSEN):
        path = out / f"{entry.stem}.safetensors"
        if not path.exists():
            data = tensors(train(pipe, entry, turn, steps, log), entry.form, names)
            save_file(data, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
