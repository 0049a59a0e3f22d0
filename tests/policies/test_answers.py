"""Lengths of answers to what arrives now, from those that end now."""

import numpy as np
import pytest

from policies.answers import as_arrived
from policies.lengths import Lengths

ITL = 0.025


def ended(rate_at, lengths: np.ndarray, seconds: float, window: float = 30.0) -> Lengths:
    """What ends in the last window of a long run of requests of these lengths."""
    random = np.random.default_rng(5)
    arrivals = np.concatenate(
        [second + random.random(random.poisson(rate_at(second))) for second in range(int(seconds))]
    )
    tokens = random.choice(lengths, len(arrivals))
    ends = arrivals + tokens * ITL
    return Lengths.from_samples(tokens[(ends > seconds - window) & (ends <= seconds)])


def test_a_steady_rate_leaves_them_as_they_are():
    seen = Lengths((100.0, 4000.0), (0.5, 0.5))
    assert as_arrived(seen, (0.0, 100.0, 200.0), (7.0, 7.0, 7.0), ITL) == seen


def test_a_rate_that_doubled_doubles_the_weight_of_answers_from_before():
    seen = Lengths((100.0, 6000.0), (2 / 3, 1 / 3))
    seconds = tuple(range(0, 400, 10))
    rates = tuple(10.0 if at < 270 else 20.0 for at in seconds)
    assert as_arrived(seen, seconds, rates, ITL).weights == pytest.approx((0.5, 0.5))


def test_the_bias_of_a_ramp_is_undone():
    """Rates that rise sixfold in ten minutes: what ends is too short, what is told is not."""
    lengths = np.array([200.0, 800.0, 4000.0])
    rate_at = lambda second: 20.0 * np.exp(second * np.log(6.0) / 600.0)  # noqa: E731 - a formula
    seen = ended(rate_at, lengths, 600.0)
    told = as_arrived(
        seen, np.arange(0.0, 601.0, 10.0).tolist(), [rate_at(s) for s in range(0, 601, 10)], ITL
    )
    assert seen.mean < 0.9 * lengths.mean()
    assert told.mean == pytest.approx(lengths.mean(), rel=0.05)


def test_without_arrivals_nothing_can_be_told():
    seen = Lengths((100.0,), (1.0,))
    assert as_arrived(seen, (), (), ITL) == seen
    assert as_arrived(seen, (0.0,), (0.0,), ITL) == seen
