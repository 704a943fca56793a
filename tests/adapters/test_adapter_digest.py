"""The digest of the tensors is the same for files that change a base model alike."""

import json
from pathlib import Path

import adapter_files as craft
import pytest
import torch

from lorascope.adapters import Names, load_delta, sha256, tensors_digest
from lorascope.errors import BadHeader, MalformedAdapter

ALIAS = "lora_unet_mid_block_attentions_0_proj_in"
TARGET = ("unet", "mid_block.attentions.0.proj_in.weight")


def write(path: Path, *, dtype: torch.dtype = torch.float16, seed: int = 0, **metadata: str) -> Path:
    down, up = (part.half().to(dtype) for part in craft.lora((8, 8), seed=seed))
    tensors = {f"{ALIAS}.lora_down.weight": down, f"{ALIAS}.lora_up.weight": up, f"{ALIAS}.alpha": torch.tensor(2.0)}
    return craft.save(path, tensors, metadata)


def test_free_text_in_the_header_does_not_count(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.safetensors"), write(tmp_path / "b.safetensors", ss_output_name="renamed")
    assert sha256(one) != sha256(two)
    assert tensors_digest(one) == tensors_digest(two) == tensors_digest(two.read_bytes())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_in_which_equal_values_are_stored_does_not_count(dtype: torch.dtype, tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.safetensors"), write(tmp_path / "b.safetensors", dtype=dtype)
    assert tensors_digest(one) == tensors_digest(two)


def test_bfloat16_is_widened_to_its_own_value(tmp_path: Path) -> None:
    values = craft.noise(3, 4).bfloat16()
    paths = [craft.save(tmp_path / f"{n}.safetensors", {"x": v}) for n, v in enumerate((values, values.float()))]
    assert tensors_digest(paths[0]) == tensors_digest(paths[1])


@pytest.mark.parametrize("change", ["value", "name", "shape"])
def test_every_value_name_and_shape_counts(change: str, tmp_path: Path) -> None:
    tensors = {"x": craft.noise(2, 3)}
    before = tensors_digest(craft.save(tmp_path / "a.safetensors", tensors))
    other = {"value": {"x": tensors["x"] * 1.001}, "name": {"y": tensors["x"]}, "shape": {"x": tensors["x"].T}}
    assert tensors_digest(craft.save(tmp_path / "b.safetensors", other[change])) != before


def test_what_scales_the_tensors_counts_wherever_it_stands(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.safetensors")
    stated = write(tmp_path / "b.safetensors", lora_adapter_metadata=json.dumps({"unet.lora_alpha": 64}))
    digests = {tensors_digest(plain), tensors_digest(stated), tensors_digest(plain.read_bytes(), config={"r": 4})}
    assert len(digests) == 3


def kind(name: str) -> dict[str, torch.Tensor]:
    pair = {f"{ALIAS}.lora_down.weight": craft.noise(2, 8), f"{ALIAS}.lora_up.weight": craft.noise(8, 2)}
    if name == "lora":
        return pair
    if name == "lokr":
        return {f"{ALIAS}.lokr_w1": craft.noise(2, 2), f"{ALIAS}.lokr_w2": craft.noise(4, 4)}
    return {f"{ALIAS}.{part}.weight": craft.noise(8, 2) if part[1] == "1" else craft.noise(2, 8)
            for part in ("a1", "a2", "b1", "b2")}  # fmt: skip


@pytest.mark.parametrize("name", ["lora", "lokr", "glora"])
def test_rank_stabilisation_counts_where_it_changes_the_effect(name: str, tmp_path: Path) -> None:
    """The header's ``rs_lora`` scales GLoRA and whole LoKr; for other kinds the stored alpha holds it already."""
    tensors = kind(name) | {f"{ALIAS}.alpha": torch.tensor(8.0)}
    headers = ({}, {"ss_network_args": '{"rs_lora": "True"}'}, {"ss_network_args": '{"rank_dropout_scale": "True"}'})
    paths = [craft.save(tmp_path / f"{n}.safetensors", tensors, header) for n, header in enumerate(headers)]
    names = Names({"unet": {TARGET[1]: (8, 8)}})
    changes = [load_delta(path, names).apply(*TARGET, torch.eye(8), 1.0) for path in paths]
    digests = [tensors_digest(path) for path in paths]
    assert torch.equal(changes[0], changes[2])
    assert digests[0] == digests[2]
    assert (digests[0] == digests[1]) == torch.equal(changes[0], changes[1]) == (name == "lora")


def test_a_file_that_cannot_be_read_is_an_adapter_error(tmp_path: Path) -> None:
    with pytest.raises(BadHeader):
        tensors_digest((2**40).to_bytes(8, "little") + bytes(64))
    with pytest.raises(MalformedAdapter, match="its config has an alpha"):
        tensors_digest(write(tmp_path / "a.safetensors"), config={"lora_alpha": "many"})
