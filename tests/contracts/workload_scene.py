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
    size_variable: str | None = None
    gpus: int | None
    floor: int = 1
    rolling: Callable[[Any], None] | None  # None: the kind cannot tell
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


def pods_of(scene: Scene) -> list[Json]:
    """Ready pods as the kind's controller labels them: all replicas of both roles.

    As under a start-up policy or `startsAfter`, a worker is created only when the pod before it is
    ready, two minutes later.
    """
    return [
        _pod(scene, role, index, worker)
        for role, n in START.items()
        for index in range(n)
        for worker in range(scene.size)
    ]


def _pod(scene: Scene, role: Role, index: int, worker: int) -> Json:
    created, ready = (f"2023-11-14T22:0{index + 2 * worker + wait}:00Z" for wait in (0, 2))
    container = {**GPU_POD["containers"][0], "image": "none"}
    if scene.size_variable:
        container["env"] = [{"name": scene.size_variable, "value": str(scene.size)}]
    return {
        "metadata": {
            "namespace": "llm",
            "name": f"{role}-{index}" + (f"-{worker}" if scene.size > 1 else ""),
            "labels": {**scene.labels(role, index)},
            "creationTimestamp": created,
        },
        "spec": {"containers": [container], "nodeName": f"node-{role}-{index}"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ready}],
        },
    }
