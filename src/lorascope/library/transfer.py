"""Libraries in and out: other libraries, a manifest of the corpus."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lorascope.caches import whole
from lorascope.errors import LibraryError
from lorascope.grid import Grid
from lorascope.library.database import resolved
from lorascope.library.foreign import ForeignLibrary, ForeignSignature
from lorascope.library.recomputation import add_block, agree, grid_of, recomputed
from lorascope.library.records import StoredAdapter, StoredProtocol
from lorascope.library.store import Library
from lorascope.library.vectors import PhraseVector
from lorascope.precision import PRECISIONS
from lorascope.signature import Effects, Signature

_COARSEST = next(iter(PRECISIONS))


@dataclass
class Merged:
    """What a merge brought.

    Attributes:
        adapters: how many the other library has.
        recomputed: signatures that were computed here from its evidence.
        claimed: signatures that it has no evidence for.
        reworded: adapters that were measured with other trigger words there, and left out.
    """

    adapters: int
    recomputed: int = 0
    claimed: int = 0
    reworded: int = 0


def merge(source: Path, library: Library) -> Merged:
    """Take over what another library knows and this one does not: all of it, or nothing where a value is wrong.

    The other library is read as a stranger's (:class:`ForeignLibrary`). Where it has evidence, its signatures are
    computed from that, and one of more cells replaces one of fewer. What it says without evidence is kept as a claim,
    which never replaces what was measured. Its bare images never serve for what is measured here. Where both measured
    an adapter with other trigger words, nothing measured is taken: a signature has one wording. What is at a path
    is known better here, where it was looked at. Idempotent.

    Raises:
        LibraryError: the other one cannot be read, or holds what no library would.
    """
    if resolved(source) == resolved(library.path):
        raise LibraryError(f"{source} is the library itself: give another one")
    with ForeignLibrary(source) as theirs:
        merging = _Merge(theirs, library)
        merging.read()
        theirs.check_unchanged()
        if merging.blocks:
            _ = library.evidence  # is made before the transaction, which is over both files
        with library.transaction():
            merging.write()
        return merging.merged


@final
class _Merge:
    """Two passes over another library: everything is checked before this library is locked, then written at once."""

    def __init__(self, theirs: ForeignLibrary, library: Library) -> None:
        self._theirs, self._library = theirs, library
        self._adapters = theirs.adapters()
        self._mine = library.adapters.get(self._adapters)
        self._known = {stored.protocol.digest: stored for stored in library.protocols.all()}
        self._protocols = {stored.protocol.digest: stored for stored in theirs.protocols()}
        self._grids = {digest: grid_of(self._known.get(digest, one)) for digest, one in self._protocols.items()}
        self._widths = {digest: library.signatures.width(digest) for digest in self._protocols}
        self._origin = f"{theirs.path} ({time.strftime('%Y-%m-%d')})"
        self._calibrations = {one.digest: one for one in theirs.calibrations()}
        self._signatures: list[tuple[ForeignSignature, bool]] = []
        self._phrases: dict[str, dict[str, PhraseVector]] = {}
        self.blocks: list[tuple[str, str, int]] = []
        self.merged = Merged(len(self._adapters))

    def read(self) -> None:
        """Check everything, and decide which signatures and blocks to take."""
        self._theirs.executions()
        self._theirs.refusals()
        for _ in self._theirs.previews():
            pass
        reworded = {key for key in self._mine if any(self._reworded(key, one) for one in self._protocols.values())}
        self.merged.reworded = len(reworded)
        for foreign in self._theirs.signatures():
            stored = self._protocols.get(foreign.protocol)
            if stored is None:
                raise LibraryError(f"{self._theirs.path}: a signature is of the unknown Protocol {foreign.protocol}")
            self._check_width(foreign)
            if not self._reworded(foreign.key, stored):
                self._decide(foreign, self._grids[foreign.protocol])
        for digest, width in self._widths.items():
            self._phrases[digest] = self._theirs.phrases(digest, width or 0)

    def _check_width(self, foreign: ForeignSignature) -> None:
        width = len(foreign.signature.direction)
        expected = self._widths[foreign.protocol] or width
        self._widths[foreign.protocol] = expected
        if width != expected:
            raise LibraryError(
                f"{self._theirs.path}: the Direction of {foreign.key[:19]} has {width} dimensions, others under its"
                f" Protocol have {expected}: nothing was imported"
            )

    def _reworded(self, key: str, stored: StoredProtocol) -> bool:
        """Whether an adapter was measured with other trigger words here than there."""
        mine, scene = self._mine.get(key), stored.protocol.scene
        words = None if mine is None else mine.facts.measured_words.get(scene)
        return words is not None and words != self._adapters[key].facts.measured_words.get(scene, words)

    def _decide(self, foreign: ForeignSignature, grid: Grid | None) -> None:
        blocks: list[int] = []
        effects = None if grid is None else self._combined(foreign, grid, blocks)
        if grid is not None and effects is not None and blocks:
            calibration = self._calibrations.get(foreign.signature.calibration)
            signature = recomputed(effects, grid, foreign.signature, calibration)
            label = foreign.precision if agree(signature, foreign.signature) else _COARSEST
            self._take(foreign, signature, label, claimed=False)
            self.blocks += [(foreign.key, foreign.protocol, index) for index in blocks]
        elif effects is None:
            self._claim(foreign, grid)

    def _combined(self, foreign: ForeignSignature, grid: Grid, taken: list[int]) -> Effects | None:
        """The effects of the unbroken run of blocks that there will be; lists those of the other library among them."""
        key, protocol = foreign.key, foreign.protocol
        here = self._library.evidence if self._library.has_evidence and key in self._mine else None
        effects: Effects | None = None
        for index in range(grid.blocks):
            own = here.blocks(key, protocol, index, index + 1) if here is not None else []
            block = own[0] if own else None
            if block is None and (found := self._theirs.block(key, protocol, index, grid)) is not None:
                block = found.block
                taken.append(index)
            if block is None or block.adapted.shape[1] != len(foreign.signature.direction):
                break
            effects = add_block(effects, block, grid)
        return effects

    def _claim(self, foreign: ForeignSignature, grid: Grid | None) -> None:
        """Take a signature without evidence, unless this library knows as much."""
        cells = foreign.signature.cells
        if grid is not None and (cells > len(grid) or (foreign.precision == "full" and cells < len(grid))):
            raise LibraryError(
                f"{self._theirs.path}: the signature of {foreign.key[:19]} says that it is {foreign.precision!r} of"
                f" {cells} cells, but the grid has {len(grid)}: nothing was imported"
            )
        here = self._library.signatures.get(foreign.protocol, [foreign.key]).get(foreign.key)
        if here is None or (here.claimed and here.signature.cells < cells):
            self._take(foreign, foreign.signature, foreign.precision, claimed=True)

    def _take(self, foreign: ForeignSignature, signature: Signature, precision: str, *, claimed: bool) -> None:
        self._signatures.append((dataclasses.replace(foreign, signature=signature, precision=precision), claimed))
        if claimed:
            self.merged.claimed += 1
        else:
            self.merged.recomputed += 1

    def write(self) -> None:
        """Write what was decided."""
        library, theirs = self._library, self._theirs
        for digest, stored in self._protocols.items():
            if digest not in self._known:
                origin = stored.origin or str(theirs.path)
                library.protocols.add(stored.protocol, stored.preset, origin=origin, active=False)
            if library.protocols.baseline_mean(digest) is None:
                mean = theirs.baseline_mean(digest, self._widths[digest] or 0)
                if mean is not None:
                    library.protocols.put_baseline_mean(digest, mean, 0)  # what is measured here replaces it
            library.phrases.put(digest, self._phrases[digest])
        for calibration in self._calibrations.values():
            library.protocols.put_calibration(calibration, origin=self._origin)
        for execution in theirs.executions():
            library.protocols.add_execution(execution)
        self._write_adapters()
        self._write_signatures()
        for scene, adapter, preview in theirs.previews():
            if not adapter or adapter in self._adapters:
                library.previews.put(scene, adapter, [preview])

    def _write_signatures(self) -> None:
        library, theirs = self._library, self._theirs
        for key, protocol, index in self.blocks:
            grid = self._grids[protocol]
            found = None if grid is None else theirs.block(key, protocol, index, grid)
            if found is not None:
                library.evidence.put_foreign(key, protocol, found.words, found.block)
        for foreign, claimed in self._signatures:
            library.signatures.put(
                foreign.protocol,
                foreign.precision,
                {foreign.key: foreign.signature},
                origin=self._origin,
                claimed=claimed,
            )

    def _write_adapters(self) -> None:
        """Adapters and refusals. Their files were not looked at here, so that the next index reads them."""
        library = self._library
        seen = {*library.adapters.stamps(), *(refusal.path for refusal in library.refusals.all())}
        new = {path for adapter in self._adapters.values() for path in adapter.paths} - seen
        library.adapters.add([_joined(self._mine.get(key), one, new) for key, one in self._adapters.items()], {})
        for refusal in self._theirs.refusals():
            if refusal.path not in seen | new:
                library.refusals.add(refusal)


def _joined(mine: StoredAdapter | None, theirs: StoredAdapter, new: Container[str]) -> StoredAdapter:
    """What is known here, with some of the other's paths, and with its words for scenes that were not measured here."""
    paths = tuple(path for path in theirs.paths if path in new)
    if mine is None:
        return dataclasses.replace(theirs, paths=paths)
    words = {**theirs.facts.measured_words, **mine.facts.measured_words}
    return dataclasses.replace(mine, paths=paths, facts=dataclasses.replace(mine.facts, measured_words=words))


def write_manifest(library: Library, path: Path) -> int:
    """Write what was let in by which rule, and why each other file was left out, as JSON.

    Returns:
        How many adapters it lists.

    Raises:
        OutputError: the file cannot be written.
    """
    adapters = library.adapters.all()
    manifest = {
        "rule": "every file that matches the base model of its Protocol and passes every check of the adapter reader",
        "protocols": [json.loads(stored.protocol.to_json()) for stored in library.protocols.all()],
        "runs": [run | {"request": _without_owner(run["request"])} for run in library.runs.all()],
        "adapters": [
            {"key": a.key, "name": a.name, "family": a.family, "paths": a.paths} | _coverage(a)
            for a in adapters.values()
        ],
        "left_out": [vars(refusal) for refusal in library.refusals.all()],
    }
    with whole(path) as partial:
        # an older run may have noted a path that is no UTF-8: what stands for its bytes is spelt as JSON spells it
        partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), "utf-8", "backslashreplace")
    return len(adapters)


def _without_owner(request: dict[str, Any]) -> dict[str, Any]:
    """Which process did it is nobody else's business."""
    return {name: value for name, value in request.items() if name != "owner"}


def _coverage(adapter: StoredAdapter) -> dict[str, Any]:
    matched, total = adapter.facts.modules_matched, adapter.facts.modules_total
    return {} if total is None else {"modules_matched": matched, "modules_total": total}
