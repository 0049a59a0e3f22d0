import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.lengths import Lengths
from replay.buckets import DYNAMO, SGLANG, VLLM


@given(st.floats(1, 1e5), st.floats(0.05, 3))
def test_a_stand_in_distribution_keeps_the_mean(mean, cv):
    assert Lengths.lognormal(mean, cv).mean == pytest.approx(mean)


@pytest.mark.parametrize("layout", [DYNAMO, VLLM, SGLANG], ids=["dynamo", "vllm", "sglang"])
@pytest.mark.parametrize("mean", [300.0, 1500.0, 3000.0])
def test_buckets_tell_the_moments_that_sizing_takes(layout, mean):
    random = np.random.default_rng(0)
    samples = random.lognormal(np.log(mean) - np.log(2) / 2, np.sqrt(np.log(2)), 20_000)
    edges = (*layout.input_tokens, np.inf)
    counts, _ = np.histogram(samples, (-1.0, *edges))
    found = Lengths.from_buckets(edges, counts.tolist(), samples.mean()).moments
    true = Lengths.from_samples(samples).moments
    assert found[0] == pytest.approx(samples.mean())
    assert found[1] == pytest.approx(true[1], rel=0.1)
    assert found[2] == pytest.approx(true[2], rel=0.2)
    assert found[3] == pytest.approx(true[3], rel=0.5)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.booleans())
def test_buckets_stay_within_their_edges(counts, endless):
    edges = [0.0, *(100.0 * 2**i for i in range(len(counts) - 1))]
    last = [np.inf] if endless else [edges[-1] * 2 or 100.0]
    lengths = Lengths.from_buckets([*edges[1:], *last], counts)
    if lengths is None:
        assert sum(counts) == 0
        return
    filled = [i for i, count in enumerate(counts) if count]
    most = last[0] if filled[-1] == len(counts) - 1 else edges[filled[-1] + 1]
    assert edges[filled[0]] <= lengths.tokens[0]
    assert lengths.tokens[-1] <= (most if np.isfinite(most) else max(2 * edges[-1], 1.0))


def test_the_overflow_bucket_stands_above_its_edge():
    (tokens,) = Lengths.from_buckets([100, float("inf")], [0, 10]).tokens
    assert 100 < tokens < 200


def test_lengths_that_share_a_bucket_may_all_be_the_same():
    assert Lengths.from_buckets([100, 200, 500], [0, 10, 0], 128.0).tokens == pytest.approx(
        (128.0,)
    )


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
