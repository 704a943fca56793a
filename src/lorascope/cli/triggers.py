"""triggers: what each trigger word of an adapter adds."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lorascope.cli import options

if TYPE_CHECKING:
    from lorascope.library import Library, StoredAdapter, StoredProtocol
    from lorascope.signature import Estimate


def triggers(
    adapters: options.AdapterNames = None,
    every: Annotated[bool, typer.Option("--all", help="Every adapter that was measured with trigger words.")] = False,
    device: options.Device = "",
    batch: options.Batch = 0,
    dry_run: options.DryRun = False,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Find out which trigger words an adapter needs: how much of its effect is left without them, and without each.

    A few images are made without each word, once: stop it whenever you like, what was measured is kept.
    """
    from lorascope.analysis.usage import is_tried, words_of
    from lorascope.cli.weight import chosen_adapters, end_dry_run, measure_missing
    from lorascope.errors import LibraryError
    from lorascope.library import Library

    with Library(library) as opened:
        stored = opened.protocols.find(protocol)
        chosen = chosen_adapters(opened, adapters, stored, every=every)
        wordless = [one for one in chosen if not words_of(one, stored.protocol)]
        if wordless and not every:
            raise LibraryError(f"{wordless[0].name} was measured without trigger words: there is nothing to leave out")
        chosen = [one for one in chosen if one not in wordless]
        cost = None
        if missing := [one for one in chosen if not is_tried(opened, stored, one)]:
            from lorascope.analysis.triggers import TriggerMeasurement
            from lorascope.cli.runs import loaded

            worker = loaded(stored.preset, device=device, batch=batch, download=download)
            cost = measure_missing(TriggerMeasurement(worker, opened, stored), missing, "adapter", dry_run=dry_run)
        if dry_run:
            end_dry_run(cost, as_json=as_json)
        else:
            _show(opened, stored, [one.key for one in chosen], as_json)


def _show(library: Library, stored: StoredProtocol, keys: list[str], as_json: bool) -> None:
    """Print how much is left without all words, and without each."""
    from lorascope.cli.output import print_json, print_table, ranged

    left = [(one, _shares(library, stored, one)) for one in library.adapters.get(keys).values()]
    if as_json:
        rows = [
            {"key": one.key, "name": one.name,
             "without": [{"words": words, "left": share and asdict(share)} for words, share in shares]}
            for one, shares in left
        ]  # fmt: skip
        print_json({"triggers": rows})
        return
    table = [
        (one.name, words, "–" if share is None else ranged(share.value, share, 2))
        for one, shares in left
        for words, share in shares
    ]
    print_table(("adapter", "without", "effect left"), table)


def _shares(library: Library, stored: StoredProtocol, adapter: StoredAdapter) -> list[tuple[str, Estimate | None]]:
    """All words together first, then each."""
    from lorascope.analysis.usage import known_shares, share_without, words_of

    whole = ", ".join(words_of(adapter, stored.protocol))
    return [(whole, share_without(library, stored, adapter)), *known_shares(adapter, stored.protocol).items()]
