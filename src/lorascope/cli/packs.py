"""share and pull: signatures to others and from others."""

from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options

Only = Annotated[
    list[str] | None,
    typer.Option(metavar="ADAPTER", help="Only this adapter, by name, path or start of the key. Repeat it."),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="WHAT",
        help="Also share previews, words, weight, calibration, baseline, vectors, names or prompts."
        " Repeat it for several.",
    ),
]
Join = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PACK",
        help="Write a directory of packs instead: this pack, by the address that others will find it at. Repeat it.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow http, which anyone on the network can read and change.")
]


def share(
    library: Annotated[
        Path | None, typer.Argument(help="The library; the default one if none is given.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the pack; with --join, the directory's .parquet file.")] = Path(
        "pack"
    ),
    only: Only = None,
    contents: With = None,
    protocol: options.ProtocolName = "",
    title: Annotated[str, typer.Option(help="What the pack is called. Default: the Protocol's name.")] = "",
    key: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY", help="Sign it with this secret key of minisign.")
    ] = None,
    join: Join = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    insecure: Insecure = False,
    as_json: options.Json = False,
) -> None:
    """Write a pack: signatures that others can pull by the SHA-256 of their own files. Says first what it will hold.

    Folders, names of files, descriptions and your own prompts are left out unless you ask for them.
    """
    from lorascope.cli.output import counted, print_result
    from lorascope.cli.sharing import confirm, drafted, join_packs
    from lorascope.errors import UsageError
    from lorascope.library import Library

    if join:
        if only or contents or key or title or protocol or library:
            raise UsageError("--join lists packs that are there: leave out the library and what a new pack would hold")
        packs, adapters = join_packs(join, out, insecure=insecure)
        sentence = f"{counted(adapters, 'adapter')} of {counted(packs, 'pack')} are listed in {out}"
        print_result(as_json, sentence, packs=packs, adapters=adapters, path=str(out))
        return
    with Library(library) as opened:
        chosen = drafted(opened, protocol, only or (), set(contents or ()), title)
        if not as_json:
            confirm(chosen.summary(), out, yes=yes)
        written = chosen.write(out, key)
    size = sum(one.size for one in written.files)
    sentence = f"{counted(written.adapters, 'adapter')}, {size / 1e6:.1f} MB, written to {out}"
    print_result(as_json, sentence, adapters=written.adapters, bytes=size, path=str(out), holds=chosen.summary())


def pull(
    source: Annotated[
        str, typer.Argument(metavar="PACK", help="A pack, or a directory of packs (.parquet): a path or an address.")
    ],
    folder: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of your adapters. Default: those that `setup` found.", show_default=False),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also take over adapters that are not on this disk.")
    ] = False,
    signed_by: Annotated[
        str, typer.Option(metavar="KEY", help="Refuse what is not signed by this public key of minisign, or .pub file.")
    ] = "",
    library: options.LibraryPath = None,
    insecure: Insecure = False,
    as_json: options.Json = False,
) -> None:
    """Take over signatures that others measured, for the files that you have, so that they need no measuring.

    Files are recognised by their SHA-256. What was measured here is never replaced. Exits with 1 if a signature in the
    pack contradicts one that is kept here; neither is preferred, and both are named.
    """
    from lorascope.cli.checks import check_paths
    from lorascope.cli.plans import configured_folders
    from lorascope.cli.sharing import print_intakes, pull_all

    check_paths(folder or ())
    folders = list(folder) if folder else configured_folders()[0]
    taken = pull_all(source, library, folders, everything=everything, signed_by=signed_by, insecure=insecure)
    print_intakes(taken, library, as_json=as_json)
    if any(one.disagreements for one in taken):
        raise typer.Exit(1)
