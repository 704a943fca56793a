"""The families that run through their pipeline's own call: each with its real class, tiny and with random weights."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_clip
from tiny_pipelines import PIPELINES, tiny_pipeline

from lorascope.adapters import Names, load_delta
from lorascope.adapters.names import Target
from lorascope.errors import ModelError, WrongBase
from lorascope.generators.base import Generator
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.generators.float8 import rounding
from lorascope.generators.pipeline import PipelineGenerator
from lorascope.library import Library
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset

PROMPTS = ["a red cat", "the sea, seen from a hill"]
SEEDS = [5, 9]
FAMILY = {"schnell": "flux"}
LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "ff.net.2", "img_mlp.net.2",
          "proj_mlp", "attn.to_out", "to_qkv_mlp_proj", "linear_out", "feed_forward.w2")  # fmt: skip
"""What trainers change in each family, by the ends of diffusers' names."""

SPELLINGS = {
    "flux": ("diffusers", "kohya-original"),
    "schnell": ("diffusers",),
    "chroma": ("diffusers", "kohya-original"),
    "flux2": ("diffusers", "kohya-original", "original"),
    "sd3": ("diffusers",),
    "z-image": ("diffusers", "kohya", "plain", "kohya-original"),
    "qwen-image": ("diffusers", "kohya", "plain"),
}
"""How each family's trainers write names, as far as diffusers itself reads them and so can bear witness."""


def preset_for(name: str, base: Path, **changes: Any) -> Preset:
    fields: dict[str, Any] = {
        "name": "tiny", "family": FAMILY.get(name, name), "base": str(base), "encoders": ("none",), "steps": 2,
        "guidance": 1.0 if name == "schnell" else 3.5, "width": 32, "height": 32, "seeds": (42, 43, 44, 45),
        "dtype": "float32", "block_size": 4, "batch": 2, "sequence_length": 0 if name == "qwen-image" else 64,
    }  # fmt: skip
    return Preset(**(fields | changes))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of tiny pipelines, each made when it is first asked for."""

    @cache
    def folder(name: str) -> Path:
        return tiny_pipeline(name, tmp_path_factory.mktemp(name))

    return folder


@pytest.fixture(scope="module")
def loaded(bases: Any) -> Any:
    return cache(lambda name: PipelineGenerator(preset_for(name, bases(name))))


@pytest.fixture(params=list(PIPELINES))
def generator(request: pytest.FixtureRequest, loaded: Any) -> PipelineGenerator:
    return loaded(request.param)


def weights(generator: PipelineGenerator) -> dict[tuple[str, str], torch.Tensor]:
    return {name: value.detach().clone() for name, value in generator._weights._resident.items()}


def same(one: dict[tuple[str, str], torch.Tensor], other: dict[tuple[str, str], torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def lora(path: Path, generator: PipelineGenerator, spelling: str = "diffusers", size: float = 0.3) -> Path:
    """A rank-4 adapter of the layers that trainers change, under the names that a spelling gives them."""
    draw = torch.Generator().manual_seed(3)
    names = Names(generator.shapes)
    tensors: dict[str, torch.Tensor] = {}
    for alias, targets in aliases(names, spelling):
        shapes = [generator.shapes["transformer"][f"{target.module}.weight"] for target in targets]
        rows = sum(shape[0] for shape in shapes)
        ends = ("lora_A", "lora_B") if spelling in ("diffusers", "original", "plain") else ("lora_down", "lora_up")
        tensors[f"{alias}.{ends[0]}.weight"] = torch.randn(4, shapes[0][1], generator=draw) * size
        tensors[f"{alias}.{ends[1]}.weight"] = torch.randn(rows, 4, generator=draw) * size
        if ends[0] == "lora_down":
            tensors[f"{alias}.alpha"] = torch.tensor(2.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def aliases(names: Names, spelling: str) -> Iterator[tuple[str, tuple[Target, ...]]]:
    """The names of the layers that trainers change: diffusers' own, or those of the model's authors."""
    prefix = {"diffusers": "transformer.", "kohya": "lora_unet_", "kohya-original": "lora_unet_"}.get(
        spelling, "diffusion_model."
    )
    original = spelling.endswith("original")
    for alias, targets in names.aliases():
        local, module = alias.removeprefix(prefix), targets[0].module
        own = local.replace("_", ".") == module.replace("_", ".")
        # diffusers splits FLUX.1's linear1 at the widths of the full-size model alone, and has to_qkv when it is fused
        fused = alias.endswith(("to_qkv", "to_added_qkv"))
        odd = fused or "processor" in alias or ("linear1" in alias and len(targets) > 1)
        wanted = alias.startswith(prefix) and module.endswith(LAYERS) and not odd
        if wanted and own != original and targets[0].component == "transformer":
            yield alias, targets


# --- the contract -------------------------------------------------------------------------------------------------


def test_it_is_a_generator(generator: PipelineGenerator) -> None:
    assert isinstance(generator, Generator)
    assert generator.digest
    assert {"transformer", "text_encoder"} <= generator.shapes.keys()


def test_a_cell_s_image_depends_on_nothing_else(generator: PipelineGenerator) -> None:
    """The same in any order to the bit; in another batch up to what its kernels differ by, as measured: 1e-6."""
    forth = generator.render(PROMPTS, SEEDS)
    assert forth.shape == (2, 3, 32, 32)
    assert forth.dtype == torch.float32
    assert 0 <= forth.min() < forth.max() <= 1
    assert torch.equal(generator.render(PROMPTS[::-1], SEEDS[::-1]).flip(0), forth)
    alone = torch.cat([generator.render([p], [s]) for p, s in zip(PROMPTS, SEEDS, strict=True)])
    assert (forth - alone).abs().max() < 1e-5
    assert (generator.render(PROMPTS[:1], [8]) - forth[:1]).abs().max() > 0.01
    assert (generator.render(["a blue dog"], SEEDS[:1]) - forth[:1]).abs().max() > 0.01


def test_another_size_is_drawn_as_asked_or_refused(generator: PipelineGenerator) -> None:
    """Some pipelines round a size that does not fit their tokens, in silence."""
    own = generator._preset
    assert generator.with_preset(dataclasses.replace(own, width=64)).render(PROMPTS, SEEDS).shape == (2, 3, 32, 64)
    with pytest.raises(ModelError, match="height is 33: the base model draws pictures whose sides are multiples of"):
        generator.with_preset(dataclasses.replace(own, height=33))


def test_a_negative_prompt_acts_or_is_refused(loaded: Any) -> None:
    guided = dataclasses.replace(loaded("sd3")._preset, guidance=4.0, negative_prompt="blurry")
    pictures = [
        loaded("sd3").with_preset(dataclasses.replace(guided, negative_prompt=text)).render(PROMPTS, SEEDS)
        for text in ("blurry", "a red cat")
    ]
    assert not torch.equal(*pictures)
    embedded = dataclasses.replace(loaded("flux")._preset, guidance=4.0, negative_prompt="blurry")
    with pytest.raises(ModelError, match="negative_prompt does nothing with guidance that is embedded"):
        loaded("flux").with_preset(embedded)


def test_prompts_are_encoded_once(generator: PipelineGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    encode = generator._prompts._encode
    monkeypatch.setattr(generator._prompts, "_encode", lambda **given: calls.append(1) or encode(**given))
    first = generator.render(["a new prompt", *PROMPTS], [1, *SEEDS])
    assert calls
    del calls[:]
    assert torch.equal(generator.render(["a new prompt", *PROMPTS], [1, *SEEDS]), first)
    assert not calls


def test_an_adapter_comes_off_to_the_bit(tmp_path: Path, generator: PipelineGenerator) -> None:
    """After an error, too; and at scale 0 it is not there."""
    delta = load_delta(lora(tmp_path / "lora.safetensors", generator), Names(generator.shapes))
    bare, before = generator.render(PROMPTS, SEEDS), weights(generator)
    for error in (None, KeyboardInterrupt):
        expected: Any = contextlib.nullcontext() if error is None else pytest.raises(error)
        with expected, generator.with_component(delta, 1.0):
            assert (generator.render(PROMPTS, SEEDS) - bare).abs().max() > 0.01
            if error is not None:
                raise error
        assert same(weights(generator), before)
    with generator.with_component(delta, 0.0):
        assert torch.equal(generator.render(PROMPTS, SEEDS), bare)
    assert torch.equal(generator.render(PROMPTS, SEEDS), bare)


@pytest.mark.parametrize(("name", "spelling"), [(name, one) for name, every in SPELLINGS.items() for one in every])
def test_a_merged_adapter_acts_as_the_pipeline_s_own(tmp_path: Path, loaded: Any, name: str, spelling: str) -> None:
    generator = loaded(name)
    path = lora(tmp_path / "lora.safetensors", generator, spelling)
    delta = load_delta(path, Names(generator.shapes))
    bare = generator.latents(PROMPTS, SEEDS)
    with generator.with_component(delta, 0.8):
        merged = generator.latents(PROMPTS, SEEDS)
    pipe = generator._pipe
    pipe.load_lora_weights(tmp_path, weight_name=path.name, adapter_name="other")
    try:
        pipe.set_adapters(["other"], [0.8])
        theirs = generator.latents(PROMPTS, SEEDS)
    finally:
        pipe.unload_lora_weights()
    assert torch.nn.functional.cosine_similarity(merged.flatten(1), theirs.flatten(1)).min() > 0.9999
    assert torch.nn.functional.cosine_similarity(merged.flatten(1), bare.flatten(1)).max() < 0.999
    assert torch.equal(generator.latents(PROMPTS, SEEDS), bare)


# --- what a preset says -------------------------------------------------------------------------------------------


def test_guidance_acts_where_the_family_has_it(loaded: Any, bases: Any) -> None:
    for name in ("flux", "sd3", "qwen-image"):
        generator = loaded(name)
        other = generator.with_batch(2)
        other._preset = dataclasses.replace(generator._preset, guidance=1.5)
        other._options = other._call_options()
        assert (other.render(PROMPTS, SEEDS) - generator.render(PROMPTS, SEEDS)).abs().max() > 1e-4, name
    with pytest.raises(ModelError, match="negative_prompt does nothing with guidance that is embedded: leave it out"):
        PipelineGenerator(preset_for("flux", bases("flux"), negative_prompt="blur"))
    with pytest.raises(ModelError, match="FluxPipeline takes no guidance_rescale: leave it out"):
        PipelineGenerator(preset_for("flux", bases("flux"), guidance_rescale=0.7))
    with pytest.raises(ModelError, match="noise is 'batch-4': flux needs 'cell'"):
        PipelineGenerator(preset_for("flux", bases("flux"), noise="batch-4"))


@pytest.mark.parametrize("name", ["flux", "flux2", "sd3"])
def test_noise_is_drawn_in_float32_and_rounded(loaded: Any, name: str) -> None:
    """So a cell has the same noise whatever the working dtype."""
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        draw = [torch.Generator().manual_seed(5)]
        noise = loaded(name)._pipe.prepare_latents(1, 4, 32, 32, dtype, torch.device("cpu"), draw)
        found.append(noise[0] if isinstance(noise, tuple) else noise)
    assert torch.equal(found[0].bfloat16(), found[1])


@pytest.mark.parametrize("offload", ["parts", "blocks"])
@pytest.mark.parametrize("name", ["flux", "z-image"])
def test_offloading_changes_no_bit(tmp_path: Path, bases: Any, loaded: Any, name: str, offload: str) -> None:
    whole, moved = loaded(name), PipelineGenerator(preset_for(name, bases(name), offload=offload))
    delta = load_delta(lora(tmp_path / "lora.safetensors", whole), Names(whole.shapes))
    assert moved.memory.offload == offload
    assert torch.equal(moved.render(PROMPTS, SEEDS), whole.render(PROMPTS, SEEDS))
    with whole.with_component(delta, 1.0), moved.with_component(delta, 1.0):
        assert torch.equal(moved.render(PROMPTS, SEEDS), whole.render(PROMPTS, SEEDS))
    assert torch.equal(moved.render(PROMPTS, SEEDS), whole.render(PROMPTS, SEEDS))


def test_float8_merges_before_rounding_and_tells_what_rounding_does(tmp_path: Path, bases: Any, loaded: Any) -> None:
    whole = loaded("flux")
    clip = str(tiny_clip(tmp_path / "clip"))
    worker = load_worker(preset_for("flux", bases("flux"), dtype="float8", encoders=(clip,), batch=4), device="cpu")
    small = worker._generator
    assert (small.digest, small.execution.dtype) == (whole.digest, "float8_e4m3fn")
    before = weights(small)
    assert torch.float8_e4m3fn in {weight.dtype for weight in before.values()}
    kept = {target for target, weight in before.items() if weight.dtype != torch.float8_e4m3fn and weight.dim() > 1}
    assert kept
    assert kept.isdisjoint(rounding(small.shapes, small.held).targets)
    delta = load_delta(lora(tmp_path / "lora.safetensors", whole), Names(small.shapes))
    with small.with_component(delta, 1.0), whole.with_component(delta, 1.0):
        for target in delta.targets:
            assert torch.equal(
                small._weights._resident[target], whole._weights._resident[target].to(torch.float8_e4m3fn)
            )
    assert same(before, weights(small))
    assert 0 < worker.spectrum(delta, 1e-4).changed < worker.spectrum(delta, 1.0).changed <= 1
    assert max(worker.noise_floor().floors.values()) > 1e-3
    assert same(before, weights(small))
    moved = PipelineGenerator(preset_for("flux", bases("flux"), dtype="float8", batch=4, offload="blocks"))
    with small.with_component(delta, 1.0), moved.with_component(delta, 1.0):
        assert torch.equal(moved.render(PROMPTS, SEEDS), small.render(PROMPTS, SEEDS))
    with pytest.raises(ModelError, match="cannot be compiled: leave out --compile"):
        PipelineGenerator(preset_for("flux", bases("flux"), dtype="float8"), compiled=True)
    with pytest.raises(ModelError, match="dtype float8 is for transformers: use float16 or bfloat16"):
        DiffusionGenerator(dataclasses.replace(Preset.load("miniature"), dtype="float8"))


# --- what does not fit --------------------------------------------------------------------------------------------


def test_a_base_of_another_family_is_refused(bases: Any) -> None:
    with pytest.raises(ModelError, match="is a FluxPipeline, preset family 'sd3'"):
        PipelineGenerator(dataclasses.replace(preset_for("flux", bases("flux")), family="sd3"))


def test_an_adapter_of_another_family_is_refused(tmp_path: Path, loaded: Any) -> None:
    path = lora(tmp_path / "lora.safetensors", loaded("z-image"))
    with pytest.raises(WrongBase, match=r"lora\.safetensors: made for .*, but the base model is"):
        load_delta(path, Names(loaded("flux").shapes))


def test_an_adapter_of_sdxl_is_refused_on_flux(tmp_path: Path, loaded: Any) -> None:
    module = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{module}.lora_down.weight": torch.ones(4, 2048), f"{module}.lora_up.weight": torch.ones(640, 4)}
    save_file(tensors, tmp_path / "sdxl.safetensors")
    with pytest.raises(WrongBase, match=r"sdxl\.safetensors: made for SDXL, but the base model is"):
        load_delta(tmp_path / "sdxl.safetensors", Names(loaded("flux").shapes))


def test_long_prompts_are_counted(loaded: Any) -> None:
    assert loaded("flux").cut(["a" * 10, "a" * 70]) == 1


# --- from files to signatures -------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_goes_on_with_the_same_bits(tmp_path: Path, bases: Any) -> None:
    """Cancelled after its first block and resumed, it ends at the signature of a run that never stopped."""
    clip = str(tiny_clip(tmp_path / "clip"))
    preset = preset_for("flux", bases("flux"), encoders=(clip,), steps=1, prompts="miniature-judged", seeds=(1, 2))
    worker = load_worker(preset, device="cpu")
    lora(tmp_path / "loras" / "one.safetensors", worker._generator)

    class Stop(Exception):
        pass

    def watch(event: Any) -> None:
        if event.kind == "block":
            raise Stop

    found = []
    for name, stopped in (("stopped", True), ("whole", False)):
        with Library(tmp_path / f"{name}.db", create=True) as library:
            if stopped:
                with contextlib.suppress(Stop):
                    index([tmp_path / "loras"], worker, library, precision="full", watch=watch)
            assert index([tmp_path / "loras"], worker, library, precision="full").finished
            ((key, adapter),) = library.adapters.all().items()
            assert adapter.facts.components.keys() == {"transformer"}
            found.append(library.signatures.get(worker.protocols[0].digest, [key])[key].signature)
    assert found[0].cells == found[1].cells == 20
    assert np.array_equal(found[0].direction, found[1].direction)
