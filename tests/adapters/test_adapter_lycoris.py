"""What LyCORIS saves changes a weight as LyCORIS itself does while it trains."""

from pathlib import Path

import adapter_files as craft
import pytest
import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.glora import GLoRAModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from torch import nn

from lorascope.adapters import Names, load_delta

NAME = "lora_unet_mid_layer"
RS = {"rs_lora": True}
KINDS = {
    "lora": (LoConModule, {}),
    "lora, rank-stabilised": (LoConModule, RS),
    "lora with a core": (LoConModule, {"use_tucker": True}),
    "dora": (LoConModule, {"weight_decompose": True, "wd_on_out": True}),
    "dora by input": (LoConModule, {"weight_decompose": True, "wd_on_out": False}),
    "loha": (LohaModule, {}),
    "loha, rank-stabilised": (LohaModule, RS),
    "loha with cores": (LohaModule, {"use_tucker": True}),
    "lokr": (LokrModule, {"decompose_both": True, "factor": 2}),
    "lokr, rank-stabilised": (LokrModule, RS | {"decompose_both": True, "factor": 2}),
    "lokr, whole": (LokrModule, {"full_matrix": True}),
    "lokr, whole and rank-stabilised": (LokrModule, RS | {"full_matrix": True}),
    "lokr with a core": (LokrModule, {"use_tucker": True, "factor": 2}),
    "glora": (GLoRAModule, {}),
    "glora, rank-stabilised": (GLoRAModule, RS),
    "oft": (DiagOFTModule, {}),
    "oft, constrained": (DiagOFTModule, {"constraint": 0.01}),
    "oft, rescaled": (DiagOFTModule, {"rescaled": True}),
    "boft": (ButterflyOFTModule, {}),
    "boft, constrained": (ButterflyOFTModule, {"constraint": 0.01}),
    "boft, rescaled": (ButterflyOFTModule, {"rescaled": True}),
    "ia3": (IA3Module, {}),
    "ia3 on inputs": (IA3Module, {"train_on_input": True}),
    "full": (FullModule, {}),
}
LAYERS = {"linear": lambda: nn.Linear(12, 16), "convolution": lambda: nn.Conv2d(12, 16, 3, padding=1)}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_adapter_acts_as_it_did_in_training(kind: str, layer: str, tmp_path: Path) -> None:
    made, options = KINDS[kind]
    torch.manual_seed(0)
    base = LAYERS[layer]().requires_grad_(requires_grad=False)
    before = {"weight": base.weight.clone(), "bias": base.bias.clone()}
    module = made(NAME, base, 1.0, lora_dim=4, alpha=2.0, **options)
    for seed, (name, value) in enumerate(module.named_parameters()):
        value.data = craft.noise(*value.shape, seed=seed) * 0.3 + (1.0 if name in {"rescale", "dora_scale"} else 0.0)
    x = craft.noise(3, 12) if layer == "linear" else craft.noise(2, 12, 5, 5)
    with torch.no_grad():
        module.apply_to()
        expected = base(x)
        module.restore()
    saved = {f"{NAME}.{key}": value.detach() for key, value in module.state_dict().items()}
    metadata = {"ss_network_args": '{"rs_lora": "True"}'} if options.get("rs_lora") else {}
    path = craft.save(tmp_path / "x.safetensors", saved, metadata)
    delta = load_delta(path, Names({"unet": {f"mid.layer.{key}": tuple(value.shape) for key, value in before.items()}}))
    after = dict(before)
    for component, name in delta.targets:
        part = name.removeprefix("mid.layer.")
        after[part] = delta.apply(component, name, before[part], 1.0)
    with torch.no_grad():
        result = torch.func.functional_call(base, after, (x,))
    assert not torch.allclose(expected, base(x), atol=1e-3)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)


def test_a_saved_norm_acts_as_it_did_in_training(tmp_path: Path) -> None:
    base = nn.GroupNorm(2, 8)
    module = NormModule(NAME, base, 1.0)
    for seed, value in enumerate(module.parameters()):
        value.data = craft.noise(*value.shape, seed=seed)
    saved = {f"{NAME}.{key}": value.detach() for key, value in module.state_dict().items()}
    names = Names({"unet": {"mid.layer.weight": (8,), "mid.layer.bias": (8,)}})
    delta = load_delta(craft.save(tmp_path / "x.safetensors", saved), names)
    x = craft.noise(2, 8, 3)
    with torch.no_grad():
        module.apply_to()
        expected = base(x)
        module.restore()
        after = {part: delta.apply("unet", f"mid.layer.{part}", value, 1.0) for part, value in base.named_parameters()}
        torch.testing.assert_close(torch.func.functional_call(base, after, (x,)), expected)
