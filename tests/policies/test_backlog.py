from dataclasses import replace

import pytest

from policies.backlog import Congestion, diagnose, drained
from policies.config import PolicySettings
from policies.coupling import solve
from policies.demand import Demand, Shape
from policies.lengths import Lengths
from policies.profile import builtin
from policies.types import Observation, PerRole

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
