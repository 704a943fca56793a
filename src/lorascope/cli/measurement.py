"""inspect and index: from files to signatures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lorascope.cli import options


def inspect(
    paths: Annotated[list[Path], typer.Argument(help="Adapter files, or folders of them.")],
    digest: Annotated[
        bool, typer.Option("--sha256", help="Compute each file's SHA-256 too, reading all of it.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Tell what adapter files are, from headers: format, base family, ranks, triggers; and which are all zero."""
    from lorascope.adapters import all_zero, read_adapter, scan, sha256
    from lorascope.cli.inspection import print_inspected
    from lorascope.cli.output import print_json, print_refusals
    from lorascope.errors import AdapterError, UnreadableAdapter
    from lorascope.library import Refusal
    from lorascope.library.facts import adapter_facts, refusal

    rows: list[dict[str, Any]] = []
    refused: list[Refusal] = []

    def report(folder: Path, reason: str) -> None:
        refused.append(refusal(UnreadableAdapter(folder, reason, "Check its permissions")))

    for path in scan(paths, report):
        try:
            adapter = read_adapter(path)
            row = {"path": str(path), "family": adapter.family, **adapter_facts(adapter), "all_zero": all_zero(path)}
            rows.append(row | ({"sha256": sha256(path)} if digest else {}))
        except AdapterError as error:
            refused.append(refusal(error))
    if as_json:
        print_json({"adapters": rows, "refused": [vars(one) for one in refused]})
    else:
        if rows or not refused:
            print_inspected(rows)
        print_refusals(refused)
    if refused:
        raise typer.Exit(1)


def index(
    paths: Annotated[list[Path], typer.Argument(help="Folders of adapters, or single files.")],
    precision: options.PrecisionName = "standard",
    preset: options.PresetName = "sdxl-paper",
    base: options.Base = "",
    encoder: options.Encoders = None,
    prompts: options.Prompts = "",
    triggers: options.Triggers = "",
    scale: options.Scale = None,
    max_strength: options.ScreenStrength = None,
    min_consistency: options.ScreenConsistency = None,
    device: options.Device = "",
    batch: options.Batch = 0,
    compiled: options.Compile = False,
    until: options.Until = None,
    partial: options.Partial = False,
    dry_run: options.DryRun = False,
    download: options.Download = False,
    library: options.LibraryPath = None,
    as_json: options.Json = False,
) -> None:
    """Measure every adapter under some folders. Interrupt it when you like: the same command goes on from there."""
    from lorascope.cli.runs import chosen_preset, followed, loaded, print_estimate, report
    from lorascope.library import Library
    from lorascope.protocol import Precision

    chosen = chosen_preset(
        preset, base=base, encoders=tuple(encoder or ()), prompts=prompts, triggers=triggers, scale=scale,
        strength_max=max_strength, consistency_min=min_consistency,
    )  # fmt: skip
    Precision.named(precision)  # a wrong name should not cost the loading of models
    with Library(library, create=True) as opened:
        bench = loaded(chosen, opened, device=device, batch=batch, compiled=compiled, download=download)
        if dry_run:
            print_estimate(bench, paths, precision, as_json)
            return
        outcome = followed(paths, bench, precision=precision, partial=partial, until=until)
        report(outcome, opened, as_json)
    if outcome.refused or outcome.elsewhere:
        raise typer.Exit(1)
