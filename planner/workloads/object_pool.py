"""A pool that one Kubernetes object holds, of whatever kind."""

from __future__ import annotations

from dataclasses import dataclass

from planner.kube import PODS, Json, Kube, KubeError, Target
from planner.workloads.kind import PoolKind, Reading, UnexpectedShapeError, Write, count, dig
from planner.workloads.pods import take_census
from policies.types import PoolState, Unavailable


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last look: `version` is the resourceVersion of the object that is written to."""

    reading: Reading
    desired: int
    version: str


class ObjectPool:
    """Reads the object, its scale subresource and its pods; writes with optimistic locking."""

    def __init__(
        self, api: Kube, kind: PoolKind, target: Target, *, stuck_after_seconds: float
    ) -> None:
        self._api = api
        self._kind = kind
        self._target = target
        self._stuck_after_seconds = stuck_after_seconds
        self._seen: _Seen | None = None

    async def read(self, now_seconds: float) -> PoolState | Unavailable:
        """Read the object and count its pods."""
        self._seen = None
        try:
            seen = await self._look()
            pod_set = seen.reading.pods
            pods = await self._api.find(PODS, self._target.namespace, pod_set.selector)
        except (KubeError, UnexpectedShapeError) as error:
            return Unavailable(str(error))
        self._seen = seen
        census = take_census(pods, pod_set, now_seconds, self._stuck_after_seconds)
        reading = seen.reading
        ready = census.ready if reading.ready is None else reading.ready
        known = ready + len(census.starting_ages_seconds) + len(census.stuck)
        # Asked for, and not even a pod yet: its start has just begun.
        awaited = (0.0,) * max(0, seen.desired - known - reading.refused)
        return PoolState(
            desired_replicas=seen.desired,
            ready_replicas=ready,
            starting_ages_seconds=census.starting_ages_seconds + awaited,
            draining_replicas=census.draining,
            rollout_in_progress=reading.rollout_in_progress,
        )

    async def scale(self, replicas: int) -> str | None:
        """Write the count; a conflict is retried once, unless somebody else changed the count."""
        seen = self._seen
        try:
            if seen is None:
                seen = await self._look()
            if replicas < seen.reading.floor:
                return f"{self._target}: {replicas} is below its floor of {seen.reading.floor}"
            try:
                await self._write(seen, replicas)
            except KubeError as error:
                if not _is_conflict(error, seen.reading.write):
                    raise
                fresh = await self._look()
                if fresh.desired == replicas:
                    return None
                if fresh.desired != seen.desired:
                    return (
                        f"{self._target}: left alone, because somebody else changed its replicas "
                        f"from {seen.desired} to {fresh.desired} meanwhile"
                    )
                await self._write(fresh, replicas)
        except (KubeError, UnexpectedShapeError) as error:
            return str(error)
        finally:
            self._seen = None  # the next write rests on a fresh look
        return None

    async def close(self) -> None:
        """Close the connection to the API server."""
        await self._api.close()

    async def _look(self) -> _Seen:
        found = await self._api.get(self._target)
        reading = self._kind.reading(found, self._target)
        if not reading.write.via_scale:
            return _Seen(reading, reading.desired, dig(found, "metadata", "resourceVersion"))
        scale = await self._api.get(reading.write.target, "scale")
        return _Seen(
            reading, count(scale, "spec", "replicas"), dig(scale, "metadata", "resourceVersion")
        )

    async def _write(self, seen: _Seen, replicas: int) -> None:
        write = seen.reading.write
        await self._api.patch(
            write.target,
            patch_of(write, replicas, seen.version),
            "scale" if write.via_scale else "",
        )


def _is_conflict(error: KubeError, write: Write) -> bool:
    """A JSON patch whose test fails is answered 422: the list was reordered meanwhile."""
    return error.status == 409 or (error.status == 422 and write.in_list)


def patch_of(write: Write, replicas: int, version: str) -> Json | list[Json]:
    """Build the patch that sets `replicas` and fails with 409 on any `version` but this."""
    if write.in_list:
        pointer = "/" + "/".join(map(str, write.path))
        item = pointer.rsplit("/", 1)[0]
        return [
            {"op": "test", "path": f"{item}/name", "value": write.item_name},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": pointer, "value": replicas},
        ]
    body: Json = {str(write.path[-1]): replicas}
    for step in reversed(write.path[:-1]):
        body = {str(step): body}
    return {"metadata": {"resourceVersion": version}, **body}
