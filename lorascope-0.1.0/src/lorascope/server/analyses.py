"""Questions about all adapters of a library, answered in the background and kept until the library changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FuturesTimeout
from contextlib import AbstractContextManager
from typing import Any, Literal, final

from lorascope.analysis import Duplicates, Finding, describe, duplicates, health
from lorascope.library import Library
from lorascope.search import Searcher
from lorascope.server.problems import Problem

_PATIENCE = 20.0
"""Seconds that a request waits for an analysis; the analysis goes on."""
Kind = Literal["words", "findings", "duplicates"]
Words = dict[str, tuple[str, ...]]
Findings = dict[str, list[Finding]]


@final
class Analyses:
    """Describes adapters, looks at their health and finds copies, one question at a time in a thread of its own."""

    def __init__(
        self, libraries: Callable[[], AbstractContextManager[Library]], searcher: Callable[[Library, str], Searcher]
    ) -> None:
        """Compute nothing yet.

        Args:
            libraries: context managers that lend a Library.
            searcher: makes a searcher over one Protocol, by its digest.
        """
        self._libraries = libraries
        self._searcher = searcher
        self._thread = ThreadPoolExecutor(1, "lorascope-analysis")
        self._lock = threading.Lock()
        self._latest: dict[tuple[Kind, str], tuple[int, Any]] = {}
        self._running: dict[tuple[Kind, str], Future[Any]] = {}

    def close(self) -> None:
        """Cancel what is waiting."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def words(self, protocol: str) -> Words:
        """What every adapter does, in phrases by its key.

        Raises:
            Problem: it takes long; ask again.
            LibraryError: the library holds too few adapters for it.
        """
        return self._ask("words", protocol)

    def duplicates(self, protocol: str) -> Duplicates:
        """Which adapters are copies.

        Raises:
            Problem: it takes long; ask again.
        """
        return self._ask("duplicates", protocol)

    def known(self, protocol: str) -> tuple[Words | None, Findings | None]:
        """Words and findings as far as they are known now; what is missing or old is computed for later requests."""
        for kind in ("words", "findings"):
            self._begin(kind, protocol)
        with self._lock:
            words, findings = (self._latest.get((kind, protocol), (0, None))[1] for kind in ("words", "findings"))
        return words, findings

    def _ask(self, kind: Kind, protocol: str) -> Any:
        begun = self._begin(kind, protocol)
        try:
            return begun.result(_PATIENCE) if begun is not None else self._latest[kind, protocol][1]
        except FuturesTimeout as error:
            problem = f"the {kind} of this library are still being computed"
            raise Problem(503, "busy", problem, "ask again in a moment", wait=10) from error

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
            if kind == "words":
                described = describe(self._searcher(library, protocol))
                found = {one.key: tuple(word.phrase for word in one.words) for one in described}
            elif kind == "duplicates":
                found = duplicates(library, protocol)
            else:
                found = {}
                for finding in health(library, protocol):
                    found.setdefault(finding.key, []).append(finding)
        with self._lock:
            self._latest[kind, protocol] = version, found
        return found
