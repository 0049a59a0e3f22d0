"""Deployment (apps/v1): one pod is one replica."""

from __future__ import annotations

from typing import ClassVar, Literal

from planner.kube import Json, Resource, Target
from planner.workloads.kind import (
    PodSet,
    PoolKind,
    Reading,
    Write,
    amiss,
    condition,
    count,
    dig,
    pod_gpus,
    selector_text,
)


class Deployment(PoolKind):
    """A Deployment whose pods all serve one role."""

    kind: Literal["Deployment"]
    resource: ClassVar[Resource] = Resource("apps", "v1", "deployments")
    may_mark_pods: ClassVar[bool] = True

    def reading(self, found: Json, target: Target) -> Reading:
        """Read ready pods and rollout.

        A rollout is pods of an older template that still count, so `replicas` above
        `updatedReplicas`. `generation` alone does not tell: a pure scale raises it too.
        """
        desired = count(found, "spec", "replicas")
        held = count(found, "status", "replicas")
        failed = condition(found, "ReplicaFailure")
        rolling = held > count(found, "status", "updatedReplicas")
        paused = rolling and bool(dig(found, "spec", "paused"))
        return Reading(
            desired=desired,
            ready=count(found, "status", "readyReplicas"),
            write=Write(target=target),
            pods=PodSet(selector=selector_text(dig(found, "spec", "selector"))),
            gpus_per_replica=pod_gpus(dig(found, "spec", "template", "spec")),
            rollout_in_progress=rolling,
            # Pods that the API server refuses to create, for quota or admission.
            refused=max(0, desired - held) if failed else 0,
            by_deletion_cost=True,
            # False when it has not got ahead for progressDeadlineSeconds.
            problems=(
                *amiss(found, when_true=("ReplicaFailure",), when_false=("Progressing",)),
                *(("it is paused in a rollout: resume it, else nothing is scaled in",) * paused),
            ),
        )
