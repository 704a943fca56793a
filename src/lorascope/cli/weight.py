"""weight and triggers: at which weight and by which words to use an adapter. Both measure what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorascope.cli import options

if TYPE_CHECKING:  # loads torch
    from lorascope.analysis import Advice, Curve
    from lorascope.analysis.blocks import MeasuringCost
    from lorascope.analysis.scales import CurveMeasurement
    from lorascope.analysis.triggers import TriggerMeasurement
    from lorascope.library import Library, StoredAdapter, StoredProtocol
    from lorascope.signature import Estimate


def weight(
    adapters: options.AdapterNames = None,
    every: Annotated[bool, typer.Option("--all", help="Every adapter of the library.")] = False,
    device: options.Device = "",
    batch: options.Batch = 0,
    dry_run: options.DryRun = False,
    download: options.Download = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            parser=options.output_file,
            metavar="SHEET",
            help="Write curves, and one prompt over the weights, to this HTML file.",
        ),
    ] = None,  # fmt: skip
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Find the weight at which an adapter shows its effect and keeps the scene. Stop it whenever you like.

    A few images are made at some weights, once: what was measured is kept and shown the next time.
    """
    from lorascope.analysis import known_curves
    from lorascope.cli.checks import check_unused
    from lorascope.library import Library

    if dry_run:
        check_unused({"sheet": sheet}, "with --dry-run")
    with Library(library) as opened:
        stored = opened.protocols.find(protocol)
        chosen = chosen_adapters(opened, adapters, stored, every=every)
        known = known_curves(opened, stored.protocol.digest, [one.key for one in chosen])
        cost = None
        if missing := [one for one in chosen if one.key not in known]:
            how: dict[str, Any] = {"device": device, "batch": batch, "download": download}
            cost = measure_missing(_measurement(opened, stored, how), missing, "curve", dry_run=dry_run)
        if dry_run:
            end_dry_run(cost, as_json=as_json)
        else:
            _show(opened, stored, chosen, sheet, as_json)


def triggers(
    adapters: options.AdapterNames = None,
    every: Annotated[bool, typer.Option("--all", help="Every adapter that was measured with trigger words.")] = False,
    device: options.Device = "",
    batch: options.Batch = 0,
    dry_run: options.DryRun = False,
    download: options.Download = False,
    library: options.LibraryPath = None,
    protocol: options.ProtocolName = "",
    as_json: options.Json = False,
) -> None:
    """Find out which trigger words an adapter needs: how much of its effect is left without them, and without each.

    A few images are made without each word, once: stop it whenever you like, what was measured is kept.
    """
    from lorascope.analysis.usage import is_tried, words_of
    from lorascope.errors import LibraryError
    from lorascope.library import Library

    with Library(library) as opened:
        stored = opened.protocols.find(protocol)
        chosen = chosen_adapters(opened, adapters, stored, every=every)
        wordless = [one for one in chosen if not words_of(one, stored.protocol)]
        if wordless and not every:
            raise LibraryError(f"{wordless[0].name} was measured without trigger words: there is nothing to leave out")
        chosen = [one for one in chosen if one not in wordless]
        cost = None
        if missing := [one for one in chosen if not is_tried(opened, stored, one)]:
            from lorascope.analysis.triggers import TriggerMeasurement
            from lorascope.cli.runs import loaded

            worker = loaded(stored.preset, device=device, batch=batch, download=download)
            cost = measure_missing(TriggerMeasurement(worker, opened, stored), missing, "adapter", dry_run=dry_run)
        if dry_run:
            end_dry_run(cost, as_json=as_json)
        else:
            _show_shares(opened, stored, [one.key for one in chosen], as_json)


def chosen_adapters(
    library: Library, names: Sequence[str] | None, stored: StoredProtocol, *, every: bool
) -> list[StoredAdapter]:
    """The adapters that are named, or all that were measured under a Protocol.

    Raises:
        UsageError: neither some nor all are asked for, or both.
        LibraryError: there is none of a name, or it was not measured.
    """
    from lorascope.errors import LibraryError, UsageError, printable

    if names and every:
        raise UsageError(f"{printable(names[0])} and --all are both given: leave one out")
    if not names and not every:
        raise UsageError("name some adapters, or give --all for every adapter of the library")
    measured = set(library.signatures.strengths(stored.protocol.digest))
    chosen = [library.adapters.find(name) for name in names] if names else list(library.adapters.get(measured).values())
    for one in chosen:
        if one.key not in measured:
            raise LibraryError(
                f"{one.name} was not measured under {stored.protocol}: run `lorascope index` on it first"
            )
    return chosen


def _measurement(library: Library, stored: StoredProtocol, how: dict[str, Any]) -> CurveMeasurement:
    """What measures Curves, with its models loaded."""
    from lorascope.analysis.cells import PromptTexts, known_grid
    from lorascope.analysis.scales import CurveMeasurement
    from lorascope.cli.runs import loaded
    from lorascope.encoders.load import load_text_encoder

    texts = PromptTexts(load_text_encoder(stored.protocol.encoder, download=how["download"]), known_grid(stored))
    return CurveMeasurement(loaded(stored.preset, **how), library, stored, texts)


def measure_missing(
    measurement: CurveMeasurement | TriggerMeasurement, adapters: Sequence[StoredAdapter], what: str, *, dry_run: bool
) -> MeasuringCost:
    """Say what it takes, and measure it unless it is a dry run; returns what it takes."""
    from lorascope.cli.output import counted, err, harmless, print_note
    from lorascope.cli.progress import step_progress

    cost = measurement.cost(adapters)
    print_cost(what, cost)
    if dry_run:
        return cost
    with step_progress() as note:
        images = 0

        def done(adapter: StoredAdapter, count: int) -> None:
            nonlocal images
            images += count
            note(adapter.name, images, max(cost.images, images))

        problems = [one for one in measurement.measure(adapters, done) if one.problem]
    for one in problems:
        print_note(harmless(f"{one.adapter.name}: {one.problem}"), "yellow")
    if problems:
        err.print(f"{counted(len(problems), 'adapter')} not measured", highlight=False)
    return cost


def end_dry_run(cost: MeasuringCost | None, *, as_json: bool) -> None:
    """Print what measuring takes as JSON; or that it takes nothing (None), where that was not said yet."""
    from lorascope.cli.output import print_json

    if as_json:
        print_json(asdict(cost) if cost else {"adapters": 0, "images": 0, "seconds": 0.0})
    elif cost is None:
        typer.echo("Everything is known: nothing would be measured.")


def print_cost(what: str, cost: MeasuringCost) -> None:
    """Say how long it will take to make the images that are still missing."""
    from lorascope.cli.output import counted, err
    from lorascope.report.words import duration

    line = f"{counted(cost.adapters, what)} to measure: about {cost.images} images, {duration(cost.seconds)}"
    err.print(line, highlight=False)


def _show(
    library: Library, stored: StoredProtocol, adapters: Sequence[StoredAdapter], sheet: Path | None, as_json: bool
) -> None:
    """Print the advice for each adapter, and for a single one its Curve."""
    from lorascope.analysis import advise, known_curves
    from lorascope.cli.output import out, print_json, print_table
    from lorascope.report.plain import plain_weight

    curves = known_curves(library, stored.protocol.digest, [one.key for one in adapters])
    known = [(one, curves[one.key], advise(curves[one.key])) for one in adapters if one.key in curves]
    path = None
    if sheet is not None:
        from lorascope.report.curve import write_curves

        path = write_curves(sheet, library, stored.protocol, known)
    if as_json:
        rows = [{"key": one.key, "name": one.name, **plain_weight(curve)} for one, curve, _ in known]
        print_json({"weights": rows})
        return
    if len(known) == 1:
        print_curve(known[0][1])
    print_table(
        ("adapter", "weight", "range", "author says", "why"),
        [
            (one.name, _scale(advice.weight), advice.range, _scale(one.claimed("weight")), advice.reason)
            for one, _, advice in known
        ],
    )
    if path is not None:
        out.print(f"Curves: {path.as_uri()}", soft_wrap=True)


def _show_shares(library: Library, stored: StoredProtocol, keys: list[str], as_json: bool) -> None:
    """Print how much is left without all words, and without each."""
    from lorascope.cli.output import estimated, print_json, print_table

    left = [(one, _shares(library, stored, one)) for one in library.adapters.get(keys).values()]
    if as_json:
        rows = [
            {"key": one.key, "name": one.name,
             "without": [{"words": words, "left": share and asdict(share)} for words, share in shares]}
            for one, shares in left
        ]  # fmt: skip
        print_json({"triggers": rows})
        return
    table = [(one.name, words, estimated(share)) for one, shares in left for words, share in shares]
    print_table(("adapter", "without", "effect left"), table)


def _shares(library: Library, stored: StoredProtocol, adapter: StoredAdapter) -> list[tuple[str, Estimate | None]]:
    """All words together first, then each."""
    from lorascope.analysis.usage import known_shares, share_without, words_of

    whole = ", ".join(words_of(adapter, stored.protocol))
    return [(whole, share_without(library, stored, adapter)), *known_shares(adapter, stored.protocol).items()]


def print_curve(curve: Curve) -> None:
    """One row for each weight."""
    from lorascope.cli.output import estimated, print_table

    names = ("strength", "consistency", "cosine", "effect", "kept")
    rows: list[tuple[str, ...]] = []
    for point in curve.points:
        figures = [getattr(point, name) for name in names]
        rows.append((f"{point.scale:g}", *map(estimated, figures)))
    print_table(("weight", "Strength", "Consistency", "cosine with 1.0", "effect", "prompt kept"), rows)


def print_advice(advice: Advice) -> None:
    """The advised weight and its reason, in one line."""
    from lorascope.cli.output import print_line

    weight = "no weight advised" if advice.weight is None else f"weight {advice.weight:g} ({advice.range})"
    print_line(f"{weight}: {advice.reason}")


def _scale(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"
