"""A run from the first request to the last token."""

import numpy as np
import pytest

from policies.config import PolicySettings, Slo
from policies.profile import builtin
from policies.types import PerRole
from replay.fleet import Fleet
from replay.physics import Physics
from replay.plant import Plant
from replay.requests import Requests
from replay.simulator import Static, run

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
PHYSICS = Physics.from_profile(PROFILE, startup_seconds=PerRole(60.0, 60.0))


def steady(seconds=300.0, per_second=5.0):
    times = np.arange(0.0, seconds, 1 / per_second)
    return Requests.of(times, np.full(len(times), 1000.0), np.full(len(times), 100.0))


def chunked(requests, rows=97):
    return iter(requests.take(slice(i, i + rows)) for i in range(0, len(requests), rows))


def fleet(requests, replicas=PerRole(1, 1)):  # noqa: B008 - frozen
    plant = Plant(PHYSICS, replicas, compiled=False)
    return Fleet(plant, chunked(requests), Slo())


@pytest.mark.parametrize("tick_seconds", [2.0, 10.0, 180.0])
def test_every_request_is_counted_once_at_any_pace(tick_seconds):
    requests = steady()
    score = run(fleet(requests), Static(PerRole(1, 1)), tick_seconds=tick_seconds)
    assert score.requests == len(requests)
    assert score.unfinished_requests == 0
    assert score.joint_attainment == 1.0


@pytest.mark.parametrize("tick_seconds", [2.0, 10.0, 180.0])
def test_the_bill_ends_with_the_last_token_at_any_pace(tick_seconds):
    score = run(fleet(steady()), Static(PerRole(1, 1)), tick_seconds=tick_seconds)
    assert score.gpu_hours * 3600 == pytest.approx(2 * 301.0, abs=2.0)


def test_how_a_trace_is_chunked_does_not_matter():
    requests = steady()
    scores = []
    for rows in (1, 50, 10_000):
        plant = Plant(PHYSICS, PerRole(1, 1), compiled=False)
        scores.append(
            run(
                Fleet(plant, chunked(requests, rows), Slo()),
                Static(PerRole(1, 1)),
                tick_seconds=10.0,
            )
        )
    assert scores[0] == scores[1] == scores[2]


def test_growing_is_billed_from_the_asking_and_serves_after_start_up():
    requests = steady()
    ready = []
    score = run(
        fleet(requests),
        Static(PerRole(3, 1)),
        tick_seconds=10.0,
        on_step=lambda step: ready.append(
            (step.observation.observed_at_seconds, step.pools.prefill.ready_replicas)
        ),
    )
    assert max(at for at, count in ready if count == 1) == 60.0
    assert score.scaling_events == 1
    assert score.gpu_hours * 3600 == pytest.approx(4 * 301 - 2 * 10, abs=5.0)


def test_what_cannot_finish_is_given_up_after_an_hour():
    score = run(fleet(steady(20.0), PerRole(1, 0)), Static(PerRole(1, 0)), tick_seconds=60.0)
    assert score.unfinished_requests == score.requests == 100
    assert score.joint_attainment == 0.0


@pytest.mark.parametrize("tick_seconds", [2.0, 10.0, 11.0, 25.0, 60.0, 100.0])
def test_an_observation_shows_what_was_offered_at_any_pace(tick_seconds):
    seen = []
    run(
        fleet(steady()),
        Static(PerRole(1, 1)),
        tick_seconds=tick_seconds,
        on_step=lambda step: seen.append(step.observation),
    )
    middle = seen[len(seen) // 2]
    assert middle.requests_per_second == pytest.approx(5.0, rel=0.05)
    assert middle.input_tokens is not None
    assert middle.input_tokens.mean == pytest.approx(1000.0)
    assert middle.output_tokens_mean == pytest.approx(100.0)


def test_a_silent_end_is_waited_for():
    requests = Requests.of([0.0, 500.0], [1000.0, 1000.0], [10.0, 10.0])
    score = run(fleet(requests), Static(PerRole(1, 1)), tick_seconds=10.0)
    assert (score.requests, score.unfinished_requests) == (2, 0)


def test_settings_have_a_default_objective():
    assert PolicySettings().slo == Slo()
