"""A count that stays where it is while replicas stand idle is no queue, and holds nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_engine import ENGINE, pools, seen

from policies.memory import Memory
from policies.types import PerRole, Trust
from policies.unserved import ALL_SERVED

TICK = 15.0
IDLE = {"running_requests": PerRole(0.0, 0.0)}
STUCK = PerRole(1.0, 0.0)


def watched(looks, found=None):
    """The leak after looks at what waits and what runs, a tick apart."""
    unserved = ALL_SERVED
    for at, (waiting, changes) in enumerate(looks):
        look = seen(at * TICK, 0.0, waiting_requests=waiting, **changes)
        unserved = unserved.after(look, found or pools(3, 2), TICK)
    return unserved.leaked


@pytest.mark.parametrize(
    ("looks", "leaked"),
    [
        pytest.param([(STUCK, IDLE)] * 20, (1, 0), id="left alone for five minutes"),
        pytest.param([(STUCK, IDLE)] * 19, (0, 0), id="not sure before"),
        pytest.param([(PerRole(0.0, 4.0), IDLE)] * 20, (0, 4), id="behind prefill"),
        pytest.param(
            [(None, {**IDLE, "kv_transfer_backlog_requests": 4.0})] * 20, (0, 4), id="a transfer"
        ),
        pytest.param(
            [(STUCK, {"running_requests": PerRole(0.0, 1.0)})] * 40, (0, 0), id="something runs"
        ),
        pytest.param(
            [(STUCK, {"running_requests": PerRole(None, 0.0)})] * 40, (0, 0), id="unknown is not 0"
        ),
        pytest.param(
            [(STUCK, {**IDLE, "trust": Trust.SCALE_OUT_ONLY})] * 40, (0, 0), id="not all pods seen"
        ),
        pytest.param(
            [(PerRole(1.0 + at, 0.0), IDLE) for at in range(40)], (0, 0), id="a queue that grows"
        ),
        pytest.param(
            [(STUCK, IDLE)] * 10 + [(PerRole(0.0, 0.0), IDLE)] + [(STUCK, IDLE)] * 10,
            (0, 0),
            id="it was gone in between",
        ),
        pytest.param(
            ([(STUCK, IDLE)] * 4 + [(STUCK, {"running_requests": PerRole(1.0, 0.0)})]) * 7,
            (1, 0),
            id="little traffic beside it",
        ),
        pytest.param(
            [(PerRole(5.0, 0.0), IDLE)] * 20 + [(PerRole(2.0, 0.0), {}), (PerRole(9.0, 0.0), {})],
            (2, 0),
            id="fewer were seen since",
        ),
    ],
)
def test_what_is_taken_for_a_leak(looks, leaked):
    waiting = [(PerRole(None, None) if count is None else count, how) for count, how in looks]
    assert tuple(watched(waiting)) == leaked


def test_replicas_that_are_not_ready_leave_nothing_alone():
    starting = pools(3, 2).map(lambda pool: replace(pool, ready_replicas=0))
    assert tuple(watched([(STUCK, IDLE)] * 40, starting)) == (0, 0)


def test_a_leak_is_taken_from_what_is_counted_and_no_more():
    unserved = ALL_SERVED
    for at in range(20):
        look = seen(at * TICK, 0.0, waiting_requests=PerRole(3.0, 2.0), **IDLE)
        unserved = unserved.after(look, pools(3, 2), TICK)
    busy = seen(
        300.0, waiting_requests=PerRole(103.0, None), kv_transfer_backlog_requests=1.0, **IDLE
    )
    true = unserved.taken_from(busy)
    assert true.waiting_requests == PerRole(100.0, None)
    assert true.kv_transfer_backlog_requests == 0.0


@pytest.mark.parametrize("waiting", [PerRole(1.0, 0.0), PerRole(0.0, 1.0)])
def test_a_leaked_gauge_does_not_keep_a_fleet_that_serves_nobody(waiting):
    memory, found, decisions = Memory(), pools(6, 4), []
    for tick in range(80):
        now = tick * TICK
        observation = seen(now, 0.0, waiting_requests=waiting, **IDLE)
        decision, memory = ENGINE.decide(observation, found, memory, now)
        decisions.append(decision)
        found = pools(*decision.target)
    assert decisions[10].target == PerRole(6, 4)
    assert decisions[-1].target == PerRole(1, 1)
    assert decisions[-1].unserved == waiting
    assert any("no queue" in note for note in decisions[-1].notes)
    assert Memory.from_json(memory.to_json()).unserved == memory.unserved
