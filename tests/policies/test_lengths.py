import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.lengths import Lengths


@given(st.floats(1, 1e5), st.floats(0.05, 3))
def test_a_stand_in_distribution_keeps_the_mean(mean, cv):
    assert Lengths.lognormal(mean, cv).mean == pytest.approx(mean)


def test_buckets_become_midpoints_moved_to_the_exact_mean():
    lengths = Lengths.from_buckets([100, 210, float("inf")], [50, 50, 0], mean_tokens=120)
    assert lengths.mean == pytest.approx(120)
    assert lengths.weights == (0.5, 0.5)
    assert lengths.tokens[1] / lengths.tokens[0] == pytest.approx(155 / 50)


def test_the_overflow_bucket_stands_above_its_edge():
    assert Lengths.from_buckets([100, float("inf")], [0, 10]).tokens == (150.0,)


def test_empty_histograms_are_unknown_and_not_zero():
    assert Lengths.from_buckets([100, 200], [0, 0]) is None
    assert Lengths.from_samples(np.empty(0)) is None


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=200))
def test_condensed_samples_keep_the_mean_and_the_range(samples):
    lengths = Lengths.from_samples(np.array(samples))
    assert lengths.mean == pytest.approx(np.mean(samples), rel=1e-9, abs=1e-9)
    rounding = 1e-9 * max(1.0, *samples, 0.0)
    assert min(samples) - rounding <= lengths.tokens[0]
    assert lengths.tokens[0] <= lengths.tokens[-1] <= max(samples) + rounding


@pytest.mark.parametrize(
    ("tokens", "weights"),
    [
        pytest.param((), (), id="empty"),
        pytest.param((1.0,), (0.5, 0.5), id="different-lengths"),
        pytest.param((-1.0,), (1.0,), id="negative"),
        pytest.param((1.0, 2.0), (0.5, 0.6), id="weights-do-not-sum-to-one"),
    ],
)
def test_a_distribution_that_is_none_is_refused(tokens, weights):
    with pytest.raises(ValueError, match=r"weights|token counts"):
        Lengths(tokens, weights)


lengths_of_any = st.lists(st.floats(0, 1e5), min_size=1, max_size=40).map(
    lambda tokens: Lengths(tuple(sorted(tokens)), (1.0 / len(tokens),) * len(tokens))
)


@given(lengths_of_any, lengths_of_any, st.floats(0, 1))
def test_pooled_lengths_keep_the_mean_and_their_order(older, newer, share):
    pooled = older.pooled(newer, share)
    assert pooled.mean == pytest.approx((1 - share) * older.mean + share * newer.mean, abs=1e-6)
    assert list(pooled.tokens) == sorted(pooled.tokens)


@given(st.lists(st.floats(0, 1e5), min_size=2, max_size=60), st.data())
def test_pooling_two_parts_of_samples_is_condensing_them_all(samples, data):
    split = data.draw(st.integers(1, len(samples) - 1))
    parts = (samples[:split], samples[split:])
    older, newer = (Lengths(tuple(sorted(p)), (1 / len(p),) * len(p)) for p in parts)
    pooled = older.pooled(newer, len(parts[1]) / len(samples))
    condensed = Lengths.from_samples(np.array(samples))
    assert pooled.tokens == pytest.approx(condensed.tokens, rel=1e-6, abs=1e-6)


@given(lengths_of_any)
def test_moments_are_means_of_powers(lengths):
    tokens, weights = np.array(lengths.tokens), np.array(lengths.weights)
    expected = [float(weights @ tokens**power) for power in (1, 2, 3, 4)]
    assert lengths.moments == pytest.approx(expected)
