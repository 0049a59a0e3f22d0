"""The GPU budget as the loop asks for it: not at every tick, in time, and closed when it fails."""

from __future__ import annotations

import asyncio

import structlog

from planner.budget import GpuBudget
from policies.types import GpuCap, PerRole, Pools, PoolState

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
        if self._known is not None and now_seconds < self._known[0] + self._every_seconds:
            return self._known[1]
        found = PerRole(prefill, decode)
        gpus = PerRole.of(lambda role: found[role].gpus_per_replica or self._gpus_per_replica[role])
        held = sum(pool.desired_replicas * each for pool, each in found.zip(gpus))
        cap = await self._read(held, max(gpus))
        self._known = (now_seconds, cap) if cap is not None else None
        return cap or GpuCap(held, "nothing new, because the GPU budget could not be read in time")

    async def _read(self, held_gpus: int, gang_gpus: int) -> GpuCap | None:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._budget.read(held_gpus, gang_gpus)
        except TimeoutError:
            log.warning("the GPU budget is too slow", within_seconds=self._deadline_seconds)
        except Exception:
            log.exception("the GPU budget could not be read")
        return None
