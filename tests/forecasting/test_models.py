"""One contract over all models, and statsmodels itself as the oracle of our filters."""

import warnings

import numpy as np
import pytest

from forecasting.ets import Ets
from forecasting.events import Calendar, Event
from forecasting.forecaster import CannotRun, Refusal, fit
from forecasting.prophet import Prophet
from forecasting.registry import BUILT_IN
from forecasting.seasonal_naive import SeasonalNaive
from forecasting.series import Series
from forecasting.structural import Structural
from forecasting.target import Target

TARGET = Target(1, 4)
MODELS = [pytest.param(model, id=model.name) for model in BUILT_IN]
SEASONAL = ("seasonal_naive", "mstl", "prophet")


def fitted(model, series):
    if model.name == "prophet":
        pytest.importorskip("prophet")
    outcome = fit(model, series, TARGET).outcome
    assert not isinstance(outcome, CannotRun), outcome
    return outcome


@pytest.mark.parametrize("model", MODELS)
def test_extending_at_once_or_cell_by_cell_is_the_same(model, daily):
    series = daily(5)
    start = fitted(model, Series(0.0, 1800.0, series.values[:200]))
    at_once = start.extend(series.values[200:230])
    by_cell = start
    for value in series.values[200:230]:
        by_cell = by_cell.extend(np.array([value]))
    np.testing.assert_allclose(at_once.path(4), by_cell.path(4), rtol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_extending_leaves_the_fitted_model_as_it_was(model, daily):
    start = fitted(model, daily(5))
    before = start.path(4)
    start.extend(np.array([500.0, 600.0]))
    np.testing.assert_array_equal(start.path(4), before)


@pytest.mark.parametrize("model", MODELS)
def test_a_gap_leaves_a_finite_path_near_the_history(model, daily):
    series = daily(5)
    series.values[100:140] = np.nan
    path = fitted(model, series).extend(np.full(6, np.nan)).path(4)
    assert np.isfinite(path).all()
    assert (path >= 0).all()
    assert path.max() < 3 * np.nanmax(series.values)


@pytest.mark.parametrize(
    "model", [m for m in MODELS if m.values[0].name not in ("last_value", "recent_peak", "ets")]
)
def test_models_that_know_the_day_foresee_the_morning(model, daily):
    series = daily(6, noise=0.01)
    trough = 48 * 5 + 36  # the wave's lowest cell; it rises from there
    known = Series(0.0, 1800.0, series.values[: trough + 4])
    path = fitted(model, known).path(8)
    truth = series.values[trough + 4 : trough + 12]
    last = np.full(8, known.values[-1])
    assert np.abs(path[:4] - truth[:4]).mean() < 0.5 * np.abs(last[:4] - truth[:4]).mean()


@pytest.mark.parametrize("model", [m for m in MODELS if m.values[0].name in SEASONAL])
def test_seasonal_models_refuse_less_than_two_cycles(model, daily):
    outcome = fit(model, daily(1.9), TARGET).outcome
    assert isinstance(outcome, CannotRun)
    assert outcome.reason is Refusal.TOO_SHORT
    assert "1.9 days" in outcome.detail


@pytest.mark.parametrize("model", [m for m in MODELS if m.values[0].name in SEASONAL])
def test_seasonal_models_refuse_a_series_without_cycle(model):
    noise = 100 + 10 * np.random.default_rng(3).standard_normal(48 * 6)
    outcome = fit(model, Series(0.0, 1800.0, noise), TARGET).outcome
    assert isinstance(outcome, CannotRun)
    assert outcome.reason is Refusal.NO_SEASON


def walk(count=300, seed=1):
    steps = np.random.default_rng(seed).standard_normal(count) * 0.05
    return 100 * np.exp(np.cumsum(steps))


def test_ets_forecasts_what_statsmodels_forecasts():
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    model = fitted(Ets(), Series(0.0, 60.0, walk()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaled = model.scale.up(walk())
        theirs = ETSModel(scaled, error="add", trend="add", damped_trend=True)
        expected = theirs.fit(disp=False, maxiter=200).forecast(4)
    np.testing.assert_allclose(model.path(4), model.scale.down(expected), rtol=1e-6)


def test_structural_extends_to_what_the_kalman_filter_says():
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    values = walk(320)
    model = fitted(Structural(), Series(0.0, 60.0, values[:300]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = UnobservedComponents(model.scale.up(values[:300]), "llevel").fit(disp=False)
        expected = result.extend(model.scale.up(values[300:])).forecast(4)
    np.testing.assert_allclose(
        model.extend(values[300:]).path(4), model.scale.down(expected), rtol=1e-3
    )


def test_seasonal_naive_moves_the_last_cycles_to_todays_level(daily):
    series = daily(8, noise=0.0)
    levels = np.repeat([1.0, 1.4, 0.8, 1.2, 0.9, 1.3, 0.7, 1.0], 48)
    model = fitted(SeasonalNaive(), Series(0.0, 1800.0, series.values * levels))
    doubled = model.extend(2 * series.values[:24])
    np.testing.assert_allclose(doubled.path(4), 2 * series.values[24:28], rtol=0.12)


def test_prophet_divides_past_events_out_and_learns_holidays(daily):
    pytest.importorskip("prophet")
    series = daily(6, noise=0.01)
    campaign = slice(48 * 4 + 20, 48 * 4 + 30)
    known = Series(0.0, 1800.0, series.values[: 48 * 5].copy())
    known.values[campaign] *= 4.0
    start = campaign.start * 1800.0
    event = Event(start_seconds=start, end_seconds=start + 10 * 1800.0, multiplier=4.0)
    truth = series.values[48 * 5 + 20 : 48 * 5 + 30]

    def error(model):
        path = fitted(model, known).path(48)[20:30]
        return np.abs(path / truth - 1).mean()

    told = Prophet(country="DE", events=Calendar((event,)))
    assert error(told) < 0.1
    assert error(Prophet()) > 3 * error(told)  # it took the campaign for a part of the day
