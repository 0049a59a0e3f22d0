"""Any resource with a scale subresource, by group, version and plural."""

from __future__ import annotations

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
    count,
    dig,
    scale_only,
)


class AnyScalable(PoolKind):
    """Knows only what `autoscaling/v1 Scale` says, so a rollout of it cannot be told."""

    kind: Literal["scale"]
    group: str = Field(description='API group, such as apps; "" is the core group')
    version: str = Field(description="API version, such as v1")
    plural: str = Field(description="plural name as in URLs, such as deployments")
    gpus_per_replica: int | None = Field(
        default=None, ge=0, description="GPUs of one replica; unset: read from its pods"
    )
    gang_label: str | None = Field(
        default=None, description="label that tells one replica's pods from another's"
    )
    read_through: ClassVar[str] = "scale"

    def target(self, namespace: str) -> Target:
        """Return the object that the configuration describes."""
        resource = Resource(self.group, self.version, self.plural)
        return Target(resource, self.namespace or namespace, self.name)

    def reading(self, found: Json, target: Target) -> Reading:
        """Read a Scale; its selector is what pods are found by."""
        selector = dig(found, "status", "selector")
        if not selector:
            raise UnexpectedShapeError(
                f"{target}: its scale subresource names no selector, so its pods cannot be found"
            )
        return Reading(
            desired=count(found, "spec", "replicas"),
            ready=None,
            write=Write(target=target),
            pods=PodSet(
                selector=str(selector), gang_labels=(self.gang_label,) if self.gang_label else ()
            ),
            gpus_per_replica=self.gpus_per_replica,
        )

    def permissions(self) -> tuple[Permission, ...]:
        """Only the scale subresource."""
        return (scale_only(Resource(self.group, self.version, self.plural)),)
