"""Several workers: signatures are those of one machine, whoever dies, hangs or joins."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import tint
from stand_in_ray import StandIn

from lorascope.cli.fleet import _without_devices, fleet_of
from lorascope.errors import LibraryError, ModelError, UsageError
from lorascope.library import Evidence, Library
from lorascope.library.codec import columns
from lorascope.measure import StopRun, Worker, index, load_worker
from lorascope.measure import ray as ray_crew
from lorascope.measure.cluster import ClusterPlan, check_address
from lorascope.measure.crew import LocalCrew, run_lanes
from lorascope.measure.orders import BlockOrder
from lorascope.measure.ray import RayCrew
from lorascope.measure.shard import Shard
from lorascope.protocol import Preset

PLAN = ClusterPlan(gpus=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six adapters, of which two hold the same."""
    for number in range(5):
        tint(tmp_path / "loras" / f"{number}.safetensors", red=0.1 * number + 0.1, blue=0.2)
    tint(tmp_path / "loras" / "again.safetensors", red=0.1, blue=0.2, note="the same tensors")
    return tmp_path / "loras"


def everything(library: Library) -> dict[str, Any]:
    """Every signature and every block, to the bit."""
    digest = library.protocols.find().protocol.digest
    found = library.signatures.get(digest, library.adapters.all())
    blocks = {key: library.evidence.blocks(key, digest) for key in found}
    return {
        key: (
            columns(one.signature),
            one.precision,
            [(block.adapted.tobytes(), block.bare.tobytes(), block.moved.tobytes()) for block in blocks[key]],
        )
        for key, one in found.items()
    }


@pytest.fixture
def alone(tmp_path: Path, folder: Path, preset: Preset) -> dict[str, Any]:
    """What one worker in this process measures."""
    with Library(tmp_path / "alone.db", create=True) as library:
        assert index([folder], load_worker(preset), library, precision="quick").finished
        return everything(library)


def crew(monkeypatch: pytest.MonkeyPatch, preset: Preset, stand_in: StandIn, plan: ClusterPlan = PLAN) -> RayCrew:
    monkeypatch.setattr(ray_crew, "optional", lambda _: stand_in)
    return RayCrew(preset, plan)


def test_gpus_that_no_cluster_has_are_not_waited_for(monkeypatch: pytest.MonkeyPatch, preset: Preset) -> None:
    stand_in = StandIn(1, 0)
    with pytest.raises(ModelError, match="--gpus-per-worker 1: the cluster has 0 GPUs: give 0"):
        crew(monkeypatch, preset, stand_in, ClusterPlan(gpus=1.0))
    assert stand_in.log[-1] == "shutdown"


def test_workers_take_no_gpu_where_there_is_none(monkeypatch: pytest.MonkeyPatch, preset: Preset) -> None:
    with crew(monkeypatch, preset, StandIn(2, 0), ClusterPlan(workers=1)) as found:
        assert found.worker.protocols


def test_an_address_without_a_cluster_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for where in (address, f"ray://{address}"):
            with pytest.raises(ModelError, match=f"--ray {where}: nothing answers there .*`ray start --head`"):
                check_address(where)
        taken.listen()
        check_address(address)


@pytest.mark.parametrize(("workers", "gpus", "option"), [(2, None, "--workers 2"), (0, 0.5, "--gpus-per-worker 0.5")])
def test_options_of_a_cluster_need_one(workers: int, gpus: float | None, option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} belongs to a cluster: add --ray local"):
        fleet_of("", workers, gpus)


@pytest.mark.parametrize("address", ["nowhere", "head:", ":6379", "head:six", "head:99999", "ray://head"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=f"--ray {address}: give local, auto, or HOST:PORT"):
        check_address(address)


@pytest.mark.parametrize(("workers", "seed"), [(1, 0), (2, 1), (2, 2), (7, 3), (7, 4)])
def test_signatures_are_those_of_one_machine(
    workers: int, seed: int, folder: Path, preset: Preset, library: Library, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crew(monkeypatch, preset, StandIn(workers, seed)) as workers_of_ray:
        outcome = index([folder], workers_of_ray, library, precision="quick")
    assert (outcome.finished, outcome.refused, len(outcome.measured)) == (True, [], 5)
    assert everything(library) == alone


def test_a_worker_that_dies_loses_its_block_and_nothing_else(
    folder: Path, preset: Preset, library: Library, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = itertools.count()

    def fault(actor: int, name: str, args: Any) -> str | None:
        return "die" if name == "do" and next(count) % 5 == 3 else None

    stand_in = StandIn(3, 5, fault)
    with crew(monkeypatch, preset, stand_in) as workers:
        outcome = index([folder], workers, library, precision="quick")
    assert len(stand_in.handles) > 3  # the dead were replaced
    assert outcome.refused == []
    assert everything(library) == alone


def test_a_worker_that_hangs_is_replaced(
    folder: Path, preset: Preset, library: Library, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung: list[int] = []

    def fault(actor: int, name: str, args: Any) -> str | None:
        if name == "do" and not hung:
            hung.append(actor)
            return "hang"
        return None

    with crew(monkeypatch, preset, StandIn(2, 0, fault), dataclasses.replace(PLAN, deadline=0.05)) as workers:
        assert index([folder], workers, library, precision="quick").refused == []
    assert everything(library) == alone


def test_a_file_that_kills_its_workers_is_refused(
    folder: Path, preset: Preset, library: Library, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = tint(folder / "poison.safetensors", green=0.9)

    def fault(actor: int, name: str, args: Any) -> str | None:
        block = name == "do" and isinstance(args[0], BlockOrder)
        return "die" if block and np.float32(0.9).tobytes() in pickle.dumps(args[1].value) else None

    with crew(monkeypatch, preset, StandIn(2, 0, fault)) as workers:
        outcome = index([folder], workers, library, precision="quick")
    (refused,) = outcome.refused
    assert (refused.path, refused.code) == (str(poison), "worker-died")
    assert refused.reason.startswith("2 workers died while they measured it: the actor died")
    assert {key: one for key, one in everything(library).items() if key in alone} == alone


def test_workers_with_other_models_are_refused(
    folder: Path, preset: Preset, library: Library, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(preset, steps=9)
    load = ray_crew.ActorBody.describe

    def describe(self: ray_crew.ActorBody) -> Any:
        if self is stand_in.handles[1].body:
            self._preset = other
        return load(self)

    monkeypatch.setattr(ray_crew.ActorBody, "describe", describe)
    stand_in = StandIn(3, 1)
    monkeypatch.setattr(stand_in.random, "choice", lambda calls: calls[0])
    with crew(monkeypatch, preset, stand_in) as workers:
        index([folder], workers, library, precision="quick")
        assert "a worker has other models than the first one" in workers._reason
    assert not stand_in.handles[1].alive
    assert everything(library) == alone


def test_models_that_no_worker_can_load_end_the_run(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="no worker of the cluster can work: .*cannot be measured yet"):
        crew(monkeypatch, dataclasses.replace(preset, family="unheard-of"), StandIn(2))


def test_a_node_that_joins_is_used_and_one_that_leaves_is_not_missed(
    folder: Path, preset: Preset, library: Library, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: Counter[int] = Counter()

    def fault(actor: int, name: str, args: Any) -> str | None:
        worked[actor] += name == "do"
        stand_in.cpus = 3 if sum(worked.values()) > 4 else 1
        return "die" if actor == 1 and worked[1] > 8 else None

    stand_in = StandIn(1, 0, fault)
    with crew(monkeypatch, preset, stand_in, dataclasses.replace(PLAN, workers=3)) as workers:
        assert index([folder], workers, library, precision="quick").refused == []
    assert worked[2] > 0
    assert worked[3] > 0
    assert everything(library) == alone


def test_a_driver_that_was_stopped_goes_on_where_it_was(
    folder: Path, preset: Preset, library: Library, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = itertools.count(1)

    def stop(event: Any) -> None:
        if event.kind == "block" and next(blocks) % 7 == 0:
            raise StopRun

    runs = 0
    finished = False
    while not finished:
        with crew(monkeypatch, preset, StandIn(3, runs)) as workers:
            finished = index([folder], workers, library, precision="quick", watch=stop).finished
        runs += 1
    assert runs > 2
    assert everything(library) == alone


def test_a_full_disk_ends_the_run_and_keeps_what_is_stored(
    folder: Path, preset: Preset, library: Library, alone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Evidence.put_block
    calls = itertools.count(1)

    def full(self: Evidence, *args: Any) -> None:
        if next(calls) > 3:
            raise LibraryError("the disk is full")
        kept(self, *args)

    with monkeypatch.context() as patch, crew(monkeypatch, preset, StandIn(3, 1)) as workers:
        patch.setattr(Evidence, "put_block", full)
        with pytest.raises(LibraryError, match="the disk is full"):
            index([folder], workers, library, precision="quick")
    with crew(monkeypatch, preset, StandIn(3, 2)) as workers:
        assert index([folder], workers, library, precision="quick").finished
    assert everything(library) == alone


def test_blocks_of_one_adapter_are_measured_side_by_side_where_workers_are_idle(
    folder: Path, tmp_path: Path, preset: Preset, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = 0
    stand_in = StandIn(6, 1)
    wait = stand_in.wait

    def counted(refs: Any, **how: Any) -> Any:
        nonlocal at_once
        at_once = max(at_once, sum(call[2] == "do" for call in stand_in.calls))
        return wait(refs, **how)

    monkeypatch.setattr(stand_in, "wait", counted)
    paths = [folder / "0.safetensors", folder / "1.safetensors"]
    with crew(monkeypatch, preset, stand_in) as workers:
        assert index(paths, workers, library, precision="full").finished
    assert at_once == 6
    with Library(tmp_path / "alone.db", create=True) as other:
        index(paths, load_worker(preset), other, precision="full")
        assert everything(library) == everything(other)


def test_lanes_end_in_any_order_and_errors_stay_with_theirs(worker: Worker) -> None:
    def lane(number: int) -> Any:
        if number == 1:
            raise ValueError("one")
        yield []

    ended = dict(run_lanes(LocalCrew(worker), ((number, lane(number)) for number in range(3))))
    assert {number: str(error) for number, error in ended.items()} == {0: "None", 1: "one", 2: "None"}


# --- without Ray ---------------------------------------------------------------------------------------------------


def test_shards_are_all_files_and_none_twice(folder: Path, preset: Preset, tmp_path: Path, alone: Any) -> None:
    found: dict[str, Any] = {}
    for number in (1, 2, 3):
        with Library(tmp_path / f"{number}.db", create=True) as library:
            index([folder], load_worker(preset), library, precision="quick", shard=Shard.parse(f"{number}/3"))
            part = everything(library) if library.adapters.all() else {}
        assert not {key: one for key, one in part.items() if key in found and one != found[key]}
        found |= part
    assert set(alone) <= set(found)


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1", "a/b", "1/0", "1/2:", "-1/2"])
def test_a_shard_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--shard {text}: give K/N"):
        Shard.parse(text)


def test_parts_of_a_shard_are_all_of_it(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(200)]
    for path in paths:
        path.write_text(path.name, "utf-8")
    whole = [path for path in paths if Shard.parse("2/3").holds(path)]
    parts = [[path for path in paths if Shard.parse(f"2/3:{k}/4").holds(path)] for k in (1, 2, 3, 4)]
    assert sorted(whole) == sorted(itertools.chain.from_iterable(parts))
    assert 40 < len(whole) < 95
    assert all(parts)


def test_children_get_the_command_without_its_devices() -> None:
    arguments = ["index", "loras", "--devices", "all", "--precision", "quick", "--shard=1/2", "--devices=all"]
    assert _without_devices(arguments) == ["index", "loras", "--precision", "quick"]
