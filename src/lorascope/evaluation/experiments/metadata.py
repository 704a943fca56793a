"""Metadata quality: text retrievers as descriptions go from perfect to absent, and where behaviour overtakes them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from reprlib import repr as shown
from typing import Final, Literal, cast, final, get_args

import numpy as np
from jaxtyping import Float

from lorascope.caches import Note, quiet
from lorascope.errors import QueryError
from lorascope.evaluation.corpus import Corpus, Words
from lorascope.evaluation.findings import Chart, Findings, FindingsTable, Section, Series, Value
from lorascope.evaluation.measures import MAIN, Qrels
from lorascope.evaluation.queries import JudgedQuery
from lorascope.evaluation.retrievers import Behaviour, Hybrid, Retriever, Scores
from lorascope.evaluation.run import require_answers
from lorascope.evaluation.statistics import Clusters, Interval
from lorascope.search import Searcher

Decay = Literal["vague", "wrong", "foreign", "empty"]
DECAYS: Final[tuple[Decay, ...]] = get_args(Decay)
SHARES: Final = tuple(place / 10 for place in range(11))
_DRAWS = 10
"""How often it is drawn anew which adapters' descriptions decay."""
_SEED = 20251209
_NAME = "LoRA"
"""What every adapter is called, so that only the knob decides what words tell."""

Texts = Callable[[Corpus], Sequence[Retriever]]
"""Makes text retrievers for adapters with other words about them."""


@dataclass(frozen=True)
class Descriptions:
    """For each adapter of a corpus, a perfect description and one in another language; and vague ones for anybody."""

    perfect: tuple[str, ...]
    foreign: tuple[str, ...]
    vague: tuple[str, ...]

    @classmethod
    def of(cls, corpus: Corpus, source: Path | None = None) -> Descriptions:
        """From a file, or else those of the shipped world.

        Args:
            corpus: the adapters.
            source: TOML: ``[vague] texts = [...]``, and under ``[adapters]`` a pair of texts for each adapter's name,
                perfect and foreign.

        Raises:
            QueryError: the file cannot be read, lacks an adapter or vague texts, or has something else in their place.
        """
        path = source or files("lorascope") / "evaluation" / "data" / "miniature-descriptions.toml"
        try:
            data = tomllib.loads(path.read_text("utf-8"))
            pairs = data["adapters"] if source else _of_effects(data["effects"])
            found = [_texts(f"{path}: {name!r}", pairs[name], 2) for name in corpus.names]
            vague = _texts(f"{path}: vague.texts", data["vague"]["texts"], 1)
        except KeyError as error:
            raise QueryError(
                f"{path} has nothing about {error}: give --descriptions FILE with two texts, perfect and foreign, for"
                " each adapter of the library"
            ) from error
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise QueryError(
                f"the descriptions {path} cannot be read ({error}): compare with the shipped ones"
            ) from error
        return cls(tuple(pair[0] for pair in found), tuple(pair[1] for pair in found), vague)

    def decayed(self, kinds: Sequence[Decay | None], draw: np.random.Generator) -> list[Words]:
        """Words for each adapter, of the kind that it is given; None leaves the perfect description."""
        found: list[Words] = []
        for place, kind in enumerate(kinds):
            text = {
                None: self.perfect[place],
                "foreign": self.foreign[place],
                "vague": str(draw.choice(self.vague)),
                "wrong": self.perfect[int(draw.integers(len(self.perfect)))],
                "empty": "",
            }[kind]
            found.append(Words(_NAME, text, (text,)))
        return found


def _texts(place: str, value: object, fewest: int) -> tuple[str, ...]:
    texts = [text for text in cast("list[object]", value) if isinstance(text, str)] if isinstance(value, list) else []
    if len(texts) < fewest or texts != value:
        raise QueryError(f"{place} is {shown(value)}: write a list of {fewest} or more texts")
    return tuple(texts)


def _of_effects(effects: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What the shipped world's adapters do, put together from what their effects are described as."""
    from lorascope.miniature import truth

    def text(names: Sequence[str], place: int) -> str:
        return " ".join(effects[name][place] for name in names) or "For testing only: it changes nothing."

    return {name: [text(facts["effects"], place) for place in (0, 1)] for name, facts in truth()["adapters"].items()}


def metadata_findings(
    searcher: Searcher,
    corpus: Corpus,
    queries: Sequence[JudgedQuery],
    texts: Texts,
    descriptions: Descriptions,
    note: Note = quiet,
) -> Findings:
    """Curves over the share of descriptions that are no good: of all four sorts alike, and of each sort alone.

    Raises:
        QueryError: the queries are not graded, or none of the graded adapters is in the library.
    """
    require_answers(corpus, queries)
    knob = _Knob(searcher, corpus, queries, texts, descriptions)
    mixes: dict[str, tuple[Decay, ...]] = {"all four sorts": DECAYS}
    mixes.update({f"{kind} ones": (kind,) for kind in DECAYS})
    sections: list[Section] = []
    for done, (name, kinds) in enumerate(mixes.items()):
        note(f"descriptions decay: {name}", done, len(mixes))
        sections.append(knob.section(name, kinds))
    note("", len(mixes), len(mixes))
    about = (
        f"{len(queries)} queries in {knob.clusters.count} groups, {len(corpus)} adapters. At share 0 every adapter has"
        " a clear English description; up to share 1 they become vague, wrong (another adapter's), foreign or empty."
        f" Names tell nothing. Each point: {_DRAWS} draws of whose description decays. {MAIN}, 95% intervals over"
        " groups of queries."
    )
    return Findings("When do descriptions stop being enough?", about, tuple(sections))


@final
class _Knob:
    """Makes descriptions worse and measures every retriever on them."""

    def __init__(
        self,
        searcher: Searcher,
        corpus: Corpus,
        queries: Sequence[JudgedQuery],
        texts: Texts,
        descriptions: Descriptions,
    ) -> None:
        self._corpus, self._texts, self._descriptions = corpus, texts, descriptions
        self._asked = [query.text for query in queries]
        self._qrels = Qrels(corpus, queries)
        self.clusters = Clusters([query.cluster for query in queries])
        ours = Behaviour(searcher)
        self._ours = ours.name
        self._scores: Scores = ours.scores(self._asked)

    def section(self, name: str, kinds: tuple[Decay, ...]) -> Section:
        """One curve for each retriever over the share of decayed descriptions."""
        points = [self._point(share, kinds) for share in SHARES]
        names = list(points[0])
        curves = {one: [self.clusters.interval(point[one]) for point in points] for one in names}
        chart = Chart(
            "lines",
            f"{MAIN} as more descriptions are no good: {name}",
            "share of descriptions that are no good",
            MAIN,
            tuple(Series.of(one, SHARES, curve) for one, curve in curves.items()),
        )
        rows: list[tuple[Value, ...]] = [
            (f"{share:.0%}", *(curves[one][place] for one in names)) for place, share in enumerate(SHARES)
        ]
        heading = name[0].upper() + name[1:]
        return Section(heading, self._crossings(points), FindingsTable(("share", *names), tuple(rows)), (chart,))

    def _point(self, share: float, kinds: tuple[Decay, ...]) -> dict[str, Float[np.ndarray, " queries"]]:
        """The figures of every retriever at one share, averaged over draws."""
        found: dict[str, list[Float[np.ndarray, " queries"]]] = {self._ours: [self._qrels.main(self._scores)]}
        for seed in range(1 if share == 0 else _DRAWS):
            draw = np.random.default_rng((_SEED, seed))
            order = draw.permutation(len(self._corpus))  # the same at every share: what has decayed stays so
            chosen: list[Decay | None] = [None] * len(order)
            for place in order[: round(share * len(order))].tolist():
                chosen[place] = kinds[int(np.flatnonzero(order == place)[0]) % len(kinds)]
            corpus = self._corpus.described(self._descriptions.decayed(chosen, draw))
            for name, scores in self._all_scores(corpus):
                found.setdefault(name, []).append(self._qrels.main(scores))
        return {name: np.mean(draws, axis=0) for name, draws in found.items()}

    def _all_scores(self, corpus: Corpus) -> list[tuple[str, Scores]]:
        texts = [(text.name, text.scores(self._asked)) for text in self._texts(corpus)]
        first, scores = texts[0]
        hybrid = Hybrid("sum", (), corpus).fused([self._scores, scores])
        return [*texts, (f"sum({self._ours}, {first})", hybrid)]

    def _crossings(self, points: Sequence[Mapping[str, Float[np.ndarray, " queries"]]]) -> str:
        """From which share on behaviour is ahead of each text retriever."""
        said: list[str] = []
        for name in points[0]:
            if name == self._ours or "(" in name:
                continue
            differences = np.stack([point[self._ours] - point[name] for point in points], axis=1)
            said.append(f"{name}: {_crossing(self.clusters, differences)}")
        return f"From which share on {self._ours} is ahead of " + "; ".join(said) + "."


def _crossing(clusters: Clusters, differences: Float[np.ndarray, "queries shares"]) -> str:
    """Where the mean difference becomes positive for good, with a 95% interval."""
    shares = [_zero(row) for row in clusters.samples(differences)]
    low, high = np.quantile(shares, (0.025, 0.975), method="nearest")
    found = Interval(_zero(differences.mean(0)), float(low), float(high))
    if found.value > 1:
        return "never"
    upper = "never" if found.upper > 1 else f"{found.upper:.0%}"
    if found.value == 0:
        return "from the start" + ("" if found.upper == 0 else f" (0% to {upper})")
    return f"{found.value:.0%} ({found.lower:.0%} to {upper})"


def _zero(curve: Float[np.ndarray, " shares"]) -> float:
    """The share after which a curve stays positive, between points on a straight line; 2 if it ends at or below 0."""
    below = np.flatnonzero(curve <= 0)
    if not len(below):
        return 0.0
    last = int(below[-1])
    if last == len(curve) - 1:
        return 2.0
    step = -curve[last] / (curve[last + 1] - curve[last])
    return float(SHARES[last] + step * (SHARES[last + 1] - SHARES[last]))
