"""The similarity of two changes is the cosine of the full matrices, without those matrices."""

from pathlib import Path

import adapter_files as craft
import pytest
import torch

from lorascope.adapters import Delta, Names, load_delta, similarity

SHAPES = {"mid.one": (8, 6), "mid.two": (8, 4, 3, 3)}
NAMES = Names({"unet": {f"{module}.weight": shape for module, shape in SHAPES.items()}})


def adapter(tmp_path: Path, seed: int, modules: tuple[str, ...] = tuple(SHAPES), scale: float = 1.0) -> Delta:
    tensors: dict[str, torch.Tensor] = {}
    for number, module in enumerate(modules):
        down, up = craft.lora(SHAPES[module], 2, seed + 10 * number)
        alias = "lora_unet_" + module.replace(".", "_")
        tensors |= {f"{alias}.lora_down.weight": down, f"{alias}.lora_up.weight": up * scale}
        tensors[f"{alias}.alpha"] = torch.tensor(1.0)
    return load_delta(craft.save(tmp_path / "x.safetensors", tensors), NAMES)


def matrices(delta: Delta, modules: tuple[str, ...] = tuple(SHAPES)) -> torch.Tensor:
    changes = (delta.apply("unet", f"{m}.weight", torch.zeros(SHAPES[m]), 1.0).flatten() for m in modules)
    return torch.cat(list(changes)).double()


def test_it_is_the_cosine_of_the_full_changes(tmp_path: Path) -> None:
    one, two = adapter(tmp_path, 0), adapter(tmp_path, 100)
    expected = torch.nn.functional.cosine_similarity(matrices(one), matrices(two), dim=0)
    assert similarity(one, two) == pytest.approx(float(expected), abs=1e-6)


def test_duplicates_and_stronger_copies_have_similarity_one(tmp_path: Path) -> None:
    one = adapter(tmp_path, 0)
    assert similarity(one, adapter(tmp_path, 0)) == pytest.approx(1.0)
    assert similarity(one, adapter(tmp_path, 0, scale=3.0)) == pytest.approx(1.0)
    assert similarity(one, adapter(tmp_path, 0, scale=-1.0)) == pytest.approx(-1.0)


def test_a_difference_that_was_merged_from_a_lora_is_the_same_change(tmp_path: Path) -> None:
    one = adapter(tmp_path, 0, ("mid.one",))
    diff = one.apply("unet", "mid.one.weight", torch.zeros(8, 6), 1.0)
    path = craft.save(tmp_path / "diff.safetensors", {"lora_unet_mid_one.diff": diff})
    assert similarity(one, load_delta(path, NAMES)) == pytest.approx(1.0, abs=1e-6)


def resized(tmp_path: Path, one: Delta, rank: int) -> Delta:
    """The best approximation of a change at some rank, as tools that resize LoRAs make it."""
    tensors: dict[str, torch.Tensor] = {}
    for module, shape in SHAPES.items():
        change = one.apply("unet", f"{module}.weight", torch.zeros(shape), 1.0).flatten(1)
        left, values, right = torch.linalg.svd(change, full_matrices=False)
        down, up = right[:rank].reshape(rank, *shape[1:]), left[:, :rank] * values[:rank]
        alias = "lora_unet_" + module.replace(".", "_")
        tensors |= {f"{alias}.lora_down.weight": down, f"{alias}.lora_up.weight": up}
    return load_delta(craft.save(tmp_path / "resized.safetensors", tensors), NAMES)


@pytest.mark.parametrize("rank", [3, 2, 1])
def test_a_resized_copy_differs_by_what_was_cut_off(rank: int, tmp_path: Path) -> None:
    one = adapter(tmp_path, 0)
    changes = (one.apply("unet", f"{module}.weight", torch.zeros(shape), 1.0) for module, shape in SHAPES.items())
    squares = [torch.linalg.svdvals(change.flatten(1)).square() for change in changes]
    kept = sum(float(values[:rank].sum()) for values in squares) / sum(float(values.sum()) for values in squares)
    assert similarity(one, resized(tmp_path, one, rank)) == pytest.approx(kept**0.5, abs=1e-6)
    assert (kept < 0.99) == (rank == 1)


def test_a_wide_difference_is_compared_without_its_square(tmp_path: Path) -> None:
    """An identity as wide as the weight was formed: 80 GB here."""
    names = Names({"unet": {"mid.wide.weight": (2, 100_000)}})
    down, up = craft.lora((2, 100_000), 1)
    parts = ({"diff": up @ down}, {"lora_down.weight": down, "lora_up.weight": up})
    diff, pair = (
        load_delta(
            craft.save(tmp_path / f"{n}.safetensors", {f"lora_unet_mid_wide.{k}": v for k, v in part.items()}), names
        )
        for n, part in enumerate(parts)
    )
    assert similarity(diff, diff) == pytest.approx(1.0, abs=1e-6)
    assert similarity(diff, pair) == similarity(pair, diff) == pytest.approx(1.0, abs=1e-6)


def test_adapters_that_share_no_weight_have_none(tmp_path: Path) -> None:
    assert similarity(adapter(tmp_path, 0, ("mid.one",)), adapter(tmp_path, 1, ("mid.two",))) is None
