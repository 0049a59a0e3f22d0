import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.conformal import Adaptive, fading, raised
from forecasting.scoring import coverage, mase, pinball, width


def test_pinball_charges_shortage_by_the_fraction_and_surplus_by_the_rest():
    loss = pinball(np.array([10.0, 10.0]), np.array([8.0, 14.0]), 0.9)
    np.testing.assert_allclose(loss, [1.8, 0.4])


def test_summaries():
    truth, upper = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 2.0, 5.0])
    assert coverage(truth, upper) == 0.75
    assert width(truth, upper) == pytest.approx(0.1)
    assert mase(truth, truth + 1, np.array([0.0, 2.0, 4.0])) == 0.5
    assert np.isnan(mase(truth, truth, np.ones(5)))


def quantile(scores, weights, level):
    return raised(np.array([scores]), weights, np.array([[level]])).item()


def test_few_scores_give_the_largest_of_them():
    assert quantile([1.0, 5.0, 2.0], np.ones(3), 0.9) == 5.0


def test_with_equal_weights_the_raise_is_the_split_conformal_quantile():
    scores = np.random.default_rng(0).permutation(99.0 + np.arange(99))
    assert quantile(scores, np.ones(99), 0.9) == np.sort(scores)[89]  # ceil(100 x 0.9)


def test_newer_scores_weigh_more():
    scores = np.concatenate((np.full(100, 10.0), np.full(100, 1.0)))
    assert quantile(scores, np.ones(200), 0.6) == 10.0
    assert quantile(scores, fading(200, 20.0), 0.6) == 1.0


@given(st.lists(st.booleans(), min_size=200, max_size=400))
def test_whatever_comes_the_level_stays_a_level(outcomes):
    adaptive = Adaptive.covering(0.9)
    for missed in outcomes:
        adaptive = adaptive.after(float(missed), [0.5])
        assert 0.5 <= adaptive.levels[0] <= 0.998


def test_a_miss_moves_nine_times_as_far_as_a_hit_and_no_promise_nowhere():
    start = Adaptive.covering(0.9, count=3)
    after = start.after(1.0, [0.0, 2.0, np.nan])
    missed, hit, neither = np.subtract(after.levels, start.levels)
    assert missed == pytest.approx(-9 * hit)
    assert neither == 0.0
