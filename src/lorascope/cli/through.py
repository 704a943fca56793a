"""index --through: measuring with a ComfyUI that runs already."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lorascope.cli.checks import check_library, chosen_preset
from lorascope.cli.output import err, print_note
from lorascope.cli.plans import DEFAULT, configured_folders
from lorascope.cli.refusals import without
from lorascope.cli.runs import followed, report
from lorascope.errors import UsageError
from lorascope.generators.workflow import Workflow
from lorascope.library import Library
from lorascope.measure.through import hashes_of, worker_through
from lorascope.protocol import Preset


def measure_through(
    paths: Sequence[Path],
    address: str,
    workflow: Path | None,
    nodes: Sequence[str],
    models: Path | None,
    preset: str,
    family: str,
    changes: Mapping[str, Any],
    place: Path | None,
    *,
    precision: str,
    until: datetime | None,
    device: str,
    download: bool,
    as_json: bool,
) -> bool:
    """Index some folders through a ComfyUI; the arguments are those of `index`.

    Returns:
        Whether no file was newly left out.

    Raises:
        UsageError: no workflow or no folder is named.
    """
    if workflow is None:
        raise UsageError("--through needs --workflow FILE, which ComfyUI saves with Export (API)")
    folders = list(paths) or configured_folders()[0]
    if not folders:
        raise UsageError("no folder is named: give one, or run `lorascope setup` once, which looks for yours")
    check_library(place)
    wanted = _of_family(chosen_preset(preset or DEFAULT, **changes), family)
    hashes = _hashes(Workflow.load(workflow, _roles(nodes)), [models] if models else _model_folders(folders))
    with err.status("asking ComfyUI, loading the encoder"):
        worker = worker_through(
            wanted, address, workflow, _roles(nodes), hashes=hashes, device=device, download=download
        )  # fmt: skip
    with Library(place, create=True) as library:
        before = library.refusals.all()
        outcome = followed(folders, worker, library, precision=precision, until=until)
        new = without(outcome.refused, before)
        report(outcome, new, library, place, as_json=as_json)
    return not new and not outcome.elsewhere


def _of_family(preset: Preset, family: str) -> Preset:
    return dataclasses.replace(preset, family=family) if family else preset


def _model_folders(folders: Sequence[Path]) -> list[Path]:
    """The folders called ``models``, as ComfyUI's is, in which those of adapters are."""
    inside = (parent for folder in folders for parent in (folder.absolute(), *folder.absolute().parents))
    return list(dict.fromkeys(parent for parent in inside if parent.name == "models"))


def _hashes(workflow: Workflow, folders: Sequence[Path]) -> dict[str, str]:
    """The hashes of the workflow's models; says of which ones no file is at hand."""
    with err.status("hashing the workflow's models"):
        hashes = hashes_of(workflow.models, folders)
    for name in (name for name in workflow.models if name not in hashes):
        line = f"{name} is not here, or several times: only its name counts. --models names the folder of its file"
        print_note(line, "yellow")
    return hashes


def _roles(nodes: Sequence[str]) -> dict[str, str]:
    """Nodes by role, from ``role=ID``."""
    pairs = [node.partition("=") for node in nodes]
    if wrong := [role for role, sign, node in pairs if not (sign and node)]:
        raise UsageError(f"--node {wrong[0]}: write role=ID, such as lora=10")
    return {role: node for role, _, node in pairs}
