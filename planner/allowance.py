"""The GPU budget as the loop asks for it: not at every tick, in time, and closed when it fails."""

from __future__ import annotations

import asyncio

import structlog

from planner.budget import Claim, GpuBudget
from planner.placement import Gang
from policies.types import GpuCap, PerRole, Pools, PoolState, Role

log = structlog.get_logger(__name__)


class Allowance:
    """Reads a budget at most every `every_seconds`; nothing new is granted when that fails."""

    def __init__(
        self,
        budget: GpuBudget,
        gpus_per_replica: PerRole[int],
        *,
        every_seconds: float,
        deadline_seconds: float,
    ) -> None:
        self._budget = budget
        self._gpus_per_replica = gpus_per_replica
        self._every_seconds = every_seconds
        self._deadline_seconds = deadline_seconds
        self._known: tuple[float, GpuCap] | None = None

    async def read(self, pools: Pools, now_seconds: float) -> GpuCap | None:
        """Cap both roles; None while a pool is unknown, because nothing is decided then.

        A total stays right between two readings: what a role gives back, the other may take.
        """
        prefill, decode = pools
        if not (isinstance(prefill, PoolState) and isinstance(decode, PoolState)):
            return None
        if self._known is not None:
            read_at_seconds, known = self._known
            # From the future is no reading of now: the clock was set back.
            if read_at_seconds <= now_seconds < read_at_seconds + self._every_seconds:
                return known
        found = PerRole(prefill, decode)
        claim = Claim(
            replicas=found.map(lambda pool: pool.desired_replicas),
            gangs=PerRole.of(lambda role: self._gang(role, found[role])),
            nodes=prefill.nodes | decode.nodes,
        )
        cap = await self._read(claim)
        self._known = (now_seconds, cap) if cap is not None else None
        return cap or GpuCap(
            claim.gpus, "nothing new, because the GPU budget could not be read in time"
        )

    def _gang(self, role: Role, pool: PoolState) -> Gang:
        """One replica as the cluster shows it; the profile knows its GPUs where the pods do not."""
        gpus = pool.gpus_per_replica or self._gpus_per_replica[role]
        pods = min(pool.pods_per_replica, gpus)
        return Gang(pods, -(-gpus // pods))

    async def _read(self, claim: Claim) -> GpuCap | None:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._budget.read(claim)
        except TimeoutError:
            log.warning("the GPU budget is too slow", within_seconds=self._deadline_seconds)
        except Exception:
            log.exception("the GPU budget could not be read")
        return None
