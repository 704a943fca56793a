"""--download against a hub on this machine: what is fetched, resumed, and said where something cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hubs import Hub, fetched, served
from tiny import tiny_sdxl

from lorascope.generators.loading import digest

WEIGHTS = bytes(range(256)) * 400
REPOSITORIES = {
    "owner/complete": {
        "config.json": b"{}", "model.safetensors": WEIGHTS, "model.fp16.safetensors": b"", "flax_model.msgpack": b"",
    },
    "owner/large": {"config.json": b"{}", "model.safetensors": WEIGHTS},
    "owner/pickled-clip": {"config.json": b'{"model_type": "clip"}', "pytorch_model.bin": WEIGHTS},
}  # fmt: skip
LOAD = """
import sys, torch
from lorascope.errors import ModelError
from lorascope.generators.loading import digest, load_pipeline
from lorascope.models import bytes_to_fetch, network
from lorascope.protocol import Preset
fields = {"name": "tiny", "family": "sdxl", "base": sys.argv[2], "encoders": ("none",), "dtype": "float32"}
preset = Preset(**fields, steps=1, guidance=1.0, width=32, height=32, seeds=(1,))
with network(allowed=True):
    print(bytes_to_fetch(sys.argv[2], pipeline=True))
print(digest(load_pipeline(preset, torch.device("cpu"), download=True)))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with a few models."""
    with served() as server:
        server.repositories |= REPOSITORIES
        yield server


def test_only_what_is_used_is_fetched_and_then_found_offline(hub: Hub, tmp_path: Path) -> None:
    refused = fetched(hub, tmp_path, "owner/complete", download=False)
    assert refused.startswith("refused: the model owner/complete is not on this disk: run once with --download")
    assert hub.asked == []
    assert fetched(hub, tmp_path, "owner/complete") == "config.json model.safetensors"
    assert sorted(name for name, _ in hub.asked) == ["config.json", "model.safetensors"]
    asked = len(hub.asked)
    assert fetched(hub, tmp_path, "owner/complete", download=False) == "config.json model.safetensors"
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("owner/gated", "is gated: accept its terms on its page, log in with `hf auth login`, and run again"),
        ("owner/none", "is not on the hub, or is private: check its name, or log in with `hf auth login`"),
    ],
)
def test_what_the_hub_refuses_is_told_with_what_to_do(name: str, message: str, hub: Hub, tmp_path: Path) -> None:
    assert fetched(hub, tmp_path, name) == f"refused: the model {name} {message}"


def test_a_download_that_is_cut_off_goes_on_with_the_files_that_are_missing(hub: Hub, tmp_path: Path) -> None:
    hub.cut = 60_000
    refused = fetched(hub, tmp_path, "owner/large")
    assert refused.startswith("refused: the model owner/large could not be fetched (")
    assert refused.endswith("and run again: the files that have arrived are kept")
    hub.cut = None
    hub.asked.clear()
    assert fetched(hub, tmp_path, "owner/large") == "config.json model.safetensors"
    assert {name for name, _ in hub.asked} == {"model.safetensors"}
    (weights,) = tmp_path.rglob("snapshots/*/model.safetensors")
    assert weights.read_bytes() == WEIGHTS


def test_a_slow_hub_is_waited_for_and_one_that_stalls_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.pause = 0.3
    assert fetched(hub, tmp_path / "slow", "owner/large") == "config.json model.safetensors"
    hub.pause = 30.0
    refused = fetched(hub, tmp_path / "stalled", "owner/large", patience=1)
    assert refused.startswith("refused: the model owner/large could not be fetched (")


def test_a_clip_that_is_a_pickle_is_not_opened(hub: Hub, tmp_path: Path) -> None:
    refused = fetched(hub, tmp_path, "owner/pickled-clip")
    assert refused.startswith("refused: owner/pickled-clip offers no safetensors weights, or they could not be fetched")
    assert "pytorch_model.bin" not in {name for name, _ in hub.asked}


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_sdxl_is_fetched_in_half_precision_where_there_is_such_a_variant(
    variant: str | None, hub: Hub, tmp_path: Path
) -> None:
    """Its size is known before, and whatever else the repository holds is left there."""
    from diffusers import StableDiffusionXLPipeline

    folder = tiny_sdxl(tmp_path / "sdxl")
    pipe = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    if variant:
        pipe.save_pretrained(folder, variant=variant)
        (
            folder / "vae" / f"diffusion_pytorch_model.{variant}.safetensors"
        ).unlink()  # as some have for large parts only
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.repositories["owner/sdxl"] = {k: v for k, v in files.items() if "letters" not in k} | {
        "sd_xl_base_1.0.safetensors": WEIGHTS, "unet/openvino_model.bin": WEIGHTS,
    }  # fmt: skip
    told, loaded = fetched(hub, tmp_path / "cache", "owner/sdxl", script=LOAD).split()
    weights = {name for name, _ in hub.asked if name.endswith(".safetensors")}
    assert len(weights) == 4
    assert all((".fp16." in name) == (variant is not None and "vae" not in name) for name in weights)
    assert loaded == digest(pipe)
    small = {name for name in files if name.endswith((".json", ".txt")) and "letters" not in name}
    assert int(told) == sum(len(files[name]) for name in weights | small)
