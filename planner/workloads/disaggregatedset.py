"""DisaggregatedSet: a role of it is a LeaderWorkerSet per slice."""

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
    asked,
    count,
    dig,
    named_item,
    scale_only,
    status_of,
    times,
)
from planner.workloads.leaderworkerset import LABELS as GROUP_LABELS
from planner.workloads.leaderworkerset import group_gpus, group_size

_GROUP = "disaggregatedset.x-k8s.io"
SCALERS = Resource(_GROUP, "v1", "disaggregatedsetrolescalers")


class DisaggregatedSet(PoolKind):
    """One role of a DisaggregatedSet; a replica is one group in every slice."""

    kind: Literal["DisaggregatedSet"]
    role: str = Field(description="name of the item of .spec.roles")
    resource: ClassVar[Resource] = Resource(_GROUP, "v1", "disaggregatedsets")

    def reading(self, found: Json, target: Target) -> Reading:
        """Read the role; an External role is written through its role scaler."""
        index, role = named_item(found, ("spec", "roles"), self.role)
        slices = int(dig(found, "spec", "slices") or 1)
        status = status_of(found, self.role)
        if dig(role, "scaling", "mode") == "External":
            scaler = Target(SCALERS, target.namespace, f"{target.name}-{self.role}")
            write = Write(target=scaler)
        else:
            write = Write(
                target=target,
                via_scale=False,
                path=("spec", "roles", index, "spec", "replicas"),
                item_name=self.role,
            )
        return Reading(
            desired=asked(role, "spec", "replicas"),
            ready=None,
            write=write,
            pods=PodSet(
                selector=f"{_GROUP}/name={target.name},{_GROUP}/role={self.role}",
                gang_labels=(f"{_GROUP}/revision", f"{GROUP_LABELS}/group-index"),
                pods_per_replica=group_size(role["spec"]) * slices,
            ),
            gpus_per_replica=times(group_gpus(role["spec"]), slices),
            rollout_in_progress=count(status, "replicas") > count(status, "updatedReplicas"),
        )

    def permissions(self) -> tuple[Permission, ...]:
        """Both ways of writing: which one applies is the object's choice."""
        main = Permission(_GROUP, self.resource.plural, ("get", "patch"))
        return main, scale_only(SCALERS)
