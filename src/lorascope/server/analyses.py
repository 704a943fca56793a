"""Questions about all adapters of a library, answered in the background and kept until the library changes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FuturesTimeout
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, final

from lorascope.analysis import Describer, Duplicates, Finding, audit, duplicates, health
from lorascope.errors import LorascopeError
from lorascope.library import Library
from lorascope.search import Searcher
from lorascope.server.problems import Problem

_PATIENCE = 20.0
"""Seconds that a request waits for an analysis; the analysis continues."""
_GLANCE = 1.0
"""Seconds that a page waits for what it can do without."""
Kind = Literal["words", "findings", "duplicates", "claims"]
Findings = dict[str, list[Finding]]


@dataclass(frozen=True)
class Words:
    """The words of each adapter by its key, and how many adapters have each, the most first.

    ``problem`` says why there are none; ``describer`` finds words in which two adapters differ.
    """

    of: Mapping[str, tuple[str, ...]]
    counts: tuple[tuple[str, int], ...] = ()
    describer: Describer | None = None
    problem: LorascopeError | Problem | None = None

    @property
    def pending(self) -> bool:
        """Whether they are not known yet, but will be."""
        return self.describer is None and self.problem is None and not self.of

    def having(self, phrase: str) -> frozenset[str]:
        """The keys of the adapters that a phrase describes."""
        return frozenset(key for key, words in self.of.items() if phrase in words)


@dataclass(frozen=True)
class Checkup:
    """What a person should know of the adapters of a library, copies among them."""

    findings: tuple[Finding, ...]

    def flagged(self, flag: str) -> frozenset[str]:
        """The keys of the adapters that have a flag."""
        return frozenset(one.key for one in self.findings if one.flag == flag)


@final
class Analyses:
    """Describes adapters, looks at their health and finds copies, one question at a time in a thread of its own."""

    def __init__(
        self, libraries: Callable[[], AbstractContextManager[Library]], searcher: Callable[[Library, str], Searcher]
    ) -> None:
        """Compute nothing yet."""
        self._libraries = libraries
        self._searcher = searcher
        self._thread = ThreadPoolExecutor(1, "lorascope-analysis")
        self._lock = threading.Lock()
        self._latest: dict[tuple[Kind, str], tuple[int, Any]] = {}
        self._running: dict[tuple[Kind, str], Future[Any]] = {}

    def close(self) -> None:
        """Cancel what is waiting."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def words(self, protocol: str) -> Mapping[str, tuple[str, ...]]:
        """What every adapter does, in phrases by its key.

        Raises:
            Problem: it takes long; ask again.
            LibraryError: the library holds too few adapters for it.
            ModelError: the encoder is not on this disk.
        """
        found: Words = self._ask("words", protocol)
        if found.problem is not None:
            raise found.problem
        return found.of

    def vocabulary(self, protocol: str) -> Words:
        """Words as far as they are known now; those of the library before while newer ones are computed."""
        return self._soon("words", protocol) or Words({})

    def duplicates(self, protocol: str) -> Duplicates:
        """Which adapters are copies.

        Raises:
            Problem: it takes long; ask again.
        """
        return self._ask("duplicates", protocol)

    def checkup(self, protocol: str, *, wait: bool = False) -> Checkup | None:
        """All findings as far as they are known now; None as long as none are. Claims take longest, and come later.

        Raises:
            Problem: it was to be waited for, and takes long.
        """
        look = self._ask if wait else self._soon
        findings, copies = look("findings", protocol), look("duplicates", protocol)
        if findings is None or copies is None:
            return None
        self._begin("claims", protocol)
        claims: tuple[Finding, ...] = self._kept("claims", protocol) or ()
        return Checkup((*(one for several in findings.values() for one in several), *copies.findings, *claims))

    def known(self, protocol: str) -> tuple[Mapping[str, tuple[str, ...]] | None, Findings | None]:
        """Words and findings as far as they are known now; what is missing or old is computed for later requests."""
        for kind in ("words", "findings"):
            self._begin(kind, protocol)
        words, findings = self._kept("words", protocol), self._kept("findings", protocol)
        return words.of if words is not None and words.problem is None else None, findings

    def _ask(self, kind: Kind, protocol: str) -> Any:
        begun = self._begin(kind, protocol)
        try:
            return begun.result(_PATIENCE) if begun is not None else self._kept(kind, protocol)
        except FuturesTimeout as error:
            problem = f"the {kind} of this library are still being computed"
            raise Problem(503, "busy", problem, "ask again in a moment", wait=10) from error

    def _soon(self, kind: Kind, protocol: str) -> Any:
        """An answer, perhaps that of the library before; None if there is none after a glance."""
        begun, kept = self._begin(kind, protocol), self._kept(kind, protocol)
        if begun is None or kept is not None:
            return kept
        try:
            return begun.result(_GLANCE)
        except FuturesTimeout:
            return None

    def _kept(self, kind: Kind, protocol: str) -> Any:
        with self._lock:
            return self._latest.get((kind, protocol), (0, None))[1]

    def _begin(self, kind: Kind, protocol: str) -> Future[Any] | None:
        """Start an analysis, unless it runs already; None if the present answer is up to date."""
        with self._libraries() as library:
            version = library.version()
        question = kind, protocol
        with self._lock:
            if self._latest.get(question, (-1, None))[0] == version:
                return None
            running = self._running.get(question)
            if running is None or running.done():
                running = self._running[question] = self._thread.submit(self._compute, kind, protocol, version)
            return running

    def _compute(self, kind: Kind, protocol: str, version: int) -> Any:
        with self._libraries() as library:
            found: Any
            if kind == "words":
                found = self._describe(library, protocol)
            elif kind == "duplicates":
                found = duplicates(library, protocol)
            elif kind == "claims":
                found = self._audit(library, protocol)
            else:
                found = {}
                for finding in health(library, protocol):
                    found.setdefault(finding.key, []).append(finding)
        with self._lock:
            self._latest[kind, protocol] = version, found
        return found

    def _audit(self, library: Library, protocol: str) -> tuple[Finding, ...]:
        try:
            return tuple(one for found in audit(self._searcher(library, protocol)) for one in found.findings)
        except (LorascopeError, Problem):  # too few adapters, or no encoder on this disk
            return ()

    def _describe(self, library: Library, protocol: str) -> Words:
        try:
            searcher = self._searcher(library, protocol)
            describer = Describer(searcher)
        except (LorascopeError, Problem) as error:  # too few adapters, or no encoder on this disk
            return Words({}, problem=error)
        keys = searcher.matrix.keys
        named = zip(keys, describer.words(range(len(keys))), strict=True)
        of = {key: tuple(word.phrase for word in words) for key, words in named}
        return Words(of, tuple(Counter(phrase for words in of.values() for phrase in words).most_common()), describer)
