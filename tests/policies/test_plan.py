"""The first move of the plan: what is worth a start, what is kept, and who waits for whom."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.config import PolicySettings, RoleSettings
from policies.coupling import solve
from policies.demand import Demand, Shape
from policies.lengths import Lengths
from policies.plan import plan
from policies.profile import builtin
from policies.ratio import RatioRange
from policies.types import PerRole, PoolState

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SETTINGS = PolicySettings()
SHAPE = Shape(
    prompt_tokens=Lengths.lognormal(1155.0),
    prefix_hit_fraction=0.0,
    output_tokens=Lengths.lognormal(300.0),
)


def demand(rate: float) -> Demand:
    return Demand(load=SHAPE.load_of(PROFILE, rate), shape=SHAPE)


NONE = PerRole(0, 0)


def pools(pair: PerRole[int], starting: PerRole[int] = NONE) -> PerRole[PoolState]:
    return pair.zip(starting).map(
        lambda both: PoolState(
            desired_replicas=both[0],
            ready_replicas=both[0] - both[1],
            starting_ages_seconds=(60.0,) * both[1],
        )
    )


def needed(rate: float, settings: PolicySettings = SETTINGS) -> PerRole[int]:
    return solve(demand(rate), PROFILE, settings).replicas


@pytest.mark.parametrize(
    ("now", "ahead", "current"),
    [
        pytest.param(30.0, 30.0, 30.0, id="right-as-it-is"),
        pytest.param(30.0, 60.0, 30.0, id="growing"),
        pytest.param(30.0, 30.0, 60.0, id="too-large"),
        pytest.param(30.0, 60.0, 60.0, id="too-large-for-now-but-not-for-what-comes"),
    ],
)
def test_it_asks_for_what_is_needed_now_and_what_will_be(now, ahead, current):
    solution = solve(demand(ahead), PROFILE, SETTINGS)
    move = plan(solution, demand(now), pools(needed(current)))
    assert move == needed(max(now, ahead))


def test_what_is_starting_is_not_asked_for_again():
    there = needed(60.0)
    asked = PerRole(there.prefill - needed(30.0).prefill, there.decode - needed(30.0).decode)
    move = plan(solve(demand(60.0), PROFILE, SETTINGS), demand(30.0), pools(there, asked))
    assert move == there


def test_a_start_must_pay_for_itself():
    """A fleet that misses a hair more than allowed: a replica for 1/1000 of the requests."""
    current = needed(30.0)
    rate = 30.0
    while needed(rate + 0.01) == current:
        rate += 0.01
    ahead = solve(demand(rate + 0.01), PROFILE, SETTINGS)
    assert ahead.gpus > sum(current) * 2
    assert plan(ahead, demand(30.0), pools(current)) == current
    more = solve(demand(1.2 * rate), PROFILE, SETTINGS)
    assert plan(more, demand(30.0), pools(current)) == more.replicas


def test_a_role_that_is_early_waits_for_the_late_one_that_binds():
    """Decode takes 300 s to start: prefill, in 60 s, is asked for when it can help."""
    late = PolicySettings(
        prefill=RoleSettings(startup_seconds=60), decode=RoleSettings(startup_seconds=300)
    )
    ahead = solve(demand(80.0), PROFILE, late)
    move = plan(ahead, demand(80.0), pools(PerRole(4, 1)))
    assert move == PerRole(4, ahead.replicas.decode)
    assert ahead.replicas.prefill > 4


@settings(max_examples=40, deadline=None)
@given(
    rates=st.tuples(st.floats(5.0, 120.0), st.floats(1.0, 2.0)),
    leads=st.tuples(st.sampled_from([60.0, 300.0]), st.sampled_from([60.0, 300.0])),
    current=st.builds(PerRole, st.integers(1, 12), st.integers(1, 12)),
    ends=st.sampled_from([(None, 1.0), (1.5, None), (1.0, 2.0), (1.2, 1.3)]),
)
def test_the_first_move_is_within_the_range_for_the_ratio(rates, leads, current, ends):
    within = PolicySettings(
        prefill=RoleSettings(startup_seconds=leads[0]),
        decode=RoleSettings(startup_seconds=leads[1]),
        ratio=RatioRange(min_prefill_per_decode=ends[0], max_prefill_per_decode=ends[1]),
    )
    ahead = solve(demand(rates[0] * rates[1]), PROFILE, within, current)
    move = plan(ahead, demand(rates[0]), pools(current))
    assert within.ratio.allows(move)


def test_a_role_that_is_early_comes_as_far_as_the_ratio_asks():
    """As above, but no decode replica may stand without a prefill replica beside it."""
    late = PolicySettings(
        prefill=RoleSettings(startup_seconds=60),
        decode=RoleSettings(startup_seconds=300),
        ratio=RatioRange(min_prefill_per_decode=3.0),
    )
    ahead = solve(demand(80.0), PROFILE, late)
    move = plan(ahead, demand(80.0), pools(PerRole(4, 1)))
    assert move.decode == ahead.replicas.decode
    assert move.prefill >= 3 * move.decode > 4


def test_where_nothing_meets_the_objective_the_best_pair_is_the_plan():
    scarce = SETTINGS.model_copy(update={"gpu_budget": 8})
    ahead = solve(demand(90.0), PROFILE, scarce)
    assert not ahead.feasible
    assert plan(ahead, demand(90.0), pools(PerRole(1, 1))) == ahead.replicas
