"""What the encoder does not see: adapters whose pictures change more than their embeddings, and how they are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lorascope.analysis.unseen import Unseen, unseen
from lorascope.evaluation.corpus import Corpus
from lorascope.evaluation.findings import Chart, Findings, FindingsTable, Section, Series, Value
from lorascope.evaluation.measures import MAIN, Qrels
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.retrievers import Behaviour
from lorascope.evaluation.statistics import Clusters, Interval
from lorascope.extras import optional
from lorascope.search import Searcher

HARD = {
    "layout and size": ("mirror", "giant", "tiny", "swirl", "frame", "stamp", "filmstrip"),
    "fine texture": ("grain", "scanlines", "halftone", "ripple", "cracked", "knitted"),
    "things added": ("confetti", "petals", "balloons", "hail", "scarf", "sunglasses", "crown", "hat"),
}
"""Effects of the shipped world that CLIP is known to see poorly: where things are, how many, what surfaces are like."""


def sight_findings(searcher: Searcher, corpus: Corpus, queries: Sequence[JudgedQuery] = ()) -> Findings:
    """Which adapters are flagged; with graded queries, how they are found."""
    found = unseen(searcher.library, searcher.stored.protocol.digest)
    warnings = () if found else ("no evidence of eight adapters or more: pictures and embeddings cannot be compared",)
    scores = _by_adapter(searcher, corpus, queries) if any(query.grades for query in queries) else {}
    sections = [_map(corpus, found), _adapters(searcher, corpus, found, scores)]
    if scores:
        sections += [_warning(searcher, corpus, found, scores), *_groups(searcher, corpus, queries)]
    about = (
        f"{len(found)} adapters of {searcher.stored.protocol}. Beside each embedding the distance of small pictures is"
        " kept. Where pictures move far and embeddings hardly do, the encoder may miss what the adapter does: a search"
        " in words cannot find that."
    )
    return Findings("What does the encoder not see?", about, tuple(sections), warnings)


def _by_adapter(searcher: Searcher, corpus: Corpus, queries: Sequence[JudgedQuery]) -> dict[str, float]:
    """The mean figure of the queries that each adapter answers best."""
    figures = Qrels(corpus, queries).main(Behaviour(searcher, filters="none").scores([q.text for q in queries]))
    found: dict[str, list[float]] = {}
    for query, figure in zip(queries, figures, strict=True):
        best = max(query.grades.values(), default=0)
        for name, grade in query.grades.items():
            key = corpus.find(name)
            if key is not None and grade == best > 0:
                found.setdefault(key, []).append(float(figure))
    return {key: float(np.mean(values)) for key, values in found.items()}


def _map(corpus: Corpus, found: Mapping[str, Unseen]) -> Section:
    series: list[Series] = []
    for name, flag in (("seen", False), ("flagged", True)):
        chosen = [one for one in found.values() if one.flag is flag]
        if chosen:
            series.append(Series(name, tuple(o.strength for o in chosen), tuple(o.moved for o in chosen)))
    names = dict(zip(corpus.keys, corpus.names, strict=True))
    flagged = ", ".join(names[key] for key, one in found.items() if one.flag) or "none"
    chart = Chart("points", "How far embeddings and pictures move", "Strength", "distance of pictures", tuple(series))
    text = f"Flagged: {flagged}. Their pictures move more than 2.5 robust standard deviations beyond what is usual."
    return Section("Pictures against embeddings", text, None, (chart,) if series else ())


def _adapters(searcher: Searcher, corpus: Corpus, found: Mapping[str, Unseen], scores: Mapping[str, float]) -> Section:
    rows: list[tuple[Value, ...]] = []
    for key, one in sorted(found.items(), key=lambda item: -item[1].standing):
        row = searcher.matrix.places[key]
        consistency = float(searcher.matrix.consistency[row])
        flag = "flagged" if one.flag else ""
        rows.append(
            (searcher.matrix.names[row], one.strength, consistency, one.moved, one.standing, scores.get(key), flag)
        )
    columns = ("adapter", "Strength", "Consistency", "pictures", "standing", f"{MAIN} of its queries", "")
    return Section("Every adapter", "", FindingsTable(columns, tuple(rows)))


def _warning(searcher: Searcher, corpus: Corpus, found: Mapping[str, Unseen], scores: Mapping[str, float]) -> Section:
    """Whether the signature itself warns of an adapter that words do not find."""
    spearman = optional("scipy.stats").spearmanr
    keys = [key for key in found if key in scores]
    figures = [scores[key] for key in keys]
    signs = {
        "Consistency": [float(searcher.matrix.consistency[searcher.matrix.places[key]]) for key in keys],
        "Strength": [found[key].strength for key in keys],
        "standing of pictures": [found[key].standing for key in keys],
    }
    rows: list[tuple[Value, ...]] = []
    for name, values in signs.items():
        enough = len(keys) > 3 and np.ptp(values) > 0 and np.ptp(figures) > 0
        rho = spearman(values, figures) if enough else None
        rows.append((name, float(rho.statistic) if rho else None, float(rho.pvalue) if rho else None))
    text = f"Rank correlation over {len(keys)} adapters of each sign with the {MAIN} of the queries they answer best."
    return Section("Does anything warn of it?", text, FindingsTable(("sign", "Spearman", "p"), tuple(rows)))


def _groups(searcher: Searcher, corpus: Corpus, queries: Sequence[JudgedQuery]) -> list[Section]:
    """Hard effects of the shipped world against all others, where queries name their effects."""
    effects = [set(query.group.split()) for query in queries]
    figures = Qrels(corpus, queries).main(Behaviour(searcher, filters="none").scores([q.text for q in queries]))
    hard = {name: set(members) for name, members in HARD.items()}
    masks = {name: np.array([bool(own) and own <= members for own in effects]) for name, members in hard.items()}
    masks["all others"] = ~np.any(list(masks.values()), axis=0)
    rows: list[tuple[Value, ...]] = []
    for name, mask in masks.items():
        if mask.any():
            labels = [query.cluster for query, chosen in zip(queries, mask, strict=True) if chosen]
            cell: Interval = Clusters(labels).interval(figures[mask])
            rows.append((name, int(mask.sum()), cell))
    if len(rows) < 2:
        return []
    text = "Queries for effects that CLIP is known to see poorly, and all others. No thresholds."
    return [Section("Layout, texture, things", text, FindingsTable(("effects", "queries", MAIN), tuple(rows)))]
