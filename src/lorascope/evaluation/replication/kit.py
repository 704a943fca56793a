"""The kit: draw, fetch, measure, compare, judge. Each step resumes where it was interrupted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, final

import numpy as np

from lorascope.caches import Note, quiet
from lorascope.errors import LibraryError, UsageError
from lorascope.evaluation.findings import Chart, Findings, FindingsTable, Section, Series, Value
from lorascope.evaluation.laboratory import Laboratory
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.replication.claims import (
    ABLATIONS,
    diversity_claims,
    promises,
    retrieval_claims,
    signature_claims,
    summary,
    untested,
)
from lorascope.evaluation.replication.comparison import Twin, limits_of, median, same_first, stopped
from lorascope.evaluation.replication.delivery import Delivery, deliver
from lorascope.evaluation.replication.plan import ReplicationPlan, draw, fitting, in_turn, listed
from lorascope.evaluation.retrievers import every_behaviour
from lorascope.evaluation.run import Evaluation, evaluate
from lorascope.evaluation.statistics import FEWEST, Clusters, Interval
from lorascope.evaluation.text import Dense
from lorascope.evaluation.verdicts import TOP
from lorascope.grid import Grid
from lorascope.library import Library, StoredAdapter, StoredProtocol, StoredSignature, library_if_any
from lorascope.library.published import published
from lorascope.measure import Outcome, Watcher, Worker, index
from lorascope.measure.stopping import expected_cells
from lorascope.precision import PRECISIONS, SCREENED
from lorascope.protocol import Preset, Thresholds
from lorascope.search.vectors import unit
from lorascope.signature import Estimate
from lorascope.sites import Civitai

JUDGED: Final = 0.2
"""The share of the budget that is kept for images to judge and for judges."""
_BYTES: Final = 2
"""Of a number in an embedding as it is stored."""


@final
class Replication:
    """Measures adapters of a published library again, in a folder of its own.

    Examples:
        Draw, fetch, measure, compare, judge::

            kit = Replication(Path("replication"), "metrics.parquet", Preset.load("carlos-2025"))
            worker = load_worker(kit.preset)
            plan = kit.plan(worker, timedelta(hours=24))
            delivery = kit.deliver(plan, Civitai())
            kit.measure(plan, delivery, worker)
            findings = kit.findings(worker.protocols[0].digest, load_queries("sdxl"), models, judges)
    """

    def __init__(self, folder: Path, source: str | Path, preset: Preset) -> None:
        """Read the published library.

        Raises:
            LibraryError: the published library cannot be read, or names no version of Civitai.
        """
        self.folder, self.path = folder, folder / "library.db"
        self._source = str(source)
        with published(source) as theirs:
            self._theirs = theirs.protocol
            rows = {row.adapter.claimed("civitai_version"): row for row in theirs.rows()}
        self._rows = {version: row for version, row in rows.items() if version}
        if not self._rows:
            raise LibraryError(f"{source} names no version of Civitai, so none of its adapters can be fetched")
        self._strata = draw(self._rows, listed())
        with library_if_any(self.path) as library:
            self.preset = library.protocols.continued(preset)

    def plan(self, worker: Worker, budget: timedelta) -> ReplicationPlan:
        """What fits into a budget, timed on a batch of bare images.

        Raises:
            UsageError: not even one adapter fits, or the preset's encoder is not that of the published library.
        """
        cost = worker.cell_cost()
        theirs, ours = len(next(iter(self._rows.values())).signature.direction), cost.embeddings // _BYTES
        if theirs != ours:
            raise UsageError(
                f"the published Directions have {theirs} dimensions, those of preset {self.preset.name!r} {ours}:"
                " measure with the encoder of the published library"
            )
        with library_if_any(self.path) as library:
            known = {version: stored for version, (_, stored) in _measured(library, worker.protocols[0].digest).items()}
            spent = sum((float(run["outcome"]["seconds"]) for run in library.runs.all() if run["outcome"]), 0.0)
        grid, cells = self.preset.grid(), {version: stored.signature.cells for version, stored in known.items()}
        order = sorted(in_turn(self._strata), key=lambda version: version not in known)  # some are at the site no more
        expected = [cells[one] if one in known and _settled(known[one]) else self._cells_of(one, grid) for one in order]
        left = max(0.0, budget.total_seconds() * (1 - JUDGED) - spent)
        adapters, whole, taken = fitting(
            [cells.get(version, 0) for version in order], expected, len(grid), left / cost.seconds
        )
        if not adapters:
            hours = 2 * expected[0] * cost.seconds / 3600 / (1 - JUDGED)
            raise UsageError(f"a budget of {budget} is too small: one adapter takes about {hours:.1f} h here")
        return ReplicationPlan(adapters, whole, taken, cost.seconds, left, spent)

    def _cells_of(self, version: int, grid: Grid) -> int:
        """How many cells an adapter takes to ``standard``, by its published Consistency.

        One below the threshold is certain to be hidden long before its Direction is known, so it counts as one at it.
        """
        consistency = max(self._rows[version].signature.consistency or 0.0, self.preset.consistency_min)
        return expected_cells(PRECISIONS["standard"], grid, consistency)

    def deliver(self, plan: ReplicationPlan, site: Civitai, note: Note = quiet) -> Delivery:
        """Fetch the adapters of a plan.

        Raises:
            SiteError: one after another cannot be had.
        """
        return deliver(self._rows, self._strata, plan.adapters, self.folder / "loras", site, note)

    def measure(
        self, plan: ReplicationPlan, delivery: Delivery, worker: Worker, watch: Watcher = lambda event: None
    ) -> Outcome:
        """Measure what was fetched, first all to ``standard``, then some on the whole grid, while there is time."""
        until = datetime.now() + timedelta(seconds=plan.seconds)
        files = list(delivery.files.values())
        with Library(self.path, create=True) as library:
            outcome = index(files, worker, library, precision="standard", until=until, watch=watch)
            if plan.whole and datetime.now() < until:
                some = files[: plan.whole]
                outcome = outcome.plus(index(some, worker, library, precision="full", until=until, watch=watch))
        return outcome

    def findings(
        self,
        protocol: str,
        queries: Sequence[JudgedQuery],
        models: Sequence[str],
        judges: Sequence[str],
        *,
        text_presets: Path | None = None,
        judge_presets: Path | None = None,
        device: str = "",
        download: bool = False,
        missing: Sequence[str] = (),
        note: Note = quiet,
    ) -> Findings:
        """Compare with what was published, let text models and judges take part, and say which claims hold.

        The queries need no known answers; ``missing`` are the reasons for adapters that could not be fetched.

        Raises:
            LibraryError: nothing was measured.
            ModelError: a model is not on this disk, or does not fit into the device's memory.
        """
        with Laboratory(
            self.path, protocol, models=models, presets=text_presets, device=device, download=download, note=note
        ) as lab:
            twins = self._twins(lab.library, lab.searcher.stored)
            evaluation, texts = _asked(lab, queries, note)
            verdicts = lab.judge(evaluation, judges, presets=judge_presets) if judges else None
            found = lab.findings(evaluation, verdicts)
            grid = lab.searcher.stored.preset.grid()
            ended = [twin for twin in twins if twin.ended]
            claims = (
                signature_claims(twins, lab.searcher.thresholds, _same_first(lab, ended, queries)),
                promises(twins, len(grid), stopped(lab.library, lab.searcher.stored, twins)),
                retrieval_claims(evaluation, verdicts.judged if verdicts else (), texts),
                diversity_claims(evaluation, texts),
                untested(),
            )
            figures = (_differences(ended), _adapters(twins, lab.searcher.thresholds), *found.sections)
            about = f"{summary(claims)} {self._about(lab, twins)}"
            warnings = self._warnings(lab.library, twins, missing)
            return Findings("Does the paper hold here?", about, claims + figures, (*warnings, *found.warnings))

    def _twins(self, library: Library, stored: StoredProtocol) -> list[Twin]:
        same = self._same_prompts(stored)
        found: list[Twin] = []
        for version, (adapter, ours) in _measured(library, stored.protocol.digest).items():
            if version in self._rows:
                theirs, name = self._rows[version].signature, adapter.claimed("title") or adapter.name
                limits = limits_of(ours.signature, theirs, same_prompts=same)
                found.append(Twin(adapter.key, name, version, ours.precision, theirs, ours.signature, limits))
        return found

    def _same_prompts(self, stored: StoredProtocol) -> bool:
        """Whether the published library was measured with the same prompts; it does not say, so a file is believed."""
        if self._theirs.prompts:
            return self._theirs.prompts == stored.protocol.prompts
        return stored.preset.prompts != Preset.load("carlos-2025").prompts

    def _about(self, lab: Laboratory, twins: Sequence[Twin]) -> str:
        whole = sum(twin.precision == "full" for twin in twins)
        prompts = "the same prompts" if self._same_prompts(lab.searcher.stored) else "other prompts of the same kind"
        return (
            f"{len(twins)} of the {len(self._rows)} adapters of {self._source}, measured again under"
            f" {lab.searcher.stored.protocol} with {prompts}, {whole} of them on the whole grid. Limits of what counts"
            " as holding were set before anything was measured. Intervals: 95%, over adapters or queries."
        )

    def _warnings(self, library: Library, twins: Sequence[Twin], missing: Sequence[str]) -> list[str]:
        found: list[str] = []
        if len(twins) < FEWEST:
            found.append(
                f"{len(twins)} adapters are too few for intervals: nothing can be told with fewer than {FEWEST}"
            )
        if coarse := sum(twin.precision in ("glance", "quick") for twin in twins):
            found.append(f"{coarse} adapters are not measured to the end: run the command again with a larger budget")
        if missing:
            found.append(f"{len(missing)} could not be fetched, and others were: {'; '.join(missing)}")
        if refused := [f"{one.path}: {one.reason}" for one in library.refusals.all()]:
            found.append(f"{len(refused)} could not be measured: {'; '.join(refused)}")
        return found


def _measured(library: Library, protocol: str) -> Mapping[int, tuple[StoredAdapter, StoredSignature]]:
    """What was measured, by Civitai's number of the version."""
    adapters = library.adapters.all()
    signatures = library.signatures.get(protocol, adapters)
    return {adapters[key].claimed("civitai_version"): (adapters[key], found) for key, found in signatures.items()}


def _settled(stored: StoredSignature) -> bool:
    return stored.precision in ("standard", "full") or stored.precision.startswith(SCREENED)


def _asked(lab: Laboratory, queries: Sequence[JudgedQuery], note: Note) -> tuple[Evaluation, list[str]]:
    """The rankings that the claims are about, and the names of the text models. The models are let go again."""
    texts = [one for one in lab.texts(lab.corpus) if isinstance(one, Dense)]
    named = {"behaviour", *ABLATIONS.values()}
    ours = [one for one in every_behaviour(lab.searcher) if one.name in named]
    return evaluate(lab.corpus, queries, [*ours, *texts], note), [one.name for one in texts]


def _same_first(lab: Laboratory, twins: Sequence[Twin], queries: Sequence[JudgedQuery]) -> Interval:
    """How many of the first hits for words both sides' Directions have in common, of adapters that are not hidden."""
    if not twins:
        return Interval(math.nan, math.nan, math.nan)
    vectors = lab.searcher.vectors([query.text for query in queries]).astype(np.float64)
    ours, theirs = (
        unit(np.stack([t.ours.direction for t in twins])),
        unit(np.stack([t.theirs.direction for t in twins])),
    )
    return Clusters([query.cluster for query in queries]).interval(
        same_first(vectors @ ours.T, vectors @ theirs.T, TOP)
    )


def _differences(twins: Sequence[Twin]) -> Section:
    strength = [(twin.ours.strength, twin.theirs.strength) for twin in twins]
    consistency = [(twin.ours.consistency or 0.0) - (twin.theirs.consistency or 0.0) for twin in twins]
    figures: dict[str, list[float]] = {
        "cosine of both Directions": [twin.cosine for twin in twins],
        "Strength here over that published": [ours / theirs for ours, theirs in strength if theirs],
        "Consistency here less that published": consistency,
        "the same without its sign": [abs(value) for value in consistency],
    }
    rows = tuple((name, median(values)) for name, values in figures.items() if values)
    text = "Medians over the adapters that were measured to the end."
    return Section("How far apart", text, FindingsTable(("figure", "median"), rows))


def _adapters(twins: Sequence[Twin], thresholds: Thresholds) -> Section:
    rows: list[tuple[Value, ...]] = []
    for twin in sorted(twins, key=lambda one: one.cosine):
        ours, theirs, limits = twin.ours, twin.theirs, twin.limits
        nearest = None if limits.agreement is None else limits.agreement.lower
        measured = [_shown(ours.strength, limits.strength), _shown(ours.consistency, limits.consistency)]
        rows.append((
            f"{twin.name} ({twin.version})", twin.precision, ours.cells, twin.cosine, nearest,
            theirs.strength, measured[0], theirs.consistency, measured[1],
        ))  # fmt: skip
    columns = ("adapter", "precision", "cells", "cosine", "at least", "S published", "S here", "C published", "C here")
    text = (
        "Cosine of both Directions, and the least that our limit allows; Strength and Consistency, with the limits"
        " within which the published ones lie with 95% if both measured the same."
    )
    charts = (
        _chart("Strength", [(one.theirs.strength, one.ours.strength) for one in twins], thresholds.strength_max),
        _chart(
            "Consistency",
            [(one.theirs.consistency or 0.0, one.ours.consistency or 0.0) for one in twins],
            thresholds.consistency_min,
        ),
    )
    return Section("Every adapter", text, FindingsTable(columns, tuple(rows)), charts)


def _shown(value: float | None, limits: Estimate | None) -> Value:
    return value if value is None or limits is None else Interval(value, limits.lower, limits.upper)


def _chart(name: str, points: Sequence[tuple[float, float]], threshold: float) -> Chart:
    theirs, ours = zip(*points, strict=True)
    series = (Series("adapters", theirs, ours),)
    title, lines = f"{name}, as published and as measured here", (("threshold", threshold),) * math.isfinite(threshold)
    return Chart("points", title, "published", "measured here", series, marks=lines, levels=lines)
