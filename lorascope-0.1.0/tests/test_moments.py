"""The accumulator against plain NumPy: what it sums, how it merges, what it refuses."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorascope.moments import Moments

PROMPTS, SEEDS, DIM = 5, 4, 3

steady = settings(deadline=None, derandomize=True)


def cells(seed: int, n: int = PROMPTS * SEEDS) -> tuple[np.ndarray, np.ndarray]:
    """The first n cells of a grid in random order, some with no effect, rounded as stored embeddings are."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.repeat(np.arange(PROMPTS), SEEDS))[:n]
    effects = rng.normal(size=(n, DIM)).astype(np.float16).astype(np.float64)
    effects[rng.random(n) < 0.2] = 0.0
    return order, effects


def moments(order: np.ndarray, effects: np.ndarray, noise_floor: float = 0.0) -> Moments:
    result = Moments.empty(PROMPTS, SEEDS, DIM)
    result.add(order, effects, noise_floor=noise_floor)
    return result


def close(left: Moments, right: Moments) -> bool:
    return all(np.allclose(a, b, atol=1e-12) for a, b in zip(left.arrays(), right.arrays(), strict=True))


@steady
@given(st.integers(0, 10**6), st.integers(0, PROMPTS * SEEDS), st.sampled_from([0.0, 0.5, 1.5]))
def test_sums_are_those_of_numpy(seed: int, n: int, noise_floor: float) -> None:
    order, effects = cells(seed, n)
    found = moments(order, effects, noise_floor)
    norms = np.linalg.norm(effects, axis=1)
    units = np.where((norms > noise_floor)[:, None], effects / np.maximum(norms, 1e-300)[:, None], 0.0)
    for prompt in range(PROMPTS):
        mine = order == prompt
        assert found.n[prompt] == mine.sum()
        assert found.n_active[prompt] == (norms[mine] > noise_floor).sum()
        np.testing.assert_allclose(found.sum_effect[prompt], effects[mine].sum(axis=0), atol=1e-12)
        np.testing.assert_allclose(found.sum_norm[prompt], norms[mine].sum(), atol=1e-12)
        np.testing.assert_allclose(found.sum_norm_sq[prompt], (norms[mine] ** 2).sum(), atol=1e-12)
        np.testing.assert_allclose(found.sum_unit[prompt], units[mine].sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.scatter, units.T @ units, atol=n * 1e-5)
    assert found.cells == n
    assert found.complete == (n == PROMPTS * SEEDS)


@steady
@given(st.integers(0, 10**6), st.lists(st.integers(0, PROMPTS * SEEDS), max_size=4))
def test_blocks_added_and_blocks_merged_are_the_same_bits(seed: int, cuts: list[int]) -> None:
    order, effects = cells(seed)
    added, merged = Moments.empty(PROMPTS, SEEDS, DIM), Moments.empty(PROMPTS, SEEDS, DIM)
    for block in np.split(np.arange(len(order)), sorted(cuts)):
        added.add(order[block], effects[block])
        merged = merged.merge(moments(order[block], effects[block]))
    assert added == merged
    assert close(added, moments(order, effects))


@steady
@given(st.integers(0, 10**6))
def test_the_order_of_cells_does_not_matter(seed: int) -> None:
    order, effects = cells(seed)
    other = np.random.default_rng(seed + 1).permutation(len(order))
    assert close(moments(order, effects), moments(order[other], effects[other]))


@steady
@given(st.integers(0, 10**6), st.integers(1, PROMPTS * SEEDS - 1))
def test_the_scatter_has_the_same_bits_in_any_order(seed: int, cut: int) -> None:
    """It is a matrix product, whose order of additions depends on threads: only exact sums are the same."""
    order, effects = cells(seed)
    parts = moments(order[cut:], effects[cut:]).merge(moments(order[:cut], effects[:cut]))
    assert np.array_equal(parts.scatter, moments(order, effects).scatter)


@steady
@given(st.integers(0, 10**6), st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaling_the_effects_scales_their_sums_and_not_their_directions(seed: int, factor: float) -> None:
    order, effects = cells(seed)
    plain, scaled = moments(order, effects), moments(order, effects * factor)
    np.testing.assert_array_equal(scaled.sum_effect, plain.sum_effect * factor)
    np.testing.assert_array_equal(scaled.sum_norm, plain.sum_norm * factor)
    np.testing.assert_array_equal(scaled.sum_norm_sq, plain.sum_norm_sq * factor**2)
    np.testing.assert_array_equal(scaled.sum_unit, plain.sum_unit)


def test_an_effect_at_the_noise_floor_has_no_direction_but_counts() -> None:
    found = moments(np.array([0, 1]), np.array([[3.0, 4.0, 0.0], [6.0, 8.0, 0.0]]), noise_floor=5.0)
    assert found.n.tolist() == [1, 1, 0, 0, 0]
    assert found.n_active.tolist() == [0, 1, 0, 0, 0]
    assert found.sum_norm.tolist() == [5.0, 10.0, 0.0, 0.0, 0.0]
    assert found.sum_effect[0].tolist() == [3.0, 4.0, 0.0]
    assert found.sum_unit[0].tolist() == [0.0, 0.0, 0.0]


def test_moments_travel_between_processes() -> None:
    found = moments(*cells(1))
    assert pickle.loads(pickle.dumps(found)) == found


def test_select_keeps_only_the_prompts_asked_for() -> None:
    order, effects = cells(2)
    chosen = moments(order, effects).select(np.array([3, 1]))
    whole = moments(order, effects)
    assert chosen.prompts == 2
    np.testing.assert_array_equal(chosen.sum_norm, whole.sum_norm[[3, 1]])


def test_comparing_with_something_else_is_false() -> None:
    assert moments(*cells(1)) != "moments"
    assert Moments.empty(1, 1, 2) != Moments.empty(2, 1, 2)


@pytest.mark.parametrize(
    ("prompt_index", "effects", "noise_floor", "message"),
    [
        ([0], [[1.0, 2.0]], 0.0, r"effects has shape \(1, 2\): give \(1, 3\), a row for each prompt_index"),
        ([5], [[1.0, 2.0, 3.0]], 0.0, "prompt_index holds 5: the grid has prompts 0 to 4"),
        ([-1], [[1.0, 2.0, 3.0]], 0.0, "prompt_index holds -1: the grid has prompts 0 to 4"),
        ([2], [[1.0, np.nan, 3.0]], 0.0, r"effects\[0\] \(prompt 2\) is not finite: leave that cell out"),
        ([2], [[1.0, np.inf, 3.0]], 0.0, r"effects\[0\] \(prompt 2\) is not finite"),
        ([2], [[1.0, 2.0, 3.0]], -1.0, "noise_floor is -1.0: give a norm of 0 or more"),
        ([2], [[1.0, 2.0, 3.0]], float("nan"), "noise_floor is nan: give a norm of 0 or more"),
        (
            [2] * 5,
            [[1.0, 2.0, 3.0]] * 5,
            0.0,
            "prompt 2 would have 5 cells, but the grid has 4 seeds: add each",
        ),
    ],
)
def test_bad_cells_are_named_and_nothing_is_added(
    prompt_index: list[int], effects: list[list[float]], noise_floor: float, message: str
) -> None:
    found = Moments.empty(PROMPTS, SEEDS, DIM)
    with pytest.raises(ValueError, match=message):
        found.add(np.array(prompt_index), np.array(effects), noise_floor=noise_floor)
    assert found == Moments.empty(PROMPTS, SEEDS, DIM)


def test_a_merge_needs_the_same_grid_and_different_cells() -> None:
    found = moments(*cells(3))
    with pytest.raises(ValueError, match=r"other has \(prompts, seeds, dim\) \(5, 4, 2\), not \(5, 4, 3\)"):
        found.merge(Moments.empty(PROMPTS, SEEDS, 2))
    with pytest.raises(ValueError, match="would have 8 cells, but the grid has 4 seeds"):
        found.merge(found)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 1, 1), "prompts is 0: it must be at least 1"),
        ((1, -1, 1), "seeds is -1"),
        ((1, 1, 0), "dim is 0"),
        ((2**14, 16, 1), "prompts x seeds is 262144: use a grid of at most 131072 cells"),
    ],
)
def test_sizes_are_checked(sizes: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Moments.empty(*sizes)
