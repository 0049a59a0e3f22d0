"""DynamoGraphDeployment: one component of it, with or without a scaling adapter."""

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
    amiss,
    asked,
    condition,
    count,
    dig,
    named_item,
    pod_gpus,
    scale_only,
    times,
)
from planner.workloads.leaderworkerset import LABELS as GROUP_LABELS

_GROUP = "nvidia.com"
_ADAPTERS = "dynamographdeploymentscalingadapters"
_GANG_LABELS = ("grove.io/podcliquescalinggroup-replica-index", f"{GROUP_LABELS}/group-index")


class DynamoGraphDeployment(PoolKind):
    """One component. A replica is `multinode.nodeCount` pods."""

    kind: Literal["DynamoGraphDeployment"]
    component: str = Field(description="name of the component (v1alpha1: of the service)")
    version: Literal["v1beta1", "v1alpha1"] = Field(
        default="v1beta1", description="API version to speak; the server translates"
    )
    resource: ClassVar[Resource] = Resource(_GROUP, "v1beta1", "dynamographdeployments")
    may_mark_pods: ClassVar[bool] = True  # where the operator makes Deployments

    def target(self, namespace: str) -> Target:
        """Return the graph, in the configured version."""
        resource = Resource(_GROUP, self.version, self.resource.plural)
        return Target(resource, self.namespace or namespace, self.name)

    def reading(self, found: Json, target: Target) -> Reading:
        """Read the component; with an adapter, a direct change would be forbidden by a webhook."""
        component, path, adapted = self._component(found)
        status = dig(found, "status", "components", self.component) or {}
        nodes = int(dig(component, "multinode", "nodeCount") or 1)
        adapter = Target(
            Resource(_GROUP, self.version, _ADAPTERS),
            target.namespace,
            f"{target.name}-{self.component.lower()}",
        )
        ready = status.get("readyReplicas", status.get("availableReplicas"))
        return Reading(
            desired=asked(component, "replicas"),
            ready=int(ready) if ready is not None else None,
            write=Write(target=adapter)
            if adapted
            else Write(target=target, via_scale=False, path=path, item_name=self.component),
            pods=PodSet(
                selector=f"{_GROUP}/dynamo-graph-deployment-name={target.name},"
                f"{_GROUP}/dynamo-component={self.component},!{_GROUP}/snapshot-job-uid",
                gang_labels=_GANG_LABELS if nodes > 1 else (),
                pods_per_replica=nodes,
            ),
            gpus_per_replica=status.get("gpusPerReplica") or times(_node_gpus(component), nodes),
            floor=int(component.get("minAvailable") or 1),
            by_deletion_cost=status.get("componentKind") == "Deployment",
            problems=_problems(found),
            rollout_in_progress=dig(found, "status", "rollingUpdate", "phase")
            in {"Pending", "InProgress"}
            or count(status, "replicas") > count(status, "updatedReplicas"),
        )

    def _component(self, found: Json) -> tuple[Json, tuple[str | int, ...], bool]:
        """Return the component, the path of its count, and whether an adapter owns that."""
        if self.version == "v1beta1":
            index, component = named_item(found, ("spec", "components"), self.component)
            path = ("spec", "components", index, "replicas")
            return component, path, component.get("scalingAdapter") is not None
        services = dig(found, "spec", "services")
        component = dig(found, "spec", "services", self.component)
        if not isinstance(component, dict):
            names = ", ".join(services) if isinstance(services, dict) else "none"
            raise UnexpectedShapeError(
                f"{self.name}: .spec.services has no {self.component}; there are: {names}"
            )
        adapter = component.get("scalingAdapter") or {}
        return (
            component,
            ("spec", "services", self.component, "replicas"),
            bool(adapter.get("enabled")),
        )

    def permissions(self) -> tuple[Permission, ...]:
        """Both ways of writing: which one applies is the object's choice."""
        main = Permission(_GROUP, self.resource.plural, ("get", "patch"))
        return main, scale_only(Resource(_GROUP, self.version, _ADAPTERS))


def _problems(found: Json) -> tuple[str, ...]:
    """Trouble that waiting does not mend; a graph whose pods still start is only not ready."""
    no_levels = amiss(found, when_false=("TopologyLevelsAvailable",))
    ready = condition(found, "Ready", "False") or {}
    if ready.get("reason") != "insufficient_capacity":
        return no_levels
    return (*no_levels, *amiss(found, when_false=("Ready",)))


def _node_gpus(component: Json) -> int | None:
    short = dig(component, "resources", "limits", "gpu")  # v1alpha1
    return int(short) if short else pod_gpus(dig(component, "podTemplate", "spec"))
