"""lookup and get: what sites say of adapters, and adapters from there. Nothing else asks a site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options


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
    from lorascope.cli.progress import step_progress
    from lorascope.errors import UsageError
    from lorascope.library import Library
    from lorascope.sites import CivArchive, Civitai, Hub, LookUp, look_up

    sites = [Civitai(updates=updates)] if civitai or updates else []
    sites += [CivArchive()] if civarchive else []
    sites += [Hub()] if huggingface else []
    if not sites:
        raise UsageError("name a site to ask: --civitai, --civarchive or --huggingface")
    done: list[LookUp] = []
    with Library(library) as opened, step_progress() as note:
        members = opened.adapters.members(folder=folder)
        keys = [key for key, *_ in opened.adapters.labels(members.tolist()).values()]
        adapters = list(opened.adapters.get(keys).values())
        for site in sites:
            last = LookUp(site.name, 0, 0, 0)
            for last in look_up(opened, adapters, site, days=days):
                note(site.name, last.asked, last.total)
            done.append(last)
    if as_json:
        print_json({"sites": [vars(one) for one in done]})
        return
    for one in done:
        out.print(f"{one.site}: {counted(one.asked, 'adapter')} asked for, {one.found} known there", highlight=False)


def get(
    reference: Annotated[
        str,
        typer.Argument(
            help="An AIR (urn:air:sdxl:lora:civitai:1@2), the address of a model's page, a hash, or"
            " owner/name/FILE.safetensors of the Hugging Face hub."
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option(help="Where it goes to. Default: the first folder that `setup` found.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Download an adapter, check its SHA-256, and go on where an interrupted download ended."""
    from lorascope.cli.output import out, print_json
    from lorascope.cli.plans import configured_folders
    from lorascope.cli.progress import step_progress
    from lorascope.errors import UsageError
    from lorascope.sites import Civitai, download, hub
    from lorascope.sites.web import token_of

    if not (hub.reads(reference) or Civitai.reads(reference)):
        raise UsageError(
            f"{reference!r} is no AIR, address of civitai or the hub, or hash: give one, such as"
            " urn:air:sdxl:lora:civitai:1@2"
        )
    place = folder or next(iter(configured_folders()[0]), None)
    if place is None:
        raise UsageError("no folder is known: give --folder, or run `lorascope setup` once, which looks for yours")
    if hub.reads(reference):
        path = hub.fetch(reference, place)
    else:
        remote = Civitai().find(reference)
        with step_progress() as note:
            path = download(
                remote, place, token=token_of("civitai"), watch=lambda done, total: note(remote.name, done, total)
            )
    print_json({"path": str(path)}) if as_json else out.print(str(path), soft_wrap=True, markup=False, highlight=False)
