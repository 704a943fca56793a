"""The base model's modules are found under every name that a file may use."""

import re
from pathlib import Path

import adapter_files as craft
import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from lorascope.adapters import Names, load_delta, read_adapter
from lorascope.adapters.layouts import sgm_names

SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SD15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
Layout = tuple[UNet2DConditionModel, dict[str, tuple[int, ...]]]
LAYOUTS = {"sdxl": SDXL, "sd15": SD15, "tiny": craft.TINY_UNET}


def shapes_of(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.named_parameters()}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> tuple[UNet2DConditionModel, dict[str, tuple[int, ...]]]:
    with torch.device("meta"):
        model = UNet2DConditionModel(**LAYOUTS[request.param])
    return model, shapes_of(model)


def test_sgm_names_agree_with_the_conversion_of_whole_checkpoints(layout: Layout) -> None:
    # diffusers converts a checkpoint from SGM's names by code of its own: an independent witness
    model, shapes = layout
    modules = {name.removesuffix(".weight") for name in shapes if name.endswith(".weight")}
    ours = sgm_names(modules)
    assert ours.keys() == modules
    checkpoint = {}
    for module, name in ours.items():
        for ending in ("weight", "bias"):
            if f"{module}.{ending}" in shapes:
                checkpoint[f"model.diffusion_model.{name}.{ending}"] = f"{module}.{ending}"
    converted = convert_ldm_unet_checkpoint(dict(checkpoint), {**model.config, "class_embed_type": None})
    wrong = {theirs: value for theirs, value in converted.items() if theirs != value}
    assert wrong == {}
    assert len(converted) == len(checkpoint) == len(shapes)


@pytest.mark.parametrize("numbering", ["diffusers", "sgm"])
def test_a_kohya_adapter_of_every_layer_matches_entirely(layout: Layout, numbering: str, tmp_path: Path) -> None:
    _, shapes = layout
    weights = {name[:-7]: shape for name, shape in shapes.items() if name.endswith(".weight")}
    sgm = sgm_names(weights)
    layers = {module: shape for module, shape in weights.items() if len(shape) > 1}
    named = {sgm[module] if numbering == "sgm" else module: shape for module, shape in layers.items()}
    # alike for every layer of a shape: what is tested is names and shapes
    pool = {shape: craft.lora(shape, rank=4) for shape in set(named.values())}
    tensors = {}
    for module, shape in named.items():
        alias = f"lora_unet_{module.replace('.', '_')}"
        tensors[f"{alias}.lora_down.weight"], tensors[f"{alias}.lora_up.weight"] = (
            part.half().clone() for part in pool[shape]
        )
    path = craft.save(tmp_path / "all.safetensors", tensors)
    delta = load_delta(path, Names({"unet": shapes}))
    assert delta.coverage.matched == delta.coverage.total == len(layers)
    assert {target.name for target in delta.targets} == {f"{module}.weight" for module in layers}
    assert read_adapter(path).format == ("kohya-sgm" if numbering == "sgm" else "kohya")


@pytest.mark.parametrize(
    ("alias", "module"),
    [
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", "down_blocks.1.attentions.0"),
        ("lora_unet_middle_block_1_proj_in", "mid_block.attentions.0.proj_in"),
        ("lora_unet_output_blocks_2_2_conv", "up_blocks.0.upsamplers.0.conv"),
        ("lora_unet_input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"),
        ("lora_unet_label_emb_0_0", "add_embedding.linear_1"),
        ("unet.down_blocks.1.attentions.0.proj_in", "down_blocks.1.attentions.0.proj_in"),
        ("base_model.model.unet.mid_block.attentions.0.proj_in", "mid_block.attentions.0.proj_in"),
        ("base_model.model.mid_block.attentions.0.proj_in", "mid_block.attentions.0.proj_in"),
        ("diffusion_model.middle_block.1.proj_in", "mid_block.attentions.0.proj_in"),
        ("model.diffusion_model.middle_block.1.proj_in", "mid_block.attentions.0.proj_in"),
        ("mid_block.attentions.0.proj_in", "mid_block.attentions.0.proj_in"),
        ("lycoris_mid_block_attentions_0_proj_in", "mid_block.attentions.0.proj_in"),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out", "attn1.to_out.0"),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", "encoder.layers.0.mlp.fc1"),
        ("lora_te2_text_model_encoder_layers_1_self_attn_q_proj", "layers.1.self_attn.q_proj"),
        ("lora_te2_text_projection", "text_projection"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj", "layers.0.self_attn.q_proj"),
        ("text_encoders.clip_g.transformer.text_model.encoder.layers.0.mlp.fc2", "layers.0.mlp.fc2"),
    ],
)
def test_one_module_answers_to_each_of_its_names(names: Names, alias: str, module: str) -> None:
    (target,) = names.find(alias)
    assert module in target.module
    assert names.shape(target.component, f"{target.module}.weight") is not None


def test_openclips_fused_projection_means_three_modules(names: Names) -> None:
    targets = names.find("lora_te2_transformer_resblocks_0_attn_in_proj")
    assert [target.module.rsplit(".", 1)[1] for target in targets] == ["q_proj", "k_proj", "v_proj"]
    assert [target.rows for target in targets] == [((0, 8),), ((8, 16),), ((16, 24),)]


def test_a_name_that_two_text_encoders_share_means_neither_without_a_prefix(names: Names) -> None:
    assert names.find("text_model.encoder.layers.0.mlp.fc1") == ()


def test_unknown_names_mean_nothing(names: Names) -> None:
    assert names.find("lora_unet_nowhere") == ()
    assert names.find("") == ()


def test_every_alias_finds_what_it_is_listed_with(names: Names) -> None:
    listed = list(names.aliases())
    assert len(listed) > 1000
    for alias, targets in listed:
        found = names.find(alias)
        # a prefix may stand for several components, of which the first that has the name is meant
        assert "lycoris_" in alias or [target.module for target in found] == [t.module for t in targets]


def test_families_are_named_by_context_width() -> None:
    block = "mid_block.attentions.0.transformer_blocks.0"
    for width, family in ((768, "sd15"), (1024, "sd2"), (2048, "sdxl"), (96, "unknown")):
        assert Names({"unet": {f"{block}.attn2.to_k.weight": (8, width)}}).family == family


@pytest.fixture(scope="module")
def flux() -> Names:
    model = FluxTransformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=4, num_attention_heads=2,
        joint_attention_dim=6, pooled_projection_dim=5, guidance_embeds=True, axes_dims_rope=(2, 2, 0),
    )  # fmt: skip
    return Names({"transformer": shapes_of(model)})


@pytest.fixture(scope="module")
def sd3() -> Names:
    model = SD3Transformer2DModel(
        sample_size=4, in_channels=4, num_layers=2, attention_head_dim=4, num_attention_heads=2,
        joint_attention_dim=6, caption_projection_dim=8, pooled_projection_dim=5, pos_embed_max_size=4,
        dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    return Names({"transformer": shapes_of(model)})


def test_flux_joins_the_first_half_of_the_feed_forward_to_q_k_and_v(flux: Names) -> None:
    targets = flux.find("lora_unet_single_blocks_0_linear1")
    assert [target.module.rsplit(".", 1)[1] for target in targets] == ["to_q", "to_k", "to_v", "proj_mlp"]
    assert targets[-1].rows == ((24, 56),)


@pytest.mark.parametrize(("fixture", "blocks"), [("flux", "double_blocks|single_blocks"), ("sd3", "joint_blocks")])
def test_the_authors_names_cover_every_linear_layer_of_a_transformer(
    fixture: str, blocks: str, request: pytest.FixtureRequest
) -> None:
    names: Names = request.getfixturevalue(fixture)
    ends = "final|img_in|txt_in|time_in|vector_in|guidance_in|[xty]_emb|context"
    pattern = re.compile(rf"diffusion_model\.(?:{blocks}|{ends})")
    reached = {target.module for alias, targets in names.aliases() if pattern.match(alias) for target in targets}
    layers = {
        module
        for module in names.modules("transformer")
        if len(names.shape("transformer", f"{module}.weight") or ()) > 1
    }
    assert layers <= reached


def test_the_last_modulation_is_kept_in_the_other_order(flux: Names, sd3: Names) -> None:
    (target,) = flux.find("diffusion_model.final_layer.adaLN_modulation.1")
    assert target.rows == ((8, 16), (0, 8))
    (target,) = sd3.find("diffusion_model.joint_blocks.1.context_block.adaLN_modulation.1")
    assert target.rows == ((8, 16), (0, 8))
    (target,) = sd3.find("diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1")
    assert target.rows is None


def test_projections_that_diffusers_fuses_answer_to_their_name(flux: Names) -> None:
    for alias, parts in (("to_qkv", "to_q to_k to_v"), ("to_added_qkv", "add_q_proj add_k_proj add_v_proj")):
        targets = flux.find(f"transformer.transformer_blocks.0.attn.{alias}")
        assert [target.module for target in targets] == [f"transformer_blocks.0.attn.{part}" for part in parts.split()]
        assert targets[2].rows == ((16, 24),)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("final_layer.linear", "all_final_layer.2-1.linear"),
        ("x_embedder", "all_x_embedder.2-1"),
        ("layers.3.attention.q_norm", "layers.3.attention.norm_q"),
        ("distilled_guidance_layer.layers.2.in_layer", "distilled_guidance_layer.layers.2.linear_1"),
    ],
)
def test_the_ends_of_z_image_and_chroma_answer_to_their_authors_names(theirs: str, ours: str) -> None:
    names = Names({"transformer": {f"{ours}.weight": (4, 4), "single_transformer_blocks.0.proj_out.weight": (4, 4)}})
    assert [target.module for target in names.find(f"diffusion_model.{theirs}")] == [ours]
