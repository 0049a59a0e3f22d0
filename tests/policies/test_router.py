"""The front end: sized by requests per second, kept steady, and held for typed reasons."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.config import Guards, PolicySettings, RouterSettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.router import Router, coming_rate
from policies.types import (
    HoldReason,
    Observation,
    PerRole,
    PoolState,
    Trust,
    Unavailable,
)

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
ROUTER = RouterSettings(requests_per_second_per_replica=100.0, max_replicas=8)


def router(**guards: object) -> Router:
    return Router(PROFILE, PolicySettings(guards=Guards(**guards)), ROUTER)


def seen(rate: float | None, at: float = 0.0, trust: Trust = Trust.FULL) -> Observation:
    return Observation(
        observed_at_seconds=at,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=Lengths.lognormal(1000.0),
        output_tokens_mean=200.0,
        trust=trust,
    )


def pool(desired: int, **facts: object) -> PoolState:
    return PoolState(desired_replicas=desired, ready_replicas=desired, **facts)


@pytest.mark.parametrize(
    ("rate", "current", "facts", "target", "reason"),
    [
        pytest.param(50.0, 1, {}, 1, HoldReason.ALREADY_RIGHT, id="right"),
        pytest.param(250.0, 1, {}, 3, None, id="out"),
        pytest.param(100.0, 1, {}, 1, HoldReason.ALREADY_RIGHT, id="exactly-full"),
        pytest.param(0.0, 1, {}, 1, HoldReason.ALREADY_RIGHT, id="never-none"),
        pytest.param(50.0, 3, {}, 3, HoldReason.SCALE_IN_STABILISING, id="in-waits"),
        pytest.param(5000.0, 8, {}, 8, HoldReason.BOUNDS, id="at-the-maximum"),
        pytest.param(None, 3, {}, 3, HoldReason.METRICS_UNKNOWN, id="unknown-rate"),
        pytest.param(
            250.0, 1, {"stuck_replicas": 1}, 1, HoldReason.REPLICAS_STUCK, id="stuck-grows-not"
        ),
        pytest.param(
            250.0, 1, {"other_writer": "HPA mine"}, 1, HoldReason.OTHER_WRITER, id="other-writer"
        ),
        pytest.param(250.0, 0, {}, 0, HoldReason.SCALED_TO_ZERO, id="zero-is-a-human-s"),
    ],
)
def test_the_size_and_its_reason(rate, current, facts, target, reason) -> None:
    decision, _ = router().decide(seen(rate), pool(current, **facts), Memory(), (), 0.0)
    assert decision.target == target
    assert (decision.hold.reason if decision.hold else None) is reason


@pytest.mark.parametrize(
    ("facts", "trust", "reason"),
    [
        pytest.param(
            {"rollout_in_progress": True}, Trust.FULL, "ROLLOUT_IN_PROGRESS", id="rollout"
        ),
        pytest.param({"floor_replicas": 3}, Trust.FULL, "FLOOR", id="floor"),
        pytest.param({}, Trust.SCALE_OUT_ONLY, "METRICS_PARTIAL", id="partial-metrics"),
    ],
)
def test_what_keeps_it_from_shrinking_is_named(facts, trust, reason) -> None:
    decide = router(scale_in_window_seconds=0).decide
    decision, _ = decide(seen(50.0, trust=trust), pool(3, **facts), Memory(), (), 0.0)
    assert decision.target == 3
    assert decision.hold.reason is HoldReason[reason]
    assert decision.limiters[-1].before == decision.raw == 1
    free, _ = decide(seen(50.0), pool(3), Memory(), (), 0.0)
    assert free.target == 1


def test_it_scales_in_when_the_window_has_passed_and_not_before() -> None:
    sizes, targets = (), []
    for at in range(0, 400, 50):
        decision, sizes = router().decide(seen(50.0, at), pool(3), Memory(), sizes, float(at))
        targets.append(decision.target)
    assert targets == [3, 3, 3, 3, 3, 3, 1, 1]


def test_sizes_from_before_the_clock_was_set_back_do_not_hold_it() -> None:
    sizes, targets = ((9e9, 8),), []
    for at in range(0, 400, 50):
        decision, sizes = router().decide(seen(50.0, at), pool(3), Memory(), sizes, float(at))
        targets.append(decision.target)
    assert targets == [3, 3, 3, 3, 3, 3, 1, 1]


def test_a_stale_rate_and_an_unreadable_pool_hold() -> None:
    decision, _ = router().decide(seen(500.0, 0.0), pool(1), Memory(), (), 61.0)
    assert decision.hold.reason is HoldReason.METRICS_STALE
    decision, _ = router().decide(seen(500.0), Unavailable("403"), Memory(), (), 0.0)
    assert (decision.target, decision.hold.detail) == (None, "403")


def test_it_is_as_early_as_the_pair_when_the_load_is_forecast_to_grow() -> None:
    """The same forecast, in requests per second: the work of a request is the same all along."""
    engine, memory = Engine(PROFILE, PolicySettings()), Memory()
    pools = PerRole(pool(9), pool(9))
    for tick in range(40):
        _, memory = engine.decide(seen(10.0 + 5 * tick, 30.0 * tick), pools, memory, 30.0 * tick)
    now = 10.0 + 5 * 39
    upper = memory.trackers[0].forecast.upper
    each = memory.shape.load_of(PROFILE, 1.0).prefill_erlangs
    assert coming_rate(now, memory, PROFILE) == pytest.approx(max(now, upper / each))
    assert coming_rate(now / 1000, memory, PROFILE) == pytest.approx(upper / each)


@given(
    rate=st.floats(0, 1e6),
    current=st.integers(1, 99),
    floor=st.integers(1, 5),
    stuck=st.integers(0, 3),
    rollout=st.booleans(),
)
def test_it_carries_the_rate_or_says_what_keeps_it(rate, current, floor, stuck, rollout) -> None:
    facts = {"floor_replicas": floor, "stuck_replicas": stuck, "rollout_in_progress": rollout}
    decision, _ = router().decide(seen(rate), pool(current, **facts), Memory(), (), 0.0)
    assert decision.raw == max(1, math.ceil(rate / 100.0))
    assert decision.target >= decision.raw or decision.limiters
    assert (decision.hold is None) == (decision.target != current)
    assert decision.target >= floor
