"""Components that are no adapters: put on a base through the code of diffusers, taken off to the bit."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny import tiny_clip, tiny_sd15, tiny_sdxl

from lorascope.adapters import Delta, Names, load_delta, read_adapter
from lorascope.adapters.attachments import ControlNet
from lorascope.adapters.items import OWN, Conditions, item_path
from lorascope.adapters.layouts import sgm_names
from lorascope.errors import (
    AdapterError,
    ChangedAdapter,
    MalformedAdapter,
    NoEffect,
    UnknownAdapter,
    UsageError,
    WrongBase,
)
from lorascope.generators.attachments import Control, made_of
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.generators.noise import starting_noise
from lorascope.library import Library, Refusal
from lorascope.measure import Worker, index, load_worker
from lorascope.measure.files import measured_delta
from lorascope.measure.items import check_size, load_item
from lorascope.measure.queue import gather
from lorascope.measure.shard import Shard
from lorascope.miniature import base_path, encoder_path
from lorascope.protocol import Preset
from miniature import components

PROMPTS = ["a red cat, ink", "the sea"]
SEEDS = [5, 9]
WIDTHS = {"sd15": {"text_encoder": 16}, "sdxl": {"text_encoder": 16, "text_encoder_2": 24}}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {"sdxl": tiny_sdxl(folder / "sdxl"), "sd15": tiny_sd15(folder / "sd15")}


def preset_for(family: str, base: Path, **changes: Any) -> Preset:
    fields: dict[str, Any] = {
        "name": "tiny", "family": family, "base": str(base), "encoders": ("none",), "steps": 2, "guidance": 3.0,
        "scheduler": "EulerDiscreteScheduler", "width": 32, "height": 32, "seeds": (42, 43), "dtype": "float32",
        "block_size": 4, "batch": 2,
    }  # fmt: skip
    return Preset(**(fields | changes))


@pytest.fixture(scope="module")
def generators(bases: dict[str, Path]) -> dict[str, DiffusionGenerator]:
    return {family: DiffusionGenerator(preset_for(family, base)) for family, base in bases.items()}


# --- textual inversion --------------------------------------------------------------------------------------------


def vectors(family: str, count: int = 3) -> dict[str, torch.Tensor]:
    """Vectors that move a picture, by text encoder."""
    draw = torch.Generator().manual_seed(4)
    return {name: torch.randn(count, width, generator=draw) for name, width in WIDTHS[family].items()}


def inversion(path: Path, family: str, count: int = 3) -> Path:
    """A textual inversion of as many vectors, called by its file's name."""
    parts = ["emb_params"] if family == "sd15" else ["clip_l", "clip_g"]
    save_file(dict(zip(parts, vectors(family, count).values(), strict=True)), path)
    return path


@pytest.mark.parametrize(
    ("shapes", "family", "token"),
    [
        ({"emb_params": (8, 768)}, "sd15", "ink"),
        ({"string_to_param.*": (2, 1024)}, "sd2", "ink"),
        ({"<cat-toy>": (768,)}, "sd15", "<cat-toy>"),
        ({"clip_l": (2, 768), "clip_g": (2, 1280)}, "sdxl", "ink"),
        ({"text_encoders_0": (2, 768), "text_encoders_1": (2, 1280)}, "sdxl", "ink"),
        ({"emb_params": (2, 48)}, "unknown", "ink"),
    ],
)
def test_a_textual_inversion_is_known_by_its_header(
    shapes: dict[str, tuple[int, ...]], family: str, token: str, tmp_path: Path
) -> None:
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "ink.safetensors")
    found = read_adapter(tmp_path / "ink.safetensors")
    assert (found.format, found.kinds, found.family) == ("textual inversion", {"textual inversion": 1}, family)
    assert found.tokens == (token,)
    assert found.unmatched == ()


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(3, 1280)}, "has 2 and 3 vectors"),
        ({"emb_params": torch.zeros(76, 768)}, "has 76 vectors. Equal numbers, and at most 75"),
        ({"emb_params": torch.zeros(2, 2, 768)}, "holds no vectors"),
        ({"emb_params": torch.zeros(2, 768, dtype=torch.int8)}, r"\(I8 \[2, 768\]\) holds no vectors"),
    ],
)
def test_a_broken_textual_inversion_says_what_is_wrong(
    tensors: dict[str, torch.Tensor], words: str, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "ink.safetensors")
    with pytest.raises(MalformedAdapter, match=words):
        read_adapter(tmp_path / "ink.safetensors")


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_token_is_read_as_diffusers_reads_it(
    family: str, count: int, tmp_path: Path, bases: dict[str, Path], generators: dict[str, DiffusionGenerator]
) -> None:
    generator = generators[family]
    delta = load_delta(inversion(tmp_path / "ink.safetensors", family, count), Names(generator.shapes))
    with generator.with_component(delta, 1.0):
        ours = generator._prompts.encode(PROMPTS)
    pipe = DiffusionGenerator(preset_for(family, bases[family]))._pipe
    if family == "sdxl":  # tiny_sdxl's tokenizers are one object, which would be given each token twice
        pipe.tokenizer_2 = type(pipe.tokenizer).from_pretrained(bases[family] / "tokenizer_2")
    for name, values in vectors(family, count).items():
        tokenizer = getattr(pipe, name.replace("text_encoder", "tokenizer"))
        pipe.load_textual_inversion({"ink": values}, token="ink", tokenizer=tokenizer, text_encoder=getattr(pipe, name))
    for prompt, text in zip(PROMPTS, ours, strict=True):
        theirs = pipe.encode_prompt(prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
        assert torch.equal(text.tokens, theirs[0])
        assert text.pooled is None or torch.equal(text.pooled, theirs[2])


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_textual_inversion_acts_by_scale_and_leaves_no_trace(
    family: str, tmp_path: Path, generators: dict[str, DiffusionGenerator]
) -> None:
    generator = generators[family]
    delta = load_delta(inversion(tmp_path / "ink.safetensors", family), Names(generator.shapes))
    bare = generator.render(["a red cat", "the sea"], SEEDS)
    named = generator.render(PROMPTS, SEEDS)
    moved = []
    for scale in (0.0, 0.5, 1.0):
        with generator.with_component(delta, scale):
            drawn = generator.render(PROMPTS, SEEDS)
            assert (generator.render(PROMPTS[:1], SEEDS[:1]) - drawn[:1]).abs().max() < 1e-5
        assert torch.equal(drawn[1], bare[1])  # its prompt does not name it
        moved.append(float((drawn[0] - bare[0]).abs().mean()))
    assert moved[0] == 0.0 < moved[1] < moved[2]
    assert torch.equal(generator.render(PROMPTS, SEEDS), named)


def test_a_textual_inversion_of_another_base_is_refused(
    tmp_path: Path, generators: dict[str, DiffusionGenerator]
) -> None:
    path = inversion(tmp_path / "ink.safetensors", "sd15")
    with pytest.raises(WrongBase, match="have 16 in text_encoder, those of the base 16 in text_encoder and 24 in"):
        load_delta(path, Names(generators["sdxl"].shapes))
    without_t5 = {"transformer" if part == "unet" else part: one for part, one in generators["sd15"].shapes.items()}
    with pytest.raises(WrongBase, match="have 16 in text_encoder, those of the base no CLIP beside a U-Net"):
        load_delta(path, Names(without_t5))


def test_an_adapter_acts_with_the_inversion_in_its_file(
    tmp_path: Path, generators: dict[str, DiffusionGenerator]
) -> None:
    generator = generators["sdxl"]
    layer = "lora_unet_mid_block_attentions_0_proj_in"
    words = dict(zip(("clip_l", "clip_g"), vectors("sdxl").values(), strict=True))
    network = {f"{layer}.lora_down.weight": torch.zeros(2, 32), f"{layer}.lora_up.weight": torch.ones(32, 2)}
    save_file(network | {f"bundle_emb.ink.{part}": rows for part, rows in words.items()}, tmp_path / "x.safetensors")
    save_file(words, tmp_path / "ink.safetensors")
    names = Names(generator.shapes)
    both, alone = (load_delta(tmp_path / f"{stem}.safetensors", names) for stem in ("x", "ink"))
    with generator.with_component(alone, 1.0):
        expected = generator.render(PROMPTS, SEEDS)
    with generator.with_component(both, 0.5):  # the weight of an adapter is not that of its trigger
        assert torch.equal(generator.render(PROMPTS, SEEDS), expected)


def all_act(library: Library, worker: Worker) -> bool:
    """Whether every item has an effect: they were once measured without what they put beside the base."""
    strengths = library.signatures.strengths(worker.protocols[0].digest)
    return len(strengths) > 0 and all(strength > 0.01 for strength in strengths.values())


def measured(tmp_path: Path, family: str, base: Path) -> Preset:
    """A preset of eight cells, with an encoder."""
    (tmp_path / "prompts.txt").write_text("a cat\nthe sea\na hill\na red dog\n", "utf-8")
    prompts, encoder = str(tmp_path / "prompts.txt"), str(tiny_clip(tmp_path / "clip"))
    return preset_for(family, base, encoders=(encoder,), prompts=prompts)


def test_a_textual_inversion_is_an_item_of_a_library(tmp_path: Path, bases: dict[str, Path]) -> None:
    preset = measured(tmp_path, "sdxl", bases["sdxl"])
    worker = load_worker(preset, device="cpu")
    (tmp_path / "loras").mkdir()
    first = inversion(tmp_path / "loras" / "ink.safetensors", "sdxl")
    with Library(tmp_path / "library.db", create=True) as library:
        outcome = index([tmp_path / "loras"], worker, library, precision="full")
        (key,) = outcome.measured
        found = library.adapters.find("ink")
        assert found.facts.tokens == ("ink",)
        assert library.signatures.get(worker.protocols[0].digest, [key])[key].signature.strength > 0
        images = worker.images(["a cat, ink"], [42], delta=measured_delta(found, Names(worker.shapes)))
        first.rename(first.with_name("other.safetensors"))
        assert index([tmp_path / "loras"], worker, library, precision="full").measured == [key]
        renamed = measured_delta(library.adapters.get([key])[key], Names(worker.shapes))
        assert (worker.images(["a cat, ink"], [42], delta=renamed) == images).all()
        weaker = load_worker(dataclasses.replace(preset, scale=0.5), device="cpu")
        assert index([tmp_path / "loras"], weaker, library, precision="full").measured == [key]
        assert set(library.adapters.get([key])[key].facts.measured_words.values()) == {", ink"}
    silent = load_worker(dataclasses.replace(preset, triggers="none"), device="cpu")
    with Library(tmp_path / "silent.db", create=True) as library:
        (refused,) = index([tmp_path / "loras"], silent, library, precision="glance").refused
        assert (refused.code, refused.remedy) == (NoEffect.code, "Measure it with --triggers adapter")


# --- ControlNet ---------------------------------------------------------------------------------------------------


def controlnet(folder: Path, generator: DiffusionGenerator, *, single: bool = False) -> Path:
    """A ControlNet that acts: its last layers are not zero, as they are before training."""
    from diffusers import ControlNetModel

    torch.manual_seed(6)
    model = ControlNetModel.from_unet(generator._denoiser, conditioning_embedding_out_channels=(4, 8))
    for name, weight in model.named_parameters():
        if name.startswith(("controlnet_down", "controlnet_mid", "controlnet_cond_embedding.conv_out")):
            torch.nn.init.normal_(weight, std=0.2)
    folder.mkdir()
    if not single:
        model.save_pretrained(folder)
        return folder / "diffusion_pytorch_model.safetensors"
    save_file(model.state_dict(), folder / "control.safetensors")
    return folder / "control.safetensors"


def given(folder: Path, size: int = 32) -> Path:
    """Two pictures to condition on."""
    folder.mkdir()
    for place, colour in enumerate(((255, 0, 0), (0, 255, 0))):
        Image.new("RGB", (size, size), colour).save(folder / f"{place}.png")
    return folder


def item(file: Path, condition: str, generator: DiffusionGenerator) -> Delta:
    return load_item(item_path(file, condition), file.read_bytes(), Names(generator.shapes), partial=False)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("single", [False, True])
def test_a_controlnet_draws_what_its_pipeline_draws(
    family: str, single: bool, tmp_path: Path, generators: dict[str, DiffusionGenerator]
) -> None:
    import diffusers

    generator = generators[family]
    file = controlnet(tmp_path / "control", generator, single=single)
    delta = item(file, f"given:{given(tmp_path / 'pictures')}", generator)
    bare, before = generator.render(PROMPTS, SEEDS), weights(generator)
    with generator.with_component(delta, 0.7):
        ours = generator.render(PROMPTS, SEEDS)
        assert (generator.render(PROMPTS[1:], SEEDS[1:]) - ours[1:]).abs().max() < 1e-5
        assert generator._control is not None
        pictures, model = generator._control.pictures(PROMPTS, SEEDS, lambda: bare), generator._control._model
    with generator.with_component(delta, 0.0):
        assert torch.equal(generator.render(PROMPTS, SEEDS), bare)
    assert all(torch.equal(value, before[name]) for name, value in weights(generator).items())
    assert torch.equal(generator.render(PROMPTS, SEEDS), bare)
    pipe, preset = generator._pipe, generator._preset
    name = "StableDiffusionXLControlNetPipeline" if family == "sdxl" else "StableDiffusionControlNetPipeline"
    more = {"safety_checker": None, "feature_extractor": None} if family == "sd15" else {"add_watermarker": False}
    theirs = getattr(diffusers, name)(**{**pipe.components, "controlnet": model, **more})
    theirs.scheduler = type(generator._scheduler).from_config(generator._scheduler.config)
    theirs.set_progress_bar_config(disable=True)
    noise, _ = starting_noise(SEEDS, (4, 16, 16), preset.noise, preset.seeds[0])
    drawn = theirs(
        PROMPTS, image=pictures, height=32, width=32, latents=noise, num_inference_steps=2, guidance_scale=3.0,
        controlnet_conditioning_scale=0.7, output_type="pt",
    ).images  # fmt: skip
    assert (ours - bare).abs().max() > 0.01
    assert (ours - drawn.float()).abs().max() < 1e-5


def test_a_controlnet_in_the_original_layout_is_read(generators: dict[str, DiffusionGenerator]) -> None:
    from diffusers import ControlNetModel

    unet = generators["sd15"]._denoiser
    model = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 4, 4))
    known = sgm_names(name.rpartition(".")[0] for name, _ in model.named_parameters())
    known |= {f"controlnet_down_blocks.{place}": f"zero_convs.{place}.0" for place in range(12)}
    known |= {"controlnet_mid_block": "middle_block_out.0"}
    known |= {f"controlnet_cond_embedding.blocks.{place}": f"input_hint_block.{2 + 2 * place}" for place in range(6)}
    known |= {f"controlnet_cond_embedding.conv_{end}": f"input_hint_block.{n}" for end, n in (("in", 0), ("out", 14))}
    tensors: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict().items():
        module, _, parameter = name.rpartition(".")
        tensors[f"control_model.{known[module]}.{parameter}"] = value
    part = ControlNet(tensors, None, "edges", np.empty((0, 1, 1, 3), np.uint8), Path("control.safetensors"))
    read = Control(unet, part, 1.0)._model.state_dict()
    assert read.keys() == model.state_dict().keys()
    assert all(torch.equal(value, read[name]) for name, value in model.state_dict().items())


def weights(generator: DiffusionGenerator) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in generator._denoiser.state_dict().items()}


@pytest.mark.parametrize("way", OWN)
def test_a_picture_of_its_own_is_made_of_the_bare_one(way: str, generators: dict[str, DiffusionGenerator]) -> None:
    flat = torch.full((3, 32, 32), 0.5)
    step = flat.clone()
    step[:, :, 16:] = 1.0
    assert made_of(step, way).shape == (1, 3, 32, 32)
    assert not torch.equal(made_of(step, way), made_of(flat, way))
    if way == "edges":
        assert not made_of(flat, way).any()


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("given:{tmp}/empty", "no picture is there: give a folder of PNG or JPEG files. Put its pictures back"),
        ("given:{tmp}/large", "its pictures have 16 x 16 pixels, but 32 x 32 are drawn. Scale them to that size"),
        ("given:{tmp}/text", "0.png cannot be read as a picture"),
        ("reference:{tmp}/large/0.png", "ControlNet, which takes no such condition. A ControlNet takes --condition"),
    ],
)
def test_a_condition_that_cannot_be_used_says_why(
    condition: str, words: str, tmp_path: Path, generators: dict[str, DiffusionGenerator]
) -> None:
    generator = generators["sd15"]
    file = controlnet(tmp_path / "control", generator)
    given(tmp_path / "large", 16)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "0.png").write_text("no picture", "utf-8")
    place = item_path(file, condition.format(tmp=tmp_path))

    def loaded() -> None:
        read_adapter(place)
        check_size(load_item(place, file.read_bytes(), Names(generator.shapes), partial=False), generator._preset)

    with pytest.raises(AdapterError, match=re.escape(words)):
        loaded()


def test_a_controlnet_of_another_family_is_refused(tmp_path: Path, generators: dict[str, DiffusionGenerator]) -> None:
    file = controlnet(tmp_path / "control", generators["sd15"])
    with pytest.raises(WrongBase, match="but the base model is .* in the base"):
        item(file, "own:edges", generators["sdxl"])
    transformer = Names({"transformer": {"transformer_blocks.0.attn.to_q.weight": (8, 8)}})
    with pytest.raises(WrongBase, match="no layer of it is in a U-Net of the base"):
        load_item(item_path(file, "own:edges"), file.read_bytes(), transformer, partial=False)
    with pytest.raises(UnknownAdapter, match="ControlNet, which acts by a picture. Index it with --condition own:edge"):
        read_adapter(file)
    with pytest.raises(UnknownAdapter, match="ControlNet, which can only be measured with a base model in this proces"):
        Delta.unmatched(file.read_bytes(), item_path(file, "own:edges"))
    with pytest.raises(UsageError, match="--condition own:depth: give own:edges, own:blur, own:grey, or a folder"):
        Conditions.parse(["own:depth"])


def test_a_controlnet_and_each_of_its_ways_is_an_item(tmp_path: Path, bases: dict[str, Path]) -> None:
    worker = load_worker(measured(tmp_path, "sd15", bases["sd15"]), device="cpu")
    controlnet(tmp_path / "canny", DiffusionGenerator(worker.preset))
    ways = Conditions.parse(["own:edges", str(given(tmp_path / "pictures"))])
    with Library(tmp_path / "library.db", create=True) as library:
        (refused,) = index([tmp_path / "canny"], worker, library, precision="full").refused
        assert "own:edges" in refused.remedy
        outcome = index([tmp_path / "canny"], worker, library, precision="glance", conditions=ways)
        assert (len(outcome.measured), outcome.refused, library.refusals.all()) == (2, [], [])
        found = library.adapters.all()
        assert {(one.name, one.facts.kind) for one in found.values()} == {
            ("canny own edges", "ControlNet"), ("canny given pictures", "ControlNet"),
        }  # fmt: skip
        assert all_act(library, worker)
        again = index([tmp_path / "canny"], worker, library, precision="full")
        assert sorted(again.measured) == sorted(outcome.measured)
        assert index([tmp_path / "canny"], worker, library, precision="full").unchanged == sorted(outcome.measured)
        resumed = library.signatures.get(worker.protocols[0].digest, outcome.measured)
        for one in found.values():
            delta = measured_delta(one, Names(worker.shapes))
            assert worker.images(["a cat"], [42], delta=delta).shape == (1, 32, 32, 3)
        file = tmp_path / "canny" / "diffusion_pytorch_model.safetensors"
        library.refusals.add(Refusal(str(item_path(file, "own:blur")), "wrong-base", "reason", "remedy"))
        for shard in (Shard.parse("1/2"), Shard.parse("2/2")):
            left = gather([file.parent], library, "sd15", set(), lambda count: None, shard=shard)
            assert bool(left.vanished) == shard.holds(file)
        (way,) = (path for one in found.values() for path in one.paths if path.endswith("own:edges"))
        file.write_bytes(file.read_bytes()[:-1])
        library.refusals.add(Refusal(way, "malformed", "reason", "remedy"))
        assert all(way not in one.paths for one in library.adapters.all().values())
    with Library(tmp_path / "once.db", create=True) as library:
        index([tmp_path / "canny"], worker, library, precision="full", conditions=ways)
        once = library.signatures.get(worker.protocols[0].digest, outcome.measured)
    for key, stored in once.items():
        assert (stored.signature.direction == resumed[key].signature.direction).all()


# --- IP-Adapter ---------------------------------------------------------------------------------------------------


def ip_adapter(folder: Path, generator: DiffusionGenerator) -> Path:
    """An IP-Adapter of random weights, with its image encoder beside it."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(7)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=12,
    )  # fmt: skip
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
    unet = generator._denoiser
    cross = unet.config.cross_attention_dim
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * cross, 12), "image_proj.proj.bias": torch.zeros(4 * cross),
        "image_proj.norm.weight": torch.ones(cross), "image_proj.norm.bias": torch.zeros(cross),
    }  # fmt: skip
    for place, name in enumerate(unet.attn_processors):
        if ".attn2." in name:
            layer = unet.get_submodule(name.removesuffix(".processor"))
            tensors |= {f"ip_adapter.{place}.to_{one}_ip.weight": torch.randn(layer.to_k.weight.shape) for one in "kv"}
    save_file(tensors, folder / "ip.safetensors")
    return folder / "ip.safetensors"


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_an_ip_adapter_draws_what_diffusers_draws_with_it(
    family: str, tmp_path: Path, bases: dict[str, Path], generators: dict[str, DiffusionGenerator]
) -> None:
    generator = generators[family]
    file, picture = ip_adapter(tmp_path, generator), given(tmp_path / "looks") / "0.png"
    delta = item(file, f"reference:{picture}", generator)
    bare, before = generator.render(PROMPTS, SEEDS), weights(generator)
    with generator.with_component(delta, 0.6):
        ours = generator.render(PROMPTS, SEEDS)
        assert (generator.render(PROMPTS[1:], SEEDS[1:]) - ours[1:]).abs().max() < 1e-5
    with generator.with_component(delta, 0.0):
        assert torch.equal(generator.render(PROMPTS, SEEDS), bare)
    after = weights(generator)
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert torch.equal(generator.render(PROMPTS, SEEDS), bare)
    other = DiffusionGenerator(preset_for(family, bases[family]))
    pipe = other._pipe
    pipe.load_ip_adapter(str(tmp_path), subfolder="", weight_name=file.name, image_encoder_folder="image_encoder")
    pipe.set_ip_adapter_scale(0.6)
    pipe.set_progress_bar_config(disable=True)
    noise, _ = starting_noise(SEEDS, (4, 16, 16), "cell", 42)
    drawn = pipe(
        PROMPTS, ip_adapter_image=[Image.open(picture)], height=32, width=32, latents=noise, num_inference_steps=2,
        guidance_scale=3.0, output_type="pt",
    ).images  # fmt: skip
    assert (ours - bare).abs().max() > 0.01
    assert (ours - drawn.float()).abs().max() < 1e-4


def test_each_reference_of_an_ip_adapter_is_an_item(tmp_path: Path, bases: dict[str, Path]) -> None:
    worker = load_worker(measured(tmp_path, "sd15", bases["sd15"]), device="cpu")
    file = ip_adapter(tmp_path / "ip", DiffusionGenerator(worker.preset))
    looks = given(tmp_path / "looks")
    (looks / "2.png").write_text("no picture", "utf-8")
    references = Conditions.parse((), looks)
    with Library(tmp_path / "library.db", create=True) as library:
        outcome = index([file.parent], worker, library, precision="glance", conditions=references)
        assert [one.path.endswith("2.png") for one in outcome.refused] == [True]
        names = {one.name: one for one in library.adapters.all().values()}
        assert (set(names), names["ip 0"].facts.kind) == ({"ip 0", "ip 1"}, "IP-Adapter")
        assert all_act(library, worker)
        (looks / "0.png").write_bytes((looks / "1.png").read_bytes())
        with pytest.raises(ChangedAdapter, match="no longer the file that was measured"):
            measured_delta(names["ip 0"], Names(worker.shapes))


def test_an_ip_adapter_that_cannot_be_used_says_why(tmp_path: Path, generators: dict[str, DiffusionGenerator]) -> None:
    file, picture = ip_adapter(tmp_path, generators["sd15"]), given(tmp_path / "looks") / "0.png"
    with pytest.raises(WrongBase, match="its cross-attention is 16 layers of 8 x 16, that of the base"):
        item(file, f"reference:{picture}", generators["sdxl"])
    with pytest.raises(UnknownAdapter, match="IP-Adapter, which acts by a picture. Index it with --reference"):
        read_adapter(file)
    weights_file = tmp_path / "image_encoder" / "model.safetensors"
    weights_file.rename(tmp_path / "elsewhere")
    with pytest.raises(MalformedAdapter, match="image_encoder cannot be loaded .* Get the whole folder"):
        item(file, f"reference:{picture}", generators["sd15"])
    (tmp_path / "image_encoder" / "config.json").unlink()
    with pytest.raises(MalformedAdapter, match="no image encoder of 12 dimensions is in the folder image_encoder"):
        item(file, f"reference:{picture}", generators["sd15"])


# --- the shipped world --------------------------------------------------------------------------------------------


def test_the_recipe_trains_components_that_are_read_as_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PICTURES", 4), ("LOOKS", 1), ("BATCH", 2)):
        monkeypatch.setattr(components, name, value)
    components.train_control(base_path(), tmp_path / "control", 2)
    components.train_image_prompt(base_path(), encoder_path(), tmp_path / "looks", 2)
    generator = DiffusionGenerator(dataclasses.replace(Preset.load("miniature"), threads=0))
    bare = generator.render(PROMPTS, SEEDS)
    look = given(tmp_path / "pictures", 64) / "0.png"
    for file, way in (
        (tmp_path / "control" / "diffusion_pytorch_model.safetensors", "own:edges"),
        (tmp_path / "looks" / "looks.safetensors", f"reference:{look}"),
    ):
        with generator.with_component(item(file, way, generator), 1.0):
            assert (generator.render(PROMPTS, SEEDS) - bare).abs().max() > 1e-4
