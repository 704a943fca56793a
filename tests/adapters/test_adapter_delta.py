"""Each kind of adapter changes weights by its formula, and as peft merges it where peft is right."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import adapter_files as craft
import pytest
import torch
from adapter_files import noise
from diffusers import UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_kohya
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import IA3Config, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from torch import nn

from lorascope.adapters import Delta, Names, load_delta, read_adapter
from lorascope.errors import (
    AdapterError,
    MalformedAdapter,
    NoEffect,
    NotFinite,
    PartialMatch,
    UnknownAdapter,
    WrongBase,
)

Weights = dict[tuple[str, str], torch.Tensor]

LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "mid_block.resnets.0.conv1"
FLAT = {module: "lora_unet_" + module.replace(".", "_") for module in (LINEAR, CONV)}


def load(
    tensors: dict[str, torch.Tensor],
    names: Names,
    tmp_path: Path,
    *,
    metadata: dict[str, str] | None = None,
    partial: bool = False,
    config: dict[str, object] | None = None,
) -> Delta:
    path = craft.save(tmp_path / "adapter.safetensors", tensors, metadata)
    return load_delta(path, names, partial=partial, config=config)


def changed(delta: Delta, weights: Weights, module: str, scale: float = 1.0, part: str = "weight") -> torch.Tensor:
    return delta.apply("unet", f"{module}.{part}", weights["unet", f"{module}.{part}"], scale)


def pair(module: str, weights: Weights, rank: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return craft.lora(weights["unet", f"{module}.weight"].shape, rank)


def test_together_the_changes_are_added_each_at_its_scale(names: Names, weights: Weights, tmp_path: Path) -> None:
    target = weights["unet", f"{LINEAR}.weight"]
    deltas = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        down, up = torch.randn(2, target.shape[1]), torch.randn(target.shape[0], 2)
        tensors = {f"{FLAT[LINEAR]}.lora_down.weight": down, f"{FLAT[LINEAR]}.lora_up.weight": up}
        if seed == 2:
            conv_down, conv_up = pair(CONV, weights)
            tensors |= {f"{FLAT[CONV]}.lora_down.weight": conv_down, f"{FLAT[CONV]}.lora_up.weight": conv_up}
        deltas.append(load(tensors, names, tmp_path))
    both = Delta.together([(deltas[0], 0.5), (deltas[1], -1.5)])
    parts = [changed(delta, weights, LINEAR, scale) - target for delta, scale in zip(deltas, (0.5, -1.5), strict=True)]
    assert torch.allclose(changed(both, weights, LINEAR), target + parts[0] + parts[1], atol=1e-5)
    assert torch.allclose(changed(both, weights, CONV), changed(deltas[1], weights, CONV, -1.5), atol=1e-5)
    assert torch.equal(changed(both, weights, LINEAR, 0.0), target)
    assert both.coverage.matched == 3


def test_what_cannot_be_used_together_is_refused(names: Names, tmp_path: Path) -> None:
    lora = load(two({}, FLAT[LINEAR], (16, 16)), names, tmp_path)
    words = {f"bundle_emb.face.{part}": noise(2, 8) for part in ("clip_l", "clip_g")}
    bundled = load(two({}, FLAT[LINEAR], (16, 16)) | words, names, tmp_path)
    alone = load({part: noise(2, 8) for part in ("clip_l", "clip_g")}, names, tmp_path)
    assert [one.token for one in Delta.together([(lora, 1.0), (bundled, 1.0)]).inversions] == ["face"]
    with pytest.raises(UnknownAdapter, match="it brings the word 'face', and so does another. Use it alone"):
        Delta.together([(bundled, 1.0), (bundled, 0.5)])
    with pytest.raises(UnknownAdapter, match="only LoRAs can be used together, and this is a ControlNet, "):
        Delta.together([(lora, 1.0), (alone, 1.0)])


@pytest.mark.parametrize("module", [LINEAR, CONV])
@pytest.mark.parametrize(("alpha", "factor"), [(None, 1.0), (8.0, 4.0), (0.25, 0.125)])
def test_lora_adds_its_product_times_alpha_over_rank(
    module: str, alpha: float | None, factor: float, names: Names, weights: Weights, tmp_path: Path
) -> None:
    down, up = pair(module, weights)
    tensors = {f"{FLAT[module]}.lora_down.weight": down, f"{FLAT[module]}.lora_up.weight": up}
    if alpha is not None:
        tensors[f"{FLAT[module]}.alpha"] = torch.tensor(alpha)
    base = weights["unet", f"{module}.weight"]
    expected = base + 0.5 * factor * (up.flatten(1) @ down.flatten(1)).reshape(base.shape)
    delta = load(tensors, names, tmp_path)
    torch.testing.assert_close(changed(delta, weights, module, 0.5), expected)


def test_every_layer_keeps_its_own_alpha(names: Names, weights: Weights, tmp_path: Path) -> None:
    # diffusers once gave all layers of such files the scale of one of them
    tensors = {}
    for module, alpha in ((LINEAR, 1), (CONV, 6)):
        down, up = pair(module, weights)
        tensors |= {f"{FLAT[module]}.lora_down.weight": down, f"{FLAT[module]}.lora_up.weight": up}
        tensors[f"{FLAT[module]}.alpha"] = torch.tensor(alpha)  # a whole number, as kohya writes it
    delta = load(tensors, names, tmp_path)
    for module, factor in ((LINEAR, 0.5), (CONV, 3.0)):
        down, up = pair(module, weights)
        base = weights["unet", f"{module}.weight"]
        product = (up.flatten(1) @ down.flatten(1)).reshape(base.shape)
        torch.testing.assert_close(changed(delta, weights, module), base + factor * product)


def test_tucker_contracts_its_core_with_both_factors(names: Names, weights: Weights, tmp_path: Path) -> None:
    base = weights["unet", f"{CONV}.weight"]
    out, inputs = base.shape[:2]
    down, core, up = noise(2, inputs, 1, 1), noise(3, 2, 3, 3, seed=1), noise(out, 3, 1, 1, seed=2)
    names_of = ("lora_down", "lora_mid", "lora_up")
    tensors = {f"{FLAT[CONV]}.{n}.weight": t for n, t in zip(names_of, (down, core, up), strict=True)}
    expected = torch.zeros_like(base)
    for p in range(3):
        for q in range(2):
            expected += up[:, p].reshape(-1, 1, 1, 1) * core[p, q] * down[q].reshape(1, -1, 1, 1)
    torch.testing.assert_close(changed(load(tensors, names, tmp_path), weights, CONV), base + expected)


@pytest.mark.parametrize("core", [False, True])
def test_loha_multiplies_its_halves(core: bool, names: Names, weights: Weights, tmp_path: Path) -> None:
    base = weights["unet", f"{CONV}.weight"]
    out, inputs = base.shape[:2]
    tensors = {f"{FLAT[CONV]}.alpha": torch.tensor(1.0)}
    halves = []
    for n in (1, 2):
        if core:
            a, b, t = noise(2, out, seed=n), noise(2, inputs, seed=n + 5), noise(2, 2, 3, 3, seed=n + 9)
            tensors[f"{FLAT[CONV]}.hada_t{n}"] = t
            halves.append(torch.einsum("ijkl,jr,ip->prkl", t, b, a))
        else:
            a, b = noise(out, 2, seed=n), noise(2, inputs * 9, seed=n + 5)
            halves.append((a @ b).reshape(base.shape))
        tensors |= {f"{FLAT[CONV]}.hada_w{n}_a": a, f"{FLAT[CONV]}.hada_w{n}_b": b}
    expected = base + 0.5 * halves[0] * halves[1]
    torch.testing.assert_close(changed(load(tensors, names, tmp_path), weights, CONV), expected)


LOKR = {
    "both whole": ({"w1": (4, 2), "w2": (4, 8)}, 1.0),
    "second split": ({"w1": (4, 2), "w2_a": (4, 2), "w2_b": (2, 8)}, 1.5),
    "both split": ({"w1_a": (4, 2), "w1_b": (2, 2), "w2_a": (4, 2), "w2_b": (2, 8)}, 1.5),
    "first split": ({"w1_a": (4, 2), "w1_b": (2, 2), "w2": (4, 8)}, 1.5),
}


@pytest.mark.parametrize("layout", LOKR)
def test_lokr_takes_the_kronecker_product(layout: str, names: Names, weights: Weights, tmp_path: Path) -> None:
    shapes, factor = LOKR[layout]
    parts = {name: noise(*shape, seed=n) for n, (name, shape) in enumerate(shapes.items())}
    tensors = {f"{FLAT[LINEAR]}.lokr_{name}": value for name, value in parts.items()}
    # with both whole there is no rank, and alpha counts for nothing
    tensors[f"{FLAT[LINEAR]}.alpha"] = torch.tensor(3.0)
    one = parts["w1"] if "w1" in parts else parts["w1_a"] @ parts["w1_b"]
    two = parts["w2"] if "w2" in parts else parts["w2_a"] @ parts["w2_b"]
    base = weights["unet", f"{LINEAR}.weight"]
    expected = base + factor * torch.kron(one, two)
    torch.testing.assert_close(changed(load(tensors, names, tmp_path), weights, LINEAR), expected)


@pytest.mark.parametrize("layout", ["whole", "split", "core"])
def test_lokr_of_a_convolution_gives_the_kernel_to_its_second_factor(
    layout: str, names: Names, weights: Weights, tmp_path: Path
) -> None:
    base = weights["unet", f"{CONV}.weight"]
    one, whole = noise(4, 4), noise(4, 4, 3, 3, seed=1)
    tensors = {f"{FLAT[CONV]}.lokr_w1": one}
    if layout == "whole":
        two = whole
        tensors[f"{FLAT[CONV]}.lokr_w2"] = whole
    elif layout == "split":
        a, b = noise(4, 2, seed=2), noise(2, 4 * 9, seed=3)
        two = (a @ b).reshape(4, 4, 3, 3)
        tensors |= {f"{FLAT[CONV]}.lokr_w2_a": a, f"{FLAT[CONV]}.lokr_w2_b": b}
    else:
        a, b, t = noise(2, 4, seed=2), noise(2, 4, seed=3), noise(2, 2, 3, 3, seed=4)
        two = torch.einsum("ijkl,ip,jr->prkl", t, a, b)
        tensors |= {f"{FLAT[CONV]}.lokr_w2_a": a, f"{FLAT[CONV]}.lokr_w2_b": b, f"{FLAT[CONV]}.lokr_t2": t}
    expected = base.clone()
    for row in range(4):
        for column in range(4):
            expected[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += one[row, column] * two
    torch.testing.assert_close(changed(load(tensors, names, tmp_path), weights, CONV), expected)


def test_full_differences_reach_weights_norms_and_biases(names: Names, weights: Weights, tmp_path: Path) -> None:
    norm = "mid_block.resnets.0.norm1"
    flat = "lora_unet_" + norm.replace(".", "_")
    diff, bias = noise(*weights["unet", f"{CONV}.weight"].shape), noise(16, seed=1)
    w_norm, b_norm = noise(16, seed=2), noise(16, seed=3)
    tensors = {f"{FLAT[CONV]}.diff": diff, f"{FLAT[CONV]}.diff_b": bias}
    tensors |= {f"{flat}.w_norm": w_norm, f"{flat}.b_norm": b_norm}
    delta = load(tensors, names, tmp_path)
    for module, part, value in (
        (CONV, "weight", diff), (CONV, "bias", bias), (norm, "weight", w_norm), (norm, "bias", b_norm),
    ):  # fmt: skip
        base = weights["unet", f"{module}.{part}"]
        torch.testing.assert_close(changed(delta, weights, module, 2.0, part), base + 2 * value)
    assert delta.coverage.matched == delta.coverage.total == 2


@pytest.mark.parametrize("module", [LINEAR, CONV])
@pytest.mark.parametrize("by_input", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_dora_normalises_along_the_axis_that_its_shape_shows(
    module: str, by_input: bool, scale: float, names: Names, weights: Weights, tmp_path: Path
) -> None:
    base = weights["unet", f"{module}.weight"]
    down, up = pair(module, weights)
    axis = 1 if by_input else 0
    shape = [base.shape[axis] if index == axis else 1 for index in range(base.dim())]
    magnitude = noise(*shape, seed=5).abs() + 0.5
    tensors = {f"{FLAT[module]}.lora_down.weight": down, f"{FLAT[module]}.lora_up.weight": up}
    tensors[f"{FLAT[module]}.dora_scale"] = magnitude
    moved = base + (up.flatten(1) @ down.flatten(1)).reshape(base.shape)
    others = [index for index in range(base.dim()) if index != axis]
    whole = magnitude * moved / moved.pow(2).sum(others, keepdim=True).sqrt()
    expected = base + scale * (whole - base)  # as ComfyUI, Forge and A1111 do
    torch.testing.assert_close(changed(load(tensors, names, tmp_path), weights, module, scale), expected)


def test_the_scale_of_pefts_dora_stands_before_the_norm(names: Names, weights: Weights, tmp_path: Path) -> None:
    base = weights["unet", f"{LINEAR}.weight"]
    down, up = pair(LINEAR, weights)
    magnitude = noise(16, seed=5).abs() + 0.5
    parts = {"lora_A.weight": down, "lora_B.weight": up, "lora_magnitude_vector.weight": magnitude}
    delta = load({f"unet.{LINEAR}.{part}": value for part, value in parts.items()}, names, tmp_path)
    moved = base + 0.5 * up @ down
    expected = magnitude[:, None] * moved / moved.norm(dim=1, keepdim=True)
    torch.testing.assert_close(changed(delta, weights, LINEAR, 0.5), expected)


@pytest.mark.parametrize("on_input", [False, True])
def test_lycoris_ia3_multiplies_by_one_plus_its_weight(
    on_input: bool, names: Names, weights: Weights, tmp_path: Path
) -> None:
    module = LINEAR.replace("attn1.to_q", "ff.net.2")
    flat = "lora_unet_" + module.replace(".", "_")
    base = weights["unet", f"{module}.weight"]
    vector = noise(1, base.shape[1]) if on_input else noise(base.shape[0], 1)
    tensors = {f"{flat}.weight": vector, f"{flat}.on_input": torch.tensor(on_input)}
    expected = base * (1 + 0.5 * vector)
    torch.testing.assert_close(changed(load(tensors, names, tmp_path), weights, module, 0.5), expected)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float64]
)
def test_any_floating_type_is_used_as_its_values_are(
    dtype: torch.dtype, names: Names, weights: Weights, tmp_path: Path
) -> None:
    down, up = (part.to(dtype) for part in pair(LINEAR, weights))
    tensors = {f"{FLAT[LINEAR]}.lora_down.weight": down, f"{FLAT[LINEAR]}.lora_up.weight": up}
    result = changed(load(tensors, names, tmp_path), weights, LINEAR)
    expected = weights["unet", f"{LINEAR}.weight"] + up.float() @ down.float()
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected)


def test_a_half_precision_base_is_widened_before_anything_is_added(
    names: Names, weights: Weights, tmp_path: Path
) -> None:
    down, up = pair(LINEAR, weights)
    tensors = {f"{FLAT[LINEAR]}.lora_down.weight": down, f"{FLAT[LINEAR]}.lora_up.weight": up}
    base = weights["unet", f"{LINEAR}.weight"].half()
    result = load(tensors, names, tmp_path).apply("unet", f"{LINEAR}.weight", base, 1.0)
    torch.testing.assert_close(result, base.float() + up @ down)
    assert torch.equal(base, weights["unet", f"{LINEAR}.weight"].half())


def test_linear_factors_may_stand_for_a_convolution_of_one_pixel(
    names: Names, weights: Weights, tmp_path: Path
) -> None:
    module = "down_blocks.1.resnets.0.conv_shortcut"
    base = weights["unet", f"{module}.weight"]
    down, up = noise(2, base.shape[1]), noise(base.shape[0], 2, seed=1)
    flat = "lora_unet_" + module.replace(".", "_")
    delta = load({f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}, names, tmp_path)
    torch.testing.assert_close(changed(delta, weights, module), base + (up @ down)[..., None, None])


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(-3, 3))
def test_an_addition_grows_linearly_with_scale(
    scale: float, names: Names, weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> None:
    down, up = pair(LINEAR, weights)
    tensors = {f"{FLAT[LINEAR]}.lora_down.weight": down, f"{FLAT[LINEAR]}.lora_up.weight": up}
    delta = load(tensors, names, tmp_path_factory.mktemp("scale"))
    base = weights["unet", f"{LINEAR}.weight"]
    full = changed(delta, weights, LINEAR, 1.0) - base
    torch.testing.assert_close(changed(delta, weights, LINEAR, scale) - base, scale * full, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("extra", [{}, {"dora_scale": noise(16, 1).abs()}])
def test_at_scale_zero_the_base_comes_back_untouched(
    extra: dict[str, torch.Tensor], names: Names, weights: Weights, tmp_path: Path
) -> None:
    down, up = pair(LINEAR, weights)
    tensors = {f"{FLAT[LINEAR]}.lora_down.weight": down, f"{FLAT[LINEAR]}.lora_up.weight": up}
    tensors |= {f"{FLAT[LINEAR]}.{key}": value for key, value in extra.items()}
    delta = load(tensors, names, tmp_path)
    base = weights["unet", f"{LINEAR}.weight"]
    result = changed(delta, weights, LINEAR, 0.0)
    assert torch.equal(result, base)
    assert result.data_ptr() != base.data_ptr()


def test_a_fused_weight_gives_each_module_its_own_rows(names: Names, weights: Weights, tmp_path: Path) -> None:
    down, up = noise(2, 8), noise(24, 2, seed=1)
    alias = "lora_te1_transformer_resblocks_0_attn_in_proj"
    delta = load({f"{alias}.lora_down.weight": down, f"{alias}.lora_up.weight": up}, names, tmp_path)
    for index, letter in enumerate("qkv"):
        name = f"encoder.layers.0.self_attn.{letter}_proj.weight"
        base = weights["text_encoder", name]
        result = delta.apply("text_encoder", name, base, 1.0)
        torch.testing.assert_close(result, base + (up @ down)[8 * index : 8 * index + 8])


@pytest.mark.parametrize("on_input", [True, False])
def test_a_fused_weight_is_rescaled_as_its_parts_are(
    on_input: bool, names: Names, weights: Weights, tmp_path: Path
) -> None:
    alias, vector = "lora_te1_transformer_resblocks_0_attn_in_proj", noise(8 if on_input else 24)
    parts = {f"{alias}.weight": vector, f"{alias}.on_input": torch.tensor(on_input)}
    delta = load(parts, names, tmp_path)
    for index, letter in enumerate("qkv"):
        name = f"encoder.layers.0.self_attn.{letter}_proj.weight"
        base = weights["text_encoder", name]
        scaled = base * (1 + vector if on_input else 1 + vector[8 * index : 8 * index + 8, None])
        torch.testing.assert_close(delta.apply("text_encoder", name, base, 1.0), scaled)


def test_rotated_outputs_of_a_fused_weight_are_refused_and_inputs_are_not(names: Names, tmp_path: Path) -> None:
    alias = "lora_te1_transformer_resblocks_0_attn_in_proj"
    assert len(load({f"{alias}.oft_R.weight": noise(4, 1)}, names, tmp_path).targets) == 3
    with pytest.raises(MalformedAdapter, match="rotates the outputs of a fused weight"):
        load({f"{alias}.oft_blocks": noise(6, 4, 4)}, names, tmp_path)


# --- against peft -----------------------------------------------------------------------------------------------


class Tiny(nn.Module):
    """A linear and a convolutional layer under the names that an image model's have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.mid = nn.ModuleDict({"proj_in": nn.Linear(6, 8), "conv_in": nn.Conv2d(4, 6, 3)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run both."""
        return self.mid["proj_in"](self.mid["conv_in"](x).flatten(1)[:, :6])


PEFT = {
    "lora": LoraConfig(r=2, lora_alpha=5, target_modules=["proj_in", "conv_in"]),
    "rslora": LoraConfig(r=4, lora_alpha=3, use_rslora=True, target_modules=["proj_in", "conv_in"]),
    "alpha pattern": LoraConfig(r=2, lora_alpha=4, alpha_pattern={"conv_in": 7}, target_modules=["proj_in", "conv_in"]),
    "lora with bias": LoraConfig(r=2, lora_alpha=5, lora_bias=True, target_modules=["proj_in", "conv_in"]),
    "dora": LoraConfig(r=2, lora_alpha=5, use_dora=True, target_modules=["proj_in", "conv_in"]),
    "loha": LoHaConfig(r=2, alpha=5, target_modules=["proj_in", "conv_in"]),
    "loha with cores": LoHaConfig(r=2, alpha=5, use_effective_conv2d=True, target_modules=["conv_in"]),
    "lokr": LoKrConfig(r=1, alpha=5, target_modules=["proj_in", "conv_in"]),
    "lokr whole": LoKrConfig(r=8, alpha=3, target_modules=["proj_in", "conv_in"]),
    "lokr whole, by patterns": LoKrConfig(
        r=8, alpha=3, rank_pattern={"proj_in": 16}, alpha_pattern={"conv_in": 5}, target_modules=["proj_in", "conv_in"]
    ),
    "lokr both split": LoKrConfig(r=1, alpha=5, decompose_both=True, decompose_factor=2, target_modules=["proj_in"]),
    "ia3": IA3Config(target_modules=["proj_in", "conv_in"], feedforward_modules=["conv_in"]),
    "oft": OFTConfig(oft_block_size=3, target_modules=["proj_in"]),
    "oft of a quotient": OFTConfig(oft_block_size=2, use_cayley_neumann=False, target_modules=["proj_in"]),
    "oft of one block": OFTConfig(oft_block_size=6, num_cayley_neumann_terms=3, target_modules=["proj_in"]),
    "oft of shared blocks": OFTConfig(
        oft_block_size=3, block_share=True, num_cayley_neumann_terms=2, target_modules=["proj_in"]
    ),
    "constrained oft": OFTConfig(oft_block_size=3, coft=True, eps=0.3, target_modules=["proj_in"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Adapter 'default'")  # peft takes lora_B.bias for an unsharded weight
@pytest.mark.parametrize("kind", PEFT)
@pytest.mark.parametrize("prefix", ["", "base_model.model."])
def test_the_result_is_what_peft_merges(kind: str, prefix: str, tmp_path: Path) -> None:
    config = PEFT[kind]
    model = Tiny()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    names = Names({"unet": {name: tuple(value.shape) for name, value in before.items()}})
    adapted = get_peft_model(model, config)
    for seed, (name, value) in enumerate(adapted.named_parameters()):
        if value.requires_grad:
            drawn = noise(*value.shape, seed=seed)
            value.data = drawn.abs() + 0.1 if "magnitude" in name else drawn
    state = get_peft_model_state_dict(adapted)
    tensors = {prefix + key.removeprefix("base_model.model."): value for key, value in state.items()}
    delta = load(tensors, names, tmp_path, config=json.loads(json.dumps(config.to_dict(), default=list)))
    merged = adapted.merge_and_unload()
    after = {name: value.detach() for name, value in merged.named_parameters()}
    touched = {target.name for target in delta.targets}
    assert touched == {name for name in before if not torch.equal(before[name], after[name])}
    for name in touched:
        torch.testing.assert_close(delta.apply("unet", name, before[name], 1.0), after[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scaled", [False, True])
def test_onetrainer_oft_turns_the_inputs_by_five_terms(
    scaled: bool, names: Names, weights: Weights, tmp_path: Path
) -> None:
    values, skew = noise(4, 6) * 0.2, torch.zeros(4, 4, 4)
    tensors = {f"{FLAT[LINEAR]}.oft_R.weight": values}
    if scaled:
        tensors[f"{FLAT[LINEAR]}.oft_R.scaled_oft"] = torch.tensor(1)
    above = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for block in range(4):
        for (row, column), value in zip(above, values[block] / (6**0.5 if scaled else 1), strict=True):
            skew[block, row, column], skew[block, column, row] = value, -value
    q = torch.block_diag(*skew)
    turn = torch.eye(16) + 2 * q + 2 * q @ q + 2 * q @ q @ q + q @ q @ q @ q
    base = weights["unet", f"{LINEAR}.weight"]
    delta = load(tensors, names, tmp_path)
    torch.testing.assert_close(changed(delta, weights, LINEAR), base @ turn.T)
    torch.testing.assert_close(changed(delta, weights, LINEAR, 0.5), (base + base @ turn.T) / 2)
    notes = " ".join(read_adapter(tmp_path / "adapter.safetensors").notes)
    assert "five terms are assumed" in notes


def test_oft_of_convolutions_is_refused_where_trainers_differ(names: Names, tmp_path: Path) -> None:
    with pytest.raises(MalformedAdapter, match="OFT of a convolution, which peft and OneTrainer rotate"):
        load({f"{FLAT[CONV]}.oft_R.weight": noise(36, 6)}, names, tmp_path)


def test_kohya_oft_is_named_in_its_own_way(names: Names, weights: Weights, tmp_path: Path) -> None:
    tensors = {"oft_blocks": noise(4, 4, 4), "alpha": torch.tensor(0.01)}
    found = [
        changed(load({f"{alias}.{key}": value for key, value in tensors.items()}, names, tmp_path), weights, LINEAR)
        for alias in (FLAT[LINEAR], FLAT[LINEAR].replace("lora_unet", "oft_unet"))
    ]
    assert torch.equal(*found)


@pytest.mark.parametrize("written", ["diffusers", "kohya"])
def test_the_result_is_what_diffusers_fuses(
    written: str, unet: UNet2DConditionModel, weights: Weights, names: Names, tmp_path: Path
) -> None:
    model = copy.deepcopy(unet)
    model.add_adapter(LoraConfig(r=2, lora_alpha=6, target_modules=["to_q", "to_out.0", "proj_in", "conv1"]))
    for seed, (name, value) in enumerate(model.named_parameters()):
        if "lora_" in name:
            value.data = noise(*value.shape, seed=seed)
    state = {f"unet.{key}": value for key, value in get_peft_model_state_dict(model).items()}
    if written == "kohya":
        # it writes alphas equal to the ranks, whatever they were
        tensors = convert_state_dict_to_kohya(state)
        tensors = {key: torch.tensor(6.0) if "alpha" in key else value for key, value in tensors.items()}
        delta = load(tensors, names, tmp_path)
    else:
        delta = load(state, names, tmp_path, metadata={"lora_adapter_metadata": '{"unet.lora_alpha": 6, "unet.r": 2}'})
    model.fuse_lora()
    model.unload_lora()
    fused = dict(model.named_parameters())
    assert len(delta.targets) > 30
    for component, name in delta.targets:
        result = delta.apply(component, name, weights["unet", name], 1.0)
        torch.testing.assert_close(result, fused[name], atol=1e-5, rtol=1e-5)


def test_the_config_beside_a_peft_file_is_used(tmp_path: Path, names: Names, weights: Weights) -> None:
    down, up = pair(LINEAR, weights)
    tensors = {f"base_model.model.unet.{LINEAR}.lora_A.weight": down}
    tensors[f"base_model.model.unet.{LINEAR}.lora_B.weight"] = up
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 6, "r": 2}')
    path = craft.save(tmp_path / "adapter_model.safetensors", tensors)
    base = weights["unet", f"{LINEAR}.weight"]
    torch.testing.assert_close(changed(load_delta(path, names), weights, LINEAR), base + 3 * up @ down)
    # beside a file of any other name, among others, it may be somebody else's
    torch.testing.assert_close(changed(load(tensors, names, tmp_path), weights, LINEAR), base + up @ down)


def test_the_config_beside_a_renamed_adapter_is_used_if_it_is_the_only_one(
    tmp_path: Path, names: Names, weights: Weights
) -> None:
    down, up = pair(LINEAR, weights)
    tensors = {f"unet.{LINEAR}.lora_A.weight": down, f"unet.{LINEAR}.lora_B.weight": up}
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 6, "r": 2}')
    path = craft.save(tmp_path / "red truck.safetensors", tensors)
    base = weights["unet", f"{LINEAR}.weight"]
    torch.testing.assert_close(changed(load_delta(path, names), weights, LINEAR), base + 3 * up @ down)
    assert "alpha" not in " ".join(read_adapter(path).notes)
    craft.save(tmp_path / "another.safetensors", tensors)
    notes = " ".join(read_adapter(path).notes)
    assert "adapter_config.json beside it is not used" in notes
    assert "no alpha is stated for 1 of 1 modules (unet); alpha = rank is assumed" in notes


def test_an_alpha_that_only_one_component_states_is_assumed_for_the_others(names: Names, tmp_path: Path) -> None:
    """One component's alpha once silenced the note for all of them."""
    text = "text_model.encoder.layers.0.self_attn.q_proj"
    tensors = two({}, f"unet.{LINEAR}", (16, 16)) | two({}, f"text_encoder.{text}", (8, 8))
    stated = json.dumps({"unet.r": 2, "unet.lora_alpha": 8})
    path = craft.save(tmp_path / "x.safetensors", tensors, {"lora_adapter_metadata": stated})
    load_delta(path, names)
    notes = [note for note in read_adapter(path).notes if "alpha" in note]
    assert notes == ["no alpha is stated for 1 of 2 modules (text_encoder); alpha = rank is assumed (factor 1)"]


def test_a_flat_image_model_and_dotted_text_encoders_load_together(
    names: Names, weights: Weights, tmp_path: Path
) -> None:
    down, up = craft.lora((8, 8))
    tensors = two({f"{FLAT[LINEAR]}.alpha": torch.tensor(6.0)}, FLAT[LINEAR], (16, 16))
    for encoder in ("text_encoder", "text_encoder_2"):
        alias = f"{encoder}.text_model.encoder.layers.0.self_attn.q_proj"
        tensors |= {f"{alias}.lora_A.weight": down.clone(), f"{alias}.lora_B.weight": up.clone()}
    delta = load(tensors, names, tmp_path)
    assert delta.coverage.matched == delta.coverage.total == 3
    for component, name in delta.targets:
        if component != "unet":
            base = weights[component, name]
            torch.testing.assert_close(delta.apply(component, name, base, 1.0), base + up @ down)
    one, two_ = pair(LINEAR, weights)
    base = weights["unet", f"{LINEAR}.weight"]
    torch.testing.assert_close(changed(delta, weights, LINEAR), base + 3 * two_ @ one)


def test_inversions_of_another_base_in_its_file_make_a_partial_match(
    names: Names, weights: Weights, tmp_path: Path
) -> None:
    tensors = two({}, FLAT[LINEAR], (16, 16))
    alone = changed(load(tensors, names, tmp_path), weights, LINEAR)
    words = {
        f"bundle_emb.{word}.{part}": noise(2, 8) for word in ("zxq face", "style") for part in ("clip_l", "clip_g")
    }
    path = craft.save(tmp_path / "x.safetensors", tensors | words | {"bundle_emb.old.string_to_param.*": noise(2, 8)})
    delta, adapter = load_delta(path, names, partial=True), read_adapter(path)
    torch.testing.assert_close(changed(delta, weights, LINEAR), alone)
    assert delta.coverage.unmatched == ("bundle_emb.old.string_to_param.*",)
    assert [one.token for one in delta.inversions] == ["style", "zxq face"]
    assert adapter.unmatched == ()
    assert "textual inversion 'style' of 2 vectors: it acts where a prompt names it" in adapter.notes
    with pytest.raises(PartialMatch, match="3 of 4 modules match the base model; unmatched keys: bundle_emb"):
        load_delta(path, names)


@pytest.mark.parametrize("start", ["pissa", "olora"])
@pytest.mark.parametrize("rooted", [False, True])
def test_what_the_factors_held_of_the_base_before_training_is_taken_out(
    start: str, rooted: bool, tmp_path: Path
) -> None:
    """Left in, it made an adapter of another direction (cosine .1 with what peft merges)."""
    base = Tiny()
    before = {name: value.detach().clone() for name, value in base.named_parameters()}
    config = LoraConfig(r=2, lora_alpha=3, init_lora_weights=start, use_rslora=rooted, target_modules=["proj_in"])
    adapted = get_peft_model(copy.deepcopy(base), config)
    for seed, (name, value) in enumerate(adapted.named_parameters()):
        if "lora_" in name:
            value.data += 0.05 * noise(*value.shape, seed=seed)
    adapted.save_pretrained(tmp_path)
    merged = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path).merge_and_unload()
    names = Names({"unet": {name: tuple(value.shape) for name, value in before.items()}})
    path = tmp_path / "adapter_model.safetensors"
    delta = load_delta(path, names)
    name = "mid.proj_in.weight"
    after = dict(merged.named_parameters())[name].detach()
    torch.testing.assert_close(delta.apply("unet", name, before[name], 1.0), after, atol=1e-5, rtol=1e-5)
    half = delta.apply("unet", name, before[name], 0.5)
    torch.testing.assert_close(half, (before[name] + after) / 2, atol=1e-5, rtol=1e-5)
    assert any(f"({start}), which is subtracted" in note for note in read_adapter(path).notes)


@pytest.mark.parametrize("start", ["pissa_niter_4", "loftq", "corda", "lora_ga", "something new"])
@pytest.mark.parametrize("where", ["header", "config"])
def test_a_start_that_cannot_be_known_is_refused(start: str, where: str, names: Names, tmp_path: Path) -> None:
    tensors = two({}, FLAT[LINEAR], (16, 16))
    stated = json.dumps({"unet.init_lora_weights": start})
    metadata = {"lora_adapter_metadata": stated} if where == "header" else None
    config: dict[str, object] | None = {"init_lora_weights": start} if where == "config" else None
    with pytest.raises(MalformedAdapter, match=f"init_lora_weights is '{start}'.*path_initial_model"):
        load(tensors, names, tmp_path, metadata=metadata, config=config)


@pytest.mark.parametrize("feedforward", [["conv"], "mid.*conv", []])
def test_ia3_on_a_square_convolution_follows_its_config(feedforward: list[str] | str, tmp_path: Path) -> None:
    """Both axes have the same length there: guessed by shape, outputs were scaled as inputs."""
    base = nn.ModuleDict({"mid": nn.ModuleDict({"conv": nn.Conv2d(4, 4, 3)})})
    before = {name: value.detach().clone() for name, value in base.named_parameters()}
    config = IA3Config(target_modules=["conv"], feedforward_modules=feedforward)
    adapted = get_peft_model(base, config)
    for name, value in adapted.named_parameters():
        if "ia3_" in name:
            value.data = noise(*value.shape)
    tensors = {
        key.removeprefix("base_model.model."): value for key, value in get_peft_model_state_dict(adapted).items()
    }
    names = Names({"unet": {name: tuple(value.shape) for name, value in before.items()}})
    with pytest.raises(MalformedAdapter, match="which only its config tells"):
        load(tensors, names, tmp_path)
    delta = load(tensors, names, tmp_path, config=json.loads(json.dumps(config.to_dict(), default=list)))
    after = dict(adapted.merge_and_unload().named_parameters())
    for component, name in delta.targets:
        torch.testing.assert_close(delta.apply(component, name, before[name], 1.0), after[name].detach())


def test_glora_of_before_lycoris_2_has_its_factors_the_other_way_round(
    names: Names, weights: Weights, tmp_path: Path
) -> None:
    base = weights["unet", f"{LINEAR}.weight"]
    a1, a2, b1, b2 = noise(2, 16), noise(16, 2, seed=1), noise(2, 16, seed=2), noise(16, 2, seed=3)
    tensors = {f"{FLAT[LINEAR]}.{n}.weight": v for n, v in {"a1": a1, "a2": a2, "b1": b1, "b2": b2}.items()}
    tensors[f"{FLAT[LINEAR]}.alpha"] = torch.tensor(1.0)
    expected = base + 0.5 * (base @ a2 @ a1 + b2 @ b1)
    torch.testing.assert_close(changed(load(tensors, names, tmp_path), weights, LINEAR), expected)


def test_the_config_that_diffusers_writes_into_the_header_is_used(
    tmp_path: Path, names: Names, weights: Weights
) -> None:
    down, up = pair(LINEAR, weights)
    tensors = {f"unet.{LINEAR}.lora_A.weight": down, f"unet.{LINEAR}.lora_B.weight": up}
    stated = {"unet.r": 2, "unet.lora_alpha": 8, "unet.use_rslora": True}
    delta = load(tensors, names, tmp_path, metadata={"lora_adapter_metadata": json.dumps(stated)})
    base = weights["unet", f"{LINEAR}.weight"]
    torch.testing.assert_close(changed(delta, weights, LINEAR), base + 8 / 2**0.5 * up @ down)


def test_an_alpha_of_the_file_is_divided_by_the_rank_whatever_its_trainer_used(
    tmp_path: Path, names: Names, weights: Weights
) -> None:
    """LyCORIS stores rank-stabilised alphas times sqrt(rank); dividing those by the root was a factor too much."""
    down, up = pair(LINEAR, weights)
    tensors = {f"{FLAT[LINEAR]}.lora_down.weight": down, f"{FLAT[LINEAR]}.lora_up.weight": up}
    tensors[f"{FLAT[LINEAR]}.alpha"] = torch.tensor(4.0)
    delta = load(tensors, names, tmp_path, metadata={"ss_network_args": '{"rs_lora": "True"}'})
    base = weights["unet", f"{LINEAR}.weight"]
    torch.testing.assert_close(changed(delta, weights, LINEAR), base + 4 / 2 * up @ down)


# --- what is refused --------------------------------------------------------------------------------------------


def two(tensors: dict[str, torch.Tensor], alias: str, shape: Sequence[int]) -> dict[str, torch.Tensor]:
    down, up = craft.lora(shape)
    return tensors | {f"{alias}.lora_down.weight": down, f"{alias}.lora_up.weight": up}


def test_unmatched_keys_are_listed_unless_a_partial_load_is_asked_for(
    names: Names, weights: Weights, tmp_path: Path
) -> None:
    tensors = two(two({}, FLAT[LINEAR], (16, 16)), "lora_unet_nowhere", (16, 16))
    with pytest.raises(PartialMatch, match="1 of 2 modules.*lora_unet_nowhere") as caught:
        load(tensors, names, tmp_path)
    assert len(caught.value.unmatched) == 2
    delta = load(tensors, names, tmp_path, partial=True)
    assert delta.coverage.unmatched == caught.value.unmatched
    assert (delta.coverage.matched, delta.coverage.total) == (1, 2)
    assert len(delta.targets) == 1


def test_a_bias_that_the_base_does_not_have_is_unmatched(names: Names, tmp_path: Path) -> None:
    tensors = two({f"{FLAT[LINEAR]}.diff_b": noise(16)}, FLAT[LINEAR], (16, 16))
    with pytest.raises(PartialMatch, match="diff_b"):
        load(tensors, names, tmp_path)


def test_an_adapter_of_another_base_is_refused_with_the_shape_that_shows_it(names: Names, tmp_path: Path) -> None:
    alias = FLAT[LINEAR].replace("attn1_to_q", "attn2_to_k")
    with pytest.raises(WrongBase, match="made for SDXL.*16 x 2048, but the base weight is 16 x 12"):
        load(two({}, alias, (16, 2048)), names, tmp_path)


@pytest.mark.parametrize(("part", "value", "own"), [
    ("oft_R.weight", noise(5, 6), "any x 20"), ("oft_blocks", noise(5, 4, 4), "20 x any"),
])  # fmt: skip
def test_rotations_of_another_width_are_of_another_base(
    part: str, value: torch.Tensor, own: str, names: Names, tmp_path: Path
) -> None:
    with pytest.raises(WrongBase, match=f"changes {own}, but the base weight is 16 x 16"):
        load({f"{FLAT[LINEAR]}.{part}": value}, names, tmp_path)


def test_an_adapter_of_which_nothing_matches_is_refused_even_in_part(names: Names, tmp_path: Path) -> None:
    alias = "lora_unet_down_blocks_3_attentions_0_proj_in"
    with pytest.raises(WrongBase, match="none of its 1 modules"):
        load(two({}, alias, (16, 16)), names, tmp_path, partial=True)


def test_a_file_of_another_base_is_refused_before_its_tensors_are_read(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorascope.adapters.delta.read_file", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(WrongBase):
        load(two({}, FLAT[LINEAR], (16, 2048)), names, tmp_path)


def test_one_weight_under_two_names_is_refused(names: Names, tmp_path: Path) -> None:
    tensors = two({}, FLAT[LINEAR], (16, 16))
    tensors = two(tensors, f"lora_unet_{LINEAR.replace('.', '_').replace('_to_q', '_processor_to_q')}", (16, 16))
    with pytest.raises(UnknownAdapter, match="two of its modules change"):
        load(tensors, names, tmp_path)


def test_an_adapter_that_is_all_zero_has_no_effect(names: Names, tmp_path: Path) -> None:
    tensors = two({}, FLAT[LINEAR], (16, 16))
    tensors[f"{FLAT[LINEAR]}.lora_up.weight"].zero_()
    with pytest.raises(NoEffect, match="all its weights are zero"):
        load(tensors, names, tmp_path)


def test_zero_modules_beside_others_are_fine(names: Names, tmp_path: Path) -> None:
    tensors = two(two({}, FLAT[LINEAR], (16, 16)), FLAT[CONV], (16, 16, 3, 3))
    tensors[f"{FLAT[LINEAR]}.lora_up.weight"].zero_()
    assert len(load(tensors, names, tmp_path).targets) == 2


def test_what_does_nothing_needs_no_place_in_the_base_model(names: Names, tmp_path: Path) -> None:
    """Extractions from whole models hold layers that were not trained, some of which diffusers' models do not have."""
    tensors = two({}, FLAT[LINEAR], (16, 16)) | {f"{FLAT[LINEAR]}.diff_b": torch.zeros(16)}
    tensors = two(tensors, "text_encoders.clip_l.transformer.text_projection", (8, 8))
    with pytest.raises(PartialMatch):
        load(tensors, names, tmp_path)
    tensors["text_encoders.clip_l.transformer.text_projection.lora_up.weight"].zero_()
    coverage = load(tensors, names, tmp_path).coverage
    assert (coverage.matched, coverage.total, coverage.unmatched) == (1, 1, ())


def test_an_infinite_alpha_that_does_not_count_is_passed_over(names: Names, weights: Weights, tmp_path: Path) -> None:
    """LoKr of two whole factors is not scaled; ai-toolkit writes 9999999999 there, also as float16."""
    first, second = noise(2, 2), noise(8, 8, seed=1)
    parts = {"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(1e10).half()}
    delta = load({f"{FLAT[LINEAR]}.{part}": value for part, value in parts.items()}, names, tmp_path)
    expected = weights["unet", f"{LINEAR}.weight"] + torch.kron(first, second)
    torch.testing.assert_close(changed(delta, weights, LINEAR), expected)


@pytest.mark.parametrize("part", ["dora_scale", "diff_b"])
def test_a_vector_of_the_wrong_length_is_refused(part: str, names: Names, tmp_path: Path) -> None:
    tensors = two({f"{FLAT[CONV]}.{part}": noise(5, 1)}, FLAT[CONV], (16, 16, 3, 3))
    with pytest.raises(MalformedAdapter, match="16 channels"):
        load(tensors, names, tmp_path)


def test_a_scalar_alpha_may_be_not_a_number_no_more_than_a_weight(names: Names, tmp_path: Path) -> None:
    tensors = two({f"{FLAT[LINEAR]}.alpha": torch.tensor(float("nan"))}, FLAT[LINEAR], (16, 16))
    with pytest.raises(Exception, match="holds NaN"):
        load(tensors, names, tmp_path)


@pytest.mark.parametrize("part", ["alpha", "lora_up.weight"])
def test_a_double_beyond_float32_is_infinite(part: str, names: Names, tmp_path: Path) -> None:
    """It passed for finite, and became infinite where it was used."""
    tensors = two({}, FLAT[LINEAR], (16, 16))
    tensors[f"{FLAT[LINEAR]}.{part}"] = torch.full((16, 2) if part != "alpha" else (), 1e300, dtype=torch.float64)
    with pytest.raises(NotFinite, match="holds infinity"):
        load(tensors, names, tmp_path)


@pytest.mark.parametrize(
    ("stray", "words"), [(torch.zeros(0, 3), r"of shape \[0, 3\] is empty"), (torch.zeros([1] * 9), "has 9 axes")]
)
def test_tensors_that_cannot_be_of_a_weight_are_refused(
    stray: torch.Tensor, words: str, names: Names, tmp_path: Path
) -> None:
    with pytest.raises(AdapterError, match=words):
        load(two({"stray": stray}, FLAT[LINEAR], (16, 16)), names, tmp_path, partial=True)


def test_magnitudes_of_a_vector_are_refused(names: Names, tmp_path: Path) -> None:
    """They once scaled the vector as a whole."""
    flat = "lora_unet_mid_block_resnets_0_norm1"
    with pytest.raises(MalformedAdapter, match="has magnitudes, but what it changes is no matrix"):
        load({f"{flat}.w_norm": noise(16), f"{flat}.dora_scale": noise(16)}, names, tmp_path)


@pytest.mark.parametrize("alpha", ["16", True, 10**400, 1e300, float("nan")])
def test_an_alpha_that_cannot_be_is_refused(alpha: object, names: Names, tmp_path: Path) -> None:
    """A huge one once ended the program with an OverflowError; a text was taken for no alpha at all."""
    tensors = two({}, FLAT[LINEAR], (16, 16))
    for config in ({"lora_alpha": alpha}, {"alpha_pattern": {"to_q": alpha}}):
        with pytest.raises(MalformedAdapter, match="its config has an alpha of"):
            load(tensors, names, tmp_path, config=config)


@pytest.mark.parametrize("pattern", ["(?i)to_q", "(", "to_q{99999999999}", "(" * 2000])
def test_a_pattern_that_does_not_compile_matches_nothing(
    pattern: str, names: Names, weights: Weights, tmp_path: Path
) -> None:
    down, up = pair(LINEAR, weights)
    config: dict[str, object] = {"lora_alpha": 2, "alpha_pattern": {pattern: 8}}
    delta = load(two({}, FLAT[LINEAR], (16, 16)), names, tmp_path, config=config)
    base = weights["unet", f"{LINEAR}.weight"]
    torch.testing.assert_close(changed(delta, weights, LINEAR), base + up @ down)


def test_asking_for_a_parameter_that_is_not_changed_is_a_key_error(
    names: Names, weights: Weights, tmp_path: Path
) -> None:
    delta = load(two({}, FLAT[LINEAR], (16, 16)), names, tmp_path)
    with pytest.raises(KeyError):
        delta.apply("unet", "conv_in.weight", weights["unet", "conv_in.weight"], 1.0)
