"""Prefill pools under one demand."""

from dataclasses import replace

import pytest

from policies.calibration import slowed
from policies.capacity import Capacity
from policies.config import PolicySettings
from policies.demand import Demand, Shape
from policies.lengths import Lengths
from policies.prefill import PrefillStage
from policies.profile import builtin
from policies.types import PerRole

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SHAPE = Shape(
    prompt_tokens=Lengths.lognormal(1155.0),
    prefix_hit_fraction=0.2,
    output_tokens=Lengths.lognormal(211.0),
)


@pytest.mark.parametrize("routing", ["least_loaded", "round_robin"])
def test_slowed_replicas_are_those_of_a_slowed_profile(routing):
    """The same requests, so that the load in replica-seconds grows with the times."""
    settings = PolicySettings(routing=routing)
    demand = Demand(load=SHAPE.load_of(PROFILE, 30.0), shape=SHAPE, arrival_dispersion=1.4)
    slower = Capacity(
        slowed(PROFILE, PerRole(1.3, 1.0)),
        settings,
        replace(demand, load=demand.load.slowed(1.3)),
    ).prefill
    found = Capacity(PROFILE, settings, demand).prefill.slowed(1.3)
    assert found.erlangs == pytest.approx(slower.erlangs)
    for replicas in (3, 5, 40):
        assert tuple(found.wait(replicas)) == pytest.approx(tuple(slower.wait(replicas)))
        assert found.mean_seconds(replicas) == pytest.approx(slower.mean_seconds(replicas))


def test_prompts_share_an_iteration_as_far_as_the_token_budget_goes():
    shape = replace(SHAPE, prompt_tokens=Lengths((2730.0,), (1.0,)), prefix_hit_fraction=0.0)
    demand = Demand(load=shape.load_of(PROFILE, 1.0), shape=shape)
    stage = PrefillStage.of(PROFILE.prefill, demand, pooled=True)
    assert stage.prompts_per_iteration == pytest.approx(PROFILE.prefill.token_budget / 2730)
    saved = PROFILE.prefill.base_seconds * (1 - 2730 / PROFILE.prefill.token_budget)
    assert stage.batched_seconds == pytest.approx(stage.service_seconds - saved)
