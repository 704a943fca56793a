"""Small base models and adapters for the adapter tests."""

from pathlib import Path

import adapter_files as craft
import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lorascope.adapters import Names

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def unet() -> UNet2DConditionModel:
    """A UNet in the layout of SDXL, with a context width that no published model has."""
    torch.manual_seed(0)
    return UNet2DConditionModel(**craft.TINY_UNET)


@pytest.fixture(scope="session")
def text_encoders() -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """The two classes of text encoder; transformers 5 names their modules with and without ``text_model.``."""
    config = CLIPTextConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=16,
        max_position_embeddings=8, projection_dim=6, bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    torch.manual_seed(1)
    return CLIPTextModel(config), CLIPTextModelWithProjection(config)


@pytest.fixture(scope="session")
def weights(
    unet: UNet2DConditionModel, text_encoders: tuple[CLIPTextModel, CLIPTextModelWithProjection]
) -> dict[tuple[str, str], torch.Tensor]:
    """Every parameter of the small base model."""
    parts = {"unet": unet, "text_encoder": text_encoders[0], "text_encoder_2": text_encoders[1]}
    return {
        (component, name): value.detach().clone()
        for component, model in parts.items()
        for name, value in model.named_parameters()
    }


@pytest.fixture(scope="session")
def names(weights: dict[tuple[str, str], torch.Tensor]) -> Names:
    """The names of the small base model."""
    components: dict[str, dict[str, tuple[int, ...]]] = {}
    for (component, name), value in weights.items():
        components.setdefault(component, {})[name] = tuple(value.shape)
    return Names(components)


@pytest.fixture
def good(tmp_path: Path, weights: dict[tuple[str, str], torch.Tensor]) -> Path:
    """A sound kohya adapter of the small UNet's attention."""
    modules = [name.removesuffix(".weight") for part, name in weights if part == "unet" and ".to_" in name]
    tensors = craft.kohya_lora({m: weights["unet", f"{m}.weight"].shape for m in modules if "bias" not in m})
    return craft.save(tmp_path / "good.safetensors", tensors, {"ss_base_model_version": "miniature_v1"})
