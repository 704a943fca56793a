"""The procedure that benchmarks are measured against is the same measurement: its cells have the same embeddings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import gpu
from benchmarks.reference_index import ReferenceIndex
from benchmarks.reference_search import ReferenceSearch, catalogue
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from tiny import tiny_clip

from lorascope.adapters import Names, load_delta
from lorascope.encoders.load import load_text_encoder
from lorascope.encoders.suffix import QueryEncoder
from lorascope.grid import PromptSet
from lorascope.library import Library
from lorascope.measure import index, load_worker
from lorascope.miniature import adapters_path
from lorascope.models import find_model
from lorascope.protocol import Preset


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of peft and diffusers
def test_reference_and_lorascope_measure_the_same(tmp_path: Path, library: Library) -> None:
    miniature = Preset.load("miniature")
    texts = miniature.grid().prompts.texts[:2]
    (tmp_path / "prompts.txt").write_text("\n".join(texts), "utf-8")
    preset = dataclasses.replace(miniature, prompts=str(tmp_path / "prompts.txt"), seeds=(0, 1, 2, 3))
    path = adapters_path() / "midas.safetensors"

    reference = ReferenceIndex(preset, texts, tmp_path / "reference")
    reference.bare()
    effect = reference.adapter(path)

    worker = load_worker(preset, device="cpu")
    (key,) = index([path], worker, library, precision="full").measured
    protocol = worker.protocols[0].digest
    (block,) = library.evidence.blocks(key, protocol)
    order = [cell.prompt * 4 + preset.seeds.index(cell.seed) for cell in worker.preset.grid().block(0)]
    for name, ours in (("bare", block.adapted.astype(np.float32) - block.effects), (path.stem, block.adapted)):
        theirs, ours = reference.embeddings(name)[order], ours.astype(np.float32)
        cosines = (theirs * ours).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
        assert cosines.min() >= 0.999
    signature = library.signatures.get(protocol, [key])[key].signature
    assert signature.strength == pytest.approx(effect.strength, rel=1e-3)
    assert signature.consistency == pytest.approx(effect.consistency, abs=1e-3)
    assert np.abs(signature.direction - effect.direction).max() < 1e-2 * effect.strength


def test_diffusers_drops_the_magnitudes_of_a_kohya_dora_so_the_reference_measures_none() -> None:
    """Cells of a shipped DoRA agreed to .41. What is read here is what was trained: ``tests/test_recipe.py``."""
    path, module = adapters_path() / "roman_floor.safetensors", "mid_block.attentions.0.proj_in"
    like = UNet2DConditionModel.from_config(
        UNet2DConditionModel.load_config(find_model("package:miniature/base"), subfolder="unet")
    )
    base = like.get_submodule(module).weight.detach()
    theirs, alphas = StableDiffusionXLPipeline.lora_state_dict(path)
    parts = {key.removeprefix(f"unet.{module}."): value.float() for key, value in theirs.items() if module in key}
    assert parts.keys() == {"lora.down.weight", "lora.up.weight"}
    share = alphas[f"unet.{module}.alpha"] / len(parts["lora.down.weight"])
    plain = base + share * parts["lora.up.weight"] @ parts["lora.down.weight"]
    magnitude = load_file(path)[f"lora_unet_{module.replace('.', '_')}.dora_scale"].float()
    shapes = {name: tuple(weight.shape) for name, weight in like.named_parameters()}
    ours = load_delta(path, Names({"unet": shapes})).apply("unet", f"{module}.weight", base, 1.0)
    torch.testing.assert_close(ours, magnitude * plain / plain.norm(dim=1, keepdim=True))


def test_reference_and_lorascope_answer_the_same() -> None:
    folder, prompts = find_model("package:miniature/encoder"), PromptSet.load("miniature-query")
    directions = np.random.default_rng(0).normal(size=(50, 128))
    strength, consistency = np.linspace(0, 12, 50), np.linspace(0, 0.5, 50)
    reference = ReferenceSearch(folder, prompts.texts, catalogue(directions, strength, consistency))
    vector = reference.vector("pencil drawing")
    assert np.abs(vector - QueryEncoder(load_text_encoder(str(folder)), prompts).vector("pencil drawing")).max() < 1e-4
    scores = directions @ vector / np.linalg.norm(vector) / np.linalg.norm(directions, axis=1)
    scores[(strength > 9.8) | (consistency < 0.041)] = -2
    best = np.argsort(-scores)[:5]
    found = reference.query("pencil drawing", top=5)
    assert [name for _, name in found] == [f"adapter {place}" for place in best]
    assert [score for score, _ in found] == pytest.approx(scores[best].tolist())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_the_benchmark_for_gpus_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small SDXL and the CPU: every row has a figure. Without a GPU, every row says so."""
    tiny_clip(tmp_path / "clip")
    rows = {row.name: row for row in gpu.measure_on("cpu", tmp_path, small=True)}
    assert len(rows) == 12
    assert all(row.value > 0 for row in rows.values())
    assert rows["an adapter at `glance`, `sdxl-lightning`"].target.limit == 4
    monkeypatch.setattr(gpu, "missing", lambda: "no GPU here")
    outstanding = list(gpu.measure())
    assert len(outstanding) == 8
    assert all(row.value is None and row.met is None and row.note == "no GPU here" for row in outstanding)
