"""What any worker has to do, whatever device it drives and wherever it runs."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import MODULE, tint
from safetensors.torch import save_file
from tiny import tiny_clip, tiny_sdxl

from lorascope.adapters import Delta, Names, load_delta
from lorascope.encoders.dual import DualEncoder
from lorascope.errors import ModelError
from lorascope.generators.base import Generator
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.generators.fake import FakeGenerator
from lorascope.grid import PREVIEWS
from lorascope.measure import RenderedBlock, Worker, load_worker
from lorascope.measure.local import LocalWorker
from lorascope.protocol import Preset

KINDS = ("fake", "diffusion")


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> LocalWorker:
    folder = tmp_path_factory.mktemp("models")
    clip = tiny_clip(folder / "clip")
    preset = Preset(
        name="tiny", family="sdxl", base=str(tiny_sdxl(folder / "base")), encoders=(str(clip),),
        scheduler="EulerDiscreteScheduler", steps=1, guidance=1.0, width=32, height=32, seeds=(1, 2), dtype="float32",
        block_size=4, batch=2,
    )  # fmt: skip
    return LocalWorker(preset, DiffusionGenerator(preset), [DualEncoder(str(clip), device="cpu")])


@pytest.fixture(params=KINDS)
def worker(request: pytest.FixtureRequest, preset: Preset, diffusion: LocalWorker) -> Worker:
    return load_worker(preset) if request.param == "fake" else diffusion


@pytest.fixture
def delta(worker: Worker, tmp_path: Path) -> Delta:
    """An adapter that changes what this worker renders."""
    path = tmp_path / "adapter.safetensors"
    if worker.preset.family == "fake":
        tint(path, red=0.3)
    else:
        name = next(name for name in worker.shapes["unet"] if "attn1.to_q" in name)
        shape = worker.shapes["unet"][name]
        module = f"unet.{name.removesuffix('.weight')}"
        draw = torch.Generator().manual_seed(1)
        save_file(
            {
                f"{module}.lora_A.weight": torch.randn(2, shape[1], generator=draw),
                f"{module}.lora_B.weight": torch.randn(shape[0], 2, generator=draw),
            },
            path,
        )
    return load_delta(path, Names(worker.shapes))


def same(one: RenderedBlock, other: RenderedBlock) -> bool:
    """Whether two blocks are the same to the bit."""
    return (
        one.execution == other.execution
        and one.pictures == other.pictures
        and np.array_equal(one.thumbnails, other.thumbnails)
        and all(np.array_equal(one.embeddings[name], other.embeddings[name]) for name in one.embeddings)
    )


def test_it_is_a_worker_that_describes_itself_in_plain_data(worker: Worker) -> None:
    assert isinstance(worker, Worker)
    described = (worker.preset, worker.protocols, dict(worker.shapes), worker.execution)
    assert pickle.loads(pickle.dumps(described)) == described


def test_a_block_has_a_row_for_each_cell(worker: Worker) -> None:
    cells = worker.preset.grid().block(0)
    block = worker.block(0)
    assert set(block.embeddings) == {protocol.encoder_digest for protocol in worker.protocols}
    assert {rows.dtype for rows in block.embeddings.values()} == {np.dtype(np.float16)}
    assert {len(rows) for rows in block.embeddings.values()} == {len(cells)} == {len(block.thumbnails)}
    assert len(block.pictures) == min(PREVIEWS, len(cells))
    assert block.seconds > 0


def test_jobs_and_blocks_can_be_sent_to_another_process(worker: Worker, delta: Delta) -> None:
    sent = pickle.loads(pickle.dumps(delta))
    assert same(
        pickle.loads(pickle.dumps(worker.block(0, delta=sent, scale=0.5))), worker.block(0, delta=delta, scale=0.5)
    )


def test_pictures_end_with_the_cells_that_are_kept(worker: Worker) -> None:
    size = worker.preset.block_size
    kept = [len(worker.block(index).pictures) for index in range(PREVIEWS // size + 2)]
    assert sum(kept) == PREVIEWS
    assert kept[-1] == 0


def test_bits_do_not_depend_on_the_order(worker: Worker, delta: Delta) -> None:
    first = [
        worker.block(0),
        worker.block(1, words=", ink"),
        worker.block(0, delta=delta),
        worker.block(1, delta=delta),
    ]
    again = [
        worker.block(1, delta=delta),
        worker.block(0, delta=delta),
        worker.block(1, words=", ink"),
        worker.block(0),
    ]
    assert all(same(one, other) for one, other in zip(first, reversed(again), strict=True))


def test_an_adapter_acts_as_strongly_as_its_scale_says(worker: Worker, delta: Delta) -> None:
    bare = worker.block(0)
    distances = []
    for scale in (0.0, 0.3, 1.0):
        block = worker.block(0, delta=delta, scale=scale)
        moved = [block.embeddings[name].astype(float) - bare.embeddings[name] for name in bare.embeddings]
        distances.append(float(np.linalg.norm(moved)))
    assert distances[0] == 0.0 < distances[1] < distances[2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_base_is_restored_after_an_error(
    worker: Worker, delta: Delta, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = worker.block(0)
    assert isinstance(worker, LocalWorker)
    with monkeypatch.context() as patch:
        patch.setattr(type(worker._generator), "render", raising(error("broken")))
        with pytest.raises(error):
            worker.block(0, delta=delta)
    assert same(worker.block(0), bare)


def raising(error: BaseException) -> Any:
    """A function that raises an error whatever it is called with."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@contextlib.contextmanager
def room_for(worker: Worker, images: int) -> Iterator[None]:
    """A device whose memory holds so many images."""
    assert isinstance(worker, LocalWorker)
    kind = type(worker._generator)
    render = kind.render

    def limited(self: Generator, prompts: list[str], seeds: list[int]) -> torch.Tensor:
        if len(prompts) > images:
            raise torch.OutOfMemoryError("out of memory")
        return render(self, prompts, seeds)

    generator = worker._generator
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "render", limited)
        yield
    worker._generator = generator


def test_batches_are_halved_where_memory_runs_out(worker: Worker) -> None:
    before = worker.execution
    with room_for(worker, 1):
        block = worker.block(0)
        assert block.execution.batch == worker.execution.batch == 1 < before.batch
        assert len(block.thumbnails) == worker.preset.block_size


def test_a_device_without_room_for_one_image_says_so(worker: Worker, delta: Delta) -> None:
    for work in (
        lambda: worker.block(0),
        lambda: worker.block(0, delta=delta),
        lambda: worker.images(["a"], [1]),
        worker.noise_floor,
        worker.cell_cost,
    ):
        with room_for(worker, 0), pytest.raises(ModelError, match="does not hold even one image"):
            work()


def test_images_that_are_not_numbers_are_refused(worker: Worker, delta: Delta, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(worker, LocalWorker)
    render = type(worker._generator).render
    monkeypatch.setattr(type(worker._generator), "render", lambda *given: render(*given) * torch.nan)
    with pytest.raises(FloatingPointError, match="hold NaN or infinity"):
        worker.block(0, delta=delta)
    with pytest.raises(ModelError, match="the bare base model makes images that cannot be measured.*use dtype float32"):
        worker.block(0)
    with pytest.raises(ModelError, match="cannot be measured.*use dtype float32"):
        worker.noise_floor()


def test_a_base_that_draws_nothing_is_refused(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(worker, LocalWorker)
    colour = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    monkeypatch.setattr(
        type(worker._generator), "render", lambda self, texts, seeds: colour.expand(len(seeds), 3, 8, 8)
    )
    with pytest.raises(
        ModelError, match=r"cannot be measured \(every one is of a single colour\): use .* another --vae"
    ):
        worker.noise_floor()


def test_images_are_those_of_the_cells(worker: Worker, delta: Delta) -> None:
    cells = worker.preset.grid().block(0)[: worker.execution.batch]
    texts = worker.preset.grid().prompts.texts
    prompts, seeds = [texts[cell.prompt] for cell in cells], [cell.seed for cell in cells]
    bare, adapted = worker.images(prompts, seeds), worker.images(prompts, seeds, delta=delta)
    assert bare.dtype == np.uint8
    assert bare.shape == (len(cells), worker.preset.height, worker.preset.width, 3)
    assert not np.array_equal(bare, adapted)
    assert np.array_equal(worker.images(prompts, seeds), bare)


def test_the_noise_floor_is_small_beside_an_effect(worker: Worker, delta: Delta) -> None:
    floor = worker.noise_floor()
    assert floor.execution == worker.execution
    bare, adapted = worker.block(0), worker.block(0, delta=delta)
    for encoder, value in floor.floors.items():
        effects = adapted.embeddings[encoder].astype(float) - bare.embeddings[encoder]
        assert 0 <= value < np.linalg.norm(effects, axis=1).mean()


def test_a_cell_s_cost_is_known(worker: Worker) -> None:
    cost = worker.cell_cost()
    assert min(cost.seconds, cost.embeddings, cost.thumbnail, cost.picture) > 0


def test_the_spectrum_grows_with_the_scale(worker: Worker, delta: Delta) -> None:
    assert worker.spectrum(delta, 0.5).norm == pytest.approx(0.5 * worker.spectrum(delta, 1.0).norm, rel=1e-4)


def test_texts_that_are_too_long_are_counted(worker: Worker) -> None:
    assert worker.cut_off(["a"]) == 0
    if worker.preset.family != "fake":  # the fake model reads texts of any length
        assert worker.cut_off(["a " * 200, "a"]) == 1


def test_the_fake_s_only_layer_is_known_by_its_name(preset: Preset) -> None:
    shapes = FakeGenerator(preset).shapes
    assert [f"{part}.{name.removesuffix('.weight')}" for part in shapes for name in shapes[part]] == [MODULE]
