"""What all requests share: library connections, searchers, cached answers and the work queue."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, final

import fastapi
from fastapi import Depends

from lorascope.library import Library, StoredAdapter, StoredProtocol
from lorascope.search import Answer, Example, Hit, Request, Searcher
from lorascope.server.analyses import Analyses, Checkup, Words
from lorascope.server.encoders import Encoders
from lorascope.server.folders import Folders
from lorascope.server.job_pipe import Start
from lorascope.server.jobs import ModelConfig
from lorascope.server.map_data import MapData, draw_map
from lorascope.server.pictures import QueryPictures
from lorascope.server.problems import Problem
from lorascope.server.readiness import chosen_preset
from lorascope.server.settings import ServerSettings
from lorascope.server.tries import TryRequest
from lorascope.server.work_queue import WorkQueue

_CACHED_HITS = 5000
"""The most hits in all cached answers together, about 15 kB each."""
_MOST_PHRASES = 16
_GRACE = 30.0
"""Seconds to wait for a run's current block when the server stops. Only that block is lost if it takes longer."""


@dataclass(frozen=True)
class Overview:
    """What the library holds: the adapters of the active Protocol, the Protocols, and the choices of the filters.

    ``lineages`` holds ``architecture/lineage`` of each adapter that claims one, by its key.
    """

    adapters: int
    protocols: tuple[StoredProtocol, ...]
    families: tuple[str, ...]
    folders: tuple[str, ...]
    lineages: Mapping[str, str]
    refused: int

    @property
    def empty(self) -> bool:
        """Whether nothing can be searched yet."""
        return self.adapters == 0


@dataclass(frozen=True)
class CachedAnswer:
    """An answer that is kept until the library changes, with its encoded bytes by kind."""

    answer: Answer
    encoded: dict[str, bytes] = field(default_factory=dict[str, bytes], repr=False, compare=False)

    @property
    def hits(self) -> int:
        """How many hits it holds."""
        return len(self.answer.hits) + len(self.answer.hidden)


@final
class SharedState:
    """One library, shared by many threads. ``ending`` returns whether the server is about to stop."""

    def __init__(self, settings: ServerSettings, encoders: Encoders, start: Start) -> None:
        """Open the library, or create it; ``start`` starts the worker when there is work.

        Raises:
            LibraryError: it cannot be opened or created.
        """
        self.settings = settings
        self._encoders = encoders
        self._pictures = QueryPictures(encoders)
        self._folders = Folders(settings.folders)
        self._free: list[Library] = [Library(settings.library, create=True)]
        self._lock = threading.RLock()
        self._version = -1
        self._protocols: tuple[StoredProtocol, ...] = ()
        self._searchers: dict[str, Searcher] = {}
        self._answers: OrderedDict[tuple[str, Request], CachedAnswer] = OrderedDict()
        self._cached_hits = 0
        self._maps: dict[str, MapData] = {}
        self._overview: Overview | None = None
        self.work = WorkQueue(_plan(settings), settings.folders, self.library, start)
        self.tries = self.work.tries
        self.analyses = Analyses(self.library, self.searcher)
        self.ending: Callable[[], bool] = lambda: False

    @contextmanager
    def library(self) -> Generator[Library]:
        """Lends a connection to this thread until the end of the block."""
        with self._lock:
            library = self._free.pop() if self._free else None
        library = library or Library(self.settings.library)
        try:
            yield library
        finally:
            with self._lock:
                self._free.append(library)

    def close(self) -> None:
        """Pause the work so that it can be resumed, and close every connection."""
        self.work.close(_GRACE)
        self.analyses.close()
        self._encoders.close()
        with self._lock:
            while self._free:
                self._free.pop().close()

    def protocols(self, library: Library) -> tuple[StoredProtocol, ...]:
        """Every Protocol, the active one first. If the library has changed, the caches are emptied."""
        version = library.version()
        with self._lock:
            if version != self._version:
                self._protocols = tuple(library.protocols.all())
                self._searchers.clear()
                self._answers.clear()
                self._cached_hits = 0
                self._maps.clear()
                self._overview = None
                self._folders.forget()
                self._version = version
            return self._protocols

    def protocol(self, library: Library, name: str = "") -> StoredProtocol:
        """A Protocol that has signatures, by name, digest or both; the active one if "".

        Raises:
            Problem: there is none.
        """
        known = [stored for stored in self.protocols(library) if stored.adapters]
        if not known:
            raise Problem(
                409, "empty-library", f"{self.settings.library} holds no signatures yet",
                "index a folder on the work page, or run `lorascope index FOLDER`",
            )  # fmt: skip
        return named_protocol(known, name)

    def searcher(self, library: Library, protocol: str = "") -> Searcher:
        """A searcher over one Protocol that reads from this connection; matrix and encoder are shared.

        Raises:
            Problem: no such Protocol, or nothing is measured yet.
        """
        stored = self.protocol(library, protocol)
        with self._lock:
            base = self._searchers.get(stored.protocol.digest)
            if base is None:
                base = Searcher(
                    library,
                    protocol=stored.protocol.digest,
                    query_encoder=self._encoders.queries,
                    picture_encoder=self._pictures.get,
                )
                _ = base.matrix.keys  # read now, while this thread holds the connection
                self._searchers[stored.protocol.digest] = base
        return base.bound_to(library)

    def search(self, request: Request, protocol: str = "") -> CachedAnswer:
        """Answer under one Protocol, from the cache if nothing has changed since.

        Raises:
            Problem: the request names an adapter, Protocol or picture that does not exist.
            LorascopeError: the query cannot be read, or its encoder is not on this disk.
        """
        with self.library() as library:
            self.protocols(library)
            with self._lock:
                answer, version = self._answers.get((protocol, request)), self._version
                if answer is not None:
                    self._answers.move_to_end((protocol, request))
                    return answer
            searcher = self.searcher(library, protocol)
            _check(request, searcher)
            answer = CachedAnswer(searcher.search(request))
        with self._lock:
            if version == self._version:
                self._answers[protocol, request] = answer
                self._cached_hits += answer.hits
                while self._cached_hits > _CACHED_HITS:
                    self._cached_hits -= self._answers.popitem(last=False)[1].hits
        return answer

    def remembered(self, request: Request, protocol: str = "") -> CachedAnswer | None:
        """The cached answer, if nothing has changed since; None where finding out would take time.

        It neither waits for another thread nor opens a library, so it may be called on the event loop.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if not self._free:
                return None
            with self.library() as library:
                self.protocols(library)
            answer = self._answers.get((protocol, request))
            if answer is not None:
                self._answers.move_to_end((protocol, request))
            return answer
        finally:
            self._lock.release()

    def add_picture(self, data: bytes, protocol: str = "") -> str:
        """Embed a picture to search by; returns the id by which a request names it.

        Raises:
            Problem: nothing is measured yet.
            LorascopeError: it is no picture, or the encoder is not on this disk.
        """
        with self.library() as library:
            return self._pictures.add(library, self.protocol(library, protocol), data)

    def map(self, protocol: str = "") -> MapData:
        """Every adapter of a Protocol in columns; drawn once until the library changes.

        Raises:
            Problem: no such Protocol, or nothing is measured yet.
        """
        with self.library() as library:
            searcher = self.searcher(library, protocol)
            digest = searcher.stored.protocol.digest
            with self._lock:
                found, version = self._maps.get(digest), self._version
            if found is None:
                found = draw_map(library, searcher)
                with self._lock:
                    if version == self._version:
                        self._maps[digest] = found
            return found

    def start_try(self, asked: TryRequest) -> dict[str, Any]:
        """Render a prompt without and with some adapters, ahead of every run.

        Raises:
            Problem: there is no such adapter, a value does not fit, or too many tries are waiting.
        """
        with self.library() as library:
            names = {key: known_adapter(library, key).name for key in asked.adapters}
            asked.check()
            preset = chosen_preset(library, self.settings.preset) if asked.negative_prompt else None
        if preset is not None and preset.guidance <= 1:
            problem = f"negative_prompt is {asked.negative_prompt!r:.60}, which does nothing at a guidance of"
            remedy = f"leave it out: the preset {preset.name} draws without guidance"
            raise Problem(422, "bad-value", f"{problem} {preset.guidance:g}", remedy, "negative_prompt")
        return self.tries.start(asked, names)

    def folders(self) -> list[dict[str, Any]]:
        """The folders that may be indexed, with their counts of files: known, left out and new."""
        with self.library() as library:
            self.protocols(library)
            return self._folders.count(library)

    def serve_folders(self, folders: Sequence[Path]) -> None:
        """Let the page index folders, where none was named at start."""
        self.settings = replace(self.settings, folders=tuple(folders))
        self._folders = Folders(self.settings.folders)
        self.work.serve_folders(_plan(self.settings))

    def overview(self) -> Overview:
        """What the library holds, cached until it changes."""
        with self.library() as library:
            protocols = tuple(stored for stored in self.protocols(library) if stored.adapters)
            with self._lock:
                found, version = self._overview, self._version
            if found is None:
                matrix = self.searcher(library).matrix if protocols else None
                labels = list(zip(matrix.keys, matrix.families, strict=True)) if matrix else []
                folders = sorted({path.rpartition(os.sep)[0] or os.sep for path in library.adapters.stamps()})
                claims = library.adapters.claimed("lineage")
                families = sorted({family for _, family in labels})
                kinds = {key: f"{family}/{claims[key]}" for key, family in labels if key in claims}
                count, refused = protocols[0].adapters if protocols else 0, len(library.refusals.all())
                found = Overview(count, protocols, tuple(families), tuple(folders), kinds, refused)
                with self._lock:
                    if version == self._version:
                        self._overview = found
            return found

    def words(self, protocol: StoredProtocol) -> Words:
        """What the adapters of a Protocol do in words, as far as it is known yet."""
        return self.analyses.vocabulary(protocol.protocol.digest)

    def checkup(self, protocol: StoredProtocol, *, wait: bool = False) -> Checkup | None:
        """What a person should know of the adapters of a Protocol; None while it is worked out, unless one waits."""
        return self.analyses.checkup(protocol.protocol.digest, wait=wait)

    def neighbours(self, key: str, protocol: str = "", top: int = 8) -> tuple[tuple[Hit, ...], tuple[Hit, ...]]:
        """The adapters with the most similar and with the most opposite effect; none is hidden.

        Every score is the cosine with the adapter itself, so the lowest of the opposite ones comes first.

        Raises:
            Problem: the adapter has no signature under this Protocol.
        """
        nearest, opposite = (
            self.search(Request(adapters=(example,), everything=True, hidden=False, limit=top), protocol)
            for example in (Example(key), Example(key, -1.0))
        )
        # these are the scores with the negated Direction
        return nearest.answer.hits, tuple(replace(hit, score=-hit.score) for hit in opposite.answer.hits)


def _plan(settings: ServerSettings) -> ModelConfig:
    return ModelConfig(settings.library, settings.folders, settings.preset, settings.device, settings.download)


def _check(request: Request, searcher: Searcher) -> None:
    """Refuse unknown adapters, and too many phrases: each takes time to encode while others wait."""
    phrases = len(request.query.terms)
    if phrases > _MOST_PHRASES:
        raise Problem(422, "bad-value", f"the query has {phrases} phrases", f"use at most {_MOST_PHRASES}", "q")
    for example in request.adapters:
        if searcher.row(example.name) is None:
            name = f"{example.name[:80]!r} has no signature under {searcher.stored.protocol}"
            lists = "more" if example.weight > 0 else "less"
            raise Problem(404, "unknown-adapter", name, "take a key from /api/v1/adapters, or index it first", lists)


def named_protocol(known: Sequence[StoredProtocol], name: str) -> StoredProtocol:
    """One of some Protocols by name, digest or both; the first if no name is given.

    Raises:
        Problem: none of them, or more than one, has this name.
    """
    found = [stored for stored in known if stored.goes_by(name)] if name else known[:1]
    if len(found) != 1:
        problem = "several Protocols are" if found else "no Protocol is"
        names = ", ".join(str(stored.protocol) for stored in found or known)
        raise Problem(404, "unknown-protocol", f"{problem} called {name[:80]!r}", f"choose one of {names}", "protocol")
    return found[0]


def known_adapter(library: Library, key: str) -> StoredAdapter:
    """An adapter by its whole key.

    Raises:
        Problem: the library has none of that key.
    """
    found = library.adapters.get([key]).get(key)
    if found is None:
        raise Problem(404, "unknown-adapter", f"there is no adapter {key[:80]!r}", "take a key from /api/v1/adapters")
    return found


async def _state(request: fastapi.Request) -> SharedState:
    return request.app.state.lorascope


StateOf = Annotated[SharedState, Depends(_state)]
"""An argument of an endpoint: the state of its application."""
