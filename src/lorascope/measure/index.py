"""Index folders: measure every adapter, breadth first, so that a search works long before the run is done."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, final

from lorascope.adapters import Adapter, Delta, load_delta, peft_config, read_file, sha256_of
from lorascope.adapters.spectra import Spectrum
from lorascope.errors import AdapterError, ChangedAdapter, LorascopeError, NoEffect, NotFinite, place_of
from lorascope.library import Refusal, StoredAdapter
from lorascope.library.facts import adapter_facts, left_out, refusal
from lorascope.library.leases import this_process
from lorascope.measure.ahead import read_ahead
from lorascope.measure.bench import Bench
from lorascope.measure.prior import Prior, in_order, recall, remember
from lorascope.measure.queue import finished, gather, known_key, trigger_words
from lorascope.measure.stopping import StoppingRule, expected_cells, looks
from lorascope.measure.tally import Tally
from lorascope.protocol import PRECISIONS, Precision

GLANCE = PRECISIONS["glance"]
_WINDOW = 64
"""Adapters that are weighed before the first of them is looked at: answers must not wait for all of a large folder."""
_STRONGER = "Measure it at a larger scale, or with a base model in float32"


@dataclass(frozen=True)
class Event:
    """What a run tells its watcher: ``cells`` of ``total`` of its stage are done; ``text`` names the file or the stage.

    ``later`` is about how many cells the stages after this one will take.
    """

    kind: Literal["scan", "stage", "weigh", "block", "refused"]
    text: str
    cells: int = 0
    total: int = 0
    later: int = 0


Watcher = Callable[[Event], None]
"""Is told of each event, between two blocks of work: it may take its time, and it ends the run with StopRun."""


class StopRun(Exception):
    """Raised by a watcher to end a run where it is: every block so far is kept, and the outcome is not ``finished``."""


@dataclass
class Outcome:
    """How a run ended: keys measured now, files that needed nothing, files left out, keys another process has.

    ``left`` is about how many cells are still to do in the stage at which its time was over.
    """

    measured: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    cells: int = 0
    left: int = 0
    seconds: float = 0.0
    finished: bool = False

    def summary(self) -> dict[str, Any]:
        """Counts, as plain data."""
        counts = {name: len(getattr(self, name)) for name in ("measured", "unchanged", "refused", "elsewhere")}
        others = {"cells": self.cells, "left": self.left, "seconds": round(self.seconds, 3), "finished": self.finished}
        return counts | others


def index(
    paths: Iterable[str | Path],
    bench: Bench,
    *,
    precision: str = "standard",
    partial: bool = False,
    until: datetime | None = None,
    watch: Watcher | None = None,
    number: int | None = None,
) -> Outcome:
    """Measure every adapter under some folders to a Precision.

    First every adapter gets one coarse block, of each few dozen those first whose weights change the base model most;
    then each is refined. ``quick`` and ``standard`` stop early where it is certain that the preset's thresholds hide
    an adapter, which is then kept as ``screened``. Work is committed block by block: a run that is interrupted or
    killed goes on where it was. A file that cannot be measured is recorded with its reason and never stops the others.

    Args:
        paths: folders and files.
        bench: the resident models, and the library that results go to.
        precision: ``glance``, ``quick``, ``standard`` or ``full``.
        partial: measure adapters of which only some modules belong to the base model, too.
        until: begin no block that would end after this local time.
        watch: is told how it goes, and may end it.
        number: of a run that the library already has, to go on with; a new one otherwise.

    Raises:
        LibraryError: the library cannot be written. What was stored before is intact.
        ModelError: not even one image fits into memory.
    """
    run = _Run(bench, Precision.named(precision), partial, until or datetime.max, watch or (lambda event: None))
    places = [Path(path) for path in paths]
    bench.record()
    if number is None:
        number = bench.library.runs.start(request_of(places, precision, partial))
    try:
        run.go(places)
    except StopRun:
        pass
    finally:
        run.close()
        bench.library.runs.finish(number, run.outcome.summary())
    return run.outcome


def request_of(paths: Iterable[Path], precision: str, partial: bool) -> dict[str, Any]:
    """What a run is asked, and by which process, as the library notes it."""
    return {
        "paths": [place_of(path) for path in paths],
        "precision": precision,
        "partial": partial,
        "owner": this_process(),
    }


@final
class _Run:
    """One run over some folders."""

    def __init__(self, bench: Bench, goal: Precision, partial: bool, until: datetime, watch: Watcher) -> None:
        self._bench = bench
        self._library = bench.library
        self._goal = goal
        self._partial = partial
        self._until = until
        self._longest = 0.0
        self._late = False
        self._watch = watch
        self._owner = this_process()
        self._keys: dict[Path, str] = {}
        self._spectra: dict[Path, Spectrum] = {}
        self._began = time.monotonic()
        self._spent = 0
        self._ahead: dict[Path, int] = {}
        self._later = 0
        self.outcome = Outcome()

    def go(self, paths: Sequence[Path]) -> None:
        """Find, look at everything once, refine."""
        done = finished(self._library, self._bench.protocols, self._rule(self._goal))
        corpus = gather(paths, self._library, self._bench.preset.family, done, self._tell_scan)
        self.outcome.unchanged = sorted(set(corpus.known.values()))
        for refused in corpus.refused:
            self._refuse(refused)
        self._library.refusals.remove(*corpus.vanished)
        adapters = self._first_looks(corpus.adapters)
        self._bench.keep_baseline_mean(1)
        if self._goal != GLANCE and not self._late:
            expected = {adapter.path: self._expected(adapter) for adapter in adapters}
            self._stage("refining", sorted(adapters, key=lambda one: expected[one.path]), expected, self._goal)
            self._bench.keep_baseline_mean(self._bench.grid.blocks)
        self.outcome.finished = not self._late

    def close(self) -> None:
        """Sum up, and let other processes have what is left."""
        self.outcome.seconds = time.monotonic() - self._began
        self.outcome.measured = sorted(set(self.outcome.measured))
        self.outcome.elsewhere = sorted(set(self.outcome.elsewhere).difference(self.outcome.measured))
        self._library.leases.release(self._owner)

    def _tell_scan(self, count: int) -> None:
        self._watch(Event("scan", f"{count} files", count))

    def _first_looks(self, adapters: Sequence[Adapter]) -> list[Adapter]:
        """One block for every adapter that has none; returns all that could be measured."""
        coarse = self._recall(adapters)
        new = [adapter for adapter in adapters if adapter.path not in coarse]
        known = [adapter for adapter in adapters if adapter.path in coarse]
        expected = {adapter.path: self._bench.grid.block_size for adapter in new}
        if self._goal != GLANCE:
            more = expected_cells(self._goal, self._bench.grid) - self._bench.grid.block_size
            self._later = len(new) * more + sum(map(self._expected, known))
        good = self._stage("first look", self._weightiest_first(new), expected, GLANCE)
        self._later = 0
        return good + known

    def _recall(self, adapters: Sequence[Adapter]) -> set[Path]:
        """Take up what the library knows of some files; returns those that were looked at already."""
        stamps = self._library.adapters.stamps()
        keys = {adapter.path: key for adapter in adapters if (key := known_key(adapter.path, stamps)) is not None}
        stored = self._library.adapters.get(keys.values())
        known = {path: stored[key].facts for path, key in keys.items() if key in stored}  # some were just removed
        spectra = {path: recall(facts, self._bench.worn_as) for path, facts in known.items()}
        self._spectra = {path: spectrum for path, spectrum in spectra.items() if spectrum is not None}
        looked_at = finished(self._library, self._bench.protocols, self._rule(GLANCE))
        self._keys = {path: keys[path] for path in self._spectra if keys[path] in looked_at}
        return set(self._keys)

    def _stage(
        self, name: str, adapters: Iterable[Adapter], expected: Mapping[Path, int], goal: Precision
    ) -> list[Adapter]:
        """Bring every adapter to a Precision; returns those that could be measured."""
        good: list[Adapter] = []
        self._spent = 0
        self._ahead = dict(expected)
        self._watch(Event("stage", name, 0, sum(self._ahead.values()), self._later))
        for adapter, load in read_ahead(adapters, self._load):
            if self._tried(adapter, functools.partial(self._advance, adapter, load, goal)):
                good.append(adapter)
            if self._late:
                self.outcome.left = sum(self._ahead.values())
                break
            del self._ahead[adapter.path]
            self._say("block", adapter.path.stem)
        return good

    def _weightiest_first(self, adapters: Sequence[Adapter]) -> Iterator[Adapter]:
        """A window of adapters after another, each in the order of what its weights promise.

        Those that change nothing are left out.
        """
        prior = Prior.of(self._library, self._bench.protocols[0], self._bench.worn_as)
        for start in range(0, len(adapters), _WINDOW):
            window = adapters[start : start + _WINDOW]
            good = [adapter for adapter in window if adapter.path in self._spectra]
            new = [adapter for adapter in window if adapter.path not in self._spectra]
            for count, (adapter, load) in enumerate(read_ahead(new, self._load), start + len(good) + 1):
                self._say("weigh", f"{count} of {len(adapters)} files weighed")
                if self._tried(adapter, functools.partial(self._weigh, adapter, load)):
                    good.append(adapter)
                else:
                    del self._ahead[adapter.path]
            yield from (good[n] for n in in_order(prior.guess(self._spectra[adapter.path]) for adapter in good))

    def _weigh(self, adapter: Adapter, load: Callable[[], tuple[str, Delta]]) -> None:
        """Find out what an adapter changes."""
        bench = self._bench
        key, delta = load()
        self._keys[adapter.path] = key
        found = self._spectra[adapter.path] = bench.spectrum(delta)
        if found.changed == 0 and bench.preset.scale != 0:
            raise NoEffect(adapter.path, "all that it changes is lost in rounding, so it has no effect", _STRONGER)
        self._record(adapter, key, delta, trigger_words(adapter.claims), self._worn(key))

    def _load(self, adapter: Adapter) -> tuple[str, Delta]:
        """An adapter's key, and what it does."""
        data, names, config = read_file(adapter.path), self._bench.names, peft_config(adapter.path)
        delta = load_delta(data, names, partial=self._partial, config=config, name=adapter.path)
        return f"sha256:{sha256_of(data)}", delta

    def _tried(self, adapter: Adapter, work: Callable[[], None]) -> bool:
        """Do something with one adapter; tell whether it could be done, and list it with the reason if not."""
        try:
            work()
        except AdapterError as error:
            self._refuse(refusal(error))
        except FloatingPointError as error:
            self._refuse(refusal(NotFinite(adapter.path, str(error), "Measure it at a smaller scale")))
        except (LorascopeError, MemoryError, StopRun):
            raise
        except Exception as error:  # one odd file must not end a run of many hours: it is listed at the end
            reason = f"{type(error).__name__}: {error}"
            self._refuse(left_out(adapter.path, "unexpected", reason, "Please report this file"))
        else:
            return True
        return False

    def _advance(self, adapter: Adapter, load: Callable[[], tuple[str, Delta]], goal: Precision) -> None:
        """Measure one adapter up to a Precision, block by block, or until the time is over."""
        bench, rule = self._bench, self._rule(goal)
        key, delta = load()
        if self._keys.setdefault(adapter.path, key) != key:
            raise ChangedAdapter(adapter.path, "it changed while this run was measuring it", "Run index again")
        if not self._library.leases.acquire(key, bench.scene, self._owner):
            self.outcome.elsewhere.append(key)
            return
        tally, worn = Tally(bench, key), self._worn(key)
        said = trigger_words(adapter.claims)
        words = worn.get(bench.scene, said) if tally.blocks else said  # one signature has one wording
        self._record(adapter, key, delta, words, worn | {bench.scene: words})
        known_as = self._known_as(key)
        while not rule.enough(lambda: tally.signatures(rule.looks).values(), tally.blocks):
            self._late = datetime.now() + timedelta(seconds=self._longest) > self._until
            if self._late:
                return
            began = time.monotonic()
            cells = len(bench.grid.block(tally.blocks))
            bench.measure(key, delta, words, tally.blocks)
            self._library.leases.acquire(key, bench.scene, self._owner)  # keeps the lease
            tally.catch_up()
            if tally.blocks in looks(bench.grid):  # a run that ends before its goal leaves what it knows to be searched
                for protocol, signature in tally.signatures(rule.looks).items():
                    label = known_as.get(protocol, GLANCE.name)
                    self._library.signatures.put(protocol, label, {key: signature})
            self._longest = max(self._longest, time.monotonic() - began)
            self.outcome.cells += cells
            self._spent += cells
            self._ahead[adapter.path] = max(0, self._ahead[adapter.path] - cells)
            self._say("block", adapter.path.stem)
        for protocol, signature in tally.signatures(rule.looks).items():
            self._library.signatures.put(protocol, rule.label(signature), {key: signature})
        self.outcome.measured.append(key)

    def _known_as(self, key: str) -> dict[str, str]:
        """As what the signature of an adapter is kept so far, under each Protocol that has one."""
        found = {protocol: self._library.signatures.get(protocol, [key]).get(key) for protocol in self._bench.protocols}
        return {protocol: stored.precision for protocol, stored in found.items() if stored is not None}

    def _worn(self, key: str) -> dict[str, str]:
        """The trigger words that an adapter was measured with, by scene."""
        known = self._library.adapters.get([key]).get(key)
        return {} if known is None else known.facts.get("worn", {})

    def _rule(self, goal: Precision) -> StoppingRule:
        return StoppingRule(goal, self._bench.preset.thresholds, self._bench.grid)

    def _record(self, adapter: Adapter, key: str, delta: Delta, words: str, worn: Mapping[str, str]) -> None:
        """Make an adapter known with its facts.

        Args:
            adapter: its file.
            key: its key.
            delta: what it does.
            words: the trigger words that it is measured with from here on.
            worn: those that it was measured with so far, by scene.
        """
        path = place_of(adapter.path)
        facts = adapter_facts(adapter) | {
            "read_from": path,
            "worn": dict(worn),
            "modules_matched": delta.coverage.matched,
            "modules_total": delta.coverage.total,
            "unmatched": list(delta.coverage.unmatched[:20]),
            "prompts_cut": self._bench.cut(words),
            "spectrum": remember(self._spectra[adapter.path], self._bench.worn_as),
        }
        stored = self._as_measured(StoredAdapter(key, adapter.path.stem, adapter.family, (path,), facts))
        self._library.adapters.add([stored], {path: (adapter.size, adapter.mtime_ns)})
        self._library.refusals.remove(path)

    def _as_measured(self, copy: StoredAdapter) -> StoredAdapter:
        """An adapter by the name and the claims of the file that was measured, as long as that one lies there.

        Another file may hold the same, with another sidecar: its words are not those that the adapter was measured
        with.
        """
        known = self._library.adapters.get([copy.key]).get(copy.key)
        if known is None or not known.facts.get("worn"):
            return copy
        first = known.facts.get("read_from")
        if first not in known.paths or not Path(first).is_file():
            return copy
        kept = {name: known.facts[name] for name in ("claims", "read_from")}
        return replace(copy, name=known.name, facts=copy.facts | kept)

    def _refuse(self, refused: Refusal) -> None:
        self._library.refusals.add(refused)
        self.outcome.refused.append(refused)
        self._say("refused", f"{refused.path}: {refused.reason}")

    def _say(self, kind: Literal["weigh", "block", "refused"], text: str) -> None:
        self._watch(Event(kind, text, self._spent, self._spent + sum(self._ahead.values()), self._later))

    def _expected(self, adapter: Adapter) -> int:
        """About how many cells an adapter still takes after its first look."""
        grid, key = self._bench.grid, self._keys[adapter.path]
        stored = self._library.signatures.get(self._bench.protocols[0], [key]).get(key)
        if stored is None:
            return expected_cells(self._goal, grid)
        return max(0, expected_cells(self._goal, grid, stored.signature.consistency) - stored.signature.cells)
