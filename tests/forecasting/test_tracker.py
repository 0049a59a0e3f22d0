from dataclasses import replace

import numpy as np
import pytest

from forecasting.events import Calendar, Event
from forecasting.forecast import Mode
from forecasting.forecaster import CannotRun, Fit, Refusal, fit
from forecasting.lagged_ridge import LaggedRidge
from forecasting.registry import BUILT_IN
from forecasting.seasonal_naive import SeasonalNaive
from forecasting.state import decode, encode
from forecasting.target import Target
from forecasting.tracker import Tracker, TrackerSettings

QUICK = tuple(model for model in BUILT_IN if model.name not in ("sarimax", "prophet"))
NAMES = tuple(model.name for model in QUICK)
SETTINGS = TrackerSettings(names=NAMES, step_seconds=60.0, target=Target(2, 4))


def fits(tracker, models=QUICK):
    target = tracker.settings.target
    return [fit(model, tracker.plausible_history(), target) for model in models]


def followed(values, settings=SETTINGS, fitted_at=(60, 200), models=QUICK):
    tracker = Tracker.fresh(settings)
    for minute, value in enumerate(values):
        tracker = tracker.update(60.0 * minute, value)
        if minute in fitted_at:
            tracker = tracker.with_fits(fits(tracker, models))
        yield tracker


def last(values, **options):
    *_, tracker = followed(values, **options)
    return tracker


def steady(count=260, seed=0):
    return list(100 * np.exp(0.05 * np.random.default_rng(seed).standard_normal(count)))


def with_change(start, values):
    changed = steady()
    changed[start : start + len(values)] = values
    return changed


ODD = [
    pytest.param(with_change(150, [None] * 40), id="gap"),
    pytest.param(with_change(150, [float("nan"), float("inf")]), id="not-finite"),
    pytest.param(with_change(150, [-1e6]), id="counter-reset"),
    pytest.param([5.0] * 260, id="constant"),
    pytest.param([0.0] * 260, id="zeros"),
    pytest.param(with_change(150, [1e5]), id="spike-of-1000"),
    pytest.param(with_change(258, [1e5, 100.0]), id="spike-at-the-end"),
    pytest.param(steady(10), id="ten-points"),
    pytest.param([None] * 20, id="never-a-value"),
    pytest.param([1e-12] * 130 + [1e12] * 130, id="24-orders-of-magnitude"),
]


@pytest.mark.parametrize("values", ODD)
def test_odd_series_give_no_absurd_quantile(values):
    seen = []
    for tracker, value in zip(followed(values), values, strict=True):
        usual = [v for v in seen if v < 1e5] or [0.0]
        upper = tracker.forecast.upper
        if upper is not None:
            assert np.isfinite(upper)
            assert 0 <= upper <= 10 * max(usual) * (1 + 1e-9) or max(seen) > 1e11
        assert np.isfinite(tracker.forecast.path).all()
        if value is not None and 0 <= value < np.inf:
            seen.append(value)


@pytest.mark.parametrize("seconds", [30.0, 120.0, 1e9])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_clock_that_steps_is_survived(seconds, direction):
    tracker = last(steady())
    for minute in range(260, 320):
        tracker = tracker.update(60.0 * minute + direction * seconds, 150.0)
        assert tracker.forecast.upper is None or 80.0 < tracker.forecast.upper < 300.0
    assert tracker.forecast.upper == pytest.approx(150.0, rel=0.1)  # it follows the new clock


def test_it_says_that_it_is_warming_up_and_then_what_it_uses():
    modes = [tracker.forecast.mode for tracker in followed(steady(60))]
    assert modes[0] is Mode.NO_DATA
    assert modes[1] is Mode.WARMING_UP
    assert modes[-1] in (Mode.REACTIVE, Mode.ENSEMBLE)


def test_while_warming_up_it_is_reactive():
    tracker = last([10.0, 30.0, 20.0, 20.0])
    assert tracker.forecast.upper == 30.0
    assert "it takes 10" in tracker.forecast.why


def test_unknown_is_not_zero():
    tracker = last([100.0] * 50 + [None] * 3)
    assert tracker.forecast.upper == pytest.approx(100.0)
    assert last([100.0] * 50 + [None] * 10).forecast.upper is None


def test_a_lasting_change_turns_it_reactive_within_minutes():
    *_, tracker = followed(steady(200) + [300.0] * 5)
    assert tracker.forecast.mode is Mode.REACTIVE
    assert tracker.forecast.weights.keys() <= {"last_value", "recent_peak"}
    assert tracker.forecast.upper >= 300.0


def test_models_that_lag_behind_a_change_are_dropped_for_a_while():
    alertness = Tracker.fresh(SETTINGS).alertness
    for error in [0.01, -0.01] * 20 + [1.0] * 3:
        alertness = alertness.after_cell(error, 0.0, SETTINGS.target, SETTINGS.fraction)
    assert alertness.reactive
    assert alertness.why.startswith("change point")
    for _ in range(20):
        alertness = alertness.after_cell(0.01, 0.0, SETTINGS.target, SETTINGS.fraction)
    assert not alertness.reactive


def test_broken_promises_turn_it_reactive():
    rising = 100 * 1.01 ** np.arange(260.0)  # slow enough to be no change point
    tracker = Tracker.fresh(SETTINGS)
    alertness = tracker.alertness
    for _ in range(20):
        alertness = alertness.after_outcome(missed=True)
    alertness = alertness.after_cell(0.0, 0.0, SETTINGS.target, SETTINGS.fraction)
    assert alertness.reactive
    assert alertness.why.startswith("coverage: 100%")
    assert last(rising).forecast.upper > rising[-1]


def test_a_tracker_whose_promises_are_broken_says_so():
    tracker = last(steady(200))
    for minute in range(200, 260):
        broken = [replace(origin, upper=1.0) for origin in tracker.ledger.open]
        ledger = replace(tracker.ledger, open=tuple(broken))
        tracker = replace(tracker, ledger=ledger).update(60.0 * minute, steady()[minute])
    assert tracker.forecast.mode is Mode.REACTIVE
    assert tracker.forecast.why.startswith("coverage: ")


class Broken:
    """A model of somebody else's that misbehaves."""

    name = "ets"

    def fit(self, series, target):
        raise ZeroDivisionError("oh")


class Nonsense(Broken):
    def fit(self, series, target):
        return self

    def extend(self, values):
        return self

    def path(self, steps):
        return np.full(steps, np.nan)


@pytest.mark.parametrize(
    ("model", "reason"), [(Broken(), Refusal.FAILED), (Nonsense(), Refusal.NONSENSE)]
)
def test_a_failing_model_costs_nothing_but_its_place(model, reason):
    tracker = last(steady(), models=(LaggedRidge(), model))
    assert tracker.refusals["ets"].reason is reason
    assert "ets" not in tracker.models
    assert tracker.forecast.upper == pytest.approx(110, rel=0.1)


def test_a_model_that_breaks_later_drops_out():
    class Later(Nonsense):
        def extend(self, values):
            raise RuntimeError("later")

        def path(self, steps):
            return np.full(steps, 1.0)

    tracker = last(steady(80), fitted_at=())
    tracker = tracker.with_fits([Fit("ets", tracker.history.end_seconds - 60, Later())])
    assert "ets" not in tracker.models
    assert isinstance(tracker.refusals["ets"], CannotRun)


def test_a_late_fit_catches_up_with_what_came_since():
    early, late = list(followed(steady(150), fitted_at=()))[120:150:29]
    outcome = fit(SeasonalNaive(), early.history, SETTINGS.target)
    assert isinstance(outcome.outcome, CannotRun)
    new = fit(LaggedRidge(), early.plausible_history(), SETTINGS.target)
    caught_up = late.with_fits([new]).models["lagged_ridge"]
    expected = new.outcome.extend(late.plausible_history().values[len(early.history) :])
    np.testing.assert_array_equal(caught_up.path(4), expected.path(4))


def test_the_same_values_give_the_same_forecast_and_change_no_argument():
    tracker = last(steady())
    first = tracker.update(60.0 * 260, 90.0)
    again = tracker.update(60.0 * 260, 90.0)
    assert first.forecast == again.forecast
    assert tracker.forecast == last(steady()).forecast


def test_samples_within_a_cell_are_averaged():
    tracker = Tracker.fresh(SETTINGS)
    for second, value in ((0, 10.0), (20, 20.0), (40, 60.0), (60, 1.0)):
        tracker = tracker.update(float(second), value)
    np.testing.assert_array_equal(tracker.history.values, [30.0])


def test_events_multiply_and_floors_hold():
    event = Event(start_seconds=260 * 60.0, end_seconds=300 * 60.0, multiplier=3.0)
    plain, known = (
        last(steady()),
        last(steady(), settings=replace(SETTINGS, events=Calendar((event,)))),
    )
    assert known.forecast.upper == pytest.approx(3 * plain.forecast.upper, rel=0.1)
    floor = Calendar((replace(event, multiplier=1.0, floor=777.0),))
    assert last(steady(), settings=replace(SETTINGS, events=floor)).forecast.upper == 777.0


def test_an_event_that_runs_already_is_not_counted_twice():
    event = Event(start_seconds=0.0, end_seconds=1e6, multiplier=3.0)
    known = last(steady(), settings=replace(SETTINGS, events=Calendar((event,))))
    assert known.forecast.upper == pytest.approx(last(steady()).forecast.upper)


def test_a_restart_forgets_nothing_but_the_fits():
    before = last(steady())
    after = decode(encode(before), SETTINGS).with_fits(fits(before))
    now, then = (
        before.with_fits(fits(before)).update(60.0 * 260, 90.0),
        after.update(60.0 * 260, 90.0),
    )
    assert then.forecast.upper == pytest.approx(now.forecast.upper, rel=1e-4)
    assert then.forecast.mode is now.forecast.mode


def test_the_state_is_bounded():
    small = replace(SETTINGS, history_cells=100, evidence_rows=50)
    sizes = [len(encode(t)) for t in followed(steady(), settings=small)]
    assert abs(sizes[-1] - sizes[200]) < 40


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Expecting value"),
        ("{}", "version"),
        ("[]", "indices"),
        ('{"version": 99, "step_seconds": 60.0}', "99"),
    ],
)
def test_a_state_that_cannot_be_used_says_why(text, says):
    with pytest.raises(ValueError, match=says):
        decode(text, SETTINGS)


def test_evidence_of_another_target_is_dropped_and_the_history_kept():
    other = replace(SETTINGS, target=Target(5, 9))
    tracker = decode(encode(last(steady())), other)
    assert len(tracker.history) == 259
    assert len(tracker.ledger.truths) == 0
    assert tracker.update(60.0 * 260, 90.0).forecast.mode is Mode.WARMING_UP


@pytest.mark.parametrize(
    ("changed", "rows_kept"),
    [
        pytest.param(
            {"events": Calendar((Event(start_seconds=0.0, end_seconds=1.0, multiplier=2.0),))},
            True,
            id="events",
        ),
        pytest.param({"names": ("last_value", "ets", "recent_peak")}, True, id="models"),
        pytest.param({"target": Target(1, 3)}, False, id="target"),
        pytest.param({"fraction": 0.6}, False, id="quantile"),
    ],
)
def test_other_settings_keep_the_history(changed, rows_kept):
    before = last(steady(), models=())
    after = before.under(replace(before.settings, **changed))
    np.testing.assert_array_equal(after.history.values, before.history.values)
    assert after.open_cell == before.open_cell
    assert len(after.ledger.truths) == (len(before.ledger.truths) if rows_kept else 0)
    assert after.ledger.centres.shape[1] == len(after.settings.names)
    step = before.settings.step_seconds
    now = (before.open_cell + 1) * step
    following = after.update(now, 100.0).update(now + step, 100.0)
    assert len(following.history) == len(before.history) + 2
    assert following.forecast.upper is not None


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_other_cells_keep_the_history_as_means(factor):
    before = last(steady(), models=())
    step = before.settings.step_seconds * factor
    after = before.under(replace(before.settings, step_seconds=step))
    assert after.history.step_seconds == step
    assert after.history.values.mean() == pytest.approx(before.history.values.mean(), rel=0.02)
    following = after.update(after.open_cell * step, 100.0).update(
        (after.open_cell + 1) * step, 1.0
    )
    assert following.history.values[-1] == 100.0
    assert following.forecast.upper is not None
