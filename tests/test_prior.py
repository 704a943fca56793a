"""What weights alone say before anything is measured: spectra, and what is learnt from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import three, tint
from safetensors.torch import save_file

from lorascope.adapters import Names, all_zero, load_delta
from lorascope.adapters.spectra import Spectrum, spectrum
from lorascope.generators.fake import FakeGenerator
from lorascope.library import Library
from lorascope.measure import Event, Worker, index
from lorascope.measure.estimate import estimate

SHAPES = {
    "unet": {"mid_block.attentions.0.proj_in.weight": (6, 8), "mid_block.attn.to_k.weight": (6, 8)},
    "text_encoder": {"text_model.encoder.layers.0.mlp.fc1.weight": (6, 8)},
}
ATTENTION, FEED, TEXT = (
    "unet.mid_block.attn.to_k",
    "unet.mid_block.attentions.0.proj_in",
    "text_encoder.text_model.encoder.layers.0.mlp.fc1",
)


def weighed(
    folder: Path, changes: dict[str, torch.Tensor], scale: float = 1.0, dtype: torch.dtype = torch.float32
) -> Spectrum:
    """The spectrum of an adapter of full differences, on a base model of ones."""
    path = folder / "full.safetensors"
    save_file({f"{module}.diff": change for module, change in changes.items()}, path)
    delta = load_delta(path, Names(SHAPES))
    return spectrum(delta, lambda target: torch.ones(SHAPES[target.component][target.name], dtype=dtype), scale)


def of_norm(norm: float, stable_rank: float = 1.5) -> Spectrum:
    return Spectrum(norm, stable_rank, text=0.0, attention=0.5, changed=1.0)


# --- spectra -----------------------------------------------------------------------------------------------------


def test_a_spectrum_equals_its_definitions(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(1)
    change = {
        name: torch.randn(6, 8, generator=rng) * size for name, size in ((ATTENTION, 3.0), (FEED, 1.0), (TEXT, 2.0))
    }
    found = weighed(tmp_path, change)
    squares = {name: float(torch.linalg.matrix_norm(matrix)) ** 2 for name, matrix in change.items()}
    whole = sum(squares.values())
    ranks = {name: squares[name] / float(torch.linalg.matrix_norm(matrix, 2)) ** 2 for name, matrix in change.items()}
    assert found.norm == pytest.approx((whole / (3 * 48)) ** 0.5)
    assert found.attention == pytest.approx(squares[ATTENTION] / whole)
    assert found.text == pytest.approx(squares[TEXT] / whole)
    assert found.stable_rank == pytest.approx(sum(squares[n] / whole * ranks[n] for n in ranks), rel=0.05)
    assert found.changed == 1.0


def test_a_matrix_of_rank_one_has_stable_rank_one(tmp_path: Path) -> None:
    assert weighed(tmp_path, {FEED: torch.outer(torch.arange(6.0), torch.ones(8))}).stable_rank == pytest.approx(1.0)


def test_scale_multiplies_the_norm(tmp_path: Path) -> None:
    change = {FEED: torch.ones(6, 8)}
    assert weighed(tmp_path, change, scale=0.5).norm == pytest.approx(0.5 * weighed(tmp_path, change).norm)


def test_a_change_below_rounding_changes_nothing(tmp_path: Path) -> None:
    change = {FEED: torch.full((6, 8), 1e-5)}
    assert weighed(tmp_path, change, dtype=torch.float16).changed == 0.0
    assert weighed(tmp_path, change, dtype=torch.float32).changed == 1.0


def files(folder: Path, **tensors: torch.Tensor) -> Path:
    path = folder / "file.safetensors"
    save_file({f"{ATTENTION}.{part.replace('__', '.')}": value for part, value in tensors.items()}, path)
    return path


def test_a_factor_of_zeros_is_an_effect_of_zero(tmp_path: Path) -> None:
    one, none = torch.ones(1, 8), torch.zeros(6, 1)
    assert all_zero(files(tmp_path, lora_down__weight=one, lora_up__weight=none, alpha=torch.tensor(1.0)))
    assert not all_zero(files(tmp_path, lora_down__weight=one, lora_up__weight=none + 1e-30))
    assert all_zero(files(tmp_path, diff=torch.zeros(6, 8)))


def test_kinds_that_act_without_a_product_are_never_called_zero(tmp_path: Path) -> None:
    parts = {"lora_down__weight": torch.ones(1, 8), "lora_up__weight": torch.zeros(6, 1)}
    assert not all_zero(files(tmp_path, **parts, dora_scale=torch.ones(6, 1)))
    assert not all_zero(files(tmp_path, **parts, diff_b=torch.ones(6)))
    assert not all_zero(files(tmp_path, ia3_l=torch.zeros(6)))


# --- its use -----------------------------------------------------------------------------------------------------


def test_the_first_look_begins_with_what_changes_most(tmp_path: Path, worker: Worker, library: Library) -> None:
    for name, red in (("a", 0.1), ("b", 0.4), ("c", 0.2), ("d", 0.2)):
        tint(tmp_path / "loras" / f"{name}.safetensors", red=red)
    events: list[Event] = []
    index([tmp_path / "loras"], worker, library, precision="glance", watch=events.append)
    assert list(dict.fromkeys(event.text for event in events if event.kind == "block")) == ["b", "c", "d", "a"]


def test_the_first_look_does_not_wait_for_all_of_a_large_folder(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorascope.measure.run._WINDOW", 2)
    for name, red in (("a", 0.1), ("b", 0.4), ("c", 0.2), ("d", 0.3), ("e", 0.5)):
        tint(tmp_path / "loras" / f"{name}.safetensors", red=red)
    events: list[Event] = []
    outcome = index([tmp_path / "loras"], worker, library, precision="glance", watch=events.append)
    blocks = [event for event in events if event.kind == "block"]
    assert list(dict.fromkeys(event.text for event in blocks)) == ["b", "a", "d", "c", "e"]
    assert {event.total for event in blocks} == {outcome.cells}
    weighed = [event.text for event in events if event.kind == "weigh"]
    before = [event.text for event in events[: events.index(blocks[0])] if event.kind == "weigh"]
    assert weighed == [f"{count} of 5 files weighed" for count in range(1, 6)]
    assert "5 of 5 files weighed" not in before


def test_what_was_looked_at_is_not_read_again_for_a_first_look(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = three(tmp_path / "loras")
    index([folder], worker, library, precision="glance")
    read: list[Path] = []
    monkeypatch.setattr("lorascope.measure.records.read_file", lambda path: read.append(path) or path.read_bytes())
    assert index([folder], worker, library, precision="full").finished
    assert sorted(read) == sorted(folder.iterdir())


def test_a_file_is_weighed_once(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = three(tmp_path / "loras")
    index([folder], worker, library, precision="glance")
    monkeypatch.setattr(FakeGenerator, "untouched", lambda *_: pytest.fail("weighed again"))
    assert index([folder], worker, library, precision="quick").finished


def test_a_file_is_weighed_anew_at_another_scale(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "a.safetensors", red=0.2)
    norms: list[float] = []
    for scale in (1.0, 0.5):
        index([path], worker, library, precision="glance", scale=scale)
        (adapter,) = library.adapters.all().values()
        ((weighed_as, spectrum),) = adapter.facts.spectra.items()
        assert weighed_as.endswith(f" x {scale:g}")
        norms.append(spectrum["norm"])
    assert norms[1] == pytest.approx(norms[0] / 2)


def test_an_adapter_lost_in_rounding_is_left_out_before_an_image_is_made(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeGenerator, "untouched", lambda *_: torch.ones(3, 3, dtype=torch.float16))
    monkeypatch.setattr(FakeGenerator, "held", lambda *_: torch.float16)
    path = tint(tmp_path / "faint.safetensors", red=1e-4)
    outcome = index([path], worker, library, precision="glance")
    assert outcome.cells == 0
    assert [(one.code, one.reason) for one in outcome.refused] == [
        ("no-effect", "all that it changes is lost in rounding, so it has no effect")
    ]
    assert "larger scale" in outcome.refused[0].remedy


def test_the_estimate_tells_adapters_apart_by_what_was_measured(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    folder = three(tmp_path / "loras")
    unknown = {row.precision: row for row in estimate(worker, library, [folder])}["standard"]
    assert len({share.cells for share in unknown.each}) == 1
    index([folder / "redder.safetensors"], worker, library, precision="glance")
    known = {
        Path(s.path).stem: s
        for s in {row.precision: row for row in estimate(worker, library, [folder])}["standard"].each
    }
    assert known["redder"].cells < known["blueder"].cells
    assert known["redder"].consistency is not None
    assert known["blueder"].consistency is None
