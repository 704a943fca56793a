"""serve: the page and the API."""

from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options


def serve(
    library: options.LibraryPath = None,
    folder: Annotated[
        list[Path] | None, typer.Option(help="A folder that may be indexed from the page. May be given twice.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on. Any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8642,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Open a page to search, look and compare, and an API for other tools."""
    import uvicorn

    from lorascope.library import default_path
    from lorascope.server import Settings, create_app

    settings = Settings(library=library or default_path(), folders=tuple(folder or ()), host=host, port=port)
    uvicorn.run(create_app(settings), host=host, port=port)
