"""AIBrix StormService: one role of it (pool mode), or all of it (replica mode)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from planner.kube import Json, Resource, Target
from planner.workloads.kind import (
    Permission,
    PodSet,
    PoolKind,
    Reading,
    UnexpectedShapeError,
    Write,
    amiss,
    asked,
    count,
    dig,
    named_item,
    pod_gpus,
    scale_only,
    status_of,
    times,
)

_ROLES = ("spec", "template", "spec", "roles")
_REPLICA_INDEX = "stormservice.orchestration.aibrix.ai/role-replica-index"


class StormService(PoolKind):
    """With `role`: that role of the one RoleSet. Without: whole RoleSets."""

    kind: Literal["StormService"]
    role: str | None = Field(
        default=None, description="role to scale (pool mode); unset: scale whole RoleSets"
    )
    resource: ClassVar[Resource] = Resource("orchestration.aibrix.ai", "v1alpha1", "stormservices")

    def reading(self, found: Json, target: Target) -> Reading:
        """Read the role or the whole; two revisions at once are a rollout."""
        rolling = dig(found, "status", "currentRevision") != dig(found, "status", "updateRevision")
        paused = ("it is paused: the controller does not act",)
        failed = amiss(found, when_true=("ReplicaFailure",))
        problems = (*paused, *failed) if dig(found, "spec", "paused") else failed
        if self.role is not None:
            return self._role(self.role, found, target, rolling=rolling, problems=problems)
        return Reading(
            desired=count(found, "spec", "replicas"),
            ready=count(found, "status", "readyReplicas"),
            write=Write(target=target),
            pods=PodSet(
                selector=f"storm-service-name={target.name}", gang_labels=("roleset-name",)
            ),
            rollout_in_progress=rolling,
            problems=problems,
        )

    def _role(
        self, name: str, found: Json, target: Target, *, rolling: bool, problems: tuple[str, ...]
    ) -> Reading:
        sets = count(found, "spec", "replicas")
        if sets != 1:
            raise UnexpectedShapeError(
                f"{target.name} has {sets} RoleSets, so a role's replicas would count {sets} times;"
                " set .spec.replicas to 1, or leave `role` out to scale whole RoleSets"
            )
        index, role = named_item(found, _ROLES, name)
        size = int(role.get("podGroupSize") or 1)
        return Reading(
            desired=asked(role, "replicas"),
            ready=count(status_of(found, name), "readyReplicas"),
            write=Write(
                target=target, via_scale=False, path=(*_ROLES, index, "replicas"), item_name=name
            ),
            pods=PodSet(
                selector=f"storm-service-name={target.name},role-name={name}",
                gang_labels=(_REPLICA_INDEX,) if size > 1 else (),
                pods_per_replica=size,
            ),
            gpus_per_replica=times(pod_gpus(dig(role, "template", "spec")), size),
            floor=max(1, math.ceil(_least_pods(role) / size)),
            rollout_in_progress=rolling,
            problems=problems,
        )

    def permissions(self) -> tuple[Permission, ...]:
        """Patch the object for a role, its scale subresource for the whole."""
        verbs = ("get",) if self.role is None else ("get", "patch")
        main = Permission(self.resource.group, self.resource.plural, verbs)
        return (main, scale_only(self.resource)) if self.role is None else (main,)


def _least_pods(role: Json) -> int:
    """Pods below which a gang scheduler would leave the role unscheduled."""
    strategies = role.get("schedulingStrategy") or {}
    return max((count(each, "minMember") for each in strategies.values() if each), default=0)
