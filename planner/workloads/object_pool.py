"""A pool that one Kubernetes object holds, of whatever kind."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pydantic import Field, NonNegativeFloat, PositiveFloat

from planner.kube import PODS, Json, Kube, KubeError, Target
from planner.workloads.advice import Advice
from planner.workloads.deletion import DeletionOrder, WorkOfPods
from planner.workloads.kind import PoolKind, Reading, UnexpectedShapeError, Write, count, dig
from planner.workloads.patch import is_conflict, patch_of
from planner.workloads.pods import Census, take_census
from planner.workloads.writers import find_autoscaler, find_owner, last_manager
from policies.config import Section
from policies.types import PoolState, Unavailable


class Manners(Section):
    """How a pool treats what is stuck, and who else writes."""

    stuck_after_seconds: PositiveFloat = Field(
        default=180.0,
        le=86_400.0,
        description="a replica unschedulable for longer is no longer counted as future supply",
    )
    respect_change_seconds: NonNegativeFloat = Field(
        default=600.0,
        le=7 * 86_400.0,
        description="a replica count that somebody else has set is left alone for this long",
    )
    watch_autoscalers: bool = Field(
        default=True,
        description="look for an HPA, KEDA ScaledObject or AIBrix PodAutoscaler on the same object",
    )
    mark_pods_to_delete: bool = Field(
        default=True,
        description="before a scale-in, annotate the pods with the least work where the controller "
        "goes by pod-deletion-cost; needs patch on pods",
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """The last look: `version` is the resourceVersion of the object that is written to."""

    found: Json
    reading: Reading
    desired: int
    version: str


class ObjectPool:
    """Reads the object, its scale subresource and its pods; writes with optimistic locking."""

    def __init__(
        self,
        api: Kube,
        kind: PoolKind,
        target: Target,
        manners: Manners,
        work: WorkOfPods | None = None,
    ) -> None:
        self.target = target
        self._api = api
        self._kind = kind
        self._manners = manners
        self._seen: Seen | None = None
        self._known: int | None = None  # the count seen last
        self._asked = deque[int](maxlen=4)  # counts that we wrote lately, answered or not
        self._advice = Advice(manners.respect_change_seconds)
        self._deletion = DeletionOrder(api, work) if manners.mark_pods_to_delete else None
        self._read_at_seconds = 0.0
        self._hands_off: tuple[float, str] | None = None  # until when, and why
        self._other_writer: str | None = None

    async def read(self, now_seconds: float) -> PoolState | Unavailable:
        """Read the object and count its pods."""
        self._seen = None
        self._read_at_seconds = now_seconds
        try:
            seen = await self.look()
            pods = await self.pods(seen)
            self._other_writer = await self._find_writer(seen, now_seconds)
        except (KubeError, UnexpectedShapeError) as error:
            return Unavailable(str(error))
        self._seen = seen
        self._known = seen.desired
        if self._asked and self._asked[-1] == seen.desired:
            self._asked.clear()
        census = take_census(
            pods, seen.reading.pods, now_seconds, self._manners.stuck_after_seconds
        )
        return _state(seen, census, self._other_writer)

    async def scale(self, replicas: int) -> str | None:
        """Write the count; a conflict is retried once, unless somebody else changed the count."""
        if self._other_writer is not None:
            return f"{self.target}: left alone, because of {self._other_writer}"
        try:
            seen = self._seen or await self.look()
            wanted = max(replicas, seen.reading.floor)
            if wanted != seen.desired:
                await self._settle(seen, wanted)
        except (KubeError, UnexpectedShapeError) as error:
            return str(error)
        finally:
            self._seen = None  # the next write rests on a fresh look
        if wanted != replicas:
            return f"{self.target}: kept at its floor of {wanted}, not {replicas}"
        return None

    def advised(self, replicas: int, now_seconds: float) -> None:
        """Hear what was decided, applied or not: whoever does it by hand does not object to it."""
        self._advice.give(replicas, now_seconds)

    @property
    def may_write(self) -> bool:
        """Whether nobody else was found to write it."""
        return self._other_writer is None

    async def look(self) -> Seen:
        """Read the object, and its scale where that is what will be written."""
        found, reading = await self._read_object(self._kind, self.target)
        if not reading.write.via_scale:
            if reading.desired is None:
                raise UnexpectedShapeError(_unset(reading.write))
            version = dig(found, "metadata", "resourceVersion")
            return Seen(found, reading, reading.desired, version)
        scale = await self._api.get(reading.write.target, "scale")
        version = dig(scale, "metadata", "resourceVersion")
        return Seen(found, reading, count(scale, "spec", "replicas"), version)

    async def pods(self, seen: Seen) -> list[Json]:
        """List the pool's pods."""
        return await self._api.find(PODS, self.target.namespace, seen.reading.pods.selector)

    async def before_write(self, seen: Seen, replicas: int) -> None:
        """Remember the count as our own, whether or not an answer arrives; mark who is to go."""
        self._asked.append(replicas)
        surplus = seen.desired - replicas
        if self._deletion is not None and surplus > 0 and seen.reading.by_deletion_cost:
            await self._deletion.mark(await self.pods(seen), surplus, self._read_at_seconds)

    async def _read_object(self, kind: PoolKind, target: Target) -> tuple[Json, Reading]:
        found = await self._api.get(target, kind.read_through)
        child = kind.child(found)
        if child is None:
            return found, kind.reading(found, target)
        _, reading = await self._read_object(child, child.target(target.namespace or ""))
        return found, kind.owning(found, target, reading)

    async def _settle(self, seen: Seen, replicas: int) -> None:
        await self.before_write(seen, replicas)
        try:
            await self._write(seen, replicas)
        except KubeError as error:
            if not is_conflict(error, seen.reading.write):
                raise
            fresh = await self.look()
            if fresh.desired == replicas:
                return
            if fresh.desired != seen.desired:
                raise KubeError(
                    f"{self.target}: left alone, because {last_manager(fresh.found)} changed its "
                    f"replicas from {seen.desired} to {fresh.desired} meanwhile"
                ) from None
            await self._write(fresh, replicas)

    async def _write(self, seen: Seen, replicas: int) -> None:
        write = seen.reading.write
        subresource = "scale" if write.via_scale else ""
        await self._api.patch(write.target, patch_of(write, replicas, seen.version), subresource)

    async def _find_writer(self, seen: Seen, now_seconds: float) -> str | None:
        """An autoscaler on the object, or a change of somebody else's that is still respected."""
        owner = seen.reading.writer or find_owner(seen.found)
        if owner is not None:
            return owner
        if self._manners.watch_autoscalers:
            targets = (self.target, seen.reading.write.target)
            autoscaler = await find_autoscaler(self._api, targets)
            if autoscaler is not None:
                return autoscaler
        if self._changed_by_another(seen.desired, now_seconds):
            until_seconds = now_seconds + self._manners.respect_change_seconds
            why = f"{last_manager(seen.found)} has set its replicas to {seen.desired}"
            self._hands_off = (until_seconds, why)
        if self._hands_off is not None and now_seconds < self._hands_off[0]:
            return self._hands_off[1]
        return None

    def _changed_by_another(self, desired: int, now_seconds: float) -> bool:
        """Whether the count is neither what we saw, nor what we wrote, nor what we advised.

        What we wrote stays ours even when a cache shows the count before it once more.
        """
        if self._known is None:
            return False
        ours = {self._known, *self._asked}
        return desired not in ours and not self._advice.followed(ours, desired, now_seconds)


def _unset(write: Write) -> str:
    """Say that a count is left to a controller, which makes 1, none or what there was of it."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in write.path)
    item = f" (of {write.item_name})" if write.item_name else ""
    return (
        f"{write.target} sets no replicas at {path}{item}, so how many are wanted is unknown; "
        "set the number that is to run, and the planner changes it from there"
    )


def _state(seen: Seen, census: Census, other_writer: str | None) -> PoolState:
    reading = seen.reading
    ready = census.ready if reading.ready is None else reading.ready
    stuck = len(census.stuck) + reading.refused
    # Asked for, and not even a pod yet: its start has just begun.
    awaited = seen.desired - ready - len(census.starting_ages_seconds) - stuck
    return PoolState(
        desired_replicas=seen.desired,
        ready_replicas=ready,
        starting_ages_seconds=census.starting_ages_seconds + (0.0,) * max(0, awaited),
        draining_replicas=census.draining,
        rollout_in_progress=reading.rollout_in_progress,
        stuck_replicas=stuck,
        floor_replicas=reading.floor,
        gpus_per_replica=census.gpus_per_replica
        if reading.gpus_per_replica is None
        else reading.gpus_per_replica,
        pods_per_replica=census.pods_per_replica,
        nodes=census.nodes,
        startup_seconds_p90=census.startup_seconds_p90,
        other_writer=other_writer,
        problems=(*reading.problems, *census.stuck),
    )
