"""A range of prefill replicas per decode replica: kept by the solve, and by what comes after."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_coupling import PROFILE, bounded, demand, demands, joint, slos
from test_guards import context

from policies.capacity import Capacity
from policies.config import PolicySettings, RoleSettings
from policies.coupling import share_out, solve
from policies.foresight import Foresight
from policies.guards import apply
from policies.ratio import RatioRange
from policies.types import Binding, PerRole

SIDES = [None, 0.25, 0.3, 0.5, 1.0, 1.5, 3.0]
ranges = (
    st.tuples(st.sampled_from(SIDES), st.sampled_from(SIDES))
    .filter(lambda ends: None in ends or ends[0] <= ends[1])
    .map(lambda ends: RatioRange(min_prefill_per_decode=ends[0], max_prefill_per_decode=ends[1]))
)
counts = st.builds(PerRole, st.integers(1, 12), st.integers(1, 12))


@pytest.mark.parametrize(
    ("low", "high", "pair", "allowed"),
    [
        pytest.param(None, None, (50, 1), True, id="no limits"),
        pytest.param(0.3, None, (3, 10), True, id="on the lower end"),
        pytest.param(0.3, None, (2, 7), False, id="below it"),
        pytest.param(None, 0.3, (3, 10), True, id="on the upper end"),
        pytest.param(None, 0.3, (3, 9), False, id="above it"),
        pytest.param(1.0, 1.0, (4, 4), True, id="one to one"),
    ],
)
def test_what_is_within_the_range(low, high, pair, allowed):
    ratio = RatioRange(min_prefill_per_decode=low, max_prefill_per_decode=high)
    assert ratio.allows(PerRole(*pair)) == allowed


@given(ranges, counts, counts)
def test_the_larger_and_the_smaller_of_two_allowed_pairs_are_allowed(ratio, one, other):
    assume(ratio.allows(one) and ratio.allows(other))
    assert ratio.allows(one.zip(other).map(max))
    assert ratio.allows(one.zip(other).map(min))


@given(ranges.filter(lambda ratio: ratio.limits), counts)
def test_a_repair_takes_nothing_away_and_no_more_than_it_must(ratio, pair):
    after = ratio.repaired(pair)
    assume(ratio.allows(after))  # a range narrower than whole replicas may hold no such pair
    assert after.prefill >= pair.prefill
    assert after.decode >= pair.decode
    assert (after == pair) == ratio.allows(pair)


@settings(max_examples=100, deadline=None)
@given(demands, slos, ranges, st.sampled_from([None, 10, 24]), st.sampled_from([(2, 2), (1, 4)]))
def test_the_solve_within_a_range_equals_brute_force(wanted, slo, ratio, budget, gpus):
    profile = PROFILE.model_copy(
        update={"prefill_gpus_per_replica": gpus[0], "decode_gpus_per_replica": gpus[1]}
    )
    limits = bounded(10, slo=slo, gpu_budget=budget, ratio=ratio)
    capacity = Capacity(profile, limits, wanted)
    assume(tuple(capacity.attainable) == (1.0, 1.0))

    def cost(pair):
        return pair.prefill * gpus[0] + pair.decode * gpus[1]

    pairs = [PerRole(p, d) for p, d in itertools.product(range(1, 11), repeat=2)]
    allowed = [p for p in pairs if ratio.allows(p) and cost(p) <= (budget or 1000)]
    assume(allowed)
    solution = solve(wanted, profile, limits)
    meeting = [p for p in allowed if joint(capacity, p) >= slo.attainment_fraction - 1e-12]
    assert solution.replicas in allowed
    assert solution.feasible == bool(meeting)
    if meeting:
        assert solution.gpus == min(map(cost, meeting))
    else:
        capped = 10 in solution.replicas  # then what gains less than 0.2 points is given back
        best = max(joint(capacity, p) for p in allowed)
        assert joint(capacity, solution.replicas) >= best - (4e-3 if capped else 2e-6)


@settings(max_examples=50, deadline=None)
@given(demands, ranges, counts)
def test_what_is_in_place_or_shared_out_is_within_the_range_too(wanted, ratio, in_place):
    limits = bounded(12, gpu_budget=20, ratio=ratio)
    some = ratio.least_above(PerRole(1, 1), PerRole(12, 12))
    assume(some is not None and sum(some) <= 10)
    solution = solve(wanted, PROFILE, limits, in_place)
    assume(solution.capacity.flow(solution.replicas) > 0.1)
    assert ratio.allows(solution.replicas)
    assert ratio.allows(share_out(solution, wanted, in_place).replicas)


def test_it_is_named_where_it_binds_and_where_it_is_the_reason_for_missing_the_objective():
    long_prompts = demand(60.0, prompt=4000.0, output=50.0)
    free = solve(long_prompts, PROFILE, bounded(64))
    assert free.replicas.prefill > 4 * free.replicas.decode
    ratio = RatioRange(max_prefill_per_decode=2.0)
    held = solve(long_prompts, PROFILE, bounded(64, ratio=ratio))
    assert held.replicas.decode == -(-held.replicas.prefill // 2) > free.replicas.decode
    assert Binding.RATIO in held.binding
    few = PolicySettings(
        prefill=RoleSettings(max_replicas=64), decode=RoleSettings(max_replicas=2), ratio=ratio
    )
    short = solve(long_prompts, PROFILE, few)
    assert (short.replicas, short.binding) == (PerRole(4, 2), (Binding.RATIO,))


def test_a_guard_gives_back_no_more_of_one_role_than_the_other_allows():
    """A window holds 9 prefill replicas while 1 decode replica would do."""
    limits = PolicySettings(ratio=RatioRange(max_prefill_per_decode=4.0))
    here = replace(context(9, {100: 9, 0: 2}), current=PerRole(9, 3), settings=limits)
    here = replace(here, wanted=PerRole(2, 1), planned=PerRole(2, 1), kept=PerRole(2, 1))
    target, limiters = apply(here)
    assert target == PerRole(9, 3)
    assert [limiter.name for limiter in limiters] == ["stabilise_scale_in", "keep_ratio"]


@pytest.mark.parametrize(
    ("settings_of", "words"),
    [
        pytest.param(
            {"ratio": {"min_prefill_per_decode": 3, "max_prefill_per_decode": 2}},
            "3 is above max_prefill_per_decode 2",
            id="ends in the wrong order",
        ),
        pytest.param(
            {"ratio": {"min_prefill_per_decode": 3}, "prefill": {"max_replicas": 2}},
            "no pair of 1 to 2 prefill and 1 to 64 decode replicas has 3 or more prefill",
            id="no pair within the bounds",
        ),
        pytest.param(
            {"ratio": {"min_prefill_per_decode": 1e308}}, "less than or equal to 1000", id="huge"
        ),
        pytest.param(
            {"ratio": {"max_prefill_per_decode": 1e-308}},
            "greater than or equal to 0.001",
            id="tiny",
        ),
    ],
)
def test_a_range_that_no_pair_can_have_is_refused(settings_of, words):
    with pytest.raises(ValidationError, match=words):
        PolicySettings.model_validate(settings_of)


def test_a_range_beyond_the_budget_is_set_aside_and_told():
    """4 prefill replicas at least, so 8 decode beside them: 24 GPUs, of which there are 20."""
    limits = PolicySettings(
        prefill=RoleSettings(min_replicas=4),
        ratio=RatioRange(max_prefill_per_decode=0.5),
        gpu_budget=20,
    )
    solution = solve(demand(40.0), PROFILE, limits)
    free = limits.model_copy(update={"ratio": RatioRange()})
    assert solution.replicas == solve(demand(40.0), PROFILE, free).replicas
    assert "no pair within bounds and budget has no more than 0.5 prefill" in solution.shortfall
    assert not solution.feasible


def test_a_replica_that_the_ratio_asks_for_is_not_called_spare():
    limits = bounded(64, ratio=RatioRange(min_prefill_per_decode=1.0, max_prefill_per_decode=1.0))
    solution = solve(demand(60.0), PROFILE, limits)
    margins = Foresight.steady(solution.capacity)(solution.replicas).margins
    assert [margin.binding for margin in margins if margin.binding is Binding.RATIO]
    assert all(margin.binding for margin in margins)
