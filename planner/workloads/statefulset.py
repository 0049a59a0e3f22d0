"""StatefulSet (apps/v1): one pod is one replica; scale-in removes the highest ordinal."""

from __future__ import annotations

from typing import ClassVar, Literal

from planner.kube import Json, Resource, Target
from planner.workloads.kind import (
    PodSet,
    PoolKind,
    Reading,
    Write,
    count,
    dig,
    pod_gpus,
    selector_text,
)


class StatefulSet(PoolKind):
    """A StatefulSet whose pods all serve one role."""

    kind: Literal["StatefulSet"]
    resource: ClassVar[Resource] = Resource("apps", "v1", "statefulsets")

    def reading(self, found: Json, target: Target) -> Reading:
        """Read ready pods and rollout: two revisions at once, which a pure scale never makes."""
        current = dig(found, "status", "currentRevision")
        return Reading(
            desired=count(found, "spec", "replicas"),
            ready=count(found, "status", "readyReplicas"),
            write=Write(target=target),
            pods=PodSet(selector=selector_text(dig(found, "spec", "selector"))),
            gpus_per_replica=pod_gpus(dig(found, "spec", "template", "spec")),
            rollout_in_progress=current != dig(found, "status", "updateRevision"),
        )
