"""What the shipped world shows: rankings by query encoding, and whether signatures are what adapters were made for.

    python -m benchmarks.world

Every adapter is measured at `standard`, through the public path. The library stays in build/world, so an interrupted
run continues; delete the folder to measure anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import clarity
from benchmarks.machine import describe
from benchmarks.markdown import table
from lorascope import Grid, Library, Moments, Preset, Searcher, Signature, index
from lorascope.evaluation import Corpus, evaluate, load_queries
from lorascope.evaluation.experiments.main import main_findings
from lorascope.evaluation.findings import Value
from lorascope.evaluation.lineup import lineup, text_retrievers
from lorascope.evaluation.measures import KEPT, MAIN
from lorascope.evaluation.queries import kinds
from lorascope.evaluation.retrievers import every_behaviour, random_orders
from lorascope.evaluation.run import Evaluation
from lorascope.evaluation.statistics import Interval, compare
from lorascope.evaluation.store import LabStore
from lorascope.measure import Worker, load_worker
from lorascope.miniature import adapters_path, truth
from lorascope.signature import Accuracy, Estimate

Rows = list[Sequence[object]]
_KEPT_IN = Path("build/world")
LOOKED = (
    "The test split was looked at seven times with these queries and grades, and dev chose what ships"
    " ([evaluation.md](evaluation.md#on-the-shipped-world)): read it as a second dev split. New comparisons use the"
    " fresh split ([benchmark.md](benchmark.md#splits-of-miniature))."
)


_LEGEND = (
    "*behaviour* is the default search: encoding *suffix*, both thresholds. *kept* is how well the first five keep the"
    " scene, 0 to 1; *nDCG@5 kept* weighs topic by that. Rows of equal printed digits are one (*also*). 95% intervals:"
    " bootstrap over groups. *random*: mean of 20 orders."
)


def report() -> str:
    """Measure the world and describe it, as Markdown."""
    _KEPT_IN.mkdir(parents=True, exist_ok=True)
    with Library(_KEPT_IN / "world.db", create=True) as library:
        worker = load_worker(Preset.load("miniature"), device="cpu")
        outcome = index([adapters_path()], worker, library, precision="standard")
        searcher = Searcher(library)
        cells = sum(signature.cells for signature in _signatures(searcher).values())
        parts = [
            "# What the shipped world shows\n",
            "Written by `python -m benchmarks`; do not edit.\n",
            f"{len(searcher.matrix)} adapters at `standard`, {cells} cells in all; {describe()}.\n",
        ]
        if outcome.refused:
            parts.append(f"Left out: {', '.join(refusal.path for refusal in outcome.refused)}\n")
        parts += [
            "## Queries\n",
            _queries(searcher),
            "## Against search in names and descriptions\n",
            _against_text(searcher),
            "## Clarity\n",
            clarity.section(searcher),
            "## Signatures\n",
            _claims(searcher),
            _halves(worker, library),
            "## Every adapter\n",
            _adapters(searcher),
        ]
    return "\n".join(parts) + "\n"


def _queries(searcher: Searcher) -> str:
    """Every query encoding under every filter on the test split, and on dev."""
    corpus = Corpus.of(searcher)
    dev, test = (load_queries("miniature", split=part) for part in ("dev", "test"))
    taking_part = [*every_behaviour(searcher), *random_orders(corpus)]
    found = evaluate(corpus, test, taking_part)
    tuned = evaluate(corpus, dev, taking_part)
    unseen = sum(query.kind == "unseen" for query in test)
    note = (
        f"All {len(test)} queries of the test split in {found.clusters.count} groups, one for each set of effects;"
        f" {unseen} of them are in words that the encoder has never read, and the table by kind shows these apart."
        f" {LOOKED} {_LEGEND}\n\n"
    )
    return "\n".join(
        [note + _measures(found), _differences(found, MAIN), _differences(found, KEPT)]
        + [_by_kind(evaluate(corpus, test, [*taking_part[:1], *taking_part[-20:]]))]
        + [f"The same on the {len(dev)} queries of dev, by which the world was tuned.\n"]
        + [_measures(tuned)]
    )


def _measures(found: Evaluation) -> str:
    clusters, kept = found.clusters, _kept(found)
    rows = [
        (
            name,
            *(f"{found.measure(measure)[name].mean():.3f}" for measure in ("P@1", "RR")),
            _interval(clusters.interval(found.measure(MAIN)[name])),
            f"{kept[name]:.3f}",
            _interval(clusters.interval(found.measure(KEPT)[name])),
        )
        for name in found.retrievers
    ]
    return _folded(("retriever", "P@1", "MRR", MAIN, "kept", KEPT), rows)


def _kept(found: Evaluation) -> dict[str, float]:
    """The mean grade of "prompt kept" of the first five, brought to 0..1."""
    grades = [{found.corpus.find(name): grade for name, grade in query.kept.items()} for query in found.queries]
    return {
        name: float(np.mean([[known[found.corpus.keys[row]] / 2 for row in ranking[:5]] for known, ranking in pairs]))
        for name, rankings in found.rankings.items()
        for pairs in [list(zip(grades, rankings, strict=True))]
    }


def _differences(found: Evaluation, measure: str) -> str:
    """Paired differences from the default search."""
    others = [name for name in found.retrievers if name != "behaviour"]
    compared = compare(found.clusters, found.measure(measure), [(name, "behaviour") for name in others])
    rows = [
        (one.first, f"{one.difference.value:+.3f}", _span(one.difference), f"{one.p:.3f}", f"{one.detectable:.3f}")
        for one in compared
    ]
    note = (
        f"{measure} minus that of the default search, paired. p: randomisation test over groups, adjusted for all rows"
        " (max-T). *detectable*: the smallest true difference that would be found four times out of five.\n\n"
    )
    return note + _folded(("retriever", "difference", "95%", "p", "detectable"), rows)


def _by_kind(found: Evaluation) -> str:
    rows: Rows = []
    for kind in kinds(found.queries):
        chosen = [query.kind == kind for query in found.queries]
        for name, figures in found.figures.items():
            means = [f"{figures[measure][chosen].mean():.3f}" for measure in ("P@1", "RR", MAIN, KEPT)]
            rows.append((kind, name, sum(chosen), *means))
    return table(("queries", "retriever", "n", "P@1", "MRR", MAIN, KEPT), rows)


def _against_text(searcher: Searcher) -> str:
    """The lab's main table on the same queries."""
    corpus = Corpus.of(searcher)
    queries = load_queries("miniature", split="test")
    with LabStore(searcher.library) as store:
        found = evaluate(corpus, queries, lineup(searcher, corpus, text_retrievers(corpus, store)))
    note = "minilm (all-MiniLM-L6-v2) stands for the dense text models of the paper, which are larger."
    consistencies = [searcher.consistency(query.text) for query in queries]
    findings = main_findings(found, consistencies, note)
    parts = [f"{findings.about} {LOOKED}\n\n", *(f"{warning}.\n\n" for warning in findings.warnings)]
    for section in findings.sections:
        parts.append(f"### {section.heading}\n\n{section.text}\n\n")
        if section.table:
            parts.append(table(section.table.columns, [list(map(_cell, row)) for row in section.table.rows]) + "\n")
    return "".join(parts)


def _cell(cell: Value) -> object:
    if isinstance(cell, Interval):
        return _interval(cell)
    return f"{cell:.3f}" if isinstance(cell, float) else cell


def _interval(interval: Interval) -> str:
    return f"{interval.value:.3f} ({_span(interval)})" if interval.known else f"{interval.value:.3f}"


def _span(interval: Interval) -> str:
    return f"{interval.lower:.3f} to {interval.upper:.3f}" if interval.known else "–"


def _signatures(searcher: Searcher) -> dict[str, Signature]:
    names = dict(zip(searcher.matrix.keys, searcher.matrix.names, strict=True))
    found = searcher.library.signatures.get(searcher.stored.protocol.digest, names)
    return {names[key]: stored.signature for key, stored in found.items()}


def _claims(searcher: Searcher) -> str:
    """Each thing that must be so if signatures mean what they should."""
    signatures = _signatures(searcher)
    facts: Mapping[str, dict[str, Any]] = truth()["adapters"]
    rows: list[tuple[str, str, bool]] = []
    for name, fact in facts.items():
        claim = _CLAIMS.get(fact["kind"])
        if claim:
            rows += claim(name, facts, signatures)
        if fact["kind"] == "single" and fact["twin"] and facts[fact["twin"]]["kind"] == "single":
            nearest, score = _nearest(searcher, name)
            rows.append((f"{fact['twin']}, of the same effect, is nearest to {name}", f"{nearest} {score}",
                         nearest == fact["twin"]))  # fmt: skip
    return table(("claim", "measured", "holds"), [(a, b, "yes" if c else "**no**") for a, b, c in rows])


Claims = Iterator[tuple[str, str, bool]]


def _weaker(name: str, facts: Mapping[str, dict[str, Any]], signatures: Mapping[str, Signature]) -> Claims:
    twin = facts[name]["twin"]
    one, other = signatures[name].strength, signatures[twin].strength
    yield f"{name} (under-trained) is weaker than {twin}", f"S {one:.2f} < {other:.2f}", one < other


def _mixed(name: str, facts: Mapping[str, dict[str, Any]], signatures: Mapping[str, Signature]) -> Claims:
    effects = set(facts[name]["effects"])
    parts = [n for n, f in facts.items() if f["kind"] in ("single", "subject") and set(f["effects"]) <= effects]
    if len(parts) > 1:
        one = signatures[name].consistency or 0
        other = float(np.median([signatures[part].consistency or 0 for part in parts]))
        text = f"{name} (a mixture) is less consistent than the median of its {len(parts)} parts"
        yield text, f"C {one:.3f} < {other:.3f}", one < other


def _strong(name: str, facts: Mapping[str, dict[str, Any]], signatures: Mapping[str, Signature]) -> Claims:
    rank = sorted(signatures, key=lambda n: -signatures[n].strength).index(name) + 1
    yield f"{name} (overpowering) is among the strongest tenth", f"rank {rank}", rank <= len(signatures) / 10


def _idle(name: str, facts: Mapping[str, dict[str, Any]], signatures: Mapping[str, Signature]) -> Claims:
    rank = sorted(signatures, key=lambda n: signatures[n].strength).index(name) + 1
    yield f"{name} (trained on nothing) is among the weakest tenth", f"rank {rank}", rank <= len(signatures) / 10


_CLAIMS = {"undertrained": _weaker, "mixture": _mixed, "overpowering": _strong, "none": _idle}


def _nearest(searcher: Searcher, name: str) -> tuple[str, float]:
    directions = searcher.matrix.directions
    row = searcher.matrix.names.index(name)
    scores = directions @ directions[row]
    scores[row] = -1
    best = int(scores.argmax())
    return searcher.matrix.names[best], round(float(scores[best]), 3)


def _halves(worker: Worker, library: Library) -> str:
    """Signatures from two disjoint halves of the prompts: do they differ by no more than their intervals allow?"""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(worker.preset.grid().prompts))
    halves = np.array_split(order, 2)
    inside = {"Strength": 0, "Consistency": 0, "Direction": 0}
    angles: list[float] = []
    protocol = worker.protocols[0].digest
    keys = list(library.adapters.all())
    for key in keys:
        one, other = (_half(worker.preset.grid(), library, key, protocol, set(half.tolist())) for half in halves)
        inside["Strength"] += _agree(one.new_prompts, other.new_prompts, "strength")
        inside["Consistency"] += _agree(one.new_prompts, other.new_prompts, "consistency")
        cosine = float(
            one.direction @ other.direction / np.linalg.norm(one.direction) / np.linalg.norm(other.direction)
        )
        angles.append(cosine)
        limit = sum(math.acos(s.new_prompts.agreement.lower) for s in (one, other) if s.new_prompts.agreement)
        inside["Direction"] += math.acos(min(1.0, cosine)) <= limit
    rows = [(name, f"{count} of {len(keys)}") for name, count in inside.items()]
    note = (
        "\nSignatures from two disjoint halves of an adapter's prompts should differ by no more than their 95%"
        " intervals for new prompts allow. The Directions of the halves agree to a median cosine of"
        f" {np.median(angles):.3f}.\n\n"
    )
    return note + table(("figure", "adapters whose halves agree"), rows)


def _half(grid: Grid, library: Library, key: str, protocol: str, prompts: set[int]) -> Signature:
    moments: Moments | None = None
    for block in library.evidence.blocks(key, protocol):
        cells = np.array([cell.prompt for cell in grid.block(block.index)])
        chosen = np.array([prompt in prompts for prompt in cells])
        if moments is None:
            moments = Moments.empty(len(grid.prompts), len(grid.seeds), block.adapted.shape[1])
        moments.add(cells[chosen], block.effects[chosen], noise_floor=block.noise_floor)
    assert moments is not None
    return Signature.from_moments(moments)


def _agree(one: Accuracy, other: Accuracy, figure: str) -> bool:
    """Whether a difference is within what two independent intervals allow."""
    first: Estimate | None = getattr(one, figure)
    second: Estimate | None = getattr(other, figure)
    if first is None or second is None:
        return False
    low, high = sorted((first, second), key=lambda estimate: estimate.value)
    return high.value - low.value <= math.hypot(low.upper - low.value, high.value - high.lower)


def _adapters(searcher: Searcher) -> str:
    facts = truth()["adapters"]
    rows: Rows = []
    for name, signature in sorted(_signatures(searcher).items(), key=lambda item: -item[1].strength):
        fact = facts.get(name, {"kind": "", "effects": []})
        effects = ", ".join(fact["effects"])
        consistency = "" if signature.consistency is None else f"{signature.consistency:.3f}"
        rows.append((name, fact["kind"], effects, f"{signature.strength:.2f}", consistency, signature.cells))
    return table(("adapter", "kind", "effects", "Strength", "Consistency", "cells"), rows)


def _folded(columns: Sequence[str], rows: Rows) -> str:
    """A table in which rows of equal printed digits are one: named by the first, and by how the others differ."""
    first: dict[tuple[object, ...], str] = {}
    equal: dict[str, list[str]] = {}
    for name, *cells in rows:
        earlier = first.setdefault(tuple(cells), str(name))
        if earlier == name:
            equal[earlier] = []
        else:
            equal[earlier].append(" ".join(word for word in str(name).split() if word not in earlier.split()))
    folded = [
        (f"{name} (also {', '.join(equal[str(name)])})" if equal[str(name)] else name, *cells)
        for name, *cells in rows
        if name in equal
    ]
    return table(columns, folded)


if __name__ == "__main__":
    print(report())
