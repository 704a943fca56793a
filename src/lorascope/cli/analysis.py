"""describe, audit, duplicates, health, versions: questions about a library, answered from what was measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorascope.cli import options

if TYPE_CHECKING:
    from lorascope.library import Library
    from lorascope.search import Searcher


Adapters = Annotated[
    list[str] | None, typer.Argument(help="Names, paths or starts of keys of adapters; all by default.")
]


def describe(
    adapters: Adapters = None,
    facet: Annotated[
        str, typer.Option(help="Only adapters that have a word of this facet, such as style, light or subject.")
    ] = "",
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Say in words what adapters do: phrases that stand out against chance, or none."""
    from dataclasses import asdict

    from lorascope.analysis import describe as answer
    from lorascope.analysis.health import hardly_touched
    from lorascope.cli.answers import ready_searcher
    from lorascope.cli.output import print_json, print_table
    from lorascope.library import Library

    with Library(library) as opened, ready_searcher(opened, protocol, download=download) as searcher:
        _check_facet(searcher, facet)
        keys = _keys(opened, adapters)
        _tell_cost(searcher, [])
        described = [
            one for one in answer(searcher, keys) if not facet or any(word.facet == facet for word in one.words)
        ]
        known = opened.signatures.get(searcher.stored.protocol.digest, [one.key for one in described if one.words])
    hardly = {key: [one.category for one in hardly_touched(found.signature)] for key, found in known.items()}
    if as_json:
        rows = [asdict(one) | {"hardly_on": hardly.get(one.key, [])} for one in described]
        print_json({"descriptions": rows})
        return
    table = [
        (one.name, str(one) or "nothing stands out", ", ".join(hardly.get(one.key, ())))
        for one in sorted(described, key=lambda one: one.name)
    ]
    print_table(("adapter", "does", "hardly on"), table)


def _check_facet(searcher: Searcher, facet: str) -> None:
    """Make sure that the vocabulary has a facet; "" is none.

    Raises:
        QueryError: the vocabulary has no such facet.
    """
    from lorascope.errors import QueryError
    from lorascope.grid import PromptSet

    facets = list(dict.fromkeys(PromptSet.load(searcher.stored.preset.vocabulary).categories))
    if facet and facet not in facets:
        raise QueryError(f"there is no facet {facet!r}: use one of {', '.join(facets)}")


def audit(
    adapters: Adapters = None,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Compare what titles, tags and descriptions say with what adapters do; list those that say something else."""
    from collections import Counter
    from dataclasses import asdict

    from lorascope.analysis import audit as answer
    from lorascope.cli.answers import ready_searcher
    from lorascope.cli.output import counted, print_json, print_line, print_table
    from lorascope.library import Library

    with Library(library) as opened, ready_searcher(opened, protocol, download=download) as searcher:
        keys = _keys(opened, adapters)
        _tell_cost(searcher, keys)
        audits = answer(searcher, keys)
    if as_json:
        print_json({"audits": [asdict(one) for one in audits]})
        return
    found = [finding for one in audits for finding in one.findings]
    rows = [(one.name, one.flag, f"{one.seen}. {one.remedy}") for one in sorted(found, key=lambda one: one.name)]
    if rows:
        print_table(("adapter", "flag", "what was seen, and what it does"), rows)
    verdicts = Counter(one.verdict for one in audits)
    line = f"of {counted(len(audits), 'adapter')}, {verdicts['fits']} are what they say"
    line += f"; of {verdicts['unclear']} it is unclear"
    print_line(line, "dim")


def report(
    path: Annotated[Path, typer.Argument(parser=options.output_file, metavar="FILE", help="The .html file to write.")],
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Write one page on a library: pictures, groups in words, copies, health, what nobody needs. No image is made."""
    from lorascope.analysis import report as answer
    from lorascope.cli.answers import ready_searcher
    from lorascope.cli.output import counted, print_json, print_line
    from lorascope.library import Library
    from lorascope.report.library import write_report

    with Library(library) as opened, ready_searcher(opened, protocol, download=download) as searcher:
        _tell_cost(searcher, None)
        found = answer(searcher)
        written = write_report(path, found, opened, searcher.stored)
    if as_json:
        counts = {flag: len(of_flag) for flag, of_flag in found.findings.items()}
        print_json({"report": str(written), "adapters": len(found.adapters), "findings": counts})
        return
    print_line(f"{written}: {counted(len(found.adapters), 'adapter')}, {counted(len(found.unneeded), 'file')} may go")


def _tell_cost(searcher: Searcher, claims_of: list[str] | None) -> None:
    """Say that no image is made, and how long it takes to encode what was never encoded: two phrases are timed."""
    from lorascope.analysis.audit import phrases_asked
    from lorascope.cli.output import err
    from lorascope.report.words import duration

    missing = searcher.phrases.unknown(phrases_asked(searcher, claims_of))
    line = "No image is made."
    if len(missing) > 2:
        searcher.vectors(missing[:1])  # loads the encoder; without it, the library may have brought its words along
    if len(missing) > 2 and not searcher.phrases.unknown(missing[:1]):
        began = time.perf_counter()
        searcher.vectors(missing[1:2])
        seconds = (len(missing) - 2) * (time.perf_counter() - began)
        line += f" {len(missing)} phrases are encoded, once: {duration(seconds)}."
    err.print(line, style="dim", highlight=False)


def _keys(library: Library, names: list[str] | None) -> list[str] | None:
    return [library.adapters.find(name).key for name in names] if names else None


def duplicates(
    folder: Annotated[Path | None, typer.Argument(help="Only adapters in this folder; all by default.")] = None,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Find copies: the same file, the same change of the base model, or the same behaviour; nothing is deleted."""
    from dataclasses import asdict

    from lorascope.analysis import duplicates as answer
    from lorascope.cli.output import counted, out, print_json, print_line, print_table
    from lorascope.library import Library

    with Library(library) as opened:
        found = answer(opened, protocol, folder)
        keys = {key for pair in found.undecided for key in (pair.one, pair.two)}
        names = {key: one.name for key, one in opened.adapters.get(keys).items()}
    if as_json:
        print_json(asdict(found))
        return
    rows: list[tuple[int, str, str, str]] = []
    for number, group in enumerate(found.groups, 1):
        rows.append((number, "keep", group.name, group.path))
        rows += [(number, "copy", copy.name, f"{copy.seen}; {copy.path}") for copy in group.copies]
    if rows:
        print_table(("group", "", "adapter", "what is the same, and where it is"), rows)
    else:
        out.print("no copies found")
    for pair in found.undecided:
        seen = f"{names[pair.one]} and {names[pair.two]} may do the same: {counted(pair.cells, 'image')} cannot tell"
        print_line(seen, "dim")
    if found.unbacked:
        line = f"not compared, because there is no evidence of them here: {counted(len(found.unbacked), 'adapter')}"
        print_line(line, "dim")


def health(
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Find adapters that need a look: without effect, too strong, erratic, unseen, gone; say what to do."""
    from dataclasses import asdict

    from lorascope.analysis import health as answer
    from lorascope.cli.hints import command
    from lorascope.cli.output import counted, out, print_json, print_line, print_table
    from lorascope.library import Library

    with Library(library) as opened:
        found = answer(opened, protocol)
        refused = len(opened.refusals.all())
    if as_json:
        print_json({"findings": [asdict(one) for one in found], "refused": refused})
        return
    if found:
        rows = [(one.name, one.flag, f"{one.seen}. {one.remedy}") for one in found]
        print_table(("adapter", "flag", "what was seen, and what to do"), rows)
    else:
        out.print("nothing to look at")
    if refused:
        reasons = command("list", "--refused", library=opened.path)
        print_line(f"{counted(refused, 'file')} left out: {reasons}")


def versions(
    folder: Annotated[Path | None, typer.Argument(help="Only adapters in this folder; all by default.")] = None,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Compare versions and epochs of one name: what grew, what turned, which one to use."""
    from dataclasses import asdict

    from lorascope.analysis import versions as answer
    from lorascope.analysis.cells import PromptTexts, known_grid
    from lorascope.cli.output import estimated, out, print_json, print_line, print_table
    from lorascope.encoders.load import load_text_encoder
    from lorascope.library import Library

    with Library(library) as opened:
        stored = opened.protocols.find(protocol)
        texts = PromptTexts(load_text_encoder(stored.protocol.encoder, download=download), known_grid(stored))
        found = answer(opened, texts, protocol, folder)
    if as_json:
        print_json({"series": [asdict(series) for series in found]})
        return
    figures = ("strength", "effect", "cosine", "kept")
    for series in found:
        rows = [
            (one.name, *(estimated(getattr(one, figure)) for figure in figures), one.change) for one in series.versions
        ]
        columns = ("adapter", "Strength", "effect of the last", "cosine", "prompt kept", "beside the one before")
        print_table(columns, rows, f"{series.name}, {series.cells} images of each")
        print_line(f"{series.sentence}.")
    if not found:
        out.print("no two versions of one name: v1 and v2, epochs such as NAME-000004, steps such as NAME-step500")
