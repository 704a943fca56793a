"""fit: what an adapter does on several base models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorascope.cli import options

if TYPE_CHECKING:  # loads torch
    from lorascope.analysis.blocks import BlockMeasurement
    from lorascope.analysis.fit import BaseFit
    from lorascope.library import Library, StoredAdapter, StoredProtocol
    from lorascope.protocol import Preset


def fit(
    adapter: options.AdapterName,
    on: Annotated[
        list[str],
        typer.Option(
            "--on",
            metavar="CHECKPOINT",
            help="A base model: a folder of diffusers, a .safetensors checkpoint, or a Hugging Face id. Repeat it.",
        ),
    ],
    device: options.Device = "",
    batch: options.Batch = 0,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Find out whether an adapter does on other base models what it does on the one that it was measured on.

    The same prompts and seeds are rendered on each. Stop it whenever you like: what was measured is kept.
    """
    from dataclasses import asdict, replace

    from lorascope.cli.checks import check_models
    from lorascope.cli.output import print_json
    from lorascope.library import Library

    with Library(library) as opened:
        stored = opened.protocols.find(protocol)
        found = opened.adapters.find(adapter)
        presets = [replace(stored.preset, base=base) for base in on]
        for preset in presets:
            check_models(preset, download=download, base_option="--on")
        how = {"device": device, "batch": batch, "download": download}
        fits = _fits(opened, stored, found, [stored.preset, *presets], how)
    if as_json:
        rows = [asdict(one) | {"verdict": one.verdict, "sentence": one.sentence} for one in fits]
        print_json({"key": found.key, "name": found.name, "bases": rows})
        return
    _print(fits)


def _fits(
    library: Library, stored: StoredProtocol, adapter: StoredAdapter, presets: list[Preset], how: dict[str, Any]
) -> list[BaseFit]:
    """Measure an adapter on one base model after the other, its home base first."""
    from lorascope.analysis.blocks import BlockMeasurement, MeasuringCost
    from lorascope.analysis.fit import CELLS, base_fit
    from lorascope.cli.runs import loaded
    from lorascope.cli.weight import print_cost
    from lorascope.measure.measurement import Measurement

    fits: list[BaseFit] = []
    home = None
    for preset in presets:
        worker = loaded(preset, **how)
        measurement = BlockMeasurement(Measurement(worker, library, stored.protocol.scale), stored, CELLS)
        if images := measurement.images(adapter):
            print_cost("base model", MeasuringCost(1, images, images * worker.cell_cost().seconds))
        cells = _measured(library, adapter, measurement)
        home = home or cells
        coverage = measurement.coverage(adapter)
        fits.append(base_fit(preset.base, cells, home, coverage.matched, coverage.total))
        del worker, measurement  # before the next one's models are loaded
    return fits


def _measured(library: Library, adapter: StoredAdapter, measurement: BlockMeasurement) -> Any:
    from lorascope.errors import LibraryError
    from lorascope.library.leases import this_process

    owner = this_process()
    if not library.leases.acquire(adapter.key, measurement.scene, owner):
        raise LibraryError(f"another process is measuring {adapter.name}: wait for it, or stop it")
    try:
        return measurement.cells(adapter, lambda _, images: None)
    finally:
        library.leases.release(owner)


def _print(fits: list[BaseFit]) -> None:
    from lorascope.cli.output import estimated, print_table

    rows = [
        (
            one.base,
            f"{one.matched} of {one.modules}",
            estimated(one.strength),
            estimated(one.consistency, 3),
            estimated(one.cosine),
            estimated(one.kept),
            "its home base" if one is fits[0] else one.sentence,
        )
        for one in fits
    ]
    print_table(("base model", "modules", "Strength", "Consistency", "cosine", "effect kept", "in words"), rows)
