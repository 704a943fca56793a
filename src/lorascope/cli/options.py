"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

LibraryPath = Annotated[
    Path | None,
    typer.Option("--library", "-l", help="The library file. Default: the one in your data folder."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ProtocolName = Annotated[
    str,
    typer.Option("--protocol", "-p", help="Which Protocol to look in, by name or digest. Default: the last used."),
]
Top = Annotated[int, typer.Option("--top", "-n", min=1, max=1000, help="How many hits.")]
MaxStrength = Annotated[
    float | None, typer.Option(help="Hide adapters stronger than this. Default: the Protocol's threshold.")
]
MinConsistency = Annotated[
    float | None,
    typer.Option(help="Hide adapters less consistent than this. Default: the Protocol's threshold."),
]
Everything = Annotated[bool, typer.Option("--everything", help="Apply no thresholds.")]
Family = Annotated[str, typer.Option(help="Only adapters of this base family, such as sdxl.")]
Folder = Annotated[str, typer.Option(help="Only adapters that lie under this folder.")]
ShowHidden = Annotated[bool, typer.Option("--hidden", help="Show what the thresholds hide, and why.")]
Sheet = Annotated[
    Path | None,
    typer.Option(help="Write the hits' pictures, without and with each adapter, to this HTML file."),
]
Download = Annotated[bool, typer.Option("--download", help="Fetch models that are not on this disk.")]
