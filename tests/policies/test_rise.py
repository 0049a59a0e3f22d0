"""Of a scale-out one replica stays for a while, and scale-in waits for what chance may bring."""

from __future__ import annotations

import pytest

from policies.config import Guards, PolicySettings
from policies.engine import Engine
from policies.level import Levels
from policies.memory import Memory
from policies.rise import NEVER_RISEN, Rise, noted
from policies.sizing import Circumstances
from policies.types import PerRole, PoolState
from tests.policies.test_engine import PROFILE, play, seen


@pytest.mark.parametrize(
    ("sizes", "rise"),
    [
        pytest.param([(0, 3, 3)], None, id="nothing changes"),
        pytest.param([(0, 3, 9)], Rise(0, 3), id="one step"),
        pytest.param([(0, 3, 9), (30, 9, 12), (90, 12, 14)], Rise(90, 3), id="steps of one rise"),
        pytest.param([(0, 3, 9), (61, 9, 12)], Rise(61, 9), id="a rise of its own"),
        pytest.param([(0, 3, 9), (300, 9, 5)], Rise(0, 3), id="a fall is no rise"),
    ],
)
def test_what_is_noted_of_scale_outs(sizes, rise):
    rises = NEVER_RISEN
    for now, current, target in sizes:
        rises = noted(rises, now, PerRole(current, 1), PerRole(target, 1))
    assert rises == PerRole(rise, None)


def test_the_last_replica_of_a_scale_out_stays_for_ten_minutes():
    guards = Guards(scale_in_window_seconds=60.0, scale_in_slot_seconds=0.0)
    engine = Engine(PROFILE, PolicySettings(guards=guards))
    calm, tick = 60, 15.0
    decisions = play(engine, [5.0] * calm + [60.0] * 8 + [5.0] * 60, PerRole(2, 2), tick)
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


@pytest.mark.parametrize(("noise_fraction", "prefill"), [(0.0, 4), (0.1, 5), (1.0, 6)])
def test_scale_in_waits_where_chance_could_bring_the_load_back(noise_fraction, prefill):
    """4 prefill replicas do for the load seen, 5 for a quarter more; 6 are there."""
    engine = Engine(PROFILE, PolicySettings(calibrate=False))
    found = PerRole(6, 5).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
    _, memory = engine.decide(seen(0.0, 39.0), found, Memory(), 0.0)
    load = memory.loads[-1]
    levels = Levels(now=load, ahead=load, newest=load, noise_fraction=noise_fraction)
    here = Circumstances(seen(0.0, 39.0), found, levels, memory, PROFILE, engine.settings)
    sizing = here.size()
    assert sizing.planned.prefill == 4
    assert sizing.lasting.prefill == prefill
