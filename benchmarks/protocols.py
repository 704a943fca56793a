"""Cheaper ways to draw, on the shipped world: do they rank adapters as its own Protocol does?"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from benchmarks.harness import Figure, Measurement, processor_seconds
from lorascope import Library, Preset, Signature, index
from lorascope.evaluation.statistics import spearman
from lorascope.measure import load_worker
from lorascope.miniature import adapters_path

TITLE = "Fewer steps, and steps that reuse"
NOTE = """Every adapter of the shipped world on 64 cells, with its own four steps and in cheaper ways: other Protocols,
and how alike their signatures are. *Reusing* is step caching as in DeepCache: at every second step only the UNet's
outermost blocks are computed; it is measured here and not offered. The world's base was not distilled for few steps, so
an accelerated SDXL may do better or worse."""

_STEPS = (1, 2, 3)
_PROMPTS, _SEEDS = 64, (0,)
_NEAREST = 5


def measure() -> Iterator[Measurement]:
    """Four steps against cheaper ways."""
    with tempfile.TemporaryDirectory() as name:
        whole, full_time = _signatures(Path(name) / "whole.db")
        variants: dict[str, dict[str, Any]] = {f"{n} step{'s' if n > 1 else ''}": {"steps": n} for n in _STEPS}
        for label, change in (variants | {"reusing": {"reusing": True}}).items():
            found, time = _signatures(Path(name) / f"{label}.db", **change)
            yield Figure(name=f"{label}: processor time", value=100 * time / full_time, unit="%")
            yield from _compare(label, whole, found)


def _signatures(place: Path, *, steps: int = 0, reusing: bool = False) -> tuple[list[Signature], float]:
    """Every adapter's by key, and the processor time it took; with the world's own number of steps for 0."""
    preset = Preset.load("miniature")
    texts = preset.grid().prompts.texts
    path = place.with_name("prompts.txt")
    path.write_text("\n".join(texts[:: len(texts) // _PROMPTS][:_PROMPTS]), "utf-8")
    preset = dataclasses.replace(preset, prompts=str(path), seeds=_SEEDS, steps=steps or preset.steps)
    with Library(place, create=True) as library:
        worker = load_worker(preset, device="cpu")
        if reusing:
            _Reusing(worker._generator._pipe.unet)
        began = processor_seconds()
        index([adapters_path()], worker, library, precision="full")
        used = processor_seconds() - began
        stored = library.signatures.get(worker.protocols[0].digest, library.adapters.all())
        return [stored[key].signature for key in sorted(stored)], used


@final
class _Reusing:
    """DeepCache (Ma, Fang and Wang 2024): all but a UNet's outermost blocks work at every second step only."""

    def __init__(self, unet: Any) -> None:
        self._step = 0
        self._kept: dict[Any, Any] = {}
        unet.register_forward_pre_hook(self._count)
        for block in (*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks[:-1]):
            block.forward = partial(self._forward, block, block.forward)

    def _count(self, *_: Any) -> None:
        self._step += 1

    def _forward(self, block: Any, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if self._step % 2:
            self._kept[block] = work(*args, **options)
        return self._kept[block]


def _compare(name: str, whole: Sequence[Signature], other: Sequence[Signature]) -> Iterator[Measurement]:
    for figure in ("strength", "consistency"):
        one, two = ([getattr(signature, figure) or 0.0 for signature in group] for group in (whole, other))
        rho = spearman(np.array(one), np.array(two))
        yield Figure(name=f"{name}: {figure.capitalize()}, rank correlation", value=rho, unit="")
    units = [np.array([s.direction / np.linalg.norm(s.direction) for s in group]) for group in (whole, other)]
    cosines = (units[0] * units[1]).sum(1)
    yield Figure(
        name=f"{name}: cosine of the Directions, median", value=float(np.median(cosines)), unit="",
        p5=float(np.quantile(cosines, 0.05)), p95=float(np.quantile(cosines, 0.95)),
    )  # fmt: skip
    near = [np.argsort(-(unit @ unit.T), axis=1)[:, 1 : _NEAREST + 1] for unit in units]
    shared = [len(set(a.tolist()) & set(b.tolist())) / _NEAREST for a, b in zip(*near, strict=True)]
    yield Figure(name=f"{name}: shared among the {_NEAREST} most alike", value=float(np.mean(shared)) * 100, unit="%")
