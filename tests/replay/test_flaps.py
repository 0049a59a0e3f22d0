"""Sizes taken back are counted, changes that last or go on are not."""

import pytest

from policies.types import Decision, Hold, HoldReason, Observation, PerRole, PoolState
from replay.flaps import Flaps
from replay.simulator import Step


def flaps_of(prefill_sizes, every_seconds=120.0):
    flaps, size = Flaps(), prefill_sizes[0]
    for place, wanted in enumerate(prefill_sizes):
        now = place * every_seconds
        hold = Hold(HoldReason.ALREADY_RIGHT, "") if wanted == size else None
        pools = PerRole(size, 1).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
        decision = Decision(
            decided_at_seconds=now, current=None, target=PerRole(wanted, 1), hold=hold
        )
        flaps.add(Step(Observation(observed_at_seconds=now, window_seconds=60.0), pools, decision))
        size = wanted
    return flaps.count


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        pytest.param([1, 2, 1], 1, id="1-2-1"),
        pytest.param([2, 1, 2], 1, id="2-1-2"),
        pytest.param([1, 2, 1, 2, 1], 3, id="again and again"),
        pytest.param([4, 6, 3], 1, id="beyond where it was"),
        pytest.param([4, 6, 5], 0, id="part of it was right"),
        pytest.param([1, 2, 3, 4], 0, id="onwards"),
        pytest.param([5, 4, 16], 0, id="far beyond where it was"),
        pytest.param([1, 2, 2, 2, 2, 2, 2, 1], 0, id="after twelve minutes"),
        pytest.param([1, 2, 2, 2, 2, 1], 1, id="after eight minutes"),
    ],
)
def test_what_counts_as_a_flap(sizes, count):
    assert flaps_of(sizes) == count


def test_steps_of_one_rise_are_one_move():
    assert flaps_of([2, 9, 14, 9], every_seconds=60.0) == 0
    assert flaps_of([2, 9, 14, 9], every_seconds=61.0) == 1
    assert flaps_of([2, 9, 14, 2], every_seconds=60.0) == 1
