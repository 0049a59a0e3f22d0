"""What every kind of workload says about itself: a configured name, and how to read its object."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from planner.kube import Json, Resource, Target
from policies.config import Section

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "habana.ai/gaudi")


class UnexpectedShapeError(Exception):
    """An object lacks what its kind must have; says what was found and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Where a replica count is written.

    Through the scale subresource unless `via_scale` is False; then `path` leads to the count in
    the object itself. A path through a list, such as ("spec", "roles", 1, "replicas"), is written
    as a JSON patch that first tests that the item still carries `item_name`.
    """

    target: Target
    via_scale: bool = True
    path: tuple[str | int, ...] = ("spec", "replicas")
    item_name: str | None = None

    @property
    def in_list(self) -> bool:
        """Whether the count is inside a list item."""
        return any(isinstance(step, int) for step in self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSet:
    """Which pods make up the pool, and which of them form one replica.

    `gang_labels` are the labels whose values tell one replica's pods from another's; with none,
    every pod is a replica. `size_variable` is the environment variable by which pods themselves
    tell how many make up a replica, where the object does not.
    """

    selector: str
    gang_labels: tuple[str, ...] = ()
    pods_per_replica: int = 1
    size_variable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an object says about the pool that it holds.

    `desired` is None where the object leaves the count to its controller: unknown, and not 0.
    `ready` is None where the object does not count whole replicas: the pods are counted then.
    `refused` replicas were asked for and cannot even be created. `writer` names another autoscaler
    that the object itself configures. `by_deletion_cost` says that its controller asks the pods'
    annotation whom a scale-in deletes. `starts_after` names what a replica waits for while it
    starts; the wait is part of its lead time.
    """

    desired: int | None
    ready: int | None
    write: Write
    pods: PodSet
    gpus_per_replica: int | None = None
    floor: int = 1
    rollout_in_progress: bool = False
    refused: int = 0
    writer: str | None = None
    by_deletion_cost: bool = False
    starts_after: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Permission:
    """Verbs on one resource, or on a subresource such as `deployments/scale`."""

    group: str
    resource: str
    verbs: tuple[str, ...]


class PoolKind(Section):
    """One pool, named in the configuration. A kind is pure: JSON in, a Reading out."""

    namespace: str | None = Field(
        default=None, description="namespace of this pool; unset: the workload's"
    )
    name: str = Field(min_length=1, description="the object's metadata.name")

    resource: ClassVar[Resource]
    read_through: ClassVar[str] = ""
    may_mark_pods: ClassVar[bool] = False

    def target(self, namespace: str) -> Target:
        """Return the object to read; `namespace` applies where this pool names none."""
        return Target(self.resource, self.namespace or namespace, self.name)

    @abstractmethod
    def reading(self, found: Json, target: Target) -> Reading:
        """Read the object; UnexpectedShapeError where it is not what this kind must be."""

    def child(self, found: Json) -> PoolKind | None:  # noqa: ARG002 - most kinds have none
        """Return the object that counts this one's replicas, where it does not itself."""
        return None

    def owning(self, found: Json, target: Target, child: Reading) -> Reading:  # noqa: ARG002
        """Correct a child's reading by what its owner decides."""
        return child

    def permissions(self) -> tuple[Permission, ...]:
        """Least that reading and scaling this kind takes, pods aside."""
        return scalable(self.resource)


def scalable(resource: Resource) -> tuple[Permission, ...]:
    """Read an object, and read and write its scale subresource."""
    return (
        Permission(resource.group, resource.plural, ("get",)),
        scale_only(resource),
    )


def scale_only(resource: Resource) -> Permission:
    """Read and write a scale subresource, and nothing else of the object."""
    return Permission(resource.group, f"{resource.plural}/scale", ("get", "patch"))


def named_item(found: Json, path: tuple[str, ...], name: str) -> tuple[int, Json]:
    """Find a list's item by its name; UnexpectedShapeError says which names there are."""
    items = dig(found, *path)
    where = f"{dig(found, 'metadata', 'name')}: .{'.'.join(path)}"
    if not isinstance(items, list):
        raise UnexpectedShapeError(f"{where} is not a list; is this API version the one meant?")
    for index, item in enumerate(items):
        if item.get("name") == name:
            return index, item
    names = ", ".join(str(item.get("name")) for item in items)
    raise UnexpectedShapeError(f"{where} has no item named {name}; there are: {names or 'none'}")


def status_of(found: Json, name: str) -> Json:
    """One role's entry of `status.roleStatuses`; empty before the controller has written it."""
    for status in dig(found, "status", "roleStatuses") or []:
        if status.get("name") == name:
            return dict(status)
    return {}


def times(gpus: int | None, pods: int) -> int | None:
    """GPUs of several equal pods; unknown stays unknown."""
    return None if gpus is None else gpus * pods


def dig(found: Json, *path: str) -> Any:  # noqa: ANN401 - JSON
    """Follow keys; None where one is missing."""
    value: Any = found
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def count(found: Json, *path: str) -> int:
    """A count that controllers leave out when it is 0."""
    return int(dig(found, *path) or 0)


def asked(found: Json, *path: str) -> int | None:
    """A count that its author may leave out, which is no 0: None then."""
    value = dig(found, *path)
    return None if value is None else int(value)


def condition(found: Json, kind: str, status: str = "True") -> Json | None:
    """The status condition of that type, if it has that status."""
    for each in dig(found, "status", "conditions") or []:
        if each.get("type") == kind and each.get("status") == status:
            return dict(each)
    return None


def amiss(
    found: Json, *, when_true: Iterable[str] = (), when_false: Iterable[str] = ()
) -> tuple[str, ...]:
    """Conditions that tell of trouble, each by its type and message."""
    wrong = {(kind, "True") for kind in when_true} | {(kind, "False") for kind in when_false}
    return tuple(
        f"{each['type']} is {each['status']}: {each.get('message') or each.get('reason') or ''}"
        for each in dig(found, "status", "conditions") or []
        if (each.get("type"), each.get("status")) in wrong
    )


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """Write a LabelSelector the way a list request takes it."""
    selector = selector or {}
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], ",".join(expression.get("values") or [])
        terms.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(terms)


def pod_gpus(pod_spec: Mapping[str, Any] | None) -> int | None:
    """GPUs that one pod asks for: the sum over containers; None when it names no GPU resource.

    A pod without GPU limits may still hold GPUs through dynamic resource allocation, so that is
    unknown and not 0.
    """
    found = [
        int(limits[name])
        for container in (pod_spec or {}).get("containers") or []
        for limits in [(container.get("resources") or {}).get("limits") or {}]
        for name in GPU_RESOURCES
        if name in limits
    ]
    return sum(found) if found else None
