"""Both roles in one request, where one object holds both counts: no half of a pair can remain."""

from __future__ import annotations

from dataclasses import dataclass

from planner.kube import Kube, KubeError
from planner.workloads.kind import UnexpectedShapeError
from planner.workloads.object_pool import ObjectPool, Seen
from planner.workloads.patch import is_conflict, patch_of, together
from policies.types import PerRole


@dataclass(frozen=True, slots=True)
class JointWrite:
    """Two pools of one object."""

    api: Kube
    pools: PerRole[ObjectPool]

    async def scale(self, target: PerRole[int]) -> str | None:
        """Write both counts at once; a conflict is retried once on a fresh look."""
        try:
            seen = await self._look()
            try:
                await self._write(seen, target)
            except KubeError as error:
                if not is_conflict(error, seen.prefill.reading.write):
                    raise
                fresh = await self._look()
                if _desired(fresh) != _desired(seen):
                    raise
                await self._write(fresh, target)
        except (KubeError, UnexpectedShapeError) as error:
            return str(error)
        return None

    async def applies(self, target: PerRole[int]) -> bool:
        """Whether both change, nobody else writes them, and one patch can hold both."""
        try:
            seen = await self._look()
        except (KubeError, UnexpectedShapeError):
            return False
        writes = seen.map(lambda each: each.reading.write)
        return (
            not any(write.via_scale for write in writes)
            and writes.prefill.target == writes.decode.target
            and all(pool.may_write for pool in self.pools)
            and all(
                wanted != each.desired and wanted >= each.reading.floor
                for each, wanted in seen.zip(target)
            )
        )

    async def _look(self) -> PerRole[Seen]:
        return PerRole(await self.pools.prefill.look(), await self.pools.decode.look())

    async def _write(self, seen: PerRole[Seen], target: PerRole[int]) -> None:
        for role, pool in self.pools.items():
            await pool.before_write(seen[role], target[role])
        one, other = (
            patch_of(each.reading.write, replicas, each.version)
            for each, replicas in seen.zip(target)
        )
        await self.api.patch(seen.prefill.reading.write.target, together(one, other))


def _desired(seen: PerRole[Seen]) -> PerRole[int]:
    return seen.map(lambda each: each.desired)
