"""LeaderWorkerSet: one group of `size` pods, a leader and its workers, is one replica."""

from __future__ import annotations

from typing import ClassVar, Literal

from planner.kube import Json, Resource, Target
from planner.workloads.kind import (
    PodSet,
    PoolKind,
    Reading,
    Write,
    condition,
    count,
    dig,
    pod_gpus,
)

LABELS = "leaderworkerset.sigs.k8s.io"


class LeaderWorkerSet(PoolKind):
    """A LeaderWorkerSet whose groups all serve one role."""

    kind: Literal["LeaderWorkerSet"]
    resource: ClassVar[Resource] = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets")

    def reading(self, found: Json, target: Target) -> Reading:
        """Read ready groups; `UpdateInProgress` is about the template and never about a scale."""
        return Reading(
            desired=count(found, "spec", "replicas"),
            ready=count(found, "status", "readyReplicas"),
            write=Write(target=target),
            pods=PodSet(
                selector=f"{LABELS}/name={target.name}",
                gang_labels=(f"{LABELS}/group-index",),
                pods_per_replica=group_size(found["spec"]),
            ),
            gpus_per_replica=group_gpus(found["spec"]),
            starts_after=_start_order(found),
            rollout_in_progress=condition(found, "UpdateInProgress") is not None,
        )


def _start_order(found: Json) -> tuple[str, ...]:
    """With LeaderReady, workers are created only when their leader is ready."""
    return ("its own leader",) if dig(found, "spec", "startupPolicy") == "LeaderReady" else ()


def group_size(spec: Json) -> int:
    """Pods of one group."""
    return int(dig(spec, "leaderWorkerTemplate", "size") or 1)


def group_gpus(spec: Json) -> int | None:
    """GPUs of one group: its leader's, and those of the workers."""
    template = dig(spec, "leaderWorkerTemplate") or {}
    worker = pod_gpus(dig(template, "workerTemplate", "spec"))
    leader_spec = dig(template, "leaderTemplate", "spec")
    leader = pod_gpus(leader_spec) if leader_spec else worker
    workers = group_size(spec) - 1
    if leader is None and (worker is None or workers == 0):
        return None
    return (leader or 0) + (worker or 0) * workers
