from dataclasses import replace

import pytest

from policies.backlog import Congestion, diagnose, drained, left_when_ready
from policies.config import PolicySettings, Slo
from policies.coupling import solve
from policies.demand import Demand, Shape
from policies.lengths import Lengths
from policies.profile import builtin
from policies.types import Observation, PerRole, PoolState

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SETTINGS = PolicySettings()
SHAPE = Shape(
    prompt_tokens=Lengths.lognormal(1155),
    prefix_hit_fraction=0.0,
    output_tokens=Lengths.lognormal(211),
)
CALM = Observation(observed_at_seconds=0, window_seconds=60, requests_per_second=20)
NORMAL = 20.0  # 20 requests/s that wait for half of the 2 s TTFT objective


@pytest.mark.parametrize(
    ("seen", "congestion", "requests"),
    [
        pytest.param({}, Congestion.NONE, (0, 0), id="nothing-known-to-wait"),
        pytest.param(
            {"waiting_requests": PerRole(15.0, 3.0)}, Congestion.NONE, (0, 0), id="normal-queues"
        ),
        pytest.param(
            {"waiting_requests": PerRole(500.0, 0.0)},
            Congestion.NONE,
            (500 - NORMAL, 0),
            id="prefill-is-behind",
        ),
        pytest.param(
            {"kv_transfer_backlog_requests": 300.0, "kv_usage_fraction": 0.98},
            Congestion.DECODE_SPACE,
            (0, 300 - NORMAL),
            id="decode-memory-is-full",
        ),
        pytest.param(
            {"kv_transfer_backlog_requests": 300.0, "kv_usage_fraction": 0.4},
            Congestion.KV_LINK,
            (0, 300 - NORMAL),
            id="decode-has-room-so-the-link-is-slow",
        ),
        pytest.param(
            {
                "kv_transfer_backlog_requests": 300.0,
                "kv_usage_fraction": 0.75,
                "kv_usage_max_fraction": 1.0,
            },
            Congestion.DECODE_SPACE,
            (0, 300 - NORMAL),
            id="one-of-four-replicas-has-just-come-and-is-empty",
        ),
        pytest.param(
            {
                "kv_transfer_backlog_requests": 300.0,
                "kv_usage_fraction": 0.98,
                "waiting_requests": PerRole(500.0, 0.0),
            },
            Congestion.DECODE_SPACE,
            (0, 300 - NORMAL),
            id="a-prefill-queue-behind-full-decode-is-a-symptom",
        ),
        pytest.param(
            {"kv_transfer_backlog_requests": 300.0},
            Congestion.DECODE_SPACE,
            (0, 300 - NORMAL),
            id="unknown-kv-usage-is-not-room",
        ),
    ],
)
def test_a_backlog_is_diagnosed_before_it_is_acted_on(seen, congestion, requests):
    backlog = diagnose(replace(CALM, **seen), SETTINGS)
    assert backlog.congestion is congestion
    assert tuple(backlog.requests) == requests
    assert (backlog.note is None) == (congestion is Congestion.NONE)


def test_a_normal_queue_grows_with_an_objective_that_grows_with_the_prompt():
    growing = PolicySettings(slo=Slo(ttft_seconds=0.1, ttft_seconds_per_input_token=0.001))
    seen = replace(CALM, input_tokens=SHAPE.prompt_tokens, waiting_requests=PerRole(20.0, 0.0))
    backlog = diagnose(seen, growing)  # 20 requests/s, each allowed 0.1 + 1.155 s: 12.55 are normal
    assert backlog.requests.prefill == pytest.approx(20 - 12.55)


def sized(**seen):
    demand = Demand(load=SHAPE.load_of(PROFILE, 20), shape=SHAPE)
    backlog = diagnose(replace(CALM, **seen), SETTINGS)
    return solve(drained(demand, backlog, PROFILE, 60), PROFILE, SETTINGS).replicas


def test_decode_starvation_adds_decode_and_no_prefill():
    calm = sized()
    starved = sized(
        kv_transfer_backlog_requests=3000.0,
        kv_usage_fraction=0.99,
        waiting_requests=PerRole(900.0, 0.0),
    )
    assert starved.prefill == calm.prefill
    assert starved.decode > calm.decode


def test_a_prefill_backlog_is_decode_work_as_well():
    calm, behind = sized(), sized(waiting_requests=PerRole(2000.0, 0.0))
    assert behind.prefill > calm.prefill
    assert behind.decode > calm.decode


def test_a_slow_link_is_not_answered_with_decode_work():
    demand = Demand(load=SHAPE.load_of(PROFILE, 20), shape=SHAPE)
    stuck = replace(CALM, kv_transfer_backlog_requests=300.0, kv_usage_fraction=0.4)
    cleared = drained(demand, diagnose(stuck, SETTINGS), PROFILE, 60)
    assert cleared.load == demand.load
    assert cleared.extra_transfers_per_second == pytest.approx((300 - NORMAL) / 60)


@pytest.mark.parametrize(
    ("pool", "left"),
    [
        pytest.param(PoolState(desired_replicas=5, ready_replicas=5), 3900.0, id="grows"),
        pytest.param(
            PoolState(desired_replicas=9, ready_replicas=5, starting_ages_seconds=(60.0,) * 4),
            1980.0,
            id="starting-replicas-help-from-when-they-are-ready",
        ),
        pytest.param(PoolState(desired_replicas=12, ready_replicas=12), 0.0, id="clears-itself"),
    ],
)
def test_only_what_a_replica_asked_for_now_will_find_is_work_for_it(pool, left):
    """300 wait, 70 arrive per second, a replica serves 8, a start takes 120 s."""
    assert left_when_ready(300.0, 70.0, 8.0, pool, 120.0) == pytest.approx(left)


def test_a_queue_read_a_while_ago_has_been_worked_off_since():
    """9 replicas take 72 a second where 70 arrive: 2 a second less for 120 s leave 60 of 300."""
    pool = PoolState(desired_replicas=9, ready_replicas=9)
    assert left_when_ready(300.0, 70.0, 8.0, pool, 90.0, 30.0) == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("usage", "running", "why"),
    [
        pytest.param(0.95, 100.0, Congestion.DECODE_SPACE, id="memory-full"),
        pytest.param(0.3, 250.0, Congestion.DECODE_SPACE, id="all-places-taken"),
        pytest.param(0.3, 100.0, Congestion.KV_LINK, id="room-in-both"),
        pytest.param(None, 100.0, Congestion.DECODE_SPACE, id="unknown"),
    ],
)
def test_what_waits_at_decode_waits_for_room_or_for_the_link(usage, running, why):
    seen = Observation(
        observed_at_seconds=0.0,
        window_seconds=60.0,
        requests_per_second=10.0,
        waiting_requests=PerRole(0.0, 500.0),
        running_requests=PerRole(None, running),
        kv_usage_fraction=usage,
    )
    assert diagnose(seen, PolicySettings(), slots=256.0).congestion is why
