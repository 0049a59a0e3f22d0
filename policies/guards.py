"""Ordered guards after the solve: each may change the target, and must say why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from policies.config import PolicySettings
from policies.memory import Sized
from policies.rise import Rises
from policies.types import GpuCap, Limiter, PerRole, Role, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What guards may look at.

    `wanted` is the solve's own pair, `planned` the first move towards it, `kept` what a queue needs
    of what there is, `current` the pools' desired, `falling` the roles whose load surely falls,
    `recent` the raw sizes that scale-in looks back on, `rises` the last scale-outs, `doubts` what
    forbids to trust the metrics in full.
    `slot_begins` in the first tick of a slot for scale-in.
    """

    now_seconds: float
    current: PerRole[int]
    wanted: PerRole[int]
    planned: PerRole[int]
    kept: PerRole[int]
    falling: PerRole[bool]
    recent: tuple[Sized, ...]
    rises: Rises
    gpus_per_replica: PerRole[int]
    settings: PolicySettings
    rollout: PerRole[bool]
    stuck: PerRole[int]
    floor: PerRole[int]
    cap: GpuCap | None
    trust: Trust
    slot_begins: bool
    doubts: tuple[str, ...] = ()


# Times the scale-in window: how long a step of a single replica waits.
SINGLE_STEP_WINDOWS = 2

Guard = Callable[[PerRole[int], Context], tuple[PerRole[int], str]]


def follow_plan(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Take the first move towards the pair wanted, which may not be all of it."""
    del target
    return context.planned, "that is the cheapest way there, start-ups and misses counted"


def keep_for_queue(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Give back nothing of a role that has a queue to work off."""
    kept = target.zip(context.kept).map(max)
    return kept, "nothing of a role is given back while it has a queue to work off"


def stabilise_scale_in(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Scale in only to the largest size wanted within the window.

    Raw sizes are remembered, not applied ones, so a guard never feeds itself. Example: wanted
    8, 8, 3, 8, 7 within the window holds 8. To give back a single replica takes two windows: it
    saves the least, and is what a load that wavers would soon call back. One that surely falls does
    not waver.
    """
    window = context.settings.guards.scale_in_window_seconds

    def within(seconds: float, role: Role) -> int:
        since = context.now_seconds - seconds
        recent = [each.replicas[role] for each in context.recent if each.at_seconds > since]
        return steadied(target[role], context.current[role], recent)

    def hold(role: Role) -> int:
        if target[role] >= context.current[role]:
            return target[role]
        held = within(window, role)
        single = held == context.current[role] - 1 and not context.falling[role]
        return within(SINGLE_STEP_WINDOWS * window, role) if single else held

    return PerRole.of(hold), (
        f"more was wanted within the last {window:g} s, "
        f"or {SINGLE_STEP_WINDOWS * window:g} s where it is one replica and the load does not fall"
    )


def steadied(target: int, current: int, recent: Iterable[int]) -> int:
    """Scale a pool in only to the largest of the sizes wanted lately."""
    return max(target, min(current, max([target, *recent])))


def hold_rise(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Keep one replica more than before a recent scale-out."""
    hold_seconds = context.settings.guards.rise_hold_seconds

    def held(role: Role) -> int:
        rise = context.rises[role]
        floor = rise.floor(hold_seconds, context.now_seconds) if rise else 0
        return max(target[role], min(context.current[role], floor))

    return PerRole.of(held), f"one replica of a scale-out stays for {hold_seconds:g} s"


def scale_in_by_slots(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Scale in only in the first tick of a slot, so that a falling load is followed in few steps.

    Each step ends some replicas' work; six small ones in a minute are no better than one.
    """
    if context.slot_begins:
        return target, ""
    slot = context.settings.guards.scale_in_slot_seconds
    return (
        PerRole.of(lambda role: max(target[role], context.current[role])),
        f"scale-in happens once in {slot:g} s",
    )


def keep_ratio(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Give back no more of one role than the ratio allows beside what is held of the other.

    The pair wanted is within the range; only what holds one role and not the other leaves it.
    Limits of speed, of replicas and of GPUs come later, and stand above it.
    """
    ratio = context.settings.ratio
    return (ratio.repaired(target) if ratio.limits else target), f"{ratio} are asked for"


def limit_scale_out(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Add no more replicas of a role at once than allowed."""
    step = context.settings.guards.max_scale_out_replicas
    if step is None:
        return target, ""
    return (
        PerRole.of(lambda role: min(target[role], context.current[role] + step)),
        f"at most {step} replicas more in one decision",
    )


def await_stuck(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Add nothing to a role that has stuck replicas: more of the same would be stuck as well."""
    if not any(context.stuck):
        return target, ""
    return (
        PerRole.of(
            lambda role: (
                min(target[role], context.current[role]) if context.stuck[role] else target[role]
            )
        ),
        "no scale-out of a role while replicas of it are stuck",
    )


def freeze_rollout(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Never scale in a pool whose pods are being replaced: old and new ones are mixed."""
    if not any(context.rollout):
        return target, ""
    return (
        PerRole.of(
            lambda role: (
                max(target[role], context.current[role]) if context.rollout[role] else target[role]
            )
        ),
        "no scale-in during a rollout",
    )


def grow_on_partial_metrics(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Never scale in on metrics that are partly missing or contradict each other."""
    if context.trust is Trust.FULL:
        return target, ""
    return (
        PerRole.of(lambda role: max(target[role], context.current[role])),
        "no scale-in while some of the metrics are missing or contradict each other"
        + "".join(f": {doubt}" for doubt in context.doubts[:1]),
    )


def fit_budget(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Give back what other guards hold above the solve's pair until the GPU budget is kept.

    The solve itself keeps the budget; holding one role's scale-in while the other grows may not.
    """
    budget, source = context.settings.gpu_budget, f": {context.cap.source}" if context.cap else ""
    after = affordable(target, context.wanted, context.gpus_per_replica, budget)
    return after, f"{budget} GPUs are the budget{source}"


def affordable(
    target: PerRole[int], least: PerRole[int], cost: PerRole[int], gpu_budget: int | None
) -> PerRole[int]:
    """Take from `target` what is above `least`, one by one, until the budget is kept."""
    most = math.inf if gpu_budget is None else gpu_budget
    while target.prefill * cost.prefill + target.decode * cost.decode > most:
        surplus = target.zip(least).map(lambda pair: pair[0] - pair[1])
        role = Role.PREFILL if surplus.prefill >= surplus.decode else Role.DECODE
        if surplus[role] <= 0:
            break
        target = target.but(role, target[role] - 1)
    return target


def keep_bounds(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Stay within each role's minimum and maximum."""
    roles = context.settings.roles
    after = PerRole.of(
        lambda role: min(max(target[role], roles[role].min_replicas), roles[role].max_replicas)
    )
    if after == target:
        return target, ""
    limits = [f"{each.min_replicas} to {each.max_replicas} {role}" for role, each in roles.items()]
    return after, f"configured are {' and '.join(limits)} replicas"


def keep_floor(target: PerRole[int], context: Context) -> tuple[PerRole[int], str]:
    """Stay at or above what the workload's own controller tolerates."""
    after = target.zip(context.floor).map(max)
    if after == target:
        return target, ""
    floors = " and ".join(f"{least} {role}" for role, least in context.floor.items())
    return after, f"the workload itself tolerates no less than {floors} replicas"


# The order is part of the meaning: what delays a change comes before what may never be broken.
GUARDS: tuple[Guard, ...] = (
    follow_plan,
    keep_for_queue,
    stabilise_scale_in,
    hold_rise,
    scale_in_by_slots,
    keep_ratio,
    limit_scale_out,
    await_stuck,
    freeze_rollout,
    grow_on_partial_metrics,
    keep_bounds,
    keep_floor,
    fit_budget,
)


def apply(context: Context) -> tuple[PerRole[int], tuple[Limiter, ...]]:
    """Pass the wanted pair through all guards; each one that changed it leaves its mark."""
    target, limiters = context.wanted, []
    for guard in GUARDS:
        after, why = guard(target, context)
        if after != target:
            limiters.append(Limiter(guard.__name__, target, after, why))
        target = after
    return target, tuple(limiters)
