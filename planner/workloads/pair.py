"""Two pools as one workload: read side by side, written in the order that never starves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from planner.journal import Record
from planner.kube import Kube
from planner.ports import WriteFailure
from planner.workloads.pool import ScalablePool
from policies.types import PerRole, Pools, PoolState, Role, Unavailable

_NEVER_READ = Unavailable("it was never read")


class Together(Protocol):
    """A way to write both counts in one request."""

    async def applies(self, target: PerRole[int]) -> bool:
        """Whether this change can be written that way."""

    async def scale(self, target: PerRole[int]) -> str | None:
        """Write it; None when done, else why not."""


class PairedWorkload:
    """Prefill and decode as one. Writes only what differs from what was read last."""

    def __init__(
        self, api: Kube, pools: PerRole[ScalablePool], together: Together | None = None
    ) -> None:
        self._api = api
        self._pools = pools
        self._together = together
        self._last: Pools = PerRole(_NEVER_READ, _NEVER_READ)

    async def read(self, now_seconds: float) -> Pools:
        """Read both pools at the same time."""
        prefill, decode = await asyncio.gather(*(pool.read(now_seconds) for pool in self._pools))
        self._last = PerRole(prefill, decode)
        return self._last

    async def scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        """Scale out before in, so that capacity moves between roles without a dip.

        A scale-in is left out when a scale-out failed: the pair was sized as one, and half of it
        would be smaller than both the old pair and the new one. The next tick decides afresh.
        """
        failures = [
            WriteFailure(role, f"not scaled: {pool.why}")
            for role, pool in self._last.items()
            if isinstance(pool, Unavailable)
        ]
        order = _in_order(self._last, target)
        if self._together and len(order) == len(Role) and await self._together.applies(target):
            why = await self._together.scale(target)
            if why is not None:
                return tuple(WriteFailure(role, why) for role in order)
            for role in order:
                self._remember(role, target[role])
            return ()
        short = bool(failures)
        for role in order:
            grows = target[role] > _desired(self._last[role])
            if short and not grows:
                failures.append(
                    WriteFailure(role, "not scaled in: the other role could not be scaled first")
                )
                continue
            why = await self._pools[role].scale(target[role])
            if why is None:
                self._remember(role, target[role])
            else:
                failures.append(WriteFailure(role, why))
                short = short or grows
        return tuple(failures)

    def heed(self, record: Record) -> None:
        """Tell the pools what a tick decided; fits the loop as a listener."""
        decision = record.decision
        for role, replicas in decision.target.items() if decision.target else ():
            self._pools[role].advised(replicas, decision.decided_at_seconds)

    async def close(self) -> None:
        """Close the connection to the API server."""
        await self._api.close()

    def _remember(self, role: Role, replicas: int) -> None:
        pool = self._last[role]
        if isinstance(pool, PoolState):
            self._last = self._last.but(role, replace(pool, desired_replicas=replicas))


def _desired(pool: PoolState | Unavailable) -> int:
    return pool.desired_replicas if isinstance(pool, PoolState) else 0


def _in_order(last: Pools, target: PerRole[int]) -> list[Role]:
    """Roles to write: the largest relative growth first, for that role is the bottleneck.

    Prefill 4 -> 3 and decode 4 -> 6: decode (x 1.5), then prefill (x 0.75).
    """
    growth = {
        role: target[role] / max(pool.desired_replicas, 1)
        for role, pool in last.items()
        if isinstance(pool, PoolState) and pool.desired_replicas != target[role]
    }
    return sorted(growth, key=lambda role: growth[role], reverse=True)
