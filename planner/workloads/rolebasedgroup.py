"""RoleBasedGroup: one role of it, with or without a scaling adapter."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from planner.kube import Json, Resource, Target
from planner.workloads.kind import (
    Permission,
    PodSet,
    PoolKind,
    Reading,
    Write,
    condition,
    count,
    dig,
    named_item,
    pod_gpus,
    scale_only,
    status_of,
    times,
)

_GROUP = "workloads.x-k8s.io"
_LABELS = "rbg.workloads.x-k8s.io"
ADAPTERS = Resource(_GROUP, "v1alpha2", "rolebasedgroupscalingadapters")


class RoleBasedGroup(PoolKind):
    """One role; a replica is `leaderWorkerPattern.size` pods."""

    kind: Literal["RoleBasedGroup"]
    role: str = Field(description="name of the item of .spec.roles")
    resource: ClassVar[Resource] = Resource(_GROUP, "v1alpha2", "rolebasedgroups")

    def reading(self, found: Json, target: Target) -> Reading:
        """Read the role; replicas must stay above a rolling update's partition."""
        index, role = named_item(found, ("spec", "roles"), self.role)
        size = int(dig(role, "leaderWorkerPattern", "size") or 1)
        partition = count(role, "rolloutStrategy", "rollingUpdate", "partition")
        adapter = Target(ADAPTERS, target.namespace, f"{target.name}-{self.role}")
        path = ("spec", "roles", index, "replicas")
        return Reading(
            desired=int(role.get("replicas", 1)),
            ready=count(status_of(found, self.role), "readyReplicas"),
            write=Write(target=adapter)
            if dig(role, "scalingAdapter", "enable")
            else Write(target=target, via_scale=False, path=path, item_name=self.role),
            pods=PodSet(
                selector=f"{_LABELS}/group-name={target.name},{_LABELS}/role-name={self.role}",
                gang_labels=(f"{_LABELS}/role-instance-name",) if size > 1 else (),
                pods_per_replica=size,
            ),
            gpus_per_replica=times(pod_gpus(dig(role, "template", "spec")), size),
            floor=partition + 1,
            starts_after=tuple(role.get("dependencies") or ()),
            rollout_in_progress=condition(found, "RollingUpdateInProgress") is not None,
        )

    def permissions(self) -> tuple[Permission, ...]:
        """Both ways of writing: which one applies is the object's choice."""
        main = Permission(_GROUP, self.resource.plural, ("get", "patch"))
        return main, scale_only(ADAPTERS)
