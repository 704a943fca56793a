"""Rendering: what the pipelines of diffusers draw, with noise that belongs to the cell and weights that come back."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from fakes import tint
from safetensors.torch import save_file
from tiny import tiny_clip, tiny_sd15, tiny_sdxl

from lorascope.adapters import Names, load_delta
from lorascope.errors import ModelError, WrongBase
from lorascope.generators.base import Generator
from lorascope.generators.diffusion import DiffusionGenerator, rescaled
from lorascope.generators.fake import FakeGenerator
from lorascope.generators.noise import starting_noise
from lorascope.library import BARE, Library
from lorascope.measure import index, load_worker
from lorascope.protocol import Preset
from lorascope.search import Example, Request, Searcher

PROMPTS = ["a red cat", "the sea, seen from a hill"]
SEEDS = [5, 9]
SCHEDULERS = ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"sdxl": tiny_sdxl(folder / "sdxl"), "sd15": tiny_sd15(folder / "sd15")}


def preset_for(family: str, base: Path | str, **changes: Any) -> Preset:
    fields: dict[str, Any] = {
        "name": "tiny", "family": family, "base": str(base), "encoders": ("none",), "scheduler": SCHEDULERS[0],
        "steps": 2, "guidance": 1.0, "width": 32, "height": 32, "seeds": (42, 43, 44, 45), "dtype": "float32",
        "block_size": 4, "batch": 2,
    }  # fmt: skip
    return Preset(**(fields | changes))


@pytest.fixture(scope="module")
def sdxl(bases: dict[str, Path]) -> DiffusionGenerator:
    return DiffusionGenerator(preset_for("sdxl", bases["sdxl"]))


def with_preset(generator: DiffusionGenerator, **changes: Any) -> DiffusionGenerator:
    """The same model under another preset."""
    other = generator.with_batch(2)
    other._preset = dataclasses.replace(generator._preset, **changes)
    other._scheduler = type(generator._scheduler).from_config(generator._scheduler.config)
    return other


def weights(generator: DiffusionGenerator | FakeGenerator) -> dict[tuple[str, str], torch.Tensor]:
    return {name: value.detach().clone() for name, value in generator._weights._resident.items()}


def same_weights(one: dict[tuple[str, str], torch.Tensor], other: dict[tuple[str, str], torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def kohya(path: Path, generator: Generator, *, texts: bool = False, size: float = 0.3, **metadata: str) -> Path:
    """A rank-4 adapter in kohya's format over every attention layer, and over the text encoders' if asked."""
    draw = torch.Generator().manual_seed(3)
    tensors: dict[str, torch.Tensor] = {}
    prefixes = {"unet": "lora_unet_"} | ({"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"} if texts else {})
    for component, prefix in prefixes.items():
        for name, shape in generator.shapes[component].items():
            if len(shape) != 2 or not any(part in name for part in ("to_q", "to_k", "to_v", "to_out", "_proj.weight")):
                continue
            if component == "unet" and ".attn" not in name or component != "unet" and "self_attn" not in name:
                continue
            module = name.removesuffix(".weight")
            if component != "unet" and not module.startswith("text_model."):
                module = f"text_model.{module}"
            alias = prefix + module.replace(".", "_")
            tensors[f"{alias}.lora_down.weight"] = torch.randn(4, shape[1], generator=draw) * size
            tensors[f"{alias}.lora_up.weight"] = torch.randn(shape[0], 4, generator=draw) * size
            tensors[f"{alias}.alpha"] = torch.tensor(4.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)
    return path


# --- what the pipelines draw --------------------------------------------------------------------------------------


def test_another_size_and_negative_prompt_are_those_of_a_base_loaded_with_them(bases: dict[str, Path]) -> None:
    """What a person tries; the model that measures stays as it is."""
    own = preset_for("sdxl", bases["sdxl"], guidance=4.0)
    wanted = dataclasses.replace(own, width=48, height=24, negative_prompt="blurry")
    generator = DiffusionGenerator(own)
    before = generator.render(PROMPTS, SEEDS)
    assert generator.with_preset(wanted).render(PROMPTS, SEEDS).shape == (2, 3, 24, 48)
    assert torch.equal(
        generator.with_preset(wanted).render(PROMPTS, SEEDS), DiffusionGenerator(wanted).render(PROMPTS, SEEDS)
    )
    assert torch.equal(generator.render(PROMPTS, SEEDS), before)
    with pytest.raises(ModelError, match="width is 31: the base model draws pictures whose sides are multiples of"):
        generator.with_preset(dataclasses.replace(own, width=31))
    with pytest.raises(ModelError, match="negative_prompt is 'x', which does nothing at a guidance of 1: leave it out"):
        generator.with_preset(dataclasses.replace(own, guidance=1.0, negative_prompt="x"))


def drawn_by_diffusers(generator: DiffusionGenerator, negative: str = "") -> torch.Tensor:
    """The same cells through the pipeline's own call."""
    preset, pipe = generator._preset, generator._pipe
    pipe.scheduler = type(generator._scheduler).from_config(generator._scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    shape = (4, 32 // pipe.vae_scale_factor, 32 // pipe.vae_scale_factor)
    noise, generators = starting_noise(SEEDS, shape, preset.noise, preset.seeds[0])
    images = pipe(
        [preset.text(prompt) for prompt in PROMPTS], negative_prompt=[negative] * 2 if negative else None,
        height=32, width=32, latents=noise, num_inference_steps=preset.steps, guidance_scale=preset.guidance,
        guidance_rescale=preset.guidance_rescale, generator=generators, output_type="pt",
    ).images  # fmt: skip
    return images.float()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_pictures_are_those_of_the_pipeline(bases: dict[str, Path], family: str, scheduler: str) -> None:
    loaded = DiffusionGenerator(preset_for(family, bases[family], scheduler=scheduler))
    for guidance, negative in ((1.0, ""), (5.0, ""), (5.0, "blur"))[: 3 if scheduler == SCHEDULERS[0] else 2]:
        generator = with_preset(loaded, guidance=guidance, negative_prompt=negative)
        ours = generator.render(PROMPTS, SEEDS)
        assert ours.shape == (2, 3, 32, 32)
        assert ours.std() > 0.01
        assert (ours - drawn_by_diffusers(generator, negative)).abs().max() < 1e-5


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_v_prediction_with_zero_terminal_snr_draws_as_the_pipeline_does(bases: dict[str, Path], family: str) -> None:
    spelt = Preset.load("noobai-vpred").scheduler
    loaded = DiffusionGenerator(preset_for(family, bases[family], scheduler=spelt, guidance=4.5, guidance_rescale=0.7))
    config = loaded._scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)
    ours = loaded.render(PROMPTS, SEEDS)
    # they begin at a sigma of 4,096, which leaves float32 three digits fewer than elsewhere
    assert (ours - drawn_by_diffusers(loaded)).abs().max() < 1e-3
    assert (ours - with_preset(loaded, guidance_rescale=0.0).render(PROMPTS, SEEDS)).abs().max() > 1e-2


def test_guidance_is_rescaled_as_diffusers_does_it() -> None:
    draw = torch.Generator().manual_seed(1)
    guided, with_text = torch.randn(2, 3, 4, 8, 8, generator=draw)
    ours, theirs = rescaled(guided, with_text, 0.7), rescale_noise_cfg(guided, with_text, 0.7)
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert torch.allclose(rescaled(guided, with_text, 1.0).std((1, 2, 3)), with_text.std((1, 2, 3)))


def test_quality_words_go_before_every_prompt(sdxl: DiffusionGenerator) -> None:
    worded = with_preset(sdxl, quality="best quality")
    expected = sdxl.render([f"best quality, {prompt}" for prompt in PROMPTS], SEEDS)
    assert torch.equal(worded.render(PROMPTS, SEEDS), expected)
    assert not torch.equal(sdxl.render(PROMPTS, SEEDS), expected)
    assert worded.cut(["a" * 75]) == 1


@pytest.mark.parametrize("base", ["base", "bases/dusk", "bases/sketch"])
def test_a_base_that_predicts_v_is_not_sampled_as_if_it_predicted_noise(base: str) -> None:
    shipped = dataclasses.replace(Preset.load("miniature"), threads=0, base=f"package:miniature/{base}")
    prompts, seeds = list(shipped.grid().prompts.texts[:2]), [0, 1]
    spelt = "EulerDiscreteScheduler(prediction_type={})"
    generator = DiffusionGenerator(shipped)
    said = DiffusionGenerator(dataclasses.replace(shipped, scheduler=spelt.format("v_prediction")))
    assert torch.equal(generator.render(prompts, seeds), said.render(prompts, seeds))
    with pytest.raises(ModelError, match="predicts v, but the scheduler of .*'miniature' takes it for the noise"):
        DiffusionGenerator(dataclasses.replace(shipped, scheduler=spelt.format("epsilon")))


class PredictsNoise(torch.nn.Module):
    """A denoiser that predicts v, rewritten to predict the noise: noise = sqrt(1 - a) z + sqrt(a) v."""

    def __init__(self, denoiser: Any, alphas: torch.Tensor) -> None:
        super().__init__()
        self.inner, self.alphas, self.config, self.dtype = denoiser, alphas, denoiser.config, denoiser.dtype

    def forward(self, latents: torch.Tensor, step: torch.Tensor, **given: Any) -> Any:
        """Call the denoiser."""
        alpha = self.alphas[int(step)]
        v = self.inner(latents, step, **given).sample
        return type("Output", (), {"sample": (1 - alpha).sqrt() * latents + alpha.sqrt() * v})


def test_a_base_that_predicts_noise_is_not_sampled_as_if_it_predicted_v() -> None:
    generator = DiffusionGenerator(dataclasses.replace(Preset.load("miniature"), threads=0))
    generator._denoiser = PredictsNoise(generator._denoiser, generator._scheduler.alphas_cumprod)
    with pytest.raises(ModelError, match="predicts the noise, but the scheduler .* takes it for v, so its pict"):
        generator._check_prediction()
    generator._scheduler.register_to_config(prediction_type="epsilon")
    generator._check_prediction()


def test_a_denoiser_that_predicts_neither_is_not_judged(bases: dict[str, Path]) -> None:
    for kind in ("epsilon", "v_prediction"):
        spelt = f"EulerDiscreteScheduler(prediction_type={kind})"
        assert DiffusionGenerator(preset_for("sdxl", bases["sdxl"], scheduler=spelt)).digest


# --- noise --------------------------------------------------------------------------------------------------------


def test_noise_belongs_to_the_cell() -> None:
    shape = (4, 8, 8)
    noise, generators = starting_noise([7, 8, 9], shape, "cell", 7)
    for place, seed in enumerate([7, 8, 9]):
        alone, _ = starting_noise([seed], shape, "cell", 7)
        assert torch.equal(noise[place], alone[0])
    backwards, _ = starting_noise([9, 8, 7], shape, "cell", 7)
    assert torch.equal(backwards.flip(0), noise)
    follow = torch.Generator().manual_seed(8)
    torch.randn(1, *shape, generator=follow)
    assert torch.equal(torch.randn(3, generator=generators[1]), torch.randn(3, generator=follow))


@pytest.mark.parametrize("first", [42, 46])
def test_noise_in_fours_is_that_of_the_published_code(first: int) -> None:
    """The authors draw for four images at once: seeds 42..45 are one draw with the seed 42."""
    shape = (4, 16, 16)
    expected = torch.randn((4, *shape), generator=torch.Generator().manual_seed(first))
    noise, _ = starting_noise(range(first, first + 4), shape, "batch-4", 42)
    assert torch.equal(noise, expected)
    one, _ = starting_noise([first + 2], shape, "batch-4", 42)
    assert torch.equal(one[0], expected[2])


@pytest.mark.parametrize("scheduler", SCHEDULERS[:2])
def test_a_cell_s_picture_does_not_depend_on_its_neighbours(bases: dict[str, Path], scheduler: str) -> None:
    generator = DiffusionGenerator(preset_for("sdxl", bases["sdxl"], scheduler=scheduler, guidance=3.0))
    together = generator.render([*PROMPTS, "a dog"], [*SEEDS, 1])
    alone = generator.render(PROMPTS[1:], SEEDS[1:])
    assert (together[1] - alone[0]).abs().max() < 1e-5
    assert torch.equal(generator.render(PROMPTS[1:], SEEDS[1:]), alone)
    assert (generator.render(PROMPTS[1:], [SEEDS[0]]) - alone).abs().max() > 0.01


# --- adapters -----------------------------------------------------------------------------------------------------


def test_an_adapter_draws_what_diffusers_draws_with_it(tmp_path: Path, bases: dict[str, Path]) -> None:
    """Where diffusers reads a file rightly: one rank, alpha equal to it, UNet and both text encoders."""
    generator = DiffusionGenerator(preset_for("sdxl", bases["sdxl"], guidance=3.0))
    for texts in (False, True):
        path = kohya(tmp_path / f"lora{texts}.safetensors", generator, texts=texts)
        bare = generator.render(PROMPTS, SEEDS)
        before = weights(generator)
        delta = load_delta(path, Names(generator.shapes))
        assert {target.component for target in delta.targets} == (
            {"unet", "text_encoder", "text_encoder_2"} if texts else {"unet"}
        )
        with generator.with_component(delta, 0.8):
            worn = generator.render(PROMPTS, SEEDS)
        assert same_weights(weights(generator), before)
        assert torch.equal(generator.render(PROMPTS, SEEDS), bare)
        assert (worn - bare).abs().max() > 0.02
        other = DiffusionGenerator(generator._preset)
        other._pipe.load_lora_weights(tmp_path, weight_name=path.name, adapter_name="worn")
        other._pipe.set_adapters(["worn"], [0.8])
        assert (drawn_by_diffusers(other) - worn).abs().max() < 1e-4


def test_prompts_are_read_anew_where_an_adapter_changes_how(tmp_path: Path, sdxl: DiffusionGenerator) -> None:
    delta = load_delta(kohya(tmp_path / "te.safetensors", sdxl, texts=True), Names(sdxl.shapes))
    only_unet = load_delta(kohya(tmp_path / "unet.safetensors", sdxl), Names(sdxl.shapes))
    bare = sdxl._prompts.encode(PROMPTS[:1])[0]
    with sdxl.with_component(delta, 1.0):
        worn = sdxl._prompts.encode(PROMPTS[:1])[0]
        assert (worn.tokens - bare.tokens).abs().max() > 0.01
        assert worn.pooled is not None
        assert bare.pooled is not None
        assert (worn.pooled - bare.pooled).abs().max() > 0.01
    assert sdxl._prompts.encode(PROMPTS[:1])[0] is bare
    with sdxl.with_component(only_unet, 1.0):
        assert sdxl._prompts.encode(PROMPTS[:1])[0] is bare


@pytest.mark.parametrize("offload", ["parts", "blocks"])
def test_offloading_changes_no_bit(
    tmp_path: Path, bases: dict[str, Path], sdxl: DiffusionGenerator, offload: str
) -> None:
    moved = DiffusionGenerator(preset_for("sdxl", bases["sdxl"], offload=offload))
    delta = load_delta(kohya(tmp_path / "lora.safetensors", sdxl, texts=True), Names(sdxl.shapes))
    assert moved.memory.offload == offload
    assert torch.equal(moved.render(PROMPTS, SEEDS), sdxl.render(PROMPTS, SEEDS))
    with sdxl.with_component(delta, 1.0), moved.with_component(delta, 1.0):
        assert torch.equal(moved.render(PROMPTS, SEEDS), sdxl.render(PROMPTS, SEEDS))


def test_scale_grows_the_effect_and_zero_is_none(tmp_path: Path, sdxl: DiffusionGenerator) -> None:
    delta = load_delta(kohya(tmp_path / "lora.safetensors", sdxl), Names(sdxl.shapes))
    bare = sdxl.render(PROMPTS, SEEDS)
    moved = []
    for scale in (0.0, 0.3, 1.0):
        with sdxl.with_component(delta, scale):
            moved.append(float((sdxl.render(PROMPTS, SEEDS) - bare).abs().mean()))
    assert moved[0] == 0.0 < moved[1] < moved[2]


# --- what cannot be loaded ----------------------------------------------------------------------------------------


def test_a_missing_base_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the base model cannot be found: no folder .*no-such': give an existing"):
        DiffusionGenerator(preset_for("sdxl", tmp_path / "no-such"))
    with pytest.raises(ModelError, match="somebody/model is not on this disk: run once with --download"):
        DiffusionGenerator(preset_for("sdxl", "somebody/model"))


def test_a_base_of_another_family_is_refused(bases: dict[str, Path]) -> None:
    message = "is a StableDiffusionPipeline, preset family 'sdxl': families measured are .*miniature, .*sdxl"
    with pytest.raises(ModelError, match=message):
        DiffusionGenerator(preset_for("sdxl", bases["sd15"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheduler": "Best"}, "no scheduler 'Best' in diffusers: use a class name such as EulerDiscreteScheduler"),
        ({"sequence_length": 64}, "sequence_length is for T5 and later text encoders: leave it out"),
        ({"dtype": "int8"}, "dtype is 'int8': use float8, float16, bfloat16 or float32"),
    ],
)
def test_a_preset_that_cannot_run_names_the_value(bases: dict[str, Path], change: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        DiffusionGenerator(preset_for("sdxl", bases["sdxl"], **change))


def test_an_adapter_of_another_family_is_refused(
    tmp_path: Path, sdxl: DiffusionGenerator, bases: dict[str, Path]
) -> None:
    sd15 = DiffusionGenerator(preset_for("sd15", bases["sd15"]))
    path = kohya(tmp_path / "lora.safetensors", sd15)
    assert load_delta(path, Names(sd15.shapes)).targets
    with pytest.raises(WrongBase, match=r"lora\.safetensors: made for .*, but the base model is"):
        load_delta(path, Names(sdxl.shapes))


def test_trigger_words_beyond_the_limit_are_counted(sdxl: DiffusionGenerator) -> None:
    assert sdxl.cut(["a b", "a" * 75, "a" * 76, "a " * 80]) == 2


def test_the_digest_is_that_of_the_weights(tmp_path: Path, sdxl: DiffusionGenerator, bases: dict[str, Path]) -> None:
    assert DiffusionGenerator(preset_for("sdxl", bases["sdxl"], steps=9)).digest == sdxl.digest
    assert DiffusionGenerator(preset_for("sdxl", bases["sdxl"], dtype="float16")).digest == sdxl.digest
    assert DiffusionGenerator(preset_for("sdxl", tiny_sdxl(tmp_path / "other", seed=1))).digest != sdxl.digest


# --- the contract of every generator ------------------------------------------------------------------------------


@pytest.fixture(params=["fake", "diffusion"])
def generator(request: pytest.FixtureRequest, preset: Preset, sdxl: DiffusionGenerator) -> Generator:
    return FakeGenerator(preset) if request.param == "fake" else sdxl


@pytest.fixture
def adapter(tmp_path: Path, generator: Generator) -> Path:
    path = tmp_path / "adapter.safetensors"
    return tint(path, red=0.3) if isinstance(generator, FakeGenerator) else kohya(path, generator, texts=True)


class TestEveryGenerator:
    """What the rest of lorascope relies on."""

    def test_it_is_a_generator(self, generator: Generator) -> None:
        """It has all that the protocol names."""
        assert isinstance(generator, Generator)
        assert generator.digest
        assert all(shape for component in generator.shapes.values() for shape in component.values())

    def test_pictures_are_tensors_between_0_and_1(self, generator: Generator) -> None:
        """One picture a cell, the same each time."""
        images = generator.render(PROMPTS, SEEDS)
        assert images.shape[:2] == (2, 3)
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1
        assert torch.equal(generator.render(PROMPTS, SEEDS), images)

    def test_cells_do_not_mix(self, generator: Generator) -> None:
        """A picture is its prompt's and its seed's, in any batch and order."""
        forth = generator.render(PROMPTS, SEEDS)
        back = generator.render(PROMPTS[::-1], SEEDS[::-1]).flip(0)
        alone = torch.cat([generator.render([p], [s]) for p, s in zip(PROMPTS, SEEDS, strict=True)])
        assert (forth - back).abs().max() < 1e-5
        assert (forth - alone).abs().max() < 1e-5
        assert (forth[0] - forth[1]).abs().max() > 0.01

    def test_an_adapter_comes_off_without_a_trace(self, generator: Generator, adapter: Path) -> None:
        """Even if the work ends in an error."""
        assert isinstance(generator, FakeGenerator | DiffusionGenerator)
        delta = load_delta(adapter, Names(generator.shapes))
        bare, before = generator.render(PROMPTS, SEEDS), weights(generator)
        for error in (None, RuntimeError, KeyboardInterrupt):
            expected: Any = contextlib.nullcontext() if error is None else pytest.raises(error)
            with expected, generator.with_component(delta, 1.0):
                assert not same_weights(weights(generator), before)
                assert (generator.render(PROMPTS, SEEDS) - bare).abs().max() > 0.01
                if error is not None:
                    raise error
            assert same_weights(weights(generator), before)
            assert torch.equal(generator.render(PROMPTS, SEEDS), bare)

    def test_an_error_while_it_is_put_on_leaves_nothing_behind(
        self, generator: Generator, adapter: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Memory may run out in the middle of merging."""
        assert isinstance(generator, FakeGenerator | DiffusionGenerator)
        delta = load_delta(adapter, Names(generator.shapes))
        before = weights(generator)
        last, apply = delta.targets[-1], type(delta).apply

        def fails(self: Any, *target: Any) -> torch.Tensor:
            if target[:2] == tuple(last):
                raise MemoryError
            return apply(self, *target)

        monkeypatch.setattr(type(delta), "apply", fails)
        with pytest.raises(MemoryError), generator.with_component(delta, 1.0):
            pytest.fail("it cannot be worn")
        assert same_weights(weights(generator), before)

    def test_another_batch_size_is_another_execution_of_the_same_model(self, generator: Generator) -> None:
        """Nothing is loaded again."""
        other = generator.with_batch(1)
        assert other.execution.batch == 1
        assert other.execution.digest != generator.execution.digest
        assert other.digest == generator.digest
        assert torch.equal(other.render(PROMPTS, SEEDS), generator.render(PROMPTS, SEEDS))


# --- from files to ranked answers, with nothing that is the miniature's -------------------------------------------


@pytest.fixture(scope="module")
def sdxl_library(tmp_path_factory: pytest.TempPathFactory, bases: dict[str, Path]) -> Iterator[Library]:
    """Two LoRAs for SDXL, glanced at with tiny SDXL and tiny CLIP."""
    folder = tmp_path_factory.mktemp("sdxl")
    preset = preset_for("sdxl", bases["sdxl"], encoders=(str(tiny_clip(folder / "clip")),), steps=2, block_size=12)
    with pytest.MonkeyPatch.context() as patch, Library(folder / "library.db", create=True) as library:
        patch.setenv("LORASCOPE_CACHE", str(folder / "cache"))
        worker = load_worker(preset, device="cpu")
        generator = worker._generator
        kohya(folder / "loras" / "one.safetensors", generator)
        kohya(folder / "loras" / "two.safetensors", generator, texts=True, size=0.4, ss_tag_frequency="{}")
        before = weights(generator)  # type: ignore[arg-type]
        outcome = index([folder / "loras"], worker, library, precision="glance")
        assert (len(outcome.measured), outcome.refused, outcome.cells) == (2, [], 24)
        assert same_weights(weights(generator), before)  # type: ignore[arg-type]
        yield library


def test_sdxl_adapters_are_measured_and_found(sdxl_library: Library) -> None:
    look = Searcher(sdxl_library)
    answer = look.search(Request("a red cat"))
    assert sorted(hit.adapter.name for hit in answer.hits) == ["one", "two"]
    for hit in answer.hits:
        signature = hit.signature.signature
        assert (signature.cells, signature.prompts) == (12, 12)
        assert signature.strength > 0.01
        assert signature.active_share == 1.0
        unit = signature.direction / np.linalg.norm(signature.direction)
        query = look.vector("a red cat") / np.linalg.norm(look.vector("a red cat"))
        assert hit.score == pytest.approx(float(unit @ query), abs=1e-5)
    one, two = (sdxl_library.adapters.find(name) for name in ("one", "two"))
    assert one.facts.components.keys() == {"unet"}
    assert two.facts.components.keys() == {"unet", "text_encoder", "text_encoder_2"}
    assert [hit.adapter.key for hit in look.search(Request(adapters=(Example(one.key),))).hits] == [two.key]
    previews, protocol = sdxl_library.previews, look.stored.protocol
    assert all(len(previews.all(previews.scene(protocol, key), key)) == 12 for key in (BARE, one.key, two.key))
