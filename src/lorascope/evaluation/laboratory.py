"""A library with all that evaluates it: what is searched, the retrievers that are compared, experiments, judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from lorascope.caches import Note, quiet
from lorascope.encoders.encoding import Shifts
from lorascope.errors import LorascopeError, QueryError
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.findings import Findings
from lorascope.evaluation.lineup import lineup, text_retrievers
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.retrievers import Retriever
from lorascope.evaluation.run import Evaluation, evaluate
from lorascope.evaluation.statistics import Clusters
from lorascope.evaluation.store import LabStore
from lorascope.evaluation.text import STANDING_IN, Dense
from lorascope.evaluation.trec import read_runs
from lorascope.evaluation.verdicts import Judged, Verdicts, called_for
from lorascope.library import Library, StoredProtocol
from lorascope.search import Searcher, load_query_encoder

if TYPE_CHECKING:  # judges need torch, the rest does not
    from lorascope.evaluation.pictures import RenderCost, Studio

EXPERIMENTS: Final = {"ablations": True, "metadata": True, "sight": False, "names": False, "backbones": True}
"""The experiments, and whether each needs queries with known answers."""


@dataclass(frozen=True)
class EvaluationPlan:
    """What an evaluation would do and take.

    Attributes:
        queries: how many are asked.
        groups: how many groups of queries for the same thing these are.
        graded: how many of them have known answers.
        adapters: how many are ranked.
        retrievers: who ranks them.
        texts: how many texts each dense model has still to embed.
        missing: text models that are not on this disk, each with the reason and a remedy.
        images: what images to judge would take; None without a judge.
    """

    queries: int
    groups: int
    graded: int
    adapters: int
    retrievers: tuple[str, ...]
    texts: dict[str, int]
    missing: dict[str, str]
    images: RenderCost | None = None


@final
class Laboratory:
    """Evaluates a library: who finds what is asked, which thresholds suit it, which part earns the result.

    Examples:
        Compare all retrievers by queries whose answers are known::

            from lorascope.evaluation import Laboratory, load_queries

            with Laboratory("loras.db") as lab:
                evaluation = lab.evaluate(load_queries("queries.jsonl"))
                for section in lab.findings(evaluation).sections:
                    print(section.heading, section.table)
    """

    def __init__(
        self,
        library: Path | str | None = None,
        protocol: str = "",
        *,
        models: Sequence[str] = (),
        presets: Path | None = None,
        device: str = "",
        download: bool = False,
        note: Note = quiet,
    ) -> None:
        """Open a library.

        Args:
            library: its file; the default library if None.
            protocol: a Protocol of it, by name or digest; the last used if "".
            models: dense text models to compare with, by name; the one that comes in a package if none is named.
            presets: a TOML file of other text models.
            device: a torch device for text models and judges; the best one here if "".
            download: fetch models that are not on this disk.
            note: called with progress: what is being done, how many steps of it are done, and of how many.

        Raises:
            LibraryError: the library cannot be opened, or has no such Protocol.
        """
        self.device, self.download = device, download
        self._models = list(dict.fromkeys(models)) or [STANDING_IN]  # a model that is named twice takes part once
        self._presets, self._note = presets, note
        self._studios: dict[int, Studio] = {}
        with ExitStack() as opening:
            self.library = opening.enter_context(Library(Path(library) if library is not None else None))
            self.store = opening.enter_context(LabStore(self.library))
            self.searcher = Searcher(self.library, protocol=protocol, query_encoder=self._query_encoder)
            self.corpus = Corpus.of(self.searcher)
            self._opened = opening.pop_all()  # where something above fails, nothing stays open

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the library and what was kept beside it."""
        self._opened.close()

    def _query_encoder(self, stored: StoredProtocol) -> Shifts:
        return load_query_encoder(stored, download=self.download)

    def texts(self, corpus: Corpus) -> list[Retriever]:
        """Text retrievers of some adapters' words, dense ones first."""
        return text_retrievers(
            corpus, self.store, self._models, presets=self._presets, device=self.device, download=self.download
        )

    def _readers(self, corpus: Corpus) -> list[Retriever]:
        """Those text retrievers that read descriptions: the dense ones and BM25."""
        return self.texts(corpus)[: len(self._models) + 1]

    @cached_property
    def retrievers(self) -> list[Retriever]:
        """All that are compared."""
        return lineup(self.searcher, self.corpus, self.texts(self.corpus), dense=len(self._models))

    def evaluate(self, queries: Sequence[JudgedQuery], runs: Sequence[Path] = ()) -> Evaluation:
        """Let every retriever rank all adapters for every query.

        Args:
            queries: what is asked.
            runs: what other systems found, in TREC's format; each tag takes part as a retriever.

        Raises:
            QueryError: answers are known, but no adapter that the queries grade is in the library; or a run is wrong.
            ModelError: a text model is not on this disk.
        """
        others = [run for path in runs for run in read_runs(path, self.corpus, queries)]
        names = [*dict.fromkeys(one.name for one in self.retrievers), *(run.name for run in others)]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise QueryError(f"two retrievers are called {twice[0]!r}: give each run a tag of its own")
        return evaluate(self.corpus, queries, [*self.retrievers, *others], self._note)

    def findings(self, evaluation: Evaluation, verdicts: Verdicts | None = None) -> Findings:
        """The main table: figures, comparisons, kinds of query, what judges say, diversity."""
        from lorascope.evaluation.experiments.main import main_findings

        consistencies = [self.searcher.consistency(query.text) for query in evaluation.queries]
        named = ", ".join(self._models)
        dense = f"Dense text models: {named}."
        if self._models == [STANDING_IN]:
            dense = f"{named} (all-MiniLM-L6-v2) stands for the dense text models of the paper, which are larger."
        return main_findings(evaluation, consistencies, dense, verdicts)

    def plan(self, queries: Sequence[JudgedQuery], *, judged: bool = False, seeds: int = 1) -> EvaluationPlan:
        """What an evaluation would take. Queries are asked only if judges take part, to know which images it needs."""
        asked = [query.text for query in queries]
        dense = [one for one in self.texts(self.corpus) if isinstance(one, Dense)]
        texts = {one.name: one.missing(asked) for one in dense}
        missing: dict[str, str] = {}
        for one in dense:
            try:
                if texts[one.name]:
                    one.find()
            except LorascopeError as error:
                missing[one.name] = str(error)
        return EvaluationPlan(
            len(queries),
            Clusters([query.cluster for query in queries]).count,
            sum(bool(query.grades) for query in queries),
            len(self.corpus),
            tuple(dict.fromkeys(one.name for one in self.retrievers)),
            texts,
            missing,
            self.render_cost(self.evaluate(queries), seeds) if judged and not missing else None,
        )

    def _studio(self, seeds: int) -> Studio:
        """Where images to judge are made; its base model is loaded once."""
        from lorascope.evaluation.pictures import Sitting, Studio
        from lorascope.measure import load_worker
        from lorascope.measure.load import best_device

        if seeds not in self._studios:
            stored, device = self.searcher.stored, self.device or best_device()
            self._studios[seeds] = Studio(
                self.store,
                stored.protocol,
                Sitting.of(stored.preset, seeds),
                lambda: load_worker(stored.preset, device=device, download=self.download),
            )
        return self._studios[seeds]

    def render_cost(self, evaluation: Evaluation, seeds: int = 1) -> RenderCost:
        """What the images that judges need would take, timed on a batch of bare images.

        Raises:
            PromptSetError: the prompts to judge are not held out.
            QueryError: the preset has fewer seeds.
        """
        return self._studio(seeds).cost(called_for(evaluation))

    def judge(
        self, evaluation: Evaluation, judges: Sequence[str], *, presets: Path | None = None, seeds: int = 1
    ) -> Verdicts:
        """Make the images that are missing, and let judges look at all of them.

        Raises:
            QueryError: no such judge.
            ModelError: a judge's model is not on this disk, or does not fit into the device's memory.
        """
        from lorascope.evaluation.judges import find_judge, load_judge
        from lorascope.evaluation.panel import Panel
        from lorascope.generators.memory import release_memory
        from lorascope.measure.load import best_device

        for name in judges:  # before hours of images
            find_judge(name, presets=presets, download=self.download)
        studio = self._studio(seeds)
        unseen = studio.make(self.library.adapters.get(called_for(evaluation)), self._note)
        studio.release()  # memory for one model at a time: the base model goes before a judge comes
        panel = Panel(self.store, self.searcher.stored.protocol, studio.sitting)
        device, found = self.device or best_device(), list[Judged]()
        for name in judges:
            judge = load_judge(name, presets=presets, device=device, download=self.download)
            found.append(panel.judged(judge, evaluation, self._note))
            del judge
            release_memory()
        return Verdicts(tuple(found), tuple(unseen))

    def calibrate(self, queries: Sequence[JudgedQuery] = ()) -> Findings:
        """Thresholds by the paper's quantiles; with graded queries also those that serve them best."""
        from lorascope.evaluation.experiments.calibration import calibration_findings

        return calibration_findings(self.searcher, self.corpus, queries, self._note)

    def experiment(
        self, name: str, queries: Sequence[JudgedQuery] = (), *, descriptions: Path | None = None, other: str = ""
    ) -> Findings:
        """One of :data:`EXPERIMENTS`.

        Args:
            name: ``ablations``, ``metadata``, ``sight``, ``names`` or ``backbones``.
            queries: queries with known answers, for those that need them.
            descriptions: for ``metadata``: a TOML file with a perfect and a foreign text for each adapter.
            other: for ``backbones``: the Protocol of this library that is compared with the chosen one.

        Raises:
            QueryError: no such experiment, or it lacks queries, descriptions or another Protocol.
        """
        from lorascope.evaluation.experiments.ablations import ablation_findings
        from lorascope.evaluation.experiments.backbones import backbone_findings
        from lorascope.evaluation.experiments.metadata import Descriptions, metadata_findings
        from lorascope.evaluation.experiments.names import names_findings
        from lorascope.evaluation.experiments.sight import sight_findings

        check_experiment(name, given=bool(queries))
        searcher, corpus = self.searcher, self.corpus
        if name == "ablations":
            return ablation_findings(searcher, corpus, queries, self._note)
        if name == "backbones":
            if not other:
                raise QueryError("the experiment 'backbones' compares two Protocols: name the second one with --other")
            second = Searcher(self.library, protocol=other, query_encoder=self._query_encoder)
            return backbone_findings(searcher, second, queries)
        if name == "metadata":
            texts = Descriptions.of(corpus, descriptions)
            return metadata_findings(searcher, corpus, queries, self._readers, texts, self._note)
        return sight_findings(searcher, corpus, queries) if name == "sight" else names_findings(searcher, corpus)


def check_experiment(name: str, *, given: bool) -> None:
    """Check the name of an experiment, and that queries are ``given`` if it needs some.

    Raises:
        QueryError: no such experiment, or it lacks queries.
    """
    if name not in EXPERIMENTS:
        raise QueryError(f"no experiment {name!r}: use one of {', '.join(EXPERIMENTS)}, or replicate")
    if EXPERIMENTS[name] and not given:
        raise QueryError(f"the experiment {name!r} needs queries with known answers: name a file, or miniature")
