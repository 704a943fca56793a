"""What a run knows of the adapters it measures: key, spectrum, trigger words, and the record in the library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

from lorascope.adapters import (
    Adapter,
    Delta,
    autov3_of,
    read_file,
)
from lorascope.adapters.items import file_of, name_of
from lorascope.adapters.spectra import Spectrum
from lorascope.errors import ChangedAdapter, LibraryError, NoEffect, place_of
from lorascope.grid import Grid
from lorascope.library import Block, Library, StoredAdapter
from lorascope.library.facts import AdapterFacts
from lorascope.library.recomputation import add_block
from lorascope.library.words import measured_words, suffix
from lorascope.measure.items import check_item, check_size, key_of, load_item, tensors_of
from lorascope.measure.measurement import Measurement
from lorascope.measure.queue import known_key
from lorascope.signature import Calibration, Effects, Signature


@dataclass(frozen=True, eq=False)
class AdapterFile:
    """What a file holds: its own key, the digest of its tensors, its AutoV3, and what it does."""

    key: str
    tensors: str
    autov3: str
    delta: Delta


@final
class AdapterRecords:
    """The adapters of one run by path. Files of equal tensors and settings are one adapter."""

    def __init__(self, measurement: Measurement, *, partial: bool) -> None:
        """Read which tensors the library knows already."""
        self._measurement = measurement
        self._library = measurement.library
        self._partial = partial
        known = self._library.adapters.all()
        self._known = set(known)
        self._by_tensors = {one.facts.tensors: key for key, one in known.items() if one.facts.tensors}
        self._tokens = {key: one.facts.tokens for key, one in known.items() if one.facts.tokens}
        self._tensors: dict[str, str] = {}
        self._autov3: dict[str, str] = {}
        self.keys: dict[Path, str] = {}
        self.spectra: dict[Path, Spectrum] = {}

    def recall(self, adapters: Sequence[Adapter], looked_at: Set[str]) -> Set[Path]:
        """Take up what the library knows of some files.

        Returns:
            The files that were looked at already.
        """
        stamps = self._library.adapters.stamps()
        keys = {adapter.path: key for adapter in adapters if (key := known_key(adapter.path, stamps)) is not None}
        stored = self._library.adapters.get(keys.values())
        known = {path: stored[key].facts for path, key in keys.items() if key in stored}  # some were just removed
        spectra = {path: facts.spectra.get(self._measurement.weighed_as) for path, facts in known.items()}
        self.spectra = {path: Spectrum(**spectrum) for path, spectrum in spectra.items() if spectrum is not None}
        self.keys = {path: keys[path] for path in self.spectra if keys[path] in looked_at}
        return set(self.keys)

    def read(self, adapter: Adapter) -> AdapterFile:
        """Read a file, in any thread. Shapes are checked before its body is read."""
        path, file = adapter.path, file_of(adapter.path)
        if self._measurement.worker.shapes:
            names = self._measurement.names
            check_item(path, names)
            data = read_file(file)
            delta = load_item(path, data, names, partial=self._partial)
            check_size(delta, self._measurement.preset)
        else:
            data = read_file(file)
            delta = Delta.unmatched(data, path)
        if delta.inversions and not delta.targets and self._measurement.preset.triggers == "none":
            reason = "a textual inversion, which acts only where prompts name it, and they get no trigger words"
            raise NoEffect(path, reason, "Measure it with --triggers adapter")
        return AdapterFile(key_of(path, data), tensors_of(path, data), autov3_of(data) if file == path else "", delta)

    def load(self, reading: Callable[[], AdapterFile]) -> tuple[str, Delta]:
        """The key of an adapter whose file was read, and what it does. Of equal files, that of the first counts."""
        file = reading()
        key = file.key
        if key not in self._known:  # an older version may have measured both of two equal files
            key = self._by_tensors.setdefault(file.tensors, key)
        self._tensors[key], self._autov3[key] = file.tensors, file.autov3
        own = tuple(one.token for one in file.delta.inversions)
        return key, file.delta.called(self._tokens.setdefault(key, own))  # as in the words that it was begun with

    def check_same(self, adapter: Adapter, key: str) -> None:
        """Refuse a file that is no longer what it was earlier in this run."""
        if self.keys.setdefault(adapter.path, key) != key:
            raise ChangedAdapter(adapter.path, "it changed while this run was measuring it", "Run index again")

    def weighed(self, adapter: Adapter, key: str, delta: Delta, spectrum: Spectrum) -> None:
        """Keep how much an adapter changes."""
        self.keys[adapter.path], self.spectra[adapter.path] = key, spectrum
        measured = self._measured(key)
        self._record(adapter, key, delta, measured.get(self._scene, self._claimed(adapter, delta)), measured)

    def begin(self, adapter: Adapter, key: str, delta: Delta, *, begun: bool) -> str:
        """Decide by which trigger words an adapter is measured, and keep them; once begun, it keeps them."""
        measured = self._measured(key)
        words = measured.get(self._scene) if begun else None
        words = self._claimed(adapter, delta) if words is None else words
        self._record(adapter, key, delta, words, measured | {self._scene: words})
        return words

    def words(self, key: str) -> str | None:
        """The trigger words under which the library has an adapter; None if it has none of that key any more."""
        stored = self._library.adapters.get([key]).get(key)
        return None if stored is None else measured_words(stored, self._measurement.protocols[0])

    @property
    def _scene(self) -> str:
        return self._measurement.scene

    def _claimed(self, adapter: Adapter, delta: Delta) -> str:
        """What a file claims, with the tokens by which its textual inversions are read in this run."""
        triggers = adapter.claims.triggers
        tokens = [one.token for one in delta.inversions]
        return suffix(triggers.value if triggers else (), self._measurement.preset.alternatives, tokens)

    def _measured(self, key: str) -> dict[str, str]:
        """The trigger words that an adapter was measured with, by scene."""
        stored = self._library.adapters.get([key]).get(key)
        return {} if stored is None else dict(stored.facts.measured_words)

    def _record(self, adapter: Adapter, key: str, delta: Delta, words: str, measured: dict[str, str]) -> None:
        """Make an adapter known with its facts; ``measured`` are the words it was measured with so far, by scene."""
        path = place_of(adapter.path)
        facts = replace(
            AdapterFacts.of(adapter),
            read_from=path,
            tokens=tuple(one.token for one in delta.inversions),
            tensors=self._tensors[key],
            autov3=self._autov3[key],
            measured_words=measured,
            modules_matched=delta.coverage.matched,
            modules_total=delta.coverage.total,
            unmatched=tuple(delta.coverage.unmatched[:20]),
            prompts_cut=self._measurement.cut_off(delta.spelt(words)),
            spectra={self._measurement.weighed_as: asdict(self.spectra[adapter.path])},
        )
        stored = self._as_measured(StoredAdapter(key, name_of(adapter.path), adapter.family, (path,), facts))
        self._library.adapters.add([stored], {path: (adapter.size, adapter.mtime_ns)})
        self._library.refusals.remove(path)

    def _as_measured(self, copy: StoredAdapter) -> StoredAdapter:
        """An adapter by the name and the claims of the file that was measured, as long as that one is there.

        Another file may hold the same, with another sidecar: its words are not those that the adapter was measured
        with.
        """
        known = self._library.adapters.get([copy.key]).get(copy.key)
        if known is None:
            return copy
        copy = replace(copy, facts=replace(copy.facts, sites=known.facts.sites, word_shares=known.facts.word_shares))
        if not known.facts.measured_words:
            return copy
        first = known.facts.read_from
        if first not in known.paths or not file_of(first).is_file():
            return copy
        facts = replace(copy.facts, claims=known.facts.claims, read_from=first)
        return replace(copy, name=known.name, facts=facts)


@final
class Tally:
    """Collects the blocks of an adapter, in block order, as they become known."""

    def __init__(self, library: Library, grid: Grid, protocols: Iterable[str], key: str) -> None:
        """Begin with all that the library holds under the Protocols of these digests."""
        self._library = library
        self._grid = grid
        self._key = key
        self._effects: dict[str, Effects] = {}
        self._blocks = dict.fromkeys(protocols, 0)
        self.catch_up()

    @property
    def blocks(self) -> int:
        """How many blocks are known under every Protocol."""
        return min(self._blocks.values())

    def catch_up(self) -> None:
        """Add the blocks that were committed since."""
        for protocol, known in self._blocks.items():
            for block in self._library.evidence.blocks(self._key, protocol, known):
                _check_size(self._library, block, len(self._grid.block(block.index)))
                self._effects[protocol] = add_block(self._effects.get(protocol), block, self._grid)
                self._blocks[protocol] += 1

    def signatures(self, looks: int, calibrations: Mapping[str, Calibration]) -> dict[str, Signature]:
        """The Signature under each Protocol that has at least a block, by its Calibration if it has one."""
        categories = self._grid.prompts.categories
        return {
            protocol: effects.signature(categories, looks=looks, calibration=calibrations.get(protocol))
            for protocol, effects in self._effects.items()
        }


def _check_size(library: Library, block: Block, expected: int) -> None:
    """Blocks are known by their number, so a library keeps to one size of block."""
    if len(block.moved) != expected:
        raise LibraryError(
            f"{library.path} was measured in blocks of {len(block.moved)} cells, not {expected}: set block_size in the"
            " preset to what it was, or give another --library"
        )
