"""What earns the result: query encodings, filters, how many prompts and seeds, the encoder, other ways of ranking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Float, Int

from lorascope.caches import Note, quiet
from lorascope.encoders.encoding import ENCODINGS
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.findings import Chart, Findings, FindingsTable, Section, Series, Value
from lorascope.evaluation.measures import MAIN, Qrels
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.retrievers import FILTERS, Behaviour, every_behaviour
from lorascope.evaluation.run import evaluate, require_answers
from lorascope.evaluation.statistics import Clusters, Interval, compare
from lorascope.grid import PromptSet
from lorascope.moments import unit_rows
from lorascope.search import Searcher

_DRAWS = 5
"""How many random subsets of P' stand for each size."""
_SEED = 20251209

Rows = Float[np.ndarray, "n d"]


@final
class Bed:
    """Queries and Directions as arrays, for rankings that differ from the search in one thing."""

    def __init__(self, searcher: Searcher, corpus: Corpus, queries: Sequence[JudgedQuery]) -> None:
        self.searcher, self.corpus, self.queries = searcher, corpus, queries
        self.qrels = Qrels(corpus, queries)
        self.clusters = Clusters([query.cluster for query in queries])

    @cached_property
    def vectors(self) -> Rows:
        """The unit vectors of the queries, by the default encoding."""
        return unit_rows(np.stack([self.searcher.vector(query.text) for query in self.queries]).astype(float))

    @cached_property
    def directions(self) -> Rows:
        """The unit Directions."""
        return np.asarray(self.searcher.matrix.directions, float)

    @cached_property
    def cells(self) -> dict[str, tuple[Int[np.ndarray, " cells"], Rows]]:
        """The prompt and the effect of every cell of each adapter, in the order in which they were measured."""
        if not self.searcher.library.has_evidence:
            return {}
        grid = self.searcher.stored.preset.grid()
        digest = self.searcher.stored.protocol.digest
        prompts = np.array([cell.prompt for cell in grid.cells])
        found: dict[str, tuple[Int[np.ndarray, " cells"], Rows]] = {}
        for key in self.corpus.keys:
            blocks = self.searcher.library.evidence.blocks(key, digest)
            if blocks:
                effects = np.concatenate([block.effects for block in blocks])
                found[key] = (prompts[: len(effects)], effects)
        return found

    def score(self, scores: Float[np.ndarray, "queries adapters"]) -> Float[np.ndarray, " queries"]:
        """nDCG@5 of each query."""
        return self.qrels.main(scores)

    def interval(self, figures: Float[np.ndarray, " queries"]) -> Interval:
        """A mean over queries."""
        return self.clusters.interval(figures)


def ablation_findings(
    searcher: Searcher, corpus: Corpus, queries: Sequence[JudgedQuery], note: Note = quiet
) -> Findings:
    """Every section.

    Raises:
        QueryError: the queries are not graded, or none of the graded adapters is in the library.
    """
    require_answers(corpus, queries)
    bed = Bed(searcher, corpus, queries)
    steps = (_encodings, _query_prompts, _index_prompts, _seeds, _encoders, _variants)
    sections: list[Section] = []
    for done, step in enumerate(steps):
        note(step.__name__.strip("_").replace("_", " "), done, len(steps))
        sections += step(bed)
    note("", len(steps), len(steps))
    about = (
        f"{len(queries)} queries in {bed.clusters.count} groups, {len(corpus)} adapters. {MAIN} with 95% intervals;"
        " differences are paired, p allows for all comparisons of one table. Only the first section applies thresholds."
    )
    return Findings("Which part earns it?", about, tuple(sections))


def _encodings(bed: Bed) -> Iterator[Section]:
    found = evaluate(bed.corpus, bed.queries, every_behaviour(bed.searcher))
    figures = found.measure(MAIN)
    cells = {name: bed.interval(values) for name, values in figures.items()}
    rows: list[tuple[Value, ...]] = [
        (encoding, *(cells[Behaviour(bed.searcher, encoding, filters).name] for filters in FILTERS))
        for encoding in ENCODINGS
    ]
    text = "Query encodings (rows) under filter settings (columns)."
    yield Section("Query encodings and filters", text, FindingsTable(("encoding", *FILTERS), tuple(rows)))
    yield _against(bed, figures, "behaviour", "Against the default, suffix with both filters")


def _against(bed: Bed, figures: Mapping[str, Float[np.ndarray, " queries"]], base: str, heading: str) -> Section:
    found = compare(bed.clusters, figures, [(name, base) for name in figures if name != base])
    rows = tuple((one.first, one.difference, one.p, one.detectable) for one in found)
    return Section(heading, "", FindingsTable(("variant", "difference", "p", "detectable"), rows))


def _query_prompts(bed: Bed) -> Iterator[Section]:
    """How many prompts of P' a query vector needs."""
    shifts = np.stack([bed.searcher.phrases.encoder.shifts(query.text) for query in bed.queries]).astype(float)
    draw = np.random.default_rng(_SEED)
    sizes, points = list(_doubling(shifts.shape[1])), []
    for size in sizes:
        draws = 1 if size == shifts.shape[1] else _DRAWS
        chosen = [draw.choice(shifts.shape[1], size, replace=False) for _ in range(draws)]
        figures = [bed.score(unit_rows(shifts[:, rows].mean(1)) @ bed.directions.T) for rows in chosen]
        points.append(bed.interval(np.mean(figures, axis=0)))
    yield _curve("How many prompts in P'", "prompts in P'", sizes, points, f"Each point: {_DRAWS} random subsets.")


def _index_prompts(bed: Bed) -> Iterator[Section]:
    """How many cells a Direction needs: the first ones, each of another prompt."""
    if not bed.cells:
        return
    most = max(len(effects) for _, effects in bed.cells.values())
    prompts = len(bed.searcher.stored.preset.grid().prompts)
    sizes = list(_doubling(min(most, prompts)))
    points = [bed.interval(_ranked_by(bed, {k: e[:size] for k, (_, e) in bed.cells.items()})) for size in sizes]
    measured = [len(effects) for _, effects in bed.cells.values()]
    note = (
        f"Adapters were measured with {min(measured)} to {max(measured)} cells; one that has fewer than a point asks"
        " for takes part with all that it has."
    )
    yield _curve("How many prompts in P", "prompts in P, one seed each", sizes, points, note)


def _seeds(bed: Bed) -> Iterator[Section]:
    """How many seeds a prompt needs, where prompts were measured with several."""
    most = max((int(np.bincount(prompts).max()) for prompts, _ in bed.cells.values()), default=0)
    if most < 2:
        text = "No adapter was measured with two seeds of one prompt: `index --precision full` does that."
        yield Section("How many seeds in P", text)
        return
    sizes = list(_doubling(most))
    points: list[Interval] = []
    for size in sizes:
        chosen = {key: effects[_rounds(prompts) < size] for key, (prompts, effects) in bed.cells.items()}
        points.append(bed.interval(_ranked_by(bed, chosen)))
    yield _curve("How many seeds in P", "seeds for each prompt", sizes, points, "All prompts that were measured.")


def _rounds(prompts: Int[np.ndarray, " cells"]) -> Int[np.ndarray, " cells"]:
    """How often the prompt of each cell came up before."""
    seen: dict[int, int] = {}
    found = np.zeros(len(prompts), int)
    for place, prompt in enumerate(prompts.tolist()):
        found[place] = seen.get(prompt, 0)
        seen[prompt] = int(found[place]) + 1
    return found


def _ranked_by(bed: Bed, effects: Mapping[str, Rows]) -> Float[np.ndarray, " queries"]:
    directions = bed.directions.copy()
    for row, key in enumerate(bed.corpus.keys):
        if key in effects:
            directions[row] = unit_rows(effects[key].mean(0, keepdims=True))[0]
    return bed.score(bed.vectors @ directions.T)


def _curve(heading: str, axis: str, sizes: Sequence[int], points: Sequence[Interval], text: str) -> Section:
    line = Series.of(MAIN, list(map(float, sizes)), points)
    chart = Chart("lines", f"{MAIN} over {axis}", axis, MAIN, (line,), log=True)
    return Section(heading, text, FindingsTable((axis, MAIN), tuple(zip(sizes, points, strict=True))), (chart,))


def _doubling(most: int) -> Iterator[int]:
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def _encoders(bed: Bed) -> Iterator[Section]:
    """Other encoders that measured the same pictures."""
    library, own = bed.searcher.library, bed.searcher.stored.protocol
    others = [s for s in library.protocols.all() if s.protocol.scene == own.scene and s.adapters]
    heading = "Encoder swapped"
    if len(others) < 2:
        yield Section(heading, "This library was measured with one encoder: `index --encoder A --encoder B` takes two.")
        return
    rows: list[tuple[Value, ...]] = []
    for stored in others:
        searcher = Searcher(library, protocol=stored.protocol.digest)
        figures = evaluate(Corpus.of(searcher), bed.queries, [Behaviour(searcher, filters="none")]).measure(MAIN)
        rows.append((stored.protocol.encoder, stored.adapters, *map(bed.interval, figures.values())))
    yield Section(heading, "Same images, different encoder.", FindingsTable(("encoder", "adapters", MAIN), tuple(rows)))


def _variants(bed: Bed) -> Iterator[Section]:
    """Other ways of ranking by the same measurements, as candidates to adopt."""
    found = {name: bed.score(scores) for name, scores in variants(bed).items()}
    rows = tuple((name, bed.interval(figures)) for name, figures in found.items())
    text = (
        "Plain: the cosine with the Direction. Centred: with Directions less their mean over the library. Whitened: in"
        " a space where the Directions vary alike in all ways. Best category: the highest cosine with the mean"
        " effect on any one category of prompts. Confident: times the lower limit of the Direction's agreement."
    )
    yield Section("Ranking variants", text, FindingsTable(("variant", MAIN), rows))
    yield _against(bed, found, "plain", "Variants against plain")


def variants(bed: Bed) -> dict[str, Float[np.ndarray, "queries adapters"]]:
    """Scores by each variant; those that need evidence are left out without it."""
    queries, directions = bed.vectors, bed.directions
    centred = directions - directions.mean(0)
    found = {"plain": queries @ directions.T, "centred": queries @ unit_rows(centred).T}
    spread = _whitening(centred)
    found["whitened"] = unit_rows(queries @ spread) @ unit_rows(centred @ spread).T
    if len(bed.cells) == len(bed.corpus):
        found["best category"] = _best_category(bed)
    stored = bed.searcher.library.signatures.get(bed.searcher.stored.protocol.digest, bed.corpus.keys)
    agreements = [stored[key].signature.agreement for key in bed.corpus.keys]
    trust = np.array([max(0.0, one.lower) if one is not None else 0.0 for one in agreements])
    found["confident"] = found["plain"] * trust
    return found


def _whitening(centred: Rows) -> Float[np.ndarray, "d d"]:
    """The inverse square root of the Directions' covariance, shrunk by a tenth towards a sphere."""
    covariance = centred.T @ centred / len(centred)
    sphere = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, axes = np.linalg.eigh(0.9 * covariance + 0.1 * sphere)
    return (axes / np.sqrt(np.maximum(values, 1e-12))) @ axes.T


def _best_category(bed: Bed) -> Float[np.ndarray, "queries adapters"]:
    categories = np.array(PromptSet.load(bed.searcher.stored.preset.prompts).categories)
    columns: list[Float[np.ndarray, " queries"]] = []
    for key in bed.corpus.keys:
        prompts, effects = bed.cells[key]
        of_cell = categories[prompts]
        means = np.stack([effects[of_cell == name].mean(0) for name in np.unique(of_cell)])
        columns.append((bed.vectors @ unit_rows(means).T).max(1))
    return np.stack(columns, axis=1)
