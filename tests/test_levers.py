"""What makes measuring faster or smaller changes no bit of what is measured, or says that it does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from fakes import three
from test_generators import PROMPTS, SEEDS, kohya, preset_for
from tiny import tiny_sd15, tiny_sdxl

from lorascope.adapters import Names, load_delta
from lorascope.cli.options import next_time
from lorascope.errors import ModelError
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.generators.pristine import PristineWeights
from lorascope.generators.texts import Texts
from lorascope.library import Library
from lorascope.measure import Worker, index, load_worker
from lorascope.measure.crew import read_ahead
from lorascope.measure.measurement import Measurement
from lorascope.protocol import Preset


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sdxl(tmp_path_factory.mktemp("base") / "sdxl")


@pytest.fixture(scope="module")
def generator(base: Path) -> DiffusionGenerator:
    return DiffusionGenerator(preset_for("sdxl", base))


# --- reading ahead ------------------------------------------------------------------------------------------------


def test_one_item_is_read_ahead_and_no_more() -> None:
    read: list[int] = []
    for place, (item, result) in enumerate(read_ahead(range(5), lambda item: read.append(item) or -item)):
        assert item == place
        assert result() == -place
        assert len(read) <= place + 2
    assert read == [0, 1, 2, 3, 4]


def test_several_items_are_read_ahead_in_their_order() -> None:
    read: list[int] = []
    for place, (item, result) in enumerate(read_ahead(range(7), lambda item: read.append(item) or -item, 3)):
        assert (item, result()) == (place, -place)
        assert len(read) <= place + 4
    assert sorted(read) == list(range(7))


def test_reading_goes_on_while_the_one_before_is_worked_on() -> None:
    begun = threading.Event()
    items = read_ahead([0, 1], lambda item: begun.set() if item else None)
    next(items)[1]()
    assert begun.wait(10)
    items.close()  # type: ignore[attr-defined]


def test_a_reader_may_be_closed_by_a_thread_of_its_own() -> None:
    """Garbage is collected in any thread: that of a failed run once was in this one, which then waited for itself."""
    abandoned, closed = threading.Event(), threading.Event()

    def read(item: int) -> None:
        if item and abandoned.wait(10):
            items.close()  # type: ignore[attr-defined]
            closed.set()

    items = read_ahead([0, 1], read)
    next(items)[1]()
    abandoned.set()
    assert closed.wait(10)


def test_an_error_comes_where_its_item_is_asked_for() -> None:
    def read(item: int) -> int:
        return 1 // item

    found = []
    for item, result in read_ahead([1, 0, 1], read):
        try:
            found.append(result())
        except ZeroDivisionError:
            found.append(f"no {item}")
    assert found == [1, "no 0", 1]
    assert list(read_ahead([], read)) == []


def test_a_file_that_cannot_be_read_does_not_stop_those_after_it(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    folder = three(tmp_path / "loras")
    (folder / "h.safetensors").write_bytes(b"no adapter")
    outcome = index([folder], worker, library, precision="quick")
    assert (len(outcome.measured), len(outcome.refused), outcome.finished) == (3, 1, True)


# --- stopping in time ---------------------------------------------------------------------------------------------


def test_a_run_stops_in_time_and_goes_on_to_the_same_bits(
    tmp_path: Path, preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, blocks = three(tmp_path / "loras"), 0
    commit = Measurement.commit

    def counted(self: Measurement, *args: Any) -> None:
        nonlocal blocks
        blocks += 1
        commit(self, *args)
        if blocks == 2:  # the clock jumps
            monkeypatch.setattr(sys.modules["lorascope.measure.run"], "datetime", Tomorrow)

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(9998, 1, 1)

    found = []
    for name, until in (("whole", datetime.max), ("parts", datetime(9997, 1, 1))):
        with Library(tmp_path / f"{name}.db", create=True) as library:
            worker = load_worker(preset)
            if name == "parts":
                monkeypatch.setattr(Measurement, "commit", counted)
                stopped = index([folder], worker, library, precision="quick", until=until)
                monkeypatch.undo()
                assert (stopped.finished, blocks) == (False, 2)
                assert stopped.left > 0
                assert stopped.summary()["left"] == stopped.left
            assert index([folder], worker, library, precision="quick").finished
            signatures = library.signatures.get(worker.protocols[0].digest, library.adapters.all())
            found.append({key: stored.signature.direction.tobytes() for key, stored in signatures.items()})
    assert found[0] == found[1]


def test_a_run_whose_time_is_over_measures_nothing(tmp_path: Path, worker: Worker, library: Library) -> None:
    outcome = index([three(tmp_path / "loras")], worker, library, until=datetime.now() - timedelta(minutes=1))
    assert (outcome.measured, outcome.cells, outcome.finished) == ([], 0, False)
    assert outcome.left == 3 * worker.preset.grid().block_size


def test_a_time_of_day_is_the_next_one() -> None:
    now = datetime.now()
    for minutes in (2, -2):
        wanted = now + timedelta(minutes=minutes)
        found = next_time(f"{wanted:%H:%M}")
        assert (found.hour, found.minute) == (wanted.hour, wanted.minute)
        assert now < found <= now + timedelta(days=1)
    with pytest.raises(typer.BadParameter, match="'7' is not a time of day: give hours and minutes, such as 07:00"):
        next_time("7")


# --- memory -------------------------------------------------------------------------------------------------------


def test_prompts_that_are_known_need_no_text_encoder(generator: DiffusionGenerator) -> None:
    moves: list[str] = []

    @contextmanager
    def encoding() -> Iterator[None]:
        moves.append("to the device")
        yield
        moves.append("away")

    resting = Texts(generator._pipe, torch.device("cpu", 0), encoding)
    assert moves == []
    found = resting.encode([*PROMPTS, PROMPTS[0], ""])
    assert moves == ["to the device", "away"]
    assert resting.encode(PROMPTS) == found[:2]
    assert moves == ["to the device", "away"]
    for mine, others in zip(found, generator._prompts.encode([*PROMPTS, PROMPTS[0], ""]), strict=True):
        assert torch.equal(mine.tokens, others.tokens)
    with resting.anew():
        again = resting.encode(PROMPTS[:1])[0]
        assert again is not found[0]
    assert resting.encode(PROMPTS[:1])[0] is found[0]


def test_copies_on_the_device_restore_the_same_bits(tmp_path: Path) -> None:
    layer = torch.nn.Linear(6, 6)
    names = {"unet": {"down_blocks.0.attentions.0.proj_in.weight": (6, 6)}}
    tree = torch.nn.Module()
    outer = tree
    for name in ("down_blocks", "0", "attentions", "0"):
        outer.add_module(name, inner := torch.nn.Module())
        outer = inner
    outer.add_module("proj_in", layer)
    delta = load_delta(_full(tmp_path / "full.safetensors"), Names(names))
    before, worn = layer.weight.clone(), []
    for copies in (torch.device("cpu"), torch.device("cpu", 0)):
        weights = PristineWeights({"unet": tree}, copies=copies)
        with weights.with_component(delta, 0.7):
            worn.append(layer.weight.clone())
        assert torch.equal(layer.weight, before)
    assert torch.equal(worn[0], worn[1])
    assert not torch.equal(worn[0], before)


def _full(path: Path) -> Path:
    from safetensors.torch import save_file

    draw = torch.Generator().manual_seed(0)
    stem = "unet.down_blocks.0.attentions.0.proj_in"
    tensors = {"lora_A": torch.randn(2, 6, generator=draw), "lora_B": torch.randn(6, 2, generator=draw)}
    save_file({f"{stem}.{part}.weight": tensor for part, tensor in tensors.items()}, path)
    return path


def test_large_pictures_are_decoded_one_by_one(generator: DiffusionGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generator.render(PROMPTS, SEEDS)
    sizes: list[int] = []
    decode = generator._pipe.vae.decode
    monkeypatch.setattr(
        generator._pipe.vae,
        "decode",
        lambda latents, **options: sizes.append(len(latents)) or decode(latents, **options),
    )
    monkeypatch.setattr("lorascope.generators.diffusion._DECODED_PIXELS", 32 * 32)
    assert (generator.render(PROMPTS, SEEDS) - whole).abs().max() < 1e-6
    assert sizes == [1, 1]


# --- compiling ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_adapters_come_and_go_without_compiling_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.testing import CompileCounter

    base = _one_level(tiny_sd15(tmp_path / "base"))
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    compiled = DiffusionGenerator(preset_for("sd15", base, steps=1), compiled=True)
    assert compiled.execution.compiled
    assert compiled.execution.digest != DiffusionGenerator(compiled._preset).execution.digest
    bare = compiled.render(PROMPTS, SEEDS)
    once = counter.frame_count
    assert once > 0
    for size in (0.3, 0.5):
        path = kohya(tmp_path / f"{size}.safetensors", compiled, size=size)
        with compiled.with_component(load_delta(path, Names(compiled.shapes)), 1.0):
            assert (compiled.render(PROMPTS, SEEDS) - bare).abs().max() > 1e-4
    assert torch.equal(compiled.render(PROMPTS, SEEDS), bare)
    assert counter.frame_count == once
    torch._dynamo.reset()


def _one_level(base: Path) -> Path:
    """A UNet of one level: tracing takes long."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    UNet2DConditionModel(
        block_out_channels=(8,), layers_per_block=1, sample_size=16, attention_head_dim=2, norm_num_groups=4,
        cross_attention_dim=16, down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
    ).save_pretrained(base / "unet")  # fmt: skip
    return base


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_machine_that_cannot_compile_says_so(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise torch._dynamo.exc.InternalTorchDynamoError("no C++ compiler")

    monkeypatch.setattr(DiffusionGenerator, "_denoise", broken)
    compiled = DiffusionGenerator(preset_for("sdxl", base, steps=1), compiled=True)
    with pytest.raises(ModelError, match=r"(?s)the denoiser cannot be compiled here \(.*\): leave out --compile"):
        compiled.render(PROMPTS[:1], SEEDS[:1])


# --- Protocols of their own ---------------------------------------------------------------------------------------


def test_an_accelerator_becomes_part_of_the_base(tmp_path: Path, base: Path, generator: DiffusionGenerator) -> None:
    path = kohya(tmp_path / "turbo.safetensors", generator)
    fast = DiffusionGenerator(preset_for("sdxl", base, accelerator=str(path)))
    assert fast.digest != generator.digest
    with generator.with_component(load_delta(path, Names(generator.shapes)), 1.0):
        worn = generator.render(PROMPTS, SEEDS)
    assert torch.equal(fast.render(PROMPTS, SEEDS), worn)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no-such.safetensors", "no file 'no-such.safetensors': give an existing file, or owner/name/FILE"),
        ("owner/name/file.safetensors", "owner/name/file.safetensors is not on this disk: run once with --download"),
    ],
)
def test_a_missing_accelerator_says_how_to_get_it(base: Path, place: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        DiffusionGenerator(preset_for("sdxl", base, accelerator=place))


def test_another_decoder_is_another_base(tmp_path: Path, base: Path, generator: DiffusionGenerator) -> None:
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    tiny = AutoencoderTiny(
        latent_channels=4, encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
    )  # fmt: skip
    tiny.save_pretrained(tmp_path / "tiny")
    other = DiffusionGenerator(preset_for("sdxl", base, vae=str(tmp_path / "tiny")))
    assert other.digest != generator.digest
    assert other.render(PROMPTS, SEEDS).shape == generator.render(PROMPTS, SEEDS).shape


def test_a_scheduler_takes_an_option(base: Path, generator: DiffusionGenerator) -> None:
    trailing = DiffusionGenerator(
        preset_for("sdxl", base, scheduler="EulerDiscreteScheduler(timestep_spacing=trailing)")
    )
    assert trailing._scheduler.config.timestep_spacing == "trailing"
    assert generator._scheduler.config.timestep_spacing != "trailing"
    with pytest.raises(ModelError, match=r"no option 'spacing': use one of num_train_timesteps, "):
        DiffusionGenerator(preset_for("sdxl", base, scheduler="EulerDiscreteScheduler(spacing=trailing)"))
