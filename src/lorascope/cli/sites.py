"""lookup and get: what sites say of adapters, and adapters from there. Nothing else asks a site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorascope.cli import options

if TYPE_CHECKING:
    from lorascope.library import Library
    from lorascope.sites import LookUp
    from lorascope.sites.record import Site


def lookup(
    folder: Annotated[Path | None, typer.Argument(help="Only adapters in this folder; all by default.")] = None,
    civitai: Annotated[bool, typer.Option("--civitai", help="Ask Civitai, a hundred files at a time.")] = False,
    civarchive: Annotated[
        bool, typer.Option("--civarchive", help="Ask CivArchive, which remembers what was deleted.")
    ] = False,
    huggingface: Annotated[
        bool, typer.Option("--huggingface", help="Ask the Hugging Face hub for files of its cache.")
    ] = False,
    updates: Annotated[
        bool, typer.Option("--updates", help="Also ask Civitai for each model's licence and newer versions.")
    ] = False,
    days: Annotated[int, typer.Option(min=0, help="Ask again for what was asked so many days ago.")] = 30,
    library: options.LibraryPath = None,
    as_json: options.Json = False,
) -> None:
    """Ask sites what they say of your adapters, by SHA-256: title, base, trigger words, licence, whether it is deleted.

    Only the hashes of your files are sent. The answers are kept as claims, which measure nothing.
    """
    from lorascope.cli.output import counted, out, print_json
    from lorascope.errors import UsageError
    from lorascope.library import Library
    from lorascope.sites import CivArchive, Civitai, Hub

    sites = [Civitai(updates=updates)] if civitai or updates else []
    sites += [CivArchive()] if civarchive else []
    sites += [Hub()] if huggingface else []
    if not sites:
        raise UsageError("name a site to ask: --civitai, --civarchive or --huggingface")
    with Library(library) as opened:
        done = [_asked(opened, site, folder, days) for site in sites]
    if as_json:
        print_json({"sites": [vars(one) for one in done]})
        return
    for one in done:
        out.print(f"{one.site}: {counted(one.asked, 'adapter')} asked for, {one.found} known there", highlight=False)


def _asked(library: Library, site: Site, folder: Path | None, days: int) -> LookUp:
    """Ask one site for all adapters, and show how far it is."""
    from lorascope.cli.progress import step_progress
    from lorascope.sites import LookUp, look_up

    adapters = list(library.adapters.inside(folder).values())
    last = LookUp(site.name, 0, 0, 0)
    with step_progress() as note:
        for last in look_up(library, adapters, site, days=days):
            note(site.name, last.asked, last.total)
    return last


def get(
    reference: Annotated[
        str,
        typer.Argument(
            help="An AIR (urn:air:sdxl:lora:civitai:1@2), the address of a model's page, a hash, or owner/name of the"
            " Hugging Face hub, with /FILE.safetensors where a repository holds several."
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option(help="Where it goes to. Default: the first folder that `setup` found.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Download an adapter, check its SHA-256, and resume where an interrupted download ended."""
    from lorascope.cli.output import print_json, print_line
    from lorascope.errors import UsageError
    from lorascope.sites import SPELLINGS, is_reference

    if not is_reference(reference):
        raise UsageError(f"{reference!r} is no reference to an adapter: give {SPELLINGS}")
    (path,) = fetched([reference], folder)
    print_json({"path": str(path)}) if as_json else print_line(str(path))


def fetched(references: Sequence[str], folder: Path | None = None) -> list[Path]:
    """Ask the sites for all of some references, say how large they are, then download them.

    Raises:
        UsageError: no folder is known.
        SiteError: one cannot be had; those before it are kept.
    """
    from lorascope.cli.output import print_note
    from lorascope.cli.plans import configured_folders
    from lorascope.cli.progress import step_progress
    from lorascope.errors import UsageError
    from lorascope.report.words import file_size
    from lorascope.sites import fetch, find

    place = folder or next(iter(configured_folders()[0]), None)
    if place is None:
        raise UsageError(
            "no folder is known to download to: give `lorascope get` one with --folder, or run `lorascope setup` once,"
            " which looks for yours"
        )
    remotes = [find(reference) for reference in references]
    for one in remotes:
        size = file_size(one.size) if one.size else "of unknown size"
        print_note(f"{one.name}: {size} from {one.site}, into {place}")
    paths: list[Path] = []
    for one in remotes:
        with step_progress() as note:
            paths.append(fetch(one, place, lambda done, total, name=one.name: note(name, done, total)))
    return paths


def with_references(paths: Sequence[str], *, download: bool, dry_run: bool) -> list[Path]:
    """Replace references to adapters at sites by the files that they mean; files and folders that exist go first.

    Raises:
        UsageError: a file does not exist, or nobody has agreed to a download.
        SiteError: a site does not have it.
    """
    import os

    from lorascope.cli.checks import check_paths
    from lorascope.errors import UsageError
    from lorascope.sites import is_reference

    def is_path(text: str) -> bool:
        """Whether it is a path: one in a folder that exists is mistyped rather than meant for a site."""
        folder = Path(text).parent
        return os.path.lexists(text) or (folder != Path() and folder.is_dir())

    references = [text for text in paths if not is_path(text) and is_reference(text)]
    check_paths([Path(text) for text in paths if text not in references])
    if references and dry_run:
        raise UsageError(
            f"{references[0]} is not on this disk, and --dry-run fetches nothing: run `lorascope get` first"
        )
    if references and not download:
        raise UsageError(
            f"{references[0]} is not on this disk: check its spelling, or give --download to fetch it from its site"
        )
    files = dict(zip(references, fetched(references), strict=True)) if references else {}
    return [files.get(text) or Path(text) for text in paths]
