"""serve: the page and the API."""

from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options

Folders = Annotated[
    list[Path] | None,
    typer.Option(help="A folder that the page may index. Repeat it for several. Default: those that `setup` found."),
]
Host = Annotated[str, typer.Option(help="Address to listen on. One that other machines can reach needs a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Names = Annotated[
    list[str] | None,
    typer.Option(help="A host name of this server, such as that of a proxy. Repeat it for several."),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(help="A site whose pages may use the API, such as https://gallery.example. Repeat it for several."),
]
EmbedIn = Annotated[
    list[str] | None,
    typer.Option(
        help="A site whose pages may show this server's in a frame, such as http://127.0.0.1:8188. Repeat it for"
        " several."
    ),
]
AllowIndex = Annotated[bool, typer.Option("--allow-index", help="Let agents start runs over the folders, too.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="A file that holds the token. Default: LORASCOPE_TOKEN, or a new one if needed.")
]
PresetName = Annotated[
    str, typer.Option(help="How to measure, as with index. Default: as the library was last measured.")
]
Study = Annotated[
    Path | None, typer.Option(help="Pairs of a blind study, written by `study`. The page for it is /study.")
]


def serve(
    library: options.LibraryPath = None,
    folder: Folders = None,
    host: Host = "127.0.0.1",
    port: Port = 8642,
    name: Names = None,
    allow_origin: Origins = None,
    embed_in: EmbedIn = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="Answer agents, too, at /mcp.")] = False,
    allow_index: AllowIndex = False,
    token_file: TokenFile = None,
    preset: PresetName = "",
    device: options.Device = "",
    study: Study = None,
    download: options.Download = False,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Serve a page to search, look and compare, and an API for other tools, until Ctrl-C."""
    from lorascope.cli.checks import check_library, check_unused
    from lorascope.cli.listener import chosen_token, run
    from lorascope.cli.output import print_note
    from lorascope.cli.plans import configured_folders
    from lorascope.library import default_path
    from lorascope.server.settings import ServerSettings

    if not mcp:
        check_unused({"allow-index": allow_index}, "without --mcp")
    check_library(library)
    token, made = chosen_token(host, token_file)
    folders, notes = (folder, []) if folder else configured_folders()
    for note in notes:
        print_note(note, "yellow")
    settings = ServerSettings(
        library=library or default_path(), folders=tuple(folders), host=host, port=port, token=token,
        names=tuple(name or ()), origins=tuple(allow_origin or ()), embedders=tuple(embed_in or ()),
        agents=("index" if allow_index else "read") if mcp else "", preset=preset, device=device, study=study,
        download=download,
    )  # fmt: skip
    run(settings, open_page=open_page, show_token=made)


def mcp(
    library: options.LibraryPath = None,
    folder: Folders = None,
    allow_index: AllowIndex = False,
    preset: PresetName = "",
    device: options.Device = "",
    download: options.Download = False,
) -> None:
    """Answer an agent over standard input and output (MCP). `serve --mcp` does the same over HTTP."""
    from lorascope.cli.checks import check_library, check_unused
    from lorascope.cli.plans import configured_folders
    from lorascope.extras import require
    from lorascope.library import default_path
    from lorascope.server.settings import ServerSettings

    require("mcp")
    from lorascope.server.agents import answer

    if not allow_index:
        check_unused({"folder": folder}, "without --allow-index")
    check_library(library)
    settings = ServerSettings(
        library=library or default_path(), folders=tuple(folder or configured_folders()[0]) if allow_index else (),
        agents="index" if allow_index else "read", preset=preset, device=device, download=download,
    )  # fmt: skip
    answer(settings)
