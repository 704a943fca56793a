"""The verbs, gathered. Each is one public call plus printing."""

import typer

from lorascope import __version__
from lorascope.cli import (
    analysis,
    annotate,
    data,
    evaluation,
    find,
    fit,
    law,
    measurement,
    packs,
    server,
    sites,
    system,
    weight,
)
from lorascope.cli.verb import Verb, Verbs

app = typer.Typer(
    name="lorascope",
    cls=Verbs,
    help="Measure what a LoRA really does to an image model, and find LoRAs by that.",
    epilog="Start with: lorascope demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for panel, verbs in (
    ("Begin", (system.demo, system.setup, system.doctor)),
    ("Measure", (measurement.inspect, measurement.index)),
    ("Find", (find.search, find.similar, find.show, find.list_, server.serve, server.mcp)),
    (
        "Understand",
        (
            analysis.describe,
            analysis.audit,
            weight.weight,
            weight.triggers,
            fit.fit,
            analysis.duplicates,
            analysis.versions,
            analysis.health,
            law.screen,
            analysis.report,
        ),
    ),
    ("Share", (packs.share, packs.pull)),
    ("Keep", (annotate.annotate, sites.lookup, sites.get, data.import_, data.export, data.remove, data.verify)),
    ("Judge", (evaluation.evaluate, evaluation.calibrate, evaluation.experiment, evaluation.study)),
):
    for verb in verbs:
        kind = find.WordsVerb if verb is find.search else Verb
        app.command(verb.__name__.rstrip("_"), cls=kind, rich_help_panel=panel)(verb)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"lorascope {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass
