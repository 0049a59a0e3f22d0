"""Who else sets the replicas of an object: autoscalers that name it as their target."""

from __future__ import annotations

from planner.kube import FIELD_MANAGER, Json, Kube, KubeError, Resource, Target
from planner.workloads.kind import Permission, dig

# KEDA and Grove act through HPAs that they make; the ScaledObject is the better name for KEDA's.
_AUTOSCALERS = (
    (Resource("keda.sh", "v1alpha1", "scaledobjects"), "KEDA ScaledObject"),
    (Resource("autoscaling.aibrix.ai", "v1alpha1", "podautoscalers"), "AIBrix PodAutoscaler"),
    (Resource("autoscaling", "v2", "horizontalpodautoscalers"), "HorizontalPodAutoscaler"),
)
# Controllers that write the count of what they own, and undo a change of it in silence. A
# PodCliqueSet does not, and an LLMInferenceService only where it sets replicas itself.
_OWNERS = frozenset(
    {
        "DisaggregatedSet",
        "DynamoComponentDeployment",
        "DynamoGraphDeployment",
        "LeaderWorkerSet",
        "PodCliqueScalingGroup",
        "PodSet",
        "RoleBasedGroup",
        "RoleInstanceSet",
        "RoleSet",
        "StormService",
    }
)
PERMISSIONS = tuple(
    Permission(resource.group, resource.plural, ("list",)) for resource, _ in _AUTOSCALERS
)


def find_owner(found: Json) -> str | None:
    """Name the controller that owns the object's count; it is the one to configure instead."""
    for owner in dig(found, "metadata", "ownerReferences") or []:
        if owner.get("controller") and owner.get("kind") in _OWNERS:
            return f"its owner {owner['kind']} {owner.get('name')}, which is the one to configure"
    return None


async def find_autoscaler(api: Kube, targets: tuple[Target, ...]) -> str | None:
    """Name the autoscaler of any of the objects; KubeError when it may not look.

    An autoscaler's API that is not installed holds none.
    """
    for resource, label in _AUTOSCALERS:
        try:
            found = await api.find(resource, targets[0].namespace)
        except KubeError as error:
            if error.status == 404:
                continue
            raise
        for each in found:
            for target in targets:
                if await _aims_at(api, each, target):
                    return f"{label} {dig(each, 'metadata', 'name')}"
    return None


async def _aims_at(api: Kube, autoscaler: Json, target: Target) -> bool:
    """Compare names and kinds; `Deployment` is KEDA's default kind.

    The server is asked for the kind only where the names are the same, and once.
    """
    reference = dig(autoscaler, "spec", "scaleTargetRef") or {}
    if reference.get("name") != target.name:
        return False
    return str(reference.get("kind") or "Deployment") == await api.kind_of(target.resource)


def last_manager(found: Json) -> str:
    """Name who wrote a count that is not ours, as the server has recorded it.

    When the newest writer goes by our own name, it is a second planner.
    """
    fields = dig(found, "metadata", "managedFields") or []
    writers = [
        (str(each.get("time") or ""), each.get("manager") != FIELD_MANAGER, str(each["manager"]))
        for each in fields
        if each.get("manager")
        and (each.get("subresource") == "scale" or "f:replicas" in str(each.get("fieldsV1")))
    ]
    if not writers:
        return "somebody"
    _, not_us, name = max(writers)
    return name if not_us else f"another {FIELD_MANAGER}"
