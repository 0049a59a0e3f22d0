"""Partial knowledge may scale out, never in; no knowledge holds, and falls back when told to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.config import Guards, PolicySettings, RoleSettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.types import HoldReason, Observation, PerRole, PoolState, Trust

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")


def seen(at: float, rate: float | None, trust: Trust = Trust.FULL) -> Observation:
    return Observation(
        observed_at_seconds=at,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=Lengths.lognormal(1155.0),
        output_tokens_mean=211.0,
        trust=trust,
        problems=("connection refused",) if rate is None else (),
    )


def pools(size: PerRole[int]) -> PerRole[PoolState]:
    return size.map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))


ALWAYS = Guards(scale_in_window_seconds=0)


def test_a_partial_observation_scales_out_but_not_in() -> None:
    engine = Engine(PROFILE, PolicySettings(guards=ALWAYS))
    large = PerRole(20, 20)
    follow, _ = engine.decide(seen(0, 2.0), pools(large), Memory(), 0)
    doubt, _ = engine.decide(seen(0, 2.0, Trust.SCALE_OUT_ONLY), pools(large), Memory(), 0)
    assert follow.target is not None
    assert follow.target.prefill < 20
    assert doubt.target == large
    assert doubt.hold is not None
    assert doubt.hold.reason is HoldReason.METRICS_PARTIAL
    small = PerRole(1, 1)
    follow, _ = engine.decide(seen(0, 80.0), pools(small), Memory(), 0)
    doubt, _ = engine.decide(seen(0, 80.0, Trust.SCALE_OUT_ONLY), pools(small), Memory(), 0)
    assert doubt.target == follow.target != small


def test_no_trust_holds_even_if_a_rate_is_given() -> None:
    engine = Engine(PROFILE, PolicySettings(guards=ALWAYS))
    decision, _ = engine.decide(seen(0, 2.0, Trust.NONE), pools(PerRole(9, 9)), Memory(), 0)
    assert decision.target == PerRole(9, 9)
    assert decision.hold is not None
    assert decision.hold.reason is HoldReason.METRICS_UNKNOWN


def test_a_decision_says_which_doubt_forbids_to_scale_in() -> None:
    engine = Engine(PROFILE, PolicySettings(guards=Guards(scale_in_window_seconds=0)))
    doubt = "no data for kv_usage_fraction"
    doubtful = replace(seen(0, 2.0), trust=Trust.SCALE_OUT_ONLY, problems=(doubt,))
    decision, _ = engine.decide(doubtful, pools(PerRole(9, 9)), Memory(), 0)
    assert decision.target == PerRole(9, 9)
    assert decision.hold is not None
    assert decision.hold.detail.endswith(f": {doubt}")


@pytest.mark.parametrize(
    ("blind_seconds", "current", "target"),
    [
        pytest.param(599, PerRole(1, 1), PerRole(1, 1), id="not-yet"),
        pytest.param(601, PerRole(1, 1), PerRole(4, 6), id="raised-to-the-fallback"),
        pytest.param(601, PerRole(9, 2), PerRole(9, 6), id="never-lowered"),
    ],
)
def test_a_long_outage_raises_the_pools_to_their_fallback(
    blind_seconds: float, current: PerRole[int], target: PerRole[int]
) -> None:
    settings = PolicySettings(
        guards=Guards(fallback_after_seconds=600),
        prefill=RoleSettings(fallback_replicas=4),
        decode=RoleSettings(fallback_replicas=6),
    )
    engine = Engine(PROFILE, settings)
    _, memory = engine.decide(seen(0, 2.0), pools(PerRole(1, 1)), Memory(), 0)
    outage = seen(blind_seconds, None)
    decision, _ = engine.decide(outage, pools(current), memory, blind_seconds)
    assert decision.target == target
    assert decision.changes == (target != current)
    why = decision.hold.detail if decision.hold else decision.limiters[0].why
    assert "connection refused" in why


@pytest.mark.parametrize(
    ("gpu_budget", "target"),
    [
        pytest.param(20, PerRole(4, 6), id="room for both"),
        pytest.param(14, PerRole(3, 4), id="as much of both as there is room for"),
        pytest.param(3, PerRole(1, 1), id="over the budget already: nothing is added or taken"),
    ],
)
def test_the_fallback_keeps_the_gpu_budget(gpu_budget: int, target: PerRole[int]) -> None:
    settings = PolicySettings(
        gpu_budget=gpu_budget,
        guards=Guards(fallback_after_seconds=600),
        prefill=RoleSettings(fallback_replicas=4),
        decode=RoleSettings(fallback_replicas=6),
    )
    engine = Engine(PROFILE, settings)  # two GPUs a replica
    _, memory = engine.decide(seen(0, 2.0), pools(PerRole(1, 1)), Memory(), 0)
    decision, _ = engine.decide(seen(700, None), pools(PerRole(1, 1)), memory, 700)
    assert decision.target == target


def test_without_a_fallback_an_outage_holds_for_ever() -> None:
    engine = Engine(PROFILE, PolicySettings())
    _, memory = engine.decide(seen(0, 2.0), pools(PerRole(3, 3)), Memory(), 0)
    decision, _ = engine.decide(seen(1e6, None), pools(PerRole(3, 3)), memory, 1e6)
    assert decision.target == PerRole(3, 3)
    assert decision.hold is not None


def test_a_past_is_remembered_once_and_in_order() -> None:
    engine = Engine(PROFILE, PolicySettings())
    past = [seen(60.0 * i, 2.0 if i != 3 else None) for i in range(6)]
    memory = engine.remember(past, Memory())
    assert memory.seconds == (0, 60, 120, 240, 300)
    assert engine.remember(past, memory) == memory
