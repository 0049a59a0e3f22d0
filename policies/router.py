"""The size of a front end: a third pool, which requests per second decide and no GPU.

It is attached to the pair and not coupled with it: a front end that is too large costs little, and
one that is too small shows in no capacity model of the pools behind it. So it has a decision of
its own, with the same typed reasons, and keeps to the same guards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from policies.config import PolicySettings, RouterSettings
from policies.demand import rate_of
from policies.guards import steadied
from policies.memory import Memory
from policies.profile import Profile
from policies.types import Hold, HoldReason, Observation, PoolState, Trust, Unavailable

NAME = "router"


@dataclass(frozen=True, slots=True)
class RouterLimiter:
    """One guard's mark: it changed `before` into `after`, because of `why`."""

    name: str
    before: int
    after: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDecision:
    """What to run in front of the pair; `target` is the current size on a hold.

    `requests_per_second` is what it is sized for, `raw` the size before any guard.
    """

    decided_at_seconds: float
    current: int | None
    target: int | None
    requests_per_second: float | None = None
    raw: int | None = None
    hold: Hold | None = None
    limiters: tuple[RouterLimiter, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether applying this decision would change a replica count."""
        return self.hold is None


# Sizes that the rate asked for, (time, replicas), as far back as the scale-in window goes. None
# after a restart: the size found is then all that is known to be needed.
Sizes = tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class Router:
    """Sizes the front end. Pure: the same arguments give the same decision."""

    profile: Profile
    settings: PolicySettings
    router: RouterSettings

    def decide(
        self,
        observation: Observation,
        pool: PoolState | Unavailable,
        memory: Memory,
        sizes: Sizes,
        now_seconds: float,
    ) -> tuple[RouterDecision, Sizes]:
        """Decide what should run now; return it with the sizes for the next tick.

        `memory` is the pair's: its forecast is the front end's as well. Unknown demand and an
        unknown pool are holds, and neither can scale in.
        """
        if isinstance(pool, Unavailable):
            return _hold(Hold(HoldReason.POOL_UNKNOWN, pool.why), None, now_seconds), sizes
        guards, current = self.settings.guards, pool.desired_replicas
        if (not_ours := _out_of_hand(pool)) is not None:
            return _hold(not_ours, current, now_seconds), sizes
        rate = rate_of(observation, guards.stale_after_seconds, now_seconds)
        if isinstance(rate, Hold):
            return _hold(rate, current, now_seconds), sizes
        peak = coming_rate(rate, memory, self.profile)
        wanted = max(1, math.ceil(peak / self.router.requests_per_second_per_replica))
        oldest = now_seconds - guards.scale_in_window_seconds
        known = [each for each in sizes if oldest < each[0] <= now_seconds] or [
            (now_seconds, current)
        ]
        sizes = (*known, (now_seconds, wanted))
        recent = [replicas for at, replicas in sizes if at > oldest]  # none, if the window is 0
        bounds = _bounds(pool, recent, self.settings, self.router, observation.trust)
        target, limiters, reason = wanted, list[RouterLimiter](), HoldReason.ALREADY_RIGHT
        for bound in bounds:
            after = bound.change(target)
            if after != target:
                limiters.append(RouterLimiter(bound.name, target, after, bound.why))
                target, reason = after, bound.reason
        why = limiters[-1].why if limiters else "the front end already has the size wanted"
        decision = RouterDecision(
            decided_at_seconds=now_seconds,
            current=current,
            target=target,
            requests_per_second=peak,
            raw=wanted,
            hold=Hold(reason, why) if target == current else None,
            limiters=tuple(limiters),
        )
        return decision, sizes


def coming_rate(rate: float, memory: Memory, profile: Profile) -> float:
    """Requests per second at the peak that the pair is sized for, and never less than now.

    The forecast is of prefill work, in replica-seconds per second: over the work of one request
    of the last known shape it is a rate. Example: 3.0 at 0.02 a request are 150 requests/s.
    """
    upper = memory.trackers[0].forecast.upper if memory.trackers else None
    if upper is None or math.isnan(upper) or memory.shape is None:
        return rate
    each = memory.shape.load_of(profile, 1.0).prefill_erlangs
    return max(rate, upper / each) if each > 0 else rate


@dataclass(frozen=True, slots=True)
class _Bound:
    name: str
    reason: HoldReason
    change: Callable[[int], int]
    why: str


def _bounds(
    pool: PoolState,
    recent: list[int],
    settings: PolicySettings,
    router: RouterSettings,
    trust: Trust,
) -> tuple[_Bound, ...]:
    """The guards of the pair that concern one pool, in their order: delays, then limits."""
    return (*_delays(pool, recent, settings, trust), *_limits(pool, router))


def _delays(
    pool: PoolState, recent: list[int], settings: PolicySettings, trust: Trust
) -> tuple[_Bound, ...]:
    """What puts a change off."""
    current, step = pool.desired_replicas, settings.guards.max_scale_out_replicas
    window = settings.guards.scale_in_window_seconds
    return (
        _Bound(
            "stabilise_scale_in",
            HoldReason.SCALE_IN_STABILISING,
            lambda n: steadied(n, current, recent),
            f"more was wanted within the last {window:g} s",
        ),
        _Bound(
            "limit_scale_out",
            HoldReason.SCALE_OUT_LIMIT,
            lambda n: n if step is None else min(n, current + step),
            f"at most {step} replicas more in one decision",
        ),
        _Bound(
            "await_stuck",
            HoldReason.REPLICAS_STUCK,
            lambda n: min(n, current) if pool.stuck_replicas else n,
            "no scale-out while replicas are stuck",
        ),
        _Bound(
            "freeze_rollout",
            HoldReason.ROLLOUT_IN_PROGRESS,
            lambda n: max(n, current) if pool.rollout_in_progress else n,
            "no scale-in during a rollout",
        ),
        _Bound(
            "grow_on_partial_metrics",
            HoldReason.METRICS_PARTIAL,
            lambda n: n if trust is Trust.FULL else max(n, current),
            "no scale-in while some of the metrics are missing or contradict each other",
        ),
    )


def _limits(pool: PoolState, router: RouterSettings) -> tuple[_Bound, ...]:
    """What may never be broken."""
    return (
        _Bound(
            "keep_bounds",
            HoldReason.BOUNDS,
            lambda n: min(max(n, router.min_replicas), router.max_replicas),
            f"configured are {router.min_replicas} to {router.max_replicas} replicas",
        ),
        _Bound(
            "keep_floor",
            HoldReason.FLOOR,
            lambda n: max(n, pool.floor_replicas),
            f"the workload itself tolerates no less than {pool.floor_replicas} replicas",
        ),
    )


def _out_of_hand(pool: PoolState) -> Hold | None:
    """Why the pool is not ours to scale, whatever the demand."""
    if pool.other_writer is not None:
        return Hold(HoldReason.OTHER_WRITER, pool.other_writer)
    if pool.desired_replicas == 0:
        why = "it stands at 0 replicas: whoever scaled it there must scale it up again"
        return Hold(HoldReason.SCALED_TO_ZERO, why)
    return None


def _hold(hold: Hold, current: int | None, now_seconds: float) -> RouterDecision:
    return RouterDecision(
        decided_at_seconds=now_seconds, current=current, target=current, hold=hold
    )
