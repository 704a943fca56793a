"""Index folders: measure every adapter, breadth first, so that a search works long before the run is done.

A run decides the order of the work and when each adapter is known well enough.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import final

from lorascope.adapters import Adapter, Delta
from lorascope.adapters.items import Conditions
from lorascope.errors import AdapterError, ChangedAdapter, LorascopeError, ModelError, NoEffect, NotFinite
from lorascope.generators.memory import out_of_memory
from lorascope.library import BARE, Library, Refusal, lost_previews
from lorascope.library.leases import this_process
from lorascope.library.refusals import left_out, refusal
from lorascope.measure.calibration import Calibrations
from lorascope.measure.crew import Crew, Lane, LocalCrew, WorkerDied, read_ahead, run_lanes
from lorascope.measure.events import Outcome, Progress, StopRun, Watcher, request_of
from lorascope.measure.measurement import Measurement
from lorascope.measure.orders import SpectrumOrder
from lorascope.measure.queue import finished, gather
from lorascope.measure.records import AdapterRecords, Tally
from lorascope.measure.shard import Shard
from lorascope.measure.stopping import StoppingRule, expected_cells
from lorascope.measure.worker import Worker
from lorascope.precision import PRECISIONS, Precision

GLANCE = PRECISIONS["glance"]
_READERS = 8
"""Files that are read side by side at most; each may have hundreds of megabytes."""
_WINDOW = 64
"""Adapters that are weighed before the first of them is looked at: answers must not wait for all of a large folder."""
_POISONOUS = "Run index again to try it once more, or take the file out of the folder"
_STRONGER = "Measure it at a larger scale, or with a base model in float32"


@final
class Run:
    """Finds adapters, looks at each once, then refines each: what ``index`` does."""

    def __init__(
        self,
        measurement: Measurement,
        crew: Crew,
        goal: Precision,
        *,
        partial: bool,
        recalibrate: bool,
        until: datetime,
        watch: Watcher,
        owner: str,
        shard: Shard | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        self._measurement = measurement
        self._crew = crew
        self._library = measurement.library
        self._active: set[str] = set()
        self._records = AdapterRecords(measurement, partial=partial)
        self._calibrations = Calibrations(measurement)
        self._recalibrate = recalibrate
        self._goal = goal
        self._until = until
        self._lost: dict[str, int] = {}
        self._longest = 0.0
        self._late = False
        self._owner = owner
        self._shard = shard
        self._conditions = conditions
        self._began = time.monotonic()
        self._progress = Progress(watch)
        self.outcome = Outcome()

    def go(self, paths: Sequence[Path], *, follow_links: bool = False) -> None:
        """Find, look at everything once, refine."""
        measurement = self._measurement
        self._lost = lost_previews(self._library, measurement.protocols[0], measurement.grid)
        measurement.restore_previews(BARE, measurement.grid.blocks if BARE in self._lost else 0)
        done = self._finished(self._goal)
        found = gather(
            paths, self._library, measurement.preset.family, done, self._progress.scanned,
            follow_links=follow_links, shard=self._shard, conditions=self._conditions,
        )  # fmt: skip
        self.outcome.unchanged = sorted(set(found.known.values()))
        for refused in found.refused:
            self._refuse(refused)
        self._library.refusals.remove(*found.vanished)
        adapters = self._first_looks(found.adapters)
        if not self._late:
            self._calibrations.fit(self._calibrating, again=self._recalibrate)
        measurement.keep_bare_mean()
        if self._goal != GLANCE and not self._late:
            expected = {adapter.path: self._expected(adapter) for adapter in adapters}
            self._stage("refining", sorted(adapters, key=lambda one: expected[one.path]), expected, self._goal)
            measurement.keep_bare_mean()
        self.outcome.finished = not self._late

    def _calibrating(self, text: str) -> bool:
        """Tell the watcher, which may end the run; whether there is time left."""
        self._progress.say("calibrate", text)
        return datetime.now() < self._until

    def close(self) -> None:
        """Sum up, and let other processes have what is left."""
        self.outcome.seconds = time.monotonic() - self._began
        self.outcome.measured = sorted(set(self.outcome.measured))
        self.outcome.elsewhere = sorted(set(self.outcome.elsewhere).difference(self.outcome.measured))
        self._library.leases.release(self._owner)

    def _first_looks(self, adapters: Sequence[Adapter]) -> list[Adapter]:
        """One block for every adapter that has none; returns all that could be measured."""
        grid = self._measurement.grid
        looked_at = self._finished(GLANCE)
        coarse = self._records.recall(adapters, looked_at)
        new = [adapter for adapter in adapters if adapter.path not in coarse]
        known = [adapter for adapter in adapters if adapter.path in coarse]
        expected = {adapter.path: grid.block_size for adapter in new}
        if self._goal != GLANCE:
            more = expected_cells(self._goal, grid) - grid.block_size
            self._progress.later = len(new) * more + sum(map(self._expected, known))
        good = self._stage("first look", self._largest_first(new), expected, GLANCE)
        self._progress.later = 0
        return good + known

    def _stage(
        self, name: str, adapters: Iterable[Adapter], expected: Mapping[Path, int], goal: Precision
    ) -> list[Adapter]:
        """Bring every adapter to a Precision; returns those that could be measured."""
        good: list[Adapter] = []
        self._progress.begin(name, expected)
        lanes = ((adapter, self._advance(adapter, load, goal)) for adapter, load in self._read(adapters))
        for adapter, error in run_lanes(self._crew, itertools.takewhile(lambda _: not self._late, lanes)):
            if self._ended(adapter, error):
                good.append(adapter)
            if self._late:
                self.outcome.left = self._progress.left
                continue
            self._progress.drop(adapter.path)
            self._progress.say("block", adapter.path.stem)
        return good

    def _read(self, adapters: Iterable[Adapter]) -> Iterator[tuple[Adapter, Callable[[], tuple[str, Delta]]]]:
        """Adapters with what gives their keys and Deltas; files are read ahead, more of them for more workers."""
        ahead = max(1, min(_READERS, self._crew.free))
        for adapter, reading in read_ahead(adapters, self._records.read, ahead):
            yield adapter, functools.partial(self._records.load, reading)

    def _largest_first(self, adapters: Sequence[Adapter]) -> Iterator[Adapter]:
        """A window of adapters after another, each in the order of how much they change the base model.

        Those that change nothing are left out.
        """
        spectra = self._records.spectra
        for start in range(0, len(adapters), _WINDOW):
            window = adapters[start : start + _WINDOW]
            good = [adapter for adapter in window if adapter.path in spectra]
            new = [adapter for adapter in window if adapter.path not in spectra]
            lanes = ((adapter, self._weigh(adapter, load)) for adapter, load in self._read(new))
            for count, (adapter, error) in enumerate(run_lanes(self._crew, lanes), start + len(good) + 1):
                self._progress.say("weigh", f"{count} of {len(adapters)} files weighed")
                if self._ended(adapter, error):
                    good.append(adapter)
                else:
                    self._progress.drop(adapter.path)
            measured = {adapter.path for adapter in good}
            yield from sorted(
                (adapter for adapter in window if adapter.path in measured),
                key=lambda adapter: -spectra[adapter.path].norm,
            )

    def _weigh(self, adapter: Adapter, load: Callable[[], tuple[str, Delta]]) -> Lane:
        """Find out how much an adapter changes."""
        key, delta = load()
        (found,) = yield [(SpectrumOrder(self._measurement.preset.scale), delta)]
        if found.changed == 0:
            raise NoEffect(adapter.path, "all that it changes is lost in rounding, so it has no effect", _STRONGER)
        self._records.weighed(adapter, key, delta, found)

    def _ended(self, adapter: Adapter, error: Exception | None) -> bool:
        """Whether a lane could be done; if not, its adapter is listed with the reason.

        Raises:
            LorascopeError: the error was none of the adapter's, so nothing can continue.
        """
        if error is None:
            return True
        if isinstance(error, AdapterError):
            self._refuse(refusal(error))
        elif isinstance(error, FloatingPointError):
            self._refuse(refusal(NotFinite(adapter.path, str(error), "Measure it at a smaller scale")))
        elif isinstance(error, LorascopeError | MemoryError | StopRun):
            raise error
        elif isinstance(error, WorkerDied):
            self._refuse(left_out(adapter.path, "worker-died", str(error), _POISONOUS))
        else:  # one odd file must not end a run of many hours: it is listed at the end
            self._check_device(error)
            reason = f"{type(error).__name__}: {error}"
            self._refuse(left_out(adapter.path, "unexpected", reason, "Please report this file"))
        return False

    def _check_device(self, error: Exception) -> None:
        """After an unexpected error, find out whether the device is to blame: then every file would fail.

        Raises:
            ModelError: the device cannot render even the bare base model any more.
        """
        try:
            if not out_of_memory(error):
                prompt, seed = self._measurement.grid.prompts.texts[0], self._measurement.preset.seeds[0]
                self._measurement.worker.images([prompt], [seed])
                return
        except ModelError:
            raise
        except Exception as failure:
            error = failure
        raise ModelError(
            f"the device failed ({type(error).__name__}: {str(error).strip():.200}): end other programs that use it,"
            " or use --device cpu. What was measured is kept"
        ) from error

    def _advance(self, adapter: Adapter, load: Callable[[], tuple[str, Delta]], goal: Precision) -> Lane:
        """Measure one adapter up to a Precision, block by block, or until the time is over."""
        key, delta = load()
        self._records.check_same(adapter, key)
        while key in self._active:  # another file of the same tensors is being measured
            yield []
        self._active.add(key)
        try:
            yield from self._measure(adapter, key, delta, goal)
        finally:
            self._active.discard(key)

    def _measure(self, adapter: Adapter, key: str, delta: Delta, goal: Precision) -> Lane:
        measurement, rule, leases = self._measurement, self._rule(goal), self._library.leases
        if not leases.acquire(key, measurement.scene, self._owner):
            self.outcome.elsewhere.append(key)
            return
        tally = Tally(self._library, measurement.grid, measurement.digests, key)
        words = self._records.begin(adapter, key, delta, begun=tally.blocks > 0)
        measurement.restore_previews(key, tally.blocks, words, delta)
        labels = self._labels(key)
        while not rule.enough(lambda: tally.signatures(rule.looks, self._calibrations.current).values(), tally.blocks):
            self._late = datetime.now() + timedelta(seconds=self._longest) > self._until
            if self._late:
                return
            began, known = time.monotonic(), tally.blocks
            orders = [measurement.order(words, index) for index in self._next_blocks(rule, known)]
            results = yield [(order, delta) for order in orders]
            for order, result in zip(orders, results, strict=True):
                measurement.commit(key, order, result)
            if not leases.acquire(key, measurement.scene, self._owner):  # keeps the lease
                self.outcome.elsewhere.append(key)
                return
            tally.catch_up()
            if tally.blocks == known or self._records.words(key) != words:
                reason = "it was removed from the library while this run measured it"
                raise ChangedAdapter(adapter.path, reason, "Run index again to measure it anew")
            if tally.blocks in measurement.grid.looks:  # a run that ends early leaves what it knows to be searched
                for protocol, signature in tally.signatures(rule.looks, self._calibrations.current).items():
                    self._library.signatures.put(protocol, labels.get(protocol, GLANCE.name), {key: signature})
            self._longest = max(self._longest, time.monotonic() - began)
            cells = sum(len(measurement.grid.block(order.index)) for order in orders)
            self.outcome.cells += cells
            self._progress.advance(adapter.path, cells)
            self._progress.say("block", adapter.path.stem)
        for protocol, signature in tally.signatures(rule.looks, self._calibrations.current).items():
            self._library.signatures.put(protocol, rule.label(signature), {key: signature})
        self.outcome.measured.append(key)

    def _next_blocks(self, rule: StoppingRule, known: int) -> range:
        """The blocks to measure next: one, or where workers would be idle, those up to the next look."""
        return range(known, min(rule.next_look(known), known + max(1, self._crew.free)))

    def _labels(self, key: str) -> dict[str, str]:
        """As what the signature of an adapter is kept so far, under each Protocol that has one."""
        found = {protocol: self._library.signatures.get(protocol, [key]).get(key) for protocol in self._digests}
        return {protocol: stored.precision for protocol, stored in found.items() if stored is not None}

    def _finished(self, goal: Precision) -> set[str]:
        """Keys of adapters that need nothing more: no measuring, and no picture that was lost."""
        return finished(self._library, self._digests, self._rule(goal)) - self._lost.keys()

    @property
    def _digests(self) -> tuple[str, ...]:
        return self._measurement.digests

    def _rule(self, goal: Precision) -> StoppingRule:
        return StoppingRule(goal, self._measurement.preset.thresholds, self._measurement.grid)

    def _refuse(self, refused: Refusal) -> None:
        self._library.refusals.add(refused)
        self.outcome.refused.append(refused)
        self._progress.say("refused", f"{refused.path}: {refused.reason}")

    def _expected(self, adapter: Adapter) -> int:
        """About how many cells an adapter still takes after its first look."""
        grid, key = self._measurement.grid, self._records.keys[adapter.path]
        stored = self._library.signatures.get(self._digests[0], [key]).get(key)
        if stored is None:
            return expected_cells(self._goal, grid)
        return max(0, expected_cells(self._goal, grid, stored.signature.consistency) - stored.signature.cells)


def index(
    paths: Iterable[str | Path],
    worker: Worker | Crew,
    library: Library,
    *,
    precision: str = "standard",
    scale: float | None = None,
    partial: bool = False,
    recalibrate: bool = False,
    until: datetime | None = None,
    watch: Watcher | None = None,
    number: int | None = None,
    follow_links: bool = False,
    shard: Shard | None = None,
    conditions: Conditions | None = None,
) -> Outcome:
    """Measure every adapter under some folders to a Precision.

    First every adapter gets one coarse block, of each few dozen those first whose weights change the base model most;
    then each is refined. ``quick`` and ``standard`` stop early where it is certain that the preset's thresholds hide
    an adapter, which is then kept as ``screened``. Work is committed block by block: a run that is interrupted or
    killed resumes where it was. A file that cannot be measured is recorded with its reason and never stops the others.

    Args:
        paths: folders and files.
        worker: renders and embeds, see :func:`lorascope.measure.load_worker`; or several that do.
        library: results go there.
        precision: ``glance``, ``quick``, ``standard`` or ``full``.
        scale: how strongly adapters are applied, instead of the preset's. It makes another Protocol, which shares
            the bare images.
        partial: measure adapters of which only some modules belong to the base model, too.
        recalibrate: fit the Calibration of the estimator anew and estimate every Direction by it, from the evidence.
            This happens by itself once there are enough adapters, and again when their number has doubled.
        until: begin no block that would end after this local time.
        watch: is called with each event, and may end it.
        shard: measure only this part of the files; all by default.
        conditions: the pictures by which ControlNets and IP-Adapters act; those that the library knows by default.
        number: of a run that the library already has, to continue with; a new one otherwise.
        follow_links: follow links that lead out of the folders, too.

    Raises:
        LibraryError: the library cannot be written. What was stored before is intact.
        ModelError: not even one image fits into memory, or the device failed.

    Examples:
        >>> index(["loras"], worker, library, precision="glance").finished
        True
    """
    places = [Path(path) for path in paths]
    crew = worker if isinstance(worker, Crew) else LocalCrew(worker)
    measurement, goal = Measurement(crew.worker, library, scale), Precision.named(precision)
    measurement.record()
    run = Run(
        measurement,
        crew,
        goal,
        partial=partial,
        recalibrate=recalibrate,
        until=until or datetime.max,
        watch=watch or (lambda event: None),
        owner=this_process(),
        shard=shard,
        conditions=conditions,
    )
    if number is None:
        number = library.runs.start(request_of(places, precision, partial))
    try:
        run.go(places, follow_links=follow_links)
    except StopRun:
        pass
    finally:
        run.close()
        library.runs.finish(number, run.outcome.summary())
    return run.outcome
