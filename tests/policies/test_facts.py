"""What the cluster says of its pools is followed, and named where it changes a decision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.config import Guards, PolicySettings, RoleSettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory, Sized
from policies.profile import builtin
from policies.types import (
    Binding,
    Decision,
    GpuCap,
    HoldReason,
    Observation,
    PerRole,
    PoolState,
    Role,
)

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
AT_ONCE = PolicySettings(guards=Guards(scale_in_window_seconds=0))
BUSY, QUIET = 80.0, 0.5


def decide(
    rate: float | None,
    size: tuple[int, int],
    facts: dict[Role, dict[str, object]] | None = None,
    *,
    settings: PolicySettings = AT_ONCE,
    cap: GpuCap | None = None,
) -> Decision:
    observation = Observation(
        observed_at_seconds=0.0,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=Lengths.lognormal(1155.0),
        output_tokens_mean=211.0,
    )
    pools = found(size, facts)
    decision, _ = Engine(PROFILE, settings).decide(observation, pools, Memory(), 0.0, cap)
    return decision


def found(
    size: tuple[int, int], facts: dict[Role, dict[str, object]] | None = None
) -> PerRole[PoolState]:
    plain = PerRole(*size).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
    return PerRole.of(lambda role: replace(plain[role], **(facts or {}).get(role, {})))


WANTED = decide(BUSY, (1, 1)).target


def names(decision: Decision) -> list[str]:
    return [limiter.name for limiter in decision.limiters]


def test_a_workload_s_own_floor_is_kept_and_named() -> None:
    assert decide(QUIET, (9, 9)).target == PerRole(1, 1)
    decision = decide(QUIET, (9, 9), {Role.DECODE: {"floor_replicas": 3}})
    assert decision.target == PerRole(1, 3)
    told = "decode: the workload itself tolerates no less than 3 replicas"
    assert told in decision.notes
    held = decide(QUIET, (1, 3), {Role.DECODE: {"floor_replicas": 3}})
    assert held.hold.reason is HoldReason.ALREADY_RIGHT
    assert told in held.notes
    assert told not in decide(BUSY, (9, 9), {Role.DECODE: {"floor_replicas": 3}}).notes


def test_what_a_floor_keeps_is_taken_from_the_budget_of_the_other_role() -> None:
    short = AT_ONCE.model_copy(update={"gpu_budget": 16})  # 8 replicas of two GPUs
    free = decide(BUSY, (4, 4), settings=short)
    assert sum(free.target) == 8
    floor = free.target.prefill + 1
    decision = decide(BUSY, (4, 4), {Role.PREFILL: {"floor_replicas": floor}}, settings=short)
    assert decision.target == PerRole(floor, 8 - floor)


def test_the_budget_holds_where_a_minimum_raises_one_role_and_a_guard_keeps_the_other() -> None:
    """Decode was found below its minimum while prefill still waits to scale in."""
    settings = PolicySettings(gpu_budget=20, decode=RoleSettings(min_replicas=8))
    decision = decide(QUIET, (6, 4), settings=settings)
    assert decision.target == PerRole(2, 8)
    assert names(decision)[-1] == "fit_budget"


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("rate", "size"),
    [
        pytest.param(BUSY, (1, 1), id="out"),
        pytest.param(QUIET, (9, 9), id="in"),
        pytest.param(BUSY, tuple(WANTED), id="right"),
        pytest.param(None, (3, 3), id="unknown-demand"),
    ],
)
def test_another_writer_of_either_role_holds_both_and_is_named(role, rate, size) -> None:
    decision = decide(rate, size, {role: {"other_writer": "HorizontalPodAutoscaler mine"}})
    assert decision.target == decision.current == PerRole(*size)
    assert decision.hold.reason is HoldReason.OTHER_WRITER
    assert decision.hold.detail == f"{role}: HorizontalPodAutoscaler mine"
    if rate is not None and PerRole(*size) != WANTED:
        assert decision.limiters[-1].before != decision.current  # what would have been done


def test_another_writer_keeps_even_the_fallback_from_acting() -> None:
    settings = PolicySettings(
        guards=Guards(fallback_after_seconds=0), prefill=RoleSettings(fallback_replicas=4)
    )
    engine = Engine(PROFILE, settings)
    pools = found((1, 1), {Role.PREFILL: {"other_writer": "keda"}})
    known = Observation(
        observed_at_seconds=0.0,
        window_seconds=60.0,
        requests_per_second=1.0,
        input_tokens=Lengths.lognormal(1155.0),
        output_tokens_mean=211.0,
    )
    _, memory = engine.decide(known, pools, Memory(), 0.0)
    blind = Observation(observed_at_seconds=50.0, window_seconds=60.0)
    decision, _ = engine.decide(blind, pools, memory, 50.0)
    assert decision.target == PerRole(1, 1)
    assert decision.hold.reason is HoldReason.OTHER_WRITER


def test_stuck_replicas_are_no_supply_and_no_reason_to_ask_for_more() -> None:
    decode = WANTED.decode - 1
    stuck = {Role.DECODE: {"stuck_replicas": decode - 1, "problems": ("pod d-2: ErrImagePull",)}}
    decision = decide(BUSY, (WANTED.prefill, decode), stuck)
    assert decision.target.decode == decode
    assert "await_stuck" in names(decision)
    free = decide(BUSY, (WANTED.prefill, decode))
    assert decision.prospect.planned.joint_attainment < free.prospect.planned.joint_attainment
    (note,) = [note for note in decision.notes if "stuck" in note]
    assert "ErrImagePull" in note
    held = decide(BUSY, tuple(decision.target), stuck)
    assert held.hold.reason is HoldReason.REPLICAS_STUCK


def test_stuck_replicas_are_asked_for_still_and_paid_for_from_the_budget() -> None:
    short = AT_ONCE.model_copy(update={"gpu_budget": 24})  # 12 replicas of two GPUs
    wanted = decide(BUSY, (1, 1), settings=short).target
    assert sum(wanted) == 12
    stuck = {Role.PREFILL: {"stuck_replicas": wanted.prefill - 1}}
    decision = decide(BUSY, (wanted.prefill, 1), stuck, settings=short)
    assert sum(decision.target) <= 12
    assert decision.target.decode > 1


def test_what_is_not_needed_is_scaled_in_although_it_is_stuck() -> None:
    decision = decide(QUIET, (1, 6), {Role.DECODE: {"stuck_replicas": 2}})
    assert decision.target == PerRole(1, 1)


def test_gpus_of_a_replica_come_from_the_cluster_and_a_difference_is_told() -> None:
    assert PROFILE.gpus_per_replica == PerRole(2, 2)
    decision = decide(BUSY, (1, 1), {Role.DECODE: {"gpus_per_replica": 2}})
    assert not decision.notes
    settings = AT_ONCE.model_copy(update={"gpu_budget": 16})
    doubled = {Role.DECODE: {"gpus_per_replica": 4}}
    decision = decide(200.0, (1, 1), doubled, settings=settings)
    assert decision.target.prefill * 2 + decision.target.decode * 4 <= 16
    assert any("4 GPUs here and 2 in profile" in note for note in decision.notes)


@pytest.mark.parametrize(
    ("cap", "most"),
    [
        pytest.param(GpuCap(12, "KAI queue root: limit"), 12, id="tighter"),
        pytest.param(GpuCap(100, "ResourceQuota q"), 20, id="looser-than-configured"),
        pytest.param(GpuCap(None, "no limit"), 20, id="none"),
    ],
)
def test_what_the_cluster_grants_caps_both_roles_and_is_named(cap, most) -> None:
    settings = AT_ONCE.model_copy(update={"gpu_budget": 20})
    decision = decide(BUSY * 10, (1, 1), settings=settings, cap=cap)
    assert 2 * sum(decision.target) == most
    assert Binding.BUDGET in decision.binding
    assert any(cap.source in note for note in decision.notes) == (most == 12)
    assert decision.cap == (cap if most == 12 else None)


def test_a_role_whose_replicas_fit_nowhere_leaves_the_other_to_grow() -> None:
    free = decide(BUSY * 4, (1, 1))
    shortage = "no further prefill replica fits within one rack"
    cap = GpuCap(1000, "GPUs free on nodes", PerRole(2, 100), shortage)
    decision = decide(BUSY * 4, (1, 1), cap=cap)
    assert decision.target.prefill == 2 < free.target.prefill
    assert decision.target.decode >= free.target.decode > 2
    (note,) = [note for note in decision.notes if "fit" in note]
    assert note == f"as many replicas as fit on the free GPUs, 2 in prefill: {shortage}"
    assert not any("fit on" in note for note in decide(QUIET, (1, 1), cap=cap).notes)


def test_what_is_there_is_not_scaled_in_because_nothing_more_fits() -> None:
    cap = GpuCap(1000, "GPUs free on nodes", PerRole(1, 1), "none fits")
    assert decide(BUSY, tuple(WANTED), cap=cap).target == WANTED


def test_a_grant_of_nothing_is_not_a_grant_of_everything() -> None:
    assert decide(BUSY, (1, 1), cap=GpuCap(0, "quota")).target == PerRole(1, 1)


def leads(*measured: float | None) -> list[float | None]:
    engine, memory, seen = Engine(PROFILE, AT_ONCE), Memory(), []
    blind = Observation(observed_at_seconds=0.0, window_seconds=60.0)
    for seconds in measured:
        pools = found((2, 2), {Role.DECODE: {"startup_seconds_p90": seconds}})
        _, memory = engine.decide(blind, pools, memory, 0.0)
        assert memory.lead_seconds.prefill is None
        seen.append(memory.lead_seconds.decode)
    return seen


def test_a_measured_start_is_the_lead_in_whole_cells_and_does_not_flutter() -> None:
    assert leads(None, 118.0, 130.0, 95.0, None, 170.0) == [None, 120, 120, 120, 120, 180]


def test_a_readiness_that_came_back_after_days_is_no_start() -> None:
    assert leads(200_000.0) == [None]
    assert leads(118.0, 200_000.0) == [120, 120]


def test_the_forecast_looks_as_far_ahead_as_starts_take() -> None:
    engine = Engine(PROFILE, AT_ONCE)
    memory = Memory()
    pools = found((2, 2), {Role.DECODE: {"startup_seconds_p90": 600.0}})
    seen = Observation(
        observed_at_seconds=0.0,
        window_seconds=60.0,
        requests_per_second=2.0,
        input_tokens=Lengths.lognormal(1155.0),
        output_tokens_mean=211.0,
    )
    _, memory = engine.decide(seen, pools, memory, 0.0)
    prefill, decode, _ = memory.trackers
    step = AT_ONCE.forecast.step_seconds
    assert prefill.settings.target.first_step * step == AT_ONCE.prefill.startup_seconds
    assert decode.settings.target.first_step * step == 600
    again = Memory.from_json(memory.to_json())
    assert again.lead_seconds == memory.lead_seconds


def after_intent(rate: float | None, at: float, **facts: object) -> tuple[Decision, Memory]:
    """Decode was brought to 4 and prefill, which should have become 3, was not."""
    observation = Observation(
        observed_at_seconds=at,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=Lengths.lognormal(1155.0),
        output_tokens_mean=211.0,
    )
    memory = Memory(intent=Sized(0.0, PerRole(3, 4)))
    pools = found((1, 4), {Role.PREFILL: facts})
    return Engine(PROFILE, PolicySettings()).decide(observation, pools, memory, at)


def test_half_a_change_is_told_and_decided_afresh() -> None:
    decision, memory = after_intent(BUSY, 10.0)
    assert any("prefill is 1 instead of 3" in note for note in decision.notes)
    assert decision.target.prefill == WANTED.prefill
    assert memory.intent is None


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(3600.0, id="a-restart-hours-later"),
        pytest.param(-10.0, id="a-clock-set-back"),
    ],
)
def test_an_old_intent_is_neither_told_nor_kept(at) -> None:
    decision, memory = after_intent(BUSY, at)
    assert not any("not completed" in note for note in decision.notes)
    assert memory.intent is None


@pytest.mark.parametrize(
    ("at", "facts", "target"),
    [
        pytest.param(10.0, {}, PerRole(3, 4), id="completed"),
        pytest.param(700.0, {}, PerRole(1, 4), id="too-long-ago"),
        pytest.param(-10.0, {}, PerRole(1, 4), id="of-a-time-to-come"),
        pytest.param(10.0, {"other_writer": "an HPA"}, PerRole(1, 4), id="somebody-else-writes"),
    ],
)
def test_without_metrics_half_a_scale_out_is_completed(at, facts, target) -> None:
    decision, _ = after_intent(None, at, **facts)
    assert decision.target == target
    assert decision.changes == (target != PerRole(1, 4))
