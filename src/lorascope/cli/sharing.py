"""The steps of share and pull, and what they print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from lorascope.cli.output import counted, err, print_json, print_line, print_table
from lorascope.errors import LibraryError, UsageError
from lorascope.library import Library, default_path, library_if_any, published
from lorascope.miniature import pack_path
from lorascope.miniature.demo import lay_out
from lorascope.packs import Draft, Intake, draft, open_pack, pull
from lorascope.packs.directory import LARGEST, NAME, Directory, Entry, ListedPack, write_directory
from lorascope.packs.intake import Files, files_here, take
from lorascope.packs.places import SCHEMES, place_of_pack


def confirm(summary: Sequence[str], target: Path, *, yes: bool) -> None:
    """Say what a pack will hold, and ask."""
    for line in summary:
        print_line(line)
    if not yes:
        typer.confirm(f"Write it to {target}?", abort=True)


def _words(library: Library, protocol: str) -> dict[str, str]:
    """What each adapter does in words, where anything stands out."""
    from lorascope.analysis import describe
    from lorascope.search import Searcher

    return {one.key: str(one) for one in describe(Searcher(library, protocol=protocol)) if one.words}


def _weights(library: Library, protocol: str) -> dict[str, str]:
    """The weight that is advised for each adapter whose curve is known, with its range."""
    from lorascope.analysis.weight import advise, known_curves

    found: dict[str, str] = {}
    for key, curve in known_curves(
        library, library.protocols.find(protocol).protocol.digest, library.adapters.all()
    ).items():
        advice = advise(curve)
        if advice.weight is not None:
            found[key] = f"{advice.weight:g} ({advice.range})"
    return found


_TEXTS = {"words": _words, "weight": _weights}
"""Columns for people, each of which is made from a library and the name of a Protocol."""


def drafted(library: Library, protocol: str, only: Sequence[str], contents: set[str], title: str) -> Draft:
    """What a pack would hold, with the columns for people that are asked for."""
    texts = {name: text_of(library, protocol) for name, text_of in _TEXTS.items() if name in contents}
    return draft(library, protocol=protocol, only=only, contents=contents - set(_TEXTS), title=title, texts=texts)


def join_packs(addresses: Iterable[str], target: Path, *, insecure: bool) -> tuple[int, int]:
    """Write a directory of several packs; returns how many packs and how many files are in it."""
    listings: list[ListedPack] = []
    entries: list[Entry] = []
    for number, address in enumerate(addresses):
        with open_pack(address, insecure=insecure) as pack:
            listings.append(ListedPack(address, pack.digest))
            entries += [Entry(one.prefix, number, one.group) for one in pack.directory().entries()]
    write_directory(target, listings, entries)
    return len(listings), len(entries)


def pull_all(
    source: str, place: Path | None, folders: Sequence[Path], *, everything: bool, signed_by: str, insecure: bool
) -> list[Intake]:
    """Take over what a pack, or each pack of a directory, holds of the files that are here.

    The library is made once the pack is open: one that cannot be read leaves no empty library.
    """
    remote = source.startswith(SCHEMES)
    if not remote and not Path(source).exists():
        raise UsageError(f"{source} does not exist: give the folder or the https address of a pack")
    with library_if_any(place) as known, err.status("reading your files") as status:
        if not folders and not everything and not known.adapters.stamps():
            raise UsageError(
                "no folder is named: give those of your adapters, run `lorascope setup` once, or use --all"
            )
        files = files_here(folders, known, lambda count: status.update(f"reading your files: {count}"))
    if not source.endswith(".parquet"):
        with (
            open_pack(source, insecure=insecure, signed_by=signed_by) as pack,
            Library(place, create=True) as library,
        ):
            return [pull(pack, library, files, everything=everything)]
    if everything:
        if signed_by:
            raise UsageError(f"{source} is a single file, which is not signed: pull it without --signed-by")
        with published(source, insecure=insecure) as theirs, Library(place, create=True) as library:
            count = theirs.into(library)
        return [Intake(source, read=count, elsewhere=count)]
    return _from_directory(source, place, files, signed_by=signed_by, insecure=insecure)


def _from_directory(source: str, place: Path | None, files: Files, *, signed_by: str, insecure: bool) -> list[Intake]:
    taken: list[Intake] = []
    with ExitStack() as opening:
        folder = Path(opening.enter_context(TemporaryDirectory()))
        base, _, name = source.rpartition("/")
        place_of_pack(base or ".", insecure=insecure).copy(name, folder / NAME, LARGEST)
        listed = Directory(folder / NAME, source, folder)
        for number, groups in listed.look_up(files).items():
            listing = listed.listings[number]
            pack = opening.enter_context(open_pack(listing.address, insecure=insecure, signed_by=signed_by))
            if pack.digest != listing.manifest:
                raise LibraryError(f"{listing.address} is another pack than {source} lists: ask for a new directory")
            with Library(place, create=True) as library:
                taken.append(take(pack, library, files, groups=groups))
    return taken


def unpack_world(folder: Path, *, as_json: bool) -> Path:
    """Copy the shipped adapters into a folder, and take over what is known about them; returns the library."""
    loras = lay_out(folder)
    with Library(folder / "library.db", create=True) as library, open_pack(str(pack_path())) as pack:
        print_intakes([pull(pack, library, files_here([loras], library))], library.path, as_json=as_json)
        return library.path


def print_intakes(taken: Sequence[Intake], place: Path | None, *, as_json: bool) -> None:
    """Print what was taken over into a library, and every contradiction."""
    library = place or default_path()
    if as_json:
        print_json({"library": str(library), "packs": [asdict(one) for one in taken]})
        return
    for one in taken:
        parts = [f"{counted(one.here, 'signature')} for files that are here"]
        parts += [f"{one.elsewhere} for files that are not"] if one.elsewhere else []
        parts += [f"{one.same} known already, and confirmed"] if one.same else []
        parts += [f"{one.reworded} left out (measured with other trigger words here)"] if one.reworded else []
        print_line(f"{one.source}: {', '.join(parts)}. Library: {library}")
    if not taken:
        print_line("None of your files is in these packs.")
    contradictions = [found for one in taken for found in one.disagreements]
    if contradictions:
        rows = [(one.name, "; ".join(one.figures), one.ours, one.theirs) for one in contradictions]
        print_table(("adapter", "differs in", "kept", "not taken over"), rows)
        print_line(
            "What is kept was not replaced. `lorascope index` of these files settles it: what is measured here counts."
        )
