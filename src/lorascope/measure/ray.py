"""A crew on Ray: one actor for each worker, on one machine or on many. Only the driver writes the library."""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast, final

import numpy as np
from jaxtyping import UInt8

from lorascope import protocol as protocols
from lorascope.adapters import Delta
from lorascope.adapters.spectra import Spectrum
from lorascope.errors import ModelError
from lorascope.extras import optional
from lorascope.measure.cluster import ClusterPlan
from lorascope.measure.crew import WorkerDied
from lorascope.measure.orders import Order, Result
from lorascope.measure.worker import CellCost, NoiseFloor, RenderedBlock, Worker
from lorascope.protocol import Execution, Preset

DEATHS = 2
"""How many workers an order may kill before it is given up."""
_LEAST_DEADLINE = 900.0
_PATIENCE = 20
"""An order may take so many times as long as the longest so far."""
_TICK = 1.0


@dataclass(frozen=True)
class _Description:
    """What a worker has loaded."""

    preset: Preset
    protocols: tuple[protocols.Protocol, ...]
    execution: Execution


class ActorBody:
    """Runs in a process of Ray: a worker, and what drives it."""

    def __init__(self, preset: Preset, how: Mapping[str, Any]) -> None:
        """Remember what to load: an error of loading can only be raised by a method."""
        self._preset, self._how = preset, how

    @cached_property
    def _worker(self) -> Worker:
        from lorascope.measure.load import load_worker

        return load_worker(self._preset, **self._how)

    def describe(self) -> _Description:
        """Load the models, and say which they are."""
        return _Description(self._worker.preset, self._worker.protocols, self._worker.execution)

    def do(self, order: Order, delta: Delta) -> Result:
        """Do an order."""
        return order.run(self._worker, delta)

    def get(self, name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """An attribute of the worker, or what one of its methods returns."""
        found = getattr(self._worker, name)
        return found(*arguments, **options) if callable(found) else found


@dataclass(eq=False)
class _Actor:
    """An actor, and what it is doing."""

    handle: Any
    pending: Any
    ready: bool = False
    job: _Job | None = None
    since: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Job:
    """An order, and how many workers it has killed."""

    number: int
    order: Order
    delta: Delta
    deaths: int = 0


@final
class RayCrew:
    """Workers as actors of Ray. One that dies is replaced, and another repeats its work."""

    def __init__(self, preset: Preset, plan: ClusterPlan, **how: Any) -> None:
        """Start or find a cluster, and have the first worker load its models; ``how`` is as for `load_worker`.

        Raises:
            MissingExtra: Ray is not installed.
            ModelError: there is no such cluster, or no worker can load the models.
        """
        self._ray = optional("ray")
        self._started = _connect(self._ray, plan.address)
        self._plan, self._preset, self._how = plan, preset, how
        self._actors: list[_Actor] = []
        resources = self._ray.cluster_resources()
        try:
            self._gpus = _gpus(resources, plan.gpus)
        except ModelError:
            self.close()
            raise
        self._size = plan.workers or _size(resources, self._gpus)
        self._queue: deque[_Job] = deque()
        self._done: list[tuple[int, Result | Exception]] = []
        self._shared: OrderedDict[int, tuple[Delta, Any]] = OrderedDict()
        self._given, self._longest = 0, 0.0
        self._reference: _Description | None = None
        self._reason = ""
        self._failures = 0
        self._fill()
        while not any(actor.ready for actor in self._actors):
            self._turn()
        self._worker = RayWorker(self)

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def worker(self) -> Worker:
        """Stands for all workers."""
        return self._worker

    @property
    def free(self) -> int:
        """How many workers have nothing to do."""
        ready = sum(actor.ready for actor in self._actors)
        busy = sum(actor.job is not None for actor in self._actors)
        return max(1, ready) - busy - len(self._queue) - len(self._done)

    @property
    def description(self) -> _Description:
        """What every worker has loaded."""
        if self._reference is None:
            raise ModelError("no worker has loaded its models yet")
        return self._reference

    def submit(self, order: Order, delta: Delta) -> int:
        """Give an order to the next worker that is free."""
        self._given += 1
        self._queue.append(_Job(self._given, order, delta))
        self._hand_out()
        return self._given

    def collect(self) -> list[tuple[int, Result | Exception]]:
        """Wait until an order is done."""
        while not self._done:
            self._turn()
        done, self._done = self._done, []
        return done

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Have any worker that is ready do something by itself; where it dies, another one."""
        for _ in range(DEATHS):
            while not (ready := [actor for actor in self._actors if actor.ready]):
                self._turn()
            actor = min(ready, key=lambda one: one.job is not None)
            try:
                return self._ray.get(actor.handle.get.remote(name, arguments, options))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                self._lost(actor, str(error))
        raise WorkerDied(f"{DEATHS} workers died of {name}")

    def close(self) -> None:
        """End the workers, and Ray where it was started here."""
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors = []
        if self._started:
            self._ray.shutdown()

    # --- how ----------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Ask for as many actors as are wanted. Those for which there is no room yet wait for a node that joins."""
        body = self._ray.remote(ActorBody).options(num_gpus=self._gpus, num_cpus=1, max_restarts=0)
        while len(self._actors) < self._size:
            handle = body.remote(self._preset, self._how)
            self._actors.append(_Actor(handle, handle.describe.remote()))

    def _turn(self) -> None:
        """Wait a moment for something to happen, and deal with it."""
        waiting = {actor.pending: actor for actor in self._actors if actor.pending is not None}
        done, _ = self._ray.wait(list(waiting), num_returns=1, timeout=_TICK)
        for one in done:
            self._receive(waiting[one])
        for actor in list(self._actors):
            overdue = actor.job is not None and time.monotonic() - actor.since > self._deadline
            if overdue and not self._ray.wait([actor.pending], num_returns=1, timeout=0)[0]:
                self._lost(actor, f"it took longer than {self._deadline:.0f} seconds")
        self._fill()
        self._hand_out()

    @property
    def _deadline(self) -> float:
        return self._plan.deadline or max(_LEAST_DEADLINE, _PATIENCE * self._longest)

    def _receive(self, actor: _Actor) -> None:
        job, exceptions = actor.job, self._ray.exceptions
        try:
            found = self._ray.get(actor.pending)
        except exceptions.RayTaskError as error:
            cause = cast("Exception", error.cause)
            if job is None:  # the models cannot be loaded
                self._refuse(actor, str(cause))
            else:
                self._finish(actor, cause)
        except exceptions.RayError as error:
            self._lost(actor, str(error).splitlines()[0])
        else:
            if job is None:
                self._welcome(actor, found)
            else:
                self._longest = max(self._longest, time.monotonic() - actor.since)
                self._finish(actor, found)

    def _welcome(self, actor: _Actor, found: _Description) -> None:
        """Let a worker in if it has loaded what the others have."""
        self._reference = self._reference or found
        theirs, ours = (tuple(one.digest for one in each.protocols) for each in (found, self._reference))
        if theirs != ours:
            self._refuse(
                actor, f"a worker has other models than the first one: {', '.join(theirs)}, not {', '.join(ours)}"
            )
        else:
            actor.ready, actor.pending, self._failures = True, None, 0

    def _refuse(self, actor: _Actor, reason: str) -> None:
        """Do without a worker that cannot work; where none is left, there is no use in continuing.

        Raises:
            ModelError: as many were refused as there should be, one after the other.
        """
        self._ray.kill(actor.handle)
        self._actors.remove(actor)
        self._reason, self._failures = reason, self._failures + 1
        if self._failures >= max(DEATHS, self._size):
            raise ModelError(f"no worker of the cluster can work: {reason}")
        if any(one.ready for one in self._actors):
            self._size = len(self._actors)  # the same node would offer the same models again

    def _lost(self, actor: _Actor, reason: str) -> None:
        """A worker died or hangs: its work is repeated, unless that has killed too many."""
        job = actor.job
        self._ray.kill(actor.handle)
        self._actors.remove(actor)
        if job is None:
            self._failures += 1
            if self._failures >= max(DEATHS, self._size) + DEATHS:
                raise ModelError(f"no worker of the cluster can work: {reason}")
            return
        job.deaths += 1
        if job.deaths >= DEATHS:
            self._done.append((job.number, WorkerDied(f"{DEATHS} workers died while they measured it: {reason}")))
        else:
            self._queue.appendleft(job)

    def _finish(self, actor: _Actor, found: Result | Exception) -> None:
        if actor.job is not None:
            self._done.append((actor.job.number, found))
        actor.job, actor.pending = None, None

    def _hand_out(self) -> None:
        for actor in self._actors:
            if self._queue and actor.ready and actor.job is None:
                job = self._queue.popleft()
                actor.job, actor.since = job, time.monotonic()
                actor.pending = actor.handle.do.remote(job.order, self._share(job.delta))

    def _share(self, delta: Delta) -> Any:
        """A reference to an adapter's change, which is sent to each node once."""
        known = self._shared.pop(id(delta), None) or (delta, self._ray.put(delta))
        self._shared[id(delta)] = known
        while len(self._shared) > 2 * self._size:
            self._shared.popitem(last=False)
        return known[1]


@final
class RayWorker:
    """All workers of a crew as one (see :class:`lorascope.measure.worker.Worker`)."""

    def __init__(self, crew: RayCrew) -> None:
        self._crew = crew
        self._shapes: Mapping[str, Mapping[str, tuple[int, ...]]] = crew.ask("shapes")
        self._cut: dict[tuple[str, ...], int] = {}

    @property
    def preset(self) -> Preset:
        """What the workers were loaded from."""
        return self._crew.description.preset

    @property
    def protocols(self) -> tuple[protocols.Protocol, ...]:
        """The preset's Protocol for each encoder."""
        return self._crew.description.protocols

    @property
    def shapes(self) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
        """Every weight of the base model by component and name."""
        return self._shapes

    @property
    def execution(self) -> Execution:
        """How the first worker worked at the beginning."""
        return self._crew.description.execution

    def block(self, index: int, *, words: str = "", delta: Delta | None = None, scale: float = 1.0) -> RenderedBlock:
        """Have a worker render and embed one block."""
        return self._crew.ask("block", index, words=words, delta=delta, scale=scale)

    def images(
        self, prompts: Sequence[str], seeds: Sequence[int], *, delta: Delta | None = None, scale: float = 1.0,
        preset: Preset | None = None,
    ) -> UInt8[np.ndarray, "n h w 3"]:  # fmt: skip
        """Have a worker render cells."""
        return self._crew.ask("images", list(prompts), list(seeds), delta=delta, scale=scale, preset=preset)

    def spectrum(self, delta: Delta, scale: float) -> Spectrum:
        """Have a worker find out how large an adapter's change is."""
        return self._crew.ask("spectrum", delta, scale)

    def noise_floor(self) -> NoiseFloor:
        """Have a worker compare bare cells with themselves."""
        return self._crew.ask("noise_floor")

    def cell_cost(self) -> CellCost:
        """Have a worker time one batch."""
        return self._crew.ask("cell_cost")

    def cut_off(self, prompts: Sequence[str]) -> int:
        """How many prompts are longer than the base model reads."""
        texts = tuple(prompts)
        if texts not in self._cut:  # most adapters have no trigger words, and so the same prompts
            self._cut[texts] = self._crew.ask("cut_off", texts)
        return self._cut[texts]


def _connect(ray: Any, address: str) -> bool:
    """Start Ray, or find a cluster; returns whether it was started here."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports how it is used, unless disabled
    try:
        local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, configure_logging=False, **local)
    except Exception as error:  # Ray raises a bare Exception where a node does not start in time
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"--ray {address}: no cluster there, or it did not start ({reason:.200}): give local, auto or its address"
        ) from error
    return True


def _gpus(resources: Mapping[str, float], asked: float | None) -> float:
    """GPUs of each worker. One that is asked for and not there would be waited for without end."""
    there = resources.get("GPU", 0.0)
    if asked is None:
        return 1.0 if there >= 1.0 else 0.0
    if asked > there:
        raise ModelError(
            f"--gpus-per-worker {asked:g}: the cluster has {there:g} GPUs: give 0 for workers on CPU cores, or"
            " start Ray where the GPUs are"
        )
    return asked


def _size(resources: Mapping[str, float], gpus: float) -> int:
    """As many workers as there are GPUs for, or CPU cores."""
    return max(1, int(resources.get("GPU", 0) / gpus if gpus else resources.get("CPU", 1)))
