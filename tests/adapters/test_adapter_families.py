"""The architecture of an adapter is told by names and shapes, as diffusers' own classes have them."""

from collections.abc import Mapping
from pathlib import Path

import adapter_files as craft
import diffusers
import pytest
import torch

from lorascope.adapters import Adapter, read_adapter
from lorascope.adapters.family import Shaped, recognise
from lorascope.errors import UnknownAdapter

SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048, "use_linear_projection": True,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
KOLORS = {"encoder_hid_dim_type": "text_proj", "encoder_hid_dim": 4096, "projection_class_embeddings_input_dim": 5632}
KLEIN_9B = {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32}
KLEIN = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24}
MODELS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "sd15": ("UNet2DConditionModel", {"cross_attention_dim": 768}),
    "sd2": ("UNet2DConditionModel", {"cross_attention_dim": 1024, "use_linear_projection": True}),
    "sdxl": ("UNet2DConditionModel", SDXL),
    "kolors": ("UNet2DConditionModel", SDXL | KOLORS),
    "svd": ("UNetSpatioTemporalConditionModel", {}),
    "cascade": ("StableCascadeUNet", {}),
    "pixart": ("PixArtTransformer2DModel", {}),
    "sd3 sd3.5-large": ("SD3Transformer2DModel", {"num_layers": 38, "num_attention_heads": 38}),
    "sd3": ("SD3Transformer2DModel", {"num_layers": 24, "num_attention_heads": 24}),
    "flux": ("FluxTransformer2DModel", {}),
    "flux fill": ("FluxTransformer2DModel", {"in_channels": 384}),
    "flux control": ("FluxTransformer2DModel", {"in_channels": 128}),
    "flux2 dev": ("Flux2Transformer2DModel", {}),
    "flux2 klein-4b": ("Flux2Transformer2DModel", KLEIN),
    "flux2 klein-9b": ("Flux2Transformer2DModel", KLEIN_9B),
    "chroma": ("ChromaTransformer2DModel", {}),
    "qwen-image": ("QwenImageTransformer2DModel", {}),
    "z-image": ("ZImageTransformer2DModel", {}),
    "auraflow": ("AuraFlowTransformer2DModel", {}),
    "lumina2": ("Lumina2Transformer2DModel", {}),
    "sana": ("SanaTransformer2DModel", {}),
    "krea2": ("Krea2Transformer2DModel", {}),
    "cosmos": ("CosmosTransformer3DModel", {}),
    "wan 14b": ("WanTransformer3DModel", {}),
    "wan 1.3b": ("WanTransformer3DModel", {"num_layers": 30, "num_attention_heads": 12, "ffn_dim": 8960}),
    "hunyuan-video": ("HunyuanVideoTransformer3DModel", {}),
    "ltx": ("LTXVideoTransformer3DModel", {}),
    "ltx ltx-2": ("LTX2VideoTransformer3DModel", {}),
    "mochi": ("MochiTransformer3DModel", {}),
    "cogvideo": ("CogVideoXTransformer3DModel", {}),
}  # fmt: skip
ALIKE = {"kolors": "sdxl", "chroma": "flux", "flux fill": "flux", "flux control": "flux", "sd3": "sd3"}
"""What the attention alone does not tell apart."""


@pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning")  # of diffusers about itself
@pytest.mark.parametrize("name", MODELS)
def test_an_adapter_of_all_linear_layers_is_named_in_every_spelling(name: str) -> None:
    kind, options = MODELS[name]
    with torch.device("meta"):
        model = getattr(diffusers, kind)(**options)
    layers = {path: (layer.in_features, layer.out_features) for path, layer in model.named_modules()
              if isinstance(layer, torch.nn.Linear)}  # fmt: skip
    for prefix in ("transformer.", "diffusion_model.", "base_model.model."):
        found = recognise((Shaped(prefix + path, *size) for path, size in layers.items()), {})
        assert f"{found.family} {found.lineage}".strip() == name
        assert found.notes == ()
    kohya = recognise((Shaped("lora_unet_" + path.replace(".", "_"), *size) for path, size in layers.items()), {})
    assert f"{kohya.family} {kohya.lineage}".strip() == name
    attention = [(path, size) for path, size in layers.items() if path.endswith(("to_q", "to_k", "to_v", "to_out.0"))]
    if attention:
        only = recognise((Shaped("transformer." + path, *size) for path, size in attention), {})
        assert f"{only.family} {only.lineage}".strip() == ALIKE.get(name, name)


def record(tmp_path: Path, modules: Mapping[str, tuple[int, int]], **metadata: str) -> Adapter:
    tensors = {}
    for alias, (rows, columns) in modules.items():
        tensors[f"{alias}.lora_down.weight"], tensors[f"{alias}.lora_up.weight"] = (
            craft.noise(1, columns),
            craft.noise(rows, 1),
        )
    return read_adapter(craft.save(tmp_path / "x.safetensors", tensors, metadata))


@pytest.mark.parametrize(
    ("alias", "size", "family", "lineage"),
    [
        ("diffusion_model.double_blocks.3.img_mlp.0", (36864, 6144), "flux2", "dev"),
        ("lora_unet_double_blocks_3_img_mlp_0", (12288, 3072), "flux", ""),
        ("lora_unet_double_blocks_3_img_mlp_0", (18432, 3072), "flux2", "klein-4b"),
        ("lora_unet_single_blocks_19_linear1", (27648, 3072), "flux2", "klein-4b"),
        ("lora_unet_double_blocks_3_txt_mlp_fc2", (3072, 12288), "hunyuan-video", ""),
        ("lora_unet_double_blocks_19_img_attn_qkv", (9216, 3072), "hunyuan-video", ""),
        ("lora_unet_layers_3_attention_qkv", (11520, 3840), "z-image", ""),
        ("lora_unet_layers_3_attention_qkv", (3840, 2304), "lumina2", ""),
        ("lora_unet_blocks_29_cross_attn_v", (1536, 1536), "wan", "1.3b"),
        ("lora_unet_blocks_3_mlp_gate", (16384, 6144), "krea2", ""),
        ("diffusion_model.double_stream_blocks.3.block.attn1.to_q", (2560, 2560), "hidream", ""),
        ("lora_unet_single_layers_3_attn_w1q", (3072, 3072), "auraflow", ""),
        ("lora_unet_down_blocks_2_attentions_1_transformer_blocks_9_attn1_to_k", (1280, 1280), "sdxl", ""),
        ("lora_unet_output_blocks_1_1_transformer_blocks_0_attn1_to_k", (1280, 1280), "sdxl", ""),
        ("lora_unet_up_blocks_3_attentions_1_transformer_blocks_0_attn1_to_k", (320, 320), "unknown", ""),
        ("lora_unet_double_blocks_3_img_attn_qkv", (9999, 3333), "unknown", ""),
    ],
)  # fmt: skip
def test_one_telling_module_is_enough(
    alias: str, size: tuple[int, int], family: str, lineage: str, tmp_path: Path
) -> None:
    found = recognise([Shaped(alias, size[1], size[0])], {})
    assert (found.family, found.lineage) == (family, lineage)
    assert record(tmp_path, {alias: size}).family == family


def test_a_header_that_contradicts_the_shapes_is_noted(tmp_path: Path) -> None:
    modules = {"transformer.single_transformer_blocks.37.proj_mlp": (12288, 3072)}
    found = record(tmp_path, modules, ss_base_model_version="sd_1.5")
    assert found.family == "flux"
    assert any("its header says SD 1.5" in note and "those of FLUX.1" in note for note in found.notes)


def test_the_header_decides_between_architectures_that_fit_alike(tmp_path: Path) -> None:
    modules = {"diffusion_model.double_blocks.7.img_attn.qkv": (9216, 3072)}
    assert record(tmp_path, modules, ss_base_model_version="chroma").family == "chroma"
    plain = record(tmp_path, modules)
    assert plain.family == "flux"
    assert any("fit Chroma" in note for note in plain.notes)


def test_what_fits_several_architectures_is_not_guessed(tmp_path: Path) -> None:
    found = record(tmp_path, {"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q": (640, 640)})
    assert found.family == "unknown"
    assert found.notes[:1] == ("its names and shapes fit Kolors or SD 1.5 or SD 2 or SDXL or Stable Video Diffusion",)


@pytest.mark.parametrize("fits", ["FLUX.2", "Qwen-Image", "AuraFlow"])
def test_a_few_blocks_that_look_alike_are_not_called_flux(fits: str, tmp_path: Path) -> None:
    """Attention of the same width and names: such files were called FLUX.1."""
    block, last = ("single_transformer_blocks", 9) if fits == "AuraFlow" else ("transformer_blocks", 2)
    last = 12 if fits == "Qwen-Image" else last
    modules = {f"transformer.{block}.{n}.attn.to_{part}": (3072, 3072) for n in (0, last) for part in "qkv"}
    found = record(tmp_path, modules)
    assert (found.family, found.components) == ("unknown", {"transformer": 6})
    assert "FLUX.1" in found.notes[0]
    assert fits in found.notes[0]
    assert any(f"2 of transformer.{block}.*.attn.to_q (3072 x 3072)" in note for note in found.notes)
    assert record(tmp_path, modules, ss_base_model_version=fits).family == fits.lower().replace("flux.2", "flux2")


def test_the_image_model_is_called_by_its_component(tmp_path: Path) -> None:
    wan = record(tmp_path, {"lora_unet_blocks_3_ffn_0": (13824, 5120)})
    assert wan.components == {"transformer": 1}
    assert record(tmp_path, {"lora_unet_new_thing_3": (9, 9)}).components == {"denoiser": 1}


def test_adapters_of_two_models_in_one_file_are_refused(tmp_path: Path) -> None:
    modules = {"diffusion_model.double_blocks.3.img_attn.qkv": (9216, 3072)}
    modules["diffusion_model.middle_block.1.transformer_blocks.3.attn2.to_k"] = (1280, 2048)
    with pytest.raises(UnknownAdapter, match="more than one base family: (FLUX.1 and SDXL|SDXL and FLUX.1)"):
        record(tmp_path, modules)


def test_dotless_names_beside_dotted_ones_are_one_format(tmp_path: Path) -> None:
    modules = {"double_blocks.7.img_attn.qkv": (9216, 3072), "img_in": (3072, 128)}
    found = record(tmp_path, modules)
    assert (found.family, found.format) == ("flux", "bare")


def test_the_lineage_is_the_best_claim_that_fits_the_shapes(tmp_path: Path) -> None:
    folder = tmp_path / "Illustrious" / "styles"
    folder.mkdir(parents=True)
    modules = {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (1280, 2048)}
    by_folder = record(folder, modules).claims.lineage
    assert by_folder is not None
    assert (by_folder.value, by_folder.source) == ("illustrious", "folder Illustrious")
    (folder / "x.civitai.info").write_text('{"baseModel": "Pony"}')
    by_site = record(folder, modules).claims.lineage
    assert by_site is not None
    assert by_site.value == "pony"
    claims = record(folder, modules, ss_sd_model_name="noobaiXL_v1.safetensors").claims
    assert claims.lineage is not None
    assert (claims.lineage.value, claims.lineage.source) == ("noobai", "header ss_sd_model_name")
    note = "x.civitai.info: baseModel says pony, header ss_sd_model_name says noobai, which counts"
    assert claims.notes == (note,)
    claims = record(folder, modules, **{"modelspec.architecture": "animagine-xl/lora"}).claims
    assert claims.lineage is not None
    assert (claims.lineage.value, claims.lineage.source) == ("animagine", "header modelspec.architecture")


def test_a_base_that_the_shapes_contradict_is_noted_and_no_lineage(tmp_path: Path) -> None:
    (tmp_path / "x.civitai.info").write_text('{"baseModel": "Flux.1 D"}')
    found = record(tmp_path, {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (1280, 2048)})
    assert found.claims.lineage is None
    assert any("says 'Flux.1 D', but its names and shapes are those of SDXL" in note for note in found.notes)
