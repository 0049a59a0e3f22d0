"""What a kind of workload looks like on an API server, and what must come of a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from planner.kube import Json, Resource
from policies.types import Role

GPU_POD = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "4"}}}]}
START = {Role.PREFILL: 2, Role.DECODE: 3}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Both pools in one kind: what is configured, what exists, and what must come of it.

    `counts` reads the number that the kind's controller obeys; `writes` are the paths that a
    change of both roles patches, without the namespace's prefix. `labels` are what the controller
    puts on the `size` pods of a replica, by role and index.
    """

    pools: dict[str, Json]
    objects: list[tuple[Resource, Json]]
    scalable: tuple[str, ...] = ()
    counts: Callable[[Any, Role], int]
    writes: tuple[str, ...]
    labels: Callable[[Role, int], Json]
    size: int = 1
    gpus: int | None
    floor: int = 1
    rolling: Callable[[Any], None]
    adapters: dict[str, tuple[Resource, str, Callable[[Json, str, int], None]]] = field(
        default_factory=dict
    )


def each(kind: str, prefix: str) -> dict[str, Json]:
    return {role: {"kind": kind, "name": f"{prefix}-{role}"} for role in Role}


def own_count(resource: Resource) -> Callable[[Any, Role], int]:
    return lambda server, role: server.at(resource, f"m-{role}")["spec"]["replicas"]


def meta(name: str) -> Json:
    return {"namespace": "llm", "name": name}


def status_of(role: Role) -> Json:
    n = START[role]
    return {"replicas": n, "readyReplicas": n, "updatedReplicas": n}


def role_statuses() -> list[Json]:
    return [{"name": str(role), **status_of(role)} for role in Role]


def pods_of(scene: Scene, *, ready: bool = True) -> list[Json]:
    """Pods as the kind's controller labels them: all replicas of both roles."""
    return [
        {
            "metadata": {
                "namespace": "llm",
                "name": f"{role}-{index}" + (f"-{worker}" if scene.size > 1 else ""),
                "labels": {**scene.labels(role, index)},
                "creationTimestamp": f"2023-11-14T22:0{index}:00Z",
            },
            "spec": GPU_POD,
            "status": {
                "phase": "Running",
                "conditions": [
                    {
                        "type": "Ready",
                        "status": str(ready),
                        "lastTransitionTime": f"2023-11-14T22:0{index + 2}:00Z",
                    }
                ],
            },
        }
        for role, n in START.items()
        for index in range(n)
        for worker in range(scene.size)
    ]
