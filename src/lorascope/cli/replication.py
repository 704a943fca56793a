"""experiment replicate: its plan, its steps, its report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from lorascope.cli.checks import check_models, chosen_preset
from lorascope.cli.findings import print_findings
from lorascope.cli.output import counted, print_json, print_note
from lorascope.cli.progress import step_progress
from lorascope.cli.runs import RunProgress, loaded
from lorascope.errors import UsageError
from lorascope.evaluation import load_queries
from lorascope.evaluation.judges import find_judge
from lorascope.evaluation.replication import Replication, ReplicationPlan
from lorascope.evaluation.text import TextModel
from lorascope.generators.memory import release_memory
from lorascope.library.published import CARLOS
from lorascope.report.lab import write_findings
from lorascope.report.words import duration
from lorascope.sites import Civitai
from lorascope.sites.web import token_of

JUDGES = ("siglip2", "qwen2.5-vl", "imagereward", "hpsv2")
TEXTS = ("qwen3-0.6b", "e5-large", "bge-large", "gte-large")
"""Those of the paper; it does not say which sizes it used."""


@dataclass(frozen=True, kw_only=True)
class ReplicationOptions:
    """What a person asks for; "" and () stand for the paper's."""

    published: str
    folder: Path
    budget: timedelta
    queries: str
    split: str
    preset: str
    prompts: str
    texts: Sequence[str]
    text_presets: Path | None
    judges: Sequence[str]
    judge_presets: Path | None
    report: Path | None
    device: str
    download: bool
    dry_run: bool
    as_json: bool


def replicate(asked: ReplicationOptions) -> None:
    """Draw, fetch, measure, compare and judge; print the plan before, and the findings after."""
    preset = chosen_preset(asked.preset or CARLOS, prompts=asked.prompts)
    queries = load_queries(asked.queries or "sdxl", split=asked.split)
    texts, judges = asked.texts or TEXTS, asked.judges or JUDGES
    if not asked.published:
        raise UsageError("--published is missing: give the published library, metrics.parquet, or its https address")
    check_models(preset, download=asked.download)
    if not asked.dry_run:
        _check_what_follows(texts, judges, asked)
    kit = Replication(asked.folder, asked.published, preset)
    worker = loaded(kit.preset, device=asked.device, download=asked.download)
    protocol = worker.protocols[0].digest
    plan = kit.plan(worker, asked.budget)
    _print_plan(plan, asked)
    if asked.dry_run:
        return
    with step_progress() as note:
        delivery = kit.deliver(plan, Civitai(), note)
    with RunProgress() as bar:
        kit.measure(plan, delivery, worker, bar.watch)
    del worker
    release_memory()  # for text models and judges
    with step_progress() as note:
        findings = kit.findings(
            protocol, queries, texts, judges, text_presets=asked.text_presets, judge_presets=asked.judge_presets,
            device=asked.device, download=asked.download, missing=delivery.missing, note=note,
        )  # fmt: skip
    origin = f"{shlex.join(['lorascope', *sys.argv[1:]])}; {kit.preset.name}-{protocol}"
    path = write_findings(asked.report or asked.folder / "report.html", findings, origin)
    print_findings(findings, path, asked.as_json)


def _check_what_follows(texts: Sequence[str], judges: Sequence[str], asked: ReplicationOptions) -> None:
    """Make sure, before hours of images, that adapters can be fetched, and that all other models are here."""
    if not token_of("civitai"):
        raise UsageError("CIVITAI_TOKEN is not set: make a key on your account page at Civitai, and set it to that")
    for name in texts:
        TextModel.load(name, asked.text_presets).find(download=asked.download)
    for name in judges:
        find_judge(name, presets=asked.judge_presets, download=asked.download)


def _print_plan(plan: ReplicationPlan, asked: ReplicationOptions) -> None:
    if asked.dry_run and asked.as_json:
        print_json(asdict(plan) | {"hours": plan.hours})
        return
    spent = f"; earlier runs took {duration(plan.spent)}" if plan.spent else ""
    lines = (
        f"{counted(plan.adapters, 'adapter')} to standard, {plan.whole} of them on the whole grid: {plan.cells:,}"
        f" images still to make, about {plan.hours:.1f} h at {plan.seconds_per_cell:.2f} s each.",
        f"Measuring ends after {duration(plan.seconds)}{spent}. The rest of the budget is for images to judge and for"
        f" judges, which are not cut off. Everything is kept in {asked.folder}; the same command resumes from there.",
    )
    for line in lines:
        print_note(line)
