"""Judges on the command line: the cost first, then images, then scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from lorascope.cli.lab import Laboratory
from lorascope.cli.output import err
from lorascope.evaluation.judges import find_judge, load_judge
from lorascope.evaluation.judging import Judged, Panel, called_for
from lorascope.evaluation.pictures import Sitting, Studio
from lorascope.evaluation.run import Evaluation
from lorascope.measure import load_bench
from lorascope.measure.load import best_device


def sit(
    lab: Laboratory, found: Evaluation, names: Sequence[str], presets: Path | None, seeds: int, *, dry_run: bool
) -> list[Judged]:
    """Make the images that are missing, after telling what that takes, and let judges look at all of them."""
    for name in () if dry_run else names:  # told before hours of images
        find_judge(name, presets=presets, download=lab.download)
    stored = lab.searcher.stored
    sitting = Sitting.of(stored.preset, seeds)
    device = lab.device or best_device()
    studio = Studio(
        lab.store,
        stored.protocol,
        sitting,
        lambda: load_bench(stored.preset, lab.library, device=device, download=lab.download),
    )
    keys = called_for(found)
    with err.status("timing a batch of images"):
        cost = studio.cost(keys)
    err.print(
        f"Images to judge: {len(sitting.cells)} for each of {len(keys)} adapters; {cost.images} still to make, about"
        f" {cost.seconds / 60:.1f} minutes and {cost.gigabytes:.2f} GB. Each is made once.",
        highlight=False,
    )
    if dry_run:
        return []
    for reason in studio.make(lab.library.adapters(keys), lab.watch):
        err.print(f"[yellow]no images:[/] {escape(reason)}", highlight=False)
    panel = Panel(lab.store, stored.protocol, sitting)
    judges = [load_judge(name, presets=presets, device=device, download=lab.download) for name in names]
    return [panel.judged(judge, found, lab.watch) for judge in judges]
