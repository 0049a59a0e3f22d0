"""What is wanted in a tick, and what of it lasts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.config import PolicySettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.level import Levels
from policies.memory import Memory
from policies.profile import builtin
from policies.sizing import Circumstances
from policies.types import Observation, PerRole, PoolState

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
OBSERVED = Observation(
    observed_at_seconds=0.0,
    window_seconds=60.0,
    requests_per_second=39.0,
    input_tokens=Lengths.lognormal(1155.0),
    output_tokens_mean=211.0,
)


@pytest.mark.parametrize(
    ("noise_fractions", "lasting"),
    [
        pytest.param((0.0, 0.0, 0.0), PerRole(4, 2), id="no chance"),
        pytest.param((0.1, 0.1, 0.1), PerRole(5, 2), id="a quarter more"),
        pytest.param((1.0, 1.0, 1.0), PerRole(6, 5), id="all that there is"),
        pytest.param((0.3, 0.0, 0.0), PerRole(6, 2), id="of prefill only"),
        pytest.param((0.0, 0.3, 0.3), PerRole(4, 3), id="of decode only"),
    ],
)
def test_scale_in_waits_where_chance_could_bring_the_load_back(noise_fractions, lasting):
    """4+2 replicas do for the load seen; 6+5 are there."""
    engine = Engine(PROFILE, PolicySettings(calibrate=False))
    found = PerRole(6, 5).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
    _, memory = engine.decide(OBSERVED, found, Memory(), 0.0)
    load = memory.loads[-1]
    levels = Levels(now=load, ahead=load, newest=load, noise_fractions=noise_fractions)
    here = Circumstances(OBSERVED, found, None, levels, memory, PROFILE, engine.settings)
    sizing = here.size()
    assert sizing.planned == PerRole(4, 2)
    assert sizing.lasting == lasting


@pytest.mark.parametrize(
    ("waiting", "kv_usage_fraction"),
    [
        pytest.param(PerRole(0.0, 4000.0), 1.0, id="at decode"),
        pytest.param(PerRole(4000.0, 0.0), 0.3, id="before prefill"),
    ],
)
def test_a_backlog_has_what_arrivals_leave_of_a_short_budget(waiting, kv_usage_fraction):
    """Arrivals need a pair of their own; 4,000 that wait would take every other GPU there is."""
    found = PerRole(4, 3).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))

    def sized(observation, gpu_budget):
        engine = Engine(PROFILE, PolicySettings(calibrate=False, gpu_budget=gpu_budget))
        _, memory = engine.decide(OBSERVED, found, Memory(), 0.0)
        load = memory.loads[-1]
        levels = Levels(now=load, ahead=load, newest=load)
        here = Circumstances(observation, found, None, levels, memory, PROFILE, engine.settings)
        return here.size().solution

    arrivals = sized(OBSERVED, None)
    queued = replace(OBSERVED, waiting_requests=waiting, kv_usage_fraction=kv_usage_fraction)
    short = sized(queued, arrivals.gpus + 4)
    assert short.gpus == arrivals.gpus + 4
    assert all(got >= needed for got, needed in zip(short.replicas, arrivals.replicas, strict=True))
