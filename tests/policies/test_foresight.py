"""What is foreseen around a pair: margins, the range, and the ratio at which neither side idles."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.capacity import Capacity
from policies.config import Guards, PolicySettings, RoleSettings, Slo
from policies.coupling import solve
from policies.demand import Demand, Shape
from policies.engine import Engine
from policies.foresight import Foresight
from policies.lattice import Lattice
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.types import Binding, Expectation, Observation, PerRole, PoolState, Prospect, Role

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")


def demand(requests_per_second: float, prompt: float = 1155.0, output: float = 211.0) -> Demand:
    shape = Shape(
        prompt_tokens=Lengths.lognormal(prompt),
        prefix_hit_fraction=0.0,
        output_tokens=Lengths.lognormal(output),
    )
    return Demand(load=shape.load_of(PROFILE, requests_per_second), shape=shape)


def solved(wanted: Demand, limits: PolicySettings | None = None) -> Prospect:
    solution = solve(wanted, PROFILE, limits or PolicySettings())
    return Foresight.steady(solution.capacity)(solution.replicas)


def at_least(better: Expectation, worse: Expectation) -> bool:
    return (
        better.joint_attainment >= worse.joint_attainment - 1e-9
        and better.ttft_seconds <= worse.ttft_seconds * 1.001
        and better.itl_seconds <= worse.itl_seconds * 1.001
        and better.carried_fraction >= worse.carried_fraction - 1e-9
    )


demands = st.builds(demand, st.floats(0.5, 60), st.floats(100, 4000), st.floats(5, 900))


@settings(max_examples=40, deadline=None)
@given(demands, st.sampled_from([None, 6, 12]))
def test_a_margin_says_what_the_solve_would_find_there(wanted, budget):
    limits = PolicySettings(gpu_budget=budget)
    solution = solve(wanted, PROFILE, limits)
    prospect = Foresight.steady(solution.capacity)(solution.replicas)
    assert prospect.sufficient or Binding.BUDGET in solution.binding
    for role, margin in prospect.margins.items():
        assert margin.gpus == 2
        beside = solution.replicas.but(role, solution.replicas[role] + 1)
        assert margin.more == solution.capacity.expect(beside)
        assert at_least(margin.more, prospect.planned)
        if margin.fewer is not None:
            assert at_least(prospect.planned, margin.fewer)
        # The cheapest pair has nothing to spare; one that falls short is bound by the budget.
        at_minimum = solution.replicas[role] == 1
        assert (margin.binding is not None) == (prospect.sufficient or at_minimum)


def test_one_replica_too_many_has_nothing_that_forbids_to_take_it():
    solution = solve(demand(20), PROFILE, PolicySettings())
    foresight = Foresight.steady(solution.capacity)
    spare = foresight(PerRole(*(count + 1 for count in solution.replicas)))
    assert spare.margins.map(lambda margin: margin.binding) == PerRole(None, None)


def test_a_pair_that_is_kept_for_a_little_more_than_it_is_sized_for_is_tolerated():
    limits = PolicySettings()
    sized = solve(demand(20), PROFILE, limits)
    assert not Foresight.steady(sized.capacity)(sized.replicas).tolerated
    (kept, *_) = (
        grown
        for more in range(1, 40)
        if (grown := solve(demand(20 + more / 4), PROFILE, limits, sized.replicas)).replicas
        != solve(demand(20 + more / 4), PROFILE, limits).replicas
    )
    prospect = Foresight.steady(kept.capacity)(kept.replicas)
    assert kept.replicas == sized.replicas
    assert prospect.tolerated
    assert prospect.sufficient
    assert prospect.planned.joint_attainment < limits.slo.attainment_fraction


def test_scarce_gpus_are_worth_more_on_the_side_that_is_short():
    wanted = demand(60)
    enough = solve(wanted, PROFILE, PolicySettings())
    pair = enough.replicas.but(Role.PREFILL, enough.replicas.prefill - 1)
    margins = Foresight.steady(enough.capacity)(pair).margins
    gains = margins.map(lambda margin: margin.more.joint_attainment)
    assert gains.prefill > gains.decode + 0.05


@settings(max_examples=25, deadline=None)
@given(demands, st.integers(1, 30), st.sampled_from(list(Role)))
def test_what_is_needed_is_what_the_demand_could_grow_to(wanted, replicas, role):
    """The definition, checked from outside: at n/need times the demand, n replicas just do."""
    limits = PolicySettings()
    foresight = Foresight.steady(Capacity(PROFILE, limits, wanted))
    need = foresight(PerRole(replicas, replicas)).needed_replicas[role]

    def does(factor: float) -> bool:
        load = wanted.load
        grown = replace(
            wanted,
            load=type(load)(
                prefill_erlangs=load.prefill_erlangs * factor,
                decode_tokens_per_second=load.decode_tokens_per_second * factor,
                kv_token_steps_per_second=load.kv_token_steps_per_second * factor,
            ),
        )
        ample = PerRole.of(lambda each: replicas if each is role else 3000)
        return Lattice(Capacity(PROFILE, limits, grown)).meets(ample)

    assert does(0.97 * replicas / need)
    assert not does(1.03 * replicas / need)


@pytest.mark.parametrize(
    ("prompt", "output"),
    [
        pytest.param(1155.0, 211.0, id="conversation"),
        pytest.param(2500.0, 100.0, id="long-prompts"),
        pytest.param(300.0, 900.0, id="long-answers"),
    ],
)
def test_large_fleets_are_solved_at_the_efficient_ratio(prompt, output):
    """Rounding to whole replicas is what keeps a small fleet from it."""
    role = RoleSettings(max_replicas=3000)
    limits = PolicySettings(prefill=role, decode=role)
    large = solved(demand(1000.0, prompt, output), limits)
    ratio = large.replicas.prefill / large.replicas.decode
    assert large.efficient_ratio == pytest.approx(ratio, rel=0.02)


def test_a_slow_link_needs_replicas_that_have_nothing_else_to_do():
    link = PROFILE.transfer.model_copy(update={"bytes_per_second": 1e9})
    profile = PROFILE.model_copy(update={"transfer": link})
    wanted = demand(2.0, prompt=4000, output=1)
    solution = solve(wanted, profile, PolicySettings(slo=Slo(ttft_seconds=5.0)))
    decode = Foresight.steady(solution.capacity)(solution.replicas).needed_replicas.decode
    assert solution.capacity.link_utilisation(PerRole(1, 1)) < decode <= solution.replicas.decode


@pytest.mark.parametrize("rate", [0.0, 5e-324])
def test_without_demand_nothing_is_needed_and_no_ratio_is_efficient(rate):
    idle = solved(demand(rate, output=1e6))
    assert idle.needed_replicas == PerRole(0.0, 0.0)
    assert idle.efficient_ratio is None


def test_an_objective_out_of_reach_still_has_finite_needs():
    hopeless = solved(demand(20), PolicySettings(slo=Slo(ttft_seconds=0.01, itl_seconds=0.001)))
    assert all(0 < need < 64 for need in hopeless.needed_replicas)


def decisions(rates: list[float], waits: dict[str, object] | None = None, **changes: object):
    guards = Guards(scale_in_window_seconds=0)
    engine, memory = Engine(PROFILE, PolicySettings(guards=guards, **changes)), Memory()
    pools = PerRole(6, 3).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
    for i, rate in enumerate(rates):
        seen = Observation(
            observed_at_seconds=15.0 * i,
            window_seconds=60.0,
            requests_per_second=rate,
            input_tokens=Lengths.lognormal(1155.0),
            output_tokens_mean=211.0,
            **(waits or {}),
        )
        decision, memory = engine.decide(seen, pools, memory, 15.0 * i)
        yield decision


def decided(rates: list[float], waits: dict[str, object] | None = None, **changes: object):
    *_, last = decisions(rates, waits, **changes)
    return last


def test_doubt_about_the_profile_alone_makes_a_range():
    sure, unsure = decided([30.0] * 40, calibrate=False), decided([30.0] * 40)
    assert sure.prospect.now.ttft_seconds == pytest.approx(
        sure.prospect.planned.ttft_seconds, rel=0.01
    )
    assert unsure.prospect.now.ttft_seconds < 0.95 * unsure.prospect.planned.ttft_seconds
    assert unsure.prospect.now.itl_seconds < 0.95 * unsure.prospect.planned.itl_seconds


def test_a_forecast_that_is_not_sure_makes_a_range():
    swinging = decided([20.0, 40.0] * 60 + [20.0], calibrate=False)
    prospect = swinging.prospect
    assert at_least(prospect.now, prospect.planned)
    assert prospect.now.ttft_seconds < 0.9 * prospect.planned.ttft_seconds
    assert at_least(prospect.likely, prospect.planned)
    assert prospect.likely.itl_seconds > 1.05 * prospect.now.itl_seconds  # it swings back up


def test_the_demand_of_now_is_its_level_and_not_the_chance_of_one_window():
    steady, chance = decided([30.0] * 60), decided([30.0] * 60 + [31.0])
    loads = [one.foresight.now.demand.load for one in (steady, chance)]
    assert loads[1].prefill_erlangs < 1.02 * loads[0].prefill_erlangs


@pytest.mark.parametrize(
    "waits",
    [
        pytest.param({"waiting_requests": PerRole(9000.0, 0.0)}, id="prompts"),
        pytest.param(
            {
                "waiting_requests": PerRole(0.0, 0.0),
                "kv_transfer_backlog_requests": 9000.0,
                "kv_usage_fraction": 0.3,
            },
            id="transfers",
        ),
    ],
)
def test_what_waits_is_planned_for_and_no_part_of_the_demand_of_now(waits):
    calm, queued = decided([30.0]), decided([30.0], waits)
    pair = calm.target
    assert queued.foresight(pair).now == calm.prospect.now
    assert queued.foresight(pair).planned.ttft_seconds > 1.01 * calm.prospect.planned.ttft_seconds


def test_a_decision_foresees_its_target_and_the_same_decision_foresees_the_same():
    decision = decided([30.0] * 5)
    assert decision.prospect.replicas == decision.target
    assert decision == decided([30.0] * 5)


def test_what_is_not_known_has_no_prospect():
    engine = Engine(PROFILE, PolicySettings())
    pools = PerRole(6, 3).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
    blind = Observation(observed_at_seconds=0.0, window_seconds=60.0)
    assert engine.decide(blind, pools, Memory(), 0.0)[0].prospect is None
