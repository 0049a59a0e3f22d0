"""What the cluster says of the pools, put in place of what was configured or assumed."""

from __future__ import annotations

import math
from dataclasses import replace

from policies.config import PolicySettings
from policies.memory import Sized
from policies.profile import Profile
from policies.types import (
    Binding,
    Decision,
    GpuCap,
    Hold,
    HoldReason,
    Limiter,
    PerRole,
    PoolState,
    Role,
)

# A readiness that went and came back reads like a start that took days: such a start is not one.
_LONGEST_START_SECONDS = 3600.0

# A change that was begun earlier belongs to another demand.
_INTENT_SECONDS = 600.0
_NO_METRICS = frozenset({HoldReason.METRICS_UNKNOWN, HoldReason.METRICS_STALE})


def as_found(profile: Profile, found: PerRole[PoolState]) -> tuple[Profile, tuple[str, ...]]:
    """Correct the profile's GPUs of a replica by the cluster's; say where they differ."""
    configured = profile.gpus_per_replica
    seen = PerRole.of(lambda role: found[role].gpus_per_replica or configured[role])
    notes = tuple(
        f"a {role} replica holds {seen[role]} GPUs here and {configured[role]} in profile "
        f"{profile.name}: costs follow the cluster, speed the profile"
        for role in Role
        if seen[role] != configured[role]
    )
    gpus = {"prefill_gpus_per_replica": seen.prefill, "decode_gpus_per_replica": seen.decode}
    return profile.model_copy(update=gpus) if notes else profile, notes


def measured_leads(
    known: PerRole[float | None], found: PerRole[PoolState], step_seconds: float
) -> PerRole[float | None]:
    """Start-up times as measured, in whole cells of the forecast; None was never measured.

    One cell back or forth keeps the known value, because another lead is another forecast and
    drops what was learnt of the old one. Example in cells of 30 s: 118 s gives 120 s; 130 s then
    still gives 120 s, and 170 s gives 180 s.
    """

    def lead(role: Role) -> float | None:
        measured, before = found[role].startup_seconds_p90, known[role]
        if measured is None or measured > _LONGEST_START_SECONDS:
            return before
        rounded = math.ceil(measured / step_seconds) * step_seconds
        close = before is not None and abs(rounded - before) <= step_seconds
        return before if close else rounded

    return PerRole.of(lead)


def with_leads(settings: PolicySettings, leads: PerRole[float | None]) -> PolicySettings:
    """Put measured start-up times in place of configured ones."""
    roles = {
        role.value: settings.roles[role].model_copy(update={"startup_seconds": seconds})
        for role, seconds in leads.items()
        if seconds is not None
    }
    return settings.model_copy(update=roles) if roles else settings


def at_least(settings: PolicySettings, least: PerRole[int]) -> PolicySettings:
    """Raise each role's minimum, and its maximum where that is lower still."""
    roles = {
        role.value: each.model_copy(
            update={
                "min_replicas": least[role],
                "max_replicas": max(each.max_replicas, least[role]),
            }
        )
        for role, each in settings.roles.items()
        if least[role] > each.min_replicas
    }
    return settings.model_copy(update=roles) if roles else settings


def floored(settings: PolicySettings, found: PerRole[PoolState]) -> PolicySettings:
    """Raise each role's bounds to what the workload's own controller tolerates.

    It will be there whatever is asked for, so the other role and the budget have to do with it.
    """
    return at_least(settings, found.map(lambda pool: pool.floor_replicas))


def floor_notes(
    settings: PolicySettings, found: PerRole[PoolState], decision: Decision
) -> tuple[str, ...]:
    """Say where a role is as large as it is because the workload tolerates no less."""
    return tuple(
        f"{role}: the workload itself tolerates no less than {pool.floor_replicas} replicas"
        for role, pool in found.items()
        if pool.floor_replicas > settings.roles[role].min_replicas
        and decision.raw is not None
        and decision.raw[role] == pool.floor_replicas
    )


def ratio_notes(settings: PolicySettings, decision: Decision) -> tuple[str, ...]:
    """Say where what stands above the ratio range has left it."""
    target, ratio = decision.target, settings.ratio
    if target is None or ratio.allows(target):
        return ()
    return (f"{target.prefill}+{target.decode} is outside the ratio: {ratio}",)


def tightening(settings: PolicySettings, cap: GpuCap | None) -> GpuCap | None:
    """The cap, if it is what limits and not the configured budget."""
    if cap is None or cap.gpus is None:
        return None
    return cap if cap.gpus < (settings.gpu_budget or math.inf) else None


def within(settings: PolicySettings, cap: GpuCap | None) -> PolicySettings:
    """Lower the GPU budget to what the cluster grants; a grant of none leaves the minimum."""
    if cap is None or cap.gpus is None:
        return settings
    return settings.model_copy(update={"gpu_budget": max(cap.gpus, 1)})


def fitting(
    settings: PolicySettings, cap: GpuCap | None, found: PerRole[PoolState]
) -> PolicySettings:
    """Keep each role within the replicas that fit somewhere, and at what it already has."""
    if cap is None:
        return settings
    most = cap.replicas.zip(found).map(
        lambda pair: None if pair[0] is None else max(pair[0], pair[1].desired_replicas, 1)
    )
    return short_of(settings, most)


def fit_notes(cap: GpuCap | None, decision: Decision) -> tuple[str, ...]:
    """Say where a role gets no more than what fits on free GPUs."""
    wanted = decision.raw
    if cap is None or wanted is None:
        return ()
    full = [role for role in Role if cap.replicas[role] == wanted[role]]
    if Binding.MAXIMUM not in decision.binding or not full:
        return ()
    most = " and ".join(f"{wanted[role]} in {role}" for role in full)
    why = f": {cap.shortage}" if cap.shortage else ""
    return (f"as many replicas as fit on the free GPUs, {most}{why}",)


def supply(found: PerRole[PoolState]) -> PerRole[int | None]:
    """Replicas that serve or will, for a role that has stuck ones; None: as many as are asked."""
    return found.map(
        lambda pool: (
            max(pool.desired_replicas - pool.stuck_replicas, 1) if pool.stuck_replicas else None
        )
    )


def short_of(settings: PolicySettings, most: PerRole[int | None]) -> PolicySettings:
    """Keep each role within what will really serve."""
    roles = {
        role.value: settings.roles[role].model_copy(
            update={
                "max_replicas": min(settings.roles[role].max_replicas, limit),
                "min_replicas": min(settings.roles[role].min_replicas, limit),
            }
        )
        for role, limit in most.items()
        if limit is not None
    }
    return settings.model_copy(update=roles)


def beside_stuck(
    settings: PolicySettings,
    found: PerRole[PoolState],
    wanted: PerRole[int],
    gpus_per_replica: PerRole[int],
) -> PolicySettings:
    """Keep each role within what will really serve, and both within the GPUs that stuck ones leave.

    Those are asked for still, up to what is `wanted`, and hold GPUs or will once they start.
    """
    most = supply(found)

    def stuck_gpus(role: Role) -> int:
        limit = most[role]
        if limit is None:
            return 0
        kept = max(found[role].desired_replicas, settings.roles[role].min_replicas)
        return max(min(wanted[role], kept) - limit, 0) * gpus_per_replica[role]

    short, budget = short_of(settings, most), settings.gpu_budget
    if budget is None:
        return short
    left = max(budget - sum(stuck_gpus(role) for role in Role), 1)
    return short.model_copy(update={"gpu_budget": left})


def pool_notes(found: PerRole[PoolState]) -> tuple[str, ...]:
    """Say which replicas are not counted as supply, and what is the matter with a pool."""
    return tuple(
        f"{role}: {pool.stuck_replicas} of {pool.desired_replicas} replicas are stuck and not "
        f"counted as supply" + "".join(f" ({why})" for why in pool.problems[:1])
        if pool.stuck_replicas
        else f"{role}: {'; '.join(pool.problems)}"
        for role, pool in found.items()
        if pool.stuck_replicas or pool.problems
    )


def lately(intent: Sized | None, now_seconds: float) -> Sized | None:
    """The intent if it was formed lately; one of hours ago, or of a time to come, tells nothing.

    A planner that starts at nine finds the intent of midnight in its memory: meanwhile others have
    changed the pools, and the load is another.
    """
    if intent is None or not 0.0 <= now_seconds - intent.at_seconds <= _INTENT_SECONDS:
        return None
    return intent


def halved(intent: Sized | None, current: PerRole[int]) -> str | None:
    """Say what is left of a change that was begun; None when nothing is."""
    if intent is None or intent.replicas == current:
        return None
    left = ", ".join(
        f"{role} is {current[role]} instead of {wanted}"
        for role, wanted in intent.replicas.items()
        if wanted != current[role]
    )
    return f"an earlier change was not completed: {left}"


def complete(decision: Decision, intent: Sized | None) -> Decision:
    """Finish a scale-out of which one half was done lately, while no metrics tell better.

    A pair is sized as one, so the other half was decided on the metrics of then. A change of which
    nothing was done waits for metrics instead.
    """
    hold, current = decision.hold, decision.current
    blind = hold is not None and hold.reason in _NO_METRICS
    if intent is None or hold is None or current is None or not blind:
        return decision
    if not any(current[role] == intent.replicas[role] for role in Role):
        return decision
    target = PerRole.of(lambda role: max(intent.replicas[role], current[role]))
    if target == current:
        return decision
    limiter = Limiter("complete", current, target, "an earlier change is completed")
    return replace(
        decision,
        target=target,
        hold=None,
        limiters=(*decision.limiters, limiter),
        notes=(*decision.notes, hold.detail),
    )


def leave_to_others(decision: Decision, found: PerRole[PoolState]) -> Decision:
    """Change nothing where somebody else sets a count, of either role: they are sized as one."""
    who = "; ".join(
        f"{role}: {pool.other_writer}" for role, pool in found.items() if pool.other_writer
    )
    if not who:
        return decision
    current, target = decision.current, decision.target
    limiters = decision.limiters
    if current is not None and target is not None and target != current:
        limiters = (*limiters, Limiter("leave_to_others", target, current, who))
    hold, notes = decision.hold, decision.notes
    if hold is not None and hold.reason in _NO_METRICS:
        notes = (*notes, hold.detail)
    return replace(
        decision,
        target=current,
        hold=Hold(HoldReason.OTHER_WRITER, who),
        limiters=limiters,
        notes=notes,
    )
