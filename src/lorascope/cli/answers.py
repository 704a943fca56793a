"""Answers of a search under one or several Protocols."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from jaxtyping import Float32
from numpy import ndarray

from lorascope.cli.hints import command
from lorascope.cli.output import err, harmless, out, print_answer, print_json
from lorascope.cli.progress import CacheProgress
from lorascope.encoders.encoding import Shifts
from lorascope.errors import QueryError, printable
from lorascope.library import Library, StoredProtocol
from lorascope.protocol import borrowed_thresholds
from lorascope.report.plain import plain_answer
from lorascope.search import Answer, Request, Searcher, load_query_encoder
from lorascope.search.phrases import check_encoder

_LONG = 100
"""Characters of a phrase from which it is checked whether its end is read."""


def ask(
    library: Library, protocols: Sequence[str], request: Request, *, location: str = "", download: bool = False
) -> list[Answer]:
    """Search under each of some Protocols.

    Args:
        library: what is searched.
        protocols: names or digests of Protocols.
        request: what is asked.
        location: where the encoder is now, instead of where it was when the library was measured.
        download: fetch encoders that are not on this disk.

    Raises:
        LibraryError: the encoder is another one than the signatures were measured with.
        QueryError: the library has no adapter of that family or in that folder.
    """

    def embed(_: Library, stored: StoredProtocol, name: str) -> Float32[ndarray, " d"]:
        from lorascope.encoders.load import load_picture_encoder
        from lorascope.encoders.pictures import embed_picture

        encoder = load_picture_encoder(location or stored.protocol.encoder, download=download)
        check_encoder(stored.protocol, encoder.digest, location or stored.protocol.encoder)
        return embed_picture(Path(name), encoder)

    _check_filters(library, request)
    with CacheProgress() as progress:

        def encoder(stored: StoredProtocol) -> Shifts:
            return load_query_encoder(stored, location=location, download=download, note=progress.note)

        answers: list[Answer] = []
        for protocol in protocols:
            searcher = Searcher(
                library, protocol=protocol, query_encoder=encoder, picture_encoder=embed, note=progress.note,
            )  # fmt: skip
            if request.words and not searcher.ready:
                searcher.prepare()
            answers.append(searcher.search(request))
            _note_cut_words(request, partial(encoder, searcher.stored))
    return answers


def _note_cut_words(request: Request, load: Callable[[], Shifts]) -> None:
    """Say so where an encoder does not read a phrase to its end. It is loaded for long ones only."""
    from lorascope.encoders.suffix import QueryEncoder

    for term in request.query.terms:
        if len(term.text) > _LONG and isinstance(loaded := load(), QueryEncoder) and not loaded.reads(term.text):
            start = f"{term.text[:40]}..."
            note = f"the end of {start!r} is not read: it is longer than what the encoder reads. Say it in fewer words"
            err.print(harmless(note), style="yellow", soft_wrap=True, markup=False, highlight=False)


@contextmanager
def ready_searcher(library: Library, protocol: str, *, download: bool) -> Generator[Searcher]:
    """A searcher that shows how far it is with what it has to encode."""
    with CacheProgress() as progress:
        yield Searcher(
            library,
            protocol=protocol,
            query_encoder=lambda stored: load_query_encoder(stored, download=download, note=progress.note),
            note=progress.note,
        )


def _check_filters(library: Library, request: Request) -> None:
    folder = Path(request.folder) if request.folder else None
    if (request.family or folder) and not len(library.adapters.members(request.family, folder)):
        options = (("--family", request.family), ("--folder", request.folder))
        named = " and ".join(f"{option} {printable(value)}" for option, value in options if value)
        families = ", ".join(sorted({one.family for one in library.adapters.all().values()}))
        shows = command("list", library=library.path)
        raise QueryError(f"{library.path} has no adapter of {named} (its families: {families}): `{shows}` lists all")


def present(library: Library, answers: list[Answer], *, hidden: bool, sheet: Path | None, as_json: bool) -> None:
    """Write the sheet of answers, if asked, and print them. In this order, so that JSON is one document or none."""
    path = None
    if sheet is not None:
        from lorascope.report.sheet import write_sheet

        path = write_sheet(sheet, answers, library)
    if as_json:
        print_json({"answers": [plain_answer(answer) for answer in answers]})
        return
    for answer in answers:
        usual = answer.stored.preset.thresholds
        print_answer(answer, library.path, show_hidden=hidden)
        if answer.left_out and (note := borrowed_thresholds(answer.stored.protocol, usual)):
            err.print(note, style="yellow", highlight=False, markup=False)
    if path is not None:
        out.print(f"Pictures: {path.as_uri()}", soft_wrap=True)
