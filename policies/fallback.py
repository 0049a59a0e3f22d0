"""What to run when nothing has been known about demand for too long."""

from __future__ import annotations

from policies.config import PolicySettings
from policies.guards import affordable
from policies.types import Decision, Hold, Limiter, PerRole


def decide_blind(
    hold: Hold,
    current: PerRole[int],
    blind_seconds: float | None,
    settings: PolicySettings,
    gpus_per_replica: PerRole[int],
    now_seconds: float,
) -> Decision:
    """Hold; once blind for longer than configured, raise each pool to its fallback size.

    Never lowers a pool: with a fallback of 4 a pool of 6 stays at 6. Nor does it raise one beyond
    the GPU budget. None for `blind_seconds` means that demand was never known, so that nothing says
    how long ago it changed.
    """
    limit = settings.guards.fallback_after_seconds
    fallback = settings.roles.map(lambda role: min(role.fallback_replicas or 0, role.max_replicas))
    target = PerRole.of(lambda role: max(fallback[role], current[role]))
    target = affordable(target, current, gpus_per_replica, settings.gpu_budget)
    due = limit is not None and blind_seconds is not None and blind_seconds > limit
    if not due or target == current:
        return Decision(decided_at_seconds=now_seconds, current=current, target=current, hold=hold)
    why = f"demand has been unknown for {blind_seconds:.0f} s: {hold.detail}"
    return Decision(
        decided_at_seconds=now_seconds,
        current=current,
        target=target,
        limiters=(Limiter("fallback", current, target, why),),
        notes=(why,),
    )
