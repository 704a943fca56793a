"""The record of an adapter says what it is, from its header and its sidecars alone."""

import json
import subprocess
import sys
from pathlib import Path

import adapter_files as craft
import pytest
import torch
from adapter_files import noise

from lorascope.adapters import Adapter, read_adapter, sha256, sha256_of
from lorascope.errors import MalformedAdapter, UnknownAdapter, UnreadableAdapter

ATTENTION = "transformer_blocks_0_attn2_to_k"
BLOCK = {"kohya": "lora_unet_down_blocks_1_attentions_0", "sgm": "lora_unet_input_blocks_4_1"}


PAIR = {"lora_down.weight": (2, 8), "lora_up.weight": (8, 2)}


def cross(alias: str, width: int, rank: int = 2) -> dict[str, torch.Tensor]:
    return {f"{alias}.lora_down.weight": noise(rank, width), f"{alias}.lora_up.weight": noise(8, rank)}


def record(tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> Adapter:
    return read_adapter(craft.save(tmp_path / "x.safetensors", tensors, metadata))


@pytest.mark.parametrize(("width", "family"), [(768, "sd15"), (1024, "sd2"), (2048, "sdxl"), (96, "unknown")])
def test_the_family_shows_in_the_width_of_cross_attention(width: int, family: str, tmp_path: Path) -> None:
    assert record(tmp_path, cross(f"{BLOCK['kohya']}_{ATTENTION}", width)).family == family


def test_shapes_decide_before_words(tmp_path: Path) -> None:
    found = record(tmp_path, cross(f"{BLOCK['sgm']}_{ATTENTION}", 768), {"ss_base_model_version": "sdxl_base_v1-0"})
    assert found.family == "sd15"


def test_words_decide_where_shapes_leave_it_open(tmp_path: Path) -> None:
    tensors = cross("lora_unet_down_blocks_1_attentions_0_proj_in", 8)
    assert record(tmp_path, tensors).family == "unknown"
    assert record(tmp_path, tensors, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}).family == "sdxl"


@pytest.mark.parametrize(
    "words", [{"ss_base_model_version": "miniature_v1"}, {"modelspec.architecture": "miniature-v1/lora"}]
)
def test_the_miniature_is_known_by_its_words_and_its_odd_width(words: dict[str, str], tmp_path: Path) -> None:
    assert record(tmp_path, cross(f"{BLOCK['kohya']}_{ATTENTION}", 96), words).family == "miniature"


@pytest.mark.parametrize(
    ("alias", "width", "family", "component"),
    [
        ("lora_unet_double_blocks_7_img_attn_qkv", 3072, "flux", "transformer"),
        ("transformer.single_transformer_blocks.33.attn.to_q", 3072, "flux", "transformer"),
        ("transformer.transformer_blocks.18.attn.to_q", 3072, "flux", "transformer"),
        ("transformer.transformer_blocks.3.attn.to_q", 1536, "sd3", "transformer"),
        ("diffusion_model.joint_blocks.3.x_block.attn.qkv", 1536, "sd3", "transformer"),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 768, "sd15", "text_encoder"),
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 1280, "sdxl", "text_encoder_2"),
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", 1280, "sdxl", "text_encoder_2"),
    ],
)
def test_other_families_show_in_their_names(
    alias: str, width: int, family: str, component: str, tmp_path: Path
) -> None:
    found = record(tmp_path, cross(alias, width))
    assert (found.family, found.components) == (family, {component: 1})


@pytest.mark.parametrize(
    ("alias", "form"),
    [
        (BLOCK["kohya"], "kohya"),
        (BLOCK["sgm"], "kohya-sgm"),
        ("lycoris_down_blocks_1_attentions_0", "lycoris"),
        ("unet.down_blocks.1.attentions.0", "diffusers"),
        ("base_model.model.unet.down_blocks.1.attentions.0", "peft base_model.model."),
        ("diffusion_model.input_blocks.4.1", "diffusion_model."),
        ("down_blocks.1.attentions.0", "bare"),
    ],
)
def test_the_key_format_is_named(alias: str, form: str, tmp_path: Path) -> None:
    separator = "." if "." in alias else "_"
    tensors = cross(f"{alias}{separator}proj_in", 8)
    assert record(tmp_path, tensors).format == form


@pytest.mark.parametrize(
    "endings",
    [
        ("lora_down.weight", "lora_up.weight"),
        ("lora_A.weight", "lora_B.weight"),
        ("lora_A.default.weight", "lora_B.default.weight"),
        ("lora.down.weight", "lora.up.weight"),
        ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
        ("lora_A", "lora_B"),
    ],
)
def test_every_spelling_of_a_pair_is_a_lora(endings: tuple[str, str], tmp_path: Path) -> None:
    module = "unet.down_blocks.1.attentions.0.proj_in"
    tensors = {f"{module}.{ending}": noise(*shape) for ending, shape in zip(endings, ((2, 8), (8, 2)), strict=True)}
    assert record(tmp_path, tensors).kinds == {"lora": 1}


@pytest.mark.parametrize(
    "alias", ["unet.unet.{}", "unet.base_model.model.{}", "base_model.model.unet.{}", "unet.{}", "lora_unet_{}_"]
)
def test_prefixes_that_were_written_twice_count_once(alias: str, tmp_path: Path) -> None:
    """Early versions of SimpleTuner and of diffusers' scripts wrote such names, and peft those of its own memory."""
    module = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    name = alias.format(module if "." in alias else module.replace(".", "_"))
    parts = {f"{name}.lokr_w1.default": noise(1, 1), f"{name}.lokr_w2.default": noise(1280, 2048)}
    found = record(tmp_path, parts)
    assert (found.family, found.kinds) == ("sdxl", {"lokr": 1})


def test_kinds_ranks_and_components_are_counted(tmp_path: Path) -> None:
    unet = "lora_unet_down_blocks_1_attentions_0_proj_in"
    tensors = {
        **cross("lora_te1_text_model_encoder_layers_0_mlp_fc1", 8, rank=3),
        **cross(f"{unet}_a", 8, rank=5),
        f"{unet}_a.dora_scale": noise(8, 1),
        f"{unet}_b.lora_down.weight": noise(4, 8, 3, 3),
        f"{unet}_b.lora_up.weight": noise(8, 4, 1, 1),
        **{f"{unet}_c.hada_w{n}_{s}": noise(2, 2) for n in (1, 2) for s in "ab"},
        f"{unet}_d.lokr_w1": noise(2, 2),
        f"{unet}_d.lokr_w2": noise(4, 4),
        f"{unet}_e.diff": noise(8),
        f"{unet}_e.diff_b": noise(8),
        f"{unet}_f.weight": noise(8, 1),
        f"{unet}_f.on_input": torch.tensor(False),
    }
    found = record(tmp_path, tensors)
    assert found.kinds == {"bias": 1, "dora": 1, "full": 1, "ia3": 1, "locon": 1, "loha": 1, "lokr": 1, "lora": 2}
    assert found.ranks == (2, 3, 4, 5)
    assert found.components == {"text_encoder": 1, "unet": 6}
    assert found.keys == len(tensors)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"base_model.model.x.oft_r": noise(2, 4, 4)}, "holds OFT as peft wrote it"),
        ({"base_model.model.x.boft_R": noise(1, 2, 4, 4)}, "holds BOFT as peft writes it"),
        ({"transformer_blocks.0.qkv_proj.lora_down": noise(8, 2)}, "nunchaku"),
        ({"unet:0:up": noise(8, 2)}, "modules are numbered"),
        ({"base_model.model.x.vera_lambda_d": noise(2)}, "holds VeRA"),
        ({"base_model.model.x.hra_u": noise(8, 2)}, "holds HRA"),
        ({"base_model.vblora_vector_bank": noise(8, 2)}, "holds VB-LoRA"),
        ({**cross("unet.mid_block.x", 8), "unet.mid_block.x.lora_E": noise(2, 1)}, "holds AdaLoRA"),
        ({"image_proj.x": noise(2), "ip_adapter.0.to_q_lora.up.weight": noise(8, 2)}, "for faces"),
        ({"input_hint_block.0.weight": noise(8, 3), "lora_controlnet": noise(1)}, "holds a Control-LoRA"),
        ({"lora_unet_mid_block_x.lambda_layer": noise(1, 2), "lora_unet_mid_block_x.alpha": noise()}, "T-LoRA"),
        ({"decoder.conv_in.weight": noise(2, 2)}, "no key follows"),
        ({**cross("lora_unet_mid_block_x", 8), **cross("unet.mid_block.x", 8)}, "more than one format"),
        ({**cross("lora_unet_mid_block_x", 8), **cross("lora_unet_middle_block_1_x", 8)}, "more than one format"),
    ],
)
def test_what_is_no_known_adapter_is_refused_by_name(
    tensors: dict[str, torch.Tensor], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnknownAdapter, match=words):
        record(tmp_path, tensors)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"lora_up.weight": (8, 2)}, "has up but not down"),
        ({"lora_down.weight": (8, 2)}, "has down but not up"),
        ({"lora_down.weight": (3, 8), "lora_up.weight": (8, 2)}, "inner sizes 3 and 2 differ"),
        ({"lora_down.weight": (2,), "lora_up.weight": (8, 2)}, "no matrix"),
        ({"lora_down.weight": (0, 8), "lora_up.weight": (8, 0)}, "no matrix"),
        ({"lora_mid.weight": (2, 2)}, "not down, up"),
        ({"hada_w1_a": (8, 2), "hada_w1_b": (2, 8)}, "not hada_w2_a"),
        ({"lokr_w1": (2, 2), "lokr_w2_a": (2, 2)}, "not lokr_w2_b"),
        ({"alpha": ()}, "changes nothing"),
        ({"lora_down.weight": (2, 8), "lora_up.weight": (8, 2), "diff": (8, 8)}, "two kinds"),
        ({"on_input": ()}, "not weight"),
        ({"a1.weight": (8, 2)}, "has a1 but not a2, b1, b2"),
        ({**PAIR, "scalar": ()}, "'scalar' beside down, up, and what that does is not"),
        ({**PAIR, "lora_down.scale_weight": ()}, "'lora_down.scale_weight' beside down, up"),
        ({"oft_blocks": (3, 2, 4, 4)}, "too few for 3 stages of BOFT"),
        ({"oft_blocks": (2, 4, 3)}, r"\(blocks, size, size\) is read"),
        ({"oft_R.weight": (2, 5)}, "no halves of square blocks"),
        ({"rescale": (8, 1)}, "not oft_blocks"),
        ({**PAIR, "alpha": (2,)}, r"alpha has the shape \[2\], which is no single number"),
        ({**PAIR, "alpha": (0,)}, "no single number"),
        ({**PAIR, "dora_scale": (8, 1), "lora_magnitude_vector": (8,)}, "both dora and magnitude"),
        ({**PAIR, "diff_b": (8,), "lora_up.bias": (8,)}, "both diff_b and up_bias"),
        ({"ia3_l": (8,), "weight": (8,), "on_input": ()}, "both ia3_l and weight"),
        ({"lokr_w1": (2, 2), "lokr_w1_a": (2, 1), "lokr_w2": (4, 4)}, "both lokr_w1 and lokr_w1_a"),
        ({"lokr_w1": (2, 2, 3, 3), "lokr_w2": (4, 4)}, "lokr_w1 has the shape .* its kernel must be 1"),
        ({"hada_w1_a": (8, 2, 3), **{f"hada_w{n}": (2, 2) for n in ("1_b", "2_a", "2_b")}}, "its kernel must be 1"),
        (
            {"lora_down.weight": (2, 4, 3, 3), "lora_mid.weight": (2, 2, 3, 3), "lora_up.weight": (8, 2)},
            "down has the shape .* its kernel must be 1",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_the_module(
    parts: dict[str, tuple[int, ...]], words: str, tmp_path: Path
) -> None:
    tensors = {f"lora_unet_mid_block_x.{part}": noise(*shape) for part, shape in parts.items()}
    with pytest.raises(MalformedAdapter, match=f"lora_unet_mid_block_x.*{words}"):
        record(tmp_path, tensors)


def test_claims_come_with_their_source_and_sidecars_go_first(tmp_path: Path) -> None:
    metadata = {
        "modelspec.title": "Snowfall",
        "modelspec.trigger_phrase": "snowy",
        "ss_tag_frequency": json.dumps({"10_snow": {"snow": 9, "tree": 3}, "5_more": {"tree": 20}}),
    }
    (tmp_path / "x.json").write_text('{"activation text": "snwfll, winter", "preferred weight": 0.8}')
    claims = record(tmp_path, cross(f"{BLOCK['kohya']}_{ATTENTION}", 768), metadata).claims
    assert claims.title is not None
    assert (claims.title.value, claims.title.source) == ("Snowfall", "header modelspec.title")
    assert claims.triggers is not None
    assert (claims.triggers.value, claims.triggers.source) == (("snwfll", "winter"), "x.json: activation text")
    assert claims.tags is not None
    assert (claims.tags.value, claims.tags.source) == (("tree", "snow"), "header ss_tag_frequency")
    assert claims.weight is not None
    assert claims.weight.value == 0.8


def test_a_header_s_words_that_were_cut_inside_an_emoji_are_mended(tmp_path: Path) -> None:
    tensors = cross(f"{BLOCK['kohya']}_{ATTENTION}", 768)
    path = craft.save(tmp_path / "x.safetensors", tensors, {"modelspec.description": "Lovely ?", "trigger_words": "a?"})
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + size].decode().replace("?", r"\ud83d")
    path.write_bytes(craft.raw(text, data[8 + size :]))
    claims = read_adapter(path).claims
    assert claims.description is not None
    assert claims.description.value == "Lovely \ufffd"
    assert claims.triggers is not None
    assert claims.triggers.value == ("a\ufffd",)


def test_an_alpha_that_is_assumed_is_noted_also_without_a_rank(tmp_path: Path) -> None:
    """Of a LoKr of two whole factors, peft keeps it in its config, which is not here."""
    module = "base_model.model.unet.mid_block.x"
    found = record(tmp_path, {f"{module}.lokr_w1": noise(2, 2), f"{module}.lokr_w2": noise(4, 4)})
    assert any("no alpha is stated for 1 of 1 modules" in note for note in found.notes)


@pytest.mark.parametrize("key", ["shadow_girl", "bundle_emb.road_sign.clip_l"])
def test_a_word_that_begins_like_a_method_of_peft_is_a_word(key: str, tmp_path: Path) -> None:
    assert record(tmp_path, {key: noise(2, 768)}).kinds == {"textual inversion": 1}


@pytest.mark.parametrize("junk", ["", "[", "[1]", '{"a": 1}', '{"a": {"b": "c"}}', "null"])
def test_broken_tag_frequencies_claim_nothing(junk: str, tmp_path: Path) -> None:
    tensors = cross(f"{BLOCK['kohya']}_{ATTENTION}", 768)
    claims = record(tmp_path, tensors, {"ss_tag_frequency": junk}).claims
    assert claims.tags is None or claims.tags.value == ("b",)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path, good: Path) -> None:
    assert sha256(good) == sha256_of(good.read_bytes())
    assert len(sha256(good)) == 64
    with pytest.raises(UnreadableAdapter):
        sha256(tmp_path)


def test_reading_adapters_imports_no_torch(good: Path) -> None:
    program = (
        "import sys, pathlib; from lorascope.adapters import Names, read_adapter, scan, sha256\n"
        "from lorascope.miniature import broken\n"
        "path = pathlib.Path(sys.argv[1]); read_adapter(path); list(scan([path.parent]))\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(good)], check=True)


def test_a_file_without_any_tensor_is_no_adapter(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    path.write_bytes(craft.raw({}))
    with pytest.raises(UnknownAdapter, match="there are none"):
        read_adapter(path)
