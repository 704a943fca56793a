"""Taking signatures of a pack over into a library, where none of what is known here is replaced in silence."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from lorascope.adapters import read_adapter, scan, sha256
from lorascope.errors import AdapterError, LibraryError, place_of
from lorascope.library import Library, StoredAdapter, StoredSignature
from lorascope.library.facts import AdapterFacts
from lorascope.library.published import PublishedRow
from lorascope.library.vectors import PhraseVector
from lorascope.measure.queue import known_key
from lorascope.packs import directory
from lorascope.packs.agreement import Disagreement, disagreement
from lorascope.packs.reader import SIGNATURES, PackReader

_WHOLE = 2**22
"""Bytes up to which signatures are fetched whole: the host learns less, and it costs little."""
Files = Mapping[str, Sequence[Path]]
"""The adapter files of this disk, by key: ``sha256:`` and their SHA-256."""


@dataclass
class Intake:
    """What a pull brought.

    Attributes:
        source: The pack.
        signed_by: The key that signed it, if that was asked for.
        read: How many signatures were read.
        here: How many were taken over for files of this disk.
        elsewhere: How many for files that are not here.
        same: How many adapters have a signature here already that agrees.
        reworded: How many were measured with other trigger words here, and left as they are.
        disagreements: Signatures that contradict those that are kept here. Neither was replaced.
    """

    source: str
    signed_by: str = ""
    read: int = 0
    here: int = 0
    elsewhere: int = 0
    same: int = 0
    reworded: int = 0
    disagreements: list[Disagreement] = field(default_factory=list[Disagreement])


def files_here(
    folders: Iterable[Path], library: Library, tell: Callable[[int], None] = lambda count: None
) -> dict[str, list[Path]]:
    """The adapter files under some folders by key. Those that the library knows by size and time are not read again."""
    stamps, found = library.adapters.stamps(), dict[str, list[Path]]()
    for count, path in enumerate(scan(folders, lambda error: None), 1):
        tell(count)
        try:
            key = known_key(path, stamps) or f"sha256:{sha256(path)}"
        except AdapterError:
            continue  # index says what is wrong with it
        found.setdefault(key, []).append(path)
    for place, (key, _, _) in stamps.items():
        path = Path(place)
        if path not in found.get(key, ()) and known_key(path, stamps):
            found.setdefault(key, []).append(path)
    return found


def pull(pack: PackReader, library: Library, files: Files, *, everything: bool = False) -> Intake:
    """Take over signatures: of the files that are here, or all of them. Idempotent.

    They are claims, as no evidence comes with them: they never replace what was measured here, and measuring replaces
    them. Where another signature of the same file is kept already, both are compared, and the one that is kept stays
    if they contradict each other.

    Raises:
        LibraryError: the pack is damaged, or holds what no library would.
    """
    groups = None
    if not everything and pack.size(SIGNATURES) > _WHOLE and pack.has(directory.NAME):
        groups = pack.directory().look_up(files).get(0, [])
    return take(pack, library, files, everything=everything, groups=groups)


def take(
    pack: PackReader, library: Library, files: Files, *, everything: bool = False, groups: Sequence[int] | None = None
) -> Intake:
    """The same from some groups of rows only, those that a directory names.

    Raises:
        LibraryError: the pack is damaged, or holds what no library would.
    """
    intake = Intake(pack.source, pack.signed_by)
    if groups is not None and not groups:
        return intake
    taking = _Taking(pack, library, files, intake)
    signatures = pack.signatures(groups)
    # all is checked before the library is locked
    previews, calibrations = (list(pack.previews()), pack.calibrations()) if groups is None else ([], [])
    phrases = pack.phrases()
    with library.transaction():
        for row in signatures.rows():
            intake.read += 1
            if everything or row.adapter.key in files:
                taking.row(row)
        taking.protocol()
        for calibration in calibrations if taking.taken else ():
            library.protocols.put_calibration(calibration, origin=taking.origin)
        if taking.taken:
            taking.phrases(phrases)
        for scene, key, preview in previews:
            if not key or key in taking.taken:
                library.previews.put(scene, key, [preview])
    return intake


@final
class _Taking:
    """Decides row by row what is taken over."""

    def __init__(self, pack: PackReader, library: Library, files: Files, intake: Intake) -> None:
        self._library, self._files, self._intake = library, files, intake
        self._manifest = pack.manifest
        self._digest, self._scene = pack.manifest.protocol.digest, pack.manifest.protocol.scene
        signer = f" signed by {pack.signed_by}" if pack.signed_by else ""
        self.origin = (
            f"pack {pack.manifest.title!r} {pack.digest[:10]}{signer} ({pack.source}, {time.strftime('%Y-%m-%d')})"
        )
        self._width = library.signatures.width(self._digest)
        self._known = any(stored.protocol.digest == self._digest for stored in library.protocols.all())
        self.taken: set[str] = set()

    def phrases(self, found: Mapping[str, PhraseVector]) -> None:
        """Take over the vectors of common phrases."""
        if any(len(vector) != self._width for vector, _ in found.values()):
            raise LibraryError(f"{self._intake.source}: the vectors of phrases and the Directions differ in length")
        self._library.phrases.put(self._digest, found)

    def row(self, row: PublishedRow) -> None:
        """Take over a signature, or say why not."""
        key, intake, width = row.adapter.key, self._intake, len(row.signature.direction)
        self._width = self._width or width
        if width != self._width:
            raise LibraryError(
                f"{intake.source}: the Direction of {key[:19]} has {width} dimensions, others under its Protocol have"
                f" {self._width}: nothing was taken over"
            )
        mine = self._library.adapters.get([key]).get(key)
        kept = self._library.signatures.get(self._digest, [key]).get(key)
        if mine is not None and self._reworded(mine, row.adapter):
            intake.reworded += 1
        elif kept is None or not (figures := disagreement(kept.signature, row.signature)):
            self._take(row, mine, kept)
        else:
            self._contradict(row, mine or row.adapter, kept, figures)

    def _reworded(self, mine: StoredAdapter, theirs: StoredAdapter) -> bool:
        words = mine.facts.measured_words.get(self._scene)
        return words is not None and words != theirs.facts.measured_words.get(self._scene, words)

    def _take(self, row: PublishedRow, mine: StoredAdapter | None, kept: StoredSignature | None) -> None:
        key, intake, here = row.adapter.key, self._intake, self._files.get(row.adapter.key, ())
        self.protocol()
        self._record(row.adapter, mine, here)
        origin = self.origin + (f", Execution {', '.join(row.executions)}" if row.executions else "")
        self._library.signatures.put(self._digest, row.precision, {key: row.signature}, origin=origin, claimed=True)
        self.taken.add(key)
        intake.same += kept is not None
        intake.here += kept is None and bool(here)
        intake.elsewhere += kept is None and not here

    def _record(self, theirs: StoredAdapter, mine: StoredAdapter | None, here: Sequence[Path]) -> None:
        """Make an adapter known: by its file where that is here, else by what the pack says."""
        words = {**theirs.facts.measured_words, **(mine.facts.measured_words if mine else {})}
        known = mine or theirs
        if here and not (mine and mine.paths):
            adapter = read_adapter(here[0])
            facts = dataclasses.replace(AdapterFacts.of(adapter), read_from=place_of(here[0]))
            known = StoredAdapter(theirs.key, adapter.path.stem, adapter.family, (), facts)
        facts = dataclasses.replace(known.facts, measured_words=words)
        stamps = {place_of(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in here}
        self._library.adapters.add([dataclasses.replace(known, paths=tuple(stamps), facts=facts)], stamps)

    def _contradict(
        self, row: PublishedRow, mine: StoredAdapter, kept: StoredSignature, figures: tuple[str, ...]
    ) -> None:
        """Keep what is here, and say so: to who pulls, and as a note to who looks at the adapter."""
        ours = kept.origin or "measured here"
        found = Disagreement(row.adapter.key, mine.name, ours, self.origin, figures)
        self._intake.disagreements.append(found)
        note = f"measured otherwise elsewhere: {'; '.join(figures)} ({ours} / {self.origin.split(' (')[0]})"
        if note not in mine.facts.notes:
            facts = dataclasses.replace(mine.facts, notes=(*mine.facts.notes, note))
            self._library.adapters.add([dataclasses.replace(mine, paths=(), facts=facts)], {})

    def protocol(self) -> None:
        """Make the Protocol, the Executions and the mean bare embedding known."""
        if self._known:
            return
        self._known, library, manifest = True, self._library, self._manifest
        library.protocols.add(
            manifest.protocol, manifest.preset, origin=self.origin, active=not library.protocols.all()
        )
        for execution in manifest.executions:
            library.protocols.add_execution(execution)
        baseline = manifest.baseline
        if baseline is not None and len(baseline.mean) == (self._width or len(baseline.mean)):
            library.protocols.put_baseline_mean(self._digest, baseline.mean, 0)  # what is measured here replaces it
