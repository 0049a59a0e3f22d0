from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.forecast import Mode
from policies.config import ForecastSettings, Guards, KnownEvent, PolicySettings, RoleSettings
from policies.demand import LOADS
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.ratio import RatioRange
from policies.types import (
    HoldReason,
    Observation,
    PerRole,
    PoolState,
    Unavailable,
)

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
PROMPTS = Lengths.lognormal(1155.0)


def seen(at: float, rate: float | None = 20.0, **changes: object) -> Observation:
    known = Observation(
        observed_at_seconds=at,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=PROMPTS,
        output_tokens_mean=211.0,
    )
    return replace(known, **changes)


def pools(prefill: int, decode: int, **changes: object) -> PerRole[PoolState]:
    return PerRole(prefill, decode).map(
        lambda n: PoolState(desired_replicas=n, ready_replicas=n, **changes)
    )


def play(
    engine: Engine, rates, size: PerRole[int], tick: float = 15.0, memory: Memory | None = None
):
    """Apply every decision at once and return them all."""
    decisions, memory = [], memory or Memory()
    for i, rate in enumerate(rates):
        decision, memory = engine.decide(seen(i * tick, rate), pools(*size), memory, i * tick)
        size = decision.target
        decisions.append(decision)
    return decisions


ENGINE = Engine(PROFILE, PolicySettings())


@pytest.mark.parametrize(
    ("observation", "found", "reason"),
    [
        pytest.param(
            seen(0, None, problems=("prometheus: connection refused",)),
            pools(3, 2),
            HoldReason.METRICS_UNKNOWN,
            id="no-arrival-rate",
        ),
        pytest.param(
            seen(0, input_tokens=None), pools(3, 2), HoldReason.METRICS_UNKNOWN, id="no-lengths"
        ),
        pytest.param(seen(-300), pools(3, 2), HoldReason.METRICS_STALE, id="stale"),
        pytest.param(
            seen(0),
            PerRole(pools(3, 2).prefill, Unavailable("403: may not get deployments/scale")),
            HoldReason.POOL_UNKNOWN,
            id="pool-unreadable",
        ),
        pytest.param(seen(0), pools(0, 2), HoldReason.SCALED_TO_ZERO, id="scaled-to-zero"),
    ],
)
def test_what_is_not_known_holds_with_its_reason(observation, found, reason):
    decision, _ = ENGINE.decide(observation, found, Memory(), 0.0)
    assert decision.hold.reason is reason
    assert not decision.changes
    assert decision.target == decision.current


def test_the_hold_repeats_what_the_metrics_source_said():
    blind = seen(0, None, problems=("prometheus: connection refused",))
    decision, _ = ENGINE.decide(blind, pools(3, 2), Memory(), 0.0)
    assert "connection refused" in decision.hold.detail


def test_a_known_rate_of_zero_needs_no_lengths_and_goes_to_the_minimum():
    engine = Engine(PROFILE, PolicySettings(guards=Guards(scale_in_window_seconds=0)))
    idle = seen(0, 0.0, input_tokens=None, output_tokens_mean=None)
    decision, _ = engine.decide(idle, pools(3, 2), Memory(), 0.0)
    assert decision.target == PerRole(1, 1)


def test_a_shift_of_traffic_moves_the_roles_in_opposite_directions():
    engine = Engine(PROFILE, PolicySettings(guards=Guards(scale_in_window_seconds=0)))
    prompts = seen(0, 8.0, input_tokens=Lengths.lognormal(6000.0), output_tokens_mean=50.0)
    answers = seen(600, 20.0, input_tokens=Lengths.lognormal(300.0), output_tokens_mean=900.0)
    first, memory = engine.decide(prompts, pools(1, 1), Memory(), 0.0)
    then, _ = engine.decide(answers, pools(*first.target), memory, 600.0)
    assert then.target.prefill < first.target.prefill
    assert then.target.decode > first.target.decode


def test_scale_in_waits_for_the_window_and_scale_out_does_not():
    rates = [10.0] * 4 + [60.0] * 4 + [10.0] * 60
    decisions = play(ENGINE, rates, PerRole(2, 1))
    sizes = [d.target.prefill for d in decisions]
    assert sizes[4] > sizes[3]
    window, tick = 300.0, 15.0
    back = next(i for i in range(8, len(sizes)) if sizes[i] < sizes[7])
    wanted = max(i for i, d in enumerate(decisions) if d.raw.prefill >= sizes[7])
    assert window <= (back - wanted) * tick <= 2 * window
    waiting = [d.hold.reason for d in decisions[8:back] if d.hold]
    assert HoldReason.SCALE_IN_STABILISING in waiting


def test_after_a_restart_nothing_scales_in_before_a_full_window():
    decisions = play(ENGINE, [1.0] * 20, PerRole(8, 6))
    assert {d.target for d in decisions} == {PerRole(8, 6)}


def test_after_an_outage_nothing_scales_in_before_a_full_window():
    _, memory = ENGINE.decide(seen(0, 60.0), pools(6, 3), Memory(), 0.0)
    decision, _ = ENGINE.decide(seen(4000, 1.0), pools(6, 3), memory, 4000.0)
    assert decision.target == PerRole(6, 3)


@pytest.mark.parametrize("back", [3600.0, 30 * 86400.0])
def test_a_clock_that_is_set_back_delays_scale_in_by_a_window_and_no_more(back):
    memory, size, now = Memory(), PerRole(6, 3), 40 * 86400.0
    for _ in range(10):
        _, memory = ENGINE.decide(seen(now, 60.0), pools(*size), memory, now)
        now += 15.0
    targets, now = [], now - back
    for _ in range(45):
        decision, memory = ENGINE.decide(seen(now, 1.0), pools(*size), memory, now)
        targets.append(decision.target)
        now += 15.0
    assert set(targets[:20]) == {size}  # 300 s
    assert any(target.prefill < size.prefill for target in targets[20:])


def test_a_rollout_lets_a_pool_grow_but_not_shrink():
    engine = Engine(PROFILE, PolicySettings(guards=Guards(scale_in_window_seconds=0)))
    busy = pools(8, 1, rollout_in_progress=True)
    decision, _ = engine.decide(seen(0, 40.0), busy, Memory(), 0.0)
    assert decision.target.prefill == 8
    assert decision.target.decode > 1
    assert "freeze_rollout" in [limiter.name for limiter in decision.limiters]


def test_the_budget_holds_while_one_role_waits_to_scale_in_and_the_other_grows():
    settings = PolicySettings(gpu_budget=20)
    engine = Engine(PROFILE, settings)
    _, memory = engine.decide(
        seen(0, 8.0, input_tokens=Lengths.lognormal(6000.0), output_tokens_mean=50.0),
        pools(8, 1),
        Memory(),
        0.0,
    )
    answers = seen(150, 20.0, input_tokens=Lengths.lognormal(300.0), output_tokens_mean=900.0)
    decision, _ = engine.decide(answers, pools(8, 1), memory, 150.0)
    assert decision.target.decode > 1
    assert 2 * (decision.target.prefill + decision.target.decode) <= 20
    assert "fit_budget" in [limiter.name for limiter in decision.limiters]


def test_a_step_limit_leaves_its_mark():
    engine = Engine(PROFILE, PolicySettings(guards=Guards(max_scale_out_replicas=1)))
    decision, _ = engine.decide(seen(0, 60.0), pools(2, 1), Memory(), 0.0)
    assert decision.target == PerRole(3, 2)
    assert decision.raw.prefill > 3
    (limiter,) = decision.limiters
    assert limiter.name == "limit_scale_out"


def test_a_backlog_is_worked_off_by_both_roles():
    calm, _ = ENGINE.decide(seen(0, 20.0), pools(3, 1), Memory(), 0.0)
    queued = seen(0, 20.0, waiting_requests=PerRole(6000.0, 0.0))
    decision, _ = ENGINE.decide(queued, pools(3, 1), Memory(), 0.0)
    assert decision.target.prefill > calm.target.prefill
    assert decision.target.decode > calm.target.decode
    assert calm.backlog == PerRole(0.0, 0.0)
    assert decision.backlog.prefill > 1000


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(0.0, id="nothing behind prefill"),
        pytest.param(300.0, id="decode holds it up, for now"),
    ],
)
def test_nothing_on_its_way_to_a_queue_is_cancelled(behind):
    """Nine replicas are starting for 3,000 requests: with them the queue will be gone in time."""
    engine = Engine(
        PROFILE, PolicySettings(guards=Guards(scale_in_window_seconds=0, scale_in_slot_seconds=0))
    )
    on_their_way = PerRole(
        PoolState(desired_replicas=12, ready_replicas=3, starting_ages_seconds=(60.0,) * 9),
        PoolState(desired_replicas=2, ready_replicas=2),
    )
    queued = seen(0, 20.0, waiting_requests=PerRole(3000.0, behind), kv_usage_fraction=0.95)
    decision, _ = engine.decide(queued, on_their_way, Memory(), 0.0)
    assert decision.target.prefill == 12
    kept = next(limiter for limiter in decision.limiters if limiter.name == "keep_for_queue")
    assert kept.before.prefill < kept.after.prefill == 12
    assert decision.backlog.prefill == 0.0
    assert (decision.backlog.decode > 0.0) == (behind > 0.0)
    assert "a queue to work off" in kept.why
    calm = seen(0, 20.0)
    assert engine.decide(calm, on_their_way, Memory(), 0.0)[0].target.prefill < 12


def test_a_jump_is_answered_in_the_tick_in_which_its_queue_shows():
    """The queue itself is given all the time in the world: what counts is what it tells."""
    engine = Engine(PROFILE, PolicySettings(drain_seconds=1e6))
    nothing = seen(0, 20.0, waiting_requests=PerRole(0.0, 0.0))
    _, memory = engine.decide(nothing, pools(3, 2), Memory(), 0.0)
    rising, queue = seen(15, 24.0), seen(15, 24.0, waiting_requests=PerRole(600.0, 0.0))
    without, _ = engine.decide(rising, pools(3, 2), memory, 15.0)
    answered, _ = engine.decide(queue, pools(3, 2), memory, 15.0)
    assert answered.raw.prefill > without.raw.prefill + 1


def test_a_backlog_of_kv_transfers_adds_decode_and_no_prefill():
    calm, _ = ENGINE.decide(seen(0, 20.0), pools(3, 1), Memory(), 0.0)
    stuck = seen(0, 20.0, kv_transfer_backlog_requests=2000.0)
    decision, _ = ENGINE.decide(stuck, pools(3, 1), Memory(), 0.0)
    assert decision.target.prefill == calm.target.prefill
    assert decision.target.decode > calm.target.decode


rates = st.one_of(st.none(), st.floats(0, 100))
amounts = st.one_of(st.none(), st.floats(0, 5000))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(rates, amounts, amounts, amounts), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_no_observation_breaks_the_bounds_or_scales_in_blindly(ticks, prefill, decode):
    role = RoleSettings(max_replicas=20)
    engine = Engine(
        PROFILE,
        PolicySettings(
            prefill=role, decode=role, gpu_budget=80, guards=Guards(scale_in_window_seconds=0)
        ),
    )
    size, memory = PerRole(prefill, decode), Memory()
    for i, (rate, waiting, transfers, output) in enumerate(ticks):
        observation = seen(
            15.0 * i,
            rate,
            waiting_requests=PerRole(waiting, waiting),
            kv_transfer_backlog_requests=transfers,
            output_tokens_mean=output,
        )
        decision, memory = engine.decide(observation, pools(*size), memory, 15.0 * i)
        assert all(1 <= n <= 20 for n in decision.target)
        if rate is None:
            assert decision.target == size
        assert decision.changes == (decision.target != size)
        size = decision.target


def test_a_decision_tells_the_forecast_it_was_sized_for():
    decisions = play(ENGINE, [20.0] * 40 + [60.0] * 4, PerRole(4, 4))
    assert all(one.upper is None and one.mode is Mode.NO_DATA for one in decisions[0].forecasts)
    newest = decisions[-1].forecasts
    assert [one.load for one in newest] == [load.name for load in LOADS]
    for one in newest:
        assert one.lead_seconds == 120.0
        assert one.upper >= one.centre > 0
        assert one.seen > decisions[39].forecasts[0].seen
        assert sum(one.weights.values()) == pytest.approx(1.0)


def test_it_says_once_that_the_forecast_warms_up():
    decisions = play(ENGINE, [20.0] * 40, PerRole(4, 4))
    warming = [i for i, one in enumerate(decisions) if "warming up" in " ".join(one.notes)]
    assert warming == [2]  # the first cell of 30 s is closed by the third tick


def event(start: float, end: float, **what: float) -> KnownEvent:
    return KnownEvent(
        start=datetime.fromtimestamp(start, UTC), end=datetime.fromtimestamp(end, UTC), **what
    )


@pytest.mark.parametrize(
    ("what", "grows"),
    [
        pytest.param({"multiplier": 3.0}, True, id="multiplier"),
        pytest.param({"floor_requests_per_second": 60.0}, True, id="floor"),
        pytest.param({"floor_requests_per_second": 5.0}, False, id="floor-below-the-load"),
        pytest.param({"multiplier": 0.3}, False, id="quieter"),
    ],
)
def test_it_is_ready_when_a_known_event_starts(what, grows):
    start = 900.0
    known = ForecastSettings(events=(event(start, 1800.0, **what),))
    steady, prepared = (
        play(Engine(PROFILE, PolicySettings(forecast=forecast)), [20.0] * 60, PerRole(2, 2))
        for forecast in (ForecastSettings(), known)
    )
    for plain, ours in zip(steady, prepared, strict=True):
        lead = start - ours.decided_at_seconds
        if lead > 240.0:
            assert ours.raw == plain.raw  # too early to start replicas
        if 0.0 <= lead <= 120.0:
            assert (ours.raw.prefill > plain.raw.prefill) is grows
            assert (ours.raw.decode > plain.raw.decode) is grows


def test_the_last_replica_of_a_scale_out_stays_for_ten_minutes():
    guards = Guards(scale_in_window_seconds=60.0, scale_in_slot_seconds=0.0)
    engine = Engine(PROFILE, PolicySettings(guards=guards))
    calm, tick = 60, 15.0
    quiet = [5.0, 5.2] * (calm // 2)  # of a load that never varies, rounding ranks the models
    decisions = play(engine, quiet + [60.0] * 8 + quiet, PerRole(2, 2), tick)
    before = decisions[calm - 1].target.prefill
    last_rise = max(
        place for place, each in enumerate(decisions) if each.target.prefill > each.current.prefill
    )
    held = [
        each.target.prefill
        for place, each in enumerate(decisions)
        if 0 <= place - last_rise < 600.0 / tick
    ]
    assert min(held) == before + 1
    assert any(limiter.name == "hold_rise" for each in decisions for limiter in each.limiters)
    assert decisions[-1].target.prefill == before


def test_what_the_ratio_added_goes_with_what_it_was_added_for():
    """A window holds 9 prefill replicas, and these 3 decode replicas where 1 would do."""
    four = RatioRange(max_prefill_per_decode=4.0)
    engine = Engine(PROFILE, PolicySettings(ratio=four))
    decisions = play(engine, [2.0] * 50, PerRole(9, 1))
    sizes = [decision.target for decision in decisions]
    assert sizes[0] == PerRole(9, 3)
    assert "keep_ratio" in {limiter.name for limiter in decisions[0].limiters}
    given_back = next(place for place, size in enumerate(sizes) if size.prefill < 9)
    assert sizes[given_back] == PerRole(1, 1)
    assert 300.0 <= given_back * 15.0 <= 360.0


def test_when_traffic_stops_the_long_answers_that_remain_call_for_nothing():
    """Only the longest still run and end then; none like them are to come."""
    memory, found, asked = Memory(), pools(4, 3), []
    for tick in range(90):
        now, over = 10.0 * tick, max(tick - 60, 0)
        seen_then = seen(
            now,
            max(30.0 - 5.0 * over, 0.0),
            output_tokens_mean=211.0 * 1.2**over,
            running_requests=PerRole(0.0, 300.0 * 0.8**over),
            kv_usage_fraction=0.3 * 0.85**over,
        )
        decision, memory = ENGINE.decide(seen_then, found, memory, now)
        asked.append(decision.target)
        found = pools(*decision.target)
    before = asked[59]
    assert all(after.decode <= before.decode for after in asked[60:])
    assert memory.shape.output_tokens_mean < 1.2 * 211.0
    assert memory.kv_held_factor.mean < 2.0
