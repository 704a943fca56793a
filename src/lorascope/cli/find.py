"""search, similar, show, list: everything that only reads a library."""

from typing import Annotated, Any

import typer

from lorascope.cli import options


def search(
    query: options.Query = "",
    image: options.Picture = None,
    top: options.Top = 10,
    encoding: options.EncodingName = "suffix",
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    every_protocol: options.EveryProtocol = False,
    max_strength: options.MaxStrength = None,
    min_consistency: options.MinConsistency = None,
    everything: options.Everything = False,
    family: options.Family = "",
    folder: options.Folder = "",
    hidden: options.ShowHidden = False,
    sheet: options.Sheet = None,
    download: options.Download = False,
    as_json: options.Json = False,
) -> None:
    """Find adapters by what they do, in words or by a picture."""
    from lorascope.cli.lanes import Narrowing, by_picture, by_words, present
    from lorascope.cli.progress import CacheProgress
    from lorascope.errors import QueryError
    from lorascope.library import Library

    if bool(query) == (image is not None):
        raise QueryError("give either words or --image FILE")
    narrowing = Narrowing(max_strength, min_consistency, everything, family, folder)
    with Library(library) as opened:
        measured = [str(s.protocol) for s in opened.protocols.all() if s.adapters] if every_protocol else []
        names = measured or [protocol]  # of a library without signatures, searching says what to do
        with CacheProgress() as progress:
            how: dict[str, Any] = {"top": top, "narrowing": narrowing, "download": download, "note": progress.note}
            lanes = [
                by_words(opened, name, query, encoding=encoding, **how)
                if image is None
                else by_picture(opened, name, image, **how)
                for name in names
            ]
        present(opened, lanes, narrowing, hidden=hidden, sheet=sheet, as_json=as_json)


def similar(
    adapter: Annotated[str, typer.Argument(help="Name, path or start of the key of an adapter in the library.")],
    top: options.Top = 10,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    max_strength: options.MaxStrength = None,
    min_consistency: options.MinConsistency = None,
    everything: options.Everything = False,
    family: options.Family = "",
    folder: options.Folder = "",
    hidden: options.ShowHidden = False,
    sheet: options.Sheet = None,
    as_json: options.Json = False,
) -> None:
    """Find adapters that do what another one does."""
    from lorascope.cli.lanes import Narrowing, present
    from lorascope.cli.progress import CacheProgress
    from lorascope.library import Library
    from lorascope.search import Searcher

    narrowing = Narrowing(max_strength, min_consistency, everything, family, folder)

    with Library(library) as opened:
        with CacheProgress() as progress:
            searcher = Searcher(opened, protocol=protocol, note=progress.note)
        answer = searcher.similar(opened.adapters.find(adapter).key, top=top, filters=narrowing.filters(searcher))
        present(opened, [(searcher, answer)], narrowing, hidden=hidden, sheet=sheet, as_json=as_json)


def show(
    adapter: Annotated[str, typer.Argument(help="Name, path or start of the key of an adapter in the library.")],
    direction: Annotated[bool, typer.Option("--direction", help="Print the Direction too (JSON only).")] = False,
    library: options.LibraryPath = None,
    as_json: options.Json = False,
) -> None:
    """Show all that is known of one adapter: its signature under each Protocol, its claims, where it lies."""
    from lorascope.cli.details import overlooked, print_adapter, print_signature
    from lorascope.cli.output import out, print_json
    from lorascope.library import Library
    from lorascope.report.plain import plain_adapter, plain_signature

    with Library(library) as opened:
        found = opened.adapters.find(adapter)
        measured = [
            (stored, signatures[found.key])
            for stored in opened.protocols.all()
            if (signatures := opened.signatures.get(stored.protocol.digest, [found.key]))
        ]
        missed = {str(stored.protocol) for stored, _ in measured if overlooked(opened, stored, found.key)}
        if as_json:
            signatures_json = {
                (name := str(stored.protocol)): plain_signature(one, direction=direction) | {"unseen": name in missed}
                for stored, one in measured
            }
            print_json(plain_adapter(found) | {"signatures": signatures_json})
            return
        print_adapter(found)
        for stored, signature in measured:
            print_signature(found, stored, signature)
            if str(stored.protocol) in missed:
                out.print("[yellow]Its pictures change more than its embeddings: the encoder may miss what it does.[/]")


def list_(
    refused: Annotated[bool, typer.Option("--refused", help="List files that were left out, with reasons.")] = False,
    protocols: Annotated[bool, typer.Option("--protocols", help="List the Protocols instead.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs instead.")] = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """List the adapters of a library, strongest first; or its Protocols, runs or refused files."""
    from lorascope.cli.details import list_adapters, list_protocols, list_runs
    from lorascope.cli.output import print_json, print_refusals
    from lorascope.library import Library

    with Library(library) as opened:
        if refused:
            found = opened.refusals.all()
            print_json([vars(refusal) for refusal in found]) if as_json else print_refusals(found)
        elif protocols:
            list_protocols(opened, as_json)
        elif runs:
            list_runs(opened, as_json)
        else:
            list_adapters(opened, protocol, as_json)
