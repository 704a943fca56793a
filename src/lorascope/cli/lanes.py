"""Searching as the command line does it: options become filters, answers are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorascope.caches import Note
from lorascope.cli.output import err, out, print_answer, print_json
from lorascope.encoders.encoding import ENCODINGS, Dtype, Encoding, Shifts
from lorascope.errors import QueryError
from lorascope.library import Library, StoredProtocol
from lorascope.protocol import Thresholds, borrowed_thresholds
from lorascope.report.plain import plain_answer
from lorascope.search import Answer, Searcher, load_query_encoder

Lane = tuple[Searcher, Answer]


def open_searcher(
    library: Library, protocol: str, *, download: bool, fast: bool = False, note: Note | None = None
) -> Searcher:
    """A Searcher for text queries, prepared; it may fetch its encoder, if asked."""
    dtype: Dtype = "bfloat16" if fast else "float32"

    def encoder(stored: StoredProtocol) -> Shifts:
        return load_query_encoder(stored, download=download, dtype=dtype, note=note)

    searcher = Searcher(library, protocol=protocol, query_encoder=encoder, dtype=dtype, note=note)
    if not searcher.ready:
        searcher.prepare()
    return searcher


def known_encoding(name: str) -> Encoding:
    """Check the name of a query encoding."""
    if name not in ENCODINGS:
        raise QueryError(f"no query encoding {name!r}: use one of {', '.join(ENCODINGS)}")
    return name


def chosen_thresholds(
    searcher: Searcher, max_strength: float | None, min_consistency: float | None, everything: bool
) -> Thresholds:
    """The Protocol's thresholds, with what the person changed."""
    preset = Thresholds() if everything else searcher.thresholds
    return Thresholds(
        strength_max=preset.strength_max if max_strength is None else max_strength,
        consistency_min=preset.consistency_min if min_consistency is None else min_consistency,
    )


def embedded(searcher: Searcher, path: Path, *, download: bool) -> Any:
    """A picture file as an embedding of the Protocol's encoder."""
    from lorascope.encoders.pictures import embed_picture

    return embed_picture(path, searcher.stored.protocol.encoder, download=download)


def _borrowed(searcher: Searcher) -> str:
    return borrowed_thresholds(searcher.stored.protocol, searcher.thresholds)


def present(library: Library, lanes: list[Lane], *, hidden: bool, sheet: Path | None, as_json: bool) -> None:
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
        print_answer(answer, searcher.thresholds, show_hidden=hidden)
        if (answer.too_strong or answer.too_unstable) and (note := _borrowed(searcher)):
            err.print(note, style="yellow", highlight=False, markup=False)
    if path is not None:
        out.print(f"Pictures: {path.as_uri()}", soft_wrap=True)
