import numpy as np
import pytest

from forecasting.seasonality import DAY_SECONDS, WEEK_SECONDS, seasons
from forecasting.series import Series


def series(days, shape, noise=0.1, seed=0):
    cells = np.arange(int(days * 48))
    values = shape(cells / 48) * np.exp(
        noise * np.random.default_rng(seed).standard_normal(len(cells))
    )
    return Series(0.0, 1800.0, values)


def day(days):
    return 100 + 60 * np.sin(2 * np.pi * days)


def week(days):
    return day(days) * np.where(days % 7 < 5, 1.0, 0.4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(series(5, day), (DAY_SECONDS,), id="day"),
        pytest.param(series(1.9, day), (), id="too-short-for-a-day"),
        pytest.param(series(28, week), (DAY_SECONDS, WEEK_SECONDS), id="day-and-week"),
        pytest.param(series(28, day), (DAY_SECONDS,), id="day-without-week"),
        pytest.param(series(20, lambda d: 100 + 0 * d), (), id="noise"),
        pytest.param(series(20, lambda d: 100 + 10 * d), (), id="growth"),
        pytest.param(series(20, lambda d: 100 + 0 * d, noise=0.0), (), id="constant"),
    ],
)
def test_cycles_are_detected_not_assumed(values, expected):
    assert seasons(values) == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_random_walk_has_no_cycle(seed):
    steps = 0.02 * np.random.default_rng(seed).standard_normal(48 * 12)
    assert seasons(Series(0.0, 1800.0, 100 * np.exp(np.cumsum(steps)))) == ()
