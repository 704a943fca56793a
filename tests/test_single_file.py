"""Checkpoints in one file, as image tools keep them, load offline with what lies in the tools of the machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import originals
import pytest
import tiny_pipelines
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from fakes import tint
from tiny import _text_config, tiny_sd15, tiny_sdxl
from tiny_pipelines import tiny_pipeline

from lorascope.errors import ModelError
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.generators.loading import load_pipeline
from lorascope.generators.pipeline import PipelineGenerator
from lorascope.installations import PartsFinder
from lorascope.protocol import Preset

REPOSITORIES = {"sdxl": "stabilityai/stable-diffusion-xl-base-1.0", "sd15": "runwayml/stable-diffusion-v1-5",
                "flux": "black-forest-labs/FLUX.1-dev", "z-image": "Tongyi-MAI/Z-Image-Turbo"}  # fmt: skip
CPU = torch.device("cpu")


def preset_for(family: str, base: Path | str, **changes: Any) -> Preset:
    fields: dict[str, Any] = {
        "name": "tiny", "family": family, "base": str(base), "encoders": ("none",), "steps": 1, "guidance": 1.0,
        "width": 32, "height": 32, "seeds": (1,), "dtype": "float32", "batch": 1,
        "sequence_length": 0 if family in ("sdxl", "sd15") else 64,
    }  # fmt: skip
    return Preset(**(fields | changes))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pipelines as diffusers keeps them; ten layers of SDXL's second text encoder are what tells it apart."""
    from transformers import CLIPTextModelWithProjection

    place = tmp_path_factory.mktemp("pipelines")
    made = {"sdxl": tiny_sdxl(place / "sdxl"), "sd15": tiny_sd15(place / "sd15")}
    config = _text_config(24, projection=24)
    config.num_hidden_layers = 10
    CLIPTextModelWithProjection(config).save_pretrained(made["sdxl"] / "text_encoder_2")
    return made | {name: tiny_pipeline(name, place / name) for name in ("flux", "z-image")}


@pytest.fixture(scope="module")
def pipes(folders: dict[str, Path]) -> dict[str, Any]:
    return {
        "sdxl": StableDiffusionXLPipeline.from_pretrained(folders["sdxl"], add_watermarker=False),
        "sd15": StableDiffusionPipeline.from_pretrained(folders["sd15"]),
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]) -> Path:
    """A home with ComfyUI, Forge (which keeps configurations), and an empty cache."""
    place = tmp_path / "home"
    (place / "ComfyUI" / "custom_nodes").mkdir(parents=True)
    (place / "forge" / "modules_forge").mkdir(parents=True)
    for name, repository in REPOSITORIES.items():
        originals.configuration(folders[name], place / "forge" / "backend" / "huggingface" / repository)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("lorascope.installations.parts.usual_places", lambda *_: [place])
    return place


def kept(home: Path, name: str, tensors: originals.Tensors, **how: Any) -> Path:
    return originals.write(home / "ComfyUI" / "models" / f"{name}.safetensors", tensors, **how)


def same(one: torch.nn.Module, other: torch.nn.Module, dtype: torch.dtype = torch.float32) -> bool:
    """Whether weights are the same, after the matrices were kept in a dtype."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[key], value.to(dtype if value.ndim > 1 else value.dtype).to(value.dtype))
        for key, value in theirs.items()
    )


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_a_checkpoint_draws_what_its_pipeline_draws(
    family: str, home: Path, folders: dict[str, Path], pipes: dict[str, Any]
) -> None:
    tensors = originals.sdxl(pipes[family]) if family == "sdxl" else originals.sd15(pipes[family])
    file = kept(home, "checkpoints/base", tensors)
    ours, theirs = (DiffusionGenerator(preset_for(family, base)) for base in (file, folders[family]))
    assert ours.digest == theirs.digest
    assert torch.equal(ours.render(["a red cat"], [5]), theirs.render(["a red cat"], [5]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_small_dtypes_of_checkpoints_are_cast(dtype: torch.dtype, home: Path, pipes: dict[str, Any]) -> None:
    file = kept(home, "checkpoints/base", originals.sdxl(pipes["sdxl"]), dtype=dtype)
    loaded = load_pipeline(preset_for("sdxl", file), CPU, download=False)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        assert same(getattr(loaded, part), getattr(pipes["sdxl"], part), dtype), part


def test_what_a_checkpoint_lacks_is_taken_from_the_tools(
    home: Path, pipes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shapes of a full-size UNet tell that it is SDXL's, which those of a tiny one do not."""
    known = {"pretrained_model_name_or_path": REPOSITORIES["sdxl"]}
    monkeypatch.setattr("diffusers.loaders.single_file_utils.fetch_diffusers_config", lambda checkpoint: known)
    whole, parts = originals.sdxl(pipes["sdxl"]), pipes["sdxl"]
    file = kept(home, "checkpoints/unet only", {k: v for k, v in whole.items() if k.startswith("model.")})
    with pytest.raises(ModelError) as caught:
        load_pipeline(preset_for("sdxl", file), CPU, download=False)
    assert "lacks text_encoder (CLIPTextModel) and text_encoder_2 (CLIPTextModelWithProjection) and vae" in str(
        caught.value
    )
    remedy = f"run once with --download, which fetches it from {REPOSITORIES['sdxl']}, or name its VAE with --vae"
    assert str(caught.value).endswith(remedy)
    kept(home, "clip/clip_l", originals.clip(parts.text_encoder))
    kept(home, "text_encoders/clip_g", originals.clip(parts.text_encoder_2))
    kept(home, "vae/sdxl_vae", originals.autoencoder(parts.vae))
    loaded = load_pipeline(preset_for("sdxl", file), CPU, download=False)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        assert same(getattr(loaded, part), getattr(parts, part)), part


def test_a_checkpoint_without_a_vae_takes_none_of_another_name(home: Path, pipes: dict[str, Any]) -> None:
    """VAEs of several architectures have the same tensors."""
    whole = originals.sd15(pipes["sd15"])
    file = kept(home, "checkpoints/base", {k: v for k, v in whole.items() if not k.startswith("first_stage")})
    vae = kept(home, "vae/my own", originals.autoencoder(pipes["sd15"].vae))
    with pytest.raises(
        ModelError, match=r"lacks vae \(AutoencoderKL\), and no file .* fits \(.*/models/vae\): run once"
    ):
        load_pipeline(preset_for("sd15", file), CPU, download=False)
    assert same(load_pipeline(preset_for("sd15", file, vae=str(vae)), CPU, download=False).vae, pipes["sd15"].vae)


def test_a_configuration_that_is_nowhere_is_named(home: Path, pipes: dict[str, Any], tmp_path: Path) -> None:
    (home / "forge" / "backend").rename(tmp_path / "away")
    file = kept(home, "checkpoints/base", originals.sd15(pipes["sd15"]))
    message = (
        r"the configuration and tokenizers of .*base\.safetensors are looked for in stable-diffusion-v1-5/.*: run once"
    )
    with pytest.raises(ModelError, match=message):
        load_pipeline(preset_for("sd15", file), CPU, download=False)
    mirror = tmp_path / "hub" / "models--someone--stable-diffusion-v1-5" / "snapshots" / "1"
    mirror.parent.mkdir(parents=True)
    (tmp_path / "away" / "huggingface" / REPOSITORIES["sd15"]).rename(mirror)
    assert load_pipeline(preset_for("sd15", file), CPU, download=False)


def test_a_denoiser_s_file_is_put_together_with_files_of_tools(
    home: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLUX.1 as ComfyUI keeps it. Its tensors are in diffusers' names: the converter takes full-size ones only."""
    whole = PipelineGenerator(preset_for("flux", folders["flux"]))
    pipe = whole._pipe
    known = {"pretrained_model_name_or_path": REPOSITORIES["flux"]}
    monkeypatch.setattr("diffusers.loaders.single_file_utils.fetch_diffusers_config", lambda checkpoint: known)
    file = kept(home, "diffusion_models/flux1-dev", pipe.transformer.state_dict())
    kept(home, "text_encoders/clip_l", originals.clip(pipe.text_encoder))
    t5 = {k: v for k, v in pipe.text_encoder_2.state_dict().items() if "embed_tokens" not in k}
    kept(home, "text_encoders/t5xxl_fp8_e4m3fn", t5, dtype=torch.float8_e4m3fn)
    with pytest.raises(
        ModelError, match=r"flux1-dev.safetensors lacks vae \(AutoencoderKL\), and no file on this disk"
    ):
        PipelineGenerator(preset_for("flux", file))
    kept(home, "vae/ae", originals.autoencoder(pipe.vae))
    assert same(
        PipelineGenerator(preset_for("flux", file))._pipe.text_encoder_2, pipe.text_encoder_2, torch.float8_e4m3fn
    )
    kept(home, "text_encoders/t5xxl_fp16", t5)  # the most precise one is taken
    assert PipelineGenerator(preset_for("flux", file)).digest == whole.digest
    with pytest.raises(ModelError, match="is a checkpoint for FluxPipeline, but the preset is for SD 3"):
        PipelineGenerator(preset_for("sd3", file))
    part = {k: v for k, v in pipe.transformer.state_dict().items() if k.startswith("transformer_blocks.0")}
    message = r"flux1-dev\.safetensors lacks weights that a FluxTransformer2DModel has: get the whole file"
    with pytest.raises(ModelError, match=message):
        PipelineGenerator(preset_for("flux", kept(home, "diffusion_models/flux1-dev", part)))


def test_z_image_s_file_is_read_in_its_authors_names(home: Path, folders: dict[str, Path]) -> None:
    whole = PipelineGenerator(preset_for("z-image", folders["z-image"]))
    pipe = whole._pipe
    file = kept(home, "diffusion_models/z_image_turbo_bf16", originals.z_image(pipe.transformer))
    kept(home, "text_encoders/qwen_3_4b", pipe.text_encoder.state_dict())
    kept(home, "vae/ae", originals.autoencoder(pipe.vae)).rename(home / "ComfyUI" / "models" / "vae" / "ae.sft")
    file = file.rename(file.with_suffix(".sft"))
    ours = PipelineGenerator(preset_for("z-image", file))
    assert ours.digest == whole.digest
    assert torch.equal(ours.render(["a red cat"], [5]), whole.render(["a red cat"], [5]))


def test_sd_3_5_s_file_is_read_in_its_authors_names_with_text_encoders_and_vae_baked_in(
    home: Path, tmp_path: Path
) -> None:
    """The 38th block is what diffusers knows SD 3.5 large by."""
    pipe = tiny_pipelines.sd3(tmp_path)
    torch.manual_seed(0)
    pipe.transformer = type(pipe.transformer).from_config({**pipe.transformer.config, "num_layers": 38})
    folder = tmp_path / "sd3"
    pipe.save_pretrained(folder)
    repository = "stabilityai/stable-diffusion-3.5-large"
    originals.configuration(folder, home / "forge" / "backend" / "huggingface" / repository)
    tensors = {f"model.diffusion_model.{k}": v for k, v in originals.sd3(pipe.transformer).items()}
    tensors |= originals.autoencoder(pipe.vae, "first_stage_model.")
    for name, kind in (("clip_l", pipe.text_encoder), ("clip_g", pipe.text_encoder_2)):
        tensors |= originals.clip(kind, f"text_encoders.{name}.transformer.")
    t5 = {k: v for k, v in pipe.text_encoder_3.state_dict().items() if "embed_tokens" not in k}
    tensors |= {f"text_encoders.t5xxl.transformer.{k}": v for k, v in t5.items()}
    ours = PipelineGenerator(preset_for("sd3", kept(home, "checkpoints/sd3.5_large", tensors)))
    whole = PipelineGenerator(preset_for("sd3", folder))
    assert ours.digest == whole.digest
    assert torch.equal(ours.render(["a red cat"], [5]), whole.render(["a red cat"], [5]))


def test_parts_that_are_baked_in_go_before_files(home: Path, folders: dict[str, Path]) -> None:
    pipe = PipelineGenerator(preset_for("z-image", folders["z-image"]))._pipe
    baked = {f"model.diffusion_model.{k}": v for k, v in originals.z_image(pipe.transformer).items()}
    baked |= {f"text_encoders.qwen3_4b.transformer.{k}": v for k, v in pipe.text_encoder.state_dict().items()}
    file = kept(home, "checkpoints/all in one", baked | originals.autoencoder(pipe.vae, "vae."))
    other = {key: value + 1 for key, value in originals.autoencoder(pipe.vae).items()}
    kept(home, "vae/ae", other)
    loaded = load_pipeline(preset_for("z-image", file), CPU, download=False)
    assert same(loaded.vae, pipe.vae)
    assert same(loaded.text_encoder, pipe.text_encoder)


def test_scales_beside_float8_are_applied_and_other_quantisations_refused(home: Path, folders: dict[str, Path]) -> None:
    pipe = PipelineGenerator(preset_for("z-image", folders["z-image"]))._pipe
    kept(home, "text_encoders/qwen_3_4b", pipe.text_encoder.state_dict())
    kept(home, "vae/ae", originals.autoencoder(pipe.vae))
    tensors = originals.z_image(pipe.transformer)
    key = "layers.0.attention.out.weight"
    scaled = tensors | {key: tensors[key] / 4, "layers.0.attention.out.scale_weight": torch.tensor(4.0)}
    file = kept(home, "diffusion_models/scaled", scaled | {"scaled_fp8": torch.zeros(0)})
    loaded = load_pipeline(preset_for("z-image", file), CPU, download=False)
    expected = tensors[key].bfloat16().float()
    assert torch.allclose(loaded.transformer.layers[0].attention.to_out[0].weight, expected, atol=1e-6)
    file = kept(home, "diffusion_models/packed", tensors | {key: torch.zeros(32, 16, dtype=torch.uint8)})
    with pytest.raises(
        ModelError, match=r"attention\.out\.weight is quantised \(uint8\) in a way that is not read: get"
    ):
        load_pipeline(preset_for("z-image", file), CPU, download=False)


def test_scales_that_diffusers_would_pass_over_are_refused(home: Path, pipes: dict[str, Any]) -> None:
    tensors = originals.sdxl(pipes["sdxl"]) | {"model.diffusion_model.out.2.scale_weight": torch.tensor(2.0)}
    with pytest.raises(ModelError, match="holds float8 weights with scales, which is read for the newer families only"):
        load_pipeline(preset_for("sdxl", kept(home, "checkpoints/scaled", tensors)), CPU, download=False)


@pytest.mark.parametrize("name", ["base.ckpt", "flux1-dev-Q4_K.gguf"])
def test_files_that_are_no_safetensors_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=f"{name} is no safetensors file: pickles .* are not opened, and GGUF is not"):
        load_pipeline(preset_for("sdxl", tmp_path / name), CPU, download=False)


def test_an_adapter_as_base_and_a_base_as_adapter_are_told(home: Path, pipes: dict[str, Any]) -> None:
    from lorascope.adapters import read_adapter
    from lorascope.errors import AdapterError

    lora = tint(home / "ComfyUI" / "models" / "loras" / "ink.safetensors", red=0.3)
    with pytest.raises(
        ModelError, match=r"ink.safetensors is an adapter .*, not a base model: give it as a path, and a"
    ):
        load_pipeline(preset_for("sdxl", lora), CPU, download=False)
    base = kept(home, "checkpoints/base", originals.sd15(pipes["sd15"]))
    with pytest.raises(AdapterError, match="--base"):
        read_adapter(base)
    vae = kept(home, "vae/ae", originals.autoencoder(pipes["sd15"].vae))
    with pytest.raises(ModelError, match=r"ae\.safetensors is no base model: .*: give a checkpoint with --base"):
        load_pipeline(preset_for("sd15", vae), CPU, download=False)


def test_a_model_without_a_part_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    """Transformers makes an empty tokenizer where there is none, with which all prompts are the same."""
    for name in ("vae", "tokenizer_2"):
        base = tmp_path / name
        shutil.copytree(folders["sdxl"], base, ignore=shutil.ignore_patterns(name))
        with pytest.raises(ModelError, match=f"lacks the folder '{name}' that its model_index.json names: get"):
            load_pipeline(preset_for("sdxl", base), CPU, download=False)
    (base / "tokenizer_2").mkdir()
    with pytest.raises(ModelError, match="its tokenizer knows 2 of 88 words, so files in tokenizer_2 are missing: get"):
        load_pipeline(preset_for("sdxl", base), CPU, download=False)


def test_a_mark_of_zero_terminal_snr_needs_a_scheduler_for_it(home: Path, pipes: dict[str, Any]) -> None:
    file = kept(home, "checkpoints/base", originals.sdxl(pipes["sdxl"]) | {"ztsnr": torch.zeros(0)})
    with pytest.raises(
        ModelError, match="trained with zero terminal SNR, .* or the option rescale_betas_zero_snr=true"
    ):
        load_pipeline(preset_for("sdxl", file), CPU, download=False)
    spelt = "EulerDiscreteScheduler(rescale_betas_zero_snr=true)"
    assert load_pipeline(preset_for("sdxl", file, scheduler=spelt), CPU, download=False)


def test_the_tool_that_holds_a_checkpoint_is_searched_wherever_it_is(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "mnt" / "ComfyUI"
    (root / "custom_nodes").mkdir(parents=True)
    (root / "models" / "clip").mkdir(parents=True)
    finder = PartsFinder(root / "models" / "checkpoints" / "deep" / "base.safetensors", tmp_path / "hub")
    assert [one.root for one in finder.installations] == [root, home / "ComfyUI", home / "forge"]
    assert finder.places == [root / "models" / "clip"]
