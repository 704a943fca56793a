"""The lab's figures, held against hand-made examples, brute force and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorascope.evaluation import Corpus, JudgedQuery
from lorascope.evaluation.corpus import Words
from lorascope.evaluation.measures import MEASURES, Qrels
from lorascope.evaluation.statistics import FEWEST, Clusters, compare, diversity
from lorascope.report.lab import plain_cell


def corpus(size: int) -> Corpus:
    names = tuple(f"a{place}" for place in range(size))
    return Corpus(names, names, tuple(Words(n, "", (n,)) for n in names), (None,) * size)


# --- measures -----------------------------------------------------------------------------------------------------


def test_measures_are_those_of_the_books() -> None:
    queries = [JudgedQuery("1", "q", grades={"a0": 2, "a1": 1, "a2": 1, "elsewhere": 1})]
    scores = np.array([[0.2, 0.9, 0.1, 0.5, -np.inf]])  # a1, a3, a0, a2
    found = {name: float(values[0]) for name, values in Qrels(corpus(5), queries).figures(scores).items()}
    dcg = 1 / math.log2(2) + 3 / math.log2(4) + 1 / math.log2(5)
    ideal = 3 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)
    assert found == pytest.approx({"nDCG@5": dcg / ideal, "P@1": 0, "P@3": 1 / 3, "RR": 1 / 3, "R@10": 3 / 4})


def test_queries_that_nobody_answers_count_as_zero() -> None:
    queries = [
        JudgedQuery("known", "q", grades={"a0": 2}),
        JudgedQuery("elsewhere", "q", grades={"b": 2}),
        JudgedQuery("nobody", "q", grades={"a1": 0}),
        JudgedQuery("silent", "q", grades={"a0": 2}),
    ]
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [3, 2, 1], [-np.inf] * 3])
    figures = Qrels(corpus(3), queries).figures(scores)
    assert figures.keys() == set(MEASURES)
    for name, values in figures.items():
        assert values.tolist() == [values[0], 0, 0, 0], name
        assert values[0] > 0


def test_whatever_a_person_named_does_not_reach_trec_eval() -> None:
    """Its C code once crashed at half a character, and took what follows a NUL for nothing."""
    queries = [JudgedQuery(id_, "q", grades={"a0": 2, f"b{id_}": 1}) for id_ in ("caf\udce9", "x\0y", "x\0z")]
    assert Qrels(corpus(3), queries).figures(np.array([[3.0, 2, 1]] * 3))["P@1"].tolist() == [1, 1, 1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_ndcg_is_1_for_the_ideal_order_and_never_above(grades: list[int], draw: object) -> None:
    size = len(grades)
    qrels = Qrels(corpus(size), [JudgedQuery("1", "q", grades={f"a{i}": g for i, g in enumerate(grades)})])
    ideal = qrels.main(np.array([grades], float))[0]
    assert ideal == pytest.approx(1.0 if any(grades) else 0.0)
    order = list(range(size))
    draw.shuffle(order)  # type: ignore[attr-defined]
    found = qrels.main(np.array([order], float))[0]
    gains = [(2 ** grades[i] - 1) for i in sorted(range(size), key=lambda i: -order[i])][:5]
    best = sorted((2**g - 1 for g in grades), reverse=True)[:5]
    weight = [1 / math.log2(rank + 2) for rank in range(5)]
    expected = sum(map(math.prod, zip(gains, weight, strict=False)))
    assert found == pytest.approx(expected / max(sum(map(math.prod, zip(best, weight, strict=False))), 1e-9))


# --- diversity ----------------------------------------------------------------------------------------------------


def test_diversity_of_extremes() -> None:
    one = diversity([[0, 1, 2]] * 10, 100, 1)
    assert (one.entropy, one.effective, one.coverage) == (0, 1, 0.01)
    assert one.gini == pytest.approx(0.99)
    even = diversity([[place] for place in range(100)], 100, 1)
    assert (even.entropy, even.effective, even.coverage, even.gini) == pytest.approx((1, 100, 1, 0))
    half = diversity([[place] for place in range(50)], 100, 3)
    assert half.effective == pytest.approx(50)
    assert half.entropy == pytest.approx(math.log(50) / math.log(100))
    assert half.gini == pytest.approx(0.5)
    assert diversity([[], []], 100, 3).effective == 0


def test_diversity_counts_places_not_queries() -> None:
    found = diversity([[0, 1], [0, 2]], 4, 2)
    shares = [0.5, 0.25, 0.25]
    assert found.effective == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))
    assert found.coverage == 0.75


# --- intervals and comparisons ------------------------------------------------------------------------------------


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """40 clusters of 3 correlated queries: 95% intervals hold the mean in 87 to 99 of 100 draws or so."""
    draw = np.random.default_rng(0)
    held = naive = 0
    labels = [str(place) for place in range(40) for _ in range(3)]
    for _ in range(150):
        values = np.repeat(draw.normal(0.5, 0.2, 40), 3) + draw.normal(0, 0.05, 120)
        interval = Clusters(labels).interval(values)
        alone = Clusters([str(place) for place in range(120)]).interval(values)
        held += interval.lower <= 0.5 <= interval.upper
        naive += alone.lower <= 0.5 <= alone.upper
    assert 0.87 <= held / 150 <= 0.99
    assert naive < held - 15  # queries that stand or fall together are no independent witnesses


@pytest.mark.parametrize(("alpha", "beta"), [(3, 1), (1, 4), (2, 2)])
def test_the_smallest_sample_with_an_interval_is_covered_well(alpha: int, beta: int) -> None:
    """Figures from 0 to 1 with a ceiling, with a floor, or with neither, in clusters of 1 to 8 queries."""
    draw = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        sizes = draw.integers(1, 9, FEWEST)
        values = np.repeat(draw.beta(alpha, beta, FEWEST), sizes)
        labels = [str(place) for place, size in enumerate(sizes) for _ in range(size)]
        interval = Clusters(labels).interval(values)
        held += interval.lower <= alpha / (alpha + beta) <= interval.upper
    assert held >= 174  # .87; of 200 intervals that hold .915, 174 or more do with 98%


@pytest.mark.parametrize("count", [1, 3, 9, FEWEST - 1])
def test_too_few_clusters_get_a_mean_and_no_interval(count: int) -> None:
    interval = Clusters([str(place) for place in range(count)]).interval(np.linspace(0, 1, count))
    assert not interval.known
    assert plain_cell(interval) == plain_cell(interval.value)


def test_an_interval_of_one_value_has_no_width() -> None:
    interval = Clusters([str(place) for place in range(FEWEST)]).interval(np.full(FEWEST, 0.25))
    assert (interval.value, interval.lower, interval.upper) == (0.25, 0.25, 0.25)


def test_a_rank_correlation_is_uncertain_by_its_clusters() -> None:
    rng = np.random.default_rng(3)
    each = rng.normal(size=(2, 30))
    each[1] += each[0]
    found = Clusters([f"c{place}" for place in range(30)] * 4).rank_correlation(*np.tile(each, 4))
    alone = Clusters([f"q{place}" for place in range(120)]).rank_correlation(*np.tile(each, 4))
    assert found.value == pytest.approx(alone.value)
    assert found.upper - found.lower > 1.5 * (alone.upper - alone.lower)
    assert not Clusters(["a", "b", "c"]).rank_correlation(*each[:, :3]).known
    assert math.isnan(Clusters(["a", "b", "c"]).rank_correlation(np.ones(3), np.arange(3.0)).value)


def test_the_randomisation_test_is_the_exact_one_for_few_clusters() -> None:
    differences = np.array([0.3, 0.1, 0.25, -0.05, 0.2, 0.15])
    signs = np.array(list(itertools.product((-1, 1), repeat=6)))
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    found = Clusters(list("abcdef")).chances(differences[:, None])[0]
    assert found == pytest.approx(exact, abs=0.01)


def test_many_comparisons_of_nothing_seldom_alarm() -> None:
    """Of 100 sets of ten comparisons without any difference, about five may hold a p below .05."""
    draw = np.random.default_rng(1)
    clusters = Clusters([str(place) for place in range(40)])
    alarms = sum((clusters.chances(draw.normal(size=(40, 10))) < 0.05).any() for _ in range(100))
    assert alarms <= 12


def test_a_difference_as_large_as_detectable_is_found_four_times_out_of_five() -> None:
    draw = np.random.default_rng(2)
    clusters = Clusters([str(place) for place in range(50)])
    noise = draw.normal(0, 1, (200, 50))
    detectable = float(np.mean([clusters.detectable(row) for row in noise]))
    found = sum(clusters.chances((row + detectable)[:, None])[0] < 0.05 for row in noise[:100])
    assert 68 <= found <= 92


def test_comparisons_are_paired() -> None:
    """Two retrievers that vary far more between queries than between each other are distinguished."""
    draw = np.random.default_rng(3)
    hard = draw.uniform(size=60)
    figures = {"one": hard, "other": hard + 0.02 + draw.normal(0, 0.01, 60)}
    (found,) = compare(Clusters([str(i) for i in range(60)]), figures, [("other", "one")])
    assert found.p < 0.01
    assert found.difference.lower > 0
    assert found.detectable < 0.01
    assert compare(Clusters(["a"]), figures, []) == []
