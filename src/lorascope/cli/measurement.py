"""inspect and index: from files to signatures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lorascope.cli import options


def inspect(
    paths: Annotated[list[Path], typer.Argument(help="Adapter files, or folders of them.")],
    digest: Annotated[
        bool, typer.Option("--sha256", help="Compute each file's SHA-256 too, which reads the whole file.")
    ] = False,
    follow_links: options.FollowLinks = False,
    as_json: options.Json = False,
) -> None:
    """Show what adapter files are, from their headers: format, base family, ranks, trigger words, and all-zero files.

    Of a single file, all that is known is shown, with what its sidecars claim.

    Exits with 1 if a file cannot be read as an adapter.
    """
    from lorascope.adapters import scan
    from lorascope.cli.checks import check_paths
    from lorascope.cli.details import print_file, print_inspected
    from lorascope.cli.output import print_json
    from lorascope.cli.progress import counted_files
    from lorascope.cli.refusals import print_refusals
    from lorascope.errors import AdapterError
    from lorascope.library import Refusal
    from lorascope.library.refusals import refusal

    check_paths(paths)
    rows: list[dict[str, Any]] = []
    refused: list[Refusal] = []

    with counted_files() as step:
        for path in scan(paths, lambda error: refused.append(refusal(error)), follow_links=follow_links):
            step(path)
            try:
                rows.append(_inspected(path, digest=digest))
            except AdapterError as error:
                refused.append(refusal(error))
    if as_json:
        print_json({"adapters": rows, "refused": [vars(one) for one in refused]})
    else:
        if rows and paths == [Path(rows[0]["path"])]:
            print_file(rows[0])
        elif rows or not refused:
            print_inspected(rows)
        print_refusals(refused)
    if refused:
        raise typer.Exit(1)


def _inspected(path: Path, *, digest: bool) -> dict[str, Any]:
    """What a file says of itself.

    Raises:
        AdapterError: it cannot be read as an adapter.
    """
    from lorascope.adapters import all_zero, read_adapter, sha256
    from lorascope.library.facts import AdapterFacts

    adapter = read_adapter(path)
    row = {"path": str(path), "family": adapter.family, **AdapterFacts.of(adapter).to_dict()}
    return row | {"all_zero": all_zero(path)} | ({"sha256": sha256(path)} if digest else {})


def index(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of adapters, or single files. With --download also what `get` takes, such as an AIR or"
            " owner/name. Default: the folders that `setup` found."
        ),
    ] = None,
    precision: options.PrecisionName = "standard",
    preset: options.PresetName = "",
    base: options.Base = "",
    vae: options.Vae = "",
    encoder: options.Encoders = None,
    prompts: options.Prompts = "",
    triggers: options.Triggers = "",
    scale: options.Scale = None,
    max_strength: options.ScreenStrength = None,
    min_consistency: options.ScreenConsistency = None,
    device: options.Device = "",
    batch: options.Batch = 0,
    compiled: options.Compile = False,
    devices: options.Devices = "",
    shard: options.ShardName = "",
    ray: options.Ray = "",
    workers: options.Workers = 0,
    gpus: options.WorkerGpus = None,
    evidence: options.EvidenceAddress = "",
    through: options.Through = "",
    workflow: options.WorkflowFile = None,
    node: options.Nodes = None,
    models: options.WorkflowModels = None,
    family: options.WorkflowFamily = "",
    until: options.Until = None,
    condition: options.Condition = None,
    reference: options.Reference = None,
    partial: options.Partial = False,
    follow_links: options.FollowLinks = False,
    calibration: options.CalibrationPath = "",
    recalibrate: options.Recalibrate = False,
    dry_run: options.DryRun = False,
    download: options.Download = False,
    library: options.LibraryPath = None,
    as_json: options.Json = False,
) -> None:
    """Measure every adapter in some folders. Stop it whenever you like: the same command resumes where it was.

    Without --preset and --base, what `lorascope setup` has written says which preset measures which adapters; without
    that, it is sdxl-paper.

    Exits with 1 if a file is left out that was not left out before, or if another process is measuring some.
    """
    from lorascope.adapters.items import Conditions
    from lorascope.cli.checks import check_file, check_library, check_models, check_unused
    from lorascope.cli.plans import check_files, plans, print_plans
    from lorascope.cli.sites import with_references
    from lorascope.precision import Precision

    # everything that can be wrong in the command is checked before models load and before a library is made
    Precision.named(precision)
    changes = {
        "vae": vae, "encoders": tuple(encoder or ()), "prompts": prompts, "triggers": triggers, "scale": scale,
        "strength_max": max_strength, "consistency_min": min_consistency, "calibration": calibration,
    }  # fmt: skip
    its_own = {"workflow": workflow, "node": node, "models": models, "family": family}
    others = {
        "base": base, "vae": vae, "batch": batch, "compile": compiled, "devices": devices, "shard": shard, "ray": ray,
        "workers": workers, "gpus-per-worker": gpus is not None, "evidence": evidence, "partial": partial,
        "follow-links": follow_links, "recalibrate": recalibrate, "dry-run": dry_run, "condition": condition,
        "reference": reference,
    }  # fmt: skip
    if through:
        check_unused(others, "with --through, where ComfyUI renders")
    else:
        check_unused(its_own, "without --through")
    conditions = Conditions.parse(condition or (), reference)
    files = with_references(paths or (), download=download, dry_run=dry_run)
    if through:
        from lorascope.cli.through import measure_through

        well = measure_through(
            files, through, workflow, node or (), models, preset, family, changes, library, precision=precision,
            until=until, device=device, download=download, as_json=as_json,
        )  # fmt: skip
        raise typer.Exit(0 if well else 1)
    check_file("--calibration", calibration)
    check_library(library)
    planned = plans(files, preset, base, changes, follow_links=follow_links, library=library)
    check_files(planned, library)
    print_plans(planned)
    for plan in planned.each:
        check_models(plan.preset, download=download)

    from lorascope.cli.fleet import check_fleet, fleet_of, measure_on_devices
    from lorascope.library.objects import ObjectStore

    fleet = fleet_of(ray, workers, gpus)
    objects = ObjectStore(evidence) if evidence else None
    check_fleet(fleet, devices, device, dry_run=dry_run)
    if devices:
        raise typer.Exit(measure_on_devices(shard))

    from lorascope.cli.runs import dry_run as show_costs
    from lorascope.cli.runs import measure
    from lorascope.measure.shard import Shard

    how = {"device": device, "batch": batch, "compiled": compiled, "download": download}
    part = Shard.parse(shard) if shard else None
    if dry_run:
        show_costs(planned, library, how, conditions, precision=precision, as_json=as_json)
    elif not measure(
        planned, library, how, fleet, objects, as_json=as_json, precision=precision, partial=partial,
        recalibrate=recalibrate, until=until, shard=part, conditions=conditions,
    ):  # fmt: skip
        raise typer.Exit(1)
