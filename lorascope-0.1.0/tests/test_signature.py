"""Signatures against brute force, at their edges, and the coverage of their intervals."""

import importlib.util
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorascope.moments import Moments
from lorascope.signature import Signature, cells_for, consistency
from lorascope.signature.quantiles import f_quantile, t_quantile
from lorascope.signature.sampling import Sample, Spread

PROMPTS, SEEDS, DIM = 12, 3, 4

steady = settings(deadline=None, derandomize=True, max_examples=50)


def effects_of(seed: int, idle: float = 0.2) -> np.ndarray:
    """A full grid of effects, (prompts, seeds, dim), whose cells of one prompt resemble each other."""
    rng = np.random.default_rng(seed)
    effects = 0.5 + rng.normal(size=(PROMPTS, 1, DIM)) + rng.normal(size=(PROMPTS, SEEDS, DIM))
    effects[rng.random((PROMPTS, SEEDS)) < idle] = 0.0
    return effects


def measure(effects: np.ndarray, cells: int | None = None) -> Moments:
    """The moments of the first cells of a grid, round by round over its prompts."""
    prompts, seeds, dim = effects.shape
    seed, prompt = np.divmod(np.arange(prompts * seeds)[:cells], prompts)
    moments = Moments.empty(prompts, seeds, dim)
    moments.add(prompt, effects[prompt, seed])
    return moments


def cosines(vectors: np.ndarray) -> np.ndarray:
    """The matrix of cosines, 0 with a zero vector."""
    norms = np.linalg.norm(vectors, axis=1)
    units = np.divide(vectors, norms[:, None], out=np.zeros_like(vectors), where=norms[:, None] > 0.0)
    return units @ units.T


def mean_of_pairs(vectors: np.ndarray) -> float:
    return float(cosines(vectors)[~np.eye(len(vectors), dtype=bool)].mean())


# --- figures -----------------------------------------------------------------------------------------------------


@steady
@given(st.integers(0, 10**6), st.integers(2, 40))
def test_consistency_is_the_mean_of_the_cosine_matrix_without_its_diagonal(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, DIM)) + 1.0
    vectors[rng.random(n) < 0.2] = 0.0
    assert consistency(vectors) == pytest.approx(mean_of_pairs(vectors), abs=1e-12)
    assert consistency(vectors.astype(np.float32)) == pytest.approx(mean_of_pairs(vectors), abs=1e-6)


def test_consistency_of_fewer_than_two_vectors_is_none() -> None:
    assert consistency(np.zeros((0, 3))) is None
    assert consistency(np.ones((1, 3))) is None
    assert consistency(np.ones((2, 3))) == pytest.approx(1.0)
    assert consistency(np.zeros((2, 3))) == 0.0


def test_consistency_names_a_vector_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match=r"vectors\[1\] is not finite: leave it out"):
        consistency(np.array([[1.0, 0.0], [np.nan, 0.0]]))


@steady
@given(st.integers(0, 10**6))
def test_a_full_grid_gives_the_papers_figures_exactly(seed: int) -> None:
    effects = effects_of(seed)
    flat = effects.reshape(-1, DIM)
    norms = np.linalg.norm(flat, axis=1)
    found = Signature.from_moments(measure(effects))
    np.testing.assert_allclose(found.direction, flat.mean(axis=0), atol=1e-12)
    assert found.strength == pytest.approx(norms.mean(), rel=1e-12)
    assert found.consistency == pytest.approx(mean_of_pairs(flat), abs=1e-12)
    assert found.active_consistency == pytest.approx(mean_of_pairs(flat[norms > 0.0]), abs=1e-12)
    assert found.active_share == pytest.approx((norms > 0.0).mean())
    assert found.magnitude == pytest.approx(np.linalg.norm(flat.mean(axis=0)), rel=1e-12)
    assert (found.cells, found.prompts) == (PROMPTS * SEEDS, PROMPTS)


@steady
@given(st.integers(0, 10**6))
def test_on_a_full_grid_the_intervals_for_the_grid_are_points_and_for_new_prompts_are_not(seed: int) -> None:
    found = Signature.from_moments(measure(effects_of(seed)))
    strength, like, agreement = found.grid.strength, found.grid.consistency, found.grid.agreement
    assert strength is not None
    assert like is not None
    assert agreement is not None
    assert strength.lower == strength.value == strength.upper == found.strength
    assert like.lower == like.value == like.upper == found.consistency
    assert agreement.lower == agreement.value == agreement.upper == 1.0
    wide = found.new_prompts
    assert wide.strength is not None
    assert wide.strength.lower < found.strength < wide.strength.upper
    assert wide.agreement is not None
    assert wide.agreement.lower < 1.0


@steady
@given(st.integers(0, 10**6), st.integers(2, PROMPTS * SEEDS))
def test_a_samples_consistency_weighs_pairs_by_the_full_grids_shares(seed: int, cells: int) -> None:
    effects = effects_of(seed)
    chosen = np.arange(cells)
    prompt = chosen % PROMPTS
    matrix = cosines(effects[prompt, chosen // PROMPTS])
    same = (prompt[:, None] == prompt) & ~np.eye(cells, dtype=bool)
    apart = matrix[prompt[:, None] != prompt].mean()
    together = matrix[same].mean() if same.any() else apart
    share = (SEEDS - 1) / (PROMPTS * SEEDS - 1)
    found = Signature.from_moments(measure(effects, cells))
    assert found.consistency == pytest.approx(share * together + (1.0 - share) * apart, abs=1e-12)


def test_a_sample_estimates_the_full_grid_without_bias() -> None:
    """The plain mean over the pairs of a sample is too low: it holds too few pairs of the same prompt."""
    rng = np.random.default_rng(4)
    effects = 0.3 + rng.normal(size=(8, 1, DIM)) + 0.5 * rng.normal(size=(8, 6, DIM))
    truth = mean_of_pairs(effects.reshape(-1, DIM))
    found, plain = [], []
    for _ in range(150):
        sample = np.stack([rng.permutation(prompt) for prompt in effects])
        found.append(Signature.from_moments(measure(sample, 16)).consistency)
        plain.append(mean_of_pairs(sample[:, :2].reshape(-1, DIM)))
    standard_error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - truth) < 3.0 * standard_error
    assert np.mean(plain) < truth - 10.0 * standard_error


@steady
@given(st.integers(0, 10**6), st.integers(1, PROMPTS * SEEDS), st.sampled_from([0.25, 8.0]))
def test_scaling_the_effects_scales_strength_and_leaves_cosines(seed: int, cells: int, factor: float) -> None:
    effects = effects_of(seed)
    plain = Signature.from_moments(measure(effects, cells))
    scaled = Signature.from_moments(measure(effects * factor, cells))
    assert scaled.strength == pytest.approx(plain.strength * factor)
    assert scaled.magnitude == pytest.approx(plain.magnitude * factor)
    assert scaled.consistency == plain.consistency
    if plain.agreement is not None:
        assert scaled.agreement is not None
        assert scaled.agreement.lower == pytest.approx(plain.agreement.lower, abs=1e-9)
    if plain.grid.strength is not None:
        assert scaled.grid.strength is not None
        assert scaled.grid.strength.upper == pytest.approx(plain.grid.strength.upper * factor)


@steady
@given(st.integers(0, 10**6))
def test_magnitude_of_a_sample_leaves_out_what_chance_adds(seed: int) -> None:
    effects = effects_of(seed)
    sample = effects[:, 0]
    products = sample @ sample.T
    apart = products[~np.eye(PROMPTS, dtype=bool)].mean()
    found = Signature.from_moments(measure(effects, PROMPTS))
    assert found.magnitude == pytest.approx(math.sqrt(max(0.0, apart)), abs=1e-9)


# --- categories --------------------------------------------------------------------------------------------------


def test_the_profile_is_the_signature_of_each_category() -> None:
    effects = effects_of(7)
    names = ["food", "art"] * (PROMPTS // 2)
    found = Signature.from_moments(measure(effects), names)
    assert [part.category for part in found.categories] == ["food", "art"]
    for offset, part in enumerate(found.categories):
        flat = effects[offset::2].reshape(-1, DIM)
        mean = flat.mean(axis=0)
        lengths = np.linalg.norm(mean) * np.linalg.norm(found.direction)
        assert part.cells == PROMPTS * SEEDS // 2
        assert part.strength == pytest.approx(np.linalg.norm(flat, axis=1).mean())
        assert part.consistency == pytest.approx(mean_of_pairs(flat), abs=1e-12)
        assert part.alignment == pytest.approx(mean @ found.direction / lengths)


def test_only_categories_that_were_seen_have_a_profile() -> None:
    names = ["a", "b"] + ["c"] * (PROMPTS - 2)
    found = Signature.from_moments(measure(effects_of(7, idle=0.0), 2), names)
    assert [(part.category, part.cells, part.consistency) for part in found.categories] == [
        ("a", 1, None),
        ("b", 1, None),
    ]


# --- edges -------------------------------------------------------------------------------------------------------


def test_one_cell_has_a_strength_and_no_consistency() -> None:
    found = Signature.from_moments(measure(effects_of(1, idle=0.0), 1))
    assert found.strength == pytest.approx(found.magnitude)
    assert found.consistency is None
    assert found.active_consistency is None
    assert found.agreement is None


def test_a_grid_of_one_cell_is_complete() -> None:
    found = Signature.from_moments(measure(np.ones((1, 1, DIM))))
    assert found.consistency is None
    assert found.grid.consistency is None
    assert found.agreement is not None
    assert found.agreement.lower == 1.0
    assert found.new_prompts.agreement is None


@pytest.mark.parametrize("cells", [1, 2, 7, PROMPTS, 2 * PROMPTS, 3 * PROMPTS])
def test_an_adapter_that_does_nothing(cells: int) -> None:
    found = Signature.from_moments(measure(np.zeros((PROMPTS, SEEDS, DIM)), cells), ["a"] * PROMPTS)
    assert (found.strength, found.magnitude, found.active_share) == (0.0, 0.0, 0.0)
    assert found.consistency == (0.0 if cells > 1 else None)
    assert found.active_consistency is None
    assert found.categories[0].alignment == 0.0
    assert (found.agreement is None) == (cells < 3 * PROMPTS)
    assert found.new_prompts.strength is None


def test_few_acting_prompts_say_nothing_of_accuracy() -> None:
    effects = np.zeros((PROMPTS, SEEDS, DIM))
    effects[:4] = effects_of(1, idle=0.0)[:4]
    assert Signature.from_moments(measure(effects, PROMPTS)).agreement is None
    effects[:5] = effects_of(1, idle=0.0)[:5]
    assert Signature.from_moments(measure(effects, PROMPTS)).agreement is not None


def test_effects_that_are_all_the_same_leave_no_doubt() -> None:
    found = Signature.from_moments(measure(np.full((PROMPTS, SEEDS, DIM), 0.5), PROMPTS))
    assert found.strength == pytest.approx(1.0)
    assert found.consistency == pytest.approx(1.0)
    assert found.agreement is not None
    assert found.agreement.lower == pytest.approx(1.0)


def test_effects_that_cancel_out_have_no_direction() -> None:
    effects = np.ones((PROMPTS, SEEDS, DIM))
    effects[::2] *= -1.0
    found = Signature.from_moments(measure(effects, PROMPTS))
    assert found.agreement is not None
    assert (found.agreement.value, found.agreement.lower) == (0.0, -1.0)
    assert found.magnitude == 0.0


@steady
@given(st.integers(0, 10**6), st.integers(1, PROMPTS * SEEDS))
def test_intervals_hold_their_value_and_widen_with_confidence_and_looks(seed: int, cells: int) -> None:
    moments = measure(effects_of(seed), cells)
    plain = Signature.from_moments(moments)
    for wider in (
        Signature.from_moments(moments, confidence=0.99),
        Signature.from_moments(moments, looks=15),
    ):
        for narrow, wide in ((plain.grid, wider.grid), (plain.new_prompts, wider.new_prompts)):
            for figure in ("strength", "consistency", "agreement"):
                inner, outer = getattr(narrow, figure), getattr(wide, figure)
                assert (inner is None) == (outer is None)
                if inner is not None:
                    assert outer.lower <= inner.lower <= inner.value <= inner.upper <= outer.upper


@steady
@given(st.integers(0, 10**6), st.integers(1, PROMPTS * SEEDS))
def test_everything_but_the_direction_is_plain_json(seed: int, cells: int) -> None:
    fields = asdict(Signature.from_moments(measure(effects_of(seed), cells), ["a"] * PROMPTS))
    del fields["direction"]
    again = json.loads(json.dumps(fields, allow_nan=False))
    assert again["grid"] == fields["grid"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"confidence": 1.0}, "confidence is 1.0: give a probability between 0 and 1, such as 0.95"),
        ({"confidence": 0.0}, "confidence is 0.0"),
        ({"looks": 0}, "looks is 0: give the number of times"),
        ({"categories": ["a"]}, "categories has 1 entries for 12 prompts: give one for each"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Signature.from_moments(measure(effects_of(1)), **arguments)


def test_no_cells_are_no_signature() -> None:
    with pytest.raises(ValueError, match="moments hold no cells: add the effects of at least one"):
        Signature.from_moments(Moments.empty(2, 2, 2))


# --- the rule of thumb -------------------------------------------------------------------------------------------


@steady
@given(st.floats(0.001, 0.999), st.floats(0.01, 0.999))
def test_cells_for_inverts_the_rule_of_thumb(c: float, agreement: float) -> None:
    n = cells_for(c, agreement)
    assert math.sqrt(c / (c + (1.0 - c) / n)) == pytest.approx(agreement)


def test_cells_for_at_its_edges() -> None:
    assert cells_for(0.0, 0.9) == math.inf
    assert cells_for(-0.1, 0.9) == math.inf
    assert cells_for(1.0, 0.9) == 0.0
    assert round(cells_for(0.12, 0.97)) == 117  # about the median adapter of the paper's library
    with pytest.raises(ValueError, match="consistency is 1.5: give a mean cosine, at most 1"):
        cells_for(1.5, 0.9)
    with pytest.raises(ValueError, match="agreement is 1.0: give a cosine between 0 and 1"):
        cells_for(0.1, 1.0)


# --- the statistics underneath -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probability", "df1", "df2", "expected"),
    [
        (0.95, 3.0, 20.0, 3.0983912121),
        (0.975, 10.0, 5.0, 6.6191543314),
        (0.05, 4.0, 7.0, 0.1640901525),
        (0.999, 1.5, 2.5, 320.5047005836),
        (0.5, 60.0, 60.0, 1.0),
        (0.9975, 5.0, 9999.0, 3.6799527908),
    ],
)
def test_f_quantiles(probability: float, df1: float, df2: float, expected: float) -> None:
    assert f_quantile(probability, df1, df2) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("probability", "df", "expected"),
    [
        (0.975, 1.0, 12.7062047),
        (0.975, 31.0, 2.0395134),
        (0.995, 279.0, 2.5935654),
        (0.025, 4.0, -2.7764451),
        (0.5, 3.0, 0.0),
    ],
)
def test_t_quantiles(probability: float, df: float, expected: float) -> None:
    assert t_quantile(probability, df) == pytest.approx(expected, rel=1e-4)


def test_quantiles_refuse_what_they_cannot_answer() -> None:
    with pytest.raises(ValueError, match="probability is 1.0: give a number between 0 and 1"):
        f_quantile(1.0, 2.0, 2.0)
    with pytest.raises(ValueError, match=r"degrees of freedom are \(0.0, 2.0\): both must be above 0"):
        f_quantile(0.5, 0.0, 2.0)


def test_the_error_variance_is_that_of_cochran_for_equal_weights() -> None:
    """Sampling Techniques, equation 10.15: (1 - f1) s1^2 / m + f1 (1 - f2) s2^2 / (m k)."""
    moments = measure(np.random.default_rng(3).normal(size=(40, 4, DIM)), 80)
    moments = moments.select(np.arange(40))
    sample = Sample.of(moments)
    variance, _ = sample.error_variance(Spread(2.0, 39.0, 3.0, 40.0), new_prompts=False)
    assert variance == pytest.approx((1 - 2 / 4) * 3.0 / (40 * 2))
    variance, _ = sample.error_variance(Spread(2.0, 39.0, 3.0, 40.0), new_prompts=True)
    assert variance == pytest.approx(2.0 / 40)
    half = Sample.of(measure(np.random.default_rng(3).normal(size=(40, 4, DIM)), 20))
    variance, df = half.error_variance(Spread(2.0, 19.0, None, 1.0), new_prompts=False)
    assert (variance, df) == (pytest.approx(2.0 / 20), 19.0)


@steady
@given(st.integers(0, 10**6))
def test_the_consistency_interval_is_at_least_that_of_the_jackknife(seed: int) -> None:
    effects = effects_of(seed, idle=0.0)
    sample = effects[:, 0]
    without = [mean_of_pairs(np.delete(sample, prompt, axis=0)) for prompt in range(PROMPTS)]
    jackknife = math.sqrt((PROMPTS - 1) / PROMPTS * np.sum((np.array(without) - np.mean(without)) ** 2))
    found = Signature.from_moments(measure(effects, PROMPTS)).new_prompts.consistency
    assert found is not None
    half = t_quantile(0.975, PROMPTS - 1.0) * jackknife * (PROMPTS - 2) / (PROMPTS - 1)
    assert found.value - found.lower >= min(half, 1.0 + found.value) * (1.0 - 1e-9)


# --- coverage ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    """The benchmark, which runs the same simulation at full size."""
    path = Path(__file__).parents[1] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("population", ["C 0.03", "heavy norms", "seeds in common", "30% of prompts"])
def test_the_intervals_hold_the_truth_as_often_as_they_say(coverage: ModuleType, population: str) -> None:
    """A bootstrap over prompts held it in 63 to 92 % of the cases: it repeats cells, which agree with themselves."""
    size = coverage.Size(prompts=60, seeds=6, dim=24, categories=6, looks=(32, 120))
    rows = coverage.cover(population, size, repeats=100, seed=1)
    assert len(rows) == 12
    for row in rows:
        assert row.known > 80, row
        assert row.luck > 1e-3, row
        if row.figure != "agreement":
            assert row.width < 12.0 * row.error, row
    assert np.mean([row.covered / row.known for row in rows]) > 0.95
