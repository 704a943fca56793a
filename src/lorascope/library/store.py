"""The Library: signatures, adapters, previews, refusals and runs in one SQLite file, the evidence in a second."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

from lorascope.errors import LibraryError
from lorascope.library.adapters import Adapters
from lorascope.library.curves import Curves
from lorascope.library.database import Database, resolved
from lorascope.library.evidence import Evidence
from lorascope.library.leases import Leases
from lorascope.library.marks import Marks
from lorascope.library.previews import Previews
from lorascope.library.protocols import Protocols
from lorascope.library.refusals import Refusals
from lorascope.library.runs import Runs
from lorascope.library.schema import LIBRARY, REVISE
from lorascope.library.signatures import Signatures
from lorascope.library.vectors import PhraseVectors, Pictures
from lorascope.models import data_dir


def default_path() -> Path:
    """The library that is used when no other is given."""
    return data_dir() / "library.db"


@final
class Library:
    """The durable store. One per file and thread; several processes may use one file at once.

    Examples:
        >>> with Library("new.db", create=True) as new:
        ...     len(new.adapters.all())
        0
    """

    def __init__(self, path: str | Path | None = None, *, create: bool = False) -> None:
        """Open a library.

        Args:
            path: its file; the default one if None.
            create: make it if it does not exist.

        Raises:
            LibraryError: it does not exist, cannot be opened, or is something else.
        """
        self.path = Path(path) if path is not None else default_path()
        self._db = Database(self.path, LIBRARY, create=create)
        self._evidence: Evidence | None = None
        self.protocols = Protocols(self._db)
        self.adapters = Adapters(self._db)
        self.signatures = Signatures(self._db, self.adapters.labels)
        self.curves = Curves(self._db)
        self.marks = Marks(self._db)
        self.previews = Previews(self._db)
        self.phrases = PhraseVectors(self._db)
        self.pictures = Pictures(self._db)
        self.runs = Runs(self._db)
        self.refusals = Refusals(self._db)
        self.leases = Leases(self._db)

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both files."""
        if self._evidence is not None:
            self._evidence.close()
        self._db.close()

    def companion(self, kind: str) -> Path:
        """The path of a companion of a kind: beside the file itself, whatever links lead to it."""
        place = resolved(self.path)
        return place.with_name(f"{place.stem}.{kind}{place.suffix}")

    @property
    def evidence_path(self) -> Path:
        """The path of the companion with the evidence."""
        return self.companion("evidence")

    @property
    def evidence(self) -> Evidence:
        """The companion, opened at first use."""
        if self._evidence is None:
            self._evidence = Evidence(self.evidence_path)
        return self._evidence

    @property
    def has_evidence(self) -> bool:
        """Whether a companion exists; a library without one can be searched, not refined."""
        return self.evidence_path.exists()

    def version(self) -> int:
        """A number that grows whenever Protocols, signatures, or facts and paths of adapters change."""
        row = self._db.row("SELECT number FROM revisions")
        return row[0] if row else 0

    def remove(self, key: str) -> None:
        """Forget an adapter: its signatures, previews and evidence. The file on disk is not touched.

        Raises:
            LibraryError: a process is measuring it, or it is not in the library.
        """
        with self._db.transaction() as db:
            if holder := self.leases.holder(key):
                host, process, _ = f"{holder}::".split(":", 2)
                raise LibraryError(
                    f"{self.path}: process {process} on {host} is measuring {key}. Wait for it, or stop it"
                )
            db.execute(REVISE)
            db.execute("DELETE FROM previews WHERE adapter = ?", (key,))
            if not db.execute("DELETE FROM adapters WHERE key = ?", (key,)).rowcount:
                raise LibraryError(f"{self.path} has no adapter {key} any more: another process removed it")
            if self.has_evidence:  # within the transaction: where one of the files refuses, neither is changed
                self.evidence.remove(key)

    @property
    def databases(self) -> tuple[Database, ...]:
        """The files that there are."""
        return (self._db, self.evidence.database) if self.has_evidence else (self._db,)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All that is written within, into both files, is kept, or none of it."""
        with self._db.transaction(), self.evidence.transaction() if self.has_evidence else nullcontext():
            yield


@contextmanager
def library_if_any(path: Path | None) -> Generator[Library]:
    """A library to look something up in; where there is none yet, an empty one for as long as it takes."""
    with ExitStack() as opening:
        if not (path or default_path()).exists():
            path = Path(opening.enter_context(TemporaryDirectory())) / "library.db"
        yield opening.enter_context(Library(path, create=True))
