"""Components that are no adapters: put on a base through the code of diffusers, taken off to the bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_clip, tiny_sd15, tiny_sdxl

from lorascope.adapters import Names, load_delta, read_adapter
from lorascope.errors import MalformedAdapter, NoEffect, WrongBase
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.library import Library
from lorascope.measure import index, load_worker
from lorascope.measure.files import measured_delta
from lorascope.protocol import Preset

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


def test_a_textual_inversion_is_an_item_of_a_library(tmp_path: Path, bases: dict[str, Path]) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\nthe sea\na hill\na red dog\n", "utf-8")
    preset = preset_for(
        "sdxl", bases["sdxl"], encoders=(str(tiny_clip(tmp_path / "clip")),), prompts=str(tmp_path / "prompts.txt")
    )
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
    silent = load_worker(dataclasses.replace(preset, triggers="none"), device="cpu")
    with Library(tmp_path / "silent.db", create=True) as library:
        (refused,) = index([tmp_path / "loras"], silent, library, precision="glance").refused
        assert (refused.code, refused.remedy) == (NoEffect.code, "Measure it with --triggers adapter")
