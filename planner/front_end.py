"""The front end's turn in a tick: read, sized by the request rate, and scaled, beside the pair."""

from __future__ import annotations

from dataclasses import dataclass

from planner.workloads.pool import ScalablePool
from policies.config import PolicySettings
from policies.memory import Memory
from policies.profile import Profile
from policies.router import Router, RouterDecision, Sizes
from policies.types import Observation, PoolState, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterTick:
    """What was found and decided, and what came of it; `failure` says why a write failed."""

    pool: PoolState | Unavailable
    decision: RouterDecision
    applied: bool = False
    failure: str | None = None


class FrontEnd:
    """One pool and how it is sized. Whatever happens to it, the pair is scaled all the same."""

    def __init__(self, pool: ScalablePool, router: Router) -> None:
        self._pool = pool
        self._router = router
        self._sizes: Sizes = ()

    async def turn(
        self, observation: Observation, memory: Memory, now_seconds: float, *, act: bool
    ) -> RouterTick:
        """Read, decide, and act if told to; `memory` is the pair's, of this tick."""
        pool = await self._pool.read(now_seconds)
        decision, self._sizes = self._router.decide(
            observation, pool, memory, self._sizes, now_seconds
        )
        if decision.target is not None:
            self._pool.advised(decision.target, now_seconds)
        if not (act and decision.changes and decision.target is not None):
            return RouterTick(pool=pool, decision=decision)
        failure = await self._pool.scale(decision.target)
        return RouterTick(pool=pool, decision=decision, applied=True, failure=failure)


def make_front_end(
    pool: ScalablePool | None, profile: Profile, settings: PolicySettings
) -> FrontEnd | None:
    """Attach a front end, if there is one and a way to size it."""
    if pool is None or settings.router is None:
        return None
    return FrontEnd(pool, Router(profile, settings, settings.router))
