"""study: draw up a blind study."""

from pathlib import Path
from typing import Annotated

import typer


def study(
    rankings: Annotated[Path, typer.Argument(help="What retrievers found, as `evaluate --rankings` writes it.")],
    pairs: Annotated[Path, typer.Argument(help="Where to write the pairs.")],
    against: Annotated[str, typer.Option(help="The retriever to compare with, such as minilm.")],
    ours: Annotated[str, typer.Option(help="The other side.")] = "behaviour",
) -> None:
    """Draw up a blind study: for each query, the first three adapters that two retrievers find."""
    from lorascope.cli.output import out
    from lorascope.evaluation.pairs import draw_up

    found = draw_up(rankings, ours, against)
    found.write(pairs)
    out.print(f"{len(found.pairs)} queries are answered differently. Ask people with:")
    out.print(f"  lorascope serve --study {pairs}", soft_wrap=True, highlight=False, markup=False)
