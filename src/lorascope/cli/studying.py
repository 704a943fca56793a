"""study: draw up a blind study."""

from pathlib import Path
from typing import Annotated

import typer

from lorascope.cli import options


def study(
    queries: Annotated[Path, typer.Argument(help="JSON: the queries, in the form that `evaluate` reads.")],
    pairs: Annotated[Path, typer.Argument(help="Where to write the pairs.")],
    against: Annotated[str, typer.Option(help="The query encoding to compare with the usual one.")] = "query",
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
) -> None:
    """Draw up a blind study: for each query, the first three adapters by two ways of encoding it."""
    from lorascope.cli.lanes import known_encoding
    from lorascope.cli.output import out
    from lorascope.evaluation import load_queries
    from lorascope.evaluation.pairs import draw_up
    from lorascope.library import Library
    from lorascope.search import Searcher

    texts = [query.text for query in load_queries(queries)]
    with Library(library) as opened:
        found = draw_up(Searcher(opened, protocol=protocol), texts, known_encoding(against))
    found.write(pairs)
    out.print(f"{len(found.pairs)} of {len(texts)} queries are answered differently. Ask people with:")
    out.print(f"  lorascope serve --study {pairs}", soft_wrap=True, highlight=False)
