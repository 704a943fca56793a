"""describe: what adapters do, in words."""

from __future__ import annotations

from typing import Annotated

import typer

from lorascope.cli import options


def describe(
    adapters: Annotated[
        list[str] | None,
        typer.Argument(help="Names, paths or starts of keys of adapters; all by default."),
    ] = None,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Say in words what adapters do: phrases that stand out against chance, or none."""
    from dataclasses import asdict

    from lorascope.analysis import describe as answer
    from lorascope.cli.output import print_json, print_table
    from lorascope.cli.progress import CacheProgress
    from lorascope.library import Library
    from lorascope.search import Searcher, load_query_encoder

    with Library(library) as opened, CacheProgress() as progress:
        searcher = Searcher(
            opened,
            protocol=protocol,
            query_encoder=lambda stored: load_query_encoder(stored, download=download, note=progress.note),
            note=progress.note,
        )
        keys = [opened.adapters.find(name).key for name in adapters] if adapters else None
        described = answer(searcher, keys)
    if as_json:
        print_json({"descriptions": [asdict(one) for one in described]})
        return
    rows = [(one.name, str(one) or "nothing stands out") for one in sorted(described, key=lambda one: one.name)]
    print_table(("adapter", "does"), rows)
