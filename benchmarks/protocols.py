"""Cheaper ways to draw, on the shipped world: do they rank adapters as its own Protocol does?"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import Figure, Row
from lorascope import Library, Preset, Signature, index
from lorascope.measure import load_bench
from lorascope.miniature import adapters_path

TITLE = "Fewer steps"
NOTE = """Every adapter of the shipped world on 64 cells, with its own four steps and with fewer: other Protocols, and
how alike their signatures are. The world's base was not distilled for few steps, so an accelerated SDXL may do better
or worse: only the way of measuring carries over."""

_STEPS = (1, 2, 3)
_PROMPTS, _SEEDS = 64, (0,)
_NEAREST = 5


def measure() -> Iterator[Row]:
    """Four steps against fewer."""
    with tempfile.TemporaryDirectory() as name:
        whole = _signatures(Path(name), 0)
        for steps in _STEPS:
            yield from _compare(f"{steps} step{'s' if steps > 1 else ''}", whole, _signatures(Path(name), steps))


def _signatures(folder: Path, steps: int) -> list[Signature]:
    """Every adapter's, by key; with the world's own number of steps for 0."""
    preset = Preset.load("miniature")
    texts = preset.grid().prompts.texts
    path = folder / "prompts.txt"
    path.write_text("\n".join(texts[:: len(texts) // _PROMPTS][:_PROMPTS]), "utf-8")
    preset = dataclasses.replace(preset, prompts=str(path), seeds=_SEEDS, steps=steps or preset.steps)
    with Library(folder / f"{steps}.db", create=True) as library:
        bench = load_bench(preset, library, device="cpu")
        index([adapters_path()], bench, precision="full")
        stored = library.signatures(bench.protocols[0], library.adapters())
        return [stored[key].signature for key in sorted(stored)]


def _compare(name: str, whole: Sequence[Signature], other: Sequence[Signature]) -> Iterator[Row]:
    for figure in ("strength", "consistency"):
        one, two = ([getattr(signature, figure) or 0.0 for signature in group] for group in (whole, other))
        yield Figure(name=f"{name}: {figure.capitalize()}, rank correlation", value=_spearman(one, two), unit="")
    units = [np.array([s.direction / np.linalg.norm(s.direction) for s in group]) for group in (whole, other)]
    cosines = (units[0] * units[1]).sum(1)
    yield Figure(
        name=f"{name}: cosine of the Directions, median", value=float(np.median(cosines)), unit="",
        p5=float(np.quantile(cosines, 0.05)), p95=float(np.quantile(cosines, 0.95)),
    )  # fmt: skip
    near = [np.argsort(-(unit @ unit.T), axis=1)[:, 1 : _NEAREST + 1] for unit in units]
    shared = [len(set(a.tolist()) & set(b.tolist())) / _NEAREST for a, b in zip(*near, strict=True)]
    yield Figure(name=f"{name}: shared among the {_NEAREST} most alike", value=float(np.mean(shared)) * 100, unit="%")


def _spearman(one: Sequence[float], two: Sequence[float]) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (one, two)]
    return float(np.corrcoef(ranks)[0, 1])
