"""A backlog lasts from when too many wait; it drains from when most do."""

import pytest

from policies.config import Slo
from policies.lengths import Lengths
from policies.types import Decision, Observation, PerRole, PoolState
from replay.backlogs import Backlogs
from replay.simulator import Step

SLO = Slo(ttft_seconds=2.0)


def backlogs_of(waiting, transfers=None, rate=5.0, slo=SLO):
    """Ticks of 10 s; a TTFT objective of 2 s, so that 10 requests may wait at 5 requests/s."""
    backlogs = Backlogs(slo)
    for place, queue in enumerate(waiting):
        seen = Observation(
            observed_at_seconds=10.0 * place,
            window_seconds=60.0,
            requests_per_second=rate,
            input_tokens=Lengths((1000.0,), (1.0,)),
            waiting_requests=PerRole(queue, 0.0),
            kv_transfer_backlog_requests=transfers[place] if transfers else None,
        )
        pools = PerRole(1, 1).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
        decision = Decision(decided_at_seconds=10.0 * place, current=None, target=None)
        backlogs.add(Step(seen, pools, decision))
    return backlogs.longest_seconds, backlogs.drain_seconds


@pytest.mark.parametrize(
    ("waiting", "longest", "drain"),
    [
        pytest.param([0, 9, 10, 3], 0.0, 0.0, id="what one objective's arrivals are is normal"),
        pytest.param([0, 40, 400, 200, 30, 5], 40.0, 30.0, id="grows, then drains"),
        pytest.param([0, 40, 400, 200, 400, 5], 40.0, 10.0, id="the excess came again"),
        pytest.param([0, 99, 5, 0, 60, 50, 40, 5], 30.0, 30.0, id="the longest of two"),
        pytest.param([0, 400, 300, 200], 20.0, 20.0, id="not gone at the end"),
    ],
)
def test_a_backlog_and_its_drain(waiting, longest, drain):
    assert backlogs_of(waiting) == (longest, drain)


def test_requests_that_wait_for_a_transfer_wait_too():
    assert backlogs_of([5, 5, 5, 5], transfers=[0, 50, 20, 0]) == (20.0, 20.0)


def test_an_idle_fleet_without_arrivals_has_no_backlog():
    assert backlogs_of([0, 1, 0], rate=0.0) == (0.0, 0.0)


def test_what_a_long_prompt_may_wait_is_no_backlog():
    """2 s and 1 ms for each of 1,000 tokens: 15 may wait at 5 requests/s."""
    slo = Slo(ttft_seconds=2.0, ttft_seconds_per_input_token=0.001)
    assert backlogs_of([0, 15, 15, 0], slo=slo) == (0.0, 0.0)
    assert backlogs_of([0, 16, 16, 0], slo=slo) == (20.0, 10.0)
