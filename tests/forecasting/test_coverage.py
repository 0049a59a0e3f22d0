"""Promises are kept in the long run, on real load and on generated load that drifts and jumps."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.backtest import follow, scores
from forecasting.ets import Ets
from forecasting.forecaster import fit
from forecasting.lagged_ridge import LaggedRidge
from forecasting.last_value import LastValue
from forecasting.recent_peak import RecentPeak
from forecasting.seasonal_naive import SeasonalNaive
from forecasting.series import Series
from forecasting.target import Target
from forecasting.tracker import TrackerSettings

pytestmark = pytest.mark.slow

MODELS = (LastValue(), RecentPeak(), SeasonalNaive(), Ets(), LaggedRidge())
CELLS = 1000


def scored(series, target, fraction=0.9, refit=150):
    settings = TrackerSettings(
        names=tuple(model.name for model in MODELS),
        step_seconds=series.step_seconds,
        target=target,
        fraction=fraction,
    )
    steps = follow(
        series, settings, lambda known: [fit(model, known, target) for model in MODELS], refit
    )
    return {score.model: score for score in scores(series, steps, len(series) // 5)}


def noisy(level, seed=0, noise=0.1):
    return level * np.exp(noise * np.random.default_rng(seed).standard_normal(len(level)))


TIME = np.arange(CELLS)
DAY = 1 + 0.5 * np.sin(2 * np.pi * TIME / 144)
NEXT, PEAK = Target(1, 1), Target(2, 4)
GENERATED = [
    pytest.param(noisy(100 * DAY), NEXT, id="daily"),
    pytest.param(noisy(100 * DAY * 1.001**TIME), PEAK, id="growing-day"),
    pytest.param(noisy(np.where(TIME < CELLS // 2, 100.0, 300.0)), NEXT, id="level-shift"),
    pytest.param(noisy(np.where(TIME < CELLS // 2, 100 * DAY, 100.0)), PEAK, id="the-day-ends"),
    pytest.param(
        noisy(np.full(CELLS, 100.0))
        * np.where(TIME < CELLS // 2, 1.0, noisy(np.ones(CELLS), 1, 0.5)),
        PEAK,
        id="noise-grows-fivefold",
    ),
    pytest.param(100 * np.exp(np.cumsum(noisy(np.ones(CELLS), 2, 0.03) - 1)), NEXT, id="walk"),
]


@pytest.mark.parametrize(("values", "target"), GENERATED)
def test_long_run_coverage_is_within_two_points(values, target):
    ensemble = scored(Series(0.0, 600.0, values), target)["ensemble"]
    assert ensemble.coverage == pytest.approx(0.9, abs=0.02)


def test_another_quantile_is_kept_as_well():
    ensemble = scored(Series(0.0, 600.0, noisy(100 * DAY)), Target(1, 1), fraction=0.8)["ensemble"]
    assert ensemble.coverage == pytest.approx(0.8, abs=0.02)


def test_on_a_daily_cycle_it_beats_the_last_value_by_a_quarter():
    ensemble = scored(Series(0.0, 600.0, noisy(100 * DAY, noise=0.05)), Target(6, 6))["ensemble"]
    assert ensemble.pinball < 0.75 * ensemble.pinball_last_value


def test_where_nothing_can_be_foreseen_it_stays_with_the_last_value():
    walk = 100 * np.exp(np.cumsum(noisy(np.ones(CELLS), 2, 0.05) - 1))
    ensemble = scored(Series(0.0, 600.0, walk), Target(1, 1))["ensemble"]
    assert ensemble.pinball < 1.02 * ensemble.pinball_last_value


def column(path, name, rows):
    lines = path.read_text(encoding="utf-8").splitlines()
    index = lines[0].split(",").index(name)
    return np.array([float(line.split(",")[index]) for line in lines[1:]])[:rows]


REAL = [
    pytest.param("azure-2024/azure2024_conv_10min_digitised.csv", "requests_10min_approx", 600.0),
    pytest.param("azure-2024/azure2024_code_10min_digitised.csv", "requests_10min_approx", 600.0),
    pytest.param("burstgpt-hourly/burstgpt_hourly.csv", "conversation", 3600.0),
    pytest.param("burstgpt-hourly/burstgpt_hourly.csv", "api", 3600.0),
    pytest.param("servegen/m-mid-aggregate-10min.csv", "rate_rps", 600.0),
]


@pytest.mark.parametrize(("path", "name", "step"), REAL)
def test_real_load_is_covered_and_never_served_worse_than_by_the_last_value(
    public_trace, path, name, step
):
    path = public_trace(path)
    values = column(path, name, 1000)
    if name == "rate_rps":
        values[column(path, "gap", 1000) > 0] = np.nan
    ensemble = scored(Series(0.0, step, values), Target(1, 1))["ensemble"]
    assert ensemble.coverage == pytest.approx(0.9, abs=0.02)
    assert ensemble.pinball <= 1.02 * ensemble.pinball_last_value
