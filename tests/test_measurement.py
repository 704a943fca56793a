"""What is shared and what is told: bare images, equal files, trigger words, devices that fail, and no network."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import three, tint
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tiny import tiny_sdxl

from lorascope.adapters import sha256
from lorascope.errors import ChangedAdapter, ModelError, UnreadableAdapter
from lorascope.generators.diffusion import DiffusionGenerator
from lorascope.generators.fake import FakeGenerator
from lorascope.library import BARE, Library
from lorascope.library.words import measured_words, suffix
from lorascope.measure import Event, Worker, index, load_worker
from lorascope.measure.files import open_measured
from lorascope.measure.local import LocalWorker
from lorascope.measure.pixels import distances
from lorascope.protocol import Preset


def digest(library: Library) -> str:
    return library.protocols.find().protocol.digest


def bare_blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which bare blocks are rendered from here on."""
    rendered: list[int] = []
    block = LocalWorker.block

    def counted(self: LocalWorker, number: int, **how: Any) -> Any:
        if how.get("delta") is None:
            rendered.append(number)
        return block(self, number, **how)

    monkeypatch.setattr(LocalWorker, "block", counted)
    return rendered


# --- the bare arm -------------------------------------------------------------------------------------------------


def test_another_scale_renders_no_bare_image_again(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tint(tmp_path / "red.safetensors", red=0.3)
    index([path], worker, library, precision="glance")
    rendered = bare_blocks(monkeypatch)
    assert index([path], worker, library, precision="glance", scale=0.5).refused == []
    assert rendered == []
    weak, whole = (library.protocols.find(one.protocol.digest).protocol for one in library.protocols.all())
    assert {weak.scale, whole.scale} == {0.5, 1.0}
    assert weak.bare == whole.bare == whole.digest != weak.digest
    key = f"sha256:{sha256(path)}"
    half, full = (library.evidence.blocks(key, one.digest)[0] for one in (weak, whole))
    assert np.array_equal(half.bare, full.bare)
    assert np.linalg.norm(half.effects) == pytest.approx(0.5 * np.linalg.norm(full.effects), rel=0.01)
    assert library.previews.all(library.previews.scene(weak, BARE), BARE)


def test_what_an_earlier_version_kept_at_a_scale_is_found(
    tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tint(tmp_path / "red.safetensors", red=0.3)
    index([path], worker, library, precision="glance", scale=0.5)
    protocol = library.protocols.find().protocol
    with library.evidence._db.transaction() as db:  # it knew no digest that scales share
        for table in ("baselines", "floors"):
            db.execute(f"DELETE FROM {table} WHERE protocol = ?", (protocol.bare,))
        db.execute("UPDATE thumbnails SET scene = ?, seal = NULL", (protocol.scene,))
    rendered = bare_blocks(monkeypatch)
    index([tint(tmp_path / "blue.safetensors", blue=0.3)], worker, library, precision="glance", scale=0.5)
    assert rendered == []


def test_a_glance_never_makes_the_bare_mean_coarser(tmp_path: Path, worker: Worker, library: Library) -> None:
    folder = three(tmp_path / "loras")
    index([folder], worker, library, precision="full")
    before = library.protocols.baseline_mean(digest(library))
    index([folder], worker, library, precision="glance")
    after = library.protocols.baseline_mean(digest(library))
    assert before is not None
    assert after is not None
    assert np.array_equal(before, after)


def test_distances_do_not_depend_on_how_memory_is_laid_out() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (5, 3, 64, 64), np.uint8) for _ in range(2))
    turned = np.ascontiguousarray(one.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(distances(turned, other), distances(one, other))
    expected = np.sqrt(((one.astype(float) - other) ** 2).mean((1, 2, 3))) / 255
    assert distances(one, other) == pytest.approx(expected, rel=1e-6)


# --- files and words ----------------------------------------------------------------------------------------------


def test_equal_tensors_under_another_header_are_measured_once(tmp_path: Path, worker: Worker, library: Library) -> None:
    first = tint(tmp_path / "one.safetensors", red=0.3)
    second = tmp_path / "two.safetensors"
    save_file(load_file(first), second, {"modelspec.title": "renamed"})
    index([first], worker, library, precision="quick")
    again = index([second], worker, library, precision="quick")
    assert again.cells == 0
    (adapter,) = library.adapters.all().values()
    assert adapter.paths == (str(first), str(second))
    first.unlink()
    assert open_measured(adapter)[0] == second


def test_only_a_file_that_was_measured_is_opened(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "one.safetensors", red=0.3)
    copy = Path(shutil.copy(path, tmp_path / "two.safetensors"))
    index([path, copy], worker, library, precision="glance")
    (adapter,) = library.adapters.all().values()
    tint(path, red=0.1)
    assert open_measured(adapter)[0] == copy
    copy.unlink()
    with pytest.raises(ChangedAdapter, match="no longer the file that was measured"):
        open_measured(adapter)
    path.unlink()
    with pytest.raises(UnreadableAdapter, match="its file is gone"):
        open_measured(adapter)


@pytest.mark.parametrize(
    ("policy", "triggers", "expected"),
    [
        ("all", ["ana, coat", "ana, suit"], ", ana, coat, ana, suit"),
        ("first", ["ana, coat", "ana, suit"], ", ana, coat"),
        ("common", ["ana, coat", "ana, suit"], ", ana"),
        ("common", ["ana", "bob"], ", ana"),
        ("none", ["ana, coat", "ana, suit"], ""),
        ("none", ["ana"], ", ana"),
        ("common", [], ""),
    ],
)
def test_of_alternative_trigger_words_the_policy_chooses(policy: Any, triggers: list[str], expected: str) -> None:
    assert suffix(triggers, policy) == expected


def test_protocols_of_earlier_versions_keep_their_digest(preset: Preset) -> None:
    old = {name: value for name, value in json.loads(preset.to_json()).items() if name != "alternatives"}
    stored = Preset.from_json(json.dumps(old))
    protocols = [
        one.protocol(base_digest="b", encoder="e", encoder_digest="d")
        for one in (stored, dataclasses.replace(stored, alternatives="common"))
    ]
    assert stored.alternatives == "all"
    assert protocols[0].digest == preset.protocol(base_digest="b", encoder="e", encoder_digest="d").digest
    assert protocols[1].digest != protocols[0].digest
    assert protocols[1].bare == protocols[0].bare


def test_words_are_those_that_were_measured_else_those_claimed(
    tmp_path: Path, worker: Worker, library: Library
) -> None:
    path = tint(tmp_path / "red.safetensors", red=0.3, **{"modelspec.trigger_phrase": "r3d"})
    index([path], worker, library, precision="glance")
    (adapter,) = library.adapters.all().values()
    protocol = library.protocols.find().protocol
    assert measured_words(adapter, protocol) == ", r3d"
    facts = dataclasses.replace(adapter.facts, measured_words={protocol.scene: ", before"})
    assert measured_words(dataclasses.replace(adapter, facts=facts), protocol) == ", before"
    facts = dataclasses.replace(adapter.facts, measured_words={})
    assert measured_words(dataclasses.replace(adapter, facts=facts), protocol) == ", r3d"


def test_an_adapter_removed_during_a_run_is_told(tmp_path: Path, worker: Worker, library: Library) -> None:
    path = tint(tmp_path / "red.safetensors", red=0.3)
    key = f"sha256:{sha256(path)}"

    def remove(event: Event) -> None:
        if event.kind == "block" and event.cells == 64:
            with library._db.transaction() as db:  # as a program would that knows no leases
                db.execute("DELETE FROM adapters WHERE key = ?", (key,))
            library.evidence.remove(key)

    outcome = index([path], worker, library, precision="full", watch=remove)
    assert [(one.code, one.reason) for one in outcome.refused] == [
        ("changed", "it was removed from the library while this run measured it")
    ]
    assert library.signatures.get(digest(library), [key]) == {}


# --- devices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["CUDA error: device-side assert triggered", "HIP error: illegal address"])
def test_a_device_that_fails_ends_the_run_and_blames_no_file(
    message: str, tmp_path: Path, worker: Worker, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise RuntimeError(message)

    monkeypatch.setattr(FakeGenerator, "render", fail)
    with pytest.raises(ModelError, match=f"the device failed .*{message}"):
        index([three(tmp_path / "loras")], worker, library, precision="glance")
    assert library.refusals.all() == []


# --- models -------------------------------------------------------------------------------------------------------


def checkpoint(path: Path, mark: str, **more: torch.Tensor) -> Path:
    denoiser = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
    save_file({mark: torch.zeros(1), denoiser: torch.zeros(640, 2048), **more}, path)
    return path


SDXL_MARK = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"


def tiny_preset(base: Path | str, **changes: Any) -> Preset:
    fields: dict[str, Any] = {
        "name": "tiny", "family": "sdxl", "base": str(base), "encoders": ("none",), "steps": 1, "guidance": 1.0,
        "width": 32, "height": 32, "seeds": (1,),
    }  # fmt: skip
    return Preset(**(fields | changes))


def test_nothing_is_fetched_without_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffusers fetches the configuration of a single file although it was asked not to."""
    attempts: list[object] = []

    def count(*address: object, **_: object) -> None:
        attempts.append(address)
        raise OSError("no network")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, count)
    monkeypatch.setattr(socket, "getaddrinfo", count)
    base = checkpoint(tmp_path / "base.safetensors", SDXL_MARK)
    with pytest.raises(ModelError, match="run once with --download"):
        DiffusionGenerator(tiny_preset(base))
    with pytest.raises(ModelError, match="run once with --download"):
        DiffusionGenerator(tiny_preset("somebody/model"))
    assert attempts == []
    with pytest.raises(ModelError):
        DiffusionGenerator(tiny_preset(base), download=True)
    assert attempts != []  # so the test would have seen one


def test_a_checkpoint_of_another_family_is_named(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base.safetensors", SDXL_MARK)
    with pytest.raises(ModelError, match="is a checkpoint of sdxl, but the preset 'tiny' is for sd15"):
        DiffusionGenerator(tiny_preset(base, family="sd15"))


def test_a_checkpoint_that_predicts_v_needs_a_preset_that_does(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base.safetensors", SDXL_MARK, v_pred=torch.zeros(0), ztsnr=torch.zeros(0))
    with pytest.raises(ModelError, match="predicts v, but the scheduler of the preset 'tiny' does not: give .*noobai"):
        DiffusionGenerator(tiny_preset(base))
    with pytest.raises(ModelError, match="run once with --download"):
        DiffusionGenerator(tiny_preset(base, scheduler=Preset.load("noobai-vpred").scheduler))


def test_a_missing_base_is_not_blamed_on_the_vae(tmp_path: Path) -> None:
    vae = str(tiny_sdxl(tmp_path / "sdxl") / "vae")
    with pytest.raises(ModelError, match="^the base model cannot be found: no folder"):
        DiffusionGenerator(tiny_preset(tmp_path / "gone", vae=vae))
    with pytest.raises(ModelError, match="^the VAE cannot be found: no folder"):
        DiffusionGenerator(tiny_preset(tmp_path / "sdxl", vae=str(tmp_path / "gone")))


def test_a_fake_worker_needs_no_library(preset: Preset) -> None:
    assert load_worker(preset).block(0).seconds >= 0
