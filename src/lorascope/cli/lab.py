"""What the verbs of the lab share: an opened library with its retrievers, progress, findings on the terminal."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import final

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lorascope.cli.output import err, out, print_json, print_table
from lorascope.encoders.encoding import Shifts
from lorascope.errors import QueryError
from lorascope.evaluation import Corpus, Findings, JudgedQuery
from lorascope.evaluation.findings import Value
from lorascope.evaluation.lineup import lineup, text_retrievers
from lorascope.evaluation.retrievers import Retriever
from lorascope.evaluation.statistics import Interval
from lorascope.evaluation.store import LabStore
from lorascope.evaluation.text import STANDING_IN
from lorascope.library import Library, StoredProtocol
from lorascope.report.lab import plain_cell, write_findings
from lorascope.search import Searcher, load_query_encoder


@final
class Laboratory:
    """A library, what is searched in it, and who searches."""

    def __init__(
        self,
        path: Path | None,
        protocol: str,
        models: Sequence[str],
        presets: Path | None,
        *,
        device: str,
        download: bool,
    ) -> None:
        with ExitStack() as opening:
            self.library = opening.enter_context(Library(path))
            self.store = opening.enter_context(LabStore(self.library))
            self.searcher = Searcher(self.library, protocol=protocol, query_encoder=self._query_encoder)
            self.corpus = Corpus.of(self.searcher)
            self._opened = opening.pop_all()  # where something above fails, nothing stays open
        self._models = list(dict.fromkeys(models)) or [STANDING_IN]  # each sits once in the lineup
        self._presets, self.device, self.download = presets, device, download
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=err, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Laboratory:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._opened.close()

    def _query_encoder(self, stored: StoredProtocol) -> Shifts:
        return load_query_encoder(stored, download=self.download)

    def texts(self, corpus: Corpus) -> list[Retriever]:
        """Text retrievers of some adapters' words, dense ones first."""
        return text_retrievers(
            corpus, self.store, self._models, presets=self._presets, device=self.device, download=self.download
        )

    def readers(self, corpus: Corpus) -> list[Retriever]:
        """Those text retrievers that read descriptions: the dense ones and BM25."""
        return self.texts(corpus)[: len(self._models) + 1]

    @cached_property
    def lineup(self) -> list[Retriever]:
        """Everybody."""
        return lineup(self.searcher, self.corpus, self.texts(self.corpus), dense=len(self._models))

    def watch(self, stage: str, done: int, total: int) -> None:
        """Follow a run."""
        self._progress.update(self._task, description=stage, completed=done, total=total)

    def consistencies(self, queries: Sequence[JudgedQuery]) -> list[float | None]:
        """The Consistency of each query's own shifts."""
        return [self.searcher.text(query.text, top=1).consistency for query in queries]

    @property
    def about_text(self) -> str:
        """Which text models took part."""
        named = ", ".join(self._models)
        if self._models == [STANDING_IN]:
            return f"{named} (all-MiniLM-L6-v2) stands for the dense text models of the paper, which are larger."
        return f"Dense text models: {named}."

    @property
    def origin(self) -> str:
        """Where a page comes from: the command and the Protocol."""
        command = shlex.join(["lorascope", *sys.argv[1:]])
        return f"{command}; {self.searcher.stored.protocol}, {len(self.corpus)} adapters"


def present_findings(findings: Findings, origin: str, report: Path | None, as_json: bool) -> None:
    """Write the page, if asked, and print the tables."""
    path = write_findings(report, findings, origin) if report is not None else None
    if as_json:
        print_json(asdict(findings))
        return
    out.print(f"[bold]{escape(findings.title)}[/]\n{escape(findings.about)}", highlight=False)
    for warning in findings.warnings:
        out.print(f"[yellow]{escape(warning)}[/]", highlight=False)
    for section in findings.sections:
        if section.charts and section.table is None:
            continue  # it is a chart, for the page
        out.print(f"\n[bold]{escape(section.heading)}[/]\n[dim]{escape(section.text)}[/]", highlight=False)
        if section.table is not None:
            print_table(section.table.columns, [[_short(cell, row) for cell in row] for row in section.table.rows])
    if path is not None:
        out.print(f"\nReport: {path.as_uri()}", soft_wrap=True)


def _short(cell: Value, row: Sequence[Value]) -> str | int:
    """A cell for a terminal: where a row has many intervals, they are left to the page and to JSON."""
    many = sum(isinstance(one, Interval) for one in row) > 2
    if isinstance(cell, int):
        return cell
    return plain_cell(cell.value if many and isinstance(cell, Interval) else cell)


def _ablations(lab: Laboratory, queries: Sequence[JudgedQuery], _: Path | None) -> Findings:
    from lorascope.evaluation.experiments.ablations import ablation_findings

    return ablation_findings(lab.searcher, lab.corpus, queries, lab.watch)


def _metadata(lab: Laboratory, queries: Sequence[JudgedQuery], source: Path | None) -> Findings:
    from lorascope.evaluation.experiments.metadata import Descriptions, metadata_findings

    descriptions = Descriptions.of(lab.corpus, source)
    return metadata_findings(lab.searcher, lab.corpus, queries, lab.readers, descriptions, lab.watch)


def _sight(lab: Laboratory, queries: Sequence[JudgedQuery], _: Path | None) -> Findings:
    from lorascope.evaluation.experiments.sight import sight_findings

    return sight_findings(lab.searcher, lab.corpus, queries)


def _names(lab: Laboratory, _: Sequence[JudgedQuery], __: Path | None) -> Findings:
    from lorascope.evaluation.experiments.names import names_findings

    return names_findings(lab.searcher, lab.corpus)


EXPERIMENTS: dict[str, Callable[[Laboratory, Sequence[JudgedQuery], Path | None], Findings]] = {
    "ablations": _ablations,
    "metadata": _metadata,
    "sight": _sight,
    "names": _names,
}


def known_experiment(name: str, queries: str) -> None:
    """Check the name of an experiment, and that it gets the queries that it needs."""
    if name not in EXPERIMENTS:
        raise QueryError(f"no experiment {name!r}: use one of {', '.join(EXPERIMENTS)}")
    if name in ("ablations", "metadata") and not queries:
        raise QueryError(f"the experiment {name!r} needs queries with known answers: name a file, or miniature")
