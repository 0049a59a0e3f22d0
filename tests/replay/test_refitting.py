"""A replay that fits its models: at simulated times, and the same in every run."""

from datetime import UTC, datetime

import numpy as np
import pytest

from forecasting.forecaster import CannotRun, Refusal
from policies.config import ForecastSettings, KnownEvent, PolicySettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory
from policies.models import to_fit, trackers_of
from policies.profile import builtin
from policies.types import Observation, PerRole, PoolState
from replay.refitting import Refits, Refitted

pytestmark = pytest.mark.slow

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
POOLS = PerRole(2, 2).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))


def settings(**forecast):
    return PolicySettings(forecast=ForecastSettings(**forecast))


def seen(at_seconds, rate):
    return Observation(
        observed_at_seconds=at_seconds,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=Lengths.lognormal(1000.0),
        output_tokens_mean=100.0,
    )


def played(asked, ticks=200):
    """Decisions on a wave with noise, one every 30 s, and the memory after them."""
    policy = Refitted(Engine(PROFILE, asked), Refits.of(asked.forecast))
    noise = np.random.default_rng(0).standard_normal(ticks)
    memory, decisions = Memory(), []
    for i in range(ticks):
        rate = 20 + 10 * np.sin(i / 9) + noise[i]
        decision, memory = policy.decide(seen(30.0 * i, rate), POOLS, memory, 30.0 * i)
        decisions.append(decision)
    return policy, decisions, memory


def test_models_that_the_settings_name_are_fitted_and_used():
    _, decisions, memory = played(settings(models=("lagged_ridge", "ets")))
    for tracker in memory.trackers:
        assert {"lagged_ridge", "ets"} <= tracker.models.keys()
    used = {name for decision in decisions for one in decision.forecasts for name in one.weights}
    assert used & {"lagged_ridge", "ets"}


def test_two_runs_decide_the_same():
    asked = settings(models=("lagged_ridge", "ets"))
    assert played(asked)[1] == played(asked)[1]


def test_where_no_models_are_named_nothing_is_fitted():
    _, _, memory = played(settings(), ticks=60)
    for tracker in memory.trackers:
        assert tracker.models.keys() == {"last_value", "recent_peak"}


@pytest.mark.parametrize(("every", "fits"), [(None, 7), (1500.0, 4)])
def test_fits_are_as_often_as_the_service_makes_them_or_as_asked(every, fits):
    class Counting:
        name = "ets"
        times: tuple[float, ...] = ()

        def fit(self, series, target):
            Counting.times += (series.end_seconds,)
            return CannotRun(Refusal.FAILED, "only counting")

    asked = settings(models=("ets",), refit_seconds=every)
    refits = Refits.of(asked.forecast)
    refits.forecasters = (Counting(),)
    policy, memory = Refitted(Engine(PROFILE, asked), refits), Memory()
    for i in range(200):  # 100 minutes; an ets is due every 15 unless told otherwise
        _, memory = policy.decide(seen(30.0 * i, 20.0), POOLS, memory, 30.0 * i)
    assert len(Counting.times) == fits * len(memory.trackers)


def test_prophet_is_told_the_country_and_the_events():
    event = KnownEvent(
        start=datetime(2026, 11, 27, tzinfo=UTC),
        end=datetime(2026, 11, 28, tzinfo=UTC),
        multiplier=2.0,
    )
    (prophet,) = to_fit(ForecastSettings(models=("prophet",), country="DE", events=(event,)))
    assert prophet.country == "DE"
    assert prophet.events.events[0].multiplier == 2.0


def test_trackers_go_by_the_names_of_their_loads():
    _, _, memory = played(settings(), ticks=3)
    assert next(iter(trackers_of(memory))) == "prefill_erlangs"
