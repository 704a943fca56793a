"""Searching as the command line does it: options become filters, answers are printed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorascope.caches import Note
from lorascope.cli.output import err, out, print_answer, print_json
from lorascope.encoders.encoding import ENCODINGS, Encoding, Shifts
from lorascope.errors import QueryError
from lorascope.library import Library, StoredProtocol
from lorascope.protocol import Thresholds, borrowed_thresholds
from lorascope.report.plain import plain_answer
from lorascope.search import Answer, Filters, Searcher, load_query_encoder

Lane = tuple[Searcher, Answer]


@dataclass(frozen=True)
class Narrowing:
    """Which adapters may appear, as the options say it. A threshold that is None is the Protocol's."""

    max_strength: float | None
    min_consistency: float | None
    everything: bool
    family: str
    folder: str

    @property
    def of_some(self) -> bool:
        """Whether only adapters of a family or a folder may appear."""
        return bool(self.family or self.folder)

    def filters(self, searcher: Searcher) -> Filters:
        """The same for one Protocol."""
        usual = Thresholds() if self.everything else searcher.thresholds
        return Filters(usual.but(self.max_strength, self.min_consistency), self.family, self.folder)


def by_words(
    library: Library,
    protocol: str,
    query: str,
    *,
    encoding: str,
    top: int,
    narrowing: Narrowing,
    download: bool,
    note: Note,
) -> Lane:
    """Search under one Protocol in words; the encoder may be fetched, if asked."""
    way = _known_encoding(encoding)

    def encoder(stored: StoredProtocol) -> Shifts:
        return load_query_encoder(stored, download=download, note=note)

    searcher = Searcher(library, protocol=protocol, query_encoder=encoder, note=note)
    if not searcher.ready:
        searcher.prepare()
    return searcher, searcher.text(query, top=top, filters=narrowing.filters(searcher), encoding=way)


def by_picture(
    library: Library, protocol: str, path: Path, *, top: int, narrowing: Narrowing, download: bool, note: Note
) -> Lane:
    """Search under one Protocol by a picture file."""
    from lorascope.encoders.pictures import embed_picture

    searcher = Searcher(library, protocol=protocol, note=note)
    embedding = embed_picture(path, searcher.stored.protocol.encoder, download=download)
    return searcher, searcher.image(embedding, top=top, filters=narrowing.filters(searcher))


def _known_encoding(name: str) -> Encoding:
    """Check the name of a query encoding."""
    if name not in ENCODINGS:
        raise QueryError(f"no query encoding {name!r}: use one of {', '.join(ENCODINGS)}")
    return name


def _borrowed(searcher: Searcher) -> str:
    return borrowed_thresholds(searcher.stored.protocol, searcher.thresholds)


def present(
    library: Library, lanes: list[Lane], narrowing: Narrowing, *, hidden: bool, sheet: Path | None, as_json: bool
) -> None:
    """Write the sheet of answers, if asked, and print them. In this order, so that JSON is one document or none."""
    path = None
    if sheet is not None:
        from lorascope.report.sheet import write_sheet

        path = write_sheet(sheet, [answer for _, answer in lanes], library)
    if as_json:
        answers = [plain_answer(answer) for _, answer in lanes]
        print_json(answers[0] if len(answers) == 1 else answers)
        return
    for searcher, answer in lanes:
        print_answer(answer, searcher.thresholds, show_hidden=hidden, narrowed=narrowing.of_some)
        if (answer.too_strong or answer.too_unstable) and (note := _borrowed(searcher)):
            err.print(note, style="yellow", highlight=False, markup=False)
    if path is not None:
        out.print(f"Pictures: {path.as_uri()}", soft_wrap=True)
