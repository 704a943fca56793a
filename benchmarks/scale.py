"""How well a run keeps many workers busy, with workers that take ten seconds a block on a clock of their own.

    python -m benchmarks.scale

Prints the tables of docs/scale.md. In the first no worker renders anything: each answers with one and the same block
after ten simulated seconds. The driver is the real one, with its library on disk; its processor time is added to the
clock. So the figures say what the driver costs, and what is lost because workers wait or render the same bare blocks.
The second is of real workers of Ray on the cores of this machine, one and two of them in turns.
"""

from __future__ import annotations

import heapq
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import final

import torch
from safetensors.torch import save_file

from benchmarks.machine import describe
from lorascope.adapters import Delta, Names, load_delta, read_file, sha256_of, tensors_digest
from lorascope.library import Library
from lorascope.measure import Worker, index, load_worker
from lorascope.measure.cluster import ClusterPlan
from lorascope.measure.orders import BlockOrder, MeasuredBlock, Order, Result, SpectrumOrder
from lorascope.measure.ray import RayCrew
from lorascope.measure.worker import NoiseFloor, RenderedBlock
from lorascope.miniature import adapters_path
from lorascope.protocol import Preset

BLOCK_SECONDS = 10.0
PRESET = Preset(
    name="simulated", family="fake", base="fake", encoders=("fake",), steps=1, guidance=1.0, width=8, height=8,
    seeds=(1,), block_size=32, batch=32,
)  # fmt: skip
"""280 cells in nine blocks of 32."""
SIZES = {1: 24, 4: 96, 16: 384, 64: 2048}
"""Adapters by number of workers."""


@final
class SimulatedCrew:
    """Workers that take as long as a GPU would."""

    def __init__(self, worker: Worker, count: int) -> None:
        """Begin at second 0 with so many idle workers."""
        self.worker, self._count = worker, count
        self._block = worker.block(0)
        self._floor = worker.noise_floor()
        self._blocks = {n: worker.block(n) for n in range(worker.preset.grid().blocks)}
        self._adapted: dict[int, RenderedBlock] = {}
        self._running: list[tuple[float, int, Order, Delta]] = []
        self._given = 0
        self.busy = self.waited = 0.0
        self.adapted = self.bare = 0
        self._began = time.process_time()

    @property
    def driver(self) -> float:
        """Seconds of processor time that the driver took."""
        return time.process_time() - self._began

    @property
    def now(self) -> float:
        """The simulated clock: the driver's time, and that in which it waited for workers."""
        return self.driver + self.waited

    @property
    def free(self) -> int:
        """How many workers are idle."""
        return self._count - len(self._running)

    def submit(self, order: Order, delta: Delta) -> int:
        """Give an order to an idle worker."""
        seconds = 0.0
        if isinstance(order, BlockOrder):
            fresh = self.worker.execution.digest not in order.known
            self.adapted, self.bare = self.adapted + 1, self.bare + fresh
            seconds = BLOCK_SECONDS * (1 + fresh)
        self._given += 1
        self.busy += seconds
        heapq.heappush(self._running, (self.now + seconds, self._given, order, delta))
        return self._given

    def collect(self) -> list[tuple[int, Result | Exception]]:
        """Let the clock run until the first worker is done."""
        until, number, order, delta = heapq.heappop(self._running)
        self.waited += max(0.0, until - self.now)
        return [(number, self._result(order, delta))]

    def _result(self, order: Order, delta: Delta) -> Result:
        if isinstance(order, SpectrumOrder):
            return order.run(self.worker, delta)
        if order.index not in self._adapted:
            began = time.process_time()
            self._adapted[order.index] = self.worker.block(order.index, delta=delta)
            self._began += time.process_time() - began
        digest = self.worker.execution.digest
        floor: NoiseFloor | None = None if digest in order.floors else self._floor
        bare = None if digest in order.known else self._blocks[order.index]
        return MeasuredBlock(self._adapted[order.index], bare, floor)


def simulate(workers: int, adapters: int) -> dict[str, float]:
    """Measure fake adapters in full on simulated workers: efficiency, the driver's milliseconds a block, the bound."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "loras"
        folder.mkdir()
        for number in range(adapters):
            tensors = {"lora_A.weight": torch.full((1, 3), 1 / 3), "lora_B.weight": torch.full((3, 1), number + 1.0)}
            module = "unet.down_blocks.0.attentions.0.proj_in"
            save_file({f"{module}.{name}": one for name, one in tensors.items()}, folder / f"{number}.safetensors")
        with Library(Path(place) / "library.db", create=True) as library:
            crew = SimulatedCrew(load_worker(PRESET), workers)
            outcome = index([folder], crew, library, precision="full")
            assert outcome.finished
            assert len(outcome.measured) == adapters
    needed = (crew.adapted + PRESET.grid().blocks) * BLOCK_SECONDS  # one machine renders each bare block once
    driver = crew.driver / crew.adapted
    return {"efficiency": needed / (workers * crew.now), "driver": driver * 1000, "bound": 1 / driver,
            "bare": crew.bare / crew.adapted}  # fmt: skip


def alone(processes: int) -> float:
    """Seconds in which so many processes, which share nothing, render 40 blocks each: what the cores allow."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        return max(pool.map(_render, [40] * processes, chunksize=1))


def _render(blocks: int) -> float:
    worker = load_worker(Preset.load("miniature"), device="cpu")
    worker.block(0)
    began = time.perf_counter()
    for _ in range(blocks):
        worker.block(0)
    return time.perf_counter() - began


def real(workers: int, adapters: int = 16) -> float:
    """Seconds in which workers of Ray measure shipped adapters at `quick`, with one thread each, models loaded."""
    preset = Preset.load("miniature")
    files = sorted(adapters_path().glob("*.safetensors"))[: adapters + 1]
    with tempfile.TemporaryDirectory() as place, RayCrew(preset, ClusterPlan(workers=workers, gpus=0.0)) as crew:
        with Library(Path(place) / "library.db", create=True) as library:
            index(files[:1], crew, library, precision="quick")  # by its end every worker has loaded its models
            outcome = index(files[1:], crew, library, precision="quick")
        assert len(outcome.measured) == adapters
        return outcome.seconds


def reading() -> float:
    """How many megabytes of adapter files the driver reads, checks and hashes in a second of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.safetensors"
        size = 4096
        names = Names({"unet": {f"blocks.{n}.to_q.weight": (size, size) for n in range(24)}})
        draw = torch.Generator().manual_seed(1)
        parts = {"lora_A.weight": (64, size), "lora_B.weight": (size, 64)}
        save_file(
            {
                f"unet.blocks.{n}.to_q.{part}": torch.randn(shape, generator=draw).half()
                for n in range(24)
                for part, shape in parts.items()
            },
            path,
        )
        began = time.process_time()
        data = read_file(path)
        load_delta(data, names, name=path)
        sha256_of(data)
        tensors_digest(data, name=path)
        return path.stat().st_size / 1e6 / (time.process_time() - began)


def main() -> None:
    """Print the table."""
    print(f"{describe()}\n")
    print("| workers | adapters | efficiency | driver, ms a block | workers that one driver keeps busy |")
    print("|---|---|---|---|---|")
    for workers, adapters in SIZES.items():
        found = simulate(workers, adapters)
        print(
            f"| {workers} | {adapters} | {found['efficiency']:.3f} | {found['driver']:.1f} |"
            f" {found['bound'] * BLOCK_SECONDS:.0f} |",
            flush=True,
        )
    turns = [(alone(1), alone(2), real(1), real(2)) for _ in range(2)]
    apart, together, one, two = (statistics.median(column) for column in zip(*turns, strict=True))
    print(f"\nSeconds of one process and of two, which share nothing; of one and of two workers of Ray: {turns}")
    print(f"efficiency of two processes: {apart / together:.3f}; of two workers: {one / two / 2:.3f}")
    print(f"\nFiles are read, checked and hashed at {reading():.0f} MB a second of processor time.")


if __name__ == "__main__":
    main()
